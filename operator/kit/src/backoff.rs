//! How long to wait before an object that failed is tried again.
//! Must not wait, read a clock or draw random numbers: whoever calls brings the jitter.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// The wait grows from `first` to `limit`, doubling with each failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    pub first: Duration,
    pub limit: Duration,
}

impl Policy {
    /// After so many failures in a row. `jitter`, any number, picks a point between half of the
    /// wait and the whole: objects that failed together are not tried together.
    pub fn delay(&self, failures: u32, jitter: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let whole = self.first.saturating_mul(1 << doublings).min(self.limit);
        let half = whole / 2;
        half + half.mul_f64(f64::from(jitter) / f64::from(u32::MAX))
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            limit: Duration::from_secs(300),
        }
    }
}

/// Failures in a row for each object, for a bounded number of them.
#[derive(Debug)]
pub struct Backoff<K> {
    policy: Policy,
    objects_limit: usize,
    objects: HashMap<K, Failures>,
    /// Counts all failures, to know which object failed longest ago.
    clock: u64,
}

#[derive(Debug)]
struct Failures {
    in_a_row: u32,
    last: u64,
}

impl<K: Clone + Eq + Hash> Backoff<K> {
    pub fn new(policy: Policy, objects_limit: usize) -> Self {
        Self {
            policy,
            objects_limit,
            objects: HashMap::new(),
            clock: 0,
        }
    }

    /// Returns when to try again.
    pub fn failed(&mut self, object: &K, jitter: u32) -> Duration {
        self.clock += 1;
        if !self.objects.contains_key(object) {
            self.make_room();
        }
        let failures = self
            .objects
            .entry(object.clone())
            .or_insert(Failures { in_a_row: 0, last: 0 });
        failures.in_a_row = failures.in_a_row.saturating_add(1);
        failures.last = self.clock;
        self.policy.delay(failures.in_a_row, jitter)
    }

    pub fn succeeded(&mut self, object: &K) {
        self.forget(object);
    }

    /// For objects that are gone.
    pub fn forget(&mut self, object: &K) {
        self.objects.remove(object);
    }

    pub fn failures(&self, object: &K) -> u32 {
        self.objects.get(object).map_or(0, |failures| failures.in_a_row)
    }

    /// How many objects are failing.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// The one that failed longest ago starts anew: most likely it is gone.
    fn make_room(&mut self) {
        if self.objects.len() < self.objects_limit.max(1) {
            return;
        }
        let oldest = self.objects.iter().min_by_key(|(_, failures)| failures.last);
        if let Some(oldest) = oldest.map(|(object, _)| object.clone()) {
            self.objects.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn it_doubles_up_to_the_limit() {
        let policy = Policy::default();
        let whole: Vec<_> = (1..=11).map(|n| policy.delay(n, u32::MAX).as_secs()).collect();
        assert_eq!(whole, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(policy.delay(3, 0), secs(2));
        assert_eq!(policy.delay(u32::MAX, u32::MAX), secs(300));
        assert_eq!(policy.delay(0, u32::MAX), secs(1));
    }

    #[test]
    fn a_success_starts_it_anew() {
        let mut backoff = Backoff::new(Policy::default(), 10);
        assert_eq!(backoff.failed(&"a", u32::MAX), secs(1));
        assert_eq!(backoff.failed(&"a", u32::MAX), secs(2));
        assert_eq!(backoff.failed(&"b", u32::MAX), secs(1));
        backoff.succeeded(&"a");
        assert_eq!(backoff.failures(&"a"), 0);
        assert_eq!(backoff.failed(&"a", u32::MAX), secs(1));
        assert_eq!(backoff.failures(&"b"), 1);
        backoff.forget(&"a");
        backoff.forget(&"b");
        assert!(backoff.is_empty());
    }

    #[test]
    fn the_one_that_failed_longest_ago_makes_room() {
        let mut backoff = Backoff::new(Policy::default(), 2);
        backoff.failed(&"a", 0);
        backoff.failed(&"b", 0);
        backoff.failed(&"a", 0);
        backoff.failed(&"c", 0);
        assert_eq!(["a", "b", "c"].map(|name| backoff.failures(&name)), [2, 0, 1]);
        // One that is known needs no room.
        backoff.failed(&"a", 0);
        assert_eq!((backoff.len(), backoff.failures(&"c")), (2, 1));
    }

    proptest! {
        #[test]
        fn waits_stay_between_half_and_whole(failures in any::<u32>(), jitter in any::<u32>()) {
            let policy = Policy::default();
            let (delay, whole) = (policy.delay(failures, jitter), policy.delay(failures, u32::MAX));
            prop_assert!(delay >= whole / 2 && delay <= whole && whole <= policy.limit);
        }

        #[test]
        fn memory_is_bounded(objects in prop::collection::vec(any::<u8>(), 0..300), limit in 0..20_usize) {
            let mut backoff = Backoff::new(Policy::default(), limit);
            for object in &objects {
                backoff.failed(object, 0);
                prop_assert!(backoff.len() <= limit.max(1));
                prop_assert!(backoff.failures(object) >= 1);
            }
        }
    }
}
