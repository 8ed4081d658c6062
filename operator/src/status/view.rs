//! A cluster as people on call see it, made of the object alone: verdict, why, members, promotions, what next.
//! Must not do IO or read a clock: the same object is always told the same.

use crds::cluster::{MemberRole, MemberStatus, MySQLCluster, MySQLClusterStatus, Promotion};
use crds::conditions::{ConditionType, Reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::Serialize;

use super::advice::{self, Advice};

/// The newest of them.
const PROMOTIONS_LIMIT: usize = 5;

/// What `-o json` prints: fields are added, and none is renamed or taken away.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    pub namespace: String,
    pub name: String,
    /// One sentence.
    pub verdict: String,
    /// The condition Ready is True, and about what is asked for now.
    pub is_ready: bool,
    pub state: Option<String>,
    /// Conditions that are not as they should be.
    pub why: Vec<Why>,
    pub members: Vec<MemberStatus>,
    pub promotions: Vec<Promotion>,
    pub next: Vec<Advice>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Why {
    #[serde(rename = "type")]
    pub type_: String,
    pub status: String,
    pub reason: String,
    pub message: String,
}

/// The object, asked in the words of people.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) object: &'a MySQLCluster,
    pub(super) status: &'a MySQLClusterStatus,
}

impl View {
    pub fn of(object: &MySQLCluster) -> Self {
        let none = MySQLClusterStatus::default();
        let subject = Subject {
            object,
            status: object.status.as_ref().unwrap_or(&none),
        };
        let promotions = subject.status.promotions.iter().flatten();
        Self {
            namespace: subject.namespace().to_owned(),
            name: subject.name().to_owned(),
            verdict: subject.verdict(),
            is_ready: subject.is(ConditionType::Ready) && subject.is_current(),
            state: subject.status.state.clone(),
            why: subject.why(),
            members: subject.members().to_vec(),
            promotions: promotions.take(PROMOTIONS_LIMIT).cloned().collect(),
            next: advice::of(subject),
        }
    }
}

impl<'a> Subject<'a> {
    pub(super) fn name(self) -> &'a str {
        self.object.metadata.name.as_deref().unwrap_or_default()
    }

    pub(super) fn namespace(self) -> &'a str {
        self.object.metadata.namespace.as_deref().unwrap_or("default")
    }

    pub(super) fn members(self) -> &'a [MemberStatus] {
        self.status.members.as_deref().unwrap_or_default()
    }

    pub(super) fn condition(self, type_: ConditionType) -> Option<&'a Condition> {
        let mut all = self.status.conditions.iter().flatten();
        all.find(|condition| condition.type_ == type_.as_str())
    }

    pub(super) fn is(self, type_: ConditionType) -> bool {
        self.condition(type_)
            .is_some_and(|condition| condition.status == "True")
    }

    pub(super) fn has_reason(self, type_: ConditionType, reason: Reason) -> bool {
        self.condition(type_)
            .is_some_and(|condition| condition.reason == reason.as_str())
    }

    /// Some operator has said something of it.
    pub(super) fn is_observed(self) -> bool {
        self.status.conditions.is_some()
    }

    /// What is said is about what is asked for now.
    pub(super) fn is_current(self) -> bool {
        self.status.observed_generation == self.object.metadata.generation
    }

    fn is_ending(self) -> bool {
        self.object.metadata.deletion_timestamp.is_some()
    }

    fn verdict(self) -> String {
        let name = self.name();
        if !self.is_observed() {
            return format!("NotObserved: no operator has said anything of {name} yet");
        }
        let state = self.status.state.as_deref().unwrap_or("NotObserved");
        let mut parts = vec![self.writes(), self.following()];
        parts.retain(|part| !part.is_empty());
        let mut verdict = format!("{state}: {}", parts.join(", "));
        let more = [
            self.losses(),
            self.stall(),
            self.is(ConditionType::Suspended)
                .then(|| "suspended, so nothing is changed and nothing fails over".to_owned()),
            self.is_ending().then(|| "it is being removed".to_owned()),
            (!self.is_current()).then(|| "no operator has looked since it was changed".to_owned()),
        ];
        for part in more.into_iter().flatten() {
            verdict.push_str(&format!("; {part}"));
        }
        verdict
    }

    fn writes(self) -> String {
        let primary = self.status.primary.as_ref().map(|primary| &*primary.name);
        let available = self.condition(ConditionType::PrimaryAvailable);
        match (available.map(|condition| &*condition.status), primary) {
            (Some("True"), Some(primary)) => format!("{primary} takes writes"),
            (Some("True"), None) => "writes are taken".to_owned(),
            (Some("False"), _) if self.is_awaiting() => "commits wait".to_owned(),
            (Some("False"), _) if self.is_unseen() => "nobody is known to take writes".to_owned(),
            (Some("False"), _) => "nobody takes writes".to_owned(),
            _ => "whether anybody takes writes is not known".to_owned(),
        }
    }

    fn is_awaiting(self) -> bool {
        self.has_reason(ConditionType::PrimaryAvailable, Reason::AwaitingReplicas)
    }

    /// Whom nobody reaches may still serve.
    fn is_unseen(self) -> bool {
        let reasons = [Reason::NoPrimary, Reason::AwaitingApproval];
        let mut reasons = reasons.into_iter();
        reasons.any(|reason| self.has_reason(ConditionType::PrimaryAvailable, reason))
    }

    /// Only beside a primary there is somebody to follow.
    fn following(self) -> String {
        let wanted = self.object.spec.instances.saturating_sub(1);
        let has_primary = self.is(ConditionType::PrimaryAvailable) || self.is_awaiting();
        if wanted < 1 || !has_primary {
            return String::new();
        }
        let follow = self.members().iter().filter(|member| {
            let is_following = matches!(member.state.as_str(), "Serving" | "Lagging");
            member.role == MemberRole::Replica && is_following
        });
        match follow.count() {
            1 => format!("1 of {wanted} replicas follows"),
            count => format!("{count} of {wanted} replicas follow"),
        }
    }

    fn losses(self) -> Option<String> {
        let redundant = self.condition(ConditionType::Redundant)?;
        let is_alone = self.has_reason(ConditionType::Redundant, Reason::SingleInstance);
        match redundant.status.as_str() {
            "True" => Some("a node may be lost now".to_owned()),
            "False" if is_alone => Some("it is one member alone, and nobody can take over".to_owned()),
            "False" if self.is(ConditionType::PrimaryAvailable) => {
                Some("one more loss stops writes".to_owned())
            }
            _ => None,
        }
    }

    fn stall(self) -> Option<String> {
        let stalled = self.condition(ConditionType::Stalled)?;
        let is_stalled = stalled.status == "True";
        is_stalled.then(|| format!("a person has to act ({})", stalled.reason))
    }

    /// What a person has to act on first.
    fn why(self) -> Vec<Why> {
        let types = [
            ConditionType::Stalled,
            ConditionType::Suspended,
            ConditionType::Ready,
            ConditionType::PrimaryAvailable,
            ConditionType::Redundant,
            ConditionType::Reconciling,
        ];
        let found = types.into_iter().filter_map(|type_| {
            let condition = self.condition(type_)?;
            let good = if type_.only_while_true() { "False" } else { "True" };
            (condition.status != good).then(|| Why {
                type_: condition.type_.clone(),
                status: condition.status.clone(),
                reason: condition.reason.clone(),
                message: condition.message.clone(),
            })
        });
        found.collect()
    }
}
