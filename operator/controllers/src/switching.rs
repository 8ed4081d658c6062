//! Switchovers of a cluster: the one that is next is handed to the decision, all are told how far they are.
//! Must not decide: whether and how the role moves is the decision's.

pub(crate) mod orphans;
mod progress;

use std::sync::Arc;
use std::time::Duration;

use crds::cluster::{MySQLCluster, Promotion};
use crds::switchover::{Switchover, SwitchoverState, SwitchoverStatus};
use jiff::Timestamp as Wall;
use kit::backoff::Policy;
use kube::ResourceExt;
use objects::Cluster;
use tokio::time::Instant;
use topology::decide::decide;
use topology::decision::{Decision, Reason, Refusal};
use topology::observed::{self, Observed, Spec, Timestamp};
use topology::record::Record;
use topology::say;

use crate::cluster_loop::{ClusterLoop, Retry};
use crate::paperwork::Notice;
use progress::{Rehearsal, View};

/// What failed to be written is tried again so soon.
const RETRY: Policy = Policy {
    first: Duration::from_millis(500),
    limit: Duration::from_secs(60),
};
/// Whose deadline has come is looked at then, and not before.
const SOON: Duration = Duration::from_secs(1);
/// Versions that our own writes left behind, until the watch brings the newer ones.
const VERSIONS_LIMIT: usize = 32;
/// In the order of their creation; those beyond wait without a word.
const TOLD_LIMIT: usize = 20;

/// What is remembered of them between looks.
pub(crate) struct Switching {
    /// The one that is active, by uid, and since when.
    active: Option<(String, Timestamp)>,
    /// Why a handover was taken back last.
    why: Option<String>,
    versions: Vec<String>,
    retry: Retry,
    pub(crate) due: Option<Instant>,
    /// What is to be written with the next job.
    pub(crate) told: Vec<Told>,
}

impl Default for Switching {
    fn default() -> Self {
        Self {
            active: None,
            why: None,
            versions: Vec::new(),
            retry: Retry::new(RETRY),
            due: None,
            told: Vec::new(),
        }
    }
}

/// A status that is to be written, and what is to be told when it is.
#[derive(Clone)]
pub(crate) struct Told {
    pub(crate) asked: Arc<Switchover>,
    pub(crate) status: SwitchoverStatus,
    pub(crate) notice: Option<Notice>,
}

/// What is known of the cluster, as far as they are concerned.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) record: Option<&'a Record>,
    pub(crate) promotions: &'a [Promotion],
    /// Nothing is done for the cluster now, and why.
    pub(crate) hindered: Option<&'a str>,
}

impl Known<'_> {
    fn view<'a>(&'a self, taken_back: Option<&'a str>) -> View<'a> {
        View {
            record: self.record,
            promotions: self.promotions,
            ahead: None,
            hindered: self.hindered,
            taken_back,
            refused: "asked for",
            rehearsed: None,
            now: Wall::now(),
        }
    }
}

impl Switching {
    /// Why the handover of this one was taken back, if it was.
    fn taken_back(&self, asked: &Switchover, at: Option<Timestamp>) -> Option<&str> {
        let (uid, since) = self.active.as_ref()?;
        let is_this = asked.uid().as_ref() == Some(uid);
        let is_taken_back = at.is_some_and(|at| at >= *since);
        let why = self.why.as_deref().unwrap_or("the primary took its role back");
        (is_this && is_taken_back).then_some(why)
    }

    /// Written: what the watch said before is older.
    pub(crate) fn wrote(&mut self, before: &Switchover) {
        self.retry.succeeded();
        self.versions.extend(before.resource_version());
        let surplus = self.versions.len().saturating_sub(VERSIONS_LIMIT);
        self.versions.drain(..surplus);
    }

    fn is_outdated(&self, asked: &Switchover) -> bool {
        let version = asked.resource_version().unwrap_or_default();
        self.versions.contains(&version)
    }

    pub(crate) fn is_not_written(&mut self) {
        self.retry.failed();
    }
}

