//! The words that both sides of a name use: labels, annotations, ports, paths, keys, object names.
//! Must not be changed for a cluster that exists: objects are found again by them.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::cluster::Cluster;

/// What the program is called, everywhere.
pub const LABEL_NAME: &str = "app.kubernetes.io/name";
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// On every object of a cluster: its name.
pub const LABEL_CLUSTER: &str = "mysql.holdfast.dev/cluster";
/// On what belongs to a member: its name.
pub const LABEL_MEMBER: &str = "mysql.holdfast.dev/member";
/// On Pods, for people: `primary`, `replica` or `none`. Nothing selects by it.
pub const LABEL_ROLE: &str = "mysql.holdfast.dev/role";

pub const NAME: &str = "mysql";
pub const MANAGED_BY: &str = "holdfast";

/// On volumes: the uid of the cluster object that they were made for. Never rewritten.
pub const ANNOTATION_CLUSTER_UID: &str = "mysql.holdfast.dev/cluster-uid";
/// On Pods: the digest of what they were made from.
pub const ANNOTATION_TEMPLATE: &str = "mysql.holdfast.dev/template";
/// On EndpointSlices: the epoch of the primary that they were written under.
pub const ANNOTATION_EPOCH: &str = "mysql.holdfast.dev/epoch";
/// Which fields were applied last: `kit::apply` keeps it.
pub const ANNOTATION_MARK: &str = "mysql.holdfast.dev/applied";

/// Both as Kubernetes' own controllers read them.
pub const LABEL_SERVICE: &str = "kubernetes.io/service-name";
pub const LABEL_SLICE_MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
pub const SLICE_MANAGER: &str = "holdfast.dev";

pub const PORT_MYSQL: u16 = 3306;
/// Of the other members alone: clients cannot use it up.
pub const PORT_REPLICATION: u16 = 33062;
pub const PORT_AGENT: u16 = 9306;
pub const PORT_HTTP: u16 = 9307;
pub const PORT_NAME_MYSQL: &str = "mysql";
pub const PORT_NAME_REPLICATION: &str = "replication";
pub const PORT_NAME_AGENT: &str = "agent";
pub const PORT_NAME_HTTP: &str = "http";

/// User and group of everything in a member's Pod, whatever the image's passwd says.
pub const USER_ID: i64 = 10027;

/// Where things lie in a member's container, and the variables that say so to the agent.
pub const PATH_PROGRAM: &str = "/holdfast/bin";
pub const PATH_DATA: &str = "/data";
pub const PATH_TLS: &str = "/holdfast/tls";
pub const PATH_PASSWORDS: &str = "/holdfast/passwords";
pub const PATH_APP: &str = "/holdfast/app";
pub const ENV_MEMBER: &str = "HOLDFAST_MEMBER";
pub const ENV_DATA: &str = "HOLDFAST_DATA";
pub const ENV_TLS: &str = "HOLDFAST_TLS";
pub const ENV_PASSWORDS: &str = "HOLDFAST_PASSWORDS";
pub const ENV_APP: &str = "HOLDFAST_APP";
pub const ENV_REPLICATION_ADDRESS: &str = "HOLDFAST_REPLICATION_ADDRESS";

/// The containers of a member's Pod.
pub const CONTAINER_MYSQL: &str = "mysql";
pub const CONTAINER_AGENT: &str = "agent";

/// Most installations have this one. Where it is another, names without it still lead there.
pub const CLUSTER_DOMAIN: &str = "cluster.local";

/// Of all objects of the cluster of this name; also what they are selected by.
pub fn labels(cluster: &str) -> BTreeMap<String, String> {
    let pairs = [
        (LABEL_NAME, NAME),
        (LABEL_MANAGED_BY, MANAGED_BY),
        (LABEL_CLUSTER, cluster),
    ];
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// Of what belongs to a member.
pub fn member_labels(cluster: &str, member: &str) -> BTreeMap<String, String> {
    let mut labels = labels(cluster);
    labels.insert(LABEL_MEMBER.to_owned(), member.to_owned());
    labels
}

/// The Pods of a cluster as the text of a selector, for `status.selector` and for watches.
pub fn selector(cluster: &str) -> String {
    format!("{LABEL_CLUSTER}={cluster},{LABEL_MEMBER}")
}

impl Cluster {
    pub fn member(&self, number: u16) -> String {
        format!("{}-{number}", self.name)
    }

    pub fn service_primary(&self) -> String {
        format!("{}-primary", self.name)
    }

    pub fn service_replicas(&self) -> String {
        format!("{}-replicas", self.name)
    }

    /// Headless: the domain of the members' own names.
    pub fn service_members(&self) -> String {
        format!("{}-members", self.name)
    }

    pub fn secret_app(&self) -> String {
        format!("{}-app", self.name)
    }

    pub fn secret_internal(&self) -> String {
        format!("{}-internal", self.name)
    }

    pub fn secret_tls(&self) -> String {
        format!("{}-tls", self.name)
    }

    pub fn secret_ca(&self) -> String {
        format!("{}-ca", self.name)
    }

    pub fn record_name(&self) -> String {
        format!("{}-record", self.name)
    }

    pub(crate) fn metadata(&self, name: impl Into<String>) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.into()),
            namespace: Some(self.namespace.clone()),
            labels: Some(labels(&self.name)),
            ..ObjectMeta::default()
        }
    }
}
