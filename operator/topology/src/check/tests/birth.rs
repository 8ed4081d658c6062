//! First records that break a rule: a cluster that is founded, and one that is taken over from its volumes.
//! Must not hold a rule of a record that follows another.

use super::*;
use crate::record::{ByHand, Leaving};

/// Three members without data.
fn founded() -> Case {
    let mut case = healthy();
    case.before = None;
    for n in 0..3 {
        case.has(n, "", "");
        case.report(n).assignment = None;
    }
    let next = Record {
        term: Term::new(0, 1),
        acknowledged_by: 0,
        wait_for: 0,
        cut: None,
        ..record()
    };
    case.plan.record = Some(next);
    for n in [1, 2] {
        case.voter(n).incarnation = None;
    }
    case
}

#[test]
fn a_cluster_is_founded_without_a_past() {
    const PAST: &str = "a cluster is founded with a past";
    each_breaks(
        founded,
        &[
            (|case| case.next().is_choosing = true, PAST),
            (|case| case.next().handing_to = Some(name(1)), PAST),
            (|case| add(&mut case.next().left_out, 1), PAST),
            (|case| case.next().failovers = 1, PAST),
            (|case| case.next().cut = Some(set(CUT)), PAST),
            (|case| case.voter(1).incarnation = Some(incarnation(1)), PAST),
            (|case| case.voter(1).leaving = Some(Leaving::Asked), PAST),
        ],
    );
}

#[test]
fn a_cluster_is_founded_only_where_nothing_was() {
    const DATA: &str = "a cluster is founded beside data";
    each_breaks(
        founded,
        &[
            (|case| case.has(2, "m2:1", ""), DATA),
            (|case| case.has(2, "", "m2:1"), DATA),
            (
                |case| case.report(2).assignment = Some(order(2, Role::Hold, Some(&record()))),
                DATA,
            ),
            (
                |case| case.seen.had_primary = true,
                "a cluster is founded where there was one",
            ),
        ],
    );
    each_passes(
        founded,
        &[|case| case.report(2).assignment = Some(order(2, Role::Hold, None))],
    );
}

#[test]
fn a_founder_votes_and_nobody_acknowledges_before_its_epoch() {
    const EARLY: &str = "acknowledgements before epoch 1";
    each_breaks(
        founded,
        &[
            (|case| case.next().acknowledged_by = 1, EARLY),
            (|case| case.next().wait_for = 1, EARLY),
            (|case| strike_out(case.next(), 0), "the primary is no voter"),
        ],
    );
}

/// The record is gone, and everybody was told one.
fn adopted() -> Case {
    let mut case = healthy();
    case.before = None;
    let mut next = record().next_epoch();
    next.is_choosing = true;
    next.cut = None;
    case.plan.record = Some(next);
    case
}

fn each_was_told(case: &mut Case, change: fn(&mut Record)) {
    (0..3).for_each(|n| change(case.told_record(n)));
}

#[test]
fn a_cluster_is_taken_over_as_the_newest_record_has_it() {
    const CHANGED: &str = "a cluster is taken over as nobody remembers it";
    each_breaks(
        adopted,
        &[
            (|case| case.next().cut = Some(set(CUT)), CHANGED),
            (|case| case.next().handing_to = Some(name(1)), CHANGED),
            (|case| add(&mut case.next().left_out, 1), CHANGED),
            (|case| case.next().failovers = 1, CHANGED),
            (|case| case.next().acknowledged_by = 2, CHANGED),
            (|case| case.next().primary = name(1), CHANGED),
            (|case| strike_out(case.next(), 2), CHANGED),
            (|case| case.voter(1).incarnation = Some(incarnation(9)), CHANGED),
        ],
    );
    each_passes(
        adopted,
        &[
            // The older ones count for nothing but their terms.
            |case| {
                case.told_record(2).term = Term::new(2, 9);
                case.told_record(2).primary = name(2);
            },
            // What was under way is forgotten.
            |case| each_was_told(case, |record| add(&mut record.left_out, 1)),
            |case| each_was_told(case, |record| record.handing_to = Some(name(1))),
            |case| each_was_told(case, |record| record.failovers = 3),
            |case| {
                each_was_told(case, |record| {
                    record.by_hand = Some(ByHand {
                        member: name(1),
                        unheard: BTreeSet::new(),
                        given_up: GtidSet::new(),
                    });
                });
            },
        ],
    );
}

#[test]
fn a_cluster_is_taken_over_only_from_its_data_above_every_term_they_know() {
    each_breaks(
        adopted,
        &[
            (
                |case| (0..3).for_each(|n| case.lose(n)),
                "a cluster is taken over from nothing",
            ),
            (
                |case| case.told_record(1).identity = incarnation(9),
                "two identities are mixed",
            ),
            (
                |case| case.told_record(2).term = Term::new(4, 20),
                "term 4.21 is not above 4.20 that a member knows",
            ),
            (
                |case| case.told_record(2).term = Term::new(5, 20),
                "term 4.21 is not above 5.20 that a member knows",
            ),
            (
                |case| case.told_record(2).term = Term::new(3, 21),
                "term 4.21 is not above 3.21 that a member knows",
            ),
            (
                |case| case.told_record(2).term = Term::new(3, 22),
                "term 4.21 is not above 3.22 that a member knows",
            ),
        ],
    );
}

#[test]
fn what_a_member_said_before_it_was_lost_counts_where_a_cluster_is_taken_over() {
    each_breaks(
        adopted,
        &[(
            |case| {
                case.told_record(2).term = Term::new(4, 20);
                case.lose(2);
            },
            "term 4.21 is not above 4.20 that a member knows",
        )],
    );
}

#[test]
fn a_cluster_that_is_taken_over_chooses_its_primary_later() {
    each_breaks(
        adopted,
        &[
            (
                |case| case.next().is_choosing = false,
                "a primary is chosen before everybody holds still",
            ),
            (
                |case| strike_out(case.next(), 0),
                "a cluster is taken over as nobody remembers it; the primary is no voter",
            ),
        ],
    );
}
