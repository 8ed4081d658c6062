//! The last look at each cluster, for people who ask why something was decided.
//! Must not be read by a decision, nor cost a look more than moving what it made anyway.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp as Wall;
use kit::http::Answer;
use topology::capture::Capture;
use topology::observed::{Observed, Spec, Timestamp};
use topology::record::Record;

use crate::cache::Key;

/// Where they are asked for: `/clusters/<namespace>/<name>`.
const PATH: &str = "/clusters/";

/// More clusters than one process looks after. A capture is as large as what the members reported.
const CLUSTERS_LIMIT: usize = 4_096;

/// Clones see the same.
#[derive(Clone, Default)]
pub(crate) struct Captures {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    is_leading: AtomicBool,
    kept: Mutex<BTreeMap<Key, Arc<Capture>>>,
}

impl Captures {
    /// Whether there may be some.
    pub(crate) fn lead(&self, is_leading: bool) {
        self.shared.is_leading.store(is_leading, Ordering::Relaxed);
    }

    pub(crate) fn slot(&self, key: Key) -> Slot {
        Slot {
            captures: self.clone(),
            key,
            decided_at: (0, Wall::UNIX_EPOCH),
        }
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<Key, Arc<Capture>>> {
        self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Written as text only here, when somebody asks.
    pub(crate) fn answer(&self, path: &str) -> Answer {
        let Some(key) = asked_for(path) else {
            return Answer::text(404, "ask for /clusters/<namespace>/<name>\n");
        };
        if !self.shared.is_leading.load(Ordering::Relaxed) {
            let text = "this process does not lead and looks at no cluster: ask the Pod that the Lease \
                        holdfast-controller names as its holder\n";
            return Answer::text(404, text);
        }
        // Not under the lock: loops wait for it.
        let capture = self.kept().get(&key).cloned();
        let Some(capture) = capture else {
            return Answer::text(404, none_of(&key));
        };
        match serde_json::to_string(&*capture) {
            Ok(text) => Answer {
                status: 200,
                content_type: "application/json",
                body: text + "\n",
            },
            Err(error) => Answer::text(500, format!("failed to write the capture as JSON: {error}\n")),
        }
    }
}

fn asked_for(path: &str) -> Option<Key> {
    let (namespace, name) = path.strip_prefix(PATH)?.split_once('/')?;
    let is_named = !namespace.is_empty() && !name.is_empty() && !name.contains('/');
    is_named.then(|| Key {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    })
}

fn none_of(key: &Key) -> String {
    format!(
        "there is no look at a MySQLCluster {} in the namespace {}: there is none of that name, the first look is \
         under way, its spec is refused, or another operator looks after that namespace\n",
        key.name, key.namespace
    )
}

/// The place of one cluster. Dropped, with its loop: it is empty.
pub(crate) struct Slot {
    captures: Captures,
    key: Key,
    decided_at: (Timestamp, Wall),
}

impl Slot {
    /// The time that is decided with now, remembered for the capture.
    pub(crate) fn at(&mut self, now: Timestamp) -> Timestamp {
        self.decided_at = (now, Wall::now());
        now
    }

    pub(crate) fn keep(&self, spec: Spec, observed: Observed, record: Option<Record>) {
        let (now, wall) = self.decided_at;
        let capture = Capture {
            taken_at: Some(wall.to_string()),
            now,
            spec,
            observed,
            record,
        };
        let mut kept = self.captures.kept();
        if kept.len() < CLUSTERS_LIMIT || kept.contains_key(&self.key) {
            kept.insert(self.key.clone(), Arc::new(capture));
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.captures.kept().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::cluster;

    fn key(name: &str) -> Key {
        Key {
            namespace: "shop".into(),
            name: name.into(),
        }
    }

    fn keep(slot: &mut Slot, now: Timestamp) {
        slot.at(now);
        slot.keep(cluster().spec(), Observed::default(), None);
    }

    #[test]
    fn the_last_look_is_answered_as_it_was() {
        let captures = Captures::default();
        captures.lead(true);
        let mut slot = captures.slot(key("orders"));
        keep(&mut slot, 7);
        keep(&mut slot, 8);
        let answer = captures.answer("/clusters/shop/orders");
        assert_eq!((answer.status, answer.content_type), (200, "application/json"));
        let capture: Capture = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((capture.now, &capture.spec), (8, &cluster().spec()));
        assert_eq!(capture.taken_at, Some(slot.decided_at.1.to_string()));
    }

    #[test]
    fn a_cluster_without_a_look_is_said_to_have_none() {
        let captures = Captures::default();
        captures.lead(true);
        let mut slot = captures.slot(key("orders"));
        let asked = |path: &str| (captures.answer(path).status, captures.answer(path).body);
        let (status, body) = asked("/clusters/shop/orders");
        assert_eq!(status, 404);
        assert!(body.contains("orders in the namespace shop"), "{body}");
        keep(&mut slot, 1);
        assert_eq!(asked("/clusters/shop/orders").0, 200);
        assert_eq!(asked("/clusters/other/orders").0, 404);
        drop(slot);
        assert_eq!(asked("/clusters/shop/orders").0, 404);
        for path in [
            "/clusters/",
            "/clusters/shop",
            "/clusters/shop/",
            "/clusters//x",
            "/clusters/a/b/c",
        ] {
            assert_eq!(
                asked(path),
                (404, "ask for /clusters/<namespace>/<name>\n".into()),
                "{path}"
            );
        }
    }

    #[test]
    fn a_standby_says_who_to_ask() {
        let answer = Captures::default().answer("/clusters/shop/orders");
        assert_eq!(answer.status, 404);
        assert!(answer.body.contains("does not lead") && answer.body.contains("holdfast-controller"));
    }

    #[test]
    fn no_more_clusters_are_kept_than_the_limit_says() {
        let captures = Captures::default();
        captures.lead(true);
        let mut slots: Vec<_> = (0..=CLUSTERS_LIMIT)
            .map(|n| captures.slot(key(&format!("c{n}"))))
            .collect();
        for slot in &mut slots {
            keep(slot, 1);
        }
        let asked = |n: usize| captures.answer(&format!("/clusters/shop/c{n}")).status;
        assert_eq!((asked(0), asked(CLUSTERS_LIMIT)), (200, 404));
        // Those that are there go on, and who leaves makes room.
        keep(&mut slots[0], 2);
        slots.remove(1);
        let last = slots.len() - 1;
        keep(&mut slots[last], 2);
        assert_eq!((asked(0), asked(1), asked(CLUSTERS_LIMIT)), (200, 404, 200));
    }
}
