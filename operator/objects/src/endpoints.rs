//! Where the Services for clients lead: EndpointSlices of ours, one object and one write each.
//! Must not choose who serves: the endpoints come from a decision.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{ObjectReference, Service};
use k8s_openapi::api::discovery::v1::{
    Endpoint as SliceEndpoint, EndpointConditions, EndpointPort, EndpointSlice,
};
use topology::observed;

use crate::cluster::Cluster;
use crate::names::{
    ANNOTATION_EPOCH, LABEL_SERVICE, LABEL_SLICE_MANAGED_BY, PORT_MYSQL, PORT_NAME_MYSQL, SLICE_MANAGER,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Which {
    Primary,
    Replicas,
}

/// A slice holds addresses of one family, and cannot change it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    #[default]
    IPv4,
    IPv6,
}

impl Family {
    /// The one that a live Service was given first; its Pods' first addresses are of the same.
    pub fn of(service: &Service) -> Self {
        let families = service.spec.as_ref().and_then(|spec| spec.ip_families.as_ref());
        match families.and_then(|families| families.first()).map(String::as_str) {
            Some("IPv6") => Self::IPv6,
            _ => Self::IPv4,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::IPv4 => "IPv4",
            Self::IPv6 => "IPv6",
        }
    }

    fn has(self, address: IpAddr) -> bool {
        address.is_ipv6() == (self == Self::IPv6)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    pub member: String,
    /// The Pod's.
    pub ip: String,
    pub node: Option<String>,
    pub is_ready: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("failed to lead a Service to {member}: {ip} is no address of the family {family}")]
    Address {
        member: String,
        ip: String,
        family: &'static str,
    },
}

/// `epoch` is that of the record which the endpoints were decided under.
pub fn endpoint_slice(
    cluster: &Cluster,
    which: Which,
    family: Family,
    epoch: u64,
    endpoints: &BTreeSet<Endpoint>,
) -> Result<EndpointSlice, Error> {
    let service = match which {
        Which::Primary => cluster.service_primary(),
        Which::Replicas => cluster.service_replicas(),
    };
    let mut metadata = cluster.metadata(&service);
    metadata.annotations = Some(BTreeMap::from([(ANNOTATION_EPOCH.into(), epoch.to_string())]));
    let labels = metadata.labels.get_or_insert_default();
    labels.insert(LABEL_SERVICE.into(), service);
    // Otherwise Kubernetes' own controller for EndpointSlices would clean it up.
    labels.insert(LABEL_SLICE_MANAGED_BY.into(), SLICE_MANAGER.into());
    let endpoints: Result<Vec<_>, _> = endpoints
        .iter()
        .map(|endpoint| slice_endpoint(cluster, family, endpoint))
        .collect();
    Ok(EndpointSlice {
        metadata,
        address_type: family.as_str().into(),
        endpoints: endpoints?,
        ports: Some(vec![EndpointPort {
            name: Some(PORT_NAME_MYSQL.into()),
            port: Some(i32::from(PORT_MYSQL)),
            protocol: Some("TCP".into()),
            ..EndpointPort::default()
        }]),
    })
}

fn slice_endpoint(cluster: &Cluster, family: Family, endpoint: &Endpoint) -> Result<SliceEndpoint, Error> {
    let unfit = || Error::Address {
        member: endpoint.member.clone(),
        ip: endpoint.ip.clone(),
        family: family.as_str(),
    };
    let address: IpAddr = endpoint.ip.parse().map_err(|_| unfit())?;
    if !family.has(address) {
        return Err(unfit());
    }
    Ok(SliceEndpoint {
        addresses: vec![address.to_string()],
        conditions: Some(EndpointConditions {
            ready: Some(endpoint.is_ready),
            serving: Some(endpoint.is_ready),
            terminating: Some(false),
        }),
        hostname: None,
        node_name: endpoint.node.clone(),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".into()),
            name: Some(endpoint.member.clone()),
            namespace: Some(cluster.namespace.clone()),
            ..ObjectReference::default()
        }),
        ..SliceEndpoint::default()
    })
}

/// The epoch that a slice was written under; `None` if it does not say, or not as we write it.
pub fn epoch(slice: &EndpointSlice) -> Option<u64> {
    let annotations = slice.metadata.annotations.as_ref()?;
    annotations.get(ANNOTATION_EPOCH)?.parse().ok()
}

/// Where a slice leads now: what decisions are told.
pub fn exposed(slice: &EndpointSlice) -> BTreeSet<observed::Endpoint> {
    let members = slice.endpoints.iter().flat_map(|endpoint| {
        let member = endpoint
            .target_ref
            .as_ref()
            .and_then(|target| target.name.clone())
            .unwrap_or_default();
        let addresses = endpoint.addresses.iter().cloned();
        addresses.map(move |ip| observed::Endpoint {
            member: member.clone(),
            ip,
        })
    });
    members.collect()
}
