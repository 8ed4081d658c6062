//! The types of the product behind small numbers: states stay small, decisions are made on the real ones.
//! Must not change what it is given, only name it.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use topology::assignment::{Assignment, Role, Server};
use topology::gtid::{Gtid, GtidSet, Source, Uuid};
use topology::record::Record;
use topology::report::{Follows, Process, Proof, Report, ServerSeen};
use topology::term::Term;

use crate::log::{Log, Tx};

pub(crate) const CLUSTER: &str = "orders";

pub(crate) fn name(member: u8) -> String {
    format!("{CLUSTER}-{member}")
}

pub(crate) fn index(name: &str) -> u8 {
    let digits = name.rsplit('-').next().unwrap_or_default();
    digits.parse().expect("a member's number")
}

pub(crate) fn host(member: u8) -> String {
    format!("10.0.0.{member}")
}

pub(crate) fn incarnation(number: u8) -> Uuid {
    Uuid::from_bytes([number; 16])
}

/// Which number an incarnation has.
pub(crate) fn number_of(incarnation: Uuid) -> u8 {
    incarnation.as_bytes()[0]
}

pub(crate) fn identity() -> Uuid {
    incarnation(Tx::IDENTITY)
}

pub(crate) fn gtids(txs: &[Tx]) -> GtidSet {
    let mut set = GtidSet::new();
    for tx in txs {
        let source = Source {
            uuid: incarnation(tx.writer()),
            tag: None,
        };
        set.insert(Gtid::new(source, u64::from(tx.number())).expect("a number"));
    }
    set
}

/// A record as the rules of the model ask for it.
#[derive(Debug)]
pub(crate) struct KnownRecord {
    pub(crate) record: Record,
    pub(crate) primary: u8,
    pub(crate) primary_incarnation: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Hold,
    Primary { wait_for: u8 },
    Replica { source: u8 },
    Clone { donor: u8, instead_of: u8 },
}

#[derive(Debug)]
pub(crate) struct KnownOrder {
    pub(crate) order: Assignment,
    pub(crate) member: u8,
    pub(crate) record: u16,
    pub(crate) term: Term,
    pub(crate) task: Task,
}

/// A commit of this term was acknowledged by so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Proved {
    pub(crate) epoch: u8,
    pub(crate) revision: u8,
    pub(crate) wait_for: u8,
}

/// What a report says, as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Snap {
    pub(crate) member: u8,
    pub(crate) order: Option<u16>,
    pub(crate) is_settled: bool,
    pub(crate) proved: Option<Proved>,
    /// `None` while mysqld is down.
    pub(crate) server: Option<SnapServer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SnapServer {
    pub(crate) incarnation: u8,
    /// All that is executed or received: what a commit waits with does not show.
    pub(crate) log: Log,
    pub(crate) executed: u8,
    pub(crate) is_open: bool,
    pub(crate) waits_for: Option<u8>,
    pub(crate) follows: Option<u8>,
    pub(crate) is_receiving: bool,
}

/// Values of one kind, numbered in the order of their appearance.
#[derive(Debug)]
struct Names<K, V> {
    numbers: HashMap<K, u16>,
    values: Vec<V>,
}

impl<K: Hash + Eq, V> Names<K, V> {
    fn new() -> Self {
        Self {
            numbers: HashMap::new(),
            values: Vec::new(),
        }
    }

    fn get(&mut self, key: K, make: impl FnOnce() -> V) -> u16 {
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        let number = u16::try_from(self.values.len()).expect("fewer values");
        self.values.push(make());
        self.numbers.insert(key, number);
        number
    }
}

#[derive(Debug)]
pub(crate) struct Pool {
    records: Names<String, KnownRecord>,
    orders: Names<String, KnownOrder>,
}

impl Pool {
    pub(crate) fn new() -> Self {
        Self {
            records: Names::new(),
            orders: Names::new(),
        }
    }

    pub(crate) fn record(&self, number: u16) -> &KnownRecord {
        &self.records.values[usize::from(number)]
    }

    pub(crate) fn order(&self, number: u16) -> &KnownOrder {
        &self.orders.values[usize::from(number)]
    }

    pub(crate) fn name_record(&mut self, record: &Record) -> u16 {
        let key = serde_json::to_string(record).expect("a record as text");
        self.records.get(key, || KnownRecord {
            record: record.clone(),
            primary: index(&record.primary),
            primary_incarnation: record.voters[&record.primary].incarnation.map(number_of),
        })
    }

    pub(crate) fn name_order(&mut self, order: &Assignment) -> u16 {
        let key = serde_json::to_string(order).expect("an order as text");
        let record = self.name_record(order.record.as_ref().expect("the record is never lost here"));
        self.orders.get(key, || KnownOrder {
            order: order.clone(),
            member: index(&order.member),
            record,
            term: order.term(),
            task: task(&order.role),
        })
    }

    pub(crate) fn report(&self, snap: &Snap, silence_ms: u64) -> Report {
        let order = snap.order.map(|order| self.order(order));
        Report {
            member: name(snap.member),
            heard: 1,
            agent: String::new(),
            assignment: order.map(|known| known.order.clone()),
            is_settled: snap.is_settled,
            proved: snap.proved.map(|proved| Proof {
                term: Term {
                    epoch: u64::from(proved.epoch),
                    revision: u64::from(proved.revision),
                },
                wait_for: u16::from(proved.wait_for),
            }),
            is_founded: true,
            process: match (snap.server, snap.order) {
                (Some(_), _) => Process::Running,
                (None, Some(_)) => Process::Ended { restarts: 1 },
                (None, None) => Process::Unassigned,
            },
            server: snap.server.map(|server| seen(&server, silence_ms)),
            server_age_ms: 0,
            disk: None,
            write_age_ms: 0,
            drift: BTreeMap::new(),
            awaiting_restart: Default::default(),
            removed: None,
            troubles: Vec::new(),
        }
    }
}

fn seen(server: &SnapServer, silence_ms: u64) -> ServerSeen {
    let (executed, received) = server.log.all().split_at(usize::from(server.executed));
    ServerSeen {
        incarnation: incarnation(server.incarnation),
        version: String::new(),
        executed: gtids(executed),
        purged: GtidSet::new(),
        received: gtids(received),
        is_open: server.is_open,
        has_waiters: false,
        acknowledging: 0,
        waits_for: server.waits_for.map(u16::from),
        follows: server.follows.map(|source| Follows {
            host: host(source),
            port: 3306,
            is_receiving: server.is_receiving,
            is_applying: true,
            acknowledges: true,
            is_unreached: false,
            silence_ms,
            failure: None,
        }),
        lag_ms: Some(0),
        beat: None,
    }
}

fn task(role: &Role) -> Task {
    match role {
        Role::Hold => Task::Hold,
        Role::Found => unreachable!("the model begins after epoch 0"),
        Role::Retire => unreachable!("nobody asks for a handover in the model"),
        Role::Primary { wait_for } => Task::Primary {
            wait_for: u8::try_from(*wait_for).expect("a small number"),
        },
        Role::Replica { source } => Task::Replica {
            source: index(&source.member),
        },
        Role::Clone { donor, instead_of } => Task::Clone {
            donor: index(&donor.member),
            instead_of: number_of(*instead_of),
        },
    }
}

pub(crate) fn server_of(member: u8) -> Server {
    Server {
        server_id: u32::from(member) + 1,
        ..Server::default()
    }
}
