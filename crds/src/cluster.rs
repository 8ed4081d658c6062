//! The kind MySQLCluster: what a person asks for, and the rules a server can check at once.
//! Must not derive values: what is absent here stays absent, and status says what was made of it.

mod placement;
mod resources;
mod service;
mod status;

use std::collections::BTreeMap;

use kube_core::{Message, Rule};
use kube_derive::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::parameters;
pub use placement::{Placement, Toleration, TolerationEffect, TolerationOperator};
pub use resources::{Quantities, Resources};
pub use service::{ReplicasFallback, ReplicasService, Service, ServiceTemplate, ServiceType};
pub use status::{
    Endpoints, MemberRole, MemberStatus, MySQLClusterStatus, PrimaryStatus, Promotion, PromotionDeadline,
    PromotionKind, PromotionPhases,
};

/// `<name>-replicas` and the names of Pods, volumes and Secrets must fit a DNS label of 63.
pub const NAME_LIMIT: usize = 40;

/// What is wanted of the cluster.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "mysql.holdfast.dev",
    version = "v1alpha1",
    kind = "MySQLCluster",
    plural = "mysqlclusters",
    shortname = "myc",
    category = "holdfast",
    namespaced,
    status = "MySQLClusterStatus",
    derive = "PartialEq",
    crates(kube_core = "::kube_core"),
    doc = "A MySQL server with replicas of it, which keeps every write that it acknowledged when members fail.",
    selectable = ".spec.version",
    selectable = ".spec.deletionPolicy",
    selectable = ".status.state",
    selectable = ".status.primary.name",
    scale(
        spec_replicas_path = ".spec.instances",
        status_replicas_path = ".status.instances",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether the cluster serves as asked."
    ),
    printcolumn(
        name = "State",
        type_ = "string",
        json_path = ".status.state",
        description = "What the operator is doing with it."
    ),
    printcolumn(
        name = "Primary",
        type_ = "string",
        json_path = ".status.primary.name",
        description = "The member that takes writes."
    ),
    printcolumn(
        name = "Instances",
        type_ = "string",
        json_path = ".status.ready",
        description = "Ready members of those wanted."
    ),
    printcolumn(
        name = "Version",
        type_ = "string",
        json_path = ".status.version",
        description = "The version that the primary runs."
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Epoch",
        type_ = "integer",
        json_path = ".status.primary.epoch",
        description = "How often the primary was chosen.",
        priority = 1
    ),
    printcolumn(
        name = "Redundant",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Redundant\")].status",
        description = "Whether a node may be lost now.",
        priority = 1
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "Why it is ready or not.",
        priority = 1
    )
)]
#[x_kube(
    crates(kube_core = "::kube_core"),
    validation = Rule::new("has(self.version) != has(self.image)")
        .message("give either version or image: an image says its version itself"),
    validation = Rule::new(
        "!has(self.replication) || !has(self.replication.syncReplicas) \
         || self.instances >= 2 * self.replication.syncReplicas + 1"
    )
        .message("instances must be at least 2 × replication.syncReplicas + 1: with fewer, a failover cannot prove that no acknowledged write is lost")
        .field_path(".replication.syncReplicas"),
    validation = Rule::new(
        "self.instances == 1 || !has(self.placement) || !has(self.placement.nodeSelector) \
         || !(self.placement.topologyKey in self.placement.nodeSelector)"
    )
        .message("placement.nodeSelector must not name placement.topologyKey: all members would need the one place, and each wants its own")
        .field_path(".placement.nodeSelector"),
    validation = parameters::fixed_rule(),
)]
#[serde(rename_all = "camelCase")]
pub struct MySQLClusterSpec {
    /// The MySQL series or release to run, such as 9.7 or 8.4.6: the tag of the stock image. With a
    /// series, what the registry calls so. Raise it to upgrade; a series cannot be lowered again.
    #[schemars(
        length(min = 3, max = 12),
        regex(pattern = r"^[0-9]{1,3}\.[0-9]{1,3}(\.[0-9]{1,3})?$")
    )]
    #[x_kube(
        validation = Rule::new("int(self.split('.')[0]) * 1000 + int(self.split('.')[1]) >= 8004")
            .message("8.4 is the oldest version that this operator can run"),
        validation = Rule::new(
            "int(self.split('.')[0]) * 1000 + int(self.split('.')[1]) \
             >= int(oldSelf.split('.')[0]) * 1000 + int(oldSelf.split('.')[1])"
        )
            .message("a lower series cannot read the data of a higher one: restore a backup into a new cluster instead"),
    )]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,

    /// The image to run instead of the stock one for a version, such as one in a private registry:
    /// any image with mysqld 8.4 or newer in it.
    #[schemars(
        length(min = 1, max = 512),
        regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._:/-]*(@sha256:[a-f0-9]{64})?$")
    )]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,

    /// Secrets of this namespace with which images are pulled, for registries that ask for a password.
    #[schemars(schema_with = "pull_secret_list")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_secrets: Option<Vec<ImagePullSecret>>,

    /// How many members, the primary among them. 3 survive the loss of one, 5 of two.
    /// 1 is allowed and has no failover.
    #[schemars(range(min = 1, max = 9))]
    #[x_kube(validation = Rule::new("self % 2 == 1")
        .message("instances must be odd: an even number costs one more and survives no more losses"))]
    #[serde(default = "default_instances")]
    pub instances: i32,

    /// How members replicate from the primary, and how many must have a write before it counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication: Option<Replication>,

    /// What happens when the primary fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover: Option<Failover>,

    /// The volume of each member.
    pub storage: Storage,

    /// The CPU and memory of each member. MySQL's buffer pool follows the memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,

    /// Settings of the MySQL server itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mysql: Option<MySQLSettings>,

    /// Which nodes members may run on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,

    /// How clients' connections are encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,

    /// The Services through which clients reach the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,

    /// While true the operator changes nothing and fails nothing over: what runs goes on running.
    /// For work by hand; the condition Suspended says that it is on.
    #[serde(default)]
    pub suspend: bool,

    /// What becomes of the volumes when this object is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