/// Those that nothing has come of yet, the oldest first.
fn unfinished(all: impl IntoIterator<Item = Arc<Switchover>>) -> Vec<Arc<Switchover>> {
    let is_open = |asked: &Arc<Switchover>| {
        let is_final = asked.status.as_ref().is_some_and(SwitchoverStatus::is_final);
        !is_final && asked.metadata.deletion_timestamp.is_none()
    };
    let mut all: Vec<_> = all.into_iter().filter(is_open).collect();
    all.sort_by_key(|asked| {
        let created = asked.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (created, asked.name_any())
    });
    all
}

fn of_spec(asked: &Switchover) -> observed::Switchover {
    observed::Switchover {
        target: asked.spec.target.clone(),
        is_forced: asked.spec.force,
        accepts_loss_in: asked
            .spec
            .accept_loss_in_epoch
            .and_then(|epoch| u64::try_from(epoch).ok()),
        budget_ms: u64::try_from(asked.spec.budget_seconds).unwrap_or_default() * 1000,
    }
}

impl ClusterLoop {
    /// What the decision is made from: the spec, and the Switchover that is active.
    pub(crate) fn asked(
        &mut self,
        object: &MySQLCluster,
        cluster: &Cluster,
        record: Option<&Record>,
    ) -> Spec {
        let now = self.context.now();
        self.handing.saw(record, now);
        self.calm.saw(record, now);
        let spec = cluster.spec();
        let open = unfinished(self.context.caches.switchovers.of(&self.key).into_values());
        let Some(first) = open.first() else {
            self.switching.active = None;
            return spec;
        };
        let known = known(object, cluster, record);
        let taken_back = self.switching.taken_back(first, self.handing.taken_back_at);
        let is_active = progress::is_active(first, &known.view(taken_back));
        let uid = first.uid().unwrap_or_default();
        if is_active
            && self
                .switching
                .active
                .as_ref()
                .is_none_or(|(active, _)| *active != uid)
        {
            self.switching.active = Some((uid, now));
        }
        Spec {
            switchover: is_active.then(|| of_spec(first)),
            ..spec
        }
    }

    /// How far each of them is, to be written with the next job.
    pub(crate) fn follow_switchovers(
        &mut self,
        known: &Known<'_>,
        looked: Option<(&Spec, &Observed, &Decision)>,
    ) {
        self.switching.told.clear();
        self.switching.due = None;
        let open = unfinished(self.context.caches.switchovers.of(&self.key).into_values());
        let Some(first) = open.first() else { return };
        if let Some((.., decision)) = looked {
            let mut reasons = decision.because.iter();
            let back = reasons.find(|reason| matches!(reason, Reason::TakingBack { .. }));
            self.switching.why = back.map(ToString::to_string).or(self.switching.why.take());
        }
        let refused = looked
            .map(|(.., decision)| refusals(decision))
            .unwrap_or_default();
        let rehearsal = looked
            .filter(|_| first.spec.dry_run)
            .and_then(|(spec, observed, _)| {
                rehearse(spec, observed, known.record?, first, self.context.now())
            });
        let taken_back = self.switching.taken_back(first, self.handing.taken_back_at);
        let view = View {
            refused: match (refused.is_empty(), first.spec.force) {
                (false, _) => &refused,
                (true, true) => {
                    "the primary is well: force is for a failover that failover.policy Manual or a pause holds back"
                }
                (true, false) => "asked for",
            },
            rehearsed: rehearsal.as_ref(),
            ..known.view(taken_back)
        };
        let name = first.name_any();
        let behind = View {
            ahead: Some(&name),
            ..view
        };
        let views = std::iter::once(&view).chain(std::iter::repeat(&behind));
        let told: Vec<Told> = (open.iter().zip(views))
            .take(TOLD_LIMIT)
            .filter_map(|(asked, view)| told(asked, progress::status(asked, view)))
            .filter(|told| !self.switching.is_outdated(&told.asked))
            .collect();
        let deadline = first
            .status
            .as_ref()
            .and_then(|status| progress::deadline(first, status));
        self.switching.due = deadline.map(|deadline| {
            let left = Duration::try_from(deadline.duration_since(view.now)).unwrap_or_default();
            Instant::now() + left.max(SOON)
        });
        if !told.is_empty() && !self.switching.retry.is_open() {
            let retry = self.switching.retry.not_before();
            self.switching.due = Some(self.switching.due.map_or(retry, |due| due.min(retry)));
            return;
        }
        self.switching.told = told;
    }
}

