//! A primary that a person names where no choice is safe: what breaks a rule of that.
//! Must not hold a rule of claims and choices that nobody is asked about.

use super::*;
use crate::observed::Switchover;
use crate::record::ByHand;

fn ask(case: &mut Case, n: u8, epoch: u64) {
    case.spec.switchover = Some(Switchover {
        target: Some(name(n)),
        is_forced: true,
        accepts_loss_in: Some(epoch),
        ..Switchover::default()
    });
}

fn asked(case: &mut Case) -> &mut Switchover {
    case.spec.switchover.as_mut().unwrap()
}

/// orders-1 is named, and what the others alone had may be lost.
fn named() -> ByHand {
    ByHand {
        member: name(1),
        unheard: [name(0), name(2)].into(),
        given_up: GtidSet::new(),
    }
}

fn word(case: &mut Case) -> &mut ByHand {
    case.next().by_hand.as_mut().unwrap()
}

/// Only orders-1 is heard, and epoch 4 is claimed for it.
fn claimed() -> Case {
    let mut case = healthy();
    case.lose(0);
    case.lose(2);
    ask(&mut case, 1, 3);
    case.claim();
    case.next().by_hand = Some(named());
    case
}

#[test]
fn an_epoch_is_claimed_only_for_who_was_asked_for_in_it() {
    const RULE: &str = "an epoch is claimed for orders-1, and nobody asked for that";
    each_breaks(
        claimed,
        &[
            (|case| case.spec.switchover = None, RULE),
            (|case| asked(case).is_forced = false, RULE),
            (|case| asked(case).accepts_loss_in = None, RULE),
            (|case| asked(case).accepts_loss_in = Some(2), RULE),
            (|case| asked(case).accepts_loss_in = Some(4), RULE),
            (|case| asked(case).target = None, RULE),
            (|case| asked(case).target = Some(name(2)), RULE),
        ],
    );
}

#[test]
fn the_named_one_is_heard_and_counts_and_is_not_the_primary() {
    fn name_another(case: &mut Case, n: u8) {
        ask(case, n, 3);
        word(case).member = name(n);
    }
    each_breaks(
        claimed,
        &[
            (
                |case| name_another(case, 2),
                "orders-2 is named and does not count",
            ),
            (
                |case| {
                    name_another(case, 0);
                    case.see_closed(0);
                },
                "orders-0 is named and does not count; more may be lost than was said",
            ),
        ],
    );
}

#[test]
fn no_more_may_be_lost_than_a_person_was_told() {
    const RULE: &str = "more may be lost than was said";
    each_breaks(
        claimed,
        &[
            (|case| word(case).unheard = [name(0)].into(), RULE),
            (|case| case.see_closed(0), RULE),
            (
                |case| {
                    case.replace_data(1);
                    word(case).unheard.insert(name(1));
                },
                "orders-1 is named and does not count",
            ),
            (
                |case| {
                    case.forget(1);
                    word(case).unheard.insert(name(1));
                },
                "orders-1 is named and does not count",
            ),
        ],
    );
    each_passes(claimed, &[|case| add(&mut word(case).unheard, 1)]);
}

#[test]
fn a_persons_word_is_for_where_nothing_else_helps() {
    each_breaks(
        claimed,
        &[
            (
                |case| case.member(2).is_connected = true,
                "a person's word is used where it is not needed",
            ),
            (
                |case| {
                    let unreached = Follows {
                        is_receiving: false,
                        is_unreached: true,
                        ..following()
                    };
                    case.server(1).follows = Some(unreached);
                    case.next().left_out = [name(0), name(2)].into();
                },
                "somebody is left out of what a person decides; \
                 a primary is given up that enough may still reach",
            ),
        ],
    );
}

/// Epoch 4 was claimed for orders-1, which alone holds still and becomes primary.
fn made_primary() -> Case {
    let mut case = chosen();
    case.lose(2);
    case.before().by_hand = Some(named());
    case.next().by_hand = Some(named());
    case
}

