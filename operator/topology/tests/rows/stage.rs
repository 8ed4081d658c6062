//! A script played: what its steps do to the simulated cluster, and what is decided after each.
//! Must not decide, and must not do by chance what no step says.

use std::collections::{BTreeMap, BTreeSet};

use topology::assignment::Assignment;
use topology::capture::Capture;
use topology::decision::ClusterState;
use topology::gtid::Uuid;
use topology::observed::Switchover;
use topology::record::Record;
use topology::report::{Trouble, TroubleKind};

use crate::dice::Dice;
use crate::script::Script;
use crate::sim::{self, Node, Server, Sim};
use crate::words;

/// Half seconds until a new cluster must be Healthy.
const BIRTH_LIMIT: u32 = 200;
/// Half seconds that it then writes before anything happens.
const CALM: u32 = 10;
/// How long a crashed mysqld takes to answer again, unless the step says how long: in half seconds.
const RESTART: u64 = 8;

/// A server that is no member.
const ELSEWHERE: Uuid = Uuid::from_bytes([5; 16]);

/// What a script comes to.
pub(crate) struct Played {
    /// The line that says what the cluster is before the first step.
    pub(crate) cluster: String,
    /// What is decided after each step, in words.
    pub(crate) told: Vec<String>,
    /// Each state that was seen, with the words of the status when it was first seen.
    pub(crate) seen: Vec<(ClusterState, String)>,
}

pub(crate) fn play(script: &Script) -> Played {
    let instances = script.one("cluster").split(' ').next().unwrap_or_default();
    let instances = instances
        .parse()
        .unwrap_or_else(|_| panic!("{}: a cluster of how many?", script.path.display()));
    let mut stage = Stage::new(instances);
    let cluster = stage.cluster();
    let told = script.steps.iter().map(|step| stage.step(&step.line)).collect();
    Played {
        cluster,
        told,
        seen: stage.seen,
    }
}

struct Stage {
    sim: Sim,
    start: u64,
    /// Nobody looks: the controller is gone, or it has no API server to act through.
    is_nobody_looking: bool,
    is_service_kept: bool,
    /// The record as another controller read it.
    other: Option<Record>,
    snapshots: BTreeMap<String, (Server, Option<Assignment>)>,
    last: String,
    seen: Vec<(ClusterState, String)>,
    written: u64,
}

impl Stage {
    /// A cluster that is Healthy, and has been for a while.
    fn new(instances: u16) -> Self {
        let mut stage = Self {
            sim: Sim::new(instances),
            start: 0,
            is_nobody_looking: false,
            is_service_kept: false,
            other: None,
            snapshots: BTreeMap::new(),
            last: String::new(),
            seen: Vec::new(),
            written: 800_000,
        };
        let mut calm = 0;
        for _ in 0..BIRTH_LIMIT {
            stage.sim.tick(&mut Dice);
            stage.look();
            calm = if stage.last == "Healthy\n" { calm + 1 } else { 0 };
            if calm == CALM {
                stage.start = stage.sim.now;
                stage.seen.clear();
                stage.last.clear();
                return stage;
            }
        }
        panic!("no cluster: {}", stage.last);
    }

    fn cluster(&self) -> String {
        let record = self.sim.record.as_ref().unwrap();
        format!(
            "{} members, all well; {} is primary of epoch {}; a write waits for {}",
            record.voters.len(),
            record.primary,
            record.term.epoch,
            words::replicas(record.wait_for)
        )
    }

    fn step(&mut self, line: &str) -> String {
        if let Some(what) = line.strip_prefix("when ") {
            return self.act(what).unwrap_or_else(|| panic!("not understood: {line}"));
        }
        let seconds = line.strip_prefix("for ").and_then(seconds);
        let half_seconds = seconds.unwrap_or_else(|| panic!("not understood: {line}")) * 2.0;
        let mut told = String::new();
        for _ in 0..half_seconds as u64 {
            self.sim.tick(&mut Dice);
            if !self.is_nobody_looking
                && let Some(new) = self.look()
            {
                let at = self.sim.now - self.start;
                told.push_str(&format!("at {}.{} s {new}", at / 1_000, at % 1_000 / 100));
            }
        }
        told
    }

