//! A cluster of pretended members that obey their assignments, one small step at a time.
//! Must not decide anything: it does what it is told, loses what it is told to lose.

use std::collections::{BTreeMap, BTreeSet};

use topology::assignment::{Assignment, Place, Role};
use topology::calm::Calm;
use topology::check::check;
use topology::decide::decide;
use topology::decision::Decision;
use topology::gtid::{Gtid, GtidSet, Source, Uuid};
use topology::observed::{Backlog, Exposed, Member, Observed, Pod, Spec, Volume};
use topology::record::Record;
use topology::report::{Beat, Follows, Process, Proof, Report, ServerSeen, Trouble, TroubleKind};
use topology::term::Term;
use topology::watch::Watch;

use crate::dice::Dice;
use agent::{is_beyond, lead, stop};
use told::{Told, report};

#[path = "sim/agent.rs"]
mod agent;
#[path = "sim/story.rs"]
pub(crate) mod story;
#[path = "sim/streams.rs"]
mod streams;
#[path = "sim/told.rs"]
mod told;

/// A mysqld that hangs for so long is ended by its agent.
const HANG_LIMIT_MS: u64 = 60_000;

/// What lies on a volume, and what mysqld has made of it.
#[derive(Clone, Default)]
pub(crate) struct Server {
    pub(crate) incarnation: Option<Uuid>,
    pub(crate) executed: GtidSet,
    pub(crate) received: GtidSet,
    /// Not in its binary logs: a clone begins with empty ones.
    purged: GtidSet,
    pub(crate) is_open: bool,
    wait_for: Option<u16>,
    follows: Option<Place>,
    /// Its agent saw another one at its source's address, and ended that, until it has other orders.
    stranger: Option<Uuid>,
    proof_begun: Option<(Proof, Gtid)>,
    proved: Option<Proof>,
    is_founded: bool,
    clone_percent: Option<u8>,
}

#[derive(Clone, Default)]
pub(crate) struct Node {
    pub(crate) server: Server,
    /// On the volume.
    pub(crate) order: Option<Assignment>,
    pub(crate) is_cut: bool,
    /// Its mysqld is down for so many ticks.
    pub(crate) down: u64,
    /// No power: neither mysqld nor agent.
    pub(crate) is_off: bool,
    /// Nothing can be written to its volume, orders included.
    pub(crate) is_full: bool,
    pub(crate) has_pod: bool,
    /// Its Pod is being deleted, and serves as long as it leads.
    pub(crate) is_ending: bool,
    pub(crate) is_of_this_cluster: bool,
    /// Its Pod was made from an older spec.
    pub(crate) is_outdated: bool,
    /// Its mysqld runs and does nothing, since so many milliseconds.
    pub(crate) hung_ms: Option<u64>,
    /// mysqld answers, and changes nothing: its volume stands still, or it is busy.
    pub(crate) is_stuck: bool,
    /// Writes to its volume hang, and have done so for so long.
    pub(crate) stalled_ms: Option<u64>,
    /// Whose packets do not reach it.
    pub(crate) deaf_to: BTreeSet<String>,
    /// What else there is to say of it.
    pub(crate) told: Told,
    silence_ms: u64,
    /// Whom it follows, and for how long.
    following: Option<(Place, u64)>,
    heard: u64,
    sampled_after: u64,
    report: Option<(Report, u64)>,
    backlog: Option<Backlog>,
}

impl Node {
    fn is_up(&self) -> bool {
        self.has_pod && !self.is_off && self.down == 0 && self.hung_ms.is_none()
    }

    fn is_told_to_lead(&self) -> bool {
        let order = self.order.as_ref();
        order.is_some_and(|order| matches!(order.role, Role::Primary { .. }))
    }
}

pub(crate) struct Sim {
    pub(crate) spec: Spec,
    pub(crate) nodes: BTreeMap<String, Node>,
    pub(crate) record: Option<Record>,
    pub(crate) exposed: Exposed,
    pub(crate) acknowledged: GtidSet,
    pub(crate) now: u64,
    pub(crate) last: Option<Decision>,
    pub(crate) had_primary: bool,
    handing: Option<(Term, u64)>,
    pub(crate) taken_back_at: Option<u64>,
    /// The member on whose node the controller runs.
    pub(crate) beside: Option<String>,
    calm: Calm,
    /// Somebody reads what happens.
    is_told: bool,
    watch: Watch,
    ping: u64,
    numbers: u64,
}

