//! How the primary of an epoch came to be: when the one before was lost, and where the time went.
//! Must not decide anything: it is told in status and forgotten.

use std::time::Duration;

use crds::cluster::{PromotionDeadline, PromotionKind, PromotionPhases};
use tokio::time::Instant;
use topology::decision::{Cause, Decision, Occasion, Reason};
use topology::record::Record;

use crate::status::Told;

/// One change of the primary, as far as it has come.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    /// Nobody takes writes since.
    lost_at: Instant,
    cause: Option<Cause>,
    occasion: Option<Occasion>,
    /// A person chose, where no choice was safe.
    is_by_hand: bool,
    /// Why, in words.
    because: Option<String>,
    claimed_at: Option<Instant>,
    chosen_at: Option<Instant>,
    decided_in: Duration,
    opened_at: Option<Instant>,
}

/// What was seen in one look.
pub(crate) struct Scene<'a> {
    pub(crate) record: Option<&'a Record>,
    pub(crate) decision: &'a Decision,
    /// The primary serves as it should.
    pub(crate) is_writable: bool,
    /// Commits wait for replicas: none of them is answered.
    pub(crate) are_commits_waiting: bool,
    /// It says that it takes writes.
    pub(crate) is_open: bool,
    /// Its epoch has been told.
    pub(crate) is_told: bool,
}

impl Story {
    /// Goes on with it, begins one, or ends it.
    pub(crate) fn follow(story: Option<Self>, scene: &Scene<'_>, now: Instant) -> Option<Self> {
        let record = scene.record.filter(|record| record.term.epoch > 0)?;
        let is_moving = record.is_choosing || record.handing_to.is_some();
        let is_lost = |reason: &Reason| matches!(reason, Reason::FailingOver { .. });
        let is_well = scene.is_writable && !scene.are_commits_waiting;
        if is_well && scene.is_told && !is_moving && !scene.decision.because.iter().any(is_lost) {
            return None;
        }
        let mut story = story.unwrap_or(Self {
            lost_at: now,
            cause: None,
            occasion: None,
            is_by_hand: false,
            because: None,
            claimed_at: None,
            chosen_at: None,
            decided_in: Duration::ZERO,
            opened_at: None,
        });
        for reason in &scene.decision.because {
            story.learn(reason);
        }
        if is_moving {
            story.claimed_at.get_or_insert(now);
            // Claimed once more: it was not enough yet.
            (story.chosen_at, story.opened_at) = (None, None);
        } else if story.claimed_at.is_some() {
            story.chosen_at.get_or_insert(now);
        }
        if scene.is_open && story.chosen_at.is_some() {
            story.opened_at.get_or_insert(now);
        }
        Some(story)
    }

    /// The first word on it counts; that the primary failed is heavier than that it was to hand over.
    fn learn(&mut self, reason: &Reason) {
        let is_news = match reason {
            Reason::FailingOver { cause, .. } => self.cause.replace(self.cause.unwrap_or(*cause)).is_none(),
            Reason::HandingOver { why, .. } => {
                let is_first = self.occasion.replace(self.occasion.unwrap_or(*why)).is_none();
                is_first && self.cause.is_none()
            }
            Reason::ByHand { is_done: true, .. } => !std::mem::replace(&mut self.is_by_hand, true),
            _ => false,
        };
        if is_news {
            self.because = Some(reason.to_string());
        }
    }

    /// The record took so long to be written.
    pub(crate) fn decided(&mut self, duration: Duration) {
        self.decided_in = duration;
    }

