//! A cluster of three as tests want it: empty, or well, until something is changed.
//! Must not decide: what is seen and remembered is put together, nothing else.

use std::collections::{BTreeMap, BTreeSet};

use crate::assignment::{Assignment, Place, Role, Server};
use crate::decide::decide;
use crate::decision::{Decision, Reason, Refusal};
use crate::gtid::Uuid;
use crate::observed::{Endpoint, Exposed, Member, Observed, Pod, Spec, Timestamp, Volume};
use crate::record::{Record, Voter};
use crate::report::{Follows, Process, Report, ServerSeen};
use crate::term::Term;

pub(crate) const IDENTITY: &str = "00000000-0000-0000-0000-00000000000c";
/// What everybody has: three epochs, and what the primary of the last one wrote.
pub(crate) const HISTORY: &str =
    "00000000-0000-0000-0000-00000000000c:1-3,00000000-0000-0000-0000-000000000001:1-9";

pub(crate) fn uuid(number: u8) -> Uuid {
    let text = format!("00000000-0000-0000-0000-0000000000{number:02x}");
    text.parse().unwrap()
}

pub(crate) fn name(number: u8) -> String {
    format!("orders-{number}")
}

pub(crate) fn names(numbers: &[u8]) -> BTreeSet<String> {
    numbers.iter().copied().map(name).collect()
}

/// Three members, and one replica must have every write.
pub(crate) fn spec() -> Spec {
    Spec {
        name: "orders".into(),
        instances: 3,
        sync_replicas: 1,
        is_suspended: false,
        is_failover_manual: false,
        memory_bytes: 1 << 30,
        is_tls_required: true,
        parameters: BTreeMap::new(),
        lag_limit_ms: 30_000,
        reads_fall_back: true,
        switchover: None,
    }
}

/// It runs, was told nothing yet, and its volume was made for this cluster.
pub(crate) fn empty(number: u8) -> Member {
    let server = ServerSeen {
        incarnation: uuid(number + 1),
        version: "9.7.4".into(),
        executed: Default::default(),
        purged: Default::default(),
        received: Default::default(),
        is_open: false,
        has_waiters: false,
        acknowledging: 0,
        waits_for: None,
        follows: None,
        lag_ms: None,
        beat: None,
    };
    let report = Report {
        member: name(number),
        heard: 0,
        agent: "0".into(),
        assignment: None,
        is_settled: true,
        proved: None,
        is_founded: false,
        process: Process::Running,
        server: Some(server),
        server_age_ms: 0,
        disk: None,
        write_age_ms: 0,
        drift: BTreeMap::new(),
        awaiting_restart: BTreeSet::new(),
        removed: None,
        troubles: Vec::new(),
    };
    Member {
        pod: Some(Pod {
            ip: Some(host(number)),
            node: Some(format!("node{number}")),
            replication_port: None,
            is_current: true,
            ..Pod::default()
        }),
        volume: Some(Volume {
            is_of_this_cluster: true,
            ..Volume::default()
        }),
        report: Some(report),
        is_connected: true,
        ..Member::default()
    }
}

fn host(number: u8) -> String {
    format!("10.0.0.{number}")
}

pub(crate) fn place(number: u8) -> Place {
    Place {
        member: name(number),
        host: host(number),
        port: 3306,
    }
}

/// One look at a cluster.
pub(crate) struct Look {
    pub(crate) spec: Spec,
    pub(crate) seen: Observed,
    pub(crate) record: Option<Record>,
    pub(crate) now: Timestamp,
}

impl Look {
    /// Nothing was ever written there.
    pub(crate) fn empty(numbers: &[u8]) -> Self {
        let members = numbers.iter().map(|number| (name(*number), empty(*number)));
        Self {
            spec: spec(),
            seen: Observed {
                new_identity: IDENTITY.parse().ok(),
                members: members.collect(),
                ..Observed::default()
            },
            record: None,
            now: 1_000_000,
        }
    }