pub(crate) fn spec(instances: u16) -> Spec {
    Spec {
        name: "orders".into(),
        instances,
        sync_replicas: (instances - 1) / 2,
        is_suspended: false,
        is_failover_manual: false,
        memory_bytes: 1 << 30,
        is_tls_required: true,
        parameters: BTreeMap::new(),
        lag_limit_ms: 10_000,
        reads_fall_back: true,
        switchover: None,
    }
}

impl Sim {
    pub(crate) fn new(instances: u16) -> Self {
        Self {
            spec: spec(instances),
            nodes: BTreeMap::new(),
            record: None,
            exposed: Exposed::default(),
            acknowledged: GtidSet::new(),
            now: 0,
            last: None,
            had_primary: false,
            handing: None,
            taken_back_at: None,
            beside: None,
            calm: Calm::default(),
            is_told: std::env::var_os("HOLDFAST_SEED").is_some(),
            watch: Watch::default(),
            ping: 0,
            numbers: 0,
        }
    }

    fn uuid(&mut self) -> Uuid {
        self.numbers += 1;
        let mut bytes = [7; 16];
        bytes[8..].copy_from_slice(&self.numbers.to_be_bytes());
        Uuid::from_bytes(bytes)
    }

    /// The controller forgets all that it had in memory.
    pub(crate) fn restart_controller(&mut self) {
        self.watch = Watch::default();
        self.ping = 0;
        (self.handing, self.taken_back_at) = (None, None);
        self.calm = Calm::default();
        for node in self.nodes.values_mut() {
            node.report = None;
            node.heard = 0;
        }
    }

    pub(crate) fn lose_volume(&mut self, name: &str) {
        let node = self.nodes.get_mut(name).expect("a node");
        *node = Node {
            has_pod: true,
            is_of_this_cluster: true,
            ..Node::default()
        };
        self.watch.lost(name);
    }

    pub(crate) fn crash(&mut self, name: &str, ticks: u64) {
        let node = self.nodes.get_mut(name).expect("a node");
        node.down = ticks;
        let server = &mut node.server;
        server.is_open = false;
        server.wait_for = None;
        server.follows = None;
        server.stranger = None;
        server.proof_begun = None;
        server.proved = None;
        server.clone_percent = None;
    }

    pub(crate) fn observed(&mut self) -> Observed {
        let identity = self.uuid();
        let mut seen = Observed {
            new_identity: Some(identity),
            had_primary: self.had_primary,
            exposed: self.exposed.clone(),
            handing_since: self.handing.map(|(_, since)| since),
            taken_back_at: self.taken_back_at,
            operator_node: self.beside.as_deref().map(node_of),
            ..Observed::default()
        };
        for (name, node) in &self.nodes {
            let pod = node.has_pod.then(|| Pod {
                ip: Some(ip(name)),
                node: Some(node_of(name)),
                replication_port: None,
                is_current: !node.is_outdated,
                is_terminating: node.is_ending,
                ..Pod::default()
            });
            let member = Member {
                pod,
                volume: Some(Volume {
                    is_of_this_cluster: node.is_of_this_cluster,
                    ..Volume::default()
                }),
                report: node.report.as_ref().map(|(report, _)| report.clone()),
                reported_at: node.report.as_ref().map_or(0, |(_, at)| *at),
                is_connected: node.has_pod && !node.is_cut && !node.is_off && node.report.is_some(),
                backlog: node.backlog,
                ..Member::default()
            };
            seen.members.insert(name.clone(), member);
        }
        self.watch.fill(&mut seen);
        self.calm.saw(self.record.as_ref(), self.now);
        self.calm.fill(&mut seen, self.now);
        seen
    }

