//! The three Services: two that the controller leads by hand, one that names each member.
//! Must not select Pods for clients: who serves them is decided, not labelled.

use crds::cluster::ServiceType;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::cluster::{Cluster, Published};
use crate::names::{self, LABEL_CLUSTER};

/// Reads and writes.
pub(crate) fn primary(cluster: &Cluster) -> Service {
    published(cluster, cluster.service_primary(), &cluster.primary_service)
}

/// Reads that may be a moment old.
pub(crate) fn replicas(cluster: &Cluster) -> Service {
    published(cluster, cluster.service_replicas(), &cluster.replicas_service)
}

/// Without a selector: endpoints come from the EndpointSlice of the same name, which the controller
/// writes.
fn published(cluster: &Cluster, name: String, wanted: &Published) -> Service {
    let kind = match wanted.kind {
        ServiceType::ClusterIP => "ClusterIP",
        ServiceType::NodePort => "NodePort",
        ServiceType::LoadBalancer => "LoadBalancer",
    };
    let mut metadata = cluster.metadata(name);
    if !wanted.annotations.is_empty() {
        metadata.annotations = Some(wanted.annotations.clone());
    }
    let port = port(names::PORT_NAME_MYSQL, wanted.port, names::PORT_MYSQL);
    Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some(kind.into()),
            ports: Some(vec![port]),
            session_affinity: Some("None".into()),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// Headless, and of members that are not ready too: that is when the others must find them.
pub(crate) fn members(cluster: &Cluster) -> Service {
    let same = |name: &str, number: u16| port(name, number, number);
    Service {
        metadata: cluster.metadata(cluster.service_members()),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".into()),
            cluster_ip: Some("None".into()),
            publish_not_ready_addresses: Some(true),
            selector: Some([(LABEL_CLUSTER.to_owned(), cluster.name.clone())].into()),
            ports: Some(vec![
                same(names::PORT_NAME_MYSQL, names::PORT_MYSQL),
                same(names::PORT_NAME_REPLICATION, names::PORT_REPLICATION),
                same(names::PORT_NAME_AGENT, names::PORT_AGENT),
                same(names::PORT_NAME_HTTP, names::PORT_HTTP),
            ]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

fn port(name: &str, number: u16, target: u16) -> ServicePort {
    ServicePort {
        name: Some(name.into()),
        port: i32::from(number),
        protocol: Some("TCP".into()),
        target_port: Some(IntOrString::Int(i32::from(target))),
        ..ServicePort::default()
    }
}
