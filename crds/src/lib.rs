//! The public API: the kinds of `mysql.holdfast.dev`, their schemas and their rules.
//! Must not talk to anything, decide anything, or hold types that users cannot see.

#[allow(
    clippy::duplicated_attributes,
    unreachable_pub,
    reason = "columns repeat their keys; KubeSchema copies structs, with their `pub`, into functions"
)]
pub mod cluster;
pub mod conditions;
pub mod parameters;
mod schema;
#[allow(
    clippy::duplicated_attributes,
    unreachable_pub,
    reason = "columns repeat their keys; KubeSchema copies structs, with their `pub`, into functions"
)]
pub mod switchover;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube_core::CustomResourceExt;

/// The API group; also the prefix of our labels and annotations.
pub const GROUP: &str = "mysql.holdfast.dev";

/// The category of all kinds: `kubectl get holdfast`.
pub const CATEGORY: &str = "holdfast";

/// Every definition, as it is to be applied.
pub fn definitions() -> Vec<CustomResourceDefinition> {
    vec![
        schema::finished(cluster::MySQLCluster::crd(), cluster::name_rules()),
        schema::finished(switchover::Switchover::crd(), Vec::new()),
    ]
}
