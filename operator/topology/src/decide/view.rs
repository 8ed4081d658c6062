//! Each member as a person should see it: role, state, and why.
//! Must not call a member failed because it could not be seen.

use std::collections::{BTreeMap, BTreeSet};

use super::exposure;
use super::scene::{Running, Scene, connected, errant, everything, running};
use crate::assignment::Role;
use crate::decision::{MemberRole, MemberState, MemberView};
use crate::observed::{Member, Observed, Timestamp};
use crate::report::{Process, Removed, Report, TroubleKind};
use crate::say;

/// A connection that is gone for longer is worth a word.
const UNSEEN_LIMIT_MS: u64 = 5_000;
/// From here on it is not a moment any more.
const LONG_UNSEEN_MS: u64 = 10_000;
/// All else follows from these: whatever a server says of itself that cannot write helps nobody.
const UNWRITABLE: [TroubleKind; 2] = [TroubleKind::DiskFull, TroubleKind::VolumeFails];

pub(super) fn before_the_record(
    seen: &Observed,
    exist: &BTreeSet<String>,
    now: Timestamp,
) -> BTreeMap<String, MemberView> {
    let view = |name: &String| {
        let member = seen.members.get(name);
        let (state, because) = match not_running(seen, name, member, now) {
            Some(answer) => answer,
            None => (MemberState::Starting, None),
        };
        MemberView {
            role: MemberRole::None,
            state,
            because,
            removed: removed(member),
            is_ready: false,
        }
    };
    exist.iter().map(|name| (name.clone(), view(name))).collect()
}

pub(super) fn members(scene: &Scene<'_>) -> BTreeMap<String, MemberView> {
    let names = scene.existing();
    names
        .into_iter()
        .map(|name| (name.clone(), view(scene, &name)))
        .collect()
}

fn view(scene: &Scene<'_>, name: &str) -> MemberView {
    let member = scene.seen.members.get(name);
    let is_primary = name == scene.primary();
    let counts = scene.counted(name).is_some();
    let role = match (is_primary, scene.voter(name)) {
        (true, _) => MemberRole::Primary,
        (false, Some(voter)) if voter.leaving.is_none() && voter.incarnation.is_some() => MemberRole::Replica,
        _ => MemberRole::None,
    };
    let (state, because) = match not_running(scene.seen, name, member, scene.now) {
        Some(answer) => answer,
        None if unwritable(scene.seen, name).is_some() => (MemberState::Failed, unwritable(scene.seen, name)),
        None if is_primary => primary_state(scene),
        None => replica_state(scene, name, counts),
    };
    MemberView {
        role,
        state,
        because,
        removed: removed(member),
        is_ready: state == MemberState::Serving,
    }
}

/// Its volume remembers it, and so does the last report of one that is out of sight.
fn removed(member: Option<&Member>) -> Option<String> {
    let removed = member?.report.as_ref()?.removed.as_ref()?;
    Some(removed.to_string())
}

type Answer = (MemberState, Option<String>);

/// What keeps a member from having a mysqld that answers; `None` if it has one.
fn not_running(seen: &Observed, name: &str, member: Option<&Member>, now: Timestamp) -> Option<Answer> {
    let pod = member.and_then(|member| member.pod.as_ref());
    let volume = member.and_then(|member| member.volume.as_ref());
    let Some(pod) = pod else {
        return Some((
            MemberState::Pending,
            volume.and_then(|volume| volume.problem.clone()),
        ));
    };
    if pod.is_terminating {
        return Some((
            MemberState::Starting,
            Some("its Pod is ending, to be made anew".into()),
        ));
    }
    let Some((_, report)) = connected(seen, name) else {
        // A volume that is not there is why the Pod is not: the scheduler says less.
        let of_volume = volume.and_then(|volume| volume.problem.clone());
        let problem = of_volume.or_else(|| pod.problem.clone());
        let reported_at = member.and_then(|member| member.report.as_ref().map(|_| member.reported_at));
        return Some(match (problem, reported_at) {
            (Some(problem), _) => (MemberState::Pending, Some(problem)),
            (None, Some(at)) if now.saturating_sub(at) > UNSEEN_LIMIT_MS => {
                let what = match now.saturating_sub(at) < LONG_UNSEEN_MS {
                    true => "its agent has not been heard of for a few seconds",
                    false => "its agent cannot be reached; whether it runs is not known",
                };
                (MemberState::Unreachable, Some(what.to_owned()))
            }
            // It was seen to run, by somebody who looked before.
            (None, None) if pod.ip.is_some() => {
                let what = "its agent has not been reached yet";
                (MemberState::Starting, Some(what.to_owned()))
            }
            (None, _) => (MemberState::Starting, None),
        });
    };
    match running(seen, name) {
        Some(_) => None,
        None => Some(silent_server(report)),
    }
}

