//! Orders that break a rule: who may be told to be what.
//! Must not hold a rule of the record.

use super::*;
use crate::record::Leaving;

/// Everybody is told again what it is.
fn ordered() -> Case {
    let mut case = healthy();
    case.give(0, Role::Primary { wait_for: 1 });
    case.give(1, follows(0));
    case.give(2, follows(0));
    case
}

#[test]
fn an_order_is_for_its_member_and_of_the_record_that_is_written() {
    each_breaks(
        ordered,
        &[
            (
                |case| case.plan.assign.get_mut("orders-1").unwrap().member = name(2),
                "orders-1 gets the orders of orders-2",
            ),
            (
                |case| case.plan.assign.get_mut("orders-1").unwrap().record = Some(record().revised()),
                "orders-1 gets another record than the one that is written",
            ),
            (
                |case| case.plan.assign.get_mut("orders-1").unwrap().record = None,
                "orders-1 gets another record than the one that is written",
            ),
        ],
    );
}

#[test]
fn before_there_is_a_record_everybody_holds_still() {
    let hold = || {
        let mut case = healthy();
        case.before = None;
        (0..3).for_each(|n| case.give(n, Role::Hold));
        case
    };
    const RULE: &str = "orders-1 gets a role before there is a record";
    each_breaks(
        hold,
        &[
            (|case| case.give(1, Role::Found), RULE),
            (|case| case.give(1, follows(0)), RULE),
        ],
    );
}

#[test]
fn anybody_may_be_told_to_hold_still() {
    each_passes(
        ordered,
        &[
            |case| case.give(0, Role::Hold),
            |case| case.give(1, Role::Hold),
            |case| case.give(7, Role::Hold),
        ],
    );
}

#[test]
fn only_a_primary_that_hands_over_gives_its_role_up() {
    let retiring = || {
        let mut case = healthy();
        case.before().handing_to = Some(name(1));
        case.give(0, Role::Retire);
        case
    };
    each_breaks(
        retiring,
        &[
            (
                |case| case.everywhere(|record| record.handing_to = None),
                "orders-0 gives a role up without a handover",
            ),
            (
                |case| case.give(1, Role::Retire),
                "orders-1 gives a role up without a handover",
            ),
        ],
    );
}

#[test]
fn only_the_first_primary_founds_and_only_before_its_epoch() {
    let founding = || {
        let mut case = healthy();
        case.before().term.epoch = 0;
        case.give(0, Role::Found);
        case
    };
    each_breaks(
        founding,
        &[
            (
                |case| case.everywhere(|record| record.term.epoch = 1),
                "orders-0 founds beside the founder",
            ),
            (
                |case| case.give(1, Role::Found),
                "orders-1 founds beside the founder",
            ),
        ],
    );
}

#[test]
fn a_replica_follows_the_primary_and_is_a_voter_that_stays() {
    const NO_VOTER: &str = "orders-1 is to acknowledge, and is no voter that stays";
    each_breaks(
        ordered,
        &[
            (|case| case.give(1, follows(2)), "orders-1 is to follow orders-2"),
            (|case| case.give(0, follows(0)), "orders-0 is to follow orders-0"),
            (|case| case.everywhere(|record| strike_out(record, 1)), NO_VOTER),
            (
                |case| case.everywhere(|record| voter_of(record, 1).leaving = Some(Leaving::Asked)),
                NO_VOTER,
            ),
        ],
    );
    each_passes(
        ordered,
        &[|case| case.everywhere(|record| voter_of(record, 1).incarnation = None)],
    );
}

#[test]
fn nobody_follows_with_more_than_its_epoch_began_with_and_nothing_of_it() {
    const RULE: &str = "orders-1 is to follow with what nobody acknowledged";
    each_breaks(
        ordered,
        &[
            (|case| case.has(1, "epoch:1-2,m1:1-11,m2:1-10", ""), RULE),
            (|case| case.has(1, CUT, "m1:11"), RULE),
            (|case| case.has(1, CUT, "m7:1"), RULE),
        ],
    );
    each_passes(
        ordered,
        &[
            |case| case.has(1, CUT, ""),
            |case| case.has(1, "", "m1:1-9"),
            |case| case.has(1, "epoch:1-3,m1:1-11,m2:1-10", ""),
            |case| case.has(1, "epoch:1-2,m1:1-11,m2:1-10", "epoch:3"),
            |case| case.has(1, "epoch:1-4,m1:1-11", ""),
            |case| {
                case.has(1, "m1:1-11", "");
                case.lose(1);
            },
            |case| {
                case.has(1, "m1:1-11", "");
                case.everywhere(|record| record.cut = None);
            },
        ],
    );
}

