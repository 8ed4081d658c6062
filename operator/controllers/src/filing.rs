//! What a look brings is told: status, Events, figures; and what takes its time is given to a job.
//! Must not hold up the loop: at most one job at a time, and what is due meanwhile waits.

use std::sync::Arc;
use std::time::Duration;

use crds::cluster::MySQLCluster;
use jiff::Timestamp as Wall;
use kube::ResourceExt;
use objects::Cluster;
use tokio::time::Instant;
use topology::decision::Decision;
use topology::observed::Observed;
use topology::record::Record;
use tracing::{Instrument, Span};

use crate::cluster_loop::ClusterLoop;
use crate::desk::Basis;
use crate::metrics::Failure;
use crate::paperwork::{self, Done, Job, Stuck, Written};
use crate::pass::{Children, growing, subject_of};
use crate::status::{self, Findings, Stall};
use crate::supply::Order;
use crate::{announce, audit, problems, says};

impl ClusterLoop {
    pub(crate) fn tell_all(
        &mut self,
        object: &Arc<MySQLCluster>,
        cluster: &Arc<Cluster>,
        children: &Children,
        record: Option<&Record>,
        (observed, decision): (&Observed, &Decision),
        mut stalls: Vec<Stall>,
    ) {
        stalls.extend(self.desk.stall.clone());
        stalls.extend(self.stalls.iter().cloned());
        self.count(cluster, decision, record);
        let (subject, growing) = (subject_of(object), growing(children));
        let deadline = Duration::from_secs(u64::from(cluster.failover_deadline_seconds));
        let findings = Findings {
            subject: &subject,
            decision: Some(decision),
            observed,
            record,
            stalls: &stalls,
            story: (self.story.as_ref()).map(|story| story.told(Instant::now(), deadline)),
            growing: &growing,
        };
        let order = self.order(object, cluster, record);
        let stuck = self.stuck(children);
        self.file(object, &findings, order, stuck);
    }

    fn count(&mut self, cluster: &Cluster, decision: &Decision, record: Option<&Record>) {
        self.refusals.follow(decision, &self.context.metrics);
        let members = decision.members.values().map(|member| member.state).collect();
        self.share.set(decision.state, members);
        let ready = decision.members.values().filter(|member| member.is_ready).count();
        let epoch = record.map_or(0, |record| record.term.epoch);
        self.share.set_figures(cluster.instances, ready, epoch);
    }

    /// Supplies, if they are due.
    fn order(
        &mut self,
        object: &MySQLCluster,
        cluster: &Arc<Cluster>,
        record: Option<&Record>,
    ) -> Option<Order> {
        let inputs = self.inputs(record);
        let basis = Basis {
            generation: object.metadata.generation,
            voters: inputs.voters,
            is_suspended: cluster.is_suspended,
        };
        let mark = self.context.caches.mark(&self.key);
        self.desk.saw(mark);
        if !self.desk.is_supply_due(basis) {
            return None;
        }
        let order = Order {
            cluster: cluster.clone(),
            inputs,
            exact: self.exact.clone(),
            applier: self.applier(object)?,
            certificate_lifetime: self.context.certificate_lifetime,
            own: self.desk.own.clone(),
            is_read_only: cluster.is_suspended,
        };
        self.desk.ordered(basis, mark);
        Some(order)
    }

    /// What is to be asked about now.
    fn stuck(&mut self, children: &Children) -> Vec<Stuck> {
        let pods = children
            .pods
            .values()
            .filter(|pod| problems::is_pod_stuck(pod))
            .map(|pod| pod.uid());
        let volumes = children.volumes.values();
        let volumes = volumes
            .filter(|claim| problems::is_volume_stuck(claim))
            .map(|claim| claim.uid());
        let uids: Vec<String> = pods.chain(volumes).flatten().collect();
        self.desk
            .keep_problems(|uid| uids.iter().any(|stuck| stuck == uid));
        if !self.desk.may_ask(!uids.is_empty()) {
            return Vec::new();
        }
        uids.into_iter().map(|uid| Stuck { uid }).collect()
    }

