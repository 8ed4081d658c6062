//! Changes of the record within an epoch, and the first epoch's beginning, that break a rule.
//! Must not hold what claims, choices and handovers may not do.

use super::*;
use crate::record::ByHand;
use crate::report::Proof;

#[test]
fn a_record_that_is_written_again_changes_nothing_it_may_not() {
    each_breaks(
        revised,
        &[
            (
                |case| case.next().identity = incarnation(9),
                "the identity changes",
            ),
            (
                |case| case.next().term.revision = 20,
                "the revision does not rise by one",
            ),
            (
                |case| case.next().term.revision = 22,
                "the revision does not rise by one",
            ),
            (
                |case| case.next().wait_for = 0,
                "fewer are waited for than are counted on",
            ),
            (|case| case.next().primary = name(1), "the primary moves"),
            (|case| case.next().term.epoch = 4, "the epoch changes"),
            (|case| case.next().term.epoch = 2, "the epoch changes"),
            (
                |case| {
                    let named = ByHand {
                        member: name(0),
                        unheard: BTreeSet::new(),
                        given_up: GtidSet::new(),
                    };
                    case.next().by_hand = Some(named);
                },
                "what a person decided is changed",
            ),
        ],
    );
    each_passes(
        revised,
        &[
            |case| case.next().wait_for = 2,
            |case| case.next().acknowledged_by = 0,
        ],
    );
}

#[test]
fn more_are_counted_on_only_once_a_commit_was_proved_with_them() {
    /// A commit of this term was acknowledged by two, and one was counted on.
    fn raised() -> Case {
        let mut case = revised();
        case.everywhere(|record| record.wait_for = 2);
        case.next().acknowledged_by = 2;
        case.report(0).proved = Some(Proof {
            term: record().term,
            wait_for: 2,
        });
        case
    }
    fn proof(case: &mut Case) -> &mut Proof {
        case.report(0).proved.as_mut().unwrap()
    }
    const RULE: &str = "more replicas are counted on than a commit was proved with";
    each_breaks(
        raised,
        &[
            (|case| case.report(0).proved = None, RULE),
            (|case| proof(case).term.revision = 19, RULE),
            (|case| proof(case).wait_for = 1, RULE),
            (|case| case.lose(0), RULE),
            (|case| case.replace_data(0), RULE),
            (
                |case| {
                    case.next().wait_for = 3;
                    case.next().acknowledged_by = 3;
                    proof(case).wait_for = 3;
                },
                RULE,
            ),
        ],
    );
    each_passes(raised, &[|case| proof(case).wait_for = 3]);
}

/// Before the first epoch: nobody is waited for.
fn founding() -> Case {
    let mut case = revised();
    case.everywhere(|record| {
        record.term.epoch = 0;
        record.acknowledged_by = 0;
        record.wait_for = 0;
        record.cut = None;
    });
    case
}

#[test]
fn nobody_acknowledges_before_the_first_epoch_and_the_founder_is_a_voter() {
    each_breaks(
        founding,
        &[
            (
                |case| {
                    case.next().primary = name(7);
                    case.next()
                        .voters
                        .values_mut()
                        .for_each(|voter| voter.incarnation = None);
                },
                "the primary is no voter; the founder was not seen",
            ),
            (|case| case.next().wait_for = 1, "acknowledgements before epoch 1"),
        ],
    );
}

/// The founder is done, and its epoch begins.
fn begun() -> Case {
    let mut case = founding();
    let next = case.next();
    next.term.epoch = 1;
    next.acknowledged_by = 1;
    next.wait_for = 1;
    next.cut = Some(set(ALL));
    case
}

#[test]
fn the_first_epoch_begins_with_a_founded_primary_and_enough_who_count() {
    const UNFOUNDED: &str = "the first primary is not founded";
    const FEW: &str = "too few members are counted to open";
    const CUT_SHORT: &str = "the first epoch does not begin with what the founder has";
    each_breaks(
        begun,
        &[
            (|case| case.report(0).is_founded = false, UNFOUNDED),
            (|case| case.lose(0), UNFOUNDED),
            (|case| case.next().cut = Some(set(CUT)), CUT_SHORT),
            (|case| case.next().cut = None, CUT_SHORT),
            (
                |case| {
                    case.lose(1);
                    case.lose(2);
                },
                FEW,
            ),
            (
                |case| {
                    case.everywhere(|record| {
                        for n in [1, 2] {
                            voter_of(record, n).incarnation = None;
                        }
                    });
                    case.lose(2);
                },
                FEW,
            ),
            (
                |case| {
                    case.replace_data(1);
                    case.replace_data(2);
                },
                FEW,
            ),
            (
                |case| case.next().acknowledged_by = 0,
                "the first epoch counts on fewer than it waits for",
            ),
            (|case| strike_out(case.next(), 2), "voters change with the epoch"),
            (
                |case| case.voter(2).incarnation = None,
                "voters change with the epoch",
            ),
        ],
    );
    each_passes(begun, &[|case| case.lose(2)]);
}

/// A failover of long ago is forgotten.
fn forgotten() -> Case {
    let mut case = revised();
    case.before().failovers = 2;
    case.next().failovers = 1;
    case
}

const NOT_COUNTED_SO: &str = "failovers are counted where there was none, or forgotten with something else";

#[test]
fn a_failover_is_forgotten_alone_and_one_at_a_time() {
    each_breaks(
        forgotten,
        &[
            (|case| case.next().failovers = 0, NOT_COUNTED_SO),
            (|case| case.next().failovers = 3, NOT_COUNTED_SO),
            (|case| case.next().wait_for = 2, NOT_COUNTED_SO),
            (
                |case| case.next().handing_to = Some(name(1)),
                "failovers are counted where there was none, or forgotten with something else; \
                 a handover changes more than itself",
            ),
        ],
    );
    each_passes(
        forgotten,
        &[|case| {
            case.next().failovers = 2;
            case.next().wait_for = 2;
        }],
    );
}

#[test]
fn no_failover_is_forgotten_as_an_epoch_begins() {
    fn alone() -> Case {
        let mut case = begun();
        case.next().acknowledged_by = 0;
        case.next().wait_for = 0;
        case.everywhere(|record| record.failovers = 1);
        case
    }
    each_breaks(alone, &[(|case| case.next().failovers = 0, NOT_COUNTED_SO)]);
}

#[test]
fn what_an_epoch_began_with_and_who_is_left_out_stay_as_they_are() {
    const CHANGED: &str = "what an epoch began with changes while it lasts";
    each_breaks(
        revised,
        &[
            (|case| case.next().cut = None, CHANGED),
            (|case| case.next().cut = Some(set(ALL)), CHANGED),
            (
                |case| add(&mut case.next().left_out, 2),
                "somebody is left out, and nothing is chosen",
            ),
        ],
    );
}
