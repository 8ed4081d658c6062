//! When a primary that is well hands over, to whom, and when that is taken back, by one look each.
//! Must not need a history: what lasts is a figure in the look.

use super::*;
use crate::observed::Switchover;
use crate::record::{Leaving, Voter};
use crate::testing::{HISTORY, IDENTITY, Look, name, place, uuid};

/// Somebody asked for another primary.
fn asked(target: Option<u8>) -> Look {
    let mut look = Look::well();
    look.spec.switchover = Some(Switchover {
        target: target.map(name),
        ..Switchover::default()
    });
    look
}

fn ending() -> Look {
    let mut look = Look::well();
    look.member(0).pod.as_mut().unwrap().is_terminating = true;
    look
}

/// The Pods of these are of an older spec.
fn outdated(numbers: &[u8]) -> Look {
    let mut look = Look::well();
    for number in numbers {
        look.member(*number).pod.as_mut().unwrap().is_current = false;
    }
    look
}

/// orders-0 hands over to orders-1, and is closed.
fn closed() -> Look {
    let mut look = asked(None);
    look.record().handing_to = Some(name(1));
    look.seen.handing_since = Some(look.now);
    look.told_anew();
    look.told(0, Role::Retire);
    let primary = look.server(0);
    (primary.is_open, primary.waits_for) = (false, None);
    look
}

fn heir(look: &Look) -> Option<String> {
    look.decide().plan.record.and_then(|next| next.handing_to)
}

/// Why the handover does not begin.
fn wait_of(look: &Look) -> Option<Wait> {
    look.refused(|refusal| match refusal {
        Refusal::HandoverWaits { why, .. } => Some(why),
        _ => None,
    })
}

/// Why nobody is fit, by number.
fn unfit(look: &Look) -> Vec<(String, Unfit)> {
    let unfit = look.refused(|refusal| match refusal {
        Refusal::NoSuccessor { unfit, .. } => Some(unfit),
        _ => None,
    });
    unfit.into_iter().flatten().collect()
}

/// Why a handover that is under way is taken back.
fn taken_back(look: &Look) -> Option<Hindrance> {
    look.because(|reason| match reason {
        Reason::TakingBack { why, .. } => Some(why),
        _ => None,
    })
}

/// Who leads the next epoch, if it begins.
fn next_primary(look: &Look) -> Option<String> {
    let epoch = look.record.as_ref().unwrap().term.epoch;
    let next = look.decide().plan.record.filter(|next| next.term.epoch > epoch);
    next.map(|next| next.primary)
}

#[test]
fn a_primary_hands_over_if_it_is_asked_to_or_ends() {
    assert_eq!(heir(&Look::well()), None);
    assert_eq!(heir(&asked(None)), Some(name(1)));
    assert_eq!(heir(&asked(Some(2))), Some(name(2)));
    assert_eq!(heir(&asked(Some(0))), None, "it leads already");
    assert_eq!(heir(&ending()), Some(name(1)));
    let mut both = asked(Some(2));
    both.member(0).pod.as_mut().unwrap().is_terminating = true;
    assert_eq!(heir(&both), Some(name(1)), "whoever is first: it is urgent");
}

#[test]
fn it_waits_until_nothing_else_is_being_changed() {
    let mut opening = asked(None);
    opening.server(0).is_open = false;
    assert_eq!(wait_of(&opening), Some(Wait::Opening));
    let mut raising = asked(None);
    raising.record().acknowledged_by = 0;
    assert_eq!(wait_of(&raising), Some(Wait::Membership));
    let mut removing = asked(None);
    let leaving = Voter {
        incarnation: Some(uuid(4)),
        leaving: Some(Leaving::Asked),
    };
    removing.record().voters.insert(name(3), leaving);
    assert_eq!(wait_of(&removing), Some(Wait::Membership));
}

#[test]
fn after_one_that_was_taken_back_it_waits_for_half_a_minute_unless_its_pod_ends() {
    let at = |ago: u64, mut look: Look| {
        look.seen.taken_back_at = Some(look.now - ago);
        (wait_of(&look), heir(&look))
    };
    assert_eq!(at(29_999, asked(None)), (Some(Wait::Pause), None));
    assert_eq!(at(30_000, asked(None)), (None, Some(name(1))));
    assert_eq!(at(0, ending()), (None, Some(name(1))));
}

#[test]
fn it_waits_until_nodes_have_seen_the_last_change_of_services() {
    let at = |ago: u64| {
        let mut look = asked(None);
        look.seen.exposed_at = Some(look.now - ago);
        let decision = look.decide();
        assert_eq!(decision.refused, [], "nobody need know");
        let wakes_in = decision.wake.map(|wake| wake - look.now);
        (decision.plan.record.is_some(), wakes_in)
    };
    assert_eq!(at(0), (false, Some(2_000)));
    assert_eq!(at(1_999), (false, Some(1)));
    assert_eq!(at(2_000), (true, None));
    let mut nothing = Look::well();
    nothing.seen.exposed_at = Some(nothing.now);
    assert_eq!(nothing.decide().wake, None);
}

#[test]
fn the_primary_is_updated_last() {
    assert_eq!(heir(&outdated(&[0])), Some(name(1)));
    assert_eq!(heir(&outdated(&[0, 1])), None, "replicas come first");
}

#[test]
fn who_is_of_the_newest_spec_leads_next() {
    let mut look = ending();
    look.member(1).pod.as_mut().unwrap().is_current = false;
    assert_eq!(heir(&look), Some(name(2)), "orders-1 would soon hand over again");
}

