//! Who is counted, added and removed, and when more or fewer are waited for.
//! Must not need a history: each case is one look.

use crate::assignment::Role;
use crate::decision::ClusterState;
use crate::record::{Leaving, Record, Voter};
use crate::report::{Process, Proof};
use crate::testing::{HISTORY, IDENTITY, Look, empty, following, name, names, place, uuid};

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

/// Two are enough now, and orders-2 is to go.
fn shrinking() -> Look {
    let mut look = Look::well();
    look.spec.instances = 2;
    look
}

/// How far the removal of orders-2 is by the next record.
fn removal(look: &Look) -> Option<Leaving> {
    look.decide().plan.record?.voters.get(&name(2))?.leaving
}

/// Somebody takes part in it no more.
fn remove(look: &mut Look, number: u8, leaving: Leaving) {
    let voter = look.record().voters.get_mut(&name(number)).unwrap();
    voter.leaving = Some(leaving);
}

#[test]
fn who_is_not_wanted_is_asked_to_leave_if_enough_others_acknowledge() {
    assert_eq!(removal(&Look::well()), None);
    let look = shrinking();
    assert_eq!(removal(&look), Some(Leaving::Asked));
    let others = look.decide().plan.record.unwrap().voters;
    assert!(
        others
            .iter()
            .all(|(member, voter)| *member == name(2) || voter.leaving.is_none())
    );
    let changes: [fn(&mut Look); 5] = [
        |look| look.server(1).follows = None,
        |look| look.record().acknowledged_by = 0,
        |look| (look.record().wait_for, look.record().acknowledged_by) = (0, 0),
        |look| remove(look, 2, Leaving::Asked),
        |look| look.record().primary = name(2),
    ];
    for (at, change) in changes.iter().enumerate() {
        let mut look = shrinking();
        change(&mut look);
        assert_eq!(removal(&look), None, "with change {at}");
    }
}

/// orders-2 was asked to follow nobody, and does not.
fn asked() -> Look {
    let mut look = shrinking();
    remove(&mut look, 2, Leaving::Asked);
    look.told_anew();
    look.told(2, Role::Hold);
    look.server(2).follows = None;
    look
}

#[test]
fn who_leaves_is_taken_for_silent_when_it_was_seen_to_be() {
    assert_eq!(removal(&asked()), Some(Leaving::Silent));
    let mut stopped = asked();
    stopped.server(2).follows = Some(following());
    stopped.follows(2).is_receiving = false;
    assert_eq!(removal(&stopped), Some(Leaving::Silent));
    let changes: [fn(&mut Look); 5] = [
        |look| look.server(2).follows = Some(following()),
        |look| look.report(2).is_settled = false,
        |look| look.told(2, Role::Replica { source: place(0) }),
        |look| look.record().term.revision += 1,
        |look| look.member(2).is_connected = false,
    ];
    for (at, change) in changes.iter().enumerate() {
        let mut look = asked();
        change(&mut look);
        assert_eq!(removal(&look), None, "with change {at}");
    }
}

#[test]
fn who_never_ran_is_silent() {
    let mut look = asked();
    look.member(2).is_connected = false;
    look.member(2).pod.as_mut().unwrap().node = None;
    assert_eq!(
        removal(&look),
        None,
        "it had data once: it may run where nobody sees it"
    );
    look.record().voters.get_mut(&name(2)).unwrap().incarnation = None;
    assert_eq!(removal(&look), Some(Leaving::Silent));
    look.member(2).pod.as_mut().unwrap().node = Some("node2".into());
    assert_eq!(removal(&look), None);
}

/// A commit is proved in the term of today's record.
fn prove(look: &mut Look, wait_for: u16) {
    let term = look.record().term;
    look.report(0).proved = Some(Proof { term, wait_for });
}

#[test]
fn who_is_silent_is_struck_out_by_a_commit_proved_without_it() {
    let is_struck_out = |look: &Look| {
        let next = look.decide().plan.record;
        next.is_some_and(|next| next.voters.len() == 2 && !next.voters.contains_key(&name(2)))
    };
    let mut look = asked();
    remove(&mut look, 2, Leaving::Silent);
    assert!(!is_struck_out(&look));
    prove(&mut look, 1);
    assert!(is_struck_out(&look));
    prove(&mut look, 0);
    assert!(!is_struck_out(&look), "nobody had to acknowledge it");
    prove(&mut look, 1);
    look.record().term.revision += 1;
    assert!(!is_struck_out(&look), "of an older term");
    look.record().term.revision -= 1;
    look.server(0).incarnation = uuid(99);
    assert!(!is_struck_out(&look), "by other data");
}

/// How many are waited for and counted on by the next record.
fn counts(look: &Look) -> Option<(u16, u16)> {
    let next = look.decide().plan.record?;
    Some((next.wait_for, next.acknowledged_by))
}

#[test]
fn fewer_are_waited_for_at_once_and_counted_on_with_that() {
    let mut look = Look::well();
    look.spec.sync_replicas = 0;
    assert_eq!(counts(&look), Some((0, 0)));
    let mut raising = Look::well();
    raising.record().wait_for = 2;
    assert_eq!(counts(&raising), Some((1, 1)));
}

#[test]
fn more_are_waited_for_once_they_are_near_and_counted_on_once_that_is_proved() {
    let mut look = Look::well();
    look.spec.sync_replicas = 2;
    assert_eq!(counts(&look), Some((2, 1)));
    look.server(0).executed = format!("{IDENTITY}:1-3,{}:1-1010", uuid(1)).parse().unwrap();
    assert_eq!(counts(&look), None, "commits would wait for what they lack");
    look.server(0).executed = HISTORY.parse().unwrap();
    look.record().acknowledged_by = 0;
    assert_eq!(counts(&look), None, "one step after the other");
    (look.record().wait_for, look.record().acknowledged_by) = (2, 1);
    assert_eq!(counts(&look), None);
    prove(&mut look, 1);
    assert_eq!(counts(&look), None);
    prove(&mut look, 2);
    assert_eq!(counts(&look), Some((2, 2)));
}

/// orders-2 votes and is not counted: it has everything now.
fn joining() -> Look {
    let mut look = Look::well();
    look.record().voters.get_mut(&name(2)).unwrap().incarnation = None;
    look
}

fn joined(look: &Look) -> bool {
    let reasons = look.decide().because;
    let members = names(&[2]);
    reasons.contains(&crate::decision::Reason::Joined { members })
}

#[test]
fn who_has_all_that_the_primary_had_when_it_attached_is_counted() {
    assert!(joined(&joining()));
    let more = |own: u8| format!("{HISTORY},{}:1-12", uuid(own)).parse().unwrap();
    let mut newer = joining();
    newer.server(2).received = format!("{IDENTITY}:4,{}:10-12", uuid(1)).parse().unwrap();
    assert!(
        joined(&newer),
        "the primary has written more since it was looked at"
    );
    let mut other = joining();
    other.server(2).received = more(77);
    assert!(!joined(&other), "the primary did not write that");
    let changes: [fn(&mut Look); 5] = [
        |look| look.member(2).forgot = HISTORY.parse().ok(),
        |look| look.member(2).goal = None,
        |look| look.member(2).goal = Some(format!("{HISTORY},{}:10", uuid(1)).parse().unwrap()),
        |look| look.follows(2).is_receiving = false,
        |look| remove(look, 2, Leaving::Asked),
    ];
    for (at, change) in changes.iter().enumerate() {
        let mut look = joining();
        change(&mut look);
        assert!(!joined(&look), "with change {at}");
    }
}
