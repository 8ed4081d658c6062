//! The next change of the record within an epoch: who votes, and how many must acknowledge.
//! Must not record what shrinks the recovery quorum before a commit was proved under it.

use std::collections::BTreeSet;

use super::scene::{Running, Scene, everything, has_reached_goal, is_near};
use super::supply::can_follow;
use crate::assignment::Role;
use crate::decision::Reason;
use crate::record::{Leaving, Record, Voter};

type Change = Option<(Record, Reason)>;

/// One change at a time; each is written before what follows from it is done.
pub(super) fn next(scene: &Scene<'_>) -> Change {
    joined(scene)
        .or_else(|| added(scene))
        .or_else(|| lowered(scene))
        .or_else(|| raised(scene))
        .or_else(|| raising(scene))
        .or_else(|| struck_out(scene))
        .or_else(|| silent(scene))
        .or_else(|| leaving(scene))
}

/// Incarnations that have everything now.
pub(super) fn joined(scene: &Scene<'_>) -> Change {
    let names: BTreeSet<String> = scene
        .record
        .voters
        .iter()
        .filter(|(name, voter)| *name != scene.primary() && voter.leaving.is_none())
        .filter(|(name, _)| scene.counted(name).is_none())
        .filter(|(name, _)| scene.running(name).is_some_and(|at| has_everything(scene, at)))
        .map(|(name, _)| name.clone())
        .collect();
    if names.is_empty() {
        return None;
    }
    let mut record = scene.record.revised();
    for name in &names {
        let incarnation = scene.running(name).map(|at| at.server.incarnation);
        record.voters.entry(name.clone()).or_default().incarnation = incarnation;
    }
    Some((record, Reason::Joined { members: names }))
}

/// It holds what the primary had at a moment after it attached to the primary itself.
pub(super) fn has_everything(scene: &Scene<'_>, at: Running<'_>) -> bool {
    let Some(primary) = scene.living_primary() else {
        return false;
    };
    let is_own = |uuid| uuid == primary.server.incarnation || uuid == scene.record.identity;
    // What it has beyond the primary's report can only be newer if the primary wrote it.
    let extra = everything(at.server).subtract(&primary.server.executed);
    let has_all = has_reached_goal(at) && scene.is_whole(at);
    scene.follows_primary(at) && has_all && extra.sources().all(|source| is_own(source.uuid))
}

/// Who has its data, and need only follow: until it is counted nobody can do without the others.
fn added(scene: &Scene<'_>) -> Change {
    let voters = &scene.record.voters;
    let missing = scene.spec.members().into_iter();
    let members: BTreeSet<String> = missing
        .filter(|name| !voters.contains_key(name) && can_follow(scene, name))
        .collect();
    // Nothing is written between a choice and its opening that need not be.
    let is_open = scene.living_primary().is_some_and(|at| at.server.is_open);
    if members.is_empty() || !is_open {
        return None;
    }
    let mut record = scene.record.revised();
    record
        .voters
        .extend(members.iter().map(|name| (name.clone(), Voter::default())));
    Some((record, Reason::Adding { members }))
}

fn lowered(scene: &Scene<'_>) -> Change {
    let to = scene.spec.sync_replicas;
    let from = scene.record.wait_for;
    if from <= to {
        return None;
    }
    let mut record = scene.record.revised();
    record.wait_for = to;
    record.acknowledged_by = record.acknowledged_by.min(to);
    Some((record, Reason::LoweringQuorum { from, to }))
}

/// The primary has proved a commit under the higher count.
fn raised(scene: &Scene<'_>) -> Change {
    let from = scene.record.acknowledged_by;
    let to = scene.record.wait_for;
    if from >= to || !has_proved(scene) {
        return None;
    }
    let mut record = scene.record.revised();
    record.acknowledged_by = to;
    Some((record, Reason::RaisingQuorum { from, to }))
}

/// A commit that was begun after the orders of this term were in force is acknowledged.
fn has_proved(scene: &Scene<'_>) -> bool {
    let proof = scene.living_primary().and_then(|at| at.report.proved);
    proof.is_some_and(|proof| proof.term == scene.record.term && proof.wait_for >= scene.record.wait_for)
}

