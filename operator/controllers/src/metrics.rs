//! What the controller counts, for those who watch it.
//! Must not have labels that grow with anything but the number of clusters.

mod labels;

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crds::cluster::{Promotion, PromotionDeadline, PromotionKind};
use crds::conditions::ConditionType;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kit::conditions;
use kit::metrics::By;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use topology::decision::{ClusterState, MemberState};

use crate::cache::Key;
pub(crate) use labels::{Failure, Refused};
use labels::{Kind, OfMember, Phase, State};

type Durations<L> = Family<L, Histogram, fn() -> Histogram>;

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
    blocked: Family<Which, Gauge>,
    promotions: Durations<By<Kind>>,
    phases: Durations<(By<Kind>, By<Phase>)>,
    deadlines_missed: Family<By<Kind>, Counter>,
    failovers_refused: Family<By<Refused>, Counter>,
    last_promotion: Family<Which, Gauge>,
    last_promotion_took: Family<Which, Gauge<f64, AtomicU64>>,
    last_promotion_late: Family<Which, Gauge>,
    last_failover: Family<Which, Gauge>,
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
            blocked: Family::default(),
            promotions: Family::new_with_constructor(kit::metrics::durations),
            phases: Family::new_with_constructor(kit::metrics::durations),
            deadlines_missed: Family::default(),
            failovers_refused: Family::default(),
            last_promotion: Family::default(),
            last_promotion_took: Family::default(),
            last_promotion_late: Family::default(),
            last_failover: Family::default(),
            instances: Family::default(),
            ready_instances: Family::default(),
            epoch: Family::default(),
            certificate_end: Family::default(),
        };
        metrics.register(registry);
        metrics.register_clusters(registry);
        metrics.register_promotions(registry);
        metrics.begin();
        metrics
    }

    fn register(&self, registry: &mut Registry) {
        let all = self.clone();
        registry.register("controller_leading", "Whether this process leads", all.is_leading);
        let help = "How long one look at a cluster takes, with what is done at once";
        registry.register("reconcile_duration_seconds", help, all.passes);
        registry.register("reconcile_errors", "What failed", all.errors);
        registry.register("clusters", "Clusters by state", all.clusters);
        registry.register("members", "Members of clusters by state", all.members);
    }

    fn register_clusters(&self, registry: &mut Registry) {
        let all = self.clone();
        let help = "Whether the cluster is as asked and serves";
        registry.register("cluster_ready", help, all.ready);
        let help = "Whether there is a primary that takes writes";
        registry.register("cluster_primary_available", help, all.primary_available);
        let help = "Whether a node may be lost now without losing writes or service";
        registry.register("cluster_redundant", help, all.redundant);
        let help = "Whether the cluster cannot go on until a person acts";
        registry.register("cluster_stalled", help, all.stalled);
        let help = "Whether no choice of a primary is safe until a person acts";
        registry.register("cluster_blocked", help, all.blocked);
        registry.register("cluster_instances", "Members that are wanted", all.instances);
        let help = "Members that serve as they should";
        registry.register("cluster_ready_instances", help, all.ready_instances);
        let help = "The epoch of the primary: rises with every choice of one";
        registry.register("cluster_epoch", help, all.epoch);
        let name = "cluster_certificate_end_timestamp_seconds";
        let help = "When the members' certificate ends, in seconds since 1970";
        registry.register(name, help, all.certificate_end);
    }

    fn register_promotions(&self, registry: &mut Registry) {
        let all = self.clone();
        let help = "How long there was no primary to write to, by how the new one came to be";
        registry.register("promotion_duration_seconds", help, all.promotions);
        let help = "Where that time went, of promotions that were seen from beginning to end";
        registry.register("promotion_phase_duration_seconds", help, all.phases);
        let help = "Promotions that took longer than failover.deadlineSeconds";
        registry.register("promotion_deadline_missed", help, all.deadlines_missed);
        let help = "How often nobody could take over, or begin, counted when it began";
        registry.register("failovers_refused", help, all.failovers_refused);
        let name = "cluster_last_promotion_timestamp_seconds";
        let help = "When the primary began to take writes, in seconds since 1970";
        registry.register(name, help, all.last_promotion);
        let help = "How long there was no primary to write to before it";
        let name = "cluster_last_promotion_duration_seconds";
        registry.register(name, help, all.last_promotion_took);
        let help = "Whether that took longer than failover.deadlineSeconds";
        let name = "cluster_last_promotion_deadline_missed";
        registry.register(name, help, all.last_promotion_late);
        let name = "cluster_last_failover_timestamp_seconds";
        let help =
            "When a primary last replaced one that had failed, in seconds since 1970; 0: not known of any";
        registry.register(name, help, all.last_failover);
    }

    /// What is counted from nothing: a rise to one is seen only where there was a zero.
    fn begin(&self) {
        for kind in [PromotionKind::Switchover, PromotionKind::Failover] {
            self.deadlines_missed.get_or_create(&By(Kind(kind))).inc_by(0);
        }
        for reason in Refused::ALL {
            self.failovers_refused.get_or_create(&By(*reason)).inc_by(0);
        }
    }

    pub(crate) fn failed(&self, kind: Failure) {
        self.errors.get_or_create(&By(kind)).inc();
    }

    pub(crate) fn refused(&self, reason: Refused) {
        self.failovers_refused.get_or_create(&By(reason)).inc();
    }

    pub(crate) fn promoted(&self, promotion: &Promotion) {
        let kind = By(Kind(promotion.kind));
        let took = seconds(promotion.duration_ms);
        self.promotions.get_or_create(&kind).observe(took);
        if promotion.deadline == Some(PromotionDeadline::Missed) {
            self.deadlines_missed.get_or_create(&kind).inc();
        }
        let Some(phases) = &promotion.phases_ms else {
            return;
        };
        for (phase, took_ms) in [
            (Phase::Detect, phases.detect),
            (Phase::Freeze, phases.freeze),
            (Phase::Choose, phases.choose),
            (Phase::Decide, phases.decide),
            (Phase::Barrier, phases.barrier),
            (Phase::Expose, phases.expose),
        ] {
            let labels = (kind.clone(), By(phase));
            self.phases.get_or_create(&labels).observe(seconds(took_ms));
        }
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
        let is_blocked = i64::from(state == ClusterState::Blocked);
        let which = Which::from(&self.key);
        self.metrics.blocked.get_or_create(&which).set(is_blocked);
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
            // What is not known is not said to be wrong.
            if condition.is_some_and(|condition| condition.status == "Unknown") {
                family.remove(&which);
                continue;
            }
            let holds = condition.is_some_and(|condition| condition.status == "True");
            family.get_or_create(&which).set(i64::from(holds));
        }
    }

    /// As the status says: so they are the same under the next controller.
    pub(crate) fn set_promotions(&self, promotions: &[Promotion]) {
        let Some(newest) = promotions.first() else { return };
        let (which, metrics) = (Which::from(&self.key), &self.metrics);
        let at = |promotion: &Promotion| promotion.time.0.as_second();
        metrics.last_promotion.get_or_create(&which).set(at(newest));
        let took = seconds(newest.duration_ms);
        metrics.last_promotion_took.get_or_create(&which).set(took);
        let is_late = newest.deadline == Some(PromotionDeadline::Missed);
        metrics
            .last_promotion_late
            .get_or_create(&which)
            .set(i64::from(is_late));
        let mut promotions = promotions.iter();
        let failover = promotions.find(|promotion| promotion.kind == PromotionKind::Failover);
        metrics
            .last_failover
            .get_or_create(&which)
            .set(failover.map_or(0, at));
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
            &metrics.blocked,
            &metrics.last_promotion,
            &metrics.last_promotion_late,
            &metrics.last_failover,
            &metrics.instances,
            &metrics.ready_instances,
            &metrics.epoch,
            &metrics.certificate_end,
        ] {
            family.remove(&which);
        }
        metrics.last_promotion_took.remove(&which);
    }
}

fn seconds(milliseconds: i64) -> f64 {
    let milliseconds = u64::try_from(milliseconds).unwrap_or_default();
    Duration::from_millis(milliseconds).as_secs_f64()
}

#[cfg(test)]
mod tests;
