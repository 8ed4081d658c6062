//! Choices of a primary that break a rule: who must hold still, and what may change with the choice.
//! Must not hold how histories are compared, beyond who has more.

use super::*;
use crate::record::Leaving;

#[test]
fn a_choice_changes_the_primary_and_nothing_it_may_not() {
    each_breaks(
        chosen,
        &[
            (|case| case.next().term.epoch = 5, "the claimed epoch changes"),
            (|case| case.next().is_choosing = true, "the claimed epoch changes"),
            (
                |case| add(&mut case.next().left_out, 0),
                "somebody is left out of a choice that is made",
            ),
            (
                |case| case.next().wait_for = 2,
                "acknowledgements change with the choice",
            ),
            (
                |case| case.next().acknowledged_by = 0,
                "acknowledgements change with the choice",
            ),
            (|case| strike_out(case.next(), 2), "voters change with the choice"),
            (
                |case| case.voter(1).leaving = Some(Leaving::Silent),
                "a removal goes on through a choice",
            ),
            (
                |case| case.next().handing_to = Some(name(2)),
                "a handover begins with the choice",
            ),
            (
                |case| enlist(case.next(), 3, Voter::default()),
                "voters change with the choice",
            ),
            (
                |case| case.next().failovers = 1,
                "failovers are counted where there was none, or forgotten with something else",
            ),
        ],
    );
}

#[test]
fn nobody_begins_to_count_with_a_choice() {
    const RULE: &str = "orders-2 is counted by the choice";
    each_breaks(
        chosen,
        &[
            (|case| case.voter(2).incarnation = Some(incarnation(9)), RULE),
            (
                |case| {
                    case.old_voter(2).incarnation = None;
                    // Somebody else holds still in its place.
                    case.hold(0);
                },
                RULE,
            ),
        ],
    );
    each_passes(chosen, &[|case| case.voter(2).incarnation = None]);
}

#[test]
fn enough_who_count_hold_still_in_the_claimed_term() {
    const RULE: &str = "1 members hold still, 2 must";
    each_breaks(
        chosen,
        &[
            (|case| case.lose(2), RULE),
            (|case| case.replace_data(2), RULE),
            (|case| case.forget(2), RULE),
            // It lacks what epoch 3 began with, and never gets it.
            (|case| case.has(2, "epoch:1-3,m0:1-10,m1:1-9,m2:1-10", ""), RULE),
            (|case| case.report(2).is_settled = false, RULE),
            (|case| case.report(2).server = None, RULE),
            (|case| case.report(2).assignment = None, RULE),
            (|case| case.told(2).role = follows(0), RULE),
            (|case| case.told_record(2).term.revision = 20, RULE),
            (|case| case.told_record(2).term.epoch = 5, RULE),
            (
                |case| case.everywhere(|record| record.acknowledged_by = 0),
                "2 members hold still, 3 must",
            ),
        ],
    );
    each_passes(
        chosen,
        &[
            |case| {
                case.hold(0);
                case.lose(2);
            },
            |case| {
                case.everywhere(|record| {
                    record.acknowledged_by = 2;
                    record.wait_for = 2;
                });
                case.lose(2);
            },
        ],
    );
}

#[test]
fn the_chosen_one_holds_still_and_its_data_are_the_cut() {
    const CUT_RULE: &str = "the cut is not what the chosen one has";
    each_breaks(
        chosen,
        &[
            (
                |case| case.next().primary = name(0),
                "the chosen one was not seen to hold still",
            ),
            (|case| case.next().cut = None, CUT_RULE),
            (|case| case.next().cut = Some(set(CUT)), CUT_RULE),
            (|case| case.has(1, ALL, "m0:11"), CUT_RULE),
        ],
    );
    // What it received and has not applied is its own as well.
    each_passes(chosen, &[|case| case.has(1, CUT, "epoch:3,m0:1-10")]);
}

#[test]
fn nobody_has_what_the_chosen_one_lacks() {
    const RULE: &str = "orders-2 has what the chosen one lacks";
    each_breaks(
        chosen,
        &[
            (|case| case.has(2, ALL, "m0:11"), RULE),
            (|case| case.has(2, "epoch:1-3,m0:1-11,m1:1-10,m2:1-10", ""), RULE),
            (|case| case.has(2, ALL, "m7:1"), RULE),
        ],
    );
    each_passes(
        chosen,
        &[
            |case| case.has(2, "epoch:1-3,m0:1-9,m1:1-10,m2:1-10", ""),
            |case| case.has(2, CUT, ""),
        ],
    );
}

/// orders-2 has more, and its volume refuses writes; orders-0 is compared in its place.
fn spared() -> Case {
    let mut case = chosen();
    case.hold(0);
    case.has(2, ALL, "m0:11");
    case.trouble(2, TroubleKind::DiskFull);
    case
}

#[test]
fn who_can_write_and_is_not_left_out_is_compared() {
    const RULE: &str = "orders-2 has what the chosen one lacks";
    each_breaks(
        spared,
        &[
            (|case| case.report(2).troubles.clear(), RULE),
            (|case| case.trouble(2, TroubleKind::ReplicationBroken), RULE),
        ],
    );
    each_passes(
        spared,
        &[
            |case| case.trouble(2, TroubleKind::VolumeFails),
            |case| {
                case.report(2).troubles.clear();
                case.report(2).write_age_ms = 1;
            },
            |case| {
                case.report(2).troubles.clear();
                case.before().left_out.insert(name(2));
            },
        ],
    );
}

#[test]
fn enough_are_compared_without_those_who_are_spared() {
    const RULE: &str = "too few are compared without those who are left out";
    each_breaks(spared, &[(|case| case.lose(0), RULE)]);
    // It is spared, and nothing of it is needed.
    each_passes(
        spared,
        &[|case| {
            case.lose(0);
            case.has(2, ALL, "");
        }],
    );
}
