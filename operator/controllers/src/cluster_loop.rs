//! The life of one cluster here: woken by what changes, it looks, decides, acts, and tells.
//! Must not end but with its object, nor wait for the loop of another.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use crds::cluster::MySQLCluster;
use kit::backoff::Policy;
use kit::lease::Leadership;
use kube::ResourceExt;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use topology::calm::Calm;
use topology::gtid::Uuid;

use crate::audit::Refusals;
use crate::cache::Key;
use crate::captures::Slot;
use crate::context::Context;
use crate::desk::Desk;
use crate::exact::Exact;
use crate::handing::Handing;
use crate::hearing::Hearing;
use crate::labels::Label;
use crate::links::Links;
use crate::metrics::Share;
use crate::paperwork::{Done, Notice};
use crate::pass::{Fate, Fit};
use crate::records::Known;
use crate::status::Stall;
use crate::steps::Made;
use crate::story::Story;
use crate::switching::Switching;

/// How long nothing is looked at, if nothing changes.
pub(crate) const SLOW: Duration = Duration::from_secs(300);
/// Reports that bring no news are looked at together.
const REPORTS: Duration = Duration::from_millis(500);
/// What failed is tried again soon: a failover may wait for it.
const RETRY: Policy = Policy {
    first: Duration::from_millis(250),
    limit: Duration::from_secs(4),
};
/// What the API server refuses it refuses for a while.
const REFUSED: Policy = Policy {
    first: Duration::from_secs(1),
    limit: Duration::from_secs(60),
};
/// Somebody was first, and what he did has not come by the watch yet.
const OVERTAKEN: Duration = Duration::from_millis(200);
/// What is due again and again is not looked at more often than that, unless something changes.
const SHORTEST: Duration = Duration::from_millis(20);
/// Steps that follow from each other at once; more are a circle, and it is to turn slowly.
const AT_ONCE_LIMIT: u32 = 10;
/// Events that wait to be published; more are dropped, since they are all of one moment.
const NOTICES_LIMIT: usize = 32;

pub(crate) struct ClusterLoop {
    pub(crate) context: Arc<Context>,
    pub(crate) leadership: Leadership,
    pub(crate) key: Key,
    pub(crate) uid: String,
    wake: Arc<Notify>,
    pub(crate) exact: Exact,
    pub(crate) links: Links,
    pub(crate) hearing: Hearing,
    /// The record as it was read or written last; `None` where that is not known.
    pub(crate) known: Option<(Known, Instant)>,
    /// For a cluster that is founded here.
    pub(crate) identity: Option<Uuid>,
    /// The spec as it was read last.
    pub(crate) fit: Option<Fit>,
    pub(crate) desk: Desk,
    pub(crate) jobs: JoinSet<Done>,
    pub(crate) notices: Vec<Notice>,
    /// Due after the last look.
    pub(crate) labels: Vec<Label>,
    /// What keeps members from being made.
    pub(crate) stalls: Vec<Stall>,
    pub(crate) story: Option<Story>,
    pub(crate) handing: Handing,
    pub(crate) calm: Calm,
    pub(crate) switching: Switching,
    /// What the members were made from that are there.
    pub(crate) made: Option<Made>,
    pub(crate) are_made: bool,
    pub(crate) share: Share,
    pub(crate) refusals: Refusals,
    pub(crate) slot: Slot,
    pub(crate) members_retry: Retry,
    pub(crate) labels_retry: Retry,
    retry: Retry,
    due: Instant,
    looked_at: Instant,
    at_once: u32,
    last_error: Option<String>,
}

/// When something that failed may be tried again.
#[derive(Debug)]
pub(crate) struct Retry {
    policy: Policy,
    failures: u32,
    not_before: Instant,
}

impl Retry {
    pub(crate) fn new(policy: Policy) -> Self {
        Self {
            policy,
            failures: 0,
            not_before: Instant::now(),
        }
    }

    pub(crate) fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = Instant::now() + self.policy.delay(self.failures, jitter());
    }

    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
        self.not_before = Instant::now();
    }

    pub(crate) fn not_before(&self) -> Instant {
        self.not_before
    }

    pub(crate) fn is_open(&self) -> bool {
        Instant::now() >= self.not_before
    }
}

/// The keys of a hasher are random.
pub(crate) fn jitter() -> u32 {
    let random = RandomState::new().build_hasher().finish();
    u32::try_from(random >> 32).unwrap_or_default()
}

