//! Each member as people see it, by one look each.
//! Must not need a history: each case is one look.

use super::*;
use crate::record::Leaving;
use crate::report::{Removal, Removed};
use crate::testing::{Look, empty, name};

#[test]
fn a_lag_is_told_in_steps() {
    let told = [9_999, 10_000, 24_000, 31_000, 59_999, 61_000, 4_000_000].map(at_least);
    assert_eq!(
        told,
        ["a moment", "10 s", "20 s", "30 s", "30 s", "a minute", "an hour"]
    );
}

fn view_of(number: u8, change: fn(&mut Look)) -> MemberView {
    let mut look = Look::well();
    change(&mut look);
    look.decide().members[&name(number)].clone()
}

#[test]
fn roles_are_those_that_count() {
    let role = |number, change| view_of(number, change).role;
    assert_eq!(role(0, |_| ()), MemberRole::Primary);
    assert_eq!(role(2, |_| ()), MemberRole::Replica);
    let gone = |look: &mut Look| look.record().voters.get_mut("orders-2").unwrap().incarnation = None;
    assert_eq!(role(2, gone), MemberRole::None, "it is not counted yet");
    let leaving = |look: &mut Look| {
        look.spec.instances = 2;
        look.record().voters.get_mut("orders-2").unwrap().leaving = Some(Leaving::Asked);
    };
    assert_eq!(role(2, leaving), MemberRole::None);
    assert_eq!(view_of(2, leaving).state, MemberState::Leaving);
}

#[test]
fn before_there_is_a_record_members_are_told_of_as_well() {
    let mut look = Look::empty(&[0, 1]);
    look.member(1).volume.as_mut().unwrap().problem = Some("no storage class".into());
    look.member(1).pod = None;
    // Nobody may found yet.
    look.member(0).report.as_mut().unwrap().server = None;
    let views = look.decide().members;
    let told = |number: u8| {
        views
            .get(&name(number))
            .map(|view| (view.state, view.because.as_deref()))
    };
    assert_eq!(told(1), Some((MemberState::Pending, Some("no storage class"))));
    assert_eq!(told(2), Some((MemberState::Pending, None)));
    assert!(told(0).is_some());
}

#[test]
fn what_was_removed_from_it_is_told() {
    let view = view_of(2, |look| {
        look.report(2).removed = Some(Removed {
            epoch: 2,
            count: 3,
            transactions: "uuid:101-103".into(),
            archive: None,
            left_out: None,
            how: Removal::Cut,
        });
    });
    assert!(view.removed.is_some_and(|what| what.contains("uuid:101-103")));
    assert_eq!(view_of(1, |_| ()).removed, None);
}

#[test]
fn who_was_never_heard_of_has_not_been_reached_yet_if_it_has_an_address() {
    let unheard = |look: &mut Look| {
        *look.member(2) = empty(2);
        look.member(2).report = None;
        look.member(2).is_connected = false;
    };
    let view = view_of(2, unheard);
    assert_eq!(
        view.because.as_deref(),
        Some("its agent has not been reached yet")
    );
    let mut look = Look::well();
    unheard(&mut look);
    look.member(2).pod.as_mut().unwrap().ip = None;
    assert_eq!(look.decide().members[&name(2)].because, None);
}

#[test]
fn a_primary_that_is_not_open_is_being_made_or_starts() {
    let closed = |look: &mut Look| look.server(0).is_open = false;
    assert_eq!(view_of(0, closed).state, MemberState::Starting);
    let founding = |look: &mut Look| {
        look.server(0).is_open = false;
        look.record().term.epoch = 0;
        (look.record().wait_for, look.record().acknowledged_by) = (0, 0);
        look.record().cut = None;
        look.server(1).follows = None;
        look.server(2).follows = None;
    };
    assert_eq!(view_of(0, founding).state, MemberState::Seeding);
}

#[test]
fn who_follows_and_does_not_count_or_counts_and_does_not_follow_is_catching_up() {
    let state = |change| view_of(2, change).state;
    assert_eq!(state(|_| ()), MemberState::Serving);
    assert_eq!(
        state(|look| look.follows(2).is_receiving = false),
        MemberState::CatchingUp
    );
    let lagging = |look: &mut Look| look.server(2).lag_ms = Some(3_600_000);
    assert_eq!(state(lagging), MemberState::Lagging);
    let both = |look: &mut Look| {
        look.server(2).lag_ms = Some(3_600_000);
        look.follows(2).is_receiving = false;
    };
    assert_eq!(state(both), MemberState::CatchingUp);
    let uncounted = |look: &mut Look| {
        look.server(2).lag_ms = Some(3_600_000);
        look.record().voters.get_mut("orders-2").unwrap().incarnation = None;
    };
    assert_eq!(state(uncounted), MemberState::CatchingUp);
}

#[test]
fn a_volume_that_was_set_back_is_told() {
    let because = |number: u8, forgot: &str| {
        let mut look = Look::well();
        look.member(number).forgot = forgot.parse().ok();
        look.spec.is_failover_manual = true;
        let view = look.decide().members.remove(&name(number)).unwrap();
        (view.state, view.because.unwrap_or_default())
    };
    let told = |what: &str| format!("its volume was set back: it lacks {what} that it had");
    let one = "00000000-0000-0000-0000-000000000001:9";
    assert_eq!(because(0, one), (MemberState::Failed, told("1 transaction")));
    let two = "00000000-0000-0000-0000-000000000001:8-9";
    assert_eq!(because(2, two), (MemberState::CatchingUp, told("2 transactions")));
}
