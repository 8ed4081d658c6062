//! What may have been promised to somebody: histories as a choice compares them.
//! Must not hold who takes part in the choice.

use super::*;

const RULE: &str = "orders-2 has what the chosen one lacks";

/// Neither has seen epoch 3 begin.
fn before_the_last_epoch() -> Case {
    let mut case = chosen();
    case.has(1, CUT, "");
    case.has(2, CUT, "");
    case.next().cut = Some(set(CUT));
    case
}

#[test]
fn a_history_of_a_later_epoch_goes_first() {
    each_breaks(
        before_the_last_epoch,
        &[(|case| case.has(2, CUT, "epoch:3"), RULE)],
    );
    // The chosen one has epoch 3, and lacks something of before that nobody knows to have counted.
    each_passes(
        before_the_last_epoch,
        &[|case| {
            case.before().cut = None;
            case.has(1, "epoch:1-3,m1:1-9,m2:1-10", "");
            case.next().cut = Some(set("epoch:1-3,m1:1-9,m2:1-10"));
        }],
    );
}

#[test]
fn beyond_the_cut_nothing_was_promised_to_who_has_not_seen_the_epoch_begin() {
    each_passes(
        before_the_last_epoch,
        &[
            |case| case.has(2, CUT, "m7:1"),
            |case| case.has(2, CUT, "m2:11"),
            |case| case.has(2, CUT, "m0:1"),
        ],
    );
    each_breaks(
        before_the_last_epoch,
        &[
            (
                |case| {
                    case.has(1, "epoch:1-2,m1:1-9,m2:1-10", "");
                    case.next().cut = Some(set("epoch:1-2,m1:1-9,m2:1-10"));
                },
                RULE,
            ),
            // Without a cut nothing is left out.
            (
                |case| {
                    case.before().cut = None;
                    case.has(2, CUT, "m7:1");
                },
                RULE,
            ),
        ],
    );
}

#[test]
fn what_a_replica_numbered_itself_was_never_promised() {
    /// orders-2 was written to.
    fn errant() -> Case {
        let mut case = chosen();
        case.has(2, ALL, "m2:11");
        case
    }
    each_breaks(
        errant,
        &[
            // It may have been the primary whose data these are.
            (
                |case| case.everywhere(|record| voter_of(record, 0).incarnation = None),
                RULE,
            ),
            (|case| case.has(2, ALL, "m2:11,m0:11"), RULE),
        ],
    );
    each_passes(errant, &[|case| case.has(2, ALL, "m2:11-20")]);
}

#[test]
fn what_the_last_primary_numbered_itself_may_have_been_promised() {
    each_breaks(
        chosen,
        &[(
            |case| {
                case.hold(0);
                case.has(0, ALL, "m0:11");
            },
            "orders-0 has what the chosen one lacks",
        )],
    );
}

/// orders-2 lacks a transaction of the last primary, and has one that nobody knows.
fn ended() -> Case {
    let mut case = chosen();
    case.has(2, "epoch:1-3,m0:1-9,m1:1-10,m2:1-10", "m7:1");
    case
}

#[test]
fn who_lacks_some_of_the_last_primarys_has_nothing_more_of_its_epoch() {
    each_breaks(
        ended,
        &[
            // It lacks nothing.
            (|case| case.has(2, ALL, "m7:1"), RULE),
            // It has one of them that the chosen one lacks.
            (
                |case| case.has(2, "epoch:1-3,m0:1-9,m1:1-10,m2:1-10", "m0:11"),
                RULE,
            ),
            // What it lacks is not the last primary's, or of an epoch before.
            (
                |case| {
                    case.has(1, ALL, "m8:1");
                    case.next().cut = Some(set(ALL).union(&set("m8:1")));
                    case.has(2, ALL, "m7:1");
                },
                RULE,
            ),
            (
                |case| {
                    case.before().cut = Some(set("epoch:1-2,m0:1-9,m1:1-10,m2:1-10"));
                    case.has(1, "epoch:1-3,m0:1-9,m1:1-10,m2:1-10", "m8:1");
                    case.next().cut = Some(set("epoch:1-3,m0:1-9,m1:1-10,m2:1-10,m8:1"));
                },
                RULE,
            ),
            (|case| case.before().cut = None, RULE),
            // The chosen one has seen another epoch than the last begin.
            (
                |case| {
                    case.has(1, ALL, "epoch:4");
                    case.next().cut = Some(set(ALL).union(&set("epoch:4")));
                    case.has(2, "epoch:1-4,m0:1-9,m1:1-10,m2:1-10", "m7:1");
                },
                RULE,
            ),
        ],
    );
}

#[test]
fn without_the_last_primarys_data_nobody_ended_before() {
    each_breaks(
        ended,
        &[
            (|case| case.everywhere(|record| strike_out(record, 0)), RULE),
            (
                |case| case.everywhere(|record| voter_of(record, 0).incarnation = None),
                RULE,
            ),
        ],
    );
}