    /// Gives all that is due to a job, unless one is under way.
    pub(crate) fn file(
        &mut self,
        object: &Arc<MySQLCluster>,
        findings: &Findings<'_>,
        order: Option<Order>,
        stuck: Vec<Stuck>,
    ) {
        // Of this look: the next one finds them again.
        let labels = std::mem::take(&mut self.labels);
        if self.desk.is_busy() {
            return;
        }
        let before = object.status.clone().unwrap_or_default();
        let status = status::build(findings, &before, Wall::now());
        self.share
            .set_conditions(status.conditions.as_deref().unwrap_or_default());
        self.share
            .set_promotions(status.promotions.as_deref().unwrap_or_default());
        let is_owed = status != before;
        let status = self.desk.may_write(is_owed).then(|| {
            let announcements = announce::between(&before, &status);
            (status, announcements)
        });
        let notices = std::mem::take(&mut self.notices);
        let switchovers = std::mem::take(&mut self.switching.told);
        let is_idle = order.is_none() && status.is_none() && stuck.is_empty() && labels.is_empty();
        if is_idle && notices.is_empty() && switchovers.is_empty() {
            return;
        }
        if !stuck.is_empty() {
            self.desk.asked();
        }
        let job = Job {
            context: self.context.clone(),
            exact: self.exact.clone(),
            object: object.clone(),
            order,
            status,
            notices,
            stuck,
            switchovers,
            labels,
        };
        self.desk.began();
        self.jobs.spawn(paperwork::work(job).instrument(Span::current()));
    }

    /// What a job brought.
    pub(crate) fn filed(&mut self, done: Done) {
        self.desk.ended();
        let metrics = self.context.metrics.clone();
        match done.written {
            Some(Ok(Some(Written { before, after }))) => {
                self.desk.is_written();
                if let Some(promotion) = announce::promotion(before.status.as_ref(), after.status.as_ref()) {
                    metrics.promoted(promotion);
                    audit::promoted(promotion);
                }
                self.desk.wrote(&before, after);
            }
            // The newer object comes by the watch.
            Some(Ok(None)) => self.desk.is_not_written(),
            Some(Err(error)) => {
                self.desk.is_not_written();
                metrics.failed(Failure::Report);
                tracing::warn!(error = says::chain(&error), "the status is not written yet");
            }
            None => {}
        }
        for (asked, written) in done.switchovers {
            match written {
                Ok(()) => self.switching.wrote(&asked),
                Err(error) => {
                    self.switching.is_not_written();
                    metrics.failed(Failure::Report);
                    tracing::warn!(
                        error = says::chain(&error),
                        "a Switchover is not told yet how far it is"
                    );
                }
            }
        }
        if let Some(error) = done.event_error {
            metrics.failed(Failure::Report);
            tracing::warn!(error = says::chain(&error), "an Event is lost");
        }
        match done.labelled {
            None => {}
            Some(Ok(true)) => self.labels_retry.succeeded(),
            Some(Ok(false)) => self.labels_retry.failed(),
            Some(Err(error)) => {
                self.labels_retry.failed();
                metrics.failed(Failure::Step);
                tracing::warn!(error = says::chain(&error), "a Pod keeps an old label");
            }
        }
        if let Some(supplied) = done.supplied {
            if let Some(error) = &supplied.error {
                metrics.failed(Failure::Supply);
                tracing::warn!(error = error.in_words(), "not all is as it should be");
            }
            if let Some(end) = supplied.certificate_end {
                metrics.certificate_ends(&self.key, end);
            }
            self.desk.supplied(supplied, Wall::now());
            if let Some(own) = &self.desk.own {
                self.links.show(own.tls.clone());
            }
        }
        self.desk.answered(done.problems);
    }
}