    fn capture(&mut self, record: Option<Record>) -> Capture {
        Capture {
            taken_at: None,
            now: self.sim.now,
            spec: self.sim.spec.clone(),
            observed: self.sim.observed(),
            record,
        }
    }

    /// One look of the controller, carried out; its decision, if it is another than before.
    fn look(&mut self) -> Option<String> {
        let capture = self.capture(self.sim.record.clone());
        let decision = capture.decide();
        assert_eq!(capture.check(&decision), Ok(()), "{decision:#?}");
        let is_claimed = decision.plan.record.as_ref().is_some_and(|next| next.is_choosing);
        assert!(
            !is_claimed || decision.refused.is_empty(),
            "claimed and refused: {decision:#?}"
        );
        let wanted = capture.spec.members();
        let is_left_alone = decision.state == ClusterState::Suspended;
        assert!(
            is_left_alone || wanted.is_subset(&decision.plan.exist),
            "members are missing in the plan: {decision:#?}"
        );
        let mut text = words::of(&capture, &decision);
        if self.seen.iter().all(|(state, _)| *state != decision.state) {
            let words = words::of_status(&decision);
            self.seen.push((decision.state, words));
        }
        let exposed = self.sim.exposed.clone();
        self.sim.pass(&mut Dice);
        if self.is_service_kept {
            self.sim.exposed = exposed;
        }
        if !self.sim.lost().is_empty() {
            let primary = self.sim.record.as_ref().map(|record| &record.primary);
            let is_open = primary.is_some_and(|primary| self.sim.nodes[primary].server.is_open);
            assert!(!is_open, "open without writes that were acknowledged: {text}");
            text.push_str("the primary of the record lacks writes that were acknowledged, and is closed\n");
        }
        let is_new = text != self.last;
        self.last.clone_from(&text);
        is_new.then_some(text)
    }

    /// A controller that has not noticed that it leads no more.
    fn other_looks(&mut self) -> String {
        let capture = self.capture(self.other.clone());
        let mut decision = capture.decide();
        assert_eq!(capture.check(&decision), Ok(()), "{decision:#?}");
        let mut text = format!("the other decides {}", words::of(&capture, &decision));
        let is_read = self.other == self.sim.record;
        if let Some(next) = decision.plan.record.clone() {
            if is_read {
                self.other = Some(next);
                text.push_str("the other's record is written\n");
            } else {
                decision.plan.record = None;
                text.push_str("the other's record is not written: somebody wrote since it read\n");
            }
        }
        let orders = |sim: &Sim| -> BTreeMap<String, Option<Assignment>> {
            let all = sim.nodes.iter();
            all.map(|(name, node)| (name.clone(), node.order.clone()))
                .collect()
        };
        let before = orders(&self.sim);
        let told: BTreeSet<String> = decision.plan.assign.keys().cloned().collect();
        decision.plan.expose = None;
        self.sim.execute(&decision, 9);
        let after = orders(&self.sim);
        let obeyed: Vec<&str> = told
            .iter()
            .filter(|name| before[*name] != after[*name])
            .map(String::as_str)
            .collect();
        if !told.is_empty() && !is_read {
            let who = if obeyed.is_empty() {
                "nobody".into()
            } else {
                obeyed.join(", ")
            };
            text.push_str(&format!("obeyed by {who}\n"));
        }
        text
    }

    /// What a step does to the cluster as a whole; else what it does to members. `None`: not understood.
    fn act(&mut self, what: &str) -> Option<String> {
        match what {
            "the controller is gone" | "the API server is away" => self.is_nobody_looking = true,
            "the controller is back" | "the API server is back" => self.is_nobody_looking = false,
            "the controller is killed, and another leads" => self.sim.restart_controller(),
            "another controller reads the record" => self.other = self.sim.record.clone(),
            "the other controller looks" => return Some(self.other_looks()),
            "Services are not changed, whatever is written" => self.is_service_kept = true,
            "Services are changed again" => self.is_service_kept = false,
            "nobody does anything" => {}
            "the spec changes what Pods are made of" => {
                for node in self.sim.nodes.values_mut() {
                    node.is_outdated = true;
                }
            }
            _ => {
                let beside = what.strip_prefix("the controller runs on the node of ");
                let Some(beside) = beside else {
                    return self.act_on_spec(what).or_else(|| self.act_on_members(what));
                };
                self.sim.beside = Some(beside.to_owned());
            }
        }
        Some(String::new())
    }

