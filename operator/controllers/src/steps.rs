//! A plan is carried out: the record first, then members, orders, Services, and what goes.
//! Must not go on after the record was written: what follows from it is decided anew.

use std::time::Duration;

use crds::cluster::MySQLCluster;
use kube::ResourceExt;
use objects::Cluster;
use tokio::time::Instant;
use topology::decision::{Decision, Plan};
use topology::record::Record;

use crate::cluster_loop::ClusterLoop;
use crate::exact::Outcome;
use crate::execute::{self, Flow, Hands, Told};
use crate::metrics::Failure;
use crate::paperwork::Notice;
use crate::pass::{Children, Error};
use crate::{audit, labels, records, says, status};

/// A change of the primary takes no longer, mostly.
const PROMPT: Duration = Duration::from_secs(2);

impl ClusterLoop {
    /// Whether somebody would become something else.
    pub(crate) fn changes_roles(&self, plan: &Plan) -> bool {
        let is_new = |order: &topology::assignment::Assignment| {
            let heard = self.hearing.heard.get(&order.member);
            let has = heard.and_then(|heard| heard.report.assignment.as_ref());
            has != Some(order) && !self.links.is_sent(order)
        };
        plan.record.is_some() || plan.replace.is_some() || plan.assign.values().any(is_new)
    }

    /// In the order of the plan, but for members that must be made: nobody's role waits for a Pod.
    /// What takes something away waits until everything else has been done.
    pub(crate) async fn execute(
        &mut self,
        object: &MySQLCluster,
        cluster: &Cluster,
        children: &Children,
        record: Option<&Record>,
        decision: &Decision,
    ) -> Result<Step, Error> {
        let plan = &decision.plan;
        if let Some(next) = &plan.record {
            return self.record_next(cluster, next, decision).await;
        }
        let applier = self.applier(object).ok_or(Error::NoOwner)?;
        let inputs = self.inputs(record);
        let (exact, leadership) = (self.exact.clone(), self.leadership.clone());
        let hands = Hands {
            exact: &exact,
            applier: &applier,
            leadership: &leadership,
            cluster,
            inputs: &inputs,
            record,
            pods: &children.pods,
            volumes: &children.volumes,
            slices: &children.slices,
        };
        hands.must_lead()?;
        self.assign(plan);
        let epoch = record.map_or(0, |record| record.term.epoch);
        if let Some(exposed) = &plan.expose
            && hands.expose(exposed, epoch).await? == Flow::LookAgain
        {
            return Ok(Step::Overtaken);
        }
        if !self.make_members(&hands, object.metadata.generation, plan).await {
            return Ok(Step::Done);
        }
        let mut told = Told::default();
        let removed = take_away(&hands, plan, &mut told).await;
        self.tell(told.notices);
        if removed? == Flow::LookAgain {
            return Ok(Step::Overtaken);
        }
        // While writes wait, the disk of the API server has better to do.
        let is_urgent = (self.story.as_ref()).is_some_and(|story| story.lasted(Instant::now()) < PROMPT);
        if self.labels_retry.is_open() && !is_urgent {
            self.labels = labels::due(&children.pods, &decision.members);
        }
        Ok(Step::Done)
    }

    /// Until it is known to be written, nothing is known.
    async fn record_next(
        &mut self,
        cluster: &Cluster,
        next: &Record,
        decision: &Decision,
    ) -> Result<Step, Error> {
        if !self.leadership.is_held() {
            return Err(execute::Error::NotLeading.into());
        }
        let Some((known, _)) = self.known.take() else {
            return Ok(Step::Overtaken);
        };
        let began = Instant::now();
        let Outcome::Done(written) = records::write(&self.exact, cluster, &known, next).await? else {
            return Ok(Step::Overtaken);
        };
        if let Some(story) = &mut self.story {
            story.decided(began.elapsed());
        }
        let (primary, term) = (&next.primary, next.term);
        tracing::info!(%term, primary, is_choosing = next.is_choosing, "recorded");
        audit::recorded(known.record.as_ref(), next, decision);
        self.hearing
            .notices
            .extend(by_hand(known.record.as_ref(), next, decision));
        self.known = Some((written, Instant::now()));
        Ok(Step::Recorded)
    }

    /// Whether all that must be there is there. Pods need Secrets: without them they would wait.
    async fn make_members(&mut self, hands: &Hands<'_>, generation: Option<i64>, plan: &Plan) -> bool {
        if !self.desk.is_complete {
            return false;
        }
        if !self.members_retry.is_open() {
            return self.are_made;
        }
        let made = Made::of(hands, generation, plan);
        if made.is_some() && self.made == made {
            return true;
        }
        let mut told = Told::default();
        let outcome = hands.exist(&plan.exist, &mut told).await;
        self.are_made = outcome.is_ok();
        self.stalls = told.stalls;
        self.tell(told.notices);
        if self.are_made && self.stalls.is_empty() {
            self.made = made;
            self.members_retry.succeeded();
            return true;
        }
        self.made = None;
        self.members_retry.failed();
        if let Err(error) = outcome {
            self.context.metrics.failed(Failure::Step);
            tracing::warn!(error = says::chain(&error), "a member cannot be made");
        }
        self.are_made
    }

    /// What a member has already is not sent again.
    fn assign(&mut self, plan: &Plan) {
        for order in plan.assign.values() {
            let heard = self.hearing.heard.get(&order.member);
            if heard.and_then(|heard| heard.report.assignment.as_ref()) == Some(order) {
                continue;
            }
            if !self.links.is_sent(order) && self.links.assign(order) {
                let (member, role, term) = (&order.member, order.role.name(), order.term());
                tracing::info!(member, role, %term, "assigned");
            }
        }
    }
}

async fn take_away(hands: &Hands<'_>, plan: &Plan, told: &mut Told) -> Result<Flow, Error> {
    if let Some(name) = &plan.replace
        && hands.replace(name).await? == Flow::LookAgain
    {
        return Ok(Flow::LookAgain);
    }
    Ok(hands.remove(&plan.remove, told).await?)
}

/// Where the execution of a plan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// All of it, or all but what is waited for.
    Done,
    /// With the record: the next decision follows from it.
    Recorded,
    /// Somebody was first.
    Overtaken,
}

/// What members were made from. The same once more needs no look at every one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    generation: Option<i64>,
    has_record: bool,
    /// Name, and version of Pod and volume.
    members: Vec<(String, Option<String>, Option<String>)>,
}

impl Made {
    /// None while any of it is missing.
    fn of(hands: &Hands<'_>, generation: Option<i64>, plan: &Plan) -> Option<Self> {
        let version = |name: &String| {
            let (pod, volume) = (hands.pods.get(name)?, hands.volumes.get(name)?);
            Some((name.clone(), pod.resource_version(), volume.resource_version()))
        };
        Some(Self {
            generation,
            has_record: hands.record.is_some(),
            members: plan.exist.iter().map(version).collect::<Option<Vec<_>>>()?,
        })
    }
}

/// A person's word was used: a claim that waits for nobody, or a primary that lacks something perhaps.
fn by_hand(before: Option<&Record>, next: &Record, decision: &Decision) -> Option<Notice> {
    let is_news = before.is_none_or(|before| before.by_hand != next.by_hand || before.is_choosing);
    next.by_hand.as_ref().filter(|_| is_news).map(|_| Notice {
        is_warning: true,
        reason: "DecidedByHand",
        action: format!("Promote in epoch {}", next.term.epoch).into(),
        note: status::because(decision),
    })
}
