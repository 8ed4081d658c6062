//! How far a Switchover has come, as a function of what is seen: its whole status.
//! Must not do IO, nor begin anything: what is active is handed to the decision.

use crds::cluster::Promotion;
use crds::conditions::{ConditionType, Reason as Word};
use crds::switchover::{Switchover, SwitchoverState as State, SwitchoverStatus};
use jiff::{SignedDuration, Timestamp};
use kit::conditions::{self, Finding, Status};
use topology::record::Record;
use topology::say;

use crate::status::whole_seconds;

/// What is seen of its cluster.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    /// Absent before there is a primary.
    pub(crate) record: Option<&'a Record>,
    pub(crate) promotions: &'a [Promotion],
    /// Another Switchover, which comes first.
    pub(crate) ahead: Option<&'a str>,
    /// Nothing is done for the cluster now, and why.
    pub(crate) hindered: Option<&'a str>,
    /// Why it was taken back, if it was.
    pub(crate) taken_back: Option<&'a str>,
    /// Why it does not begin.
    pub(crate) refused: &'a str,
    /// What would be done, if only that is asked.
    pub(crate) rehearsed: Option<&'a Rehearsal>,
    pub(crate) now: Timestamp,
}

/// What would be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rehearsal {
    Possible { to: Option<String>, plan: Vec<String> },
    Refused(String),
}

/// What is said of it.
struct Said {
    state: State,
    word: Word,
    message: String,
}

fn said(state: State, word: Word, message: impl Into<String>) -> Said {
    Said {
        state,
        word,
        message: message.into(),
    }
}

fn pending(message: impl Into<String>) -> Said {
    said(State::Pending, Word::Waiting, message)
}

/// Whether the decision is to know of it.
pub(crate) fn is_active(asked: &Switchover, view: &View<'_>) -> bool {
    let status = asked.status.clone().unwrap_or_default();
    let epoch = view.record.map(|record| record.term.epoch);
    let is_taken_up =
        status.from_epoch.is_some() && status.from_epoch.and_then(|from| u64::try_from(from).ok()) == epoch;
    let is_handing = view.record.is_some_and(|record| record.handing_to.is_some());
    let is_free = view.ahead.is_none() && view.hindered.is_none() && view.taken_back.is_none();
    let is_in_time = is_handing || !is_late(asked, &status, view.now);
    is_taken_up && is_free && is_in_time && !status.is_final() && !asked.spec.dry_run
}

/// When it has waited long enough.
pub(crate) fn deadline(asked: &Switchover, status: &SwitchoverStatus) -> Option<Timestamp> {
    let started = status.started_at.as_ref()?.0;
    let limit = SignedDuration::from_secs(asked.spec.deadline_seconds.into());
    started.checked_add(limit).ok()
}

fn is_late(asked: &Switchover, status: &SwitchoverStatus, now: Timestamp) -> bool {
    deadline(asked, status).is_some_and(|deadline| now >= deadline)
}

/// The status as it is to be.
pub(crate) fn status(asked: &Switchover, view: &View<'_>) -> SwitchoverStatus {
    let before = asked.status.clone().unwrap_or_default();
    if before.is_final() {
        return before;
    }
    let mut status = SwitchoverStatus {
        observed_generation: asked.metadata.generation,
        ..before
    };
    let said = match view.ahead {
        Some(other) => pending(format!("waits for the Switchover {other}")),
        None => first_in_line(asked, view, &mut status),
    };
    status.state = Some(said.state);
    if status.is_final() {
        status.completed_at = Some(whole_seconds(view.now));
    }
    tell(&mut status, &said, view.now);
    status
}

fn first_in_line(asked: &Switchover, view: &View<'_>, status: &mut SwitchoverStatus) -> Said {
    status.started_at.get_or_insert_with(|| whole_seconds(view.now));
    let is_late = is_late(asked, status, view.now);
    let record = view.record.filter(|record| record.term.epoch > 0);
    let now = match (view.hindered, record, view.taken_back) {
        (Some(why), ..) => pending(why),
        (_, None, _) => pending(format!("{} has no primary yet", asked.spec.cluster)),
        (_, Some(_), Some(why)) if status.from_epoch.is_some() => {
            return said(State::Failed, Word::TakenBack, why);
        }
        (_, Some(record), _) => with_record(asked, view, record, status),
    };
    if !is_late || now.state != State::Pending {
        return now;
    }
    // Nothing is tried any more: what hindered it was said before.
    let list = status.conditions.as_deref().unwrap_or_default();
    let waited_for = conditions::get(list, ConditionType::Ready.as_str());
    let waited_for = waited_for.map_or(now.message, |ready| ready.message.clone());
    let limit = asked.spec.deadline_seconds;
    said(
        State::Failed,
        Word::DeadlineExceeded,
        format!("not begun within {limit} seconds: {waited_for}"),
    )
}

