//! Who may be restarted or replaced now for what the spec changed: one at a time, a primary only if it is alone.
//! Must not take away a member that the others need to go on.

use std::collections::BTreeSet;

use super::scene::{Scene, has_reached_goal};
use crate::decision::Reason;
use crate::observed::Observed;
use crate::report::Report;

/// The replicas that serve and stay, and acknowledge at once what is written now.
fn staying<'a>(scene: &Scene<'a>) -> BTreeSet<&'a str> {
    // Who has just come back acknowledges nothing new before it has received what was written meanwhile.
    let has_caught_up = |name: &str| scene.counted(name).is_some_and(has_reached_goal);
    let mut staying = scene.receiving();
    // A Pod that ends follows, and acknowledges, to its last moment.
    staying.retain(|name| !scene.is_ending(name) && has_caught_up(name));
    staying
}

/// All that are wanted beside the primary and this one are among them.
fn all_stay(scene: &Scene<'_>, staying: &BTreeSet<&str>, but: &str) -> bool {
    let wanted = scene.spec.members();
    let mut others = wanted
        .iter()
        .filter(|name| *name != but && *name != scene.primary());
    others.all(|name| staying.contains(name.as_str()))
}

/// The primary is open, and keeps its role: who takes over may be who is spared.
fn is_led(scene: &Scene<'_>) -> bool {
    let is_open = scene.living_primary().is_some_and(|at| at.server.is_open);
    is_open && !scene.is_ending(scene.primary()) && scene.record.handing_to.is_none()
}

/// Everybody else serves and stays, and enough acknowledge without this one.
fn can_spare(scene: &Scene<'_>, name: &str) -> bool {
    let mut staying = staying(scene);
    staying.remove(name);
    let is_enough = staying.len() >= usize::from(scene.record.wait_for);
    is_led(scene) && all_stay(scene, &staying, name) && is_enough
}

/// Nobody else is there or wanted: who changes its spec asks for the pause, since nobody can take over for it.
pub(super) fn is_alone(scene: &Scene<'_>) -> bool {
    scene.existing().iter().all(|name| name == scene.primary())
}

/// It knows whether it waits for a restart.
fn has_looked(scene: &Scene<'_>, report: &Report) -> bool {
    let is_newest = report.assignment.as_ref().is_some_and(|order| {
        let server = &order.server;
        server.parameters == scene.spec.parameters && server.is_tls_required == scene.spec.is_tls_required
    });
    is_newest && (report.is_settled || !report.awaiting_restart.is_empty())
}

/// Of all that can be asked.
fn replicas<'a>(scene: &'a Scene<'_>) -> impl Iterator<Item = (&'a String, &'a Report)> {
    let names = scene.record.voters.keys().filter(|name| *name != scene.primary());
    names.filter_map(|name| Some((name, scene.connected(name)?.1)))
}

/// All serve, and none waits for a restart: before all have looked nobody can tell that the primary is the last one.
pub(super) fn are_replicas_done(scene: &Scene<'_>) -> bool {
    let mut replicas = replicas(scene);
    replicas.all(|(_, report)| has_looked(scene, report) && report.awaiting_restart.is_empty())
        && all_stay(scene, &staying(scene), scene.primary())
}

/// The one that may restart mysqld for parameters that wait for it. It stays the same one until it has done so:
/// all have looked, and who restarts has not.
pub(super) fn permitted(scene: &Scene<'_>) -> Option<String> {
    if is_alone(scene) {
        // A new Pod brings a new mysqld.
        let is_due = !pending_at_primary(scene).is_empty() && !is_primary_outdated(scene);
        return (is_due && is_led(scene)).then(|| scene.primary().to_owned());
    }
    if !replicas(scene).all(|(_, report)| has_looked(scene, report)) {
        return None;
    }
    let mut waiting = replicas(scene).filter(|(_, report)| !report.awaiting_restart.is_empty());
    let found = waiting.find(|(name, _)| can_spare(scene, name));
    found.map(|(name, _)| name.clone())
}

/// Somebody waits for a restart, or for a new Pod: without that, who is started again is not updated.
pub(super) fn is_any_due(scene: &Scene<'_>) -> bool {
    let names = scene.existing();
    names.iter().any(|name| {
        let report = scene.connected(name).map(|(_, report)| report);
        is_outdated(scene.seen, name) || report.is_some_and(|report| !report.awaiting_restart.is_empty())
    })
}

/// Parameters that wait for the primary.
pub(super) fn pending_at_primary(scene: &Scene<'_>) -> BTreeSet<String> {
    pending_at(scene, scene.primary())
}

fn pending_at(scene: &Scene<'_>, name: &str) -> BTreeSet<String> {
    let report = scene.connected(name).map(|(_, report)| report);
    report
        .map(|report| report.awaiting_restart.clone())
        .unwrap_or_default()
}

/// That it restarts.
pub(super) fn told(scene: &Scene<'_>, member: &str) -> Reason {
    Reason::Restarting {
        member: member.to_owned(),
        parameters: pending_at(scene, member),
    }
}

/// A Pod of an older spec that does not run in the first place: nothing is lost by making it anew.
pub(super) fn stuck(seen: &Observed, names: &BTreeSet<String>) -> Option<String> {
    let mut outdated = names.iter().filter(|name| is_outdated(seen, name));
    let is_stuck = |name: &&String| {
        let member = seen.members.get(*name);
        let problem = member.and_then(|member| member.pod.as_ref()?.problem.as_ref());
        problem.is_some() && member.is_some_and(|member| !member.is_connected)
    };
    outdated.find(is_stuck).cloned()
}

pub(super) fn is_outdated(seen: &Observed, name: &str) -> bool {
    let pod = seen.members.get(name).and_then(|member| member.pod.as_ref());
    pod.is_some_and(|pod| !pod.is_current && !pod.is_terminating)
}

/// The Pod to make anew: one that does not run in the first place, else a replica that can be spared, or who is alone.
pub(super) fn replaced(scene: &Scene<'_>) -> Option<(String, Reason)> {
    let names = scene.existing();
    let may_go = |name: &&String| match is_alone(scene) {
        true => is_led(scene),
        false => *name != scene.primary() && permitted(scene).is_none() && can_spare(scene, name),
    };
    let spare = || {
        let mut outdated = names.iter().filter(|name| is_outdated(scene.seen, name));
        outdated.find(may_go).cloned()
    };
    let name = stuck(scene.seen, &names).or_else(spare)?;
    Some((name.clone(), Reason::Replacing { member: name }))
}

/// Some replica's Pod is still to be made anew.
pub(super) fn has_outdated_replica(scene: &Scene<'_>) -> bool {
    let names = scene.existing();
    names
        .iter()
        .any(|name| name != scene.primary() && is_outdated(scene.seen, name))
}

/// The primary's Pod was made from an older spec.
pub(super) fn is_primary_outdated(scene: &Scene<'_>) -> bool {
    let member = scene.seen.members.get(scene.primary());
    let pod = member.and_then(|member| member.pod.as_ref());
    pod.is_some_and(|pod| !pod.is_current)
}

#[cfg(test)]
mod tests;
