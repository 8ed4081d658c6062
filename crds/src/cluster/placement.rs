//! Which nodes members may run on.
//! Must not spread members: that follows from the topology key, and is the operator's business.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Affinity;
use kube_derive::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// The node label whose values are places that fail together. No two members share one:
    /// kubernetes.io/hostname for nodes, topology.kubernetes.io/zone for zones.
    #[schemars(length(min = 1, max = 317))]
    #[x_kube(validation = Rule::new("!format.qualifiedName().validate(self).hasValue()")
        .message("topologyKey must be the key of a node label, such as topology.kubernetes.io/zone"))]
    #[serde(default = "default_topology_key")]
    pub topology_key: String,

    /// Labels that a node must have.
    #[schemars(schema_with = "label_map")]
    #[x_kube(validation = Rule::new("self.all(key, !format.qualifiedName().validate(key).hasValue())")
        .message("the keys of nodeSelector must be keys of node labels"))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,

    /// Taints of nodes that members accept.
    #[schemars(length(max = 32), schema_with = "toleration_list")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerations: Option<Vec<Toleration>>,

    /// Further rules on nodes and neighbours, as in a Pod. The operator adds its own that keeps
    /// members apart.
    #[schemars(schema_with = "affinity")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
}

fn default_topology_key() -> String {
    "kubernetes.io/hostname".into()
}

/// One kind of taint that members accept.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(
    crates(kube_core = "::kube_core"),
    validation = Rule::new("!has(self.operator) || self.operator != 'Exists' || !has(self.value)")
        .message("a toleration with operator Exists takes no value"),
    validation = Rule::new("has(self.key) || (has(self.operator) && self.operator == 'Exists')")
        .message("a toleration without a key needs the operator Exists: it accepts every taint"),
    validation = Rule::new("!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')")
        .message("tolerationSeconds only means something with the effect NoExecute"),
)]
#[serde(rename_all = "camelCase")]
pub struct Toleration {
    /// The taint's key. Absent, with the operator Exists: every taint.
    #[schemars(length(min = 1, max = 317))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,

    /// Exists: any value of the taint. Equal, also when absent: the value given here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<TolerationOperator>,

    /// The taint's value.
    #[schemars(length(max = 63))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,

    /// The taint's effect. Absent: all effects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<TolerationEffect>,

    /// For NoExecute: how long a member may stay on a node that got the taint. Absent: for ever.
    #[schemars(range(min = 0, max = 604_800))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toleration_seconds: Option<i64>,
}

/// How a toleration compares.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum TolerationOperator {
    Equal,
    Exists,
}

/// What a taint does.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum TolerationEffect {
    NoSchedule,
    PreferNoSchedule,
    NoExecute,
}

fn toleration_list(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let items = generator.subschema_for::<Toleration>();
    schemars::json_schema!({ "type": "array", "maxItems": 32, "items": items })
}

fn affinity(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schema::bounded::<Affinity>(generator)
}

fn label_map(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 32,
        "x-kubernetes-map-type": "granular",
        "additionalProperties": {
            "description": "The label's value.",
            "type": "string",
            "maxLength": 63,
        },
    })
}