pub(crate) fn known<'a>(
    object: &'a MySQLCluster,
    cluster: &Cluster,
    record: Option<&'a Record>,
) -> Known<'a> {
    let promotions = object
        .status
        .as_ref()
        .and_then(|status| status.promotions.as_deref());
    Known {
        record,
        promotions: promotions.unwrap_or_default(),
        hindered: cluster
            .is_suspended
            .then_some("the cluster is suspended, as spec.suspend says"),
    }
}

fn told(asked: &Arc<Switchover>, status: SwitchoverStatus) -> Option<Told> {
    if asked.status.as_ref() == Some(&status) {
        return None;
    }
    let message = || {
        let list = status.conditions.as_deref().unwrap_or_default();
        let ready = kit::conditions::get(list, "Ready");
        ready.map(|ready| ready.message.clone()).unwrap_or_default()
    };
    let notice = |is_warning, reason| Notice {
        is_warning,
        reason,
        action: "SwitchOver".into(),
        note: message(),
    };
    let notice = match status.state {
        Some(SwitchoverState::Succeeded) => Some(notice(false, "Succeeded")),
        Some(SwitchoverState::Failed) => Some(notice(true, "Failed")),
        _ => None,
    };
    Some(Told {
        asked: asked.clone(),
        status,
        notice,
    })
}

fn refusals(decision: &Decision) -> String {
    let of_roles = decision.refused.iter().map(Refusal::to_string);
    of_roles.collect::<Vec<_>>().join("; ")
}

/// What is done for it, step by step.
fn handover(spec: &Spec, record: &Record, to: &str, budget: i32) -> Vec<String> {
    let (from, epoch, cluster) = (&record.primary, record.term.epoch + 1, &spec.name);
    let acknowledged = acknowledged(record);
    vec![
        format!(
            "{from} is closed for at most {budget} s: clients are ended, it becomes read-only, and what waits for acknowledgements gets them"
        ),
        format!("{to} applies all that {from} has"),
        format!(
            "epoch {epoch} is recorded with {to} as primary, and begins with a transaction that {acknowledged}"
        ),
        format!("{to} is opened and {cluster}-primary leads to it"),
        format!("{from} follows {to}"),
    ]
}

/// By how many what a new primary begins with.
fn acknowledged(record: &Record) -> String {
    let (all, acknowledge) = (
        say::replicas(record.wait_for),
        say::does(record.wait_for, "acknowledge"),
    );
    format!("{all} {acknowledge}")
}

