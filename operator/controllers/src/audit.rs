//! What was decided about who is primary and about its epoch, as log lines for those who ask later.
//! Must not decide, nor hold back what follows: it is told what was done.
//!
//! The target of all lines is `audit`: `HOLDFAST_LOG=warn,audit=info` keeps them alone.

use std::collections::BTreeMap;

use crds::cluster::{Promotion, PromotionPhases};
use topology::decision::{Decision, Refusal};
use topology::record::Record;

use crate::metrics::{Metrics, Refused};
use crate::status;

/// What a new version of the record decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Who is to be the first primary, of an empty cluster.
    Founded,
    /// Volumes of an earlier cluster are taken over: an epoch is claimed for them.
    Adopting,
    /// The first epoch begins.
    FirstEpoch,
    /// The primary is lost, and the next epoch is claimed.
    FailingOver,
    /// The same where too few are seen, for whom a person named.
    ClaimedByHand,
    /// Who is primary of the claimed epoch.
    Chosen,
    /// The same where no choice was safe: a person did.
    ChosenByHand,
    /// The primary is to hand over.
    HandingOver,
    /// It stays primary.
    TakenBack,
    /// The next epoch begins with who took over.
    HandedOver,
}

impl Act {
    fn as_str(self) -> &'static str {
        match self {
            Act::Founded => "Founded",
            Act::Adopting => "Adopting",
            Act::FirstEpoch => "FirstEpoch",
            Act::FailingOver => "FailingOver",
            Act::ClaimedByHand => "ClaimedByHand",
            Act::Chosen => "Chosen",
            Act::ChosenByHand => "ChosenByHand",
            Act::HandingOver => "HandingOver",
            Act::TakenBack => "TakenBack",
            Act::HandedOver => "HandedOver",
        }
    }

    /// None where neither the primary nor the epoch is touched.
    pub(crate) fn of(before: Option<&Record>, next: &Record) -> Option<Self> {
        let Some(before) = before else {
            return Some(match next.term.epoch {
                0 => Act::Founded,
                _ => Act::Adopting,
            });
        };
        let is_new_epoch = next.term.epoch != before.term.epoch;
        let is_by_hand = next.by_hand.is_some();
        if next.is_choosing {
            let act = if is_by_hand {
                Act::ClaimedByHand
            } else {
                Act::FailingOver
            };
            return (is_new_epoch || !before.is_choosing).then_some(act);
        }
        if before.is_choosing {
            return Some(if is_by_hand {
                Act::ChosenByHand
            } else {
                Act::Chosen
            });
        }
        if is_new_epoch {
            return Some(match before.handing_to {
                Some(_) => Act::HandedOver,
                None => Act::FirstEpoch,
            });
        }
        match (&before.handing_to, &next.handing_to) {
            (was, Some(is)) if was.as_ref() != Some(is) => Some(Act::HandingOver),
            (Some(_), None) => Some(Act::TakenBack),
            _ => (before.primary != next.primary).then_some(Act::Founded),
        }
    }
}

/// The record was written.
pub(crate) fn recorded(before: Option<&Record>, next: &Record, decision: &Decision) {
    let Some(act) = Act::of(before, next) else { return };
    let to = match act {
        // Nobody is chosen yet.
        Act::Adopting | Act::FailingOver => None,
        Act::HandingOver => next.handing_to.as_deref(),
        Act::ClaimedByHand => next.by_hand.as_ref().map(|named| named.member.as_str()),
        _ => Some(next.primary.as_str()),
    };
    tracing::info!(
        target: "audit",
        action = act.as_str(),
        from = before.map(|before| before.primary.as_str()),
        to,
        epoch = next.term.epoch,
        term = %next.term,
        because = status::because(decision),
        "recorded"
    );
}

/// Somebody takes writes in a new epoch, and the status says so.
pub(crate) fn promoted(promotion: &Promotion) {
    let PromotionPhases {
        detect,
        freeze,
        choose,
        decide,
        barrier,
        expose,
    } = promotion.phases_ms.clone().unwrap_or_default();
    tracing::info!(
        target: "audit",
        action = "Promoted",
        kind = ?promotion.kind,
        from = promotion.from,
        to = promotion.to,
        epoch = promotion.epoch,
        reason = promotion.reason,
        because = promotion.because,
        duration_ms = promotion.duration_ms,
        deadline = promotion.deadline.map(|deadline| format!("{deadline:?}")),
        has_phases = promotion.phases_ms.is_some(),
        detect_ms = detect,
        freeze_ms = freeze,
        choose_ms = choose,
        decide_ms = decide,
        barrier_ms = barrier,
        expose_ms = expose,
        "a primary takes writes"
    );
}