/// Replicas that would acknowledge a commit of this moment soon.
fn near(scene: &Scene<'_>) -> usize {
    let Some(primary) = scene.living_primary() else {
        return 0;
    };
    let receiving = scene.receiving().into_iter();
    let running = receiving.filter_map(|name| scene.running(name));
    running.filter(|at| is_near(primary, *at)).count()
}

/// Only with so many replicas there: commits would wait for ever otherwise. Before all that are wanted count, too few
/// could be lost then.
fn raising(scene: &Scene<'_>) -> Change {
    let from = scene.record.wait_for;
    let to = scene.spec.sync_replicas;
    let is_ready = from < to && scene.record.acknowledged_by == from;
    let counts = |name: &String| scene.voter(name).is_some_and(|voter| voter.incarnation.is_some());
    let is_whole = scene.spec.members().iter().all(counts);
    if !is_ready || !is_whole || near(scene) < usize::from(to) {
        return None;
    }
    let mut record = scene.record.revised();
    record.wait_for = to;
    Some((record, Reason::RaisingQuorum { from, to }))
}

fn is_quorum_as_asked(scene: &Scene<'_>) -> bool {
    let record = scene.record;
    record.wait_for == scene.spec.sync_replicas && record.acknowledged_by == record.wait_for
}

/// Those beyond the number that is asked for, if enough others acknowledge. Never the primary.
fn leaving(scene: &Scene<'_>) -> Change {
    let members: BTreeSet<String> = scene
        .record
        .voters
        .iter()
        .filter(|(name, voter)| !scene.is_wanted(name) && *name != scene.primary() && voter.leaving.is_none())
        .map(|(name, _)| name.clone())
        .collect();
    let staying = scene
        .receiving()
        .into_iter()
        .filter(|name| !members.contains(*name))
        .count();
    let is_safe = is_quorum_as_asked(scene) && staying >= usize::from(scene.record.wait_for);
    if members.is_empty() || !is_safe {
        return None;
    }
    let mut record = scene.record.revised();
    for name in &members {
        record.voters.entry(name.clone()).or_default().leaving = Some(Leaving::Asked);
    }
    Some((record, Reason::Removing { members }))
}

/// They obey this term and follow nobody; or they never ran.
fn silent(scene: &Scene<'_>) -> Change {
    let members: BTreeSet<String> = scene
        .record
        .voters
        .iter()
        .filter(|(name, voter)| voter.leaving == Some(Leaving::Asked) && is_silent(scene, name))
        .map(|(name, _)| name.clone())
        .collect();
    if members.is_empty() {
        return None;
    }
    let mut record = scene.record.revised();
    for name in &members {
        record.voters.entry(name.clone()).or_default().leaving = Some(Leaving::Silent);
    }
    Some((record, Reason::Removing { members }))
}

fn is_silent(scene: &Scene<'_>, name: &str) -> bool {
    if let Some(at) = scene.running(name) {
        let order = at.report.assignment.as_ref();
        let obeys = order.is_some_and(|order| order.term() == scene.record.term && order.role == Role::Hold);
        let follows = at
            .server
            .follows
            .as_ref()
            .is_some_and(|follows| follows.is_receiving);
        return obeys && at.report.is_settled && !follows;
    }
    // No node was ever chosen for it: nothing of that name runs anywhere.
    let member = scene.seen.members.get(name);
    let pod = member.and_then(|member| member.pod.as_ref());
    pod.is_some_and(|pod| pod.node.is_none())
        && scene.voter(name).is_some_and(|voter| voter.incarnation.is_none())
}

fn struck_out(scene: &Scene<'_>) -> Change {
    let is_out = |voter: &Voter| voter.leaving == Some(Leaving::Silent);
    let members: BTreeSet<String> = scene
        .record
        .voters
        .iter()
        .filter(|(_, voter)| is_out(voter))
        .map(|(name, _)| name.clone())
        .collect();
    if members.is_empty() || !has_proved(scene) {
        return None;
    }
    let mut record = scene.record.revised();
    record.voters.retain(|name, _| !members.contains(name));
    Some((record, Reason::Removing { members }))
}

#[cfg(test)]
mod tests;
