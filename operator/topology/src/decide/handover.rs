//! A primary that is well gives its role to another: closed first, then followed by one that has everything.
//! Must not move the role before the old primary was seen closed, and the new one to hold all that it has.

use super::restarts;
use super::scene::{Running, Scene, everything, is_near, lacks};
use crate::assignment::Role;
use crate::decision::{Hindrance, Occasion, Reason, Refusal};
use crate::record::Record;

/// For closing the primary, and for the other to have all of it.
const LIMIT_MS: u64 = 5_000;
/// After one that was taken back nobody tries at once again.
const AGAIN_MS: u64 = 30_000;
const LAG_LIMIT_MS: u64 = 1_500;

/// What comes of a handover that the record speaks of: the next epoch, the end of it, or nothing yet.
pub(super) fn under_way(scene: &Scene<'_>, to: &str) -> Option<(Record, Reason)> {
    let target = scene.counted(to);
    if let Some((primary, target)) = retired(scene).zip(target)
        && primary.server.executed == everything(target.server)
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
        Some(_) if scene.now.saturating_sub(since) > LIMIT_MS => Hindrance::TooLong,
        Some(_) => return None,
    };
    let mut record = scene.record.revised();
    record.handing_to = None;
    let primary = scene.primary().to_owned();
    Some((record, Reason::TakingBack { primary, why }))
}

/// When to look again, if nothing changes.
pub(super) fn limit(scene: &Scene<'_>) -> u64 {
    scene.seen.handing_since.unwrap_or(scene.now) + LIMIT_MS + 1
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
    let is_too_soon = (scene.seen.taken_back_at)
        .is_some_and(|at| why != Occasion::PodEnds && scene.now.saturating_sub(at) < AGAIN_MS);
    let from = scene.primary().to_owned();
    let Some(to) = successor(scene, why).filter(|_| !is_too_soon && is_steady(scene)) else {
        let is_worth_a_word = matches!(why, Occasion::Asked | Occasion::Removed);
        return is_worth_a_word.then_some(Err(Refusal::NoSuccessor { primary: from }));
    };
    let to = to.to_owned();
    let mut record = scene.record.revised();
    record.handing_to = Some(to.clone());
    Some(Ok((record, Reason::HandingOver { from, to, why })))
}

/// Why the role is to move, if it is.
pub(super) fn occasion(scene: &Scene<'_>) -> Option<Occasion> {
    let member = scene.seen.members.get(scene.primary());
    let pod = member.and_then(|member| member.pod.as_ref());
    if pod.is_some_and(|pod| pod.is_terminating) {
        return Some(Occasion::PodEnds);
    }
    if let Some(asked) = &scene.spec.switchover {
        let is_there = asked.target.as_deref() == Some(scene.primary());
        return (!is_there).then_some(Occasion::Asked);
    }
    if !scene.is_wanted(scene.primary()) {
        return Some(Occasion::Removed);
    }
    let is_last = restarts::permitted(scene).is_none() && !restarts::has_outdated_replica(scene);
    let is_due = restarts::is_primary_outdated(scene) || !restarts::pending_at_primary(scene).is_empty();
    (is_due && is_last).then_some(Occasion::Update)
}

/// Nothing else is being changed, and the primary serves.
fn is_steady(scene: &Scene<'_>) -> bool {
    let record = scene.record;
    let is_leaving = record.voters.values().any(|voter| voter.leaving.is_some());
    let is_open = scene.living_primary().is_some_and(|at| at.server.is_open);
    is_open && !is_leaving && record.acknowledged_by == record.wait_for
}

/// Who may take over with the shortest wait: it counts, stays, keeps up, and enough others will acknowledge.
fn successor<'a>(scene: &Scene<'a>, why: Occasion) -> Option<&'a str> {
    let primary = scene.living_primary()?;
    let receiving = scene.receiving();
    // Who goes away with its Pod acknowledges nothing for the next.
    let old = usize::from(why != Occasion::PodEnds);
    let others = receiving.len().saturating_sub(1) + old;
    if receiving.is_empty() || others < usize::from(scene.record.wait_for) {
        return None;
    }
    let asked = scene
        .spec
        .switchover
        .as_ref()
        .and_then(|asked| asked.target.as_deref());
    let fit = receiving.into_iter().filter(|name| {
        let is_asked = why != Occasion::Asked || asked.is_none_or(|asked| asked == *name);
        is_asked && scene.is_wanted(name) && keeps_up(scene, primary, name)
    });
    fit.min_by_key(|name| {
        let lacks = scene.counted(name).map(|at| lacks(primary, at));
        (
            why == Occasion::Update && restarts::is_outdated(scene.seen, name),
            lacks,
        )
    })
}

fn keeps_up(scene: &Scene<'_>, primary: Running<'_>, name: &str) -> bool {
    let Some(at) = scene.counted(name) else {
        return false;
    };
    let pod = at.member.pod.as_ref();
    let stays = pod.is_some_and(|pod| !pod.is_terminating && pod.ip.is_some());
    let follows = at.server.follows.as_ref();
    let is_applying = follows.is_some_and(|follows| follows.is_applying && follows.acknowledges);
    let has_applied = at.server.lag_ms.is_some_and(|lag| lag <= LAG_LIMIT_MS);
    stays && is_applying && has_applied && is_near(primary, at)
}
