//! Epoch 0: the first primary is made, others gather behind it, nobody was promised anything yet.
//! Must not open it before enough replicas are counted.

use std::collections::BTreeSet;

use super::quorum;
use super::scene::{Scene, everything};
use super::{restarts, supply, view};
use crate::decision::{ClusterState, Decision, Plan, Reason};
use crate::record::Record;

/// Another founder is taken when this one was not heard of for so long.
const FOUNDER_SILENCE_MS: u64 = 15_000;

pub(super) fn decide(scene: &Scene<'_>) -> Decision {
    let mut decision = Decision {
        state: ClusterState::Creating,
        plan: Plan {
            exist: scene.existing(),
            ..Plan::default()
        },
        members: view::members(scene),
        because: Vec::new(),
        refused: Vec::new(),
        wake: None,
    };
    if let Some((record, reason)) = another_founder(scene).or_else(|| first_epoch(scene)) {
        decision.plan.record = Some(record);
        decision.because.push(reason);
        return decision;
    }
    if let Some((record, reason)) = quorum::joined(scene) {
        decision.plan.record = Some(record);
        decision.because.push(reason);
        return decision;
    }
    decision.plan.replace = restarts::stuck(scene.seen, &decision.plan.exist);
    let (assign, reasons) = supply::assignments(scene);
    decision.plan.assign = assign;
    decision.because.extend(reasons);
    let missing: BTreeSet<String> = scene
        .spec
        .members()
        .into_iter()
        .filter(|name| scene.running(name).is_none())
        .collect();
    if !missing.is_empty() {
        decision.because.push(Reason::WaitingFor { members: missing });
    }
    let have = u16::try_from(scene.receiving().len()).unwrap_or(u16::MAX);
    match scene
        .running(scene.primary())
        .is_some_and(|at| at.report.is_founded)
    {
        true => decision.because.push(Reason::WaitingForReplicas {
            have,
            need: scene.spec.sync_replicas,
        }),
        false => decision.because.push(Reason::Founding {
            primary: scene.primary().to_owned(),
        }),
    }
    decision.wake = Some(scene.now + FOUNDER_SILENCE_MS);
    decision
}

/// The founder's volume is another one, or it was not heard of for long: since nothing was promised,
/// any other will do. What the others copied from the first is thrown away by them.
fn another_founder(scene: &Scene<'_>) -> Option<(Record, Reason)> {
    let founder = scene.primary();
    let recorded = scene.voter(founder).and_then(|voter| voter.incarnation);
    let next = match scene.running(founder) {
        Some(at) if Some(at.server.incarnation) == recorded => return None,
        Some(at) if everything(at.server).is_empty() => founder,
        Some(_) => return None,
        None => {
            let member = scene.seen.members.get(founder)?;
            let is_silent =
                !member.is_connected && scene.now.saturating_sub(member.reported_at) > FOUNDER_SILENCE_MS;
            let others: Vec<&'_ str> = scene
                .record
                .voters
                .keys()
                .map(String::as_str)
                .filter(|name| scene.running(name).is_some())
                .collect();
            let need = usize::from(scene.spec.instances.saturating_sub(scene.spec.sync_replicas));
            if !is_silent || others.len() < need {
                return None;
            }
            others.first().copied()?
        }
    };
    let at = scene.running(next)?;
    let mut record = scene.record.revised();
    record.primary = next.to_owned();
    for (name, voter) in &mut record.voters {
        voter.incarnation = (name == next).then_some(at.server.incarnation);
    }
    let primary = next.to_owned();
    Some((record, Reason::Founding { primary }))
}

/// The founder is done and enough replicas are counted: the first epoch.
fn first_epoch(scene: &Scene<'_>) -> Option<(Record, Reason)> {
    let at = scene.living_primary()?;
    let have = scene.receiving().len();
    if !at.report.is_founded || have < usize::from(scene.spec.sync_replicas) {
        return None;
    }
    let mut record = scene.record.next_epoch();
    record.wait_for = scene.spec.sync_replicas;
    // Nothing was acknowledged before, and nothing will be by fewer.
    record.acknowledged_by = scene.spec.sync_replicas;
    record.cut = Some(at.server.executed.clone());
    let reason = Reason::Opening {
        primary: scene.primary().to_owned(),
        epoch: record.term.epoch,
    };
    Some((record, reason))
}

#[cfg(test)]
mod tests;