fn unwritable(seen: &Observed, name: &str) -> Option<String> {
    connected(seen, name).and_then(|(_, report)| trouble_of(report, &UNWRITABLE))
}

fn trouble_of(report: &Report, kinds: &[TroubleKind]) -> Option<String> {
    let mut troubles = report.troubles.iter();
    let found = troubles.find(|trouble| kinds.contains(&trouble.kind));
    found.map(|trouble| trouble.what.clone())
}

fn silent_server(report: &Report) -> Answer {
    let trouble = |kinds: &[TroubleKind]| trouble_of(report, kinds);
    if let Some(what) = trouble(&UNWRITABLE) {
        return (MemberState::Failed, Some(what));
    }
    let fatal = trouble(&[
        TroubleKind::ImageUnfit,
        TroubleKind::DoesNotStart,
        TroubleKind::InitialisationFailed,
        TroubleKind::CredentialsRefused,
        TroubleKind::FilesMissing,
        TroubleKind::Unresponsive,
        TroubleKind::Other,
    ]);
    match (&report.process, fatal) {
        (Process::Cloning { .. }, _) => (MemberState::Seeding, trouble(&[TroubleKind::CloneFailed])),
        (_, Some(what)) => (MemberState::Failed, Some(what)),
        (Process::Initialising, None) => (MemberState::Seeding, None),
        (Process::Ended { .. }, None) => (
            MemberState::Failed,
            Some("mysqld ended and is started again".into()),
        ),
        (Process::Running, None) => (
            MemberState::Failed,
            Some("mysqld runs and does not answer".into()),
        ),
        (Process::Unassigned | Process::Starting | Process::Stopping, None) => (MemberState::Starting, None),
    }
}

/// What a running member has to say.
fn said(report: &Report) -> Option<String> {
    let trouble = report.troubles.first().map(|trouble| trouble.what.clone());
    trouble.or_else(|| {
        let waiting: Vec<&str> = report.awaiting_restart.iter().map(String::as_str).collect();
        (!waiting.is_empty()).then(|| format!("{} takes effect when it restarts", waiting.join(", ")))
    })
}

/// How far it lags, in few steps: the exact figure would be another one at every look, and this is status.
fn at_least(lag_ms: u64) -> &'static str {
    let steps = [
        (3_600_000, "an hour"),
        (900_000, "15 minutes"),
        (300_000, "5 minutes"),
        (60_000, "a minute"),
        (30_000, "30 s"),
        (20_000, "20 s"),
        (10_000, "10 s"),
    ];
    let mut steps = steps.into_iter();
    steps
        .find(|(from, _)| lag_ms >= *from)
        .map_or("a moment", |(_, words)| words)
}

fn primary_state(scene: &Scene<'_>) -> Answer {
    let Some(at) = scene.running(scene.primary()) else {
        return (MemberState::Starting, None);
    };
    let recorded = scene.voter(scene.primary()).and_then(|voter| voter.incarnation);
    if recorded.is_some() && recorded != Some(at.server.incarnation) {
        let what = "its volume holds other data than the cluster was promised";
        return (MemberState::Failed, Some(what.into()));
    }
    if let Some(what) = set_back(at) {
        return (MemberState::Failed, Some(what));
    }
    match at.server.is_open {
        true => (MemberState::Serving, said(at.report)),
        false if scene.record.term.epoch == 0 => (MemberState::Seeding, said(at.report)),
        false => (
            MemberState::Starting,
            said(at.report)
                .or_else(|| handing(scene))
                .or_else(|| waits(scene)),
        ),
    }
}

