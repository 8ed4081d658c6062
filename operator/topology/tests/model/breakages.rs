//! Eleven rules broken on purpose: the model must find for each what the rule is there for.
//! Must not break anything in the product: electors and agents of the model are given other ears and hands.

use stateright::HasDiscoveries;

use crate::bounds::{Bounds, Fault, THREE};
use crate::search;
use crate::world::{CHECKED, KEPT, ONE_HISTORY, World};

/// Nothing is explored for longer.
const STATES_LIMIT: usize = 3_000_000;

/// What the model finds of the rule, with the check left out.
fn finds(fault: Fault, property: &'static str, bounds: Bounds) {
    let until = HasDiscoveries::AnyOf([property].into());
    let what = format!("{fault:?}");
    let search = search(&what, World::new(bounds, fault, false), until, Some(STATES_LIMIT));
    assert!(search.steps_to(property).is_some(), "{what} goes unseen");
}

/// The check, which did not make the plan, refuses it.
fn is_refused(fault: Fault, bounds: Bounds) {
    let until = HasDiscoveries::AnyOf([CHECKED].into());
    let what = format!("{fault:?}, checked");
    let search = search(&what, World::new(bounds, fault, true), until, Some(STATES_LIMIT));
    assert!(search.steps_to(CHECKED).is_some(), "{what}: nothing is refused");
}

/// A primary that runs is given up.
const ALARM: Bounds = Bounds {
    crashes: 0,
    alarms: 1,
    ..THREE
};

#[test]
fn positions_read_before_freezing_lose_a_write() {
    finds(Fault::ReadBeforeFreezing, KEPT, ALARM);
}

#[test]
fn a_smaller_quorum_is_refused_and_would_lose_a_write() {
    let bounds = Bounds {
        is_all_seen: false,
        ..THREE
    };
    is_refused(Fault::SmallerQuorum, bounds);
    finds(Fault::SmallerQuorum, KEPT, bounds);
}

#[test]
fn opening_without_a_barrier_loses_what_was_read() {
    let bounds = Bounds { crashes: 2, ..THREE };
    finds(Fault::NoBarrier, KEPT, bounds);
}

#[test]
fn order_by_count_alone_is_refused_and_would_lose_a_write() {
    let bounds = Bounds {
        crashes: 2,
        epochs: 3,
        are_replicas_spared: true,
        writes: 3,
        ..THREE
    };
    is_refused(Fault::CountOnly, Bounds { writes: 1, ..bounds });
    finds(Fault::CountOnly, KEPT, bounds);
}

#[test]
fn a_promise_that_a_restart_forgets_loses_a_write() {
    let bounds = Bounds {
        crashes: 1,
        late: 1,
        ..ALARM
    };
    finds(Fault::ForgottenPromise, KEPT, bounds);
}

#[test]
fn an_amnesiac_that_is_counted_is_refused_and_would_lose_a_write() {
    let bounds = Bounds { losses: 1, ..THREE };
    is_refused(Fault::AmnesiacCounted, bounds);
    finds(Fault::AmnesiacCounted, KEPT, bounds);
}

#[test]
fn a_relay_log_thrown_away_loses_a_write() {
    finds(Fault::RelayLogDropped, KEPT, THREE);
}

#[test]
fn without_the_cut_an_old_tail_gets_into_the_history_unseen() {
    let bounds = Bounds {
        crashes: 2,
        epochs: 3,
        are_replicas_spared: true,
        ..THREE
    };
    is_refused(Fault::NoCut, bounds);
    finds(Fault::NoCut, ONE_HISTORY, bounds);
}

#[test]
fn an_agent_that_ignores_terms_loses_a_write() {
    finds(Fault::TermIgnored, KEPT, Bounds { late: 1, ..ALARM });
}

#[test]
fn a_quorum_that_shrinks_without_a_barrier_is_refused_and_would_lose_a_write() {
    let bounds = Bounds {
        wanted_sync_replicas: 2,
        is_all_seen: false,
        ..THREE
    };
    is_refused(Fault::NoBarrierForQuorum, bounds);
    finds(Fault::NoBarrierForQuorum, KEPT, bounds);
}

#[test]
fn who_is_left_out_and_counted_all_the_same_is_refused_and_would_lose_a_write() {
    is_refused(Fault::LeftOutCounted, ALARM);
    finds(Fault::LeftOutCounted, KEPT, ALARM);
}