fn with_record(asked: &Switchover, view: &View<'_>, record: &Record, status: &mut SwitchoverStatus) -> Said {
    let target = asked.spec.target.as_deref();
    let epoch = i64::try_from(record.term.epoch).unwrap_or(i64::MAX);
    let loss_in = asked.spec.accept_loss_in_epoch;
    let Some(from_epoch) = status.from_epoch else {
        if let Some(other) = loss_in.filter(|other| *other != epoch) {
            let cluster = &asked.spec.cluster;
            return said(
                State::Failed,
                Word::NotPossible,
                format!(
                    "a loss is accepted in epoch {other}, and {cluster} is in epoch {epoch}: look at its status anew"
                ),
            );
        }
        if record.is_choosing && loss_in.is_none() {
            return pending("a failover is under way");
        }
        status.from = Some(record.primary.clone());
        if target == Some(&*record.primary) && !record.is_choosing {
            status.to.clone_from(&status.from);
            status.duration_ms = Some(0);
            return said(
                State::Succeeded,
                Word::Completed,
                format!("{} is primary already", record.primary),
            );
        }
        return match view.rehearsed {
            Some(rehearsal) => rehearsed(rehearsal, status),
            None => {
                status.from_epoch = Some(epoch);
                pending("taken up")
            }
        };
    };
    if epoch < from_epoch {
        return said(
            State::Failed,
            Word::Superseded,
            "the cluster is another one by now",
        );
    }
    // It was taken up in a claimed epoch, and decided that.
    let is_decided = loss_in.is_some() && record.by_hand.is_some() && !record.is_choosing;
    if epoch > from_epoch || is_decided {
        return after(asked, view, record, status);
    }
    match &record.handing_to {
        Some(to) => said(
            State::Running,
            Word::SwitchoverInProgress,
            format!("{} hands over to {to}", record.primary),
        ),
        None => pending(view.refused),
    }
}

fn rehearsed(rehearsal: &Rehearsal, status: &mut SwitchoverStatus) -> Said {
    match rehearsal {
        Rehearsal::Possible { to, plan } => {
            status.to.clone_from(to);
            status.plan = Some(plan.clone());
            let to = to.as_deref().unwrap_or("the member with the longest history");
            said(
                State::Succeeded,
                Word::DryRun,
                format!("{to} would take over; nothing was changed"),
            )
        }
        Rehearsal::Refused(why) => said(State::Failed, Word::NotPossible, why),
    }
}

/// Another epoch than the one in which it was taken up.
fn after(asked: &Switchover, view: &View<'_>, record: &Record, status: &mut SwitchoverStatus) -> Said {
    let primary = &record.primary;
    if record.is_choosing {
        return said(
            State::Running,
            Word::FailoverInProgress,
            "a failover is under way",
        );
    }
    let epoch = i64::try_from(record.term.epoch).unwrap_or(i64::MAX);
    let Some(promotion) = view.promotions.iter().find(|promotion| promotion.epoch == epoch) else {
        return said(
            State::Running,
            Word::SwitchoverInProgress,
            format!("opening {primary} for writes"),
        );
    };
    status.to = Some(primary.clone());
    status.epoch = Some(epoch);
    status.duration_ms = Some(promotion.duration_ms);
    let is_as_asked = match asked.spec.target.as_deref() {
        Some(target) => target == primary,
        None => asked.spec.force || status.from.as_ref() != Some(primary),
    };
    match is_as_asked {
        true => said(
            State::Succeeded,
            Word::Completed,
            match &record.by_hand {
                Some(named) => format!("{primary} takes writes; {} may be lost", say::of_loss(named)),
                None => format!(
                    "{primary} takes writes; nobody did for {} ms",
                    promotion.duration_ms
                ),
            },
        ),
        false => said(
            State::Failed,
            Word::Superseded,
            format!(
                "{primary} became primary in epoch {epoch} for another reason: {}",
                promotion.reason
            ),
        ),
    }
}

/// There is nobody to look after it.
pub(crate) fn orphaned(asked: &Switchover, now: Timestamp) -> SwitchoverStatus {
    let before = asked.status.clone().unwrap_or_default();
    if before.is_final() {
        return before;
    }
    let mut status = SwitchoverStatus {
        observed_generation: asked.metadata.generation,
        state: Some(State::Pending),
        ..before
    };
    let said = said(
        State::Pending,
        Word::ClusterNotFound,
        format!(
            "there is no MySQLCluster {} in this namespace",
            asked.spec.cluster
        ),
    );
    tell(&mut status, &said, now);
    status
}

fn tell(status: &mut SwitchoverStatus, said: &Said, now: Timestamp) {
    let is_stalled = said.state == State::Failed || said.word == Word::ClusterNotFound;
    let is_under_way = matches!(said.state, State::Pending | State::Running) && !is_stalled;
    let ready = match said.state {
        State::Succeeded => Status::True,
        _ => Status::False,
    };
    let mut list = status.conditions.take().unwrap_or_default();
    for (type_, holds) in [
        (ConditionType::Ready, Some(ready)),
        (ConditionType::Reconciling, is_under_way.then_some(Status::True)),
        (ConditionType::Stalled, is_stalled.then_some(Status::True)),
    ] {
        let Some(holds) = holds else {
            conditions::remove(&mut list, type_.as_str());
            continue;
        };
        let finding = Finding {
            type_: type_.as_str(),
            status: holds,
            reason: said.word.as_str(),
            message: &said.message,
            observed_generation: status.observed_generation,
        };
        if let Err(error) = conditions::set(&mut list, &finding, now) {
            tracing::error!(%error, "a condition of ours is not one");
        }
    }
    status.conditions = Some(list);
}

#[cfg(test)]
mod tests;
