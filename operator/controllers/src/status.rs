//! What is said of a cluster in its status, built from a decision and from what was said before.
//! Must not do IO, and must not hold what changes every second.

mod conditions;
pub(crate) mod filling;

pub(crate) use conditions::{because, is_writable};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crds::cluster::{
    Endpoints, MemberRole, MemberStatus, MySQLClusterStatus, PrimaryStatus, Promotion, PromotionDeadline,
    PromotionKind, PromotionPhases,
};
use crds::conditions::Reason as Word;
use topology::decision::{self, Decision, MemberView};
use topology::observed::Observed;
use topology::record::Record;

/// Of the API.
const PROMOTIONS_LIMIT: usize = 10;
const MEMBERS_LIMIT: usize = 99;
const BECAUSE_LIMIT_BYTES: usize = 1024;
const NODE_LIMIT_BYTES: usize = 253;
const VERSION_LIMIT_BYTES: usize = 64;

/// Something that a person has to act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stall {
    pub(crate) reason: Word,
    pub(crate) message: String,
}

/// What stays the same as long as the spec does.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) generation: Option<i64>,
    pub(crate) created: Option<Timestamp>,
    pub(crate) instances: u16,
    pub(crate) selector: String,
    pub(crate) endpoints: Endpoints,
    pub(crate) is_suspended: bool,
    /// While it is being removed: what that waits for.
    pub(crate) removal: Option<String>,
}

/// A change of the primary, as it is told once the new one is open and reached.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) kind: PromotionKind,
    pub(crate) cause: &'static str,
    /// The same in words.
    pub(crate) because: Option<String>,
    pub(crate) duration_ms: i64,
    pub(crate) deadline: PromotionDeadline,
    pub(crate) phases: Option<PromotionPhases>,
}

/// What is to be said.
pub(crate) struct Findings<'a> {
    pub(crate) subject: &'a Subject,
    /// Absent where nothing could be decided: then `stalls` says why, and what ran is not spoken of.
    pub(crate) decision: Option<&'a Decision>,
    pub(crate) observed: &'a Observed,
    pub(crate) record: Option<&'a Record>,
    pub(crate) stalls: &'a [Stall],
    /// How the primary came to be, while that is going on.
    pub(crate) story: Option<Told>,
    /// Volumes that are not as large yet as they were asked to be.
    pub(crate) growing: &'a [String],
}

/// The whole status. What cannot be seen now keeps what was said of it.
pub(crate) fn build(
    findings: &Findings<'_>,
    before: &MySQLClusterStatus,
    now: Timestamp,
) -> MySQLClusterStatus {
    let subject = findings.subject;
    let mut status = MySQLClusterStatus {
        observed_generation: subject.generation,
        selector: Some(subject.selector.clone()),
        endpoints: Some(subject.endpoints.clone()),
        ..before.clone()
    };
    if let Some(decision) = findings.decision {
        status.state = Some(decision.state.as_str().to_owned());
        counts(&mut status, findings, decision);
        status.members = Some(members(findings, decision, before));
        status.version = version(findings).or_else(|| before.version.clone());
        primary(&mut status, findings, now);
    }
    let list: Vec<Condition> = before.conditions.clone().unwrap_or_default();
    status.conditions = Some(conditions::build(list, findings, now));
    status
}

fn counts(status: &mut MySQLClusterStatus, findings: &Findings<'_>, decision: &Decision) {
    let pods = findings
        .observed
        .members
        .values()
        .filter(|member| member.pod.is_some());
    let ready = decision.members.values().filter(|member| member.is_ready).count();
    status.instances = i32::try_from(pods.count()).ok();
    status.ready_instances = i32::try_from(ready).ok();
    status.ready = Some(format!("{ready}/{}", findings.subject.instances));
}

fn members(findings: &Findings<'_>, decision: &Decision, before: &MySQLClusterStatus) -> Vec<MemberStatus> {
    let views = decision.members.iter().take(MEMBERS_LIMIT);
    views
        .map(|(name, view)| member(name, view, findings, before))
        .collect()
}

fn member(
    name: &str,
    view: &MemberView,
    findings: &Findings<'_>,
    before: &MySQLClusterStatus,
) -> MemberStatus {
    let said = before.members.iter().flatten().find(|member| member.name == name);
    let seen = findings.observed.members.get(name);
    let order = seen.and_then(|seen| seen.report.as_ref()?.assignment.as_ref());
    let epoch = order.map(|order| i64::try_from(order.term().epoch).unwrap_or(i64::MAX));
    let node = seen.and_then(|seen| seen.pod.as_ref()?.node.clone());
    let because = filling::with(
        view.because.clone(),
        said.and_then(|said| said.because.as_deref()),
        seen.and_then(|seen| seen.report.as_ref()),
    );
    let is_heard = seen.is_some_and(|seen| seen.report.is_some());
    MemberStatus {
        name: name.to_owned(),
        role: match view.role {
            decision::MemberRole::Primary => MemberRole::Primary,
            decision::MemberRole::Replica => MemberRole::Replica,
            decision::MemberRole::None => MemberRole::Joining,
        },
        epoch: epoch.or(said.map(|said| said.epoch)).unwrap_or(0),
        state: view.state.as_str().to_owned(),
        node: node.map(|node| crate::cut(&node, NODE_LIMIT_BYTES)),
        because: because.map(|because| crate::cut(&because, BECAUSE_LIMIT_BYTES)),
        removed: match &view.removed {
            Some(removed) => Some(crate::cut(removed, BECAUSE_LIMIT_BYTES)),
            // Its agent has not been heard since this controller began.
            None => said.and_then(|said| said.removed.clone()).filter(|_| !is_heard),
        },
    }
}

