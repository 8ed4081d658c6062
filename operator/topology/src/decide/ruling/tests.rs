//! What is said of a cluster as a whole, by one look each.
//! Must not need a history: each case is one look.

use super::*;
use crate::assignment::Role;
use crate::record::{Leaving, Voter};
use crate::testing::{Look, empty, name, names, uuid};

fn state_of(change: fn(&mut Look)) -> ClusterState {
    let mut look = Look::well();
    change(&mut look);
    look.decide().state
}

fn leave(look: &mut Look, number: u8) {
    let voter = look.record().voters.get_mut(&name(number)).unwrap();
    voter.leaving = Some(Leaving::Asked);
}

#[test]
fn members_and_counts_that_are_not_as_asked_are_scaling() {
    assert_eq!(state_of(|_| ()), ClusterState::Healthy);
    let changes: [fn(&mut Look); 6] = [
        |look| look.spec.instances = 4,
        |look| look.spec.instances = 2,
        |look| look.spec.sync_replicas = 2,
        |look| look.record().acknowledged_by = 0,
        |look| look.record().voters.get_mut("orders-2").unwrap().incarnation = None,
        |look| {
            look.spec.instances = 2;
            leave(look, 2);
        },
    ];
    for (at, change) in changes.into_iter().enumerate() {
        assert_eq!(state_of(change), ClusterState::Scaling, "with change {at}");
    }
    // Who is to go and leads hands over first.
    let handing = state_of(|look| {
        (look.record().primary, look.spec.name) = (name(2), "orders".into());
        look.spec.instances = 2;
        look.server(0).is_open = false;
    });
    assert_ne!(handing, ClusterState::Scaling);
}

#[test]
fn who_leaves_acknowledges_nothing_any_more() {
    let state = state_of(|look| {
        look.spec.instances = 2;
        leave(look, 2);
        look.server(1).follows = None;
    });
    assert_eq!(state, ClusterState::AwaitingReplicas);
}

#[test]
fn pods_that_nobody_asks_for_go() {
    let mut look = Look::well();
    look.seen.members.insert(name(7), empty(7));
    assert_eq!(look.decide().plan.remove, names(&[7]));
    look.member(7).pod = None;
    assert_eq!(look.decide().plan.remove, names(&[]));
    let voter = Voter {
        incarnation: Some(uuid(8)),
        leaving: Some(Leaving::Asked),
    };
    look.seen.members.insert(name(7), empty(7));
    look.record().voters.insert(name(7), voter);
    assert_eq!(
        look.decide().plan.remove,
        names(&[]),
        "its acknowledgements may count"
    );
}

#[test]
fn while_the_primary_hands_over_nothing_else_is_changed() {
    let mut look = Look::well();
    look.record().handing_to = Some(name(1));
    look.told_anew();
    look.told(0, Role::Retire);
    look.spec.sync_replicas = 0;
    assert_eq!(look.decide().plan.record, None);
}

#[test]
fn who_is_not_seen_is_looked_at_again() {
    assert_eq!(Look::well().decide().wake, None);
    let mut look = Look::well();
    look.member(2).is_connected = false;
    assert_eq!(look.decide().wake, Some(look.now + 2_000));
}

#[test]
fn other_data_on_the_volume_of_a_primary_are_told_where_nobody_can_take_over() {
    let mut look = Look::well();
    look.server(0).incarnation = uuid(99);
    look.member(1).is_connected = false;
    look.member(2).is_connected = false;
    let decision = look.decide();
    let lost = Refusal::PrimaryDataLost {
        primary: name(0),
        recorded: uuid(1),
        found: uuid(99),
    };
    assert_eq!(
        (decision.state, &decision.refused[0]),
        (ClusterState::Blocked, &lost)
    );
}

#[test]
fn a_person_is_asked_only_where_replicas_were_promised_to_have_everything() {
    let is_left_to_people = |acknowledged_by: u16| {
        let mut look = Look::well();
        (look.record().acknowledged_by, look.record().wait_for) = (acknowledged_by, acknowledged_by);
        look.member(0).is_connected = false;
        look.member(0).reported_at = 0;
        look.member(1).is_connected = false;
        look.follows(2).is_receiving = false;
        let refused = look.decide().refused;
        assert!(
            refused
                .iter()
                .any(|refusal| matches!(refusal, Refusal::QuorumLost { .. }))
        );
        refused
            .iter()
            .any(|refusal| matches!(refusal, Refusal::LeftToPeople { .. }))
    };
    assert!(is_left_to_people(1));
    assert!(!is_left_to_people(0));
}