#[test]
fn of_equals_one_leads_next_that_is_not_beside_the_operator() {
    let mut look = asked(None);
    look.seen.operator_node = Some("node1".into());
    assert_eq!(heir(&look), Some(name(2)), "not beside the operator");
    // Who lacks less comes first, wherever it is.
    look.server(2).executed = format!("{IDENTITY}:1-3,{}:1-8", uuid(1)).parse().unwrap();
    assert_eq!(heir(&look), Some(name(1)));
}

#[test]
fn who_is_asked_for_and_cannot_is_named_with_the_reason() {
    let only = |look: &Look, why: Unfit| assert_eq!(unfit(look), [(name(1), why)]);
    let mut stopped = asked(Some(1));
    stopped.follows(1).is_applying = false;
    only(&stopped, Unfit::NotFollowing);
    let mut mute = asked(Some(1));
    mute.follows(1).acknowledges = false;
    only(&mute, Unfit::NotFollowing);
    let mut away = asked(Some(1));
    away.server(1).follows = None;
    only(&away, Unfit::NotFollowing);
    let mut leaving = asked(Some(1));
    leaving.member(1).pod.as_mut().unwrap().is_terminating = true;
    only(&leaving, Unfit::Ending);
    let mut homeless = asked(Some(1));
    homeless.member(1).pod.as_mut().unwrap().ip = None;
    only(&homeless, Unfit::Ending);
    for lag in [None, Some(1_501)] {
        let mut late = asked(Some(1));
        late.server(1).lag_ms = lag;
        only(&late, Unfit::Behind);
    }
    let mut near = asked(Some(1));
    near.server(1).lag_ms = Some(1_500);
    near.server(0).executed = format!("{IDENTITY}:1-3,{}:1-1009", uuid(1)).parse().unwrap();
    assert_eq!(heir(&near), Some(name(1)));
    near.server(0).executed = format!("{IDENTITY}:1-3,{}:1-1010", uuid(1)).parse().unwrap();
    only(&near, Unfit::Behind);
    let unknown = asked(Some(7));
    assert_eq!(unfit(&unknown), [(name(7), Unfit::NotWanted)]);
}

#[test]
fn enough_must_be_left_to_acknowledge_for_the_next() {
    let two = |mut look: Look| {
        look.member(2).is_connected = false;
        look
    };
    assert_eq!(heir(&two(asked(None))), Some(name(1)), "the old one will");
    assert_eq!(heir(&two(ending())), None, "it goes away with its Pod");
    let mut none = two(ending());
    (none.record().acknowledged_by, none.record().wait_for) = (0, 0);
    none.spec.sync_replicas = 0;
    assert_eq!(heir(&none), Some(name(1)));
}

#[test]
fn the_role_moves_when_the_old_primary_is_closed_and_the_other_has_applied_all_that_it_has() {
    let look = closed();
    let epoch = 4;
    assert_eq!(next_primary(&look), Some(name(1)));
    let next = look.decide().plan.record.unwrap();
    assert_eq!((next.term.epoch, next.handing_to), (epoch, None));
    assert_eq!(next.cut, HISTORY.parse().ok());
    let changes: [fn(&mut Look); 7] = [
        |look| look.server(0).is_open = true,
        |look| look.server(0).has_waiters = true,
        |look| look.report(0).is_settled = false,
        |look| look.told(0, Role::Primary { wait_for: 1 }),
        |look| look.record().term.revision += 1,
        |look| look.server(0).executed = format!("{IDENTITY}:1-3,{}:1-10", uuid(1)).parse().unwrap(),
        |look| {
            look.server(1).executed = format!("{IDENTITY}:1-3,{}:1-8", uuid(1)).parse().unwrap();
            look.server(1).received = format!("{}:1-9", uuid(1)).parse().unwrap();
        },
    ];
    for (at, change) in changes.iter().enumerate() {
        let mut look = closed();
        change(&mut look);
        let decision = look.decide();
        assert_eq!(decision.plan.record, None, "with change {at}");
        assert_eq!(decision.wake, Some(look.now + 5_001), "with change {at}");
    }
}

#[test]
fn it_is_taken_back_after_its_time_or_if_the_other_is_gone() {
    let open = |ago: u64| {
        let mut look = closed();
        look.server(0).is_open = true;
        look.seen.handing_since = Some(look.now - ago);
        look
    };
    assert_eq!(taken_back(&open(5_000)), None);
    assert_eq!(taken_back(&open(5_001)), Some(Hindrance::TooLong));
    let mut longer = open(5_001);
    longer.spec.switchover.as_mut().unwrap().budget_ms = 60_000;
    assert_eq!(taken_back(&longer), None);
    assert_eq!(longer.decide().wake, Some(longer.now - 5_001 + 60_001));
    let mut away = open(0);
    away.server(1).follows = None;
    assert_eq!(taken_back(&away), Some(Hindrance::TargetGone));
    let mut lost = open(0);
    lost.member(1).is_connected = false;
    assert_eq!(taken_back(&lost), Some(Hindrance::TargetGone));
}

#[test]
fn who_was_told_to_copy_does_not_lead() {
    let mut look = closed();
    let instead_of = look.server(1).incarnation;
    let donor = place(2);
    look.told(1, Role::Clone { donor, instead_of });
    assert_eq!(next_primary(&look), None);
    assert_eq!(taken_back(&look), Some(Hindrance::TargetGone));
}
