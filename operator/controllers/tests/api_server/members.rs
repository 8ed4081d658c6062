//! Pretended members: real streams of agents, and servers that are numbers in memory.
//! Must not know Kubernetes, nor what the controller is about to do.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_api::server::{Clock, Order, Refused, Sampled, Shared, serve};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use topology::assignment::{Assignment, Place, Role};
use topology::gtid::{Gtid, GtidSet, Source, Uuid};
use topology::report::{Follows, Process, Proof, Report, ServerSeen};

const TICK: Duration = Duration::from_millis(10);
const AGENT_PORT: u16 = 9306;

/// What lies on a volume, and what mysqld has made of it.
#[derive(Clone, Default)]
struct Server {
    incarnation: Option<Uuid>,
    executed: GtidSet,
    received: GtidSet,
    is_open: bool,
    wait_for: Option<u16>,
    follows: Option<Place>,
    begun: Option<(Proof, Gtid)>,
    proved: Option<Proof>,
    is_founded: bool,
    order: Option<Assignment>,
    is_down: bool,
    has_pod: bool,
}

#[derive(Default)]
struct Inner {
    servers: BTreeMap<String, Server>,
    reports: BTreeMap<String, (Arc<Clock>, watch::Sender<Arc<Sampled>>)>,
    numbers: u64,
}

/// All of them. Clones see the same.
#[derive(Clone, Default)]
pub(crate) struct Members(Arc<Mutex<Inner>>);

impl Members {
    /// Time passes for all.
    pub(crate) fn live(&self) -> JoinHandle<()> {
        let members = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(TICK).await;
                members.0.lock().unwrap().tick();
            }
        })
    }

    /// Its agent, with certificates from this folder, until it is aborted.
    pub(crate) async fn run(&self, name: &str, ip: IpAddr, folder: &Path) -> JoinHandle<()> {
        let listener = TcpListener::bind((ip, AGENT_PORT)).await.unwrap();
        let clock = Arc::new(Clock::default());
        let (orders, mut received) = mpsc::channel::<Order>(4);
        let reports = {
            let mut inner = self.0.lock().unwrap();
            inner.servers.entry(name.to_owned()).or_default().has_pod = true;
            let first = Sampled {
                report: report(name, &inner.servers[name], false),
                started: clock.tick(),
            };
            let (sender, reports) = watch::channel(Arc::new(first));
            inner.reports.insert(name.to_owned(), (clock.clone(), sender));
            reports
        };
        let shared = Shared {
            clock,
            reports,
            orders,
        };
        let (members, name, folder) = (self.clone(), name.to_owned(), folder.to_owned());
        tokio::spawn(async move {
            tokio::select! {
                _ = serve(listener, &folder, "0.1.0", shared) => {}
                () = async {
                    while let Some(order) = received.recv().await {
                        let _ = order.answer.send(members.obey(&name, *order.assignment));
                    }
                } => {}
            }
        })
    }

    fn obey(&self, name: &str, assignment: Assignment) -> Result<topology::term::Term, Refused> {
        let mut inner = self.0.lock().unwrap();
        let server = inner.servers.get_mut(name).unwrap();
        let promised = server.order.as_ref().map(Assignment::term).unwrap_or_default();
        if assignment.term() < promised {
            let why = "promised a later term".to_owned();
            return Err(Refused { promised, why });
        }
        let term = assignment.term();
        server.order = Some(assignment);
        Ok(term)
    }

    pub(crate) fn stop(&self, name: &str) {
        let mut inner = self.0.lock().unwrap();
        if let Some(server) = inner.servers.get_mut(name) {
            server.has_pod = false;
            halt(server);
        }
        inner.reports.remove(name);
    }

    /// Its mysqld ends, or comes back. The agent says so at once.
    pub(crate) fn set_down(&self, name: &str, is_down: bool) {
        let mut inner = self.0.lock().unwrap();
        let server = inner.servers.get_mut(name).unwrap();
        server.is_down = is_down;
        halt(server);
        inner.tell();
    }

    pub(crate) fn is_open(&self, name: &str) -> bool {
        self.0.lock().unwrap().servers[name].is_open
    }
}

impl Inner {
    fn uuid(&mut self) -> Uuid {
        self.numbers += 1;
        let mut bytes = [7; 16];
        bytes[8..].copy_from_slice(&self.numbers.to_be_bytes());
        Uuid::from_bytes(bytes)
    }

    fn tick(&mut self) {
        let names: Vec<String> = self.servers.keys().cloned().collect();
        for name in &names {
            if self.servers[name].has_pod && !self.servers[name].is_down {
                self.step(name);
            }
        }
        self.replicate(&names);
        self.tell();
    }

