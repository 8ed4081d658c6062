//! What an elector may do next: the product's own decision and check, asked with every view it may have.
//! Must not decide: what is broken on purpose is done to what goes in or comes out.

use std::collections::HashMap;

use topology::check::check;
use topology::decide::decide;
use topology::decision::{Decision, Plan};
use topology::observed::{Member, Observed, Pod, Spec, Volume};
use topology::record::Record;
use topology::watch::Watch;

use crate::bounds::{Bounds, Fault};
use crate::pool::{CLUSTER, Pool, Snap, host, index, name};

/// Long after everything that could be waited for.
const NOW_MS: u64 = 1_000_000;
/// What a replica says that hears nothing of its source.
const SILENCE_MS: u64 = 900_000;

/// A step that some elector may take, with one of the views that lead to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    /// The record is written, if nobody was first.
    Record {
        from: u16,
        to: u16,
    },
    Order(u16),
    /// The check refuses the plan.
    Refused,
}

/// What an elector knows: at most one report of each member, and a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct View {
    pub(crate) record: u16,
    /// In the order in which they were heard, the last of a member counts; one that is missing is not
    /// connected.
    pub(crate) heard: Vec<Snap>,
    /// Replicas hear nothing of the primary.
    pub(crate) is_deaf: bool,
    /// Nor can they reach it, as they say, while the elector hears of it.
    pub(crate) is_cut_off: bool,
    /// The elector begins with this look: nothing is known of the order of events.
    pub(crate) is_new: bool,
}

pub(crate) struct Elector {
    spec: Spec,
    fault: Fault,
    is_checked: bool,
    known: HashMap<View, Vec<Outcome>>,
}

impl Elector {
    pub(crate) fn new(bounds: &Bounds, fault: Fault, is_checked: bool) -> Self {
        let spec = Spec {
            name: CLUSTER.into(),
            instances: u16::from(bounds.members),
            sync_replicas: u16::from(bounds.wanted_sync_replicas),
            is_suspended: false,
            is_failover_manual: false,
            memory_bytes: 0,
            is_tls_required: false,
            parameters: Default::default(),
            lag_limit_ms: 10_000,
            reads_fall_back: true,
            switchover: None,
        };
        Self {
            spec,
            fault,
            is_checked,
            known: HashMap::new(),
        }
    }

    pub(crate) fn outcomes(&mut self, view: View, pool: &mut Pool) -> &[Outcome] {
        if !self.known.contains_key(&view) {
            let outcomes = self.decided(&view, pool);
            self.known.insert(view.clone(), outcomes);
        }
        &self.known[&view]
    }

    fn decided(&self, view: &View, pool: &mut Pool) -> Vec<Outcome> {
        let record = pool.record(view.record).record.clone();
        let seen = observed(view, self.spec.instances, pool);
        let mut decision = match self.fault {
            Fault::AmnesiacCounted => {
                let seen = with_recorded_incarnations(&seen, &record);
                decide(&self.spec, &seen, Some(&record), NOW_MS)
            }
            Fault::SmallerQuorum => {
                let mut doctored = record.clone();
                doctored.acknowledged_by += 1;
                decide(&self.spec, &seen, Some(&doctored), NOW_MS)
            }
            _ => decide(&self.spec, &seen, Some(&record), NOW_MS),
        };
        self.doctor(&mut decision, &record, &seen);
        let plan = &decision.plan;
        if self.is_checked && check(&self.spec, &seen, Some(&record), plan).is_err() {
            return vec![Outcome::Refused];
        }
        if let Some(next) = &plan.record {
            let to = pool.name_record(next);
            return vec![Outcome::Record {
                from: view.record,
                to,
            }];
        }
        let has = |member: u8| {
            let mut heard = view.heard.iter().rev();
            heard.find(|snap| snap.member == member)?.order
        };
        let orders = plan.assign.values();
        let orders = orders.map(|order| (index(&order.member), pool.name_order(order)));
        orders
            .filter(|(member, order)| has(*member) != Some(*order))
            .map(|(_, order)| Outcome::Order(order))
            .collect()
    }

