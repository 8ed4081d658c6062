//! Who is added, and when more are waited for.
//! Must not need a history: each case is one look.

use crate::assignment::Role;
use crate::decision::ClusterState;
use crate::record::{Record, Voter};
use crate::report::Process;
use crate::testing::{HISTORY, Look, empty, following, name, place, uuid};

/// Five are asked for, and the two new ones run and have no data.
fn growing() -> Look {
    let mut look = Look::well();
    (look.spec.instances, look.spec.sync_replicas) = (5, 2);
    for number in [3, 4] {
        look.seen.members.insert(name(number), empty(number));
    }
    look
}

/// It has a copy of everything.
fn copied(look: &mut Look, number: u8) {
    let server = look.server(number);
    server.incarnation = uuid(number + 100);
    server.executed = HISTORY.parse().unwrap();
}

fn added(look: &Look) -> Vec<String> {
    let record = look.record.as_ref().unwrap();
    let next = look.decide().plan.record;
    let voters = next.map(|next| next.voters).unwrap_or_default();
    let new = voters.into_keys();
    new.filter(|member| !record.voters.contains_key(member)).collect()
}

fn told(look: &Look, number: u8) -> Role {
    look.decide().plan.assign[&name(number)].role.clone()
}

/// They vote, count and follow, and nothing but that has changed.
fn count(look: &mut Look, numbers: &[u8]) {
    for number in numbers {
        copied(look, *number);
        let incarnation = Some(look.server(*number).incarnation);
        let voter = Voter {
            incarnation,
            leaving: None,
        };
        look.record().voters.insert(name(*number), voter);
        look.server(*number).follows = Some(following());
        look.member(*number).goal = Some(HISTORY.parse().unwrap());
    }
}

#[test]
fn who_follows_from_the_beginning_votes_at_once() {
    let mut look = growing();
    assert_eq!(added(&look), [name(3), name(4)]);
    assert_eq!(look.decide().state, ClusterState::Scaling);
    look.server(0).is_open = false;
    assert!(added(&look).is_empty(), "the primary opens first");
}

#[test]
fn who_needs_a_copy_votes_when_it_has_it() {
    let mut look = growing();
    look.server(0).purged = HISTORY.parse().unwrap();
    assert!(added(&look).is_empty());
    let donor = place(1);
    let instead_of = look.server(3).incarnation;
    assert_eq!(told(&look, 3), Role::Clone { donor, instead_of });
    assert_eq!(told(&look, 4), Role::Hold, "one copy at a time");
    copied(&mut look, 3);
    assert_eq!(added(&look), [name(3)]);
    // Its Pod is there, and it does not answer yet.
    look.member(3).is_connected = false;
    assert!(added(&look).is_empty());
    assert_eq!(look.decide().state, ClusterState::Scaling);
}

#[test]
fn who_was_a_replica_before_follows_nobody_until_it_votes_again() {
    let mut look = growing();
    look.server(0).purged = HISTORY.parse().unwrap();
    copied(&mut look, 3);
    look.told(3, Role::Replica { source: place(0) });
    look.report(3).server = None;
    assert_eq!(told(&look, 3), Role::Hold);
}

#[test]
fn those_who_only_get_their_data_are_not_needed_for_a_failover() {
    let mut look = growing();
    look.server(0).purged = HISTORY.parse().unwrap();
    look.report(0).server = None;
    look.report(0).process = Process::Ended { restarts: 1 };
    assert_eq!(look.decide().state, ClusterState::FailingOver);
}

#[test]
fn more_are_waited_for_only_where_as_many_may_be_lost() {
    let raised = |look: &Look| {
        let next: Option<Record> = look.decide().plan.record;
        next.filter(|next| next.wait_for == 2).is_some()
    };
    let mut look = growing();
    look.server(0).purged = HISTORY.parse().unwrap();
    assert!(!raised(&look), "two of two would have to acknowledge");
    count(&mut look, &[3]);
    assert!(!raised(&look));
    count(&mut look, &[4]);
    assert!(raised(&look));
}
