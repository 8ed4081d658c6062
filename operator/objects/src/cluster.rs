//! A cluster as asked for, read once: whole numbers, defaults filled in, nothing that cannot be.
//! Must not look at what runs: the same object reads the same, whatever became of it.

mod affinity;
mod fitness;
mod sizes;
mod words;

use std::collections::BTreeMap;

use crds::cluster::{
    DeletionPolicy, FailoverPolicy, MySQLCluster, MySQLClusterSpec, Placement, ReplicasFallback, ServiceType,
    TlsMode,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use topology::observed::Spec;

pub use sizes::Sizes;

/// A replica further behind than this serves no reads.
pub const LAG_LIMIT_MS: u64 = 10_000;

/// Something that is asked for and cannot be, as far as the API's own rules did not see it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{field}: {what}")]
pub struct Unfit {
    /// Where it stands, such as `spec.storage.size`.
    pub field: String,
    /// What is wrong and what to change.
    pub what: String,
}

/// Where mysqld comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerImage {
    /// The stock image of a series or release.
    Version(String),
    /// As given.
    Exactly(String),
}

/// How a Service for clients is published.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    pub kind: ServiceType,
    pub annotations: BTreeMap<String, String>,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub instances: u16,
    /// k: so many replicas have a write before the client hears of it.
    pub sync_replicas: u16,
    pub image: ServerImage,
    /// Names of Secrets in the same namespace.
    pub image_pull_secrets: Vec<String>,
    pub sizes: Sizes,
    /// Absent: the default class of the Kubernetes cluster.
    pub storage_class: Option<String>,
    pub parameters: BTreeMap<String, String>,
    /// With its topology key, also where nothing was asked for.
    pub placement: Placement,
    pub is_tls_required: bool,
    pub primary_service: Published,
    pub replicas_service: Published,
    /// Whether reads go to the primary when no replica is healthy.
    pub reads_fall_back: bool,
    pub failover_policy: FailoverPolicy,
    pub failover_deadline_seconds: u32,
    pub is_suspended: bool,
    pub deletion_policy: DeletionPolicy,
}

impl Cluster {
    /// All that is wrong with it at once, in a stable order.
    pub fn read(object: &MySQLCluster) -> Result<Self, Vec<Unfit>> {
        let mut faults = Vec::new();
        let spec = &object.spec;
        fitness::of_metadata(&object.metadata, &mut faults);
        let instances = fitness::instances(spec, &mut faults);
        let sync_replicas = fitness::sync_replicas(spec, instances, &mut faults);
        let image = fitness::image(spec, &mut faults);
        let sizes = sizes::read(spec, &mut faults);
        let placement = fitness::placement(spec, &mut faults);
        let service = spec.service.clone().unwrap_or_default();
        let primary = service
            .primary
            .map(|wanted| (wanted.type_, wanted.annotations, wanted.port));
        let fallback = service.replicas.as_ref().map(|wanted| wanted.fallback);
        let replicas = service
            .replicas
            .map(|wanted| (wanted.type_, wanted.annotations, wanted.port));
        let primary_service = fitness::published("spec.service.primary", primary, &mut faults);
        let replicas_service = fitness::published("spec.service.replicas", replicas, &mut faults);
        let parameters = fitness::parameters(spec, &sizes, &mut faults);
        fitness::of_storage_class(spec, &mut faults);
        let image_pull_secrets = fitness::image_pull_secrets(spec, &mut faults);
        let failover = spec.failover.as_ref();
        let deadline = failover.map_or(DEADLINE_SECONDS, |failover| failover.deadline_seconds);
        if !faults.is_empty() {
            return Err(faults);
        }
        let metadata = &object.metadata;
        Ok(Self {
            name: metadata.name.clone().unwrap_or_default(),
            namespace: metadata.namespace.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
            instances,
            sync_replicas,
            image,
            image_pull_secrets,
            sizes,
            storage_class: spec.storage.storage_class_name.clone(),
            parameters,
            placement,
            is_tls_required: is_tls_required(spec),
            primary_service,
            replicas_service,
            reads_fall_back: fallback.unwrap_or_default() == ReplicasFallback::Primary,
            failover_policy: failover.map_or_else(FailoverPolicy::default, |failover| failover.policy),
            failover_deadline_seconds: u32::try_from(deadline).unwrap_or_default(),
            is_suspended: spec.suspend,
            deletion_policy: spec.deletion_policy,
        })
    }

    /// As far as decisions need it.
    pub fn spec(&self) -> Spec {
        Spec {
            name: self.name.clone(),
            instances: self.instances,
            sync_replicas: self.sync_replicas,
            is_suspended: self.is_suspended,
            is_failover_manual: self.failover_policy == FailoverPolicy::Manual,
            memory_bytes: self.sizes.memory_bytes,
            is_tls_required: self.is_tls_required,
            parameters: self.parameters.clone(),
            lag_limit_ms: LAG_LIMIT_MS,
            reads_fall_back: self.reads_fall_back,
            switchover: None,
        }
    }

    /// The object that owns all others. For objects that are not written by `kit::apply`, which
    /// sets the same.
    pub fn owner(&self) -> OwnerReference {
        OwnerReference {
            api_version: format!("{}/v1alpha1", crds::GROUP),
            kind: "MySQLCluster".into(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }

    /// Whether volumes, and the passwords that are in them, stay when the object goes.
    pub fn keeps_data(&self) -> bool {
        self.deletion_policy == DeletionPolicy::Retain
    }
}

const DEADLINE_SECONDS: i32 = 30;

fn is_tls_required(spec: &MySQLClusterSpec) -> bool {
    spec.tls.as_ref().is_none_or(|tls| tls.mode == TlsMode::Required)
}

/// Says one thing that cannot be.
fn refuse(faults: &mut Vec<Unfit>, field: impl Into<String>, what: impl Into<String>) {
    faults.push(Unfit {
        field: field.into(),
        what: what.into(),
    });
}
