//! The CPU and memory of a member, bounded and compared as quantities.
//! Must not size MySQL: how the buffer pool follows the memory is the operator's business.

use kube_core::{Message, Rule};
use kube_derive::KubeSchema;
use serde::{Deserialize, Serialize};

/// What a limit may not be: below its request. One rule a resource.
fn not_below_request(field: &str) -> Rule {
    Rule::new(format!(
        "!has(self.requests) || !has(self.limits) || !has(self.requests.{field}) || !has(self.limits.{field}) \
         || quantity(self.limits.{field}).compareTo(quantity(self.requests.{field})) >= 0"
    ))
    .message(Message::Message(format!("limits.{field} must not be below requests.{field}")))
    .field_path(format!(".limits.{field}"))
}

#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(
    crates(kube_core = "::kube_core"),
    validation = not_below_request("cpu"),
    validation = not_below_request("memory"),
)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What a node must have free for a member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<Quantities>,

    /// What a member may use at most. With memory equal to its request a member is the last to be
    /// evicted. A CPU limit slows commits and failovers down; best leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Quantities>,
}

#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct Quantities {
    /// Processors, such as "2" or 500m.
    #[schemars(
        length(min = 1, max = 16),
        regex(pattern = r"^([0-9]{1,4}(\.[0-9]{1,3})?|[0-9]{1,7}m)$")
    )]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,

    /// Memory, such as 8Gi.
    #[schemars(
        length(min = 2, max = 16),
        regex(pattern = r"^[0-9]{1,9}(\.[0-9]{1,3})?(Mi|Gi|Ti|M|G|T)$")
    )]
    #[x_kube(validation = Rule::new("quantity(self).compareTo(quantity('512Mi')) >= 0")
        .message("memory must be at least 512Mi: mysqld with its agent does not live on less"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
}