    fn act_on_spec(&mut self, what: &str) -> Option<String> {
        if let Some(count) = what.strip_suffix(" members are asked for") {
            self.sim.spec = sim::spec(count.parse().ok()?);
        } else if what == "no switchover is asked for any more" {
            self.sim.spec.switchover = None;
        } else if what == "a failover is asked for by force" {
            self.sim.spec.switchover = Some(Switchover {
                is_forced: true,
                ..Switchover::default()
            });
        } else if let Some(rest) = what.strip_prefix("a loss is accepted in epoch ") {
            let (epoch, target) = rest.split_once(", to make ")?;
            let target = target.strip_suffix(" primary")?;
            self.sim.forgive(target);
            self.sim.spec.switchover = Some(Switchover {
                target: Some(target.to_owned()),
                is_forced: true,
                accepts_loss_in: Some(epoch.parse().ok()?),
                ..Switchover::default()
            });
        } else {
            let target = what
                .strip_prefix("a switchover to ")?
                .strip_suffix(" is asked for")?;
            self.sim.spec.switchover = Some(Switchover {
                target: Some(target.to_owned()),
                ..Switchover::default()
            });
        }
        Some(String::new())
    }

    /// `orders-0 and orders-1 are ...`, also as `mysqld of ...`, `the volume of ...`, `the Pod of ...`.
    fn act_on_members(&mut self, what: &str) -> Option<String> {
        let prefixes = ["mysqld of ", "the volume of ", "the Pod of "];
        let what = prefixes
            .iter()
            .find_map(|prefix| what.strip_prefix(prefix))
            .unwrap_or(what);
        let mut names = Vec::new();
        let mut rest = what;
        loop {
            let (name, after) = rest.split_once(' ')?;
            match name {
                "everybody" => names.extend(self.sim.names()),
                _ => names.push(name.to_owned()),
            }
            rest = after;
            match rest.strip_prefix("and ") {
                Some(next) => rest = next,
                None => break,
            }
        }
        for name in names {
            self.sim.nodes.get(&name)?;
            self.befalls(&name, rest)?;
        }
        Some(String::new())
    }

    fn befalls(&mut self, name: &str, what: &str) -> Option<()> {
        match what {
            "ends" => self.sim.crash(name, RESTART),
            "is lost" => self.sim.lose_volume(name),
            "is cut from everything" => {
                self.sim.nodes.get_mut(name)?.is_cut = true;
                self.silence(name);
            }
            "is cut from the other members" => self.silence(name),
            "has its network back" => self.reconnect(name),
            "loses power" | "lose power" => {
                self.sim.crash(name, 0);
                self.sim.nodes.get_mut(name)?.is_off = true;
                self.silence(name);
            }
            "has power again" | "have power again" => {
                self.sim.crash(name, RESTART);
                self.reconnect(name);
            }
            "is suspended, as a whole machine" => {
                self.sim.nodes.get_mut(name)?.is_off = true;
                self.silence(name);
            }
            "wakes up" => self.reconnect(name),
            "writes what nobody else gets" => {
                self.written += 1;
                let server = &mut self.sim.nodes.get_mut(name)?.server;
                let written = sim::gtid(server.incarnation?, self.written);
                server.executed.insert(written);
            }
            "gets from elsewhere what nobody else gets" => {
                self.written += 1;
                let elsewhere = sim::gtid(ELSEWHERE, self.written);
                self.sim.nodes.get_mut(name)?.server.executed.insert(elsewhere);
            }
            "is made anew" => {
                self.sim.nodes.get_mut(name)?.is_ending = false;
                self.sim.crash(name, RESTART);
            }
            "is copied as a snapshot" => {
                let node = self.sim.nodes.get(name)?;
                let snapshot = (node.server.clone(), node.order.clone());
                self.snapshots.insert(name.to_owned(), snapshot);
            }
            "is set back to the snapshot" => {
                let (server, order) = self.snapshots.get(name)?.clone();
                let node = self.sim.nodes.get_mut(name)?;
                (node.server, node.order) = (server, order);
                self.sim.crash(name, RESTART);
            }
            _ => {
                return is_from_now_on(self.sim.nodes.get_mut(name)?, what)
                    .or_else(|| self.with_words(name, what));
            }
        }
        Some(())
    }