    /// One pass of the controller: nothing that the check refuses is done.
    pub(crate) fn pass(&mut self, dice: &mut Dice) {
        let seen = self.observed();
        let decision = decide(&self.spec, &seen, self.record.as_ref(), self.now);
        if let Err(found) = check(&self.spec, &seen, self.record.as_ref(), &decision.plan) {
            panic!("{found:?} in {decision:#?} of {:#?}", self.record);
        }
        // Killed between two steps of a plan, in their order.
        let steps = match dice.one_in(20) {
            true => dice.below(4),
            false => 9,
        };
        self.execute(&decision, steps);
        self.last = Some(decision);
        if self.is_told {
            story::tell(self);
        }
    }

    pub(crate) fn execute(&mut self, decision: &Decision, steps: u64) {
        let plan = &decision.plan;
        for name in &plan.exist {
            let node = self.nodes.entry(name.clone()).or_insert_with(|| Node {
                is_of_this_cluster: true,
                ..Node::default()
            });
            node.has_pod = true;
        }
        if let Some(record) = plan.record.as_ref().filter(|_| steps > 0) {
            let is_taken_back = self
                .handing
                .is_some_and(|(term, _)| term.epoch == record.term.epoch);
            self.taken_back_at = is_taken_back.then_some(self.now).or(self.taken_back_at);
            self.handing = record.handing_to.is_some().then_some((record.term, self.now));
            self.record = Some(record.clone());
            self.had_primary |= record.term.epoch > 0;
        }
        if steps > 1 {
            for (name, order) in &plan.assign {
                let node = self.nodes.get_mut(name).expect("a node");
                let promised = node.order.as_ref().map(Assignment::term).unwrap_or_default();
                if node.is_cut || node.is_off || node.is_full || order.term() < promised {
                    continue;
                }
                if node.stalled_ms.is_none() {
                    node.server
                        .stranger
                        .take_if(|_| node.order.as_ref() != Some(order));
                    node.order = Some(order.clone());
                } else if order.term().epoch > promised.epoch && node.server.is_open {
                    // What cannot be written down still ends a primary that another one replaces.
                    self.crash(name, 4);
                }
            }
        }
        if let Some(expose) = plan.expose.as_ref().filter(|_| steps > 2) {
            self.exposed = expose.clone();
        }
        if steps > 3 {
            for name in &plan.remove {
                self.nodes.get_mut(name).expect("a node").has_pod = false;
            }
            if let Some(name) = &plan.replace {
                self.crash(name, 4);
                self.nodes.get_mut(name).expect("a node").is_outdated = false;
            }
        }
    }

    /// Pings go out, agents act and sample, reports come in, each or not.
    pub(crate) fn tick(&mut self, dice: &mut Dice) {
        self.now += 500;
        self.ping += 1;
        let names: Vec<String> = self.nodes.keys().cloned().collect();
        for name in &names {
            let node = self.nodes.get_mut(name).expect("a node");
            if node.has_pod && !node.is_cut && !node.is_off && !dice.one_in(10) {
                node.heard = self.ping;
            }
        }
        for name in &names {
            let node = self.nodes.get_mut(name).expect("a node");
            node.down = node.down.saturating_sub(1);
            node.hung_ms = node.hung_ms.map(|hung_ms| hung_ms + 500);
            node.stalled_ms = node.stalled_ms.map(|stalled_ms| stalled_ms + 500);
            let is_in_the_way = node.hung_ms.is_some() && !node.is_told_to_lead();
            if is_in_the_way || node.hung_ms.is_some_and(|hung_ms| hung_ms >= HANG_LIMIT_MS) {
                // An agent kills what is in the way of another primary, and what hangs for good.
                node.hung_ms = None;
                self.crash(name, 4);
            }
            let node = &self.nodes[name];
            let is_able = !node.is_full && !node.is_stuck && node.stalled_ms.is_none();
            if node.is_up() && is_able && !dice.one_in(4) {
                self.step(name);
            }
        }
        self.replicate(dice);
        for name in &names {
            let node = &self.nodes[name];
            if node.has_pod && !node.is_cut && !node.is_off && node.heard > 0 && !dice.one_in(4) {
                let report = report(name, node, (self.is_receiving(name), self.is_unreached(name)));
                let sampled_after = node.heard;
                let node = self.nodes.get_mut(name).expect("a node");
                node.sampled_after = sampled_after;
                node.backlog = Backlog::next(node.backlog, &report, self.now);
                node.report = Some((report.clone(), self.now));
                self.watch.heard(&report, self.ping);
            } else if node.is_cut || node.is_off || !node.has_pod {
                self.watch.lost(name);
            }
        }
    }