impl ClusterLoop {
    pub(crate) fn new(
        context: Arc<Context>,
        leadership: Leadership,
        key: Key,
        object: &MySQLCluster,
        wake: Arc<Notify>,
    ) -> Self {
        let share = Share::new(context.metrics.clone(), key.clone());
        let slot = context.captures.slot(key.clone());
        let exact = Exact::new(context.clients.prompt.clone(), &key.namespace);
        let (now, links) = (Instant::now(), Links::new(leadership.witness()));
        Self {
            context,
            leadership,
            key,
            uid: object.uid().unwrap_or_default(),
            wake,
            exact,
            links,
            hearing: Hearing::default(),
            known: None,
            identity: None,
            fit: None,
            desk: Desk::new(),
            jobs: JoinSet::new(),
            notices: Vec::new(),
            labels: Vec::new(),
            stalls: Vec::new(),
            story: None,
            handing: Handing::default(),
            calm: Calm::default(),
            switching: Switching::default(),
            made: None,
            are_made: false,
            share,
            refusals: Refusals::default(),
            slot,
            members_retry: Retry::new(REFUSED),
            labels_retry: Retry::new(REFUSED),
            retry: Retry::new(RETRY),
            due: now,
            looked_at: now,
            at_once: 0,
            last_error: None,
        }
    }

    pub(crate) async fn run(mut self) {
        loop {
            let due = self.due.max(self.retry.not_before());
            tokio::select! {
                () = self.wake.notified() => self.due = Instant::now(),
                event = self.links.next() => {
                    self.hear(event);
                    while let Some(event) = self.links.more() {
                        self.hear(event);
                    }
                }
                Some(done) = self.jobs.join_next() => {
                    match done {
                        Ok(done) => self.filed(done),
                        Err(error) => {
                            self.desk.lost();
                            self.context.metrics.failed(crate::metrics::Failure::Task);
                            tracing::error!(%error, "a job of a cluster broke off");
                        }
                    }
                    self.due = Instant::now();
                }
                () = sleep_until(due) => {
                    if self.look().await == Fate::Ended {
                        break;
                    }
                }
            }
        }
        tracing::info!("the cluster is gone");
    }

    fn hear(&mut self, event: agent_api::client::Event) {
        let member = event.member.clone();
        let effect = self.hearing.take(event, self.context.now());
        if effect.is_answered {
            self.links.answered(&member);
        }
        if effect.is_outdated {
            self.known = None;
        }
        let notices = std::mem::take(&mut self.hearing.notices);
        self.tell(notices);
        // A handover waits for positions, which are no news otherwise.
        let due = match effect.is_urgent || self.handing.since().is_some() {
            true => Instant::now(),
            false => self.looked_at + REPORTS,
        };
        self.due = self.due.min(due);
    }

    pub(crate) fn tell(&mut self, notices: impl IntoIterator<Item = Notice>) {
        self.notices.extend(notices);
        self.notices.truncate(NOTICES_LIMIT);
    }

    /// One look, and when the next one is due.
    async fn look(&mut self) -> Fate {
        let began = Instant::now();
        self.looked_at = began;
        // What arrives while we look makes it due again, by its own event.
        self.due = began + SLOW;
        let outcome = self.pass().await;
        self.context.metrics.passes.observe(began.elapsed().as_secs_f64());
        let fate = match outcome {
            Ok(fate) => {
                self.retry.succeeded();
                self.last_error = None;
                fate
            }
            Err(error) => {
                self.retry.failed();
                self.context.metrics.failed(error.kind());
                let error = error.in_words();
                // Once: it is tried again until it is done.
                if self.last_error.as_deref() != Some(&*error) {
                    tracing::warn!(error, "failed, and tried again soon");
                    self.last_error = Some(error);
                }
                self.due = self.retry.not_before();
                return Fate::Wait(None);
            }
        };
        self.at_once = match fate {
            Fate::Now => self.at_once.saturating_add(1),
            _ => 0,
        };
        self.due = match fate {
            Fate::Ended => self.due,
            Fate::Now if self.at_once <= AT_ONCE_LIMIT => began,
            Fate::Now | Fate::Overtaken => began + OVERTAKEN,
            Fate::Wait(due) => due.map_or(self.due, |due| due.clamp(began + SHORTEST, self.due)),
        };
        fate
    }

    /// The identity of a cluster that is founded now.
    pub(crate) fn new_identity(&mut self) -> Result<Uuid, crate::passwords::Error> {
        if let Some(identity) = self.identity {
            return Ok(identity);
        }
        let mut bytes = [0; 16];
        crate::passwords::random(&mut bytes)?;
        // Version 4, variant 1, as in RFC 9562.
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let identity = Uuid::from_bytes(bytes);
        self.identity = Some(identity);
        Ok(identity)
    }

    /// What is known of members that are no more.
    pub(crate) fn forget_but(&mut self, pods: &BTreeMap<String, impl Sized>) {
        let voters = self.known.as_ref().and_then(|(known, _)| known.record.as_ref());
        let is_voter = |name: &str| voters.is_some_and(|record| record.voters.contains_key(name));
        self.hearing
            .keep_only(|name| pods.contains_key(name) || is_voter(name));
    }
}
