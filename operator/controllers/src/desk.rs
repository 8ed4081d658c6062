//! When supplies are due and what the last ones brought; which status was written last.
//! Must not do IO: jobs are made here and run elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crds::cluster::MySQLCluster;
use kit::backoff::Policy;
use kube::ResourceExt;
use tokio::time::Instant;

use crate::cluster_loop::{Retry, SLOW, jitter};
use crate::status::Stall;
use crate::supply::Supplied;
use crate::trust::Own;
use crds::conditions::Reason as Word;

/// How often it is asked why something is stuck.
const ASK_PERIOD: Duration = Duration::from_secs(10);
/// Versions of the object that our own writes left behind.
const VERSIONS_LIMIT: usize = 16;

const SUPPLY_RETRY: Policy = Policy {
    first: Duration::from_secs(1),
    limit: Duration::from_secs(300),
};

const STATUS_RETRY: Policy = Policy {
    first: Duration::from_millis(250),
    limit: Duration::from_secs(30),
};

/// What others do to a cluster's objects is put right at once, and not more often than that.
const REPAIR_PERIOD: Duration = Duration::from_secs(2);

/// What supplies depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Basis {
    pub(crate) generation: Option<i64>,
    pub(crate) voters: u16,
    pub(crate) is_suspended: bool,
}

/// The objects around the members, as the last supplies found them.
#[derive(Clone, Copy, Debug)]
struct Surroundings {
    mark: u64,
    at: Instant,
}