/// What would be done if it were active now.
fn rehearse(
    spec: &Spec,
    observed: &Observed,
    record: &Record,
    asked: &Switchover,
    now: Timestamp,
) -> Option<Rehearsal> {
    let is_claimed = record.is_choosing && asked.spec.accept_loss_in_epoch.is_none();
    if is_claimed || record.handing_to.is_some() || record.term.epoch == 0 {
        return None;
    }
    let spec = Spec {
        switchover: Some(of_spec(asked)),
        ..spec.clone()
    };
    // A change of Services that is still on its way to nodes is waited for, and changes nothing of the plan.
    let observed = Observed {
        exposed_at: None,
        ..observed.clone()
    };
    let decision = decide(&spec, &observed, Some(record), now);
    let next = decision.plan.record.as_ref();
    let acknowledged = acknowledged(record);
    let (from, epoch) = (&record.primary, record.term.epoch + 1);
    if let Some(to) = next.and_then(|next| next.handing_to.clone()) {
        let plan = handover(&spec, record, &to, asked.spec.budget_seconds);
        return Some(Rehearsal::Possible { to: Some(to), plan });
    }
    if let Some((next, named)) = next.and_then(|next| Some((next, next.by_hand.as_ref()?))) {
        let (epoch, to, loss) = (next.term.epoch, &named.member, say::of_loss(named));
        let mut plan = vec![
            format!("{to} is recorded as primary of epoch {epoch}: {loss} may be lost"),
            format!("it is opened when {acknowledged} its first transaction"),
            "whoever comes back with more is copied anew, and what it had is archived on its volume"
                .to_owned(),
        ];
        if next.is_choosing {
            let first = format!("epoch {epoch} is claimed and everybody who can be reached holds still");
            plan.insert(0, first);
        }
        let to = Some(to.clone());
        return Some(Rehearsal::Possible { to, plan });
    }
    if next.is_some_and(|next| next.is_choosing) {
        let plan = vec![
            format!("epoch {epoch} is claimed and everybody who can be reached holds still"),
            "the member with the longest history is recorded as primary".to_owned(),
            format!("it is opened when {acknowledged} its first transaction"),
        ];
        return Some(Rehearsal::Possible { to: None, plan });
    }
    let refused = refusals(&decision);
    Some(Rehearsal::Refused(match (refused.is_empty(), next) {
        (false, _) => refused,
        (true, Some(_)) => {
            "something else is being changed first: try again when the cluster is Healthy".to_owned()
        }
        (true, None) => format!("{from} is well and nothing holds a failover back"),
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use topology::capture::Capture;

    use super::*;

    fn asked(name: &str, created: &str, status: serde_json::Value) -> Arc<Switchover> {
        let object = json!({
            "apiVersion": "mysql.holdfast.dev/v1alpha1",
            "kind": "Switchover",
            "metadata": { "name": name, "namespace": "shop", "uid": name, "creationTimestamp": created },
            "spec": { "cluster": "orders" },
            "status": status,
        });
        Arc::new(serde_json::from_value(object).unwrap())
    }

    #[test]
    fn the_oldest_that_is_not_done_is_first() {
        let all = [
            asked("c", "2026-11-22T10:00:02Z", json!({})),
            asked("b", "2026-11-22T10:00:01Z", json!({ "state": "Pending" })),
            asked("a", "2026-11-22T10:00:00Z", json!({ "state": "Failed" })),
            asked("d", "2026-11-22T10:00:01Z", json!({ "state": "Running" })),
        ];
        let names: Vec<_> = unfinished(all).iter().map(|asked| asked.name_any()).collect();
        assert_eq!(names, ["b", "d", "c"]);
    }

    #[test]
    fn what_was_taken_back_before_it_was_active_is_not_its_failure() {
        let first = asked("a", "2026-11-22T10:00:00Z", json!({}));
        let switching = Switching {
            active: Some(("a".into(), 100)),
            ..Switching::default()
        };
        assert_eq!(switching.taken_back(&first, None), None);
        assert_eq!(switching.taken_back(&first, Some(99)), None);
        assert!(switching.taken_back(&first, Some(100)).is_some());
        let other = asked("b", "2026-11-22T10:00:00Z", json!({}));
        assert_eq!(switching.taken_back(&other, Some(100)), None);
    }

    #[test]
    fn a_change_of_services_on_its_way_is_no_reason_to_refuse_a_rehearsal() {
        let healthy = include_str!("../../tests/captures/healthy.json");
        let capture: Capture = serde_json::from_str(healthy).unwrap();
        let mut observed = capture.observed;
        observed.exposed_at = Some(capture.now);
        let record = capture.record.unwrap();
        let first = asked("a", "2026-11-22T10:00:00Z", json!({}));
        let rehearsed = rehearse(&capture.spec, &observed, &record, &first, capture.now);
        assert!(matches!(rehearsed, Some(Rehearsal::Possible { to: Some(_), .. })));
    }
}