    /// orders-0 is primary of epoch 3, the others follow, and all is as it should be.
    pub(crate) fn well() -> Self {
        let mut look = Self::empty(&[0, 1, 2]);
        let voter = |number: u8| Voter {
            incarnation: Some(uuid(number + 1)),
            leaving: None,
        };
        look.record = Some(Record {
            voters: [0, 1, 2].map(|number| (name(number), voter(number))).into(),
            acknowledged_by: 1,
            wait_for: 1,
            cut: Some(format!("{IDENTITY}:1-2").parse().unwrap()),
            ..Record::of(IDENTITY.parse().unwrap(), Term::new(3, 9), name(0))
        });
        let now = look.now;
        for number in 0..3 {
            look.member(number).reported_at = now;
            look.server(number).executed = HISTORY.parse().unwrap();
            let role = match number {
                0 => Role::Primary { wait_for: 1 },
                _ => Role::Replica { source: place(0) },
            };
            look.told(number, role);
            if number > 0 {
                look.server(number).follows = Some(following());
                look.server(number).lag_ms = Some(0);
                look.member(number).goal = Some(HISTORY.parse().unwrap());
            }
        }
        let primary = look.server(0);
        (primary.is_open, primary.acknowledging, primary.waits_for) = (true, 2, Some(1));
        let endpoint = |number| Endpoint {
            member: name(number),
            ip: host(number),
        };
        look.seen.exposed = Exposed {
            primary: Some(endpoint(0)),
            replicas: [1, 2].map(endpoint).into(),
        };
        look
    }

    pub(crate) fn member(&mut self, number: u8) -> &mut Member {
        self.seen.members.get_mut(&name(number)).unwrap()
    }

    pub(crate) fn report(&mut self, number: u8) -> &mut Report {
        self.member(number).report.as_mut().unwrap()
    }

    pub(crate) fn record(&mut self) -> &mut Record {
        self.record.as_mut().unwrap()
    }

    pub(crate) fn follows(&mut self, number: u8) -> &mut Follows {
        self.server(number).follows.as_mut().unwrap()
    }

    pub(crate) fn server(&mut self, number: u8) -> &mut ServerSeen {
        self.report(number).server.as_mut().unwrap()
    }

    /// It has this order, of today's record and spec.
    pub(crate) fn told(&mut self, number: u8, role: Role) {
        let order = Assignment {
            member: name(number),
            record: self.record.clone(),
            role,
            server: Server {
                server_id: u32::from(number) + 1,
                memory_bytes: self.spec.memory_bytes,
                is_tls_required: self.spec.is_tls_required,
                parameters: self.spec.parameters.clone(),
                may_restart: false,
            },
        };
        self.report(number).assignment = Some(order);
    }

    /// Everybody has its order anew.
    pub(crate) fn told_anew(&mut self) {
        for number in 0..3 {
            let role = self.report(number).assignment.clone().unwrap().role;
            self.told(number, role);
        }
    }

    /// What the first of the reasons tells that has it.
    pub(crate) fn because<T>(&self, of: impl FnMut(Reason) -> Option<T>) -> Option<T> {
        self.decide().because.into_iter().find_map(of)
    }

    /// The same of what is refused.
    pub(crate) fn refused<T>(&self, of: impl FnMut(Refusal) -> Option<T>) -> Option<T> {
        self.decide().refused.into_iter().find_map(of)
    }

    pub(crate) fn decide(&self) -> Decision {
        decide(&self.spec, &self.seen, self.record.as_ref(), self.now)
    }
}

/// Of a replica of orders-0.
pub(crate) fn following() -> Follows {
    Follows {
        host: host(0),
        port: 3306,
        is_receiving: true,
        is_applying: true,
        acknowledges: true,
        is_unreached: false,
        silence_ms: 0,
        failure: None,
    }
}
