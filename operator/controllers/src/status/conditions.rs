//! The conditions of a cluster: which hold, why, and in which words.
//! Must not invent a type or a reason: those are API and stand in the crate `crds`.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kit::conditions::{self, Finding, Status};

use super::{Findings, Stall};
use crds::conditions::{ConditionType, Reason as Word};
use topology::decision::{ClusterState, Decision, MemberRole, Reason, Refusal};
use topology::report::TroubleKind;
use topology::say;

/// A condition with its status: `None` leaves it out.
struct Said {
    type_: ConditionType,
    status: Option<(Status, Word, String)>,
}

pub(super) fn build(mut list: Vec<Condition>, findings: &Findings<'_>, now: Timestamp) -> Vec<Condition> {
    let stall = stall(findings);
    for said in [
        ready(findings, stall.as_ref()),
        primary_available(findings),
        redundant(findings),
        reconciling(findings, stall.as_ref()),
        stalled(stall),
        suspended(findings),
    ] {
        let Some((status, reason, message)) = said.status else {
            conditions::remove(&mut list, said.type_.as_str());
            continue;
        };
        let finding = Finding {
            type_: said.type_.as_str(),
            status,
            reason: reason.as_str(),
            message: &message,
            observed_generation: findings.subject.generation,
        };
        if let Err(error) = conditions::set(&mut list, &finding, now) {
            tracing::error!(%error, "a condition of ours is not one");
        }
    }
    list
}

fn ready(findings: &Findings<'_>, stall: Option<&Stall>) -> Said {
    let type_ = ConditionType::Ready;
    if let Some(removal) = &findings.subject.removal {
        return said(type_, Status::False, Word::Deleting, removal.clone());
    }
    let Some(decision) = findings.decision else {
        let message = stall.map_or("it could not be looked at yet", |stall| &stall.message);
        return said(type_, Status::Unknown, Word::NotObserved, message.to_owned());
    };
    let wanted = findings.subject.instances;
    let ready = decision.members.values().filter(|member| member.is_ready).count();
    let primary = findings.record.map(|record| record.primary.as_str());
    if usize::from(wanted) == ready && decision.members.len() == ready && is_available(findings) {
        let mut message = format!("{ready}/{wanted} ready, primary {}", primary.unwrap_or("none"));
        for pending in decision.because.iter().filter(|reason| is_pending(reason)) {
            message.push_str(&format!("; {pending}"));
        }
        return said(type_, Status::True, Word::AllInstancesReady, message);
    }
    let reason = match without_primary(findings, decision) {
        Some(reason) => reason,
        None => Word::InstancesNotReady,
    };
    said(type_, Status::False, reason, sentence(decision, ready, wanted))
}

/// Said also while all is well: it waits for a person.
fn is_pending(reason: &Reason) -> bool {
    matches!(reason, Reason::PrimaryRestartPending { .. })
}

fn primary_available(findings: &Findings<'_>) -> Said {
    let type_ = ConditionType::PrimaryAvailable;
    let Some(decision) = findings.decision else {
        let message = "it could not be looked at yet".to_owned();
        return said(type_, Status::Unknown, Word::NotObserved, message);
    };
    let primary = findings.record.map_or("the primary", |record| &record.primary);
    match without_primary(findings, decision) {
        None => said(
            type_,
            Status::True,
            Word::Writable,
            format!("{primary} takes writes"),
        ),
        Some(reason) => said(type_, Status::False, reason, because(decision)),
    }
}

/// Why nobody takes writes, if that is so.
fn without_primary(findings: &Findings<'_>, decision: &Decision) -> Option<Word> {
    match decision.state {
        ClusterState::Creating | ClusterState::Adopting => Some(Word::Creating),
        ClusterState::AwaitingReplicas => Some(Word::AwaitingReplicas),
        ClusterState::FailingOver => Some(Word::FailoverInProgress),
        ClusterState::SwitchingOver if !is_available(findings) => Some(Word::SwitchoverInProgress),
        _ if decision.refused.iter().any(is_for_approval) => Some(Word::AwaitingApproval),
        _ if decision.refused.iter().any(is_paused) => Some(Word::CoolingDown),
        _ if is_available(findings) => None,
        _ => Some(Word::NoPrimary),
    }
}

