//! Whether the primary is lost, and whether the next epoch may be claimed without it.
//! Must not take one observer's silence for death: replicas that still hear the primary veto it.

use std::collections::BTreeSet;

use super::cooldown;
use super::scene::Scene;
use crate::decision::{Cause, Reason, Refusal};
use crate::record::Record;
use crate::report::{Follows, Process, Report};

/// The controller has not heard of its agent for so long: less than ends its connection, which tells then.
const AGENT_SILENCE_MS: u64 = 900;
/// A replica has not reached it for so long. It gives a connection up after ten seconds without a packet, and it
/// has been refused since if it could reach anybody.
const CUT_OFF_MS: u64 = 12_000;

/// The claim of the next epoch, or why there is none although the primary is lost.
pub(super) fn next(scene: &Scene<'_>) -> Option<Result<(Record, Reason), Refusal>> {
    let cause = cause(scene)?;
    let primary = scene.primary().to_owned();
    let others = scene.record.voters.keys().filter(|name| **name != primary);
    let others = others.filter_map(|name| scene.counted(name));
    let (reached, need) = match cause {
        // The next one must be able to write too, and so must those who acknowledge: else it would only be
        // the next that cannot.
        Cause::DiskFull | Cause::VolumeFails => {
            let is_fit = |report: &Report| match cause {
                Cause::DiskFull => report.has_room(),
                _ => report.writes_now(),
            };
            (
                others.filter(|at| is_fit(at.report)).count(),
                scene.quorum().max(usize::from(scene.record.wait_for) + 1),
            )
        }
        _ => (others.count(), scene.quorum()),
    };
    if scene.record.acknowledged_by == 0 || reached < need {
        return None;
    }
    let is_approved = scene
        .spec
        .switchover
        .as_ref()
        .is_some_and(|asked| asked.is_forced);
    if scene.spec.is_failover_manual && !is_approved {
        return Some(Err(Refusal::AwaitingApproval { primary }));
    }
    if let Some(refusal) = cooldown::refusal(scene, cause).filter(|_| !is_approved) {
        return Some(Err(refusal));
    }
    let mut record = scene.record.next_epoch();
    record.is_choosing = true;
    record.handing_to = None;
    record.failovers = cooldown::with_one_more(scene.record);
    // Whatever made it lost: it would be chosen for what it has, and not be reached.
    if is_cut_off(scene) {
        // Of nobody else is it known that the new primary and those who acknowledge can be on one side.
        let others = cut_off(scene);
        let voters = scene.record.voters.keys().cloned();
        record.left_out = voters.filter(|name| !others.contains(name.as_str())).collect();
    }
    Some(Ok((record, Reason::FailingOver { from: primary, cause })))
}

pub(super) fn cause(scene: &Scene<'_>) -> Option<Cause> {
    let primary = scene.primary();
    let recorded = scene.voter(primary).and_then(|voter| voter.incarnation);
    let member = scene.seen.members.get(primary)?;
    let Some((_, report)) = scene.connected(primary) else {
        let is_silent = scene.now.saturating_sub(member.reported_at) > AGENT_SILENCE_MS;
        let is_lost = (is_silent && !is_heard(scene)) || is_long_unheard(scene);
        return is_lost.then_some(Cause::Unreachable);
    };
    if let Some(server) = &report.server
        && Some(server.incarnation) != recorded
    {
        return Some(Cause::DataLost);
    }
    match report.process {
        Process::Ended { .. } | Process::Stopping | Process::Starting => Some(Cause::MysqldDead),
        Process::Unassigned | Process::Initialising | Process::Cloning { .. } => Some(Cause::DataLost),
        Process::Running if report.is_out_of_room() => Some(Cause::DiskFull),
        Process::Running if report.cannot_write() => Some(Cause::VolumeFails),
        Process::Running => {
            if !report.answers() {
                return (!is_heard(scene)).then_some(Cause::Hung);
            }
            if is_set_back(scene) {
                return Some(Cause::SetBack);
            }
            scene.living_primary()?;
            is_cut_off(scene).then_some(Cause::CutOff)
        }
    }
}

/// It lacks what it was seen to have, or what it wrote itself and somebody who counts has: mysqld never forgets that, its
/// volume was set back.
fn is_set_back(scene: &Scene<'_>) -> bool {
    let Some(primary) = scene.running(scene.primary()) else {
        return false;
    };
    if !scene.is_whole(primary) {
        return true;
    }
    let mut others = scene.record.voters.keys().filter(|name| *name != scene.primary());
    others.any(|name| scene.counted(name).is_some_and(|at| at.member.ahead.is_some()))
}

/// So many that count cannot reach it that no commit is acknowledged: as many as know every acknowledged write, and
/// can be a primary with those who acknowledge.
fn is_cut_off(scene: &Scene<'_>) -> bool {
    let wait_for = usize::from(scene.record.wait_for);
    let need = scene.quorum().max(wait_for + 1);
    wait_for > 0 && cut_off(scene).len() >= need
}

/// The replicas that count, could work, and do not reach it.
fn cut_off<'a>(scene: &Scene<'a>) -> BTreeSet<&'a str> {
    let address = scene.address(scene.primary());
    let voters = scene.record.voters.iter();
    let others = voters.filter(|(name, voter)| *name != scene.primary() && voter.leaving.is_none());
    let is_cut_off = |name: &&str| {
        let Some(at) = scene.counted(name).filter(|at| at.report.writes_now()) else {
            return false;
        };
        at.server.follows.as_ref().is_some_and(|follows| {
            let is_ours = Some(follows.host.as_str()) == address;
            let is_away = follows.is_unreached && !follows.is_receiving;
            is_ours && is_away && follows.silence_ms > CUT_OFF_MS
        })
    };
    others.map(|(name, _)| name.as_str()).filter(is_cut_off).collect()
}

/// What the replicas that count, and are seen, say of their stream from it.
fn streams<'a>(scene: &'a Scene<'_>) -> impl Iterator<Item = Option<&'a Follows>> {
    let others = scene.record.voters.keys().filter(|name| *name != scene.primary());
    others
        .filter_map(|name| scene.counted(name))
        .map(|at| at.server.follows.as_ref())
}

/// Some replica that counts still receives from it.
fn is_heard(scene: &Scene<'_>) -> bool {
    streams(scene)
        .flatten()
        .any(|follows| follows.is_receiving && !follows.is_silent())
}

fn is_long_unheard(scene: &Scene<'_>) -> bool {
    let mut all = streams(scene).peekable();
    all.peek().is_some() && all.all(|follows| follows.is_some_and(|follows| follows.is_long_silent()))
}

#[cfg(test)]
mod tests;