/// What was refused at the last look.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    standing: BTreeMap<Refused, String>,
}

impl Refusals {
    /// Told when one begins, when its words change, and when it ends; counted when it begins.
    pub(crate) fn follow(&mut self, decision: &Decision, metrics: &Metrics) {
        let mut now = BTreeMap::new();
        for refusal in &decision.refused {
            if let Some(reason) = reason(refusal) {
                now.entry(reason).or_insert_with(|| refusal.to_string());
            }
        }
        for (reason, because) in &now {
            let was = self.standing.get(reason);
            if was.is_none() {
                metrics.refused(*reason);
            }
            if was != Some(because) {
                let reason = reason.as_str();
                tracing::warn!(target: "audit", action = "Refused", reason, because, "nobody takes over");
            }
        }
        for reason in self.standing.keys().filter(|reason| !now.contains_key(reason)) {
            let reason = reason.as_str();
            tracing::info!(target: "audit", action = "RefusalEnded", reason, "refused no more");
        }
        self.standing = now;
    }
}

/// Of handovers from a primary that is well nothing is refused that anybody waits for.
fn reason(refusal: &Refusal) -> Option<Refused> {
    Some(match refusal {
        Refusal::QuorumLost { .. } => Refused::QuorumLost,
        Refusal::PrimaryDataLost { .. } => Refused::PrimaryDataLost,
        Refusal::HistoryDiverged { .. } => Refused::HistoryDiverged,
        Refusal::PrimaryUnreachable { .. } => Refused::PrimaryUnreachable,
        Refusal::MixedVolumes { .. } => Refused::MixedVolumes,
        Refusal::RecordLost => Refused::RecordLost,
        Refusal::AwaitingApproval { .. } => Refused::AwaitingApproval,
        Refusal::CoolingDown { .. } => Refused::CoolingDown,
        // Said beside what is refused.
        Refusal::LeftToPeople { .. } => return None,
        Refusal::NoSuccessor { .. } | Refusal::HandoverWaits { .. } => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use topology::decision::{Cause, ClusterState, Plan, Reason};
    use topology::gtid::Uuid;
    use topology::term::Term;

    use super::*;

    fn record(epoch: u64, primary: &str) -> Record {
        Record {
            acknowledged_by: 1,
            wait_for: 1,
            ..Record::of(Uuid::from_bytes([7; 16]), Term::new(epoch, 3), primary)
        }
    }

    fn choosing(epoch: u64) -> Record {
        Record {
            is_choosing: true,
            ..record(epoch, "orders-0")
        }
    }

    fn handing(to: &str) -> Record {
        Record {
            handing_to: Some(to.into()),
            ..record(1, "orders-0")
        }
    }

    #[test]
    fn every_change_of_primary_or_epoch_has_a_name() {
        let (zero, one) = (record(0, "orders-0"), record(1, "orders-0"));
        for (before, next, act) in [
            (None, &zero, Act::Founded),
            (Some(&zero), &record(0, "orders-1"), Act::Founded),
            (Some(&zero), &one, Act::FirstEpoch),
            (None, &choosing(4), Act::Adopting),
            (Some(&one), &choosing(2), Act::FailingOver),
            (Some(&handing("orders-1")), &choosing(2), Act::FailingOver),
            (Some(&choosing(2)), &choosing(3), Act::FailingOver),
            (Some(&choosing(2)), &record(2, "orders-0"), Act::Chosen),
            (Some(&one), &handing("orders-1"), Act::HandingOver),
            (Some(&handing("orders-1")), &handing("orders-2"), Act::HandingOver),
            (Some(&handing("orders-1")), &one, Act::TakenBack),
            (
                Some(&handing("orders-1")),
                &record(2, "orders-1"),
                Act::HandedOver,
            ),
        ] {
            assert_eq!(Act::of(before, next), Some(act), "{before:?} {next:?}");
        }
    }

    #[test]
    fn what_a_person_decided_has_names_of_its_own() {
        let by_hand = |record: Record| Record {
            by_hand: Some(topology::record::ByHand {
                member: "orders-2".into(),
                unheard: Default::default(),
                given_up: Default::default(),
            }),
            ..record
        };
        let one = record(1, "orders-0");
        let claimed = by_hand(choosing(2));
        let of = |before: &Record, next: &Record| Act::of(Some(before), next);
        assert_eq!(of(&one, &claimed), Some(Act::ClaimedByHand));
        assert_eq!(
            of(&claimed, &by_hand(record(2, "orders-2"))),
            Some(Act::ChosenByHand)
        );
        // Enough came back: it was not needed.
        assert_eq!(of(&claimed, &record(2, "orders-0")), Some(Act::Chosen));
    }

    #[test]
    fn what_touches_neither_is_not_told() {
        let one = record(1, "orders-0");
        let wider = Record {
            wait_for: 2,
            ..one.clone()
        };
        for (before, next) in [
            (&one, &wider),
            (&handing("orders-1"), &handing("orders-1")),
            (&choosing(2), &choosing(2)),
        ] {
            assert_eq!(Act::of(Some(before), next), None);
        }
    }

    /// What is logged meanwhile, as the operator does.
    fn lines(act: impl FnOnce()) -> Vec<serde_json::Value> {
        let (sender, receiver) = std::sync::mpsc::channel();
        let writer = move || Line(sender.clone());
        let log = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_writer(writer);
        tracing::subscriber::with_default(log.finish(), act);
        let lines = receiver.try_iter();
        lines.map(|line| serde_json::from_slice(&line).unwrap()).collect()
    }

    struct Line(std::sync::mpsc::Sender<Vec<u8>>);

    impl std::io::Write for Line {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            self.0.send(line.to_vec()).unwrap();
            Ok(line.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_read_by_programs() {
        let lost = Reason::FailingOver {
            from: "orders-0".into(),
            cause: Cause::MysqldDead,
        };
        let decision = Decision {
            state: ClusterState::FailingOver,
            plan: Plan::default(),
            members: BTreeMap::new(),
            because: vec![lost],
            refused: Vec::new(),
            wake: None,
        };
        let one = record(1, "orders-0");
        let said = lines(|| {
            recorded(Some(&one), &choosing(2), &decision);
            recorded(Some(&choosing(2)), &record(2, "orders-1"), &decision);
            recorded(Some(&one), &one, &decision);
        });
        assert_eq!(said.len(), 2);
        for (line, action, to) in [
            (&said[0], "FailingOver", serde_json::Value::Null),
            (&said[1], "Chosen", "orders-1".into()),
        ] {
            assert_eq!(
                (&line["target"], &line["action"]),
                (&"audit".into(), &action.into())
            );
            assert_eq!(line["from"], "orders-0");
            assert_eq!(line["to"], to);
            assert_eq!(line["epoch"], 2);
            assert_eq!(line["because"], "failing over from orders-0: its mysqld ended");
        }
    }

    #[test]
    fn a_refusal_is_counted_once_while_it_stands() {
        let mut registry = kit::metrics::registry();
        let metrics = Metrics::new(&mut registry);
        let decision = |refused: Vec<Refusal>| Decision {
            state: ClusterState::PrimaryUnavailable,
            plan: Plan::default(),
            members: BTreeMap::new(),
            because: Vec::new(),
            refused,
            wake: None,
        };
        let unreachable = decision(vec![Refusal::PrimaryUnreachable {
            primary: "orders-0".into(),
        }]);
        let (nothing, lost) = (decision(vec![]), decision(vec![Refusal::RecordLost]));
        let mut refusals = Refusals::default();
        for look in [&unreachable, &unreachable, &nothing, &unreachable, &lost] {
            refusals.follow(look, &metrics);
        }
        let said = kit::metrics::answer(&registry).body;
        for (reason, count) in [("PrimaryUnreachable", 2), ("RecordLost", 1), ("QuorumLost", 0)] {
            let line = format!("holdfast_failovers_refused_total{{reason=\"{reason}\"}} {count}\n");
            assert!(said.contains(&line), "{line}{said}");
        }
    }
}
