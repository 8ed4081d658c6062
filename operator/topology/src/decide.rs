//! The decision about a cluster: dispatch by what is remembered.
//! Must not act, and must not rest on anything but its arguments.

mod backlog;
mod birth;
mod by_hand;
mod choosing;
mod cooldown;
mod exposure;
mod failover;
mod founding;
mod handover;
mod quorum;
mod restarts;
mod ruling;
mod scene;
mod supply;
mod view;

pub(crate) use cooldown::COUNT_LIMIT as FAILOVERS_LIMIT;

use crate::decision::{ClusterState, Decision, Plan, Reason};
use crate::observed::{Observed, Spec, Timestamp};
use crate::record::Record;
use scene::Scene;

/// What should happen next, and why.
pub fn decide(spec: &Spec, seen: &Observed, memory: Option<&Record>, now: Timestamp) -> Decision {
    let mut decision = match memory {
        None => birth::decide(spec, seen, now),
        Some(record) => {
            let scene = Scene::new(spec, seen, record, now);
            match (record.is_choosing, record.term.epoch) {
                (true, _) => choosing::decide(&scene),
                (false, 0) => founding::decide(&scene),
                (false, _) => ruling::decide(&scene),
            }
        }
    };
    if spec.is_suspended {
        decision.state = ClusterState::Suspended;
        decision.plan = Plan::default();
        decision.because = vec![Reason::Suspended];
    } else if decision.plan.record.is_some() {
        // What follows from the new record is decided when it is written.
        let exist = std::mem::take(&mut decision.plan.exist);
        let record = decision.plan.record.take();
        decision.plan = Plan {
            record,
            exist,
            ..Plan::default()
        };
    }
    decision
}