#[test]
fn only_data_that_were_looked_at_are_thrown_away_and_never_the_primarys() {
    fn clone(case: &mut Case, n: u8, donor: u8, instead_of: u8) {
        let role = Role::Clone {
            donor: place(donor),
            instead_of: incarnation(instead_of),
        };
        case.give(n, role);
    }
    let cloning = || {
        let mut case = ordered();
        clone(&mut case, 1, 2, 1);
        case
    };
    const UNSEEN: &str = "orders-1 throws away data that nobody looked at";
    each_breaks(
        cloning,
        &[
            (|case| clone(case, 0, 2, 0), "the primary's data are thrown away"),
            (|case| clone(case, 1, 1, 1), "orders-1 copies itself"),
            (|case| clone(case, 1, 2, 9), UNSEEN),
            (|case| case.replace_data(1), UNSEEN),
        ],
    );
    // Its agent compares again.
    each_passes(
        cloning,
        &[|case| case.lose(1), |case| case.report(1).server = None],
    );
}

#[test]
fn only_the_recorded_primary_is_opened_as_recorded() {
    each_breaks(
        ordered,
        &[
            (
                |case| case.give(1, Role::Primary { wait_for: 1 }),
                "orders-1 is made a second primary",
            ),
            (
                |case| case.give(0, Role::Primary { wait_for: 2 }),
                "orders-0 waits for another number than recorded",
            ),
            (
                |case| case.give(0, Role::Primary { wait_for: 0 }),
                "orders-0 waits for another number than recorded",
            ),
            (
                |case| case.everywhere(|record| record.term.epoch = 0),
                "orders-0 is opened before epoch 1",
            ),
            (
                |case| {
                    case.plan.assign.retain(|to, _| *to == name(0));
                    case.everywhere(|record| record.is_choosing = true);
                },
                "orders-0 is opened before the choice",
            ),
            (
                |case| {
                    case.plan.assign.retain(|to, _| *to == name(2));
                    case.everywhere(|record| record.is_choosing = true);
                },
                "orders-2 is to follow while a primary is chosen",
            ),
            (
                |case| case.everywhere(|record| record.handing_to = Some(name(1))),
                "orders-0 is opened while it hands over",
            ),
        ],
    );
}

#[test]
fn a_primary_is_opened_with_the_data_that_count() {
    const OTHER: &str = "orders-0 is opened with other data";
    each_breaks(
        ordered,
        &[
            (|case| case.replace_data(0), OTHER),
            (|case| case.forget(0), "orders-0 is opened without what it had"),
            (
                |case| case.everywhere(|record| voter_of(record, 0).incarnation = None),
                OTHER,
            ),
        ],
    );
}

#[test]
fn a_primary_that_cannot_be_seen_is_opened_only_if_it_led_this_cluster() {
    let unseen = || {
        let mut case = ordered();
        case.report(0).server = None;
        case
    };
    const RULE: &str = "orders-0 is opened with data that nobody saw";
    each_passes(
        unseen,
        &[
            |case| case.lose(0),
            |case| case.told(0).role = Role::Retire,
            |case| case.told(0).role = Role::Found,
        ],
    );
    each_breaks(
        unseen,
        &[
            (|case| case.report(0).assignment = None, RULE),
            (|case| case.member(0).report = None, RULE),
            (|case| case.told(0).record = None, RULE),
            (|case| case.told_record(0).identity = incarnation(9), RULE),
            (|case| case.told(0).role = Role::Hold, RULE),
            (|case| case.told(0).role = follows(1), RULE),
        ],
    );
}