    fn tell(&self) {
        for (name, (clock, sender)) in &self.reports {
            let server = &self.servers[name];
            let source = server.follows.as_ref().map(|source| &source.member);
            let is_receiving = source.is_some_and(|source| {
                let source = &self.servers[source];
                source.has_pod && !source.is_down
            });
            let started = clock.tick();
            let report = report(name, server, is_receiving);
            sender.send_replace(Arc::new(Sampled { report, started }));
        }
    }

    /// Towards its assignment.
    fn step(&mut self, name: &str) {
        let fresh = self.uuid();
        let server = self.servers.get_mut(name).unwrap();
        let Some(order) = server.order.clone() else { return };
        let own = *server.incarnation.get_or_insert(fresh);
        match &order.role {
            Role::Hold | Role::Clone { .. } => halt(server),
            Role::Found => {
                halt(server);
                server.executed.insert(gtid(own, 1));
                server.is_founded = true;
            }
            Role::Retire => server.is_open = false,
            Role::Replica { source } => {
                server.is_open = false;
                server.wait_for = None;
                server.follows = Some(source.clone());
            }
            Role::Primary { wait_for } => {
                server.follows = None;
                server.executed = server.executed.union(&server.received);
                server.wait_for = Some(*wait_for);
                let record = order.record.as_ref().unwrap();
                let proof = Proof {
                    term: record.term,
                    wait_for: *wait_for,
                };
                let begun = server.begun.as_ref().map(|(begun, _)| *begun);
                if server.proved != Some(proof) && begun != Some(proof) {
                    let epoch = gtid(record.identity, record.term.epoch);
                    let gtid = match server.executed.contains(&epoch) {
                        true => gtid(own, 1_000 + self.numbers),
                        false => epoch,
                    };
                    server.executed.insert(gtid.clone());
                    server.begun = Some((proof, gtid));
                }
            }
        }
    }

    fn replicate(&mut self, names: &[String]) {
        for name in names {
            let Some(source) = self.servers[name].follows.clone() else {
                continue;
            };
            let source = &self.servers[&source.member];
            if !source.has_pod || source.is_down || self.servers[name].is_down {
                continue;
            }
            let all = source.executed.clone();
            let server = self.servers.get_mut(name).unwrap();
            server.received = server.received.union(&all);
            server.executed = server.executed.union(&all);
        }
        for name in names {
            let Some((proof, gtid)) = self.servers[name].begun.clone() else {
                continue;
            };
            let have = names.iter().filter(|other| {
                let other = &self.servers[*other];
                let follows = other
                    .follows
                    .as_ref()
                    .is_some_and(|source| source.member == *name);
                follows && !other.is_down && other.received.contains(&gtid)
            });
            if have.count() >= usize::from(proof.wait_for) {
                let server = self.servers.get_mut(name).unwrap();
                server.proved = Some(proof);
                server.begun = None;
                server.is_open = true;
            }
        }
    }
}

fn halt(server: &mut Server) {
    server.is_open = false;
    server.wait_for = None;
    server.follows = None;
    server.begun = None;
}

fn gtid(uuid: Uuid, number: u64) -> Gtid {
    Gtid::new(Source { uuid, tag: None }, number).unwrap()
}

fn report(name: &str, server: &Server, is_receiving: bool) -> Report {
    let incarnation = server.incarnation.filter(|_| !server.is_down);
    let seen = incarnation.map(|incarnation| ServerSeen {
        incarnation,
        version: "9.7.4".into(),
        executed: server.executed.clone(),
        purged: GtidSet::new(),
        received: server.received.clone(),
        is_open: server.is_open,
        has_waiters: false,
        acknowledging: 0,
        waits_for: server.wait_for,
        follows: server.follows.as_ref().map(|source| Follows {
            host: source.host.clone(),
            port: source.port,
            is_receiving,
            is_applying: true,
            acknowledges: true,
            is_unreached: false,
            silence_ms: 0,
            failure: None,
        }),
        lag_ms: Some(0),
        beat: None,
    });
    let is_settled = match server.order.as_ref().map(|order| &order.role) {
        Some(Role::Hold) => server.follows.is_none(),
        Some(Role::Primary { .. }) => server.is_open,
        Some(Role::Retire) => !server.is_open,
        _ => true,
    };
    Report {
        member: name.to_owned(),
        heard: 0,
        agent: "0.1.0".into(),
        assignment: server.order.clone(),
        is_settled,
        proved: server.proved,
        is_founded: server.is_founded,
        process: match server.is_down {
            true => Process::Ended { restarts: 1 },
            false if server.order.is_none() => Process::Unassigned,
            false => Process::Running,
        },
        server: seen,
        server_age_ms: 0,
        disk: None,
        write_age_ms: 0,
        drift: BTreeMap::new(),
        awaiting_restart: BTreeSet::new(),
        removed: None,
        troubles: Vec::new(),
    }
}
