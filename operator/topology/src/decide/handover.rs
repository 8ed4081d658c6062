//! A primary that is well gives its role to another: closed first, then followed by one that has applied everything.
//! Must not move the role before the old primary was seen closed, and the new one to have applied all that it has.

use std::collections::{BTreeMap, BTreeSet};

use super::restarts;
use super::scene::{Running, Scene, is_near, lacks};
use crate::assignment::Role;
use crate::decision::{Hindrance, Occasion, Reason, Refusal, Unfit, Wait};
use crate::observed::{HANDOVER_LIMIT_MS, Timestamp};
use crate::record::Record;

/// After one that was taken back nobody tries at once again.
const AGAIN_MS: u64 = 30_000;
const LAG_LIMIT_MS: u64 = 1_500;
/// A node looks at once at a change of Services, and then at none for a second. With the role both Services of a cluster
/// change, so that two looks may be under way.
const SETTLED_MS: u64 = 2_000;

/// What comes of a handover that the record speaks of: the next epoch, the end of it, or nothing yet.
pub(super) fn under_way(scene: &Scene<'_>, to: &str) -> Option<(Record, Reason)> {
    // Who was told to copy may be about to throw away what is counted here.
    let target = scene.counted(to).filter(|at| !is_to_copy(*at));
    // What is received and not applied would be applied while nobody leads; until the role moves it can be taken back.
    if let Some((primary, target)) = retired(scene).zip(target)
        && primary.server.executed == target.server.executed
        && target.server.received.is_subset(&target.server.executed)
    {
        let mut record = scene.record.next_epoch();
        to.clone_into(&mut record.primary);
        record.handing_to = None;
        record.cut = Some(primary.server.executed.clone());
        let epoch = record.term.epoch;
        let primary = record.primary.clone();
        return Some((record, Reason::Opening { primary, epoch }));
    }
    let since = scene.seen.handing_since.unwrap_or(scene.now);
    let why = match target.filter(|at| scene.follows_primary(*at)) {
        None => Hindrance::TargetGone,
        Some(_) if scene.now.saturating_sub(since) > limit_ms(scene) => Hindrance::TooLong,
        Some(_) => return None,
    };
    let mut record = scene.record.revised();
    record.handing_to = None;
    let primary = scene.primary().to_owned();
    Some((record, Reason::TakingBack { primary, why }))
}

fn is_to_copy(at: Running<'_>) -> bool {
    let order = at.report.assignment.as_ref();
    order.is_some_and(|order| matches!(order.role, Role::Clone { .. }))
}

/// When to look again, if nothing changes.
pub(super) fn limit(scene: &Scene<'_>) -> u64 {
    scene.seen.handing_since.unwrap_or(scene.now) + limit_ms(scene) + 1
}

/// For closing the primary, and for the other to apply all of it.
fn limit_ms(scene: &Scene<'_>) -> u64 {
    let asked = scene.spec.switchover.as_ref();
    asked.map_or(HANDOVER_LIMIT_MS, |asked| asked.budget_ms)
}

/// The primary, closed in this term: it will never acknowledge anything in this epoch again, unless a
/// later record says so.
fn retired<'a>(scene: &Scene<'a>) -> Option<Running<'a>> {
    let at = scene.living_primary()?;
    let order = at.report.assignment.as_ref()?;
    let obeys = order.term() == scene.record.term && order.role == Role::Retire;
    (obeys && at.report.is_settled && !at.server.is_open && !at.server.has_waiters).then_some(at)
}

/// Whether the role is to move now, or why not although it should.
pub(super) fn begin(scene: &Scene<'_>) -> Option<Result<(Record, Reason), Refusal>> {
    let why = occasion(scene)?;
    let from = scene.primary().to_owned();
    let chosen = match wait(scene, why) {
        Some(why) => Err(Refusal::HandoverWaits {
            primary: from.clone(),
            why,
        }),
        None => successor(scene, why).map_err(|unfit| Refusal::NoSuccessor {
            primary: from.clone(),
            unfit,
        }),
    };
    let to = match chosen {
        Ok(to) => to.to_owned(),
        Err(refusal) => {
            let is_worth_a_word = matches!(why, Occasion::Asked | Occasion::Removed);
            return is_worth_a_word.then_some(Err(refusal));
        }
    };
    // Until then the primary serves: nothing is lost by waiting, and the next primary is reached at once.
    if settled_at(scene).is_some() {
        return None;
    }
    let mut record = scene.record.revised();
    record.handing_to = Some(to.clone());
    Some(Ok((record, Reason::HandingOver { from, to, why })))
}

