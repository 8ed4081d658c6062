//! What the controller counts, for those who watch it.
//! Must not have labels that grow with anything but the number of clusters.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use crds::cluster::{Promotion, PromotionKind};
use crds::conditions::ConditionType;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kit::conditions;
use kit::metrics::{By, Label};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use topology::decision::{ClusterState, MemberState};

use crate::cache::Key;

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Failure {
    /// A watch broke; it is begun anew.
    Watch,
    /// Objects, Secrets and certificates could not be put as they should be.
    Supply,
    /// The record could not be read or written.
    Record,
    /// A Pod, volume or EndpointSlice could not be written.
    Step,
    /// The status or an Event could not be written.
    Report,
    /// A plan failed its check.
    PlanRefused,
    /// The task of a cluster ended in a panic.
    Task,
}

impl Label for Failure {
    const NAME: &'static str = "kind";

    fn value(&self) -> &'static str {
        match self {
            Failure::Watch => "watch",
            Failure::Supply => "supply",
            Failure::Record => "record",
            Failure::Step => "step",
            Failure::Report => "report",
            Failure::PlanRefused => "plan_refused",
            Failure::Task => "task",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State(pub(crate) ClusterState);

impl Label for State {
    const NAME: &'static str = "state";

    fn value(&self) -> &'static str {
        self.0.as_str()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct OfMember(pub(crate) MemberState);

impl Label for OfMember {
    const NAME: &'static str = "state";

    fn value(&self) -> &'static str {
        self.0.as_str()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind(pub(crate) PromotionKind);

// The API's own type has none.
impl Hash for Kind {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.value().hash(state);
    }
}

impl Label for Kind {
    const NAME: &'static str = "kind";

    fn value(&self) -> &'static str {
        match self.0 {
            PromotionKind::Bootstrap => "Bootstrap",
            PromotionKind::Switchover => "Switchover",
            PromotionKind::Failover => "Failover",
        }
    }
}

/// Which cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Which {
    namespace: String,
    name: String,
}

impl From<&Key> for Which {
    fn from(key: &Key) -> Self {
        Self {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
        }
    }
}

/// Clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) is_leading: Gauge,
    pub(crate) passes: Histogram,
    errors: Family<By<Failure>, Counter>,
    clusters: Family<By<State>, Gauge>,
    members: Family<By<OfMember>, Gauge>,
    ready: Family<Which, Gauge>,
    primary_available: Family<Which, Gauge>,
    redundant: Family<Which, Gauge>,
    stalled: Family<Which, Gauge>,
    promotions: Family<By<Kind>, Histogram, fn() -> Histogram>,
    instances: Family<Which, Gauge>,
    ready_instances: Family<Which, Gauge>,
    epoch: Family<Which, Gauge>,
    certificate_end: Family<Which, Gauge>,
}

impl Metrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            is_leading: Gauge::default(),
            passes: kit::metrics::durations(),
            errors: Family::default(),
            clusters: Family::default(),
            members: Family::default(),
            ready: Family::default(),
            primary_available: Family::default(),
            redundant: Family::default(),
            stalled: Family::default(),
            promotions: Family::new_with_constructor(kit::metrics::durations),
            instances: Family::default(),
            ready_instances: Family::default(),
            epoch: Family::default(),
            certificate_end: Family::default(),
        };
        let all = metrics.clone();
        registry.register("controller_leading", "Whether this process leads", all.is_leading);
        let help = "How long one look at a cluster takes, with what is done at once";
        registry.register("reconcile_duration_seconds", help, all.passes);
        registry.register("reconcile_errors", "What failed", all.errors);
        registry.register("clusters", "Clusters by state", all.clusters);
        registry.register("members", "Members of clusters by state", all.members);
        registry.register(
            "cluster_ready",
            "Whether the cluster is as asked and serves",
            all.ready,
        );
        let help = "Whether there is a primary that takes writes";
        registry.register("cluster_primary_available", help, all.primary_available);
        let help = "Whether a node may be lost now without losing writes or service";
        registry.register("cluster_redundant", help, all.redundant);
        let help = "Whether the cluster cannot go on until a person acts";
        registry.register("cluster_stalled", help, all.stalled);
        let help = "How long there was no primary to write to, by how the new one came to be";
        registry.register("promotion_duration_seconds", help, all.promotions);
        registry.register("cluster_instances", "Members that are wanted", all.instances);
        let help = "Members that serve as they should";
        registry.register("cluster_ready_instances", help, all.ready_instances);
        let help = "The epoch of the primary: rises with every choice of one";
        registry.register("cluster_epoch", help, all.epoch);
        let help = "When the members' certificate ends, in seconds since 1970";
        registry.register(
            "cluster_certificate_end_timestamp_seconds",
            help,
            all.certificate_end,
        );
        metrics
    }

    pub(crate) fn failed(&self, kind: Failure) {
        self.errors.get_or_create(&By(kind)).inc();
    }

    pub(crate) fn promoted(&self, promotion: &Promotion) {
        let kind = By(Kind(promotion.kind));
        let millis = u64::try_from(promotion.duration_ms).unwrap_or_default();
        let seconds = Duration::from_millis(millis).as_secs_f64();
        self.promotions.get_or_create(&kind).observe(seconds);
    }

    pub(crate) fn certificate_ends(&self, key: &Key, at: jiff::Timestamp) {
        self.certificate_end
            .get_or_create(&key.into())
            .set(at.as_second());
    }
}

