//! Changes of who votes that break a rule: who joins, is counted, leaves and is struck out.
//! Must not hold what may change beside the voters.

use super::*;
use crate::record::Leaving;
use crate::report::Proof;

/// A commit of this term was acknowledged by as many as are waited for.
fn prove(case: &mut Case) {
    case.report(0).proved = Some(Proof {
        term: record().term,
        wait_for: 1,
    });
}

#[test]
fn a_voter_is_struck_out_once_it_is_silent_and_a_commit_was_proved_without_it() {
    let struck_out = || {
        let mut case = revised();
        case.old_voter(2).leaving = Some(Leaving::Silent);
        strike_out(case.next(), 2);
        prove(&mut case);
        case
    };
    const RULE: &str = "orders-2 is struck out while its acknowledgements may count";
    each_breaks(
        struck_out,
        &[
            (|case| case.report(0).proved = None, RULE),
            (|case| case.old_voter(2).leaving = Some(Leaving::Asked), RULE),
            (|case| case.old_voter(2).leaving = None, RULE),
        ],
    );
}

#[test]
fn any_voter_but_the_primary_may_be_asked_to_leave() {
    let asked = || {
        let mut case = revised();
        case.voter(2).leaving = Some(Leaving::Asked);
        case
    };
    each_breaks(
        asked,
        &[
            (
                |case| case.voter(0).leaving = Some(Leaving::Asked),
                "the primary is removed",
            ),
            (
                |case| case.voter(2).leaving = Some(Leaving::Silent),
                "orders-2 is taken for silent, and was not seen to be",
            ),
        ],
    );
    each_passes(asked, &[|case| case.lose(2)]);
}

const NOT_SEEN: &str = "orders-2 is taken for silent, and was not seen to be";

#[test]
fn only_who_was_seen_to_follow_nobody_in_this_term_is_silent() {
    /// It was asked to leave, and holds still.
    fn silent() -> Case {
        let mut case = revised();
        case.hold(2);
        case.old_voter(2).leaving = Some(Leaving::Asked);
        case.voter(2).leaving = Some(Leaving::Silent);
        case
    }
    each_breaks(
        silent,
        &[
            (|case| case.report(2).is_settled = false, NOT_SEEN),
            (|case| case.told(2).role = follows(0), NOT_SEEN),
            (|case| case.told_record(2).term.revision = 19, NOT_SEEN),
            (|case| case.report(2).assignment = None, NOT_SEEN),
            (|case| case.server(2).follows = Some(following()), NOT_SEEN),
            (|case| case.lose(2), NOT_SEEN),
            // It never runs backwards, and no step is left out.
            (|case| case.voter(2).leaving = None, NOT_SEEN),
            (|case| case.old_voter(2).leaving = None, NOT_SEEN),
            (
                |case| {
                    case.old_voter(2).leaving = Some(Leaving::Silent);
                    case.voter(2).leaving = Some(Leaving::Asked);
                },
                NOT_SEEN,
            ),
        ],
    );
    each_passes(
        silent,
        &[|case| {
            case.server(2).follows = Some(following());
            case.follow(2).is_receiving = false;
        }],
    );
}

#[test]
fn who_never_ran_is_silent() {
    /// Its Pod was never scheduled.
    fn unborn() -> Case {
        let mut case = revised();
        for record in [case.before.as_mut(), case.plan.record.as_mut()] {
            let voter = voter_of(record.unwrap(), 2);
            voter.incarnation = None;
            voter.leaving = Some(Leaving::Asked);
        }
        case.voter(2).leaving = Some(Leaving::Silent);
        case.member(2).report = None;
        case.member(2).is_connected = false;
        case.member(2).pod.as_mut().unwrap().node = None;
        case
    }
    each_breaks(
        unborn,
        &[
            (|case| case.member(2).pod = member(2).pod, NOT_SEEN),
            (|case| case.member(2).pod = None, NOT_SEEN),
            (|case| drop(case.seen.members.remove("orders-2")), NOT_SEEN),
            (
                |case| case.everywhere(|record| voter_of(record, 2).incarnation = Some(incarnation(2))),
                NOT_SEEN,
            ),
        ],
    );
}

const NOT_ALL: &str = "orders-2 is counted, and was not seen to hold everything";

