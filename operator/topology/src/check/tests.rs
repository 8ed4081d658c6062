//! A cluster in which all is well and plans for it that are right: each test breaks one thing, and one rule says so.
//! Must not make a plan by `decide`: the rules are to be tried with what that never does.

mod addresses;
mod birth;
mod by_hand;
mod choice;
mod claim;
mod cut_off;
mod handover;
mod history;
mod orders;
mod record;
mod services;
mod voters;

use std::collections::BTreeSet;

use super::check;
use crate::assignment::{Assignment, Role, Server};
use crate::decision::Plan;
use crate::gtid::{GtidSet, Uuid};
use crate::observed::{Endpoint, Exposed, Member, Observed, Spec};
use crate::record::{Record, Voter};
use crate::report::{Follows, Process, Report, ServerSeen, Trouble, TroubleKind};
use crate::term::Term;
use crate::testing::{IDENTITY, empty, following, name, place, spec, uuid};

/// With this the last epoch began: `m1` numbered what orders-1 wrote.
const CUT: &str = "epoch:1-2,m1:1-10,m2:1-10";
/// Everybody has this.
const ALL: &str = "epoch:1-3,m0:1-10,m1:1-10,m2:1-10";

/// `m1` is what orders-1 numbers.
fn set(text: &str) -> GtidSet {
    let text = text.replace("epoch", IDENTITY);
    let all = (0..10).fold(text, |text, n| {
        text.replace(&format!("m{n}:"), &format!("{}:", incarnation(n)))
    });
    all.parse().unwrap()
}

/// Whose data these are.
fn incarnation(n: u8) -> Uuid {
    uuid(n + 1)
}

fn voter(n: u8) -> Voter {
    Voter {
        incarnation: Some(incarnation(n)),
        leaving: None,
    }
}

fn voter_of(record: &mut Record, n: u8) -> &mut Voter {
    record.voters.get_mut(&name(n)).unwrap()
}

fn enlist(record: &mut Record, n: u8, voter: Voter) {
    record.voters.insert(name(n), voter);
}

fn strike_out(record: &mut Record, n: u8) {
    record.voters.remove(&name(n));
}

fn add(names: &mut BTreeSet<String>, n: u8) {
    names.insert(name(n));
}

fn endpoint(n: u8) -> Endpoint {
    Endpoint {
        member: name(n),
        ip: format!("10.0.0.{n}"),
    }
}

fn follows(n: u8) -> Role {
    Role::Replica { source: place(n) }
}

fn order(n: u8, role: Role, record: Option<&Record>) -> Assignment {
    Assignment {
        member: name(n),
        record: record.cloned(),
        role,
        server: Server::default(),
    }
}

/// Epoch 3 of orders-0.
fn record() -> Record {
    let identity = IDENTITY.parse().unwrap();
    Record {
        voters: (0..3).map(|n| (name(n), voter(n))).collect(),
        acknowledged_by: 1,
        wait_for: 1,
        cut: Some(set(CUT)),
        ..Record::of(identity, Term::new(3, 20), name(0))
    }
}

/// It serves, as what it is in that epoch.
fn member(n: u8) -> Member {
    let mut member = empty(n);
    member.goal = Some(set(ALL));
    let report = member.report.as_mut().unwrap();
    let role = match n {
        0 => Role::Primary { wait_for: 1 },
        _ => follows(0),
    };
    report.assignment = Some(order(n, role, Some(&record())));
    report.is_founded = true;
    let server = report.server.as_mut().unwrap();
    server.executed = set(ALL);
    match n {
        0 => (server.is_open, server.acknowledging, server.waits_for) = (true, 2, Some(1)),
        _ => {
            server.received = set("m0:1-10");
            server.follows = Some(following());
        }
    }
    member
}

/// All that `check` is given.
struct Case {
    spec: Spec,
    seen: Observed,
    before: Option<Record>,
    plan: Plan,
}

/// Three members that serve, and nothing to do.
fn healthy() -> Case {
    let seen = Observed {
        members: (0..3).map(|n| (name(n), member(n))).collect(),
        ..Observed::default()
    };
    Case {
        spec: spec(),
        seen,
        before: Some(record()),
        plan: Plan::default(),
    }
}

/// The record is written again, as it was.
fn revised() -> Case {
    let mut case = healthy();
    case.plan.record = Some(record().revised());
    case
}

impl Case {
    /// What is wrong with the plan.
    fn said(&self) -> String {
        let Err(found) = check(&self.spec, &self.seen, self.before.as_ref(), &self.plan) else {
            return String::new();
        };
        assert!(!found.is_empty(), "it is wrong, and nothing is said");
        let lines: Vec<_> = found.iter().map(ToString::to_string).collect();
        lines.join("; ")
    }

    fn before(&mut self) -> &mut Record {
        self.before.as_mut().unwrap()
    }

    fn next(&mut self) -> &mut Record {
        self.plan.record.as_mut().unwrap()
    }