/// What one cluster adds to the sums; taken back when it is dropped.
pub(crate) struct Share {
    metrics: Metrics,
    key: Key,
    state: Option<ClusterState>,
    members: Vec<MemberState>,
}

impl Share {
    pub(crate) fn new(metrics: Metrics, key: Key) -> Self {
        Self {
            metrics,
            key,
            state: None,
            members: Vec::new(),
        }
    }

    pub(crate) fn set(&mut self, state: ClusterState, members: Vec<MemberState>) {
        if self.state != Some(state) {
            self.take_back_state();
            self.metrics.clusters.get_or_create(&By(State(state))).inc();
            self.state = Some(state);
        }
        if self.members != members {
            self.take_back_members();
            for member in &members {
                self.metrics.members.get_or_create(&By(OfMember(*member))).inc();
            }
            self.members = members;
        }
    }

    /// As the status says.
    pub(crate) fn set_conditions(&self, conditions: &[Condition]) {
        let which = Which::from(&self.key);
        for (type_, family) in [
            (ConditionType::Ready, &self.metrics.ready),
            (ConditionType::PrimaryAvailable, &self.metrics.primary_available),
            (ConditionType::Redundant, &self.metrics.redundant),
            (ConditionType::Stalled, &self.metrics.stalled),
        ] {
            let condition = conditions::get(conditions, type_.as_str());
            let holds = condition.is_some_and(|condition| condition.status == "True");
            family.get_or_create(&which).set(i64::from(holds));
        }
    }

    pub(crate) fn set_figures(&self, wanted: u16, ready: usize, epoch: u64) {
        let which = Which::from(&self.key);
        self.metrics
            .instances
            .get_or_create(&which)
            .set(i64::from(wanted));
        let ready = i64::try_from(ready).unwrap_or(i64::MAX);
        self.metrics.ready_instances.get_or_create(&which).set(ready);
        let epoch = i64::try_from(epoch).unwrap_or(i64::MAX);
        self.metrics.epoch.get_or_create(&which).set(epoch);
    }

    fn take_back_state(&mut self) {
        if let Some(state) = self.state.take() {
            self.metrics.clusters.get_or_create(&By(State(state))).dec();
        }
    }

    fn take_back_members(&mut self) {
        for member in self.members.drain(..) {
            self.metrics.members.get_or_create(&By(OfMember(member))).dec();
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.take_back_state();
        self.take_back_members();
        let (which, metrics) = (Which::from(&self.key), &self.metrics);
        for family in [
            &metrics.ready,
            &metrics.primary_available,
            &metrics.redundant,
            &metrics.stalled,
            &metrics.instances,
            &metrics.ready_instances,
            &metrics.epoch,
            &metrics.certificate_end,
        ] {
            family.remove(&which);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_that_is_gone_leaves_nothing_in_the_sums() {
        let mut registry = kit::metrics::registry();
        let metrics = Metrics::new(&mut registry);
        let key = Key {
            namespace: "shop".into(),
            name: "orders".into(),
        };
        let mut share = Share::new(metrics.clone(), key);
        share.set(ClusterState::Creating, vec![MemberState::Pending; 3]);
        share.set(ClusterState::Healthy, vec![MemberState::Serving; 3]);
        share.set_figures(3, 3, 1);
        let of = |state| metrics.clusters.get_or_create(&By(State(state))).get();
        assert_eq!((of(ClusterState::Creating), of(ClusterState::Healthy)), (0, 1));
        let members = |state| metrics.members.get_or_create(&By(OfMember(state))).get();
        assert_eq!(
            (members(MemberState::Pending), members(MemberState::Serving)),
            (0, 3)
        );
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(
            text.contains("holdfast_cluster_epoch{namespace=\"shop\",name=\"orders\"} 1"),
            "{text}"
        );
        drop(share);
        assert_eq!((of(ClusterState::Healthy), members(MemberState::Serving)), (0, 0));
        text.clear();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(!text.contains("orders"), "{text}");
    }
}
