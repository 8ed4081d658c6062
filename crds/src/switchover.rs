//! The kind Switchover: somebody asks, once, for another primary.
//! Must not say how that is done: the status tells what came of it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube_derive::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::schema;

/// What is asked for.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "mysql.holdfast.dev",
    version = "v1alpha1",
    kind = "Switchover",
    plural = "switchovers",
    shortname = "mysw",
    category = "holdfast",
    namespaced,
    status = "SwitchoverStatus",
    derive = "PartialEq",
    crates(kube_core = "::kube_core"),
    doc = "Asks once for another primary of a MySQLCluster, and says what came of it.",
    selectable = ".spec.cluster",
    selectable = ".status.state",
    printcolumn(
        name = "Cluster",
        type_ = "string",
        json_path = ".spec.cluster",
        description = "The cluster whose primary is to change."
    ),
    printcolumn(
        name = "State",
        type_ = "string",
        json_path = ".status.state",
        description = "How far it has come."
    ),
    printcolumn(
        name = "From",
        type_ = "string",
        json_path = ".status.from",
        description = "The primary when it was taken up."
    ),
    printcolumn(
        name = "To",
        type_ = "string",
        json_path = ".status.to",
        description = "The primary that it ended with."
    ),
    printcolumn(
        name = "Milliseconds",
        type_ = "integer",
        json_path = ".status.durationMs",
        description = "How long nobody took writes."
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        description = "What it waits for, or what came of it.",
        priority = 1
    )
)]
#[x_kube(
    crates(kube_core = "::kube_core"),
    validation = Rule::new("self == oldSelf")
        .message("a Switchover is asked for once and cannot be changed: delete it and make another one"),
    validation = Rule::new("!has(self.target) || self.target.startsWith(self.cluster + '-')")
        .message("target must be a member of the cluster: its name, a dash and a number, such as orders-1")
        .field_path(".target"),
    validation = Rule::new("!self.force || !has(self.target) || has(self.acceptLossInEpoch)")
        .message("leave target out with force: after a failure the member with the longest history takes over, and no other could without a loss")
        .field_path(".target"),
    validation = Rule::new("!has(self.acceptLossInEpoch) || (self.force && has(self.target))")
        .message("acceptLossInEpoch needs force: true and a target: the member that becomes primary although something may be lost")
        .field_path(".acceptLossInEpoch"),
)]
#[serde(rename_all = "camelCase")]
pub struct SwitchoverSpec {
    /// The MySQLCluster, of the same namespace, whose primary is to change.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z]([a-z0-9-]*[a-z0-9])?$"))]
    pub cluster: String,

    /// The member that is to be primary, such as orders-1. Absent: the one that is closest behind.
    #[schemars(length(min = 3, max = 43), regex(pattern = r"^[a-z][a-z0-9-]*-[0-9]{1,2}$"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,

    /// Lets a failover happen that failover.policy Manual or a pause holds back. It does nothing to a primary
    /// that is well, and it never gives up an acknowledged write, unless acceptLossInEpoch says so.
    #[serde(default)]
    pub force: bool,

    /// Gives up acknowledged writes: target becomes primary where no choice is safe, that is, where the cluster is
    /// Blocked because too many members are lost for good or histories differ. Its status says the number to write
    /// here, whom it could be, and what that loses; in any other epoch this does nothing. Needs force and target.
    // The largest that every reader of JSON tells from its neighbours.
    #[schemars(range(min = 1, max = 9_007_199_254_740_991_i64))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept_loss_in_epoch: Option<i64>,

    /// Only says what would be done, or why it cannot be; nothing is changed.
    #[serde(default)]
    pub dry_run: bool,

    /// For how many seconds writes may be stopped at most. If it takes longer, such as for a transaction that is
    /// long to roll back, the primary takes writes again and the Switchover has failed.
    #[schemars(range(min = 1, max = 60))]
    #[serde(default = "default_budget_seconds")]
    pub budget_seconds: i32,

    /// For how many seconds it may wait until it can begin, such as for a replica to catch up.
    #[schemars(range(min = 1, max = 86400))]
    #[serde(default = "default_deadline_seconds")]
    pub deadline_seconds: i32,
}

fn default_budget_seconds() -> i32 {
    5
}

fn default_deadline_seconds() -> i32 {
    60
}

/// What came of it, written by the operator alone.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct SwitchoverStatus {
    /// The metadata.generation that this status is about; -1 before the operator saw the object.
    #[schemars(range(min = -1), extend("default" = -1))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// How far it has come. Succeeded and Failed are final: nothing more is done for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<SwitchoverState>,

    /// The primary when it was taken up.
    #[schemars(length(min = 1, max = 63))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,

    /// The epoch when it was taken up.
    #[schemars(range(min = 0))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_epoch: Option<i64>,

    /// The primary that it ended with; of a dry run the one that it would end with.
    #[schemars(length(min = 1, max = 63))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,

    /// The epoch that began with it.
    #[schemars(range(min = 0))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,

    /// When it was taken up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,

    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Time>,

    /// How long there was no primary to write to, in milliseconds.
    #[schemars(range(min = 0))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<i64>,

    /// Of a dry run: what would be done, step by step.
    #[schemars(schema_with = "plan_list")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Vec<String>>,

    /// What holds now, one entry a type.
    #[schemars(schema_with = "schema::conditions")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<Condition>>,
}

/// How far a Switchover has come.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwitchoverState {
    /// It waits until it can begin.
    Pending,
    /// The primary is giving its role up.
    Running,
    /// What was asked for is so.
    Succeeded,
    /// It was not done; the message says why.
    Failed,
}

impl SwitchoverStatus {
    /// Nothing more is done for it.
    pub fn is_final(&self) -> bool {
        matches!(
            self.state,
            Some(SwitchoverState::Succeeded | SwitchoverState::Failed)
        )
    }
}

fn plan_list(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array",
        "maxItems": 32,
        "items": { "description": "One step.", "type": "string", "maxLength": 1024 },
    })
}