    pub(crate) fn lasted(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.lost_at)
    }

    /// `deadline` is how long it may take.
    pub(crate) fn told(&self, now: Instant, deadline: Duration) -> Told {
        Told {
            kind: match (self.cause, self.occasion) {
                (None, Some(_)) => PromotionKind::Switchover,
                _ => PromotionKind::Failover,
            },
            cause: match self.is_by_hand {
                true => "ChosenByHand",
                false => word(self.cause, self.occasion),
            },
            because: self.because.clone(),
            duration_ms: millis(self.lasted(now)),
            deadline: match self.lasted(now) < deadline {
                true => PromotionDeadline::Met,
                false => PromotionDeadline::Missed,
            },
            phases: self.phases(now),
        }
    }

    /// Where the time went, if all of it was seen.
    fn phases(&self, now: Instant) -> Option<PromotionPhases> {
        let (claimed, chosen, opened) = (self.claimed_at?, self.chosen_at?, self.opened_at?);
        let between = |from: Instant, to: Instant| to.saturating_duration_since(from);
        let choosing = between(claimed, chosen);
        let decided = self.decided_in.min(choosing);
        let before = millis(choosing - decided);
        // Freezing and reading positions are one: both come with the same reports. Who hands over is closed
        // and caught up with, and nobody has to be chosen.
        let (freeze, choose) = match self.cause.is_none() && self.occasion.is_some() {
            true => (before, 0),
            false => (0, before),
        };
        Some(PromotionPhases {
            detect: millis(between(self.lost_at, claimed)),
            freeze,
            choose,
            decide: millis(decided),
            barrier: millis(between(chosen, opened)),
            expose: millis(between(opened, now)),
        })
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// One word for programs.
fn word(cause: Option<Cause>, occasion: Option<Occasion>) -> &'static str {
    match (cause, occasion) {
        (Some(Cause::MysqldDead), _) => "MysqldDead",
        (Some(Cause::Unreachable), _) => "PrimaryUnreachable",
        (Some(Cause::Hung), _) => "MysqldHung",
        (Some(Cause::CutOff), _) => "PrimaryCutOff",
        (Some(Cause::DiskFull), _) => "DiskFull",
        (Some(Cause::VolumeFails), _) => "VolumeFails",
        (Some(Cause::DataLost), _) => "DataLost",
        (Some(Cause::SetBack), _) => "VolumeSetBack",
        (None, Some(Occasion::Asked)) => "Requested",
        (None, Some(Occasion::Removed)) => "ScaledDown",
        (None, Some(Occasion::PodEnds)) => "PodDeleted",
        (None, Some(Occasion::Update)) => "Update",
        // It began under another controller.
        (None, None) => "PrimaryLost",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use topology::decision::{ClusterState, Plan};
    use topology::gtid::Uuid;
    use topology::term::Term;

    use super::*;

    fn record(epoch: u64, is_choosing: bool) -> Record {
        Record {
            is_choosing,
            acknowledged_by: 1,
            wait_for: 1,
            ..Record::of(Uuid::from_bytes([7; 16]), Term::new(epoch, epoch), "orders-0")
        }
    }

    fn decision(because: Vec<Reason>) -> Decision {
        Decision {
            state: ClusterState::FailingOver,
            plan: Plan::default(),
            members: BTreeMap::new(),
            because,
            refused: Vec::new(),
            wake: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failover_says_where_its_time_went() {
        let lost = Reason::FailingOver {
            from: "orders-0".into(),
            cause: Cause::MysqldDead,
        };
        let (why, nothing) = (decision(vec![lost]), decision(vec![]));
        let mut story = None;
        // After each of them, so long passes.
        for (record, decision, is_open, millis) in [
            (record(1, false), &why, false, 20),
            (record(2, true), &nothing, false, 70),
            (record(2, false), &nothing, false, 45),
            (record(2, false), &nothing, true, 8),
        ] {
            let scene = Scene {
                record: Some(&record),
                decision,
                is_writable: is_open,
                are_commits_waiting: false,
                is_open,
                is_told: record.term.epoch == 1,
            };
            story = Story::follow(story, &scene, Instant::now());
            tokio::time::advance(Duration::from_millis(millis)).await;
        }
        let mut story = story.unwrap();
        story.decided(Duration::from_millis(15));
        let now = Instant::now();
        let phases = story.phases(now).unwrap();
        let all = [
            phases.detect,
            phases.choose,
            phases.decide,
            phases.barrier,
            phases.expose,
        ];
        assert_eq!(all, [20, 55, 15, 45, 8]);
        assert_eq!(story.lasted(now), Duration::from_millis(143));
        let second = Duration::from_secs(1);
        let told = story.told(now, second);
        assert_eq!(
            (told.cause, told.deadline),
            ("MysqldDead", PromotionDeadline::Met)
        );
        assert_eq!(
            told.because.as_deref(),
            Some("failing over from orders-0: its mysqld ended")
        );
        let late = story.told(now + second, second);
        assert_eq!(late.deadline, PromotionDeadline::Missed);
        let record = record(2, false);
        let told = Scene {
            record: Some(&record),
            decision: &nothing,
            is_writable: true,
            are_commits_waiting: false,
            is_open: true,
            is_told: true,
        };
        assert!(Story::follow(Some(story), &told, now).is_none());
    }

    /// Its replicas cannot reach it: it is open, and answers no commit.
    #[tokio::test(start_paused = true)]
    async fn commits_that_wait_count_and_so_does_the_word_on_why_it_was_replaced() {
        let cut_off = Reason::FailingOver {
            from: "orders-0".into(),
            cause: Cause::CutOff,
        };
        let (nothing, why) = (decision(vec![]), decision(vec![cut_off]));
        let mut story = None;
        for (decision, are_commits_waiting, seconds) in
            [(&nothing, false, 60), (&nothing, true, 12), (&why, false, 1)]
        {
            let scene = Scene {
                record: Some(&record(1, false)),
                decision,
                is_writable: true,
                are_commits_waiting,
                is_open: true,
                is_told: true,
            };
            story = Story::follow(story, &scene, Instant::now());
            tokio::time::advance(Duration::from_secs(seconds)).await;
        }
        let told = story.unwrap().told(Instant::now(), Duration::from_secs(30));
        assert_eq!((told.cause, told.duration_ms), ("PrimaryCutOff", 13_000));
    }
}
