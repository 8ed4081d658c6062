//! What the operator says about a cluster.
//! Must not hold what changes every second: lag, sizes and positions are metrics.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube_derive::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// What the operator made of it, written by the operator alone.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct MySQLClusterStatus {
    /// The metadata.generation that this status is about; -1 before the operator saw the object.
    #[schemars(range(min = -1), extend("default" = -1))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// What the operator is doing with the cluster, in one word: Creating, Adopting, FailingOver,
    /// SwitchingOver, Healthy, Degraded, Scaling, Updating, AwaitingReplicas, Opening,
    /// PrimaryUnavailable, Blocked or Suspended. Later versions may have more.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Z][A-Za-z]*$"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,

    /// How many members exist.
    #[schemars(range(min = 0, max = 99))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<i32>,

    /// How many members serve as they should.
    #[schemars(range(min = 0, max = 99))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_instances: Option<i32>,

    /// Ready members of those wanted, such as 3/3, for people.
    #[schemars(length(max = 16), regex(pattern = r"^[0-9]+/[0-9]+$"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<String>,

    /// The label selector of the members' Pods, for the scale subresource.
    #[schemars(length(max = 256))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,

    /// The member that takes writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary: Option<PrimaryStatus>,

    /// The version that the primary runs, as it says itself.
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,

    /// The Services to connect to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Endpoints>,

    /// The members, as of the last change of any of them.
    #[schemars(schema_with = "member_list")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<Vec<MemberStatus>>,

    /// The last ten changes of the primary, newest first.
    #[schemars(schema_with = "promotion_list")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotions: Option<Vec<Promotion>>,

    /// What holds now, one entry a type.
    #[schemars(schema_with = "schema::conditions")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<Condition>>,
}

#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PrimaryStatus {
    /// The member's name; its Pod and volume are called the same.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,

    /// Rises with every choice of a primary. Commands and writes of older epochs are refused.
    #[schemars(range(min = 0))]
    pub epoch: i64,

    /// Since when it takes writes.
    pub since: Time,
}

#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    /// The Service for reads and writes.
    #[schemars(length(min = 1, max = 63))]
    pub primary: String,

    /// The Service for reads that may be a moment old.
    #[schemars(length(min = 1, max = 63))]
    pub replicas: String,
}

/// One member and what it does.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MemberStatus {
    /// The member's name; its Pod and volume are called the same.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,

    /// What it is in the cluster.
    pub role: MemberRole,

    /// The newest epoch that it obeys.
    #[schemars(range(min = 0))]
    pub epoch: i64,

    /// What it is doing, in one word: Pending, Starting, Seeding, CatchingUp, Serving, Lagging, Failed,
    /// Unreachable, Leaving or Diverged. Later versions may have more.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Z][A-Za-z]*$"))]
    pub state: String,

    /// The node that it runs on.
    #[schemars(length(max = 253))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,

    /// Why it is in that state, when that is not plain.
    #[schemars(length(max = 1024))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,

    /// The last transactions that nobody acknowledged and that were removed from it after a failover: which,
    /// and where on its volume their events are kept.
    #[schemars(length(max = 1024))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<String>,
}

/// What a member is.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberRole {
    /// It takes writes.
    Primary,
    /// It follows the primary and its acknowledgements count.
    Replica,
    /// It is being filled or brought back; its acknowledgements do not count yet.
    Joining,
    /// It may neither write nor acknowledge.
    Fenced,
    /// Nothing yet, or nothing any more: it is being made, filled or removed.
    None,
}

/// One change of the primary.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Promotion {
    /// The epoch that began with it.
    #[schemars(range(min = 0))]
    pub epoch: i64,

    /// When the new primary took its first write.
    pub time: Time,

    /// The primary before, if there was one.
    #[schemars(length(min = 1, max = 63))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,

    /// The primary after.
    #[schemars(length(min = 1, max = 63))]
    pub to: String,

    /// What kind of change it was.
    pub kind: PromotionKind,

    /// Why, in one word.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Z][A-Za-z]*$"))]
    pub reason: String,

    /// Why, in words.
    #[schemars(length(max = 1024))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,

    /// How long there was no primary to write to, in milliseconds.
    #[schemars(range(min = 0))]
    pub duration_ms: i64,

    /// Whether that was within failover.deadlineSeconds, as it was then. Absent for a first primary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<PromotionDeadline>,

    /// Where that time went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phases_ms: Option<PromotionPhases>,

    /// How many transactions the old primary had that were never acknowledged and were removed.
    #[schemars(range(min = 0))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phantoms: Option<i64>,
}

/// How a primary came to be.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromotionKind {
    /// The cluster's first primary.
    Bootstrap,
    /// The primary before was alive and gave the role up.
    Switchover,
    /// The primary before had failed.
    Failover,
}

/// Whether a limit was kept.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromotionDeadline {
    /// Somebody took writes again in time.
    Met,
    /// It took longer.
    Missed,
}

/// Milliseconds of a promotion, phase by phase.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PromotionPhases {
    /// From the failure until the operator knew.
    #[schemars(range(min = 0))]
    pub detect: i64,
    /// Until the members had stopped following the old primary.
    #[schemars(range(min = 0))]
    pub freeze: i64,
    /// Until their positions were read and the best was found.
    #[schemars(range(min = 0))]
    pub choose: i64,
    /// Until the choice was recorded.
    #[schemars(range(min = 0))]
    pub decide: i64,
    /// Until the first transaction of the epoch was acknowledged by enough replicas.
    #[schemars(range(min = 0))]
    pub barrier: i64,
    /// Until the Service led to the new primary.
    #[schemars(range(min = 0))]
    pub expose: i64,
}

fn member_list(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let items = generator.subschema_for::<MemberStatus>();
    schemars::json_schema!({ "type": "array", "maxItems": 99, "items": items })
}

fn promotion_list(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let items = generator.subschema_for::<Promotion>();
    schemars::json_schema!({ "type": "array", "maxItems": 10, "items": items })
}