pub(crate) struct Desk {
    is_busy: bool,
    /// The supplies that are under way.
    ordered: Option<Basis>,
    supplied: Option<Basis>,
    surroundings: Option<Surroundings>,
    supply_at: Instant,
    supply_retry: Retry,
    status_retry: Retry,
    is_status_owed: bool,
    pub(crate) stall: Option<Stall>,
    pub(crate) own: Option<Own>,
    pub(crate) is_complete: bool,
    /// By uid.
    pub(crate) problems: BTreeMap<String, String>,
    asked_at: Option<Instant>,
    is_asking_due: bool,
    /// Versions that `written` came after.
    versions: Vec<String>,
    written: Option<Arc<MySQLCluster>>,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self {
            is_busy: false,
            ordered: None,
            supplied: None,
            surroundings: None,
            supply_at: Instant::now(),
            supply_retry: Retry::new(SUPPLY_RETRY),
            status_retry: Retry::new(STATUS_RETRY),
            is_status_owed: false,
            stall: None,
            own: None,
            is_complete: false,
            problems: BTreeMap::new(),
            asked_at: None,
            is_asking_due: false,
            versions: Vec::new(),
            written: None,
        }
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.is_busy
    }

    pub(crate) fn began(&mut self) {
        self.is_busy = true;
    }

    /// The job broke off.
    pub(crate) fn lost(&mut self) {
        self.is_busy = false;
        if self.ordered.take().is_some() {
            self.supply_at = Instant::now();
            self.supply_retry.failed();
        }
    }

    /// When there is something to do even if nothing changes. The end of a job wakes by itself.
    pub(crate) fn due(&self) -> Option<Instant> {
        if self.is_busy {
            return None;
        }
        let supply = self.supply_at.max(self.supply_retry.not_before());
        let ask = self
            .asked_at
            .filter(|_| self.is_asking_due)
            .map(|asked| asked + ASK_PERIOD);
        ask.into_iter().chain(self.status_due()).chain([supply]).min()
    }

    /// For a cluster of which nothing but the status may be written.
    pub(crate) fn status_due(&self) -> Option<Instant> {
        let is_owed = self.is_status_owed && !self.is_busy;
        is_owed.then(|| self.status_retry.not_before())
    }

    pub(crate) fn is_supply_due(&self, basis: Basis) -> bool {
        let is_other = self.supplied != Some(basis);
        !self.is_busy && self.supply_retry.is_open() && (is_other || Instant::now() >= self.supply_at)
    }

    /// Others may have changed something since the last supplies were ordered.
    pub(crate) fn saw(&mut self, mark: u64) {
        if let Some(known) = self.surroundings.filter(|known| known.mark != mark) {
            self.supply_at = self.supply_at.min(known.at + REPAIR_PERIOD);
        }
    }

    pub(crate) fn ordered(&mut self, basis: Basis, mark: u64) {
        self.ordered = Some(basis);
        self.surroundings = Some(Surroundings {
            mark,
            at: Instant::now(),
        });
    }

    pub(crate) fn supplied(&mut self, supplied: Supplied, now: jiff::Timestamp) {
        let basis = self.ordered.take();
        let is_fine = supplied.error.is_none();
        self.stall = supplied
            .error
            .as_ref()
            .filter(|error| error.needs_a_person())
            .map(|error| Stall {
                reason: Word::SpecRefused,
                message: error.in_words(),
            });
        if let Some(own) = supplied.own {
            self.own = Some(own);
        }
        self.is_complete |= supplied.is_complete;
        let due = supplied.due.map(|due| until(due, now));
        let slow = SLOW + SLOW.mul_f64(f64::from(jitter()) / f64::from(u32::MAX) / 4.0);
        if is_fine {
            self.supply_at = Instant::now() + due.map_or(slow, |due| due.min(slow));
            self.supplied = basis;
            self.supply_retry.succeeded();
        } else {
            // As soon as it may be tried again.
            self.supply_at = Instant::now();
            self.supply_retry.failed();
        }
    }

    pub(crate) fn ended(&mut self) {
        self.is_busy = false;
    }

    /// Whether it is time to ask about what is stuck, if anything is.
    pub(crate) fn may_ask(&mut self, is_anything_stuck: bool) -> bool {
        self.is_asking_due = is_anything_stuck;
        let is_time = self.asked_at.is_none_or(|asked| asked.elapsed() >= ASK_PERIOD);
        is_anything_stuck && is_time && !self.is_busy
    }

    pub(crate) fn asked(&mut self) {
        self.asked_at = Some(Instant::now());
    }

    pub(crate) fn answered(&mut self, problems: BTreeMap<String, Option<String>>) {
        for (uid, problem) in problems {
            match problem {
                Some(problem) => self.problems.insert(uid, problem),
                None => self.problems.remove(&uid),
            };
        }
    }

    /// Of objects that are stuck no more.
    pub(crate) fn keep_problems(&mut self, is_stuck: impl Fn(&str) -> bool) {
        self.problems.retain(|uid, _| is_stuck(uid));
    }

    pub(crate) fn may_write(&mut self, is_owed: bool) -> bool {
        self.is_status_owed = is_owed;
        is_owed && self.status_retry.is_open()
    }

    pub(crate) fn is_written(&mut self) {
        self.is_status_owed = false;
        self.status_retry.succeeded();
    }

    pub(crate) fn is_not_written(&mut self) {
        self.status_retry.failed();
    }

    /// Our own writes come by the watch a moment later; until then this is the newer one.
    pub(crate) fn newest(&self, cached: Arc<MySQLCluster>) -> Arc<MySQLCluster> {
        let version = cached.resource_version().unwrap_or_default();
        match &self.written {
            Some(written) if self.versions.contains(&version) => written.clone(),
            _ => cached,
        }
    }

    pub(crate) fn wrote(&mut self, seen: &MySQLCluster, written: MySQLCluster) {
        let (before, after) = (seen.resource_version(), written.resource_version());
        if before == after {
            return;
        }
        self.versions.extend(before);
        let surplus = self.versions.len().saturating_sub(VERSIONS_LIMIT);
        self.versions.drain(..surplus);
        self.written = Some(Arc::new(written));
    }
}

