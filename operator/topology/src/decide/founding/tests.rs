//! From the first record to the first epoch, and another founder where the first one is gone.
//! Must not need a history: each case is one look.

use super::*;
use crate::assignment::Role;
use crate::gtid::Uuid;
use crate::record::Voter;
use crate::term::Term;
use crate::testing::{IDENTITY, Look, following, name, names, uuid};

/// orders-0 makes the first data, and the others wait for it.
fn founding() -> Look {
    let mut look = Look::empty(&[0, 1, 2]);
    let voter = |number: u8| Voter {
        incarnation: (number == 0).then(|| uuid(1)),
        leaving: None,
    };
    look.record = Some(Record {
        voters: [0, 1, 2].map(|number| (name(number), voter(number))).into(),
        ..Record::of(IDENTITY.parse().unwrap(), Term::new(0, 1), name(0))
    });
    look.told(0, Role::Found);
    let now = look.now;
    (0..3).for_each(|number| look.member(number).reported_at = now);
    look
}

const FIRST: &str = "00000000-0000-0000-0000-000000000001:1-5";

/// It has made them, and orders-1 has them, too.
fn founded() -> Look {
    let mut look = founding();
    look.report(0).is_founded = true;
    look.server(0).executed = FIRST.parse().unwrap();
    look.server(1).executed = FIRST.parse().unwrap();
    look.server(1).follows = Some(following());
    look.member(1).goal = Some(FIRST.parse().unwrap());
    look.record().voters.get_mut(&name(1)).unwrap().incarnation = Some(uuid(2));
    look
}

/// Nothing was heard of the founder for so long.
fn silent_for(mut look: Look, silence: u64) -> Look {
    look.member(0).is_connected = false;
    look.member(0).reported_at = look.now - silence;
    look
}

/// Who founds by the next record, with whose data, and who else is counted.
fn founder(look: &Look) -> Option<(String, Option<Uuid>, usize)> {
    let next = look.decide().plan.record?;
    let counted = next.voters.values().filter_map(|voter| voter.incarnation);
    let of = next.voters[&next.primary].incarnation;
    Some((next.primary.clone(), of, counted.count()))
}

#[test]
fn what_is_waited_for_is_said_and_looked_at_again() {
    let look = founding();
    let decision = look.decide();
    let primary = name(0);
    assert_eq!(decision.because, [Reason::Founding { primary }]);
    assert_eq!(decision.wake, Some(look.now + 15_000));
    let mut look = founded();
    look.spec.sync_replicas = 2;
    look.member(2).is_connected = false;
    let members = names(&[2]);
    let reasons = [
        Reason::WaitingFor { members },
        Reason::WaitingForReplicas { have: 1, need: 2 },
    ];
    assert_eq!(look.decide().because, reasons);
}

#[test]
fn the_first_epoch_begins_with_what_the_founder_has_once_enough_follow() {
    let look = founded();
    let expected = Record {
        term: Term::new(1, 2),
        acknowledged_by: 1,
        wait_for: 1,
        cut: FIRST.parse().ok(),
        ..look.record.clone().unwrap()
    };
    assert_eq!(look.decide().plan.record, Some(expected));
    let mut early = founded();
    early.report(0).is_founded = false;
    assert_eq!(early.decide().plan.record, None);
    let mut alone = founded();
    alone.server(1).follows = None;
    assert_eq!(alone.decide().plan.record, None);
}

#[test]
fn a_founder_that_is_there_founds() {
    assert_eq!(founder(&founding()), None);
    let mut restarting = founding();
    restarting.report(0).server = None;
    restarting.member(0).reported_at = 0;
    assert_eq!(founder(&restarting), None, "its agent answers");
}

#[test]
fn a_founder_with_another_volume_begins_again_if_that_is_empty() {
    let mut look = founded();
    look.report(0).is_founded = false;
    look.server(0).incarnation = uuid(99);
    assert_eq!(founder(&look), None, "somebody's data are not thrown away");
    look.server(0).executed = Default::default();
    assert_eq!(founder(&look), Some((name(0), Some(uuid(99)), 1)));
}

#[test]
fn a_founder_that_is_silent_for_long_is_followed_by_another() {
    assert_eq!(founder(&silent_for(founded(), 15_000)), None);
    let another = Some((name(1), Some(uuid(2)), 1));
    assert_eq!(founder(&silent_for(founded(), 15_001)), another);
    let mut few = silent_for(founded(), 15_001);
    few.member(2).is_connected = false;
    assert_eq!(founder(&few), None, "too few would be left to open with");
    few.spec.sync_replicas = 2;
    assert_eq!(founder(&few), another);
}

#[test]
fn who_has_no_data_yet_waits_for_those_of_the_founder() {
    let look = founding();
    let orders = look.decide().plan.assign;
    let roles: Vec<&Role> = orders.values().map(|order| &order.role).collect();
    assert_eq!(roles, [&Role::Found, &Role::Hold, &Role::Hold]);
}