fn version(findings: &Findings<'_>) -> Option<String> {
    let primary = &findings.record?.primary;
    let report = findings.observed.members.get(primary)?.report.as_ref()?;
    let version = &report.server.as_ref()?.version;
    Some(crate::cut(version, VERSION_LIMIT_BYTES))
}

/// Named as soon as it is recorded: from then on the cluster had a primary.
fn primary(status: &mut MySQLClusterStatus, findings: &Findings<'_>, now: Timestamp) {
    let record = findings.record;
    let Some(record) = record.filter(|record| record.term.epoch > 0 && !record.is_choosing) else {
        return;
    };
    let epoch = i64::try_from(record.term.epoch).unwrap_or(i64::MAX);
    let is_same = |said: &PrimaryStatus| said.name == record.primary && said.epoch == epoch;
    if !status.primary.as_ref().is_some_and(is_same) {
        status.primary = Some(PrimaryStatus {
            name: record.primary.clone(),
            epoch,
            since: whole_seconds(now),
        });
    }
    if is_told(status, record) || !is_open(findings.observed, record) || !is_reached(findings, record) {
        return;
    }
    if let Some(primary) = &mut status.primary {
        primary.since = whole_seconds(now);
    }
    let told = promotion(status, findings, record, now);
    let promotions = status.promotions.get_or_insert_default();
    promotions.insert(0, told);
    promotions.truncate(PROMOTIONS_LIMIT);
}

fn promotion(
    status: &MySQLClusterStatus,
    findings: &Findings<'_>,
    record: &Record,
    now: Timestamp,
) -> Promotion {
    let before = status.promotions.iter().flatten().next();
    let promotion = Promotion {
        epoch: i64::try_from(record.term.epoch).unwrap_or(i64::MAX),
        time: whole_seconds(now),
        from: before.map(|before| before.to.clone()),
        to: record.primary.clone(),
        kind: PromotionKind::Failover,
        reason: "PrimaryLost".to_owned(),
        because: None,
        duration_ms: 0,
        deadline: None,
        phases_ms: None,
        phantoms: None,
    };
    match (before, &findings.story) {
        (None, _) => first(promotion, findings, now),
        (Some(_), None) => promotion,
        (Some(_), Some(story)) => Promotion {
            kind: story.kind,
            reason: story.cause.to_owned(),
            because: (story.because.as_deref()).map(|because| crate::cut(because, BECAUSE_LIMIT_BYTES)),
            duration_ms: story.duration_ms,
            deadline: Some(story.deadline),
            phases_ms: story.phases.clone(),
            ..promotion
        },
    }
}

/// The first that this object has: since it was made there was nobody to write to.
fn first(promotion: Promotion, findings: &Findings<'_>, now: Timestamp) -> Promotion {
    let (reason, because) = match promotion.epoch {
        1 => ("Created", "the cluster is new"),
        _ => ("Adopted", "the volumes of an earlier cluster were taken over"),
    };
    let began = findings.subject.created.unwrap_or(now);
    let duration = now.duration_since(began).as_millis().max(0);
    Promotion {
        kind: PromotionKind::Bootstrap,
        reason: reason.to_owned(),
        because: Some(because.to_owned()),
        duration_ms: i64::try_from(duration).unwrap_or(i64::MAX),
        ..promotion
    }
}

/// Its epoch is among the promotions.
pub(crate) fn is_told(status: &MySQLClusterStatus, record: &Record) -> bool {
    let epoch = i64::try_from(record.term.epoch).unwrap_or(i64::MAX);
    status
        .promotions
        .iter()
        .flatten()
        .any(|promotion| promotion.epoch == epoch)
}

/// The primary says that it takes writes.
pub(crate) fn is_open(observed: &Observed, record: &Record) -> bool {
    let member = observed.members.get(&record.primary);
    let server = member.and_then(|member| member.report.as_ref()?.server.as_ref());
    server.is_some_and(|server| server.is_open)
}

/// The Service leads to it.
fn is_reached(findings: &Findings<'_>, record: &Record) -> bool {
    let primary = findings.observed.exposed.primary.as_ref();
    primary.is_some_and(|endpoint| endpoint.member == record.primary)
}

/// The API keeps seconds: a fraction would be a difference to what is read back.
pub(crate) fn whole_seconds(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

#[cfg(test)]
mod tests;
