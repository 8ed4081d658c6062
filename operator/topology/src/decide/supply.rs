//! What each member is to be in this term, and where it gets its data from.
//! Must not throw data away that are not proven to be superfluous or wrong.

use std::collections::{BTreeMap, BTreeSet};

use super::restarts;
use super::scene::{Running, Scene, errant, everything};
use crate::assignment::{Assignment, Place, Role};
use crate::decision::{Reason, SeedReason};
use crate::gtid::Uuid;
use crate::record::Record;
use crate::report::{ServerSeen, TroubleKind};

/// An empty member follows from the first transaction if there are no more than so many; otherwise it
/// clones, which is quicker.
const FOLLOW_LIMIT: u128 = 10_000;

/// What everybody who can be reached is to be.
pub(super) fn assignments(scene: &Scene<'_>) -> (BTreeMap<String, Assignment>, Vec<Reason>) {
    let mut orders = BTreeMap::new();
    let mut reasons = Vec::new();
    let mut cloning = clone_under_way(scene);
    let restarting = restarts::permitted(scene);
    for name in scene.existing() {
        let Some((role, reason)) = role(scene, &name, cloning.as_deref()) else {
            continue;
        };
        if matches!(role, Role::Clone { .. }) {
            cloning = Some(name.clone());
        }
        reasons.extend(reason);
        let may_restart = restarting.as_deref() == Some(&name) || !is_up(scene, &name);
        orders.insert(name.clone(), scene.order(&name, role, may_restart));
    }
    reasons.extend(restarting.map(|name| restarts::told(scene, &name)));
    (orders, reasons)
}

/// A server that does not answer yet loses nothing by starting with the newest parameters.
fn is_up(scene: &Scene<'_>, name: &str) -> bool {
    scene
        .connected(name)
        .is_some_and(|(_, report)| report.server.is_some())
}

fn clone_under_way(scene: &Scene<'_>) -> Option<String> {
    let mut names = scene.existing().into_iter();
    names.find(|name| kept_clone(scene, name).is_some())
}

/// A clone that was begun is not begun again, as long as its donor is there and it has not failed.
fn kept_clone(scene: &Scene<'_>, name: &str) -> Option<Role> {
    let (_, report) = scene.connected(name)?;
    let order = report.assignment.as_ref()?;
    let Role::Clone { donor, instead_of } = &order.role else {
        return None;
    };
    let is_done = report
        .server
        .as_ref()
        .is_some_and(|server| server.incarnation != *instead_of);
    let has_failed = report
        .troubles
        .iter()
        .any(|trouble| trouble.kind == TroubleKind::CloneFailed);
    let is_donor_there =
        scene.place(&donor.member).as_ref() == Some(donor) && scene.counted(&donor.member).is_some();
    (!is_done && !has_failed && is_donor_there).then(|| order.role.clone())
}

fn role(scene: &Scene<'_>, name: &str, cloning: Option<&str>) -> Option<(Role, Option<Reason>)> {
    let (_, report) = scene.connected(name)?;
    if name == scene.primary() {
        return primary_role(scene, name).map(|role| (role, None));
    }
    let voter = scene.voter(name);
    if voter.is_some_and(|voter| voter.leaving.is_some()) {
        return Some((Role::Hold, None));
    }
    if let Some(role) = kept_clone(scene, name) {
        return Some((role, None));
    }
    // Not recorded yet it follows nobody: its acknowledgements would count for nobody.
    let as_before = || match voter {
        Some(_) => unseen_role(scene, report.assignment.as_ref()),
        None => Role::Hold,
    };
    let Some(at) = scene.running(name) else {
        return Some((as_before(), None));
    };
    let (Some(primary), Some(source)) = (scene.living_primary(), scene.primary_place()) else {
        let role = match is_beyond(scene, at) {
            true => Role::Hold,
            false => as_before(),
        };
        return Some((role, None));
    };
    // Before the accounts are made, nobody is let in.
    if scene.record.term.epoch == 0 && !primary.report.is_founded {
        return Some((Role::Hold, None));
    }
    let Some(why) = seed_reason(scene, primary, at) else {
        let role = voter.map_or(Role::Hold, |_| Role::Replica { source });
        return Some((role, None));
    };
    // Who is to lead throws nothing away: the handover is taken back first, or it has all that counts after all.
    let is_to_lead = scene.record.handing_to.as_deref() == Some(name);
    if is_to_lead || cloning.is_some_and(|busy| busy != name) {
        return Some((Role::Hold, None));
    }
    let donor = donor(scene, name, source);
    let reason = Reason::Seeding {
        member: name.to_owned(),
        from: donor.member.clone(),
        why,
    };
    let instead_of = at.server.incarnation;
    Some((Role::Clone { donor, instead_of }, Some(reason)))
}