    /// Wherever the plan has the record: the one that is written, the next, and those in orders.
    fn everywhere(&mut self, change: fn(&mut Record)) {
        let orders = self.plan.assign.values_mut();
        let told = orders.filter_map(|order| order.record.as_mut());
        let records = self.before.iter_mut().chain(&mut self.plan.record).chain(told);
        records.for_each(change);
    }

    fn voter(&mut self, n: u8) -> &mut Voter {
        voter_of(self.next(), n)
    }

    fn old_voter(&mut self, n: u8) -> &mut Voter {
        voter_of(self.before(), n)
    }

    fn member(&mut self, n: u8) -> &mut Member {
        self.seen.members.get_mut(&name(n)).unwrap()
    }

    fn report(&mut self, n: u8) -> &mut Report {
        self.member(n).report.as_mut().unwrap()
    }

    fn server(&mut self, n: u8) -> &mut ServerSeen {
        self.report(n).server.as_mut().unwrap()
    }

    fn told(&mut self, n: u8) -> &mut Assignment {
        self.report(n).assignment.as_mut().unwrap()
    }

    fn told_record(&mut self, n: u8) -> &mut Record {
        self.told(n).record.as_mut().unwrap()
    }

    fn follow(&mut self, n: u8) -> &mut Follows {
        self.server(n).follows.as_mut().unwrap()
    }

    fn give(&mut self, n: u8, role: Role) {
        let order = order(n, role, self.before.as_ref());
        self.plan.assign.insert(name(n), order);
    }

    fn lose(&mut self, n: u8) {
        self.member(n).is_connected = false;
    }

    fn replace_data(&mut self, n: u8) {
        self.server(n).incarnation = incarnation(9);
    }

    /// Its volume was set back.
    fn forget(&mut self, n: u8) {
        self.member(n).forgot = Some(set("m0:9-10"));
    }

    fn has(&mut self, n: u8, executed: &str, received: &str) {
        self.server(n).executed = set(executed);
        self.server(n).received = set(received);
    }

    fn trouble(&mut self, n: u8, kind: TroubleKind) {
        let what = "it is so".into();
        self.report(n).troubles = vec![Trouble { kind, what }];
    }

    /// It can be seen, and takes no writes.
    fn see_closed(&mut self, n: u8) {
        self.member(n).is_connected = true;
        self.server(n).is_open = false;
    }

    /// Epoch 4 is to be claimed.
    fn claim(&mut self) {
        let mut next = record().next_epoch();
        next.is_choosing = true;
        next.failovers = 1;
        self.plan.record = Some(next);
    }

    /// It was told to hold still, and does.
    fn hold(&mut self, n: u8) {
        let order = order(n, Role::Hold, self.before.as_ref());
        self.report(n).assignment = Some(order);
        self.server(n).follows = None;
        self.see_closed(n);
    }
}

/// orders-0 is lost, epoch 4 is claimed, the others hold still, and orders-1 is chosen.
fn chosen() -> Case {
    let mut case = healthy();
    let mut claimed = record().next_epoch();
    claimed.is_choosing = true;
    let mut next = claimed.revised();
    next.is_choosing = false;
    next.primary = name(1);
    next.cut = Some(set(ALL));
    case.before = Some(claimed);
    case.plan.record = Some(next);
    case.lose(0);
    case.hold(1);
    case.hold(2);
    case
}

type Change = fn(&mut Case);

/// The plan is right, and each change alone breaks what is said of it, and no other rule.
#[track_caller]
fn each_breaks(made: fn() -> Case, changes: &[(Change, &str)]) {
    assert_eq!(made().said(), "", "the plan as it was");
    for (at, (change, rule)) in changes.iter().enumerate() {
        let mut case = made();
        change(&mut case);
        assert_eq!(case.said(), *rule, "with change {at}");
    }
}

/// The plan is right, and still is with each of the changes.
#[track_caller]
fn each_passes(made: fn() -> Case, changes: &[Change]) {
    assert_eq!(made().said(), "", "the plan as it was");
    for (at, change) in changes.iter().enumerate() {
        let mut case = made();
        change(&mut case);
        assert_eq!(case.said(), "", "with change {at}");
    }
}

#[test]
fn nothing_to_do_is_never_wrong() {
    each_passes(
        healthy,
        &[
            |case| case.before = None,
            |case| case.spec.is_suspended = true,
            |case| case.seen.members.clear(),
        ],
    );
}

#[test]
fn a_suspended_cluster_is_left_alone() {
    each_breaks(
        revised,
        &[(
            |case| case.spec.is_suspended = true,
            "a suspended cluster is acted upon",
        )],
    );
}

#[test]
fn nothing_is_done_before_the_record_of_it_is_written() {
    const RULE: &str = "something is done before the record of it is written";
    each_breaks(
        revised,
        &[
            (|case| case.give(0, Role::Hold), RULE),
            (|case| case.plan.expose = Some(Exposed::default()), RULE),
            (|case| add(&mut case.plan.remove, 7), RULE),
            (|case| case.plan.replace = Some(name(1)), RULE),
        ],
    );
    each_passes(revised, &[|case| add(&mut case.plan.exist, 1)]);
}
