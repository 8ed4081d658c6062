//! Claims of an epoch that break a rule, where the primary is lost.
//! Must not hold what a person decides, nor who is left out because replicas are cut off.

use super::*;

/// Nobody sees orders-0, and the others do without it.
fn claimed() -> Case {
    let mut case = healthy();
    case.lose(0);
    case.claim();
    case
}

#[test]
fn a_claim_changes_the_epoch_by_one_and_nothing_else() {
    each_breaks(
        claimed,
        &[
            (
                |case| case.next().wait_for = 2,
                "a claim changes more than the epoch",
            ),
            (
                |case| case.next().primary = name(1),
                "a claim changes more than the epoch",
            ),
            (
                |case| case.everywhere(|record| record.handing_to = Some(name(1))),
                "a claim changes more than the epoch",
            ),
            (
                |case| case.next().term.epoch = 5,
                "the claimed epoch is not the next one",
            ),
            (
                |case| case.next().term.epoch = 3,
                "the claimed epoch is not the next one",
            ),
            (
                |case| {
                    case.before().term.epoch = 0;
                    case.next().term.epoch = 1;
                },
                "the claimed epoch is not the next one",
            ),
        ],
    );
    // A handover is over with it.
    each_passes(claimed, &[|case| case.before().handing_to = Some(name(1))]);
}

#[test]
fn each_claim_is_counted_up_to_a_limit() {
    fn count(case: &mut Case, before: u16, next: u16) {
        case.before().failovers = before;
        case.next().failovers = next;
    }
    const RULE: &str = "a failover is not counted";
    each_breaks(
        claimed,
        &[
            (|case| count(case, 0, 0), RULE),
            (|case| count(case, 2, 1), RULE),
            (|case| count(case, 7, 7), RULE),
            (|case| count(case, 1, 3), RULE),
            (|case| count(case, 8, 9), RULE),
        ],
    );
    each_passes(claimed, &[|case| count(case, 7, 8), |case| count(case, 8, 8)]);
}

#[test]
fn an_epoch_is_claimed_with_a_quorum_that_does_without_the_primary() {
    const RULE: &str = "an epoch is claimed that cannot be decided";
    each_breaks(
        claimed,
        &[
            (|case| case.lose(2), RULE),
            (|case| case.replace_data(2), RULE),
            (|case| case.forget(2), RULE),
            // It lacks what epoch 3 began with, and never gets it.
            (|case| case.has(2, "epoch:1-3,m0:1-10,m1:1-9,m2:1-10", ""), RULE),
            (
                |case| case.everywhere(|record| voter_of(record, 2).incarnation = None),
                RULE,
            ),
            (|case| case.everywhere(|record| record.acknowledged_by = 0), RULE),
            (
                |case| {
                    case.lose(2);
                    case.see_closed(0);
                },
                RULE,
            ),
        ],
    );
    // With two that have it, one is enough.
    each_passes(
        claimed,
        &[|case| {
            case.lose(2);
            case.everywhere(|record| {
                record.acknowledged_by = 2;
                record.wait_for = 2;
            });
        }],
    );
}

/// The primary can be seen and is open, and this is not well with it.
fn serves_but(case: &mut Case, change: Change) {
    case.server(0).is_open = true;
    change(case);
}

#[test]
fn a_primary_that_serves_is_not_given_up() {
    /// It can be seen, and is closed.
    fn closed() -> Case {
        let mut case = claimed();
        case.see_closed(0);
        case
    }
    const RULE: &str = "a primary that serves is given up";
    each_breaks(
        closed,
        &[
            (|case| serves_but(case, |_| {}), RULE),
            (
                |case| {
                    serves_but(case, |case| {
                        case.trouble(0, TroubleKind::AwaitingAcknowledgements)
                    })
                },
                RULE,
            ),
        ],
    );
    each_passes(
        closed,
        &[
            |case| serves_but(case, |case| case.lose(0)),
            |case| serves_but(case, |case| case.forget(0)),
            |case| {
                serves_but(case, |case| {
                    case.report(0).process = Process::Ended { restarts: 1 }
                })
            },
            |case| serves_but(case, |case| case.report(0).server_age_ms = 1),
            |case| serves_but(case, |case| case.report(0).write_age_ms = 1),
            |case| serves_but(case, |case| case.trouble(0, TroubleKind::DiskFull)),
            |case| serves_but(case, |case| case.trouble(0, TroubleKind::VolumeFails)),
            |case| serves_but(case, |case| case.replace_data(0)),
        ],
    );
}