    /// One small step of an agent towards its assignment.
    fn step(&mut self, name: &str) {
        let Some(order) = self.nodes[name].order.clone() else {
            return;
        };
        if self.nodes[name].server.incarnation.is_none() {
            let incarnation = self.uuid();
            self.nodes.get_mut(name).expect("a node").server.incarnation = Some(incarnation);
            return;
        }
        let fresh = self.uuid();
        let donor = match &order.role {
            Role::Clone { donor, .. } => Some(self.nodes[&donor.member].server.executed.clone()),
            _ => None,
        };
        let stranger = self.stranger(name, &order);
        let server = &mut self.nodes.get_mut(name).expect("a node").server;
        let own = server.incarnation.expect("an incarnation");
        if !matches!(order.role, Role::Clone { .. }) {
            server.clone_percent = None;
        }
        match &order.role {
            Role::Hold => stop(server),
            Role::Found => {
                stop(server);
                if !server.is_founded {
                    server.executed.insert(gtid(own, 1));
                    server.executed.insert(gtid(own, 2));
                    server.is_founded = true;
                }
            }
            Role::Retire => {
                server.is_open = false;
                server.proof_begun = None;
            }
            Role::Replica { .. } if is_beyond(&order, server) => stop(server),
            Role::Replica { .. } if stranger.is_some() => {
                stop(server);
                server.stranger = stranger;
            }
            Role::Replica { source } => {
                server.is_open = false;
                server.wait_for = None;
                server.follows = Some(source.clone());
            }
            Role::Clone { instead_of, .. } if own == *instead_of => {
                stop(server);
                let percent = server.clone_percent.unwrap_or(0) + 50;
                server.clone_percent = Some(percent);
                if percent >= 100 {
                    *server = Server {
                        incarnation: Some(fresh),
                        purged: donor.clone().expect("a donor"),
                        executed: donor.expect("a donor"),
                        ..Server::default()
                    };
                }
            }
            Role::Clone { .. } => stop(server),
            Role::Primary { wait_for } => lead(server, &order, *wait_for),
        }
    }

    /// What the primary wrote reaches those that follow it; what enough have is acknowledged.
    /// What was acknowledged and is not on the primary, whose data and epoch are known.
    pub(crate) fn lost(&self) -> GtidSet {
        let ruling = self.record.as_ref();
        let Some(record) = ruling.filter(|record| record.term.epoch > 0 && !record.is_choosing) else {
            return GtidSet::new();
        };
        let primary = &self.nodes[&record.primary].server;
        match primary.incarnation {
            Some(is) if record.counts(&record.primary, is) => {
                let all = primary.executed.union(&primary.received);
                self.acknowledged.subtract(&all)
            }
            _ => GtidSet::new(),
        }
    }

    /// Whatever this one lacks may be lost from now on.
    pub(crate) fn forgive(&mut self, name: &str) {
        let server = &self.nodes[name].server;
        let all = server.executed.union(&server.received);
        self.acknowledged = self.acknowledged.intersect(&all);
    }

    pub(crate) fn names(&self) -> BTreeSet<String> {
        self.nodes
            .iter()
            .filter(|(_, node)| node.has_pod)
            .map(|(name, _)| name.clone())
            .collect()
    }
}

/// Each member has one of its own.
fn node_of(member: &str) -> String {
    format!("node-of-{member}")
}

pub(crate) fn ip(name: &str) -> String {
    format!("10.0.0.{}", name.rsplit('-').next().unwrap_or("0"))
}

pub(crate) fn gtid(uuid: Uuid, number: u64) -> Gtid {
    Gtid::new(Source { uuid, tag: None }, number).expect("a number")
}
