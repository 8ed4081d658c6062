//! One task for each cluster: begun when its object appears, woken when something changes.
//! Must not look into a cluster, nor let one wait for another.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use kit::lease::Leadership;
use tokio::sync::Notify;
use tokio::task::{Id, JoinError, JoinSet};
use tracing::Instrument;

use crate::cache::Key;
use crate::cluster_loop::ClusterLoop;
use crate::context::Context;
use crate::metrics::Failure;
use crate::switching::orphans;

/// The clusters that something changed of, each once however much it was.
#[derive(Default)]
pub(crate) struct Changes {
    keys: Mutex<BTreeSet<Key>>,
    arrived: Notify,
}

impl Changes {
    pub(crate) fn saw(&self, key: &Key) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.insert(key.clone());
        drop(keys);
        self.arrived.notify_one();
    }

    fn take(&self) -> BTreeSet<Key> {
        std::mem::take(&mut *self.keys.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// All loops. Dropped: they end at once.
pub(crate) struct Dispatcher {
    context: Arc<Context>,
    leadership: Leadership,
    tasks: JoinSet<()>,
    /// Of objects whose cluster is not there.
    orphans: JoinSet<()>,
    keys: HashMap<Id, Key>,
    wakes: HashMap<Key, Arc<Notify>>,
}

impl Dispatcher {
    pub(crate) fn new(context: Arc<Context>, leadership: Leadership) -> Self {
        Self {
            context,
            leadership,
            tasks: JoinSet::new(),
            orphans: JoinSet::new(),
            keys: HashMap::new(),
            wakes: HashMap::new(),
        }
    }

    /// For ever. May be dropped at any point.
    pub(crate) async fn run(&mut self, changes: &Changes) -> Infallible {
        let caches = &self.context.caches;
        let all = &caches.clusters.keys() | &caches.switchovers.keys();
        for key in all {
            self.changed(&key);
        }
        loop {
            tokio::select! {
                () = changes.arrived.notified() => {
                    for key in changes.take() {
                        self.changed(&key);
                    }
                }
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended),
                Some(_) = self.orphans.join_next() => {}
            }
        }
    }

    /// Ends all loops, and waits until they hold nothing any more.
    pub(crate) async fn end(mut self) {
        self.orphans.shutdown().await;
        self.tasks.shutdown().await;
    }

    fn changed(&mut self, key: &Key) {
        if let Some(wake) = self.wakes.get(key) {
            wake.notify_one();
            return;
        }
        let Some(object) = self.context.caches.clusters.get(key, &key.name) else {
            if !orphans::untold(&self.context, key).is_empty() {
                self.orphans
                    .spawn(orphans::tell(self.context.clone(), key.clone()));
            }
            return;
        };
        let wake = Arc::new(Notify::new());
        let looped = ClusterLoop::new(
            self.context.clone(),
            self.leadership.clone(),
            key.clone(),
            &object,
            wake.clone(),
        );
        let span = tracing::info_span!("loop", namespace = key.namespace, cluster = key.name);
        let task = self.tasks.spawn(looped.run().instrument(span));
        self.keys.insert(task.id(), key.clone());
        self.wakes.insert(key.clone(), wake);
    }

    /// Its object is gone, or another by now.
    fn ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        let Some(key) = self.keys.remove(&id) else { return };
        self.wakes.remove(&key);
        if let Err(error) = ended {
            // Begun again with the next change: at once it would break off at once.
            self.context.metrics.failed(Failure::Task);
            tracing::error!(namespace = key.namespace, name = key.name, %error, "the loop of a cluster broke off");
            return;
        }
        self.changed(&key);
    }
}
