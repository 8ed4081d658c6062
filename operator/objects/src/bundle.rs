//! Everything of a cluster that is made from its spec alone, in one struct.
//! Must not hold what comes from elsewhere: Pods and volumes by the plan, Secrets by their material.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Service, ServiceAccount};
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::cluster::{Cluster, ServerImage};
use crate::names::{self, LABEL_CLUSTER, LABEL_MEMBER};
use crate::services;

/// The stock image's repository, if the controller is told no other.
pub const MYSQL_REPOSITORY: &str = "mysql";

/// What objects depend on besides the cluster: the controller's options, and its memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inputs {
    pub images: Images,
    /// The controller's own Pods; `None` if it does not run in this Kubernetes.
    pub controller: Option<Controller>,
    /// How many voters are recorded; 0 before there is a record.
    pub voters: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// Where the stock image of each version is, without a tag.
    pub mysql_repository: String,
    /// The operator's own image, whole.
    pub operator: String,
}

/// Whom agents listen to, as far as the network can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Controller {
    pub namespace: String,
    pub labels: BTreeMap<String, String>,
}

/// Taken apart without `..` by whoever applies it, so that no kind is forgotten.
#[derive(Clone, Debug, PartialEq)]
pub struct Bundle {
    pub service_primary: Service,
    pub service_replicas: Service,
    pub service_members: Service,
    /// `None` where there is one member only: it is to be removed then. A budget of none would only
    /// keep its node from ever being drained.
    pub pod_disruption_budget: Option<PodDisruptionBudget>,
    pub network_policy: NetworkPolicy,
    pub service_account: ServiceAccount,
}

pub fn bundle(cluster: &Cluster, inputs: &Inputs) -> Bundle {
    Bundle {
        service_primary: services::primary(cluster),
        service_replicas: services::replicas(cluster),
        service_members: services::members(cluster),
        pod_disruption_budget: pod_disruption_budget(cluster, inputs.voters),
        network_policy: network_policy(cluster, inputs.controller.as_ref()),
        service_account: ServiceAccount {
            metadata: cluster.metadata(&cluster.name),
            automount_service_account_token: Some(false),
            ..ServiceAccount::default()
        },
    }
}

impl Cluster {
    /// The image that mysqld runs from.
    pub fn mysql_image(&self, images: &Images) -> String {
        match &self.image {
            ServerImage::Version(version) => format!("{}:{version}", images.mysql_repository),
            ServerImage::Exactly(image) => image.clone(),
        }
    }
}

/// The members' Pods and no others of the cluster: those bear no member's name.
pub(crate) fn members_selector(cluster: &Cluster) -> LabelSelector {
    LabelSelector {
        match_labels: Some(BTreeMap::from([(LABEL_CLUSTER.into(), cluster.name.clone())])),
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: LABEL_MEMBER.into(),
            operator: "Exists".into(),
            values: None,
        }]),
    }
}

/// One at a time, of those whose acknowledgements may count. `maxUnavailable` would be counted from
/// `spec.instances`: while five become three, it would give up three of the five at once.
fn pod_disruption_budget(cluster: &Cluster, voters: u16) -> Option<PodDisruptionBudget> {
    let members = if voters == 0 { cluster.instances } else { voters };
    if members < 2 {
        return None;
    }
    Some(PodDisruptionBudget {
        metadata: cluster.metadata(&cluster.name),
        spec: Some(PodDisruptionBudgetSpec {
            min_available: Some(IntOrString::Int(i32::from(members) - 1)),
            selector: Some(members_selector(cluster)),
            // One that is not ready may still hold what was acknowledged.
            unhealthy_pod_eviction_policy: Some("IfHealthyBudget".into()),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    })
}

/// What may come in. What goes out is left alone: names, and the other members.
fn network_policy(cluster: &Cluster, controller: Option<&Controller>) -> NetworkPolicy {
    let rule = |port: u16, from: Option<NetworkPolicyPeer>| NetworkPolicyIngressRule {
        from: from.map(|peer| vec![peer]),
        ports: Some(vec![NetworkPolicyPort {
            port: Some(IntOrString::Int(i32::from(port))),
            protocol: Some("TCP".into()),
            end_port: None,
        }]),
    };
    let labelled = |labels: BTreeMap<String, String>| LabelSelector {
        match_labels: Some(labels),
        match_expressions: None,
    };
    let controller = controller.map(|controller| NetworkPolicyPeer {
        namespace_selector: Some(labelled(BTreeMap::from([(
            NAMESPACE_NAME.into(),
            controller.namespace.clone(),
        )]))),
        pod_selector: Some(labelled(controller.labels.clone())),
        ip_block: None,
    });
    let members = NetworkPolicyPeer {
        pod_selector: Some(members_selector(cluster)),
        ..NetworkPolicyPeer::default()
    };
    let pods_everywhere = NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector::default()),
        ..NetworkPolicyPeer::default()
    };
    NetworkPolicy {
        metadata: cluster.metadata(&cluster.name),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(members_selector(cluster)),
            policy_types: Some(vec!["Ingress".into()]),
            ingress: Some(vec![
                // Clients, also from outside through a load balancer; members of an older spec.
                rule(names::PORT_MYSQL, None),
                rule(names::PORT_REPLICATION, Some(members)),
                rule(names::PORT_AGENT, controller),
                // Metrics. Probes come from the node, which no policy keeps out.
                rule(names::PORT_HTTP, Some(pods_everywhere)),
            ]),
            egress: None,
        }),
    }
}

/// Kubernetes puts it on every namespace.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";
