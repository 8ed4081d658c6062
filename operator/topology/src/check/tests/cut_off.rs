//! A primary that serves and is given up because its replicas do not reach it: what breaks a rule of that.
//! Must not hold a rule of other claims and choices.

use super::*;

/// orders-0 is open, and nobody reaches it.
fn claimed() -> Case {
    let mut case = healthy();
    case.claim();
    case.next().left_out.insert(name(0));
    for n in [1, 2] {
        case.follow(n).is_receiving = false;
        case.follow(n).is_unreached = true;
    }
    case
}

#[test]
fn only_voters_are_left_out_and_the_primary_among_them() {
    each_breaks(
        claimed,
        &[
            (
                |case| add(&mut case.next().left_out, 7),
                "somebody is left out who is no voter",
            ),
            (
                |case| {
                    case.next().left_out = [name(2)].into();
                    case.server(0).follows = case.server(1).follows.clone();
                },
                "others are left out, and the primary is not",
            ),
            (
                |case| case.next().left_out.clear(),
                "a primary that serves is given up",
            ),
        ],
    );
}

#[test]
fn everybody_else_says_that_it_cannot_reach_the_primary() {
    const RULE: &str = "orders-2 does not say that it cannot reach the primary";
    const UNSEEN: &str = "an epoch is claimed that cannot be decided; \
                          orders-2 does not say that it cannot reach the primary";
    each_breaks(
        claimed,
        &[
            (|case| case.follow(2).is_unreached = false, RULE),
            (|case| case.follow(2).is_receiving = true, RULE),
            (|case| case.server(2).follows = None, RULE),
            (|case| case.replace_data(2), UNSEEN),
            (|case| case.forget(2), UNSEEN),
            (|case| case.lose(2), UNSEEN),
        ],
    );
}

#[test]
fn enough_are_left_to_choose_and_too_few_to_acknowledge() {
    const RULE: &str = "a primary is given up that enough may still reach";
    each_breaks(
        claimed,
        &[
            // The other two of four are no quorum.
            (
                |case| {
                    case.everywhere(|record| enlist(record, 3, voter(3)));
                    case.seen.members.insert(name(3), member(3));
                    case.next().left_out.insert(name(3));
                },
                RULE,
            ),
            // The primary waits for both of them, so one that is left out may do.
            (|case| case.everywhere(|record| record.wait_for = 2), RULE),
            // Nobody is waited for.
            (
                |case| case.everywhere(|record| record.wait_for = 0),
                "fewer are waited for than are counted on; \
                 a primary is given up that enough may still reach",
            ),
        ],
    );
}

/// The epoch is claimed, the old primary was left out, and holds still as well.
fn left_out() -> Case {
    let mut case = chosen();
    case.before().left_out.insert(name(0));
    case.hold(0);
    case
}

fn choose_the_old(case: &mut Case) {
    case.next().primary = name(0);
}

#[test]
fn who_is_left_out_is_chosen_only_where_the_others_are_too_few() {
    each_breaks(
        left_out,
        &[(
            choose_the_old,
            "one that is left out is chosen, and the others are enough",
        )],
    );
    fn without(case: &mut Case, change: Change) {
        choose_the_old(case);
        change(case);
    }
    each_passes(
        left_out,
        &[
            |case| without(case, |case| case.before().left_out.clear()),
            |case| without(case, |case| case.lose(2)),
            |case| without(case, |case| case.report(2).process = Process::Starting),
            |case| without(case, |case| case.report(2).server_age_ms = 1),
            |case| without(case, |case| case.report(2).write_age_ms = 1),
            |case| without(case, |case| case.trouble(2, TroubleKind::DiskFull)),
            |case| without(case, |case| add(&mut case.before().left_out, 2)),
        ],
    );
}