#[test]
fn a_voter_is_counted_once_it_follows_and_holds_what_the_primary_had() {
    let counted = || {
        let mut case = revised();
        case.old_voter(2).incarnation = None;
        case
    };
    each_breaks(
        counted,
        &[
            (|case| case.voter(2).incarnation = Some(incarnation(9)), NOT_ALL),
            (|case| case.replace_data(2), NOT_ALL),
            (|case| case.lose(2), NOT_ALL),
            (|case| case.lose(0), NOT_ALL),
            (|case| case.replace_data(0), NOT_ALL),
            (|case| case.member(2).goal = None, NOT_ALL),
            (|case| case.forget(2), NOT_ALL),
            (|case| case.has(2, CUT, "m0:1-10"), NOT_ALL),
            (|case| case.server(2).follows = None, NOT_ALL),
            (|case| case.follow(2).is_receiving = false, NOT_ALL),
            // What counted counts no more only by another that holds everything.
            (
                |case| {
                    case.old_voter(2).incarnation = Some(incarnation(2));
                    case.voter(2).incarnation = None;
                },
                NOT_ALL,
            ),
        ],
    );
    each_passes(
        counted,
        &[
            |case| case.has(2, CUT, "epoch:3,m0:1-10"),
            |case| case.old_voter(2).incarnation = Some(incarnation(9)),
        ],
    );
}

#[test]
fn who_is_added_is_counted_later() {
    let added = || {
        let mut case = revised();
        enlist(case.next(), 3, Voter::default());
        case
    };
    each_breaks(
        added,
        &[(
            |case| case.voter(3).incarnation = Some(incarnation(3)),
            "orders-3 is counted as it is added",
        )],
    );
}

/// The founder's volume is another one, and everybody begins again.
fn begun_again() -> Case {
    let mut case = revised();
    case.everywhere(|record| {
        record.term.epoch = 0;
        record.acknowledged_by = 0;
        record.wait_for = 0;
    });
    case.replace_data(0);
    case.voter(0).incarnation = Some(incarnation(9));
    case.voter(1).incarnation = None;
    case.voter(2).incarnation = None;
    case
}

#[test]
fn everybody_begins_again_only_with_another_founders_volume_before_the_first_epoch() {
    each_breaks(
        begun_again,
        &[
            (
                |case| case.voter(0).incarnation = Some(incarnation(0)),
                "orders-1 is counted, and was not seen to hold everything; \
                 orders-2 is counted, and was not seen to hold everything",
            ),
            (
                |case| {
                    case.everywhere(|record| record.term.epoch = 1);
                    case.voter(1).incarnation = Some(incarnation(1));
                    case.voter(2).incarnation = Some(incarnation(2));
                },
                "orders-0 is counted, and was not seen to hold everything",
            ),
            (
                |case| case.voter(2).incarnation = Some(incarnation(2)),
                "orders-2 is counted as the cluster is founded anew",
            ),
            (
                |case| case.voter(0).incarnation = Some(incarnation(8)),
                "orders-0 is counted as the cluster is founded anew",
            ),
            (
                |case| case.lose(0),
                "the founder was not seen; orders-0 is counted as the cluster is founded anew",
            ),
        ],
    );
    each_passes(begun_again, &[|case| case.old_voter(0).incarnation = None]);
}

/// orders-0 was not heard of: orders-1 founds.
fn moved() -> Case {
    let mut case = begun_again();
    case.lose(0);
    case.next().primary = name(1);
    case.voter(0).incarnation = None;
    case.voter(1).incarnation = Some(incarnation(1));
    case
}

#[test]
fn with_another_founder_everybody_begins_again() {
    const BOTH: &str = "the primary moves; orders-0 is counted, and was not seen to hold everything; \
                        orders-1 is counted, and was not seen to hold everything; \
                        orders-2 is counted, and was not seen to hold everything";
    each_breaks(
        moved,
        &[
            (
                |case| {
                    case.everywhere(|record| record.term.epoch = 1);
                    case.voter(1).incarnation = Some(incarnation(8));
                },
                BOTH,
            ),
            (
                |case| case.voter(1).incarnation = Some(incarnation(8)),
                "orders-1 is counted as the cluster is founded anew",
            ),
            (
                |case| case.voter(1).incarnation = None,
                "orders-1 is counted as the cluster is founded anew",
            ),
            (
                |case| case.voter(0).incarnation = Some(incarnation(0)),
                "orders-0 is counted as the cluster is founded anew",
            ),
        ],
    );
}
