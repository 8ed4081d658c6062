//! The watches on the API server that fill the caches.
//! Must not watch Secrets, nor anything that is not ours.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt, future};
use k8s_openapi::NamespaceResourceScope;
use kit::backoff::Policy;
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Config, Event, watcher};
use kube::{Client, Resource};
use objects::names::{LABEL_CLUSTER, LABEL_MANAGED_BY, MANAGED_BY};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::cache::Cache;
use crate::cluster_loop::jitter;
use crate::context::Context;
use crate::dispatch::Changes;
use crate::metrics::Failure;

/// Nobody fails over by caches that are not filled, so half a minute, which others wait by then, is too long.
const AGAIN: Policy = Policy {
    first: Duration::from_millis(500),
    limit: Duration::from_secs(2),
};
/// A watch that holds for so long has nothing to do with how it broke before.
const CALM: Duration = Duration::from_secs(30);

/// Which namespaces are looked after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    All,
    Namespaces(Vec<String>),
}

impl Scope {
    pub(crate) fn of(namespaces: &[String]) -> Self {
        if namespaces.is_empty() {
            return Self::All;
        }
        let mut namespaces = namespaces.to_vec();
        namespaces.sort();
        namespaces.dedup();
        Self::Namespaces(namespaces)
    }

    /// How many watches of one kind there are.
    fn watches(&self) -> usize {
        match self {
            Self::All => 1,
            Self::Namespaces(namespaces) => namespaces.len(),
        }
    }

    fn apis<K>(&self, client: &Client) -> Vec<Api<K>>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match self {
            Self::All => vec![Api::all(client.clone())],
            Self::Namespaces(namespaces) => {
                let api = |namespace: &String| Api::namespaced(client.clone(), namespace);
                namespaces.iter().map(api).collect()
            }
        }
    }
}

/// Begins all watches. They end when the set is dropped.
pub(crate) fn start(context: &Arc<Context>, changes: &Arc<Changes>, scope: &Scope) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let caches = context.caches.clone();
    children(&mut tasks, context, changes, scope, &caches.pods);
    children(&mut tasks, context, changes, scope, &caches.volumes);
    children(&mut tasks, context, changes, scope, &caches.slices);
    children(&mut tasks, context, changes, scope, &caches.services);
    children(&mut tasks, context, changes, scope, &caches.budgets);
    children(&mut tasks, context, changes, scope, &caches.policies);
    children(&mut tasks, context, changes, scope, &caches.accounts);
    ours(&mut tasks, context, changes, scope, &caches.clusters);
    ours(&mut tasks, context, changes, scope, &caches.switchovers);
    tasks
}

/// Objects that people make.
fn ours<K>(
    tasks: &mut JoinSet<()>,
    context: &Arc<Context>,
    changes: &Arc<Changes>,
    scope: &Scope,
    cache: &Cache<K>,
) where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send,
    K: Sync + 'static,
{
    for api in scope.apis::<DeserializeGuard<K>>(&context.clients.patient) {
        let events = watcher(api, Config::default()).backoff(Again::default());
        let events = events.filter_map(|event| future::ready(readable(event)));
        feed(tasks, context, changes, cache, events);
    }
}

/// Until everything that decisions rest on has been listed, absence means nothing.
pub(crate) async fn listed(context: &Context, scope: &Scope) {
    let (caches, watches) = (&context.caches, scope.watches());
    caches.clusters.listed(watches).await;
    caches.pods.listed(watches).await;
    caches.volumes.listed(watches).await;
    caches.slices.listed(watches).await;
    caches.switchovers.listed(watches).await;
}

fn children<K>(
    tasks: &mut JoinSet<()>,
    context: &Arc<Context>,
    changes: &Arc<Changes>,
    scope: &Scope,
    cache: &Cache<K>,
) where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send,
    K: Sync + 'static,
{
    let selector = format!("{LABEL_MANAGED_BY}={MANAGED_BY},{LABEL_CLUSTER}");
    for api in scope.apis::<K>(&context.clients.patient) {
        let events = watcher(api, Config::default().labels(&selector)).backoff(Again::default());
        feed(tasks, context, changes, cache, events);
    }
}

fn feed<K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static>(
    tasks: &mut JoinSet<()>,
    context: &Arc<Context>,
    changes: &Arc<Changes>,
    cache: &Cache<K>,
    events: impl Stream<Item = Result<Event<K>, watcher::Error>> + Send + 'static,
) {
    let (context, changes, cache) = (context.clone(), changes.clone(), cache.clone());
    let events = events.map(|event| event.map(slim));
    tasks.spawn(async move {
        let failed = |error: &watcher::Error| {
            context.metrics.failed(Failure::Watch);
            let kind = K::kind(&());
            tracing::warn!(%kind, %error, "a watch broke and is begun anew");
        };
        cache.feed(events, |key| changes.saw(key), failed).await;
    });
}

/// When a watch that broke is begun anew.
#[derive(Default)]
struct Again {
    failures: u32,
    last: Option<Instant>,
}

impl Iterator for Again {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        if self.last.is_some_and(|last| last.elapsed() > CALM) {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.last = Some(Instant::now());
        Some(AGAIN.delay(self.failures, jitter()))
    }
}

impl Backoff for Again {
    /// Asked for as each list begins, also one that fails: only time counts.
    fn reset(&mut self) {}
}

/// Who set which field when: half of an object, and nothing to us.
fn slim<K: Resource>(event: Event<K>) -> Event<K> {
    event.modify(|object| object.meta_mut().managed_fields = None)
}

/// An object that cannot be read is left alone, and stops no other.
fn readable<K: Resource<DynamicType = ()> + Clone>(
    event: Result<Event<DeserializeGuard<K>>, watcher::Error>,
) -> Option<Result<Event<K>, watcher::Error>> {
    let read = |guarded: DeserializeGuard<K>| match guarded.0 {
        Ok(object) => Some(object),
        Err(error) => {
            let namespace = error.metadata.namespace.as_deref().unwrap_or_default();
            let name = error.metadata.name.as_deref().unwrap_or_default();
            tracing::error!(%error, namespace, name, "an object of ours cannot be read and is left alone");
            None
        }
    };
    let event = match event {
        Ok(event) => event,
        Err(error) => return Some(Err(error)),
    };
    let event = match event {
        Event::Apply(object) => Event::Apply(read(object)?),
        Event::InitApply(object) => Event::InitApply(read(object)?),
        Event::Delete(object) => Event::Delete(read(object)?),
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
    };
    Some(Ok(event))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As long as it breaks it is begun anew every two seconds at the latest; after a calm time soon again.
    #[tokio::test(start_paused = true)]
    async fn a_watch_that_breaks_is_begun_anew_soon() {
        let mut again = Again::default();
        let first = |wait: Duration| wait >= AGAIN.first / 2 && wait <= AGAIN.first;
        assert!(again.next().is_some_and(first));
        for _ in 0..100 {
            again.reset();
            let wait = again.next().unwrap();
            assert!(wait <= AGAIN.limit, "{wait:?}");
            tokio::time::advance(wait).await;
        }
        assert!(again.next().is_some_and(|wait| wait >= AGAIN.limit / 2));
        tokio::time::advance(CALM + Duration::from_secs(1)).await;
        assert!(again.next().is_some_and(first));
    }
}
