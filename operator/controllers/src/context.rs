//! What all clusters' loops share: clients, caches, counters, settings.
//! Must not hold anything of one cluster.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use crds::cluster::MySQLCluster;
use crds::switchover::Switchover;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kit::client::Clients;
use kit::events::Events;
use kube::ResourceExt;
use kube::core::PartialObjectMeta;
use objects::Inputs;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use topology::observed::Timestamp;

use crate::cache::{Cache, Key};
use crate::captures::Captures;
use crate::metrics::Metrics;

/// So many clusters at once may have their objects looked through: one start of the controller
/// must not be thousands of requests at once.
const SUPPLIES_LIMIT: usize = 16;

pub(crate) struct Context {
    pub(crate) clients: Clients,
    pub(crate) events: Events,
    pub(crate) metrics: Metrics,
    pub(crate) caches: Caches,
    /// The last look at each cluster, for people who ask.
    pub(crate) captures: Captures,
    pub(crate) inputs: Inputs,
    pub(crate) certificate_lifetime: Duration,
    /// Where this process runs.
    pub(crate) own_node: Option<String>,
    pub(crate) supplies: Arc<Semaphore>,
    /// Monotonic times are counted from here.
    origin: Instant,
}

impl Context {
    pub(crate) fn new(
        clients: Clients,
        events: Events,
        metrics: Metrics,
        captures: Captures,
        inputs: Inputs,
        certificate_lifetime: Duration,
        own_node: Option<String>,
    ) -> Self {
        Self {
            clients,
            events,
            metrics,
            caches: Caches::default(),
            captures,
            inputs,
            certificate_lifetime,
            own_node,
            supplies: Arc::new(Semaphore::new(SUPPLIES_LIMIT)),
            origin: Instant::now(),
        }
    }

    /// Milliseconds on our monotonic clock.
    pub(crate) fn now(&self) -> Timestamp {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// When our clock shows this.
    pub(crate) fn instant(&self, at: Timestamp) -> Instant {
        self.origin + Duration::from_millis(at)
    }
}

/// All that is watched. Secrets and records are not.
#[derive(Clone)]
pub(crate) struct Caches {
    pub(crate) clusters: Cache<MySQLCluster>,
    pub(crate) pods: Cache<Pod>,
    pub(crate) volumes: Cache<PersistentVolumeClaim>,
    pub(crate) slices: Cache<EndpointSlice>,
    /// By the cluster that they name.
    pub(crate) switchovers: Cache<Switchover>,
    // Of these it is known that they are there and which version: what is in them is read when it matters.
    pub(crate) services: Cache<PartialObjectMeta<Service>>,
    pub(crate) budgets: Cache<PartialObjectMeta<PodDisruptionBudget>>,
    pub(crate) policies: Cache<PartialObjectMeta<NetworkPolicy>>,
    pub(crate) accounts: Cache<PartialObjectMeta<ServiceAccount>>,
}

impl Caches {
    /// Another number when somebody changed or removed what surrounds the members of a cluster.
    pub(crate) fn mark(&self, key: &Key) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.services.versions(key).hash(&mut hasher);
        self.budgets.versions(key).hash(&mut hasher);
        self.policies.versions(key).hash(&mut hasher);
        self.accounts.versions(key).hash(&mut hasher);
        hasher.finish()
    }
}

impl Default for Caches {
    fn default() -> Self {
        Self {
            clusters: Cache::new(Key::of),
            pods: Cache::new(Key::owning),
            volumes: Cache::new(Key::owning),
            slices: Cache::new(Key::owning),
            switchovers: Cache::new(|asked| {
                Some(Key {
                    namespace: asked.namespace()?,
                    name: asked.spec.cluster.clone(),
                })
            }),
            services: Cache::new(Key::owning),
            budgets: Cache::new(Key::owning),
            policies: Cache::new(Key::owning),
            accounts: Cache::new(Key::owning),
        }
    }
}
