//! The Services of a cluster as far as people may shape them.
//! Must not offer what would move writes: where they go is the operator's alone.

use std::collections::BTreeMap;

use kube_core::Rule;
use kube_derive::KubeSchema;
use serde::{Deserialize, Serialize};

#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// The Service <name>-primary: always the one member that takes writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary: Option<ServiceTemplate>,

    /// The Service <name>-replicas: healthy replicas that are not far behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<ReplicasService>,
}

#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct ServiceTemplate {
    /// How the Service is published: inside the Kubernetes cluster only, on a port of every node,
    /// or through a load balancer of the platform.
    #[serde(default, rename = "type")]
    pub type_: ServiceType,

    /// Annotations for the Service, such as those that a load balancer reads.
    #[schemars(schema_with = "annotation_map")]
    #[x_kube(validation = annotation_keys())]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,

    /// The port on which clients connect.
    #[schemars(range(min = 1, max = 65535))]
    #[serde(default = "default_port")]
    pub port: i32,
}

#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct ReplicasService {
    /// How the Service is published: inside the Kubernetes cluster only, on a port of every node,
    /// or through a load balancer of the platform.
    #[serde(default, rename = "type")]
    pub type_: ServiceType,

    /// Annotations for the Service, such as those that a load balancer reads.
    #[schemars(schema_with = "annotation_map")]
    #[x_kube(validation = annotation_keys())]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,

    /// The port on which clients connect.
    #[schemars(range(min = 1, max = 65535))]
    #[serde(default = "default_port")]
    pub port: i32,

    /// Where reads go when no replica is healthy. Primary: to the primary. None: nowhere, they fail.
    #[serde(default)]
    pub fallback: ReplicasFallback,
}

/// How a Service is published.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceType {
    #[default]
    ClusterIP,
    NodePort,
    LoadBalancer,
}

/// Where reads go without replicas.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplicasFallback {
    #[default]
    Primary,
    None,
}

fn default_port() -> i32 {
    3306
}

fn annotation_keys() -> Rule {
    Rule::new(
        "self.all(key, !format.qualifiedName().validate(key).hasValue() \
         && !key.startsWith('mysql.holdfast.dev/') && !key.startsWith('kubectl.kubernetes.io/'))",
    )
    .message("an annotation's key is a qualified name such as example.com/key, and not one of mysql.holdfast.dev or kubectl.kubernetes.io")
}

fn annotation_map(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 32,
        "x-kubernetes-map-type": "granular",
        "additionalProperties": {
            "description": "The annotation's value.",
            "type": "string",
            "maxLength": 4096,
        },
    })
}
