//! Who is chosen, and when nobody is, by one look each.
//! Must not need a history: each case is one look.

use super::*;
use crate::observed::Switchover;
use crate::record::Voter;
use crate::testing::{HISTORY, IDENTITY, Look, empty, name, names, place, uuid};

#[test]
fn series_are_compared_as_numbers() {
    assert_eq!(series("9.7.4-2"), (9, 7));
    assert!(series("8.4.7") < series("9.7.4"));
    assert!(series("9.7.4") < series("26.10.0"));
    assert_eq!(series("9.7.4"), series("9.7.12"));
    for unknown in ["", "9", "nine.seven"] {
        assert!(series(unknown) > series("26.10.0"), "{unknown}");
    }
}

/// Epoch 4 is claimed after orders-0, and those who are there hold still for it.
fn claimed(held: &[u8]) -> Look {
    let mut look = Look::well();
    let record = look.record().next_epoch();
    look.record = Some(Record {
        is_choosing: true,
        ..record
    });
    look.seen.had_primary = true;
    for number in 0..3 {
        look.member(number).is_connected = false;
        look.server(number).is_open = false;
    }
    held.iter().for_each(|number| hold(&mut look, *number));
    look
}

fn hold(look: &mut Look, number: u8) {
    look.told(number, Role::Hold);
    look.member(number).is_connected = true;
    look.server(number).follows = None;
}

/// What the primary of epoch 3 wrote, up to this; and what somebody else did.
fn has(look: &mut Look, number: u8, up_to: u8, other: &str) {
    let text = format!("{IDENTITY}:1-3,{}:1-{up_to}{other}", uuid(1));
    look.server(number).executed = text.parse().unwrap();
    look.server(number).received = GtidSet::new();
}

fn next(look: &Look) -> Option<String> {
    let decision = look.decide();
    decision.plan.record.map(|record| record.primary)
}

/// A person accepts what is lost with it.
fn name_by_hand(look: &mut Look, number: u8) {
    let epoch = look.record().term.epoch;
    look.spec.switchover = Some(Switchover {
        target: Some(name(number)),
        is_forced: true,
        accepts_loss_in: Some(epoch),
        ..Switchover::default()
    });
}

#[test]
fn of_equals_the_primary_before_leads_on_then_one_that_is_not_beside_the_operator() {
    assert_eq!(next(&claimed(&[0, 1, 2])), Some(name(0)));
    assert_eq!(next(&claimed(&[1, 2])), Some(name(1)));
    let mut look = claimed(&[1, 2]);
    look.seen.operator_node = Some("node1".into());
    assert_eq!(next(&look), Some(name(2)));
}

#[test]
fn who_answers_and_is_on_its_way_is_waited_for() {
    let mut look = claimed(&[0, 1, 2]);
    look.told(0, Role::Primary { wait_for: 1 });
    let members = names(&[0]);
    assert_eq!(look.decide().because, [Reason::WaitingFor { members }]);
    assert_eq!(next(&look), None);
    look.report(0).server_age_ms = 2_001;
    assert_eq!(next(&look), Some(name(1)), "it hangs");
}

#[test]
fn who_has_something_of_the_last_epoch_that_the_other_lacks_is_ahead_of_it() {
    // orders-2 followed with writes of an earlier primary that nobody was promised.
    let stray = format!(",{}:1", uuid(77));
    let mut look = claimed(&[1, 2]);
    has(&mut look, 1, 9, "");
    has(&mut look, 2, 8, &stray);
    assert_eq!(next(&look), Some(name(1)));
    has(&mut look, 1, 8, &stray);
    has(&mut look, 2, 9, "");
    assert_eq!(next(&look), Some(name(2)));
    has(&mut look, 2, 8, "");
    assert_eq!(next(&look), Some(name(1)), "it has all, and more");
    let other = format!(",{}:1", uuid(78));
    has(&mut look, 2, 8, &other);
    let (one, other) = (name(1), name(2));
    let decision = look.decide();
    let diverged = Refusal::HistoryDiverged { one, other };
    assert_eq!((decision.plan.record, &decision.refused[0]), (None, &diverged));
}