fn default_instances() -> i32 {
    3
}

/// One Secret with which images are pulled.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ImagePullSecret {
    /// The name of a Secret of type kubernetes.io/dockerconfigjson.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
    )]
    pub name: String,
}

fn pull_secret_list(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let items = generator.subschema_for::<ImagePullSecret>();
    schemars::json_schema!({ "type": "array", "maxItems": 8, "items": items })
}

/// Rules on the whole object. The derive cannot carry them without a dependency on the client.
pub(crate) fn name_rules() -> Vec<Rule> {
    vec![
        Rule::new(format!("self.metadata.name.size() <= {NAME_LIMIT}")).message(Message::Message(format!(
            "the name must have at most {NAME_LIMIT} characters: names of Services and Pods are made from it"
        ))),
        Rule::new("self.metadata.name.matches('^[a-z]([a-z0-9-]*[a-z0-9])?$')").message(
            "the name must begin with a letter and hold only a-z, 0-9 and dashes: Services are named after it",
        ),
    ]
}

#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct Replication {
    /// SemiSync: the primary answers a commit once enough replicas have it on disk.
    /// It cannot be changed later.
    #[x_kube(validation = Rule::new("self == oldSelf").message("replication.mode cannot change: make a new cluster and restore into it"))]
    #[serde(default)]
    pub mode: ReplicationMode,

    /// How many replicas must have a write on disk before the client is told that it is done.
    /// That many members may fail without a loss. Absent: half of instances, rounded down.
    #[schemars(range(min = 1, max = 4))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_replicas: Option<i32>,
}

/// How writes reach replicas.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplicationMode {
    #[default]
    SemiSync,
}

#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Failover {
    /// Automatic: a failed primary is replaced at once. Manual: the operator finds and records the
    /// replacement, and waits for a Switchover with force.
    #[serde(default)]
    pub policy: FailoverPolicy,

    /// After how many seconds without a writable primary a failover counts as late: the condition
    /// Stalled and an Event then say what it waits for. It is never given up.
    #[schemars(range(min = 5, max = 3600))]
    #[serde(default = "default_deadline_seconds")]
    pub deadline_seconds: i32,
}

fn default_deadline_seconds() -> i32 {
    30
}

/// Who starts a failover.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailoverPolicy {
    #[default]
    Automatic,
    Manual,
}

#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(
    crates(kube_core = "::kube_core"),
    validation = Rule::new(
        "has(self.storageClassName) == has(oldSelf.storageClassName) \
         && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)"
    )
        .message("storage.storageClassName cannot change: make a new cluster and restore into it")
        .field_path(".storageClassName"),
)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// The size of each member's volume, such as 10Gi. Raise it to grow the volumes in place; they
    /// cannot shrink.
    #[schemars(
        length(min = 2, max = 16),
        regex(pattern = r"^[0-9]{1,9}(\.[0-9]{1,3})?(Mi|Gi|Ti|Pi|M|G|T|P)$")
    )]
    #[x_kube(
        validation = Rule::new("quantity(self).compareTo(quantity('1Gi')) >= 0")
            .message("storage.size must be at least 1Gi: an empty server with its logs needs nearly that"),
        validation = Rule::new("quantity(self).compareTo(quantity(oldSelf)) >= 0")
            .message("storage.size cannot shrink: make a smaller cluster and restore into it"),
    )]
    pub size: String,

    /// The StorageClass of the volumes. Absent: the default class of the Kubernetes cluster.
    /// It cannot be changed later.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
    )]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class_name: Option<String>,
}

#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct MySQLSettings {
    /// Server parameters by name, lower case with underscores, written in full, such as
    /// max_connections: "500". Parameters that safety depends on are refused, with the reason.
    #[schemars(extend("maxProperties" = 100), schema_with = "parameter_map")]
    #[x_kube(
        validation = Rule::new("self.all(key, key.matches('^[a-z][a-z0-9_.]{0,63}$'))")
            .message("parameters are named in lower case with underscores, without dashes, in at most 64 characters"),
        validation = parameters::SPELLING.rule(),
        validation = parameters::DURABILITY.rule(),
        validation = parameters::REPLICATION.rule(),
        validation = parameters::ROLE.rule(),
        validation = parameters::CONNECTIONS.rule(),
        validation = parameters::PROCESS.rule(),
        validation = parameters::unabbreviated_rule(),
    )]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
}

fn parameter_map(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 100,
        "x-kubernetes-map-type": "granular",
        "additionalProperties": {
            "description": "The value as in an option file, on one line; quote numbers and ON or OFF in YAML.",
            "type": "string",
            "maxLength": 1024,
            "pattern": "^[^[:cntrl:]]*$",
        },
    })
}

#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// Required: clients without TLS are refused. Optional: they are let in, unencrypted.
    #[serde(default)]
    pub mode: TlsMode,
}

/// Whether clients must use TLS.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsMode {
    #[default]
    Required,
    Optional,
}

/// What becomes of volumes.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// The volumes stay, to be taken over by a cluster of the same name or removed by hand.
    #[default]
    Retain,
    /// The volumes are removed with the cluster, and the data with them.
    Delete,
}
