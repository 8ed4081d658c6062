//! Who may be restarted or replaced now for what the spec changed: one at a time, replicas only.
//! Must not take away a member that the others need to go on.

use std::collections::BTreeSet;

use super::scene::Scene;
use crate::decision::Reason;
use crate::observed::Observed;

/// Everybody else serves and stays, and enough acknowledge without this one.
fn can_spare(scene: &Scene<'_>, name: &str) -> bool {
    // A Pod that ends follows, and acknowledges, to its last moment.
    let mut staying = scene.receiving();
    staying.retain(|other| *other != name && !scene.is_ending(other));
    let wanted = scene.spec.members();
    let all_serve = wanted
        .iter()
        .filter(|other| *other != name && *other != scene.primary())
        .all(|other| staying.contains(other.as_str()));
    let is_open = scene.living_primary().is_some_and(|at| at.server.is_open);
    // Who takes over may be this one.
    let is_led = is_open && !scene.is_ending(scene.primary()) && scene.record.handing_to.is_none();
    is_led && all_serve && staying.len() >= usize::from(scene.record.wait_for)
}

/// All replicas that can be asked have looked at today's parameters, and none waits for a restart: until then nobody
/// can tell that the primary is the last one.
pub(super) fn are_replicas_done(scene: &Scene<'_>) -> bool {
    let mut replicas = scene.record.voters.keys().filter(|name| *name != scene.primary());
    replicas.all(|name| {
        let report = scene.connected(name).map(|(_, report)| report);
        report.is_none_or(|report| {
            let order = report.assignment.as_ref();
            let is_newest = order.is_some_and(|order| {
                let server = &order.server;
                server.parameters == scene.spec.parameters
                    && server.is_tls_required == scene.spec.is_tls_required
            });
            is_newest && report.is_settled
        })
    })
}

/// The replica that may restart mysqld for parameters that wait for it.
pub(super) fn permitted(scene: &Scene<'_>) -> Option<String> {
    let mut waiting = scene.record.voters.keys().filter(|name| {
        let report = scene.connected(name).map(|(_, report)| report);
        *name != scene.primary() && report.is_some_and(|report| !report.awaiting_restart.is_empty())
    });
    waiting.find(|name| can_spare(scene, name)).cloned()
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
    let report = scene.connected(scene.primary()).map(|(_, report)| report);
    report
        .map(|report| report.awaiting_restart.clone())
        .unwrap_or_default()
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

/// The Pod to make anew: one that does not run in the first place, else a replica that can be spared.
pub(super) fn replaced(scene: &Scene<'_>) -> Option<(String, Reason)> {
    let names = scene.existing();
    let spare = || {
        let mut outdated = names.iter().filter(|name| is_outdated(scene.seen, name));
        outdated
            .find(|name| *name != scene.primary() && permitted(scene).is_none() && can_spare(scene, name))
            .cloned()
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