    /// A plan as it would be if the rule did not hold.
    fn doctor(&self, decision: &mut Decision, before: &Record, seen: &Observed) {
        if self.fault == Fault::SmallerQuorum {
            let orders = decision.plan.assign.values_mut();
            for record in orders.filter_map(|order| order.record.as_mut()) {
                record.acknowledged_by = before.acknowledged_by;
            }
        }
        if self.fault == Fault::LeftOutCounted
            && !before.left_out.is_empty()
            && let Some(next) = chosen_too_soon(before, seen)
        {
            decision.plan = Plan {
                record: Some(next),
                ..Plan::default()
            };
        }
        let Some(next) = &mut decision.plan.record else {
            return;
        };
        match self.fault {
            Fault::SmallerQuorum => next.acknowledged_by -= 1,
            Fault::NoCut => next.cut = None,
            Fault::NoBarrierForQuorum => next.acknowledged_by = next.wait_for,
            Fault::CountOnly if before.is_choosing && !next.is_choosing => {
                let longest = seen
                    .members
                    .iter()
                    .filter(|(_, member)| member.is_connected)
                    .filter_map(|(name, member)| {
                        let server = member.report.as_ref()?.server.as_ref()?;
                        Some((name, server.executed.union(&server.received)))
                    })
                    .max_by_key(|(_, set)| set.count());
                if let Some((name, set)) = longest {
                    next.primary = name.clone();
                    next.cut = Some(set);
                }
            }
            _ => {}
        }
    }
}

/// The longest history of those who hold still and are not left out, as soon as all who hold still are enough.
fn chosen_too_soon(before: &Record, seen: &Observed) -> Option<Record> {
    let still = seen.members.iter().filter_map(|(name, member)| {
        let report = member.report.as_ref().filter(|_| member.is_connected)?;
        let server = report.server.as_ref()?;
        let is_still = report.is_settled && report.assignment.as_ref()?.term() == before.term;
        (is_still && before.counts(name, server.incarnation)).then_some((name, server))
    });
    let still: Vec<_> = still.collect();
    let is_enough = still.len() + usize::from(before.acknowledged_by) >= before.voters.len();
    let others = still.iter().filter(|(name, _)| !before.left_out.contains(*name));
    let sets = others.map(|(name, server)| (*name, server.executed.union(&server.received)));
    let (name, set) = sets.max_by_key(|(_, set)| set.count()).filter(|_| is_enough)?;
    let mut record = before.revised();
    record.is_choosing = false;
    record.left_out.clear();
    record.primary.clone_from(name);
    record.cut = Some(set);
    Some(record)
}

/// Everything a new volume says is believed to be said by the one that was recorded.
fn with_recorded_incarnations(seen: &Observed, record: &Record) -> Observed {
    let mut seen = seen.clone();
    for (name, member) in &mut seen.members {
        let server = member.report.as_mut().and_then(|report| report.server.as_mut());
        if let (Some(server), Some(recorded)) = (server, record.voters[name].incarnation) {
            server.incarnation = recorded;
        }
    }
    seen
}

fn observed(view: &View, instances: u16, pool: &Pool) -> Observed {
    let mut seen = Observed {
        had_primary: true,
        ..Observed::default()
    };
    for number in 0..instances {
        let member = u8::try_from(number).expect("a small number");
        seen.members.insert(name(member), unseen(member));
    }
    let silence_ms = if view.is_deaf { SILENCE_MS } else { 0 };
    let mut watch = Watch::default();
    for snap in &view.heard {
        let mut report = pool.report(snap, silence_ms);
        let server = report.server.as_mut().filter(|_| view.is_cut_off);
        if let Some(follows) = server.and_then(|server| server.follows.as_mut()) {
            (follows.is_receiving, follows.is_unreached) = (false, true);
        }
        // Every report is younger than what came before it: it was sampled after the last ping.
        watch.heard(&report, 0);
        let member = seen.members.get_mut(&report.member).expect("a member");
        member.report = Some(report);
        member.reported_at = NOW_MS;
        member.is_connected = true;
    }
    if !view.is_new {
        watch.fill(&mut seen);
    }
    seen
}

/// A member of which nothing was heard for long.
fn unseen(member: u8) -> Member {
    Member {
        pod: Some(Pod {
            ip: Some(host(member)),
            node: Some("node".into()),
            replication_port: None,
            is_current: true,
            ..Pod::default()
        }),
        volume: Some(Volume {
            is_of_this_cluster: true,
            ..Volume::default()
        }),
        ..Member::default()
    }
}