fn is_for_approval(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::AwaitingApproval { .. })
}

/// It begins by itself after a while.
fn is_paused(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::CoolingDown { .. })
}

/// The primary takes writes, and the Service leads to it.
fn is_available(findings: &Findings<'_>) -> bool {
    let is_writable = findings.decision.is_some_and(is_writable);
    is_writable
        && findings
            .record
            .is_some_and(|record| super::is_reached(findings, record))
}

/// The primary takes writes.
pub(crate) fn is_writable(decision: &Decision) -> bool {
    let mut members = decision.members.values();
    members.any(|member| member.role == MemberRole::Primary && member.is_ready)
}

fn redundant(findings: &Findings<'_>) -> Said {
    let type_ = ConditionType::Redundant;
    let (Some(decision), Some(record)) = (findings.decision, findings.record) else {
        let message = "there are no members to count yet".to_owned();
        return said(type_, Status::Unknown, Word::NotObserved, message);
    };
    if findings.subject.instances <= 1 {
        let message = "one member alone: its loss ends the service, that of its volume loses the data";
        return said(type_, Status::False, Word::SingleInstance, message.to_owned());
    }
    if !is_writable(decision) {
        return said(type_, Status::False, Word::NoPrimary, because(decision));
    }
    let ready = decision.members.iter().filter(|(name, member)| {
        let counts = record
            .voters
            .get(*name)
            .is_some_and(|voter| voter.incarnation.is_some());
        counts && member.is_ready && member.role == MemberRole::Replica
    });
    let (have, need) = (u16::try_from(ready.count()).unwrap_or(u16::MAX), record.wait_for);
    let (all, acknowledge) = (say::replicas(have), say::does(have, "acknowledge"));
    let are = if need == 1 { "is" } else { "are" };
    let message = format!("{all} {acknowledge}, {need} {are} needed");
    if have > need {
        return said(type_, Status::True, Word::SpareReplicas, message);
    }
    let message = format!("{message}: one more loss stops writes");
    said(type_, Status::False, Word::NoSpareReplicas, message)
}

/// Left out while it is stalled: whoever waits for progress would wait for ever.
fn reconciling(findings: &Findings<'_>, stall: Option<&Stall>) -> Said {
    let type_ = ConditionType::Reconciling;
    let subject = findings.subject;
    if let Some(removal) = &subject.removal {
        return said(type_, Status::True, Word::Deleting, removal.clone());
    }
    let none = Said { type_, status: None };
    let Some(decision) = findings
        .decision
        .filter(|_| stall.is_none() && !subject.is_suspended)
    else {
        return none;
    };
    let reason = match decision.state {
        ClusterState::Creating | ClusterState::Adopting => Word::Creating,
        ClusterState::FailingOver => Word::FailoverInProgress,
        ClusterState::SwitchingOver => Word::SwitchoverInProgress,
        ClusterState::Scaling => Word::Scaling,
        ClusterState::Updating => Word::Updating,
        ClusterState::Degraded
        | ClusterState::AwaitingReplicas
        | ClusterState::Opening
        | ClusterState::PrimaryUnavailable => Word::Recovering,
        ClusterState::Healthy | ClusterState::Blocked | ClusterState::Suspended => {
            if findings.growing.is_empty() {
                return none;
            }
            let message = format!("growing the volumes {}", findings.growing.join(", "));
            return said(type_, Status::True, Word::Resizing, message);
        }
    };
    said(type_, Status::True, reason, because(decision))
}

fn stalled(stall: Option<Stall>) -> Said {
    Said {
        type_: ConditionType::Stalled,
        status: stall.map(|stall| (Status::True, stall.reason, stall.message)),
    }
}

