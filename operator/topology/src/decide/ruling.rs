//! Epoch 1 and later: the cluster has a primary, and is kept as the spec asks.
//! Must not move the primary but through the record: by a handover, or the claim of the next epoch.

use std::collections::BTreeSet;

use super::scene::Scene;
use super::{backlog, by_hand, cooldown, exposure, failover, handover, quorum, restarts, supply, view};
use crate::decision::{Cause, ClusterState, Decision, MemberRole, Occasion, Plan, Reason, Refusal};
use crate::record::Record;
use crate::report::Report;

/// How soon an unseen member is looked at again.
const AGAIN_MS: u64 = 2_000;

pub(super) fn decide(scene: &Scene<'_>) -> Decision {
    let mut decision = Decision {
        state: ClusterState::Healthy,
        plan: Plan {
            exist: scene.existing(),
            remove: superfluous(scene),
            ..Plan::default()
        },
        members: view::members(scene),
        because: Vec::new(),
        refused: refusals(scene),
        wake: None,
    };
    match failover::next(scene) {
        Some(Ok((record, reason))) => {
            decision.state = ClusterState::FailingOver;
            decision.plan.record = Some(record);
            decision.because.push(reason);
            // Somebody takes over: that nobody may, or that a volume must come back, is no longer true.
            decision.refused.clear();
            return decision;
        }
        Some(Err(refusal)) => {
            if matches!(refusal, Refusal::CoolingDown { .. }) {
                // It is known to be lost: only the pause keeps another from taking over.
                decision.refused.clear();
            }
            decision.refused.push(refusal);
        }
        None => {
            if is_claimed_by_hand(scene, &mut decision) {
                return decision;
            }
        }
    }
    let change = match role_moves(scene, &mut decision) {
        Some(change) => Some(change),
        None if scene.record.handing_to.is_some() => None,
        None => quorum::next(scene).or_else(|| cooldown::forgotten(scene)),
    };
    if let Some((record, reason)) = change {
        decision.plan.record = Some(record);
        decision.because.push(reason);
    }
    let (assign, reasons) = supply::assignments(scene);
    decision.plan.assign = assign;
    decision.because.extend(reasons);
    decision.plan.expose = exposure::next(scene);
    if let Some((name, reason)) = restarts::replaced(scene) {
        decision.plan.replace = Some(name);
        decision.because.push(reason);
    }
    let parameters = restarts::pending_at_primary(scene);
    let is_due = !parameters.is_empty() || restarts::is_primary_outdated(scene);
    if is_due && !restarts::is_alone(scene) {
        decision
            .because
            .push(Reason::PrimaryRestartPending { parameters });
    }
    decision.state = match is_moving(scene, &decision) {
        true => ClusterState::SwitchingOver,
        false => state(scene, &mut decision),
    };
    decision.wake = wake(scene, &decision);
    decision
}

/// Too few are seen, and a person named somebody; or what a person could do is told.
fn is_claimed_by_hand(scene: &Scene<'_>, decision: &mut Decision) -> bool {
    let Some((record, reasons)) = by_hand::claim(scene, &decision.refused) else {
        let advice = by_hand::advice(scene, &decision.refused);
        decision.refused.extend(advice);
        return false;
    };
    decision.state = ClusterState::FailingOver;
    decision.plan.record = Some(record);
    decision.because.extend(reasons);
    decision.refused.clear();
    true
}

fn wake(scene: &Scene<'_>, decision: &Decision) -> Option<u64> {
    let exist = &decision.plan.exist;
    let is_all_seen = exist.iter().all(|name| scene.running(name).is_some());
    let again = match (&scene.record.handing_to, is_all_seen) {
        (Some(_), _) => Some(handover::limit(scene)),
        (None, false) => Some(scene.now + AGAIN_MS),
        (None, true) => None,
    };
    let of_pause = decision.refused.iter().find_map(|refusal| match refusal {
        Refusal::CoolingDown { within_ms, .. } => Some(cooldown::next_word_at(scene, *within_ms)),
        _ => None,
    });
    let all = [again, of_pause, cooldown::wake(scene), handover::wake(scene)];
    all.into_iter().flatten().min()
}

/// The step of a handover that is under way, or the beginning of one.
fn role_moves(scene: &Scene<'_>, decision: &mut Decision) -> Option<(Record, Reason)> {
    if let Some(to) = &scene.record.handing_to {
        let change = handover::under_way(scene, to);
        if change.is_none() {
            decision.because.push(Reason::HandingOver {
                from: scene.primary().to_owned(),
                to: to.clone(),
                why: handover::occasion(scene).unwrap_or(Occasion::Asked),
            });
        }
        return change;
    }
    match handover::begin(scene)? {
        Ok(change) => Some(change),
        Err(refusal) => {
            decision.refused.push(refusal);
            None
        }
    }
}

fn is_moving(scene: &Scene<'_>, decision: &Decision) -> bool {
    let begins = decision
        .plan
        .record
        .as_ref()
        .is_some_and(|next| next.handing_to.is_some());
    scene.record.handing_to.is_some() || begins
}

/// Pods that nobody asks for and whose acknowledgement never counts any more.
fn superfluous(scene: &Scene<'_>) -> BTreeSet<String> {
    let existing = scene.existing();
    let pods = scene
        .seen
        .members
        .iter()
        .filter(|(_, member)| member.pod.is_some());
    pods.map(|(name, _)| name.clone())
        .filter(|name| !existing.contains(name))
        .collect()
}

