//! What the API server last said of clusters and of what belongs to them, fed by watches.
//! Must not be taken for the truth: it may be seconds behind, and what must be true is read again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::{Stream, StreamExt};
use kube::runtime::watcher::{self, Event};
use kube::{Resource, ResourceExt};
use tokio::sync::watch;

/// A cluster, by namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    /// Of a cluster object.
    pub(crate) fn of<K: ResourceExt>(object: &K) -> Option<Self> {
        Some(Self {
            namespace: object.namespace()?,
            name: object.name_any(),
        })
    }

    /// Of the cluster that a labelled object belongs to.
    pub(crate) fn owning<K: ResourceExt>(object: &K) -> Option<Self> {
        Some(Self {
            namespace: object.namespace()?,
            name: object.labels().get(objects::names::LABEL_CLUSTER)?.clone(),
        })
    }
}

type Objects<K> = HashMap<Key, BTreeMap<String, Arc<K>>>;

/// Objects by the cluster that they belong to, then by name. Clones see the same.
pub(crate) struct Cache<K> {
    objects: Arc<Mutex<Objects<K>>>,
    key_of: fn(&K) -> Option<Key>,
    /// How many watches have listed once.
    listed: watch::Sender<usize>,
}

impl<K> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self {
            objects: self.objects.clone(),
            key_of: self.key_of,
            listed: self.listed.clone(),
        }
    }
}

impl<K: Resource + Clone + Debug + Send + Sync + 'static> Cache<K> {
    pub(crate) fn new(key_of: fn(&K) -> Option<Key>) -> Self {
        Self {
            objects: Arc::default(),
            key_of,
            listed: watch::channel(0).0,
        }
    }

    /// All of one cluster.
    pub(crate) fn of(&self, key: &Key) -> BTreeMap<String, Arc<K>> {
        self.locked().get(key).cloned().unwrap_or_default()
    }

    pub(crate) fn get(&self, key: &Key, name: &str) -> Option<Arc<K>> {
        self.locked().get(key)?.get(name).cloned()
    }

    /// What there is of one cluster, in which version. Status is not a new version, where that can be told.
    pub(crate) fn versions(&self, key: &Key) -> Vec<(String, String)> {
        let version = |object: &Arc<K>| match object.meta().generation {
            Some(generation) => format!("{}/{generation}", object.uid().unwrap_or_default()),
            None => object.resource_version().unwrap_or_default(),
        };
        let objects = self.of(key);
        objects
            .iter()
            .map(|(name, object)| (name.clone(), version(object)))
            .collect()
    }

    /// The clusters that something is known of.
    pub(crate) fn keys(&self) -> BTreeSet<Key> {
        self.locked().keys().cloned().collect()
    }

    /// Resolves when that many watches have listed: before, absence means nothing.
    pub(crate) async fn listed(&self, watches: usize) {
        let mut listed = self.listed.subscribe();
        // The sender is ours, so this cannot fail.
        let _ = listed.wait_for(|count| *count >= watches).await;
    }

    /// What one watch says, for ever. `changed` hears of every cluster that something changed of.
    pub(crate) async fn feed(
        &self,
        events: impl Stream<Item = Result<Event<K>, watcher::Error>> + Send,
        changed: impl Fn(&Key) + Send,
        failed: impl Fn(&watcher::Error) + Send,
    ) {
        let mut events = std::pin::pin!(events);
        let mut feeder = Feeder::default();
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => feeder.take(self, event).iter().for_each(&changed),
                Err(error) => failed(&error),
            }
        }
    }

    fn locked(&self) -> MutexGuard<'_, Objects<K>> {
        // Nobody panics while holding it; and the map would still be whole.
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, object: K) -> Option<Key> {
        let key = (self.key_of)(&object)?;
        let mut objects = self.locked();
        let names = objects.entry(key.clone()).or_default();
        names.insert(object.name_any(), Arc::new(object));
        Some(key)
    }

    fn drop_one(&self, key: &Key, name: &str) {
        let mut objects = self.locked();
        if let Some(names) = objects.get_mut(key) {
            names.remove(name);
            if names.is_empty() {
                objects.remove(key);
            }
        }
    }
}

/// What one watch has said: of which objects it speaks, so that a new list replaces its own only.
struct Feeder<K> {
    known: HashMap<(String, String), Key>,
    listing: Option<Vec<K>>,
    has_listed: bool,
}

impl<K> Default for Feeder<K> {
    fn default() -> Self {
        Self {
            known: HashMap::new(),
            listing: None,
            has_listed: false,
        }
    }
}