/// What it lacks that it had.
fn set_back(at: Running<'_>) -> Option<String> {
    let transactions = match at.member.forgot.as_ref()?.count() {
        1 => "1 transaction".to_owned(),
        count => format!("{count} transactions"),
    };
    Some(format!(
        "its volume was set back: it lacks {transactions} that it had"
    ))
}

fn handing(scene: &Scene<'_>) -> Option<String> {
    let to = scene.record.handing_to.as_ref()?;
    Some(format!("it is closed and hands over to {to}"))
}

fn waits(scene: &Scene<'_>) -> Option<String> {
    let have = u16::try_from(scene.receiving().len()).unwrap_or(u16::MAX);
    let need = scene.record.wait_for;
    (have < need).then(|| {
        let (all, acknowledge) = (say::replicas(need), say::does(need, "acknowledge"));
        let follow = say::does(have, "follow");
        format!("it opens when {all} {acknowledge}; {have} {follow} it now")
    })
}

/// What it has of its own numbers and nobody was promised.
fn own_history(scene: &Scene<'_>, at: Running<'_>) -> Option<String> {
    let order = at.report.assignment.as_ref();
    if order.is_some_and(|order| order.term() > scene.record.term) {
        // It may lead by a record that is not known here yet.
        return None;
    }
    let errant = errant(scene, at);
    let (transactions, are) = match errant.count() {
        0 => return None,
        1 => ("1 transaction of its own".to_owned(), "it is"),
        count => (format!("{count} transactions of its own"), "they are"),
    };
    // Who has seen this epoch begin was compared then: an old primary would have been copied.
    let is_new = scene.record.beyond_cut(&everything(at.server)).is_empty();
    let who = match is_new {
        true => "somebody wrote to it though it is no primary: ",
        false => "",
    };
    let which = Removed::told(&errant);
    Some(format!(
        "{who}{transactions} ({which}), which nobody acknowledged; {are} archived, and it is copied anew"
    ))
}

fn replica_state(scene: &Scene<'_>, name: &str, counts: bool) -> Answer {
    let Some(at) = scene.running(name) else {
        return (MemberState::Starting, None);
    };
    if scene.voter(name).is_some_and(|voter| voter.leaving.is_some()) {
        return (MemberState::Leaving, None);
    }
    let order = at.report.assignment.as_ref();
    if order.is_some_and(|order| matches!(order.role, Role::Clone { .. })) {
        return (MemberState::Seeding, said(at.report));
    }
    if let Some(what) = own_history(scene, at) {
        return (MemberState::Diverged, Some(what));
    }
    if let Some(what) = set_back(at) {
        return (MemberState::CatchingUp, Some(what));
    }
    let follows = at.server.follows.as_ref();
    if let Some((follows, failure)) = follows.and_then(|follows| Some((follows, follows.failure.clone()?))) {
        // That its source is away is no fault of its own.
        let state = match follows.is_unreached {
            true => MemberState::CatchingUp,
            false => MemberState::Failed,
        };
        return (state, Some(failure));
    }
    let is_following = scene.follows_primary(at);
    if counts && exposure::serves_reads(scene, name, true) && is_following {
        return (MemberState::Serving, said(at.report));
    }
    if let Some(lag_ms) = at.server.lag_ms.filter(|_| counts && is_following) {
        let behind = format!(
            "it is more than {} behind the primary, too far to serve reads",
            at_least(lag_ms)
        );
        let all = match said(at.report) {
            Some(said) => format!("{behind}; {said}"),
            None => behind,
        };
        return (MemberState::Lagging, Some(all));
    }
    let waiting = at
        .report
        .assignment
        .as_ref()
        .is_none_or(|order| order.role == Role::Hold);
    let why = match waiting {
        true => Some("it waits for the primary, or for its turn to copy data".to_owned()),
        false => said(at.report),
    };
    (MemberState::CatchingUp, why)
}

#[cfg(test)]
mod tests;