fn primary_role(scene: &Scene<'_>, name: &str) -> Option<Role> {
    let recorded = scene.voter(name).and_then(|voter| voter.incarnation);
    // Other data than those that were promised must not be opened; nor an empty volume, whose mysqld
    // has no data to show yet.
    let is_other = match scene.running(name) {
        Some(at) => Some(at.server.incarnation) != recorded || !scene.is_whole(at),
        None => !was_primary(scene, name),
    };
    Some(match (is_other, scene.record.term.epoch) {
        (true, _) => Role::Hold,
        (false, 0) => Role::Found,
        (false, _) if scene.record.handing_to.is_some() => Role::Retire,
        (false, _) => Role::Primary {
            wait_for: scene.record.wait_for,
        },
    })
}

/// It was told to be this cluster's primary before, when its data were seen, and its volume has kept that.
fn was_primary(scene: &Scene<'_>, name: &str) -> bool {
    let order = scene
        .connected(name)
        .and_then(|(_, report)| report.assignment.as_ref());
    order.is_some_and(|order| {
        let record = order.record.as_ref();
        let is_this_cluster = record.is_some_and(|record| record.identity == scene.record.identity);
        is_this_cluster && matches!(order.role, Role::Primary { .. } | Role::Retire | Role::Found)
    })
}

/// Its mysqld, or the primary's, does not answer: it stays what it is, and never becomes more.
fn unseen_role(scene: &Scene<'_>, order: Option<&Assignment>) -> Role {
    let is_replica = order.is_some_and(|order| matches!(order.role, Role::Replica { .. }));
    match scene.primary_place() {
        Some(source) if is_replica => Role::Replica { source },
        _ => match order.map(|order| &order.role) {
            // The primary's address is unknown: the old one leads nowhere or to the primary.
            Some(role @ Role::Replica { source }) if source.member == scene.primary() => role.clone(),
            _ => Role::Hold,
        },
    }
}

/// Nothing has to be copied for it: as a voter it would follow at once.
pub(super) fn can_follow(scene: &Scene<'_>, name: &str) -> bool {
    let both = scene.living_primary().zip(scene.running(name));
    let is_ready = both.is_some_and(|(primary, at)| seed_reason(scene, primary, at).is_none());
    is_ready && kept_clone(scene, name).is_none()
}

fn is_beyond(scene: &Scene<'_>, at: Running<'_>) -> bool {
    !scene.record.beyond_cut(&everything(at.server)).is_empty()
}

/// Why it cannot simply follow.
fn seed_reason(scene: &Scene<'_>, primary: Running<'_>, at: Running<'_>) -> Option<SeedReason> {
    let all = everything(at.server);
    let surplus = at.member.surplus.as_ref();
    let has_surplus = surplus.is_some_and(|surplus| !surplus.is_empty());
    if has_surplus || is_beyond(scene, at) || !errant(scene, at).is_empty() {
        return Some(SeedReason::Diverged);
    }
    if all.is_empty() {
        let is_whole = primary.server.purged.is_empty();
        let is_short = primary.server.executed.count() <= FOLLOW_LIMIT;
        let is_sent_all = is_whole && !may_be_its_own(scene.record, primary.server, &at.report.member);
        return (!is_sent_all || !is_short).then_some(SeedReason::Empty);
    }
    if scene.record.has_hole(&all) {
        return Some(SeedReason::Hole);
    }
    (!primary.server.purged.is_subset(&all)).then_some(SeedReason::TooFarBehind)
}

/// Whether transactions are there that a member of this name may have written before its volume was lost: mysqld takes
/// nothing that bears its own number, which is that of its name.
fn may_be_its_own(record: &Record, primary: &ServerSeen, name: &str) -> bool {
    let others = record.voters.iter().filter(|(other, _)| *other != name);
    let known: BTreeSet<Uuid> = others
        .filter_map(|(_, voter)| voter.incarnation)
        .chain([record.identity, primary.incarnation])
        .collect();
    !primary
        .executed
        .sources()
        .all(|source| known.contains(&source.uuid))
}

/// A replica that counts and keeps up, to spare the primary; else the primary.
fn donor(scene: &Scene<'_>, name: &str, primary: Place) -> Place {
    let fit = |other: &&str| {
        let lag = scene.running(other).and_then(|at| at.server.lag_ms);
        *other != name && lag.is_some_and(|lag| lag <= scene.spec.lag_limit_ms)
    };
    let replica = scene.receiving().into_iter().find(fit);
    // With one acknowledging replica too few, none is given other work.
    let can_spare = scene.receiving().len() > usize::from(scene.record.wait_for);
    replica
        .filter(|_| can_spare)
        .and_then(|name| scene.place(name))
        .unwrap_or(primary)
}

#[cfg(test)]
mod tests;
