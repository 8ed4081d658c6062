//! Handovers that break a rule: how one begins, is taken back, and ends with the next epoch.
//! Must not hold what a primary does that retires.

use super::*;
use crate::record::ByHand;

/// orders-0 is to give its role to orders-1.
fn handing() -> Case {
    let mut case = revised();
    case.next().handing_to = Some(name(1));
    case
}

#[test]
fn a_handover_begins_within_an_epoch_and_alone() {
    each_breaks(
        handing,
        &[
            (
                |case| case.next().wait_for = 2,
                "a handover changes more than itself",
            ),
            (
                |case| case.next().term.epoch = 4,
                "a handover begins with an epoch",
            ),
            (
                |case| case.everywhere(|record| record.term.epoch = 0),
                "a handover before epoch 1",
            ),
        ],
    );
}

#[test]
fn only_another_that_counts_is_to_take_over() {
    const RULE: &str = "orders-1 is to take over and does not count";
    each_breaks(
        handing,
        &[
            (|case| case.lose(1), RULE),
            (|case| case.replace_data(1), RULE),
            (|case| case.forget(1), RULE),
            (|case| case.before().handing_to = Some(name(2)), RULE),
            (
                |case| case.next().handing_to = Some(name(0)),
                "orders-0 is to take over and does not count",
            ),
            (
                |case| case.next().handing_to = Some(name(7)),
                "orders-7 is to take over and does not count",
            ),
        ],
    );
}

#[test]
fn a_handover_is_taken_back_alone() {
    let taken_back = || {
        let mut case = revised();
        case.before().handing_to = Some(name(1));
        case
    };
    each_breaks(
        taken_back,
        &[(
            |case| case.next().wait_for = 2,
            "a handover changes more than itself",
        )],
    );
    each_passes(taken_back, &[|case| case.lose(1)]);
}

/// orders-0 is closed, orders-1 has all of it and begins its epoch.
fn handed_over() -> Case {
    let mut case = healthy();
    case.before().handing_to = Some(name(1));
    case.told(0).role = Role::Retire;
    case.server(0).is_open = false;
    let mut next = record().next_epoch();
    next.primary = name(1);
    next.cut = Some(set(ALL));
    case.plan.record = Some(next);
    case
}

#[test]
fn a_handover_leads_to_the_next_epoch_of_who_was_named() {
    each_breaks(
        handed_over,
        &[
            (
                |case| case.next().wait_for = 2,
                "a handover changes more than the primary",
            ),
            (
                |case| case.next().primary = name(2),
                "a handover changes more than the primary",
            ),
            (
                |case| case.next().handing_to = Some(name(1)),
                "a handover changes more than the primary",
            ),
            (
                |case| case.next().term.epoch = 5,
                "a handover does not lead to the next epoch",
            ),
            (
                |case| case.next().term.epoch = 2,
                "a handover does not lead to the next epoch",
            ),
        ],
    );
}

#[test]
fn what_a_person_decided_is_over_with_its_epoch() {
    fn named(record: &mut Record) {
        record.by_hand = Some(ByHand {
            member: name(0),
            unheard: BTreeSet::new(),
            given_up: GtidSet::new(),
        });
    }
    each_passes(handed_over, &[|case| named(case.before())]);
    each_breaks(
        handed_over,
        &[(
            |case| case.everywhere(named),
            "a handover changes more than the primary",
        )],
    );
}

#[test]
fn an_old_primary_is_seen_closed_in_this_term_before_it_is_followed() {
    const RULE: &str = "orders-0 was not seen closed before it is followed";
    each_breaks(
        handed_over,
        &[
            (|case| case.lose(0), RULE),
            (|case| case.replace_data(0), RULE),
            (|case| case.report(0).assignment = None, RULE),
            (|case| case.told(0).role = Role::Primary { wait_for: 1 }, RULE),
            (|case| case.told_record(0).term.revision = 19, RULE),
            (|case| case.report(0).is_settled = false, RULE),
            (|case| case.server(0).is_open = true, RULE),
            (|case| case.server(0).has_waiters = true, RULE),
        ],
    );
}

#[test]
fn a_successor_has_exactly_what_the_old_primary_has() {
    const CUT_RULE: &str = "the cut is not what the old primary has";
    const RULE: &str = "orders-1 takes over and has not exactly what the old primary has";
    each_breaks(
        handed_over,
        &[
            (|case| case.next().cut = None, CUT_RULE),
            (|case| case.next().cut = Some(set(CUT)), CUT_RULE),
            (|case| case.lose(1), RULE),
            (|case| case.replace_data(1), RULE),
            (|case| case.has(1, "epoch:1-3,m0:1-9,m1:1-10,m2:1-10", ""), RULE),
            (|case| case.has(1, ALL, "m0:11"), RULE),
            (|case| case.has(1, ALL, "m7:1"), RULE),
        ],
    );
    each_passes(handed_over, &[|case| case.has(1, CUT, "epoch:3,m0:1-10")]);
}