#[test]
fn who_was_named_becomes_primary_with_its_own_data() {
    const CUT_RULE: &str = "the cut is not what the named one has";
    each_breaks(
        made_primary,
        &[
            (
                |case| case.next().primary = name(2),
                "another is primary than was named; the cut is not what the named one has",
            ),
            (|case| case.next().cut = None, CUT_RULE),
            (|case| case.has(1, ALL, "m0:11"), CUT_RULE),
            (
                |case| case.report(1).is_settled = false,
                "the named one was not seen to hold still; the cut is not what the named one has",
            ),
            (
                |case| case.voter(2).incarnation = None,
                "who counts changes with the choice",
            ),
            (|case| strike_out(case.next(), 2), "voters change with the choice"),
            (
                |case| enlist(case.next(), 3, Voter::default()),
                "voters change with the choice; who counts changes with the choice",
            ),
        ],
    );
    each_passes(made_primary, &[|case| case.has(1, CUT, "epoch:3,m0:1-10")]);
}

#[test]
fn a_primary_is_made_only_of_who_was_asked_for() {
    const RULE: &str = "orders-1 is made primary, and nobody asked for that";
    each_breaks(
        made_primary,
        &[
            (|case| case.before().by_hand = None, RULE),
            (
                |case| case.before().by_hand.as_mut().unwrap().member = name(2),
                RULE,
            ),
            (
                |case| {
                    case.before().by_hand = None;
                    ask(case, 1, 3);
                },
                RULE,
            ),
        ],
    );
    // The epoch was claimed without anybody's word, and then it could not be decided.
    each_passes(
        made_primary,
        &[|case| {
            case.before().by_hand = None;
            ask(case, 1, 4);
        }],
    );
}

/// All must hold still, orders-0 does not, and orders-2 does.
fn compared() -> Case {
    let mut case = made_primary();
    case.hold(2);
    case.everywhere(|record| record.acknowledged_by = 0);
    word(&mut case).unheard.remove("orders-2");
    case
}

#[test]
fn what_others_have_is_given_up_only_if_that_was_said() {
    const RULE: &str = "more may be lost than was said";
    each_breaks(
        compared,
        &[
            (|case| case.has(2, ALL, "m0:11"), RULE),
            (
                |case| {
                    case.has(2, ALL, "m0:11-12");
                    word(case).given_up = set("m0:11");
                },
                RULE,
            ),
            (|case| word(case).unheard.clear(), RULE),
            (|case| add(&mut word(case).unheard, 2), RULE),
        ],
    );
    each_passes(
        compared,
        &[
            |case| {
                case.has(2, ALL, "m0:11");
                word(case).given_up = set("m0:11");
            },
            // Nobody was promised what it numbered itself, nor what it has of older epochs only.
            |case| case.has(2, ALL, "m2:11"),
            |case| case.has(2, CUT, "m7:1"),
        ],
    );
}

#[test]
fn nobody_is_made_primary_that_lacks_an_epoch() {
    each_breaks(
        compared,
        &[(
            |case| {
                case.has(1, CUT, "");
                case.next().cut = Some(set(CUT));
            },
            "the named one lacks an epoch that another has",
        )],
    );
}

#[test]
fn with_a_quorum_a_person_decides_only_where_histories_differ() {
    /// One of two is enough, and each has what the other lacks.
    fn differing() -> Case {
        let mut case = compared();
        case.everywhere(|record| record.acknowledged_by = 1);
        case.has(1, ALL, "m8:1");
        case.next().cut = Some(set(ALL).union(&set("m8:1")));
        case.has(2, ALL, "m7:1");
        word(&mut case).given_up = set("m7:1");
        case
    }
    const RULE: &str = "a person's word is used where it is not needed";
    each_breaks(
        differing,
        &[
            (|case| case.has(2, ALL, ""), RULE),
            (|case| case.has(2, ALL, "m7:1,m8:1"), RULE),
        ],
    );
}
