//! One look at a cluster: observe, decide, check, execute, tell.
//! Must not decide itself, nor carry out a plan that failed its check.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crds::cluster::{Endpoints, MySQLCluster};
use crds::conditions::Reason as Word;
use jiff::Timestamp as Wall;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kit::apply::{Applier, Owner};
use kube::ResourceExt;
use objects::names::{ANNOTATION_MARK, labels, selector};
use objects::{Cluster, Inputs, Unfit, pod, template_of};
use serde_json::json;
use tokio::time::Instant;
use topology::check::{self, check};
use topology::decide::decide;
use topology::decision::{ClusterState, Decision};
use topology::observed::{Observed, Spec};
use topology::record::Record;

use crate::cluster_loop::{ClusterLoop, Retry, SLOW};
use crate::exact::Outcome;
use crate::execute;
use crate::metrics::Failure;
use crate::observe::{self, Seen};
use crate::records;
use crate::status::{self, Findings, Stall, Subject};
use crate::steps::Step;
use crate::story::{Scene, Story};
use crate::switching::{Known, known};
use crate::{exact, passwords, problems, says};

/// On the object, until its volumes are dealt with.
pub(crate) const FINALIZER: &str = "mysql.holdfast.dev/volumes";

/// A record that was read longer ago is read again before roles change.
const RECORD_AGE: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Record(#[from] records::Error),
    #[error(transparent)]
    Step(#[from] execute::Error),
    #[error(transparent)]
    Write(#[from] exact::Error),
    #[error(transparent)]
    Random(#[from] passwords::Error),
    #[error("failed to act for an object without a uid")]
    NoOwner,
}

impl Error {
    pub(crate) fn kind(&self) -> Failure {
        match self {
            Error::Record(_) => Failure::Record,
            Error::Step(_) | Error::Write(_) | Error::Random(_) | Error::NoOwner => Failure::Step,
        }
    }

    pub(crate) fn in_words(&self) -> String {
        says::chain(self)
    }
}

/// What comes after a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The object is gone.
    Ended,
    /// Something was done that the next decision follows from.
    Now,
    /// Somebody was first.
    Overtaken,
    /// Until something changes, or until then.
    Wait(Option<Instant>),
}

/// The spec as it was read, with what was derived from it.
pub(crate) struct Fit {
    generation: Option<i64>,
    pub(crate) cluster: Result<Arc<Cluster>, Vec<Unfit>>,
    /// What each member's Pod would be made from, as far as it was asked for.
    templates: BTreeMap<String, String>,
}

/// What the caches hold of the cluster now.
pub(crate) struct Children {
    pub(crate) pods: BTreeMap<String, Arc<Pod>>,
    pub(crate) volumes: BTreeMap<String, Arc<PersistentVolumeClaim>>,
    pub(crate) slices: BTreeMap<String, Arc<EndpointSlice>>,
}

impl ClusterLoop {
    pub(crate) async fn pass(&mut self) -> Result<Fate, Error> {
        let cached = self.context.caches.clusters.get(&self.key, &self.key.name);
        let Some(cached) = cached.filter(|object| object.uid().as_deref() == Some(&*self.uid)) else {
            return Ok(Fate::Ended);
        };
        let object = self.desk.newest(cached);
        let children = self.children();
        for member in self.links.keep(&children.pods) {
            self.hearing.lost(&member);
        }
        self.forget_but(&children.pods);
        if object.metadata.deletion_timestamp.is_some() {
            return self.bury(&object, &children).await;
        }
        let cluster = match self.read(&object) {
            Ok(cluster) => cluster,
            Err(unfit) => return Ok(self.refuse(&object, &unfit)),
        };
        if !cluster.is_suspended && !object.finalizers().iter().any(|known| known == FINALIZER) {
            return self.hold(&object).await;
        }
        self.govern(&object, &cluster, &children).await
    }

    pub(crate) fn children(&self) -> Children {
        let caches = &self.context.caches;
        Children {
            pods: observe::of_members(caches.pods.of(&self.key)),
            volumes: observe::of_members(caches.volumes.of(&self.key)),
            slices: caches.slices.of(&self.key),
        }
    }

    /// The object stays until its volumes are dealt with.
    async fn hold(&mut self, object: &MySQLCluster) -> Result<Fate, Error> {
        let mut finalizers = object.finalizers().to_vec();
        finalizers.push(FINALIZER.to_owned());
        let held = self
            .exact
            .patch_metadata(object, json!({ "finalizers": finalizers }))
            .await?;
        match held {
            Outcome::Done(held) => {
                self.desk.wrote(object, held);
                Ok(Fate::Now)
            }
            Outcome::Overtaken => Ok(Fate::Overtaken),
        }
    }

    fn read(&mut self, object: &MySQLCluster) -> Result<Arc<Cluster>, Vec<Unfit>> {
        let generation = object.metadata.generation;
        if let Some(fit) = self.fit.as_ref().filter(|fit| fit.generation == generation) {
            return fit.cluster.clone();
        }
        let cluster = Cluster::read(object).map(Arc::new);
        self.fit = Some(Fit {
            generation,
            cluster: cluster.clone(),
            templates: BTreeMap::new(),
        });
        cluster
    }

    /// What runs goes on running.
    fn refuse(&mut self, object: &Arc<MySQLCluster>, unfit: &[Unfit]) -> Fate {
        let all: Vec<_> = unfit.iter().map(ToString::to_string).collect();
        let stall = Stall {
            reason: Word::SpecRefused,
            message: all.join("; "),
        };
        let subject = Subject {
            instances: u16::try_from(object.spec.instances).unwrap_or_default(),
            is_suspended: object.spec.suspend,
            ..subject_of(object)
        };
        let findings = Findings {
            subject: &subject,
            decision: None,
            observed: &Observed::default(),
            record: None,
            stalls: &[stall],
            story: None,
            growing: &[],
        };
        self.hinder_switchovers("the cluster's spec is refused: its status says why");
        self.file(object, &findings, None, Vec::new());
        Fate::Wait(self.desk.status_due())
    }

    /// Nothing is done for them.
    pub(crate) fn hinder_switchovers(&mut self, why: &str) {
        let known = Known {
            record: None,
            promotions: &[],
            hindered: Some(why),
        };
        self.follow_switchovers(&known, None);
    }

    async fn govern(
        &mut self,
        object: &Arc<MySQLCluster>,
        cluster: &Arc<Cluster>,
        children: &Children,
    ) -> Result<Fate, Error> {
        let identity = self.new_identity()?;
        self.template(cluster, children);
        let mut record = self.record(cluster, SLOW).await?;
        let mut spec = self.asked(object, cluster, record.as_ref());
        let (mut observed, mut decision) =
            self.decide(&spec, object, cluster, children, record.as_ref(), identity);
        if self.changes_roles(&decision.plan) {
            // Another may have written meanwhile: what is done must follow from what is so.
            let fresh = self.record(cluster, RECORD_AGE).await?;
            if fresh != record {
                record = fresh;
                spec = self.asked(object, cluster, record.as_ref());
                (observed, decision) =
                    self.decide(&spec, object, cluster, children, record.as_ref(), identity);
            }
        }
        let checked = check(&spec, &observed, record.as_ref(), &decision.plan);
        let mut stalls = match checked {
            Ok(()) => Vec::new(),
            Err(violations) => {
                self.context.metrics.failed(Failure::PlanRefused);
                tracing::error!(?violations, "a plan failed its check");
                vec![refused(&violations)]
            }
        };
        let late = self.follow_story(object, cluster, (&observed, &decision), record.as_ref());
        let outcome = match stalls.is_empty() && !cluster.is_suspended {
            true => {
                self.execute(object, cluster, children, record.as_ref(), &decision)
                    .await
            }
            false => Ok(Step::Done),
        };
        if let Err(Error::Step(error)) = &outcome {
            stalls.extend(error.stall());
        }
        stalls.extend(late);
        self.follow_switchovers(
            &known(object, cluster, record.as_ref()),
            Some((&spec, &observed, &decision)),
        );
        self.tell_all(
            object,
            cluster,
            children,
            record.as_ref(),
            (&observed, &decision),
            stalls,
        );
        self.slot.keep(spec, observed, record);
        Ok(match outcome? {
            Step::Recorded => Fate::Now,
            Step::Overtaken => Fate::Overtaken,
            Step::Done => Fate::Wait(self.wake(cluster, &decision)),
        })
    }

    /// When something is due even if nothing changes.
    fn wake(&self, cluster: &Cluster, decision: &Decision) -> Option<Instant> {
        let decided = decision.wake.map(|wake| self.context.instant(wake));
        let deadline = Duration::from_secs(u64::from(cluster.failover_deadline_seconds));
        let late = self.story.as_ref().and_then(|story| {
            let left = deadline.checked_sub(story.lasted(Instant::now()))?;
            Some(Instant::now() + left)
        });
        let retries = [&self.members_retry, &self.labels_retry].into_iter();
        let retries = retries.filter(|retry| !retry.is_open()).map(Retry::not_before);
        let all = decided
            .into_iter()
            .chain(late)
            .chain(retries)
            .chain(self.switching.due)
            .chain(self.desk.due());
        all.min()
    }

    /// How the primary comes to be, and whether that takes longer than it should.
    fn follow_story(
        &mut self,
        object: &MySQLCluster,
        cluster: &Cluster,
        (observed, decision): (&Observed, &Decision),
        record: Option<&Record>,
    ) -> Option<Stall> {
        let status = object.status.clone().unwrap_or_default();
        let scene = Scene {
            record,
            decision,
            is_writable: status::is_writable(decision),
            are_commits_waiting: decision.state == ClusterState::AwaitingReplicas,
            is_open: record.is_some_and(|record| status::is_open(observed, record)),
            is_told: record.is_some_and(|record| status::is_told(&status, record)),
        };
        self.story = Story::follow(self.story.take(), &scene, Instant::now());
        let story = self
            .story
            .as_ref()
            .filter(|_| !scene.is_writable && !cluster.is_suspended)?;
        let deadline = Duration::from_secs(u64::from(cluster.failover_deadline_seconds));
        (story.lasted(Instant::now()) >= deadline).then(|| Stall {
            reason: Word::DeadlineExceeded,
            message: format!(
                "nobody has taken writes for more than {} seconds: {}",
                deadline.as_secs(),
                status::because(decision)
            ),
        })
    }

    fn decide(
        &mut self,
        spec: &Spec,
        object: &MySQLCluster,
        cluster: &Cluster,
        children: &Children,
        record: Option<&Record>,
        identity: topology::gtid::Uuid,
    ) -> (Observed, Decision) {
        let none = BTreeMap::new();
        let seen = Seen {
            cluster,
            record,
            pods: &children.pods,
            volumes: &children.volumes,
            slices: &children.slices,
            heard: &self.hearing.heard,
            watch: &self.hearing.watch,
            templates: self.fit.as_ref().map_or(&none, |fit| &fit.templates),
            problems: &self.desk.problems,
            identity,
            handing_since: self.handing.since(),
            taken_back_at: self.handing.taken_back_at,
            had_primary: object
                .status
                .as_ref()
                .is_some_and(|status| status.primary.is_some()),
            node: self.context.own_node.as_deref(),
            now: Wall::now(),
        };
        let mut observed = observe::observed(&seen);
        self.calm.fill(&mut observed, self.context.now());
        let now = self.slot.at(self.context.now());
        let decision = decide(spec, &observed, record, now);
        (observed, decision)
    }

    /// What each Pod that is there would be made from today.
    fn template(&mut self, cluster: &Cluster, children: &Children) {
        let inputs = &self.context.inputs;
        let Some(fit) = &mut self.fit else { return };
        for name in children.pods.keys() {
            if !fit.templates.contains_key(name) {
                let wanted = pod(cluster, name, inputs);
                fit.templates
                    .extend(template_of(&wanted).map(|digest| (name.clone(), digest.to_owned())));
            }
        }
        fit.templates.retain(|name, _| children.pods.contains_key(name));
    }

    /// The record, read again if it was read longer ago.
    async fn record(&mut self, cluster: &Cluster, age: Duration) -> Result<Option<Record>, Error> {
        let known = self.known.as_ref().filter(|(_, at)| at.elapsed() < age);
        if let Some((known, _)) = known {
            return Ok(known.record.clone());
        }
        self.known = None;
        let at = Instant::now();
        let known = records::read(&self.exact, cluster).await?;
        let record = known.record.clone();
        self.known = Some((known, at));
        Ok(record)
    }

    pub(crate) fn inputs(&self, record: Option<&Record>) -> Inputs {
        Inputs {
            voters: record.map_or(0, |record| u16::try_from(record.voters.len()).unwrap_or(u16::MAX)),
            ..self.context.inputs.clone()
        }
    }

    /// None for an object that does not come from the API server.
    pub(crate) fn applier(&self, object: &MySQLCluster) -> Option<Applier> {
        let owner = Owner::of(object, labels(&self.key.name))?;
        let client = self.context.clients.prompt.client().clone();
        Some(Applier::new(client, owner, ANNOTATION_MARK, exact::CALL_TIMEOUT))
    }
}

fn refused(violations: &[check::Violation]) -> Stall {
    let all: Vec<_> = violations.iter().map(ToString::to_string).collect();
    Stall {
        reason: Word::PlanRefused,
        message: format!(
            "the next step was refused by its check and nothing was done; please report this: {}",
            all.join("; ")
        ),
    }
}

/// Of the object alone.
pub(crate) fn subject_of(object: &MySQLCluster) -> Subject {
    let name = object.name_any();
    Subject {
        generation: object.metadata.generation,
        created: object.metadata.creation_timestamp.as_ref().map(|time| time.0),
        instances: u16::try_from(object.spec.instances).unwrap_or_default(),
        selector: selector(&name),
        endpoints: Endpoints {
            primary: format!("{name}-primary"),
            replicas: format!("{name}-replicas"),
        },
        is_suspended: object.spec.suspend,
        removal: (object.metadata.deletion_timestamp.as_ref()).map(|_| "it is being removed".to_owned()),
    }
}

/// Volumes that are smaller than they were asked to be.
pub(crate) fn growing(children: &Children) -> Vec<String> {
    let volumes = children.volumes.iter();
    volumes
        .filter(|(_, claim)| problems::is_growing(claim))
        .map(|(name, _)| name.clone())
        .collect()
}