impl<K: Resource + Clone + Debug + Send + Sync + 'static> Feeder<K> {
    /// The clusters that something changed of.
    fn take(&mut self, cache: &Cache<K>, event: Event<K>) -> BTreeSet<Key> {
        match event {
            Event::Init => {
                self.listing = Some(Vec::new());
                BTreeSet::new()
            }
            Event::InitApply(object) => {
                self.listing.get_or_insert_default().push(object);
                BTreeSet::new()
            }
            Event::InitDone => self.replace(cache),
            Event::Apply(object) => self.put(cache, object),
            Event::Delete(object) => self.remove(cache, &id_of(&object)).into_iter().collect(),
        }
    }

    fn put(&mut self, cache: &Cache<K>, object: K) -> BTreeSet<Key> {
        let id = id_of(&object);
        let before = self.known.get(&id).cloned();
        let key = cache.put(object);
        if let Some(before) = before.as_ref().filter(|before| Some(*before) != key.as_ref()) {
            cache.drop_one(before, &id.1);
            self.known.remove(&id);
        }
        if let Some(key) = &key {
            self.known.insert(id, key.clone());
        }
        before.into_iter().chain(key).collect()
    }

    fn remove(&mut self, cache: &Cache<K>, id: &(String, String)) -> Option<Key> {
        let key = self.known.remove(id)?;
        cache.drop_one(&key, &id.1);
        Some(key)
    }

    fn replace(&mut self, cache: &Cache<K>) -> BTreeSet<Key> {
        let mut gone: BTreeSet<_> = self.known.keys().cloned().collect();
        let mut changed = BTreeSet::new();
        for object in self.listing.take().unwrap_or_default() {
            gone.remove(&id_of(&object));
            changed.extend(self.put(cache, object));
        }
        changed.extend(gone.iter().filter_map(|id| self.remove(cache, id)));
        if !self.has_listed {
            self.has_listed = true;
            cache.listed.send_modify(|count| *count += 1);
        }
        changed
    }
}

fn id_of<K: ResourceExt>(object: &K) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use kube::api::ObjectMeta;

    use super::*;

    fn pod(namespace: &str, cluster: &str, name: &str) -> Pod {
        let labels = [(objects::names::LABEL_CLUSTER.to_owned(), cluster.to_owned())];
        Pod {
            metadata: ObjectMeta {
                namespace: Some(namespace.into()),
                name: Some(name.into()),
                labels: Some(labels.into()),
                ..ObjectMeta::default()
            },
            ..Pod::default()
        }
    }

    fn key(namespace: &str, name: &str) -> Key {
        Key {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    fn names(cache: &Cache<Pod>, key: &Key) -> Vec<String> {
        cache.of(key).into_keys().collect()
    }

    #[tokio::test]
    async fn a_new_list_replaces_what_its_own_watch_said_and_nothing_else() {
        let cache = Cache::<Pod>::new(Key::owning);
        let (mut shop, mut bank) = (Feeder::default(), Feeder::default());
        for (feeder, namespace) in [(&mut shop, "shop"), (&mut bank, "bank")] {
            feeder.take(&cache, Event::Init);
            feeder.take(&cache, Event::InitApply(pod(namespace, "orders", "orders-0")));
            feeder.take(&cache, Event::InitApply(pod(namespace, "orders", "orders-1")));
            feeder.take(&cache, Event::InitDone);
        }
        cache.listed(2).await;
        shop.take(&cache, Event::Init);
        shop.take(&cache, Event::InitApply(pod("shop", "orders", "orders-1")));
        // Until the list is complete nothing is missing.
        assert_eq!(names(&cache, &key("shop", "orders")), ["orders-0", "orders-1"]);
        let changed = shop.take(&cache, Event::InitDone);
        assert_eq!(changed, BTreeSet::from([key("shop", "orders")]));
        assert_eq!(names(&cache, &key("shop", "orders")), ["orders-1"]);
        assert_eq!(names(&cache, &key("bank", "orders")), ["orders-0", "orders-1"]);
    }

    #[test]
    fn objects_come_and_go_with_their_cluster() {
        let cache = Cache::<Pod>::new(Key::owning);
        let mut feeder = Feeder::default();
        let changed = feeder.take(&cache, Event::Apply(pod("shop", "orders", "orders-0")));
        assert_eq!(changed, BTreeSet::from([key("shop", "orders")]));
        // Relabelled: both clusters hear of it.
        let changed = feeder.take(&cache, Event::Apply(pod("shop", "carts", "orders-0")));
        assert_eq!(changed.len(), 2);
        assert!(names(&cache, &key("shop", "orders")).is_empty());
        feeder.take(&cache, Event::Delete(pod("shop", "carts", "orders-0")));
        assert!(cache.keys().is_empty());
        // Without the label it is nobody's.
        let stray = Pod {
            metadata: ObjectMeta {
                labels: None,
                ..pod("shop", "", "x").metadata
            },
            ..Pod::default()
        };
        assert!(feeder.take(&cache, Event::Apply(stray)).is_empty());
    }
}