    fn with_words(&mut self, name: &str, what: &str) -> Option<()> {
        if let Some(time) = what.strip_prefix("ends for ") {
            self.sim.crash(name, (seconds(time)? * 2.0) as u64);
        } else if let Some(time) = what.strip_prefix("lags by ") {
            self.sim.nodes.get_mut(name)?.told.lag_ms = (seconds(time)? * 1_000.0) as u64;
        } else if let Some(count) = what.strip_suffix(" transactions left to apply") {
            let count = count.strip_prefix("has ")?.parse().ok()?;
            self.sim.nodes.get_mut(name)?.told.unapplied = count;
        } else if let Some(other) = what.strip_prefix("does not hear ") {
            self.sim.nodes.get(other)?;
            self.sim.nodes.get_mut(name)?.deaf_to.insert(other.to_owned());
        } else if let Some(version) = what.strip_prefix("runs MySQL ") {
            self.sim.nodes.get_mut(name)?.told.version = Some(version.to_owned());
        } else if let Some(why) = what.strip_prefix("cannot receive: ") {
            self.sim.nodes.get_mut(name)?.told.failure = Some(why.to_owned());
        } else if let Some(words) = what.strip_prefix("says: ") {
            self.sim.nodes.get_mut(name)?.told.trouble = Some(Trouble {
                kind: TroubleKind::AwaitingAcknowledgements,
                what: words.to_owned(),
            });
        } else {
            let why = what.strip_prefix("does not start: ")?;
            self.sim.crash(name, u64::MAX);
            self.sim.nodes.get_mut(name)?.told.trouble = Some(Trouble {
                kind: TroubleKind::DoesNotStart,
                what: why.to_owned(),
            });
        }
        Some(())
    }

    /// Nobody hears it, and it hears nobody.
    fn silence(&mut self, name: &str) {
        let names = self.sim.names();
        for (other, node) in self.sim.nodes.iter_mut().filter(|(other, _)| *other != name) {
            node.deaf_to.insert(name.to_owned());
            debug_assert!(names.contains(other));
        }
        if let Some(node) = self.sim.nodes.get_mut(name) {
            node.deaf_to = names.into_iter().filter(|other| other != name).collect();
        }
    }

    fn reconnect(&mut self, name: &str) {
        for node in self.sim.nodes.values_mut() {
            node.deaf_to.remove(name);
        }
        if let Some(node) = self.sim.nodes.get_mut(name) {
            node.deaf_to.clear();
            (node.is_cut, node.is_off) = (false, false);
        }
    }
}

/// What lasts until the script says otherwise.
fn is_from_now_on(node: &mut Node, what: &str) -> Option<()> {
    match what {
        "is cut from the controller" => node.is_cut = true,
        "is seen by the controller again" => node.is_cut = false,
        "hears everybody again" => node.deaf_to.clear(),
        "hangs" => node.hung_ms = Some(0),
        "answers again" => node.hung_ms = None,
        "takes no writes" => node.stalled_ms = Some(0),
        "takes writes again" => node.stalled_ms = None,
        "is full" => node.is_full = true,
        "has room again" => node.is_full = false,
        "is being deleted" => node.is_ending = true,
        "can receive again" => node.told.failure = None,
        "says nothing more" | "says nothing" => node.told.trouble = None,
        "is done" => {
            node.is_stuck = false;
            node.told.unapplied = 0;
        }
        _ if what.starts_with("is busy ") => node.is_stuck = true,
        _ => return None,
    }
    Some(())
}

/// `2 s`, `0.5 s`.
fn seconds(text: &str) -> Option<f64> {
    text.strip_suffix(" s")?.parse().ok()
}