/// When nodes have surely seen where Services lead now, if that is yet to come.
fn settled_at(scene: &Scene<'_>) -> Option<Timestamp> {
    let at = scene.seen.exposed_at?.saturating_add(SETTLED_MS);
    Some(at).filter(|at| *at > scene.now)
}

/// When the role may move that is to move.
pub(super) fn wake(scene: &Scene<'_>) -> Option<Timestamp> {
    settled_at(scene).filter(|_| occasion(scene).is_some())
}

/// What comes first: nothing else is being changed, and the primary serves.
fn wait(scene: &Scene<'_>, why: Occasion) -> Option<Wait> {
    let record = scene.record;
    let is_leaving = record.voters.values().any(|voter| voter.leaving.is_some());
    let is_open = scene.living_primary().is_some_and(|at| at.server.is_open);
    let is_too_soon = (scene.seen.taken_back_at)
        .is_some_and(|at| why != Occasion::PodEnds && scene.now.saturating_sub(at) < AGAIN_MS);
    if !is_open {
        return Some(Wait::Opening);
    }
    if is_leaving || record.acknowledged_by != record.wait_for {
        return Some(Wait::Membership);
    }
    is_too_soon.then_some(Wait::Pause)
}

/// Why the role is to move, if it is.
pub(super) fn occasion(scene: &Scene<'_>) -> Option<Occasion> {
    if scene.is_ending(scene.primary()) {
        return Some(Occasion::PodEnds);
    }
    if let Some(asked) = scene.spec.switchover.as_ref().filter(|asked| !asked.is_forced) {
        let is_there = asked.target.as_deref() == Some(scene.primary());
        return (!is_there).then_some(Occasion::Asked);
    }
    if !scene.is_wanted(scene.primary()) {
        return Some(Occasion::Removed);
    }
    let is_last = restarts::are_replicas_done(scene) && !restarts::has_outdated_replica(scene);
    let is_due = restarts::is_primary_outdated(scene) || !restarts::pending_at_primary(scene).is_empty();
    (is_due && is_last).then_some(Occasion::Update)
}

/// Who may take over: one that need not hand over again soon for a new Pod, of these with the shortest wait, of equals one on
/// another node than the operator's; or, by name, why nobody may.
fn successor<'a>(scene: &Scene<'a>, why: Occasion) -> Result<&'a str, BTreeMap<String, Unfit>> {
    let asked = (scene.spec.switchover.as_ref())
        .filter(|_| why == Occasion::Asked)
        .and_then(|asked| asked.target.as_deref());
    let all = scene.existing();
    let others = all.iter().filter(|name| *name != scene.primary());
    let candidates: BTreeSet<&str> = match asked {
        Some(target) => BTreeSet::from([target]),
        None => others.map(String::as_str).collect(),
    };
    let mut unfit = BTreeMap::new();
    let mut fit = Vec::new();
    for name in candidates {
        match judge(scene, name, why) {
            Ok((name, lacks)) => {
                let is_outdated = restarts::is_outdated(scene.seen, name);
                fit.push((is_outdated, lacks, scene.is_beside_operator(name), name));
            }
            Err(why) => drop(unfit.insert(name.to_owned(), why)),
        }
    }
    fit.sort_unstable();
    fit.first().map(|(.., name)| *name).ok_or(unfit)
}

/// It counts, stays, keeps up, and enough others will acknowledge; with what it lacks now.
fn judge<'a>(scene: &Scene<'a>, name: &str, why: Occasion) -> Result<(&'a str, u128), Unfit> {
    if !scene.is_wanted(name) {
        return Err(Unfit::NotWanted);
    }
    let receiving = scene.receiving();
    let known = receiving.get(name).ok_or(Unfit::NotFollowing)?;
    let at = scene.counted(name).ok_or(Unfit::NotFollowing)?;
    let primary = scene.living_primary().ok_or(Unfit::NotFollowing)?;
    let follows = at.server.follows.as_ref();
    if !follows.is_some_and(|follows| follows.is_applying && follows.acknowledges) {
        return Err(Unfit::NotFollowing);
    }
    let pod = at.member.pod.as_ref();
    if !pod.is_some_and(|pod| !pod.is_terminating && pod.ip.is_some()) {
        return Err(Unfit::Ending);
    }
    let has_applied = at.server.lag_ms.is_some_and(|lag| lag <= LAG_LIMIT_MS);
    if !has_applied || !is_near(primary, at) {
        return Err(Unfit::Behind);
    }
    // Who goes away with its Pod acknowledges nothing for the next.
    let old = usize::from(why != Occasion::PodEnds);
    if receiving.len().saturating_sub(1) + old < usize::from(scene.record.wait_for) {
        return Err(Unfit::Alone);
    }
    Ok((known, lacks(primary, at)))
}

#[cfg(test)]
mod tests;