fn refusals(scene: &Scene<'_>) -> Vec<Refusal> {
    let mut refused = Vec::new();
    let primary = scene.primary();
    let recorded = scene.voter(primary).and_then(|voter| voter.incarnation);
    match (scene.running(primary), recorded) {
        (Some(at), Some(recorded)) if at.server.incarnation != recorded => {
            refused.push(Refusal::PrimaryDataLost {
                primary: primary.to_owned(),
                recorded,
                found: at.server.incarnation,
            });
        }
        (Some(at), _) if !scene.is_whole(at) => refused.extend(quorum_lost(scene)),
        (None, _) if scene.connected(primary).is_none() => {
            refused.push(Refusal::PrimaryUnreachable {
                primary: primary.to_owned(),
            });
            // Nobody would be asked for who is alone: it is away, be it for a restart.
            refused.extend(quorum_lost(scene).filter(|_| !restarts::is_alone(scene)));
        }
        _ => {}
    }
    refused
}

fn quorum_lost(scene: &Scene<'_>) -> Option<Refusal> {
    let voters = &scene.record.voters;
    let need = scene.quorum();
    let (seen, missing): (BTreeSet<String>, BTreeSet<String>) = voters
        .keys()
        .cloned()
        .partition(|name| scene.counted(name).is_some());
    let need = u16::try_from(need).unwrap_or(u16::MAX);
    (seen.len() < usize::from(need)).then_some(Refusal::QuorumLost { seen, missing, need })
}

/// Whose volumes are full, and whose take no write for another reason.
fn volumes(scene: &Scene<'_>) -> impl Iterator<Item = Reason> {
    let names = scene.existing().into_iter();
    let names = names.filter(|name| scene.cannot_write(name));
    let (full, failing): (BTreeSet<String>, BTreeSet<String>) = names.partition(|name| {
        let report = scene.connected(name).map(|(_, report)| report);
        report.is_some_and(Report::is_out_of_room)
    });
    let full = (!full.is_empty()).then_some(Reason::VolumesFull { members: full });
    let failing = (!failing.is_empty()).then_some(Reason::VolumesFail { members: failing });
    full.into_iter().chain(failing)
}

fn is_scaling(scene: &Scene<'_>) -> bool {
    let is_partly = scene.existing().iter().any(|name| {
        let voter = scene.voter(name);
        let is_new = voter.is_none_or(|voter| voter.incarnation.is_none() && voter.leaving.is_none());
        (!scene.is_wanted(name) && name != scene.primary()) || is_new
    });
    is_partly
        || scene.record.wait_for != scene.spec.sync_replicas
        || scene.record.acknowledged_by != scene.record.wait_for
}

fn is_updating(scene: &Scene<'_>, decision: &Decision) -> bool {
    let mut members = decision.members.iter();
    decision.plan.replace.is_some()
        || (restarts::is_any_due(scene)
            && members.any(|(name, view)| {
                let report = scene.connected(name).map(|(_, report)| report);
                let order = report.and_then(|report| report.assignment.as_ref());
                view.role == MemberRole::Replica
                    && order.is_some_and(|order| order.server.may_restart)
                    && !view.is_ready
            }))
}

fn state(scene: &Scene<'_>, decision: &mut Decision) -> ClusterState {
    let lost = decision.refused.iter().any(|refusal| {
        matches!(
            refusal,
            Refusal::PrimaryDataLost { .. } | Refusal::QuorumLost { .. }
        )
    });
    if lost {
        return ClusterState::Blocked;
    }
    let is_paused = |refusal: &Refusal| match refusal {
        // It is there, and its commits wait.
        Refusal::CoolingDown { cause, .. } => *cause != Cause::CutOff,
        _ => false,
    };
    if decision.refused.iter().any(is_paused) {
        decision.because.extend(volumes(scene));
        return ClusterState::PrimaryUnavailable;
    }
    let Some((_, report)) = scene.connected(scene.primary()) else {
        return ClusterState::PrimaryUnavailable;
    };
    decision.because.extend(volumes(scene));
    let hangs = report.server.is_some() && !report.answers();
    if hangs || scene.cannot_write(scene.primary()) {
        return ClusterState::PrimaryUnavailable;
    }
    let open = scene.living_primary().filter(|at| at.server.is_open);
    let have = u16::try_from(scene.receiving().len()).unwrap_or(u16::MAX);
    let need = scene.record.wait_for;
    if have < need {
        decision.because.push(Reason::CommitsWait { have, need });
        return ClusterState::AwaitingReplicas;
    }
    let Some(_) = open else {
        decision.because.push(Reason::Opening {
            primary: report.member.clone(),
            epoch: scene.record.term.epoch,
        });
        decision.because.extend(backlog::of_primary(scene));
        decision.because.extend(backlog::of_replicas(scene));
        return ClusterState::Opening;
    };
    let wanted = scene.spec.members();
    let missing: BTreeSet<String> = decision
        .members
        .iter()
        .filter(|(name, view)| wanted.contains(*name) && !view.is_ready)
        .map(|(name, _)| name.clone())
        .collect();
    match (
        missing.is_empty(),
        is_scaling(scene),
        is_updating(scene, decision),
    ) {
        (_, true, _) => ClusterState::Scaling,
        (_, _, true) => ClusterState::Updating,
        // The primary is the last, and about to hand over, or alone.
        (true, ..) if restarts::is_any_due(scene) => ClusterState::Updating,
        (true, ..) => ClusterState::Healthy,
        (false, ..) => {
            decision
                .because
                .push(Reason::MembersNotServing { members: missing });
            ClusterState::Degraded
        }
    }
}

#[cfg(test)]
mod tests;