fn suspended(findings: &Findings<'_>) -> Said {
    let message = "spec.suspend is true: nothing is changed, and nothing fails over".to_owned();
    Said {
        type_: ConditionType::Suspended,
        status: (findings.subject.is_suspended).then_some((Status::True, Word::SuspendedBySpec, message)),
    }
}

/// What a person has to act on: the first of what others found, of what was refused, of what
/// members say of themselves.
fn stall(findings: &Findings<'_>) -> Option<Stall> {
    if findings.subject.removal.is_some() {
        return None;
    }
    let is_late = |stall: &&Stall| stall.reason == Word::DeadlineExceeded;
    let found = findings.stalls.iter().find(|stall| !is_late(stall)).cloned();
    found
        .or_else(|| findings.decision.and_then(of_refusal))
        .or_else(|| findings.stalls.iter().find(is_late).cloned())
        .or_else(|| of_troubles(findings))
}

fn of_refusal(decision: &Decision) -> Option<Stall> {
    let by_people = decision
        .refused
        .iter()
        .find(|refusal| matches!(refusal, Refusal::LeftToPeople { .. }));
    decision.refused.iter().find_map(|refusal| {
        let reason = match refusal {
            Refusal::QuorumLost { .. } | Refusal::PrimaryDataLost { .. } | Refusal::RecordLost => {
                Word::QuorumLost
            }
            Refusal::HistoryDiverged { .. } | Refusal::MixedVolumes { .. } => Word::HistoryDiverged,
            Refusal::AwaitingApproval { .. } => Word::AwaitingApproval,
            // It may come back by itself.
            Refusal::PrimaryUnreachable { .. }
            | Refusal::CoolingDown { .. }
            | Refusal::LeftToPeople { .. }
            | Refusal::NoSuccessor { .. }
            | Refusal::HandoverWaits { .. } => return None,
        };
        let by_people = by_people.filter(|_| matches!(reason, Word::QuorumLost | Word::HistoryDiverged));
        let message = match by_people {
            Some(by_people) => format!("{refusal}; {by_people}"),
            None => refusal.to_string(),
        };
        Some(Stall { reason, message })
    })
}

fn of_troubles(findings: &Findings<'_>) -> Option<Stall> {
    findings.observed.members.iter().find_map(|(name, member)| {
        let troubles = &member.report.as_ref()?.troubles;
        troubles.iter().find_map(|trouble| {
            let reason = match trouble.kind {
                TroubleKind::ImageUnfit => Word::ImageUnfit,
                TroubleKind::ParameterRefused => Word::SpecRefused,
                // Once it grows, nobody has to act any more.
                TroubleKind::DiskFull if !findings.growing.contains(name) => Word::VolumeFull,
                TroubleKind::VolumeFails => Word::VolumeFails,
                _ => return None,
            };
            let message = format!("{name}: {}", trouble.what);
            Some(Stall { reason, message })
        })
    })
}

fn said(type_: ConditionType, status: Status, reason: Word, message: String) -> Said {
    Said {
        type_,
        status: Some((status, reason, message)),
    }
}

/// Why things are as they are: what is refused first, since somebody may have to act.
pub(crate) fn because(decision: &Decision) -> String {
    let refused = decision.refused.iter().map(ToString::to_string);
    let reasons = decision.because.iter().map(ToString::to_string);
    let all: Vec<_> = refused.chain(reasons).collect();
    if all.is_empty() {
        return decision.state.as_str().to_owned();
    }
    all.join("; ")
}

/// How many, why, and what each that is missing says.
fn sentence(decision: &Decision, ready: usize, wanted: u16) -> String {
    let mut text = format!("{ready}/{wanted} ready; {}", because(decision));
    for (name, member) in decision.members.iter().filter(|(_, member)| !member.is_ready) {
        let because = member.because.as_deref();
        let because = because.map(|because| format!(", {because}")).unwrap_or_default();
        text.push_str(&format!("; {name}: {}{because}", member.state.as_str()));
    }
    text
}