fn until(due: jiff::Timestamp, now: jiff::Timestamp) -> Duration {
    let left = due.duration_since(now);
    // Not at once again, should a clock be wrong.
    Duration::try_from(left)
        .unwrap_or_default()
        .max(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exact;
    use crate::testing::object;

    const BASIS: Basis = Basis {
        generation: Some(1),
        voters: 3,
        is_suspended: false,
    };

    fn now() -> jiff::Timestamp {
        "2026-11-21T12:00:00Z".parse().unwrap()
    }

    fn failed() -> Supplied {
        let error = exact::Error {
            verb: "read",
            kind: "Secret".into(),
            name: "orders-ca".into(),
            source: kit::client::Error::Timeout {
                after: Duration::from_secs(4),
            },
        };
        Supplied {
            error: Some(error.into()),
            ..Supplied::default()
        }
    }

    fn supply(desk: &mut Desk, supplied: Supplied) {
        desk.began();
        desk.ordered(BASIS, 1);
        desk.ended();
        desk.supplied(supplied, now());
    }

    #[tokio::test(start_paused = true)]
    async fn supplies_are_due_for_another_spec_and_seldom_otherwise() {
        let mut desk = Desk::new();
        assert!(desk.is_supply_due(BASIS));
        supply(&mut desk, Supplied::default());
        assert!(!desk.is_supply_due(BASIS));
        let scaled = Basis { voters: 5, ..BASIS };
        assert!(desk.is_supply_due(scaled));
        tokio::time::advance(SLOW * 2).await;
        assert!(desk.is_supply_due(BASIS));
    }

    #[tokio::test(start_paused = true)]
    async fn what_others_did_is_put_right_at_once_but_is_no_circle() {
        let mut desk = Desk::new();
        supply(&mut desk, Supplied::default());
        desk.saw(1);
        assert!(!desk.is_supply_due(BASIS));
        // Our own writes look like another's.
        desk.saw(2);
        assert!(!desk.is_supply_due(BASIS));
        tokio::time::advance(REPAIR_PERIOD).await;
        assert!(desk.is_supply_due(BASIS));
        supply(&mut desk, Supplied::default());
        tokio::time::advance(REPAIR_PERIOD).await;
        desk.saw(1);
        assert!(!desk.is_supply_due(BASIS));
        desk.saw(3);
        assert!(desk.is_supply_due(BASIS));
    }

    #[tokio::test(start_paused = true)]
    async fn failed_supplies_are_tried_again_and_again_later() {
        let mut desk = Desk::new();
        let mut before = Duration::ZERO;
        for _ in 0..4 {
            supply(&mut desk, failed());
            assert!(!desk.is_supply_due(BASIS));
            let due = desk.due().unwrap();
            let wait = due.duration_since(Instant::now());
            assert!(wait > before / 2 && wait < SLOW, "{wait:?}");
            before = wait;
            tokio::time::advance(wait).await;
            assert!(desk.is_supply_due(BASIS));
        }
        assert!(desk.stall.is_none(), "time may cure it");
    }

    #[tokio::test(start_paused = true)]
    async fn certificates_are_renewed_in_time() {
        let mut desk = Desk::new();
        let due = now() + jiff::SignedDuration::from_secs(40);
        let supplied = Supplied {
            due: Some(due),
            ..Supplied::default()
        };
        supply(&mut desk, supplied);
        tokio::time::advance(Duration::from_secs(39)).await;
        assert!(!desk.is_supply_due(BASIS));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(desk.is_supply_due(BASIS));
    }

    #[tokio::test]
    async fn our_own_writes_are_newer_than_what_the_watch_said_before() {
        let mut desk = Desk::new();
        let version = |text: &str| {
            let mut object = object();
            object.metadata.resource_version = Some(text.into());
            object
        };
        let seen = |desk: &Desk, text: &str| desk.newest(Arc::new(version(text))).resource_version().unwrap();
        desk.wrote(&version("1"), version("2"));
        desk.wrote(&version("2"), version("3"));
        assert_eq!((seen(&desk, "1"), seen(&desk, "2")), ("3".into(), "3".into()));
        // Somebody else's, which came after.
        assert_eq!(seen(&desk, "4"), "4");
    }

    #[tokio::test(start_paused = true)]
    async fn while_a_job_is_under_way_nothing_is_due() {
        let mut desk = Desk::new();
        desk.began();
        assert!(!desk.is_supply_due(BASIS) && desk.due().is_none());
        assert!(!desk.may_ask(true));
        desk.ended();
        assert!(desk.may_ask(true));
        desk.asked();
        assert!(!desk.may_ask(true));
        tokio::time::advance(ASK_PERIOD).await;
        assert!(desk.may_ask(true));
    }
}