#[test]
fn where_an_epoch_came_to_nobody_what_counts_is_what_it_began_with() {
    let mut look = claimed(&[1, 2]);
    has(&mut look, 1, 9, "");
    has(&mut look, 2, 8, "");
    look.record().term.epoch = 5;
    look.record().cut = format!("{IDENTITY}:1-3,{}:1-8", uuid(1)).parse().ok();
    [1, 2].into_iter().for_each(|number| hold(&mut look, number));
    assert_eq!(
        next(&look),
        Some(name(2)),
        "orders-1 has what nobody was promised"
    );
    has(&mut look, 1, 7, "");
    assert_eq!(next(&look), Some(name(2)));
}

#[test]
fn a_person_decides_only_once_everybody_who_answers_holds_still() {
    let mut look = claimed(&[1, 2]);
    (look.record().acknowledged_by, look.record().wait_for) = (0, 0);
    [1, 2].into_iter().for_each(|number| hold(&mut look, number));
    name_by_hand(&mut look, 2);
    assert_eq!(next(&look), Some(name(2)));
    look.told(1, Role::Replica { source: place(0) });
    assert_eq!(next(&look), None, "orders-1 may know more");
    hold(&mut look, 1);
    look.told(2, Role::Replica { source: place(0) });
    assert_eq!(next(&look), None, "it is on its way itself");
    look.report(1).is_settled = false;
    look.report(1).server_age_ms = 2_001;
    hold(&mut look, 2);
    assert_eq!(next(&look), Some(name(2)), "orders-1 hangs");
}

/// Five, of whom three must be seen.
fn five(held: &[u8]) -> Look {
    let mut look = claimed(&[]);
    (look.spec.instances, look.spec.sync_replicas) = (5, 2);
    for number in [3, 4] {
        let voter = Voter {
            incarnation: Some(uuid(number + 1)),
            leaving: None,
        };
        look.record().voters.insert(name(number), voter);
        let mut member = empty(number);
        member.is_connected = false;
        look.seen.members.insert(name(number), member);
        look.server(number).executed = HISTORY.parse().unwrap();
    }
    (look.record().acknowledged_by, look.record().wait_for) = (2, 2);
    held.iter().for_each(|number| hold(&mut look, *number));
    look
}

#[test]
fn too_few_wait_in_words_as_long_as_somebody_is_on_its_way() {
    let state = |look: &Look| look.decide().state;
    assert_eq!(state(&five(&[3])), ClusterState::Blocked);
    let mut look = five(&[3, 4]);
    look.told(4, Role::Replica { source: place(0) });
    assert_eq!(
        state(&look),
        ClusterState::Blocked,
        "two are too few, whatever they do"
    );
    name_by_hand(&mut look, 4);
    assert_eq!(
        state(&look),
        ClusterState::FailingOver,
        "who was named is about to hold"
    );
    name_by_hand(&mut look, 3);
    assert_eq!(state(&look), ClusterState::Blocked);
    name_by_hand(&mut look, 2);
    assert_eq!(state(&look), ClusterState::Blocked, "nobody hears of orders-2");
}

#[test]
fn who_lacks_some_of_what_the_last_epoch_began_with_is_no_member_of_the_quorum() {
    let mut look = claimed(&[1, 2]);
    look.record().cut = format!("{IDENTITY}:1-2,{}:1-5", uuid(77)).parse().ok();
    [1, 2].into_iter().for_each(|number| hold(&mut look, number));
    // Its volume was set back: it got epoch 3 again, and not what it wrote itself before.
    look.server(1).executed = format!("{HISTORY},{}:1-4", uuid(77)).parse().unwrap();
    look.server(2).executed = format!("{HISTORY},{}:1-5", uuid(77)).parse().unwrap();
    let decision = look.decide();
    assert_eq!(
        (decision.state, decision.plan.record),
        (ClusterState::Blocked, None)
    );
    hold(&mut look, 0);
    look.server(0).executed = look.server(2).executed.clone();
    assert_eq!(next(&look), Some(name(0)));
}

#[test]
fn without_a_cut_the_highest_epoch_wins() {
    // Volumes are taken over: nobody remembers what an epoch began with.
    let mut look = claimed(&[1, 2]);
    look.record().cut = None;
    [1, 2].into_iter().for_each(|number| hold(&mut look, number));
    look.server(2).executed = format!("{IDENTITY}:1-2,{}:1-5", uuid(77)).parse().unwrap();
    assert_eq!(next(&look), Some(name(1)));
    look.server(1).executed = format!("{IDENTITY}:1-3,{}:1-5", uuid(77)).parse().unwrap();
    look.server(2).executed = format!("{IDENTITY}:1-4,{}:1-5", uuid(77)).parse().unwrap();
    assert_eq!(next(&look), Some(name(2)));
}
