//! When the next epoch is claimed, and when not, by one look each.
//! Must not need a history: what lasts is a figure in the look.

use super::*;
use crate::assignment::Role;
use crate::decision::{ClusterState, Decision, Reason};
use crate::observed::Switchover;
use crate::record::Leaving;
use crate::report::{Disk, Trouble, TroubleKind};
use crate::testing::{HISTORY, Look, name, names, uuid};

fn dead() -> Look {
    let mut look = Look::well();
    look.report(0).process = Process::Ended { restarts: 0 };
    look
}

fn troubled(kind: TroubleKind) -> Look {
    let mut look = Look::well();
    trouble(&mut look, 0, kind);
    look
}

fn trouble(look: &mut Look, number: u8, kind: TroubleKind) {
    look.report(number).troubles.push(Trouble {
        kind,
        what: "its volume".into(),
    });
}

fn claimed(look: &Look) -> Option<Record> {
    let Decision { plan, .. } = look.decide();
    plan.record.filter(|record| record.is_choosing)
}

#[test]
fn a_dead_primary_is_followed_by_a_choice_and_by_nothing_else() {
    assert_eq!(claimed(&Look::well()), None);
    let look = dead();
    let mut expected = look.record.clone().unwrap().next_epoch();
    (expected.is_choosing, expected.failovers) = (true, 1);
    assert_eq!(claimed(&look), Some(expected));
    let from = name(0);
    let cause = Cause::MysqldDead;
    assert_eq!(look.decide().because[0], Reason::FailingOver { from, cause });
    let mut handing = dead();
    handing.record().handing_to = Some(name(1));
    assert_eq!(claimed(&handing).unwrap().handing_to, None);
}

#[test]
fn who_cannot_know_every_acknowledged_write_claims_nothing() {
    let mut look = dead();
    look.member(2).is_connected = false;
    assert_eq!(claimed(&look), None);
    let mut unpromised = dead();
    unpromised.record().acknowledged_by = 0;
    assert_eq!(claimed(&unpromised), None);
}

#[test]
fn a_full_volume_is_left_for_members_that_have_room() {
    let look = || troubled(TroubleKind::DiskFull);
    assert!(claimed(&look()).is_some());
    let mut nearly = look();
    nearly.report(2).disk = Some(Disk {
        total_bytes: 1 << 30,
        free_bytes: 1,
    });
    assert_eq!(claimed(&nearly), None);
    // Where a write fails at once, who still writes will do.
    let mut failing = troubled(TroubleKind::VolumeFails);
    failing.report(2).disk = nearly.report(2).disk;
    assert!(claimed(&failing).is_some());
    trouble(&mut failing, 2, TroubleKind::VolumeFails);
    assert_eq!(claimed(&failing), None);
}

#[test]
fn those_who_acknowledge_must_be_able_to_write_as_well() {
    let raising = |mut look: Look| {
        look.record().wait_for = 2;
        look
    };
    assert!(claimed(&raising(dead())).is_some());
    assert_eq!(claimed(&raising(troubled(TroubleKind::DiskFull))), None);
}

#[test]
fn under_the_manual_policy_only_an_approval_begins_it() {
    let mut look = dead();
    look.spec.is_failover_manual = true;
    assert_eq!(claimed(&look), None);
    let primary = name(0);
    assert_eq!(look.decide().refused, [Refusal::AwaitingApproval { primary }]);
    let asked = |is_forced| Switchover {
        is_forced,
        ..Switchover::default()
    };
    look.spec.switchover = Some(asked(false));
    assert_eq!(claimed(&look), None);
    look.spec.switchover = Some(asked(true));
    assert!(claimed(&look).is_some());
    // What was approved does not wait for a pause either.
    look.record().failovers = 8;
    look.seen.failed_over_at = Some(look.now);
    assert!(claimed(&look).is_some());
    look.spec.is_failover_manual = false;
    look.spec.switchover = None;
    assert_eq!(claimed(&look), None);
}

#[test]
fn silence_is_death_only_if_nobody_hears_it() {
    let silent = |ms: u64, streams_ms: u64| {
        let mut look = Look::well();
        look.member(0).is_connected = false;
        look.member(0).reported_at = look.now - ms;
        for number in [1, 2] {
            look.follows(number).silence_ms = streams_ms;
        }
        claimed(&look).is_some()
    };
    assert!(silent(AGENT_SILENCE_MS + 1, 1_001));
    assert!(!silent(AGENT_SILENCE_MS, 1_001));
    assert!(!silent(AGENT_SILENCE_MS + 1, 1_000));
    assert!(!silent(60_000, 0));
}

#[test]
fn a_hung_server_is_replaced_if_nobody_hears_it() {
    let hung = |ms: u64, streams_ms: u64| {
        let mut look = Look::well();
        look.report(0).server_age_ms = ms;
        for number in [1, 2] {
            look.follows(number).silence_ms = streams_ms;
        }
        claimed(&look).is_some()
    };
    assert!(hung(2_001, 2_000));
    assert!(!hung(2_000, 2_000));
    assert!(!hung(2_001, 0));
}

/// So many replicas say for so long that they cannot reach it.
fn cut(numbers: &[u8], ms: u64) -> Look {
    let mut look = Look::well();
    for number in numbers {
        let follows = look.follows(*number);
        (follows.is_receiving, follows.is_unreached) = (false, true);
        follows.silence_ms = ms;
    }
    look
}

#[test]
fn a_primary_that_its_replicas_cannot_reach_is_left_out() {
    let record = claimed(&cut(&[1, 2], CUT_OFF_MS + 1)).unwrap();
    assert_eq!(record.left_out, names(&[0]));
    assert_eq!(claimed(&cut(&[1, 2], CUT_OFF_MS)), None);
    // One that still follows has every acknowledged write.
    assert_eq!(claimed(&cut(&[2], CUT_OFF_MS + 1)), None);
    let mut refused = cut(&[1, 2], CUT_OFF_MS + 1);
    refused.follows(2).is_unreached = false;
    assert_eq!(claimed(&refused), None);
    let mut elsewhere = cut(&[1, 2], CUT_OFF_MS + 1);
    elsewhere.follows(2).host = "10.9.9.9".into();
    assert_eq!(claimed(&elsewhere), None);
    let mut leaving = cut(&[1, 2], CUT_OFF_MS + 1);
    leaving.record().voters.get_mut(&name(2)).unwrap().leaving = Some(Leaving::Asked);
    assert_eq!(claimed(&leaving), None, "who leaves follows nobody");
    // With those who acknowledge, there would be too few.
    let mut raising = cut(&[1, 2], CUT_OFF_MS + 1);
    raising.record().wait_for = 2;
    assert_eq!(claimed(&raising), None);
    let mut alone = cut(&[1, 2], CUT_OFF_MS + 1);
    alone.record().wait_for = 0;
    assert_eq!(claimed(&alone), None);
}

#[test]
fn a_primary_that_lacks_what_it_had_is_given_up_even_if_it_is_open() {
    let mut look = Look::well();
    look.member(0).forgot = HISTORY.parse().ok();
    assert_eq!(cause_of(&look), Some(Cause::SetBack));
    look.member(2).forgot = HISTORY.parse().ok();
    let decision = look.decide();
    assert_eq!(decision.plan.record, None, "too few have all that they had");
    assert_eq!(decision.state, ClusterState::Blocked);
    assert_eq!(decision.plan.assign[&name(0)].role, Role::Hold);
    let Some(Refusal::QuorumLost { seen, .. }) = decision.refused.first() else {
        panic!("{:?}", decision.refused);
    };
    assert_eq!(*seen, names(&[1]));
}

#[test]
fn a_primary_without_what_it_wrote_itself_and_a_replica_has_is_given_up() {
    let mut look = Look::well();
    look.server(0).is_open = false;
    look.member(2).ahead = HISTORY.parse().ok();
    assert_eq!(cause_of(&look), Some(Cause::SetBack));
    look.server(2).incarnation = uuid(99);
    assert_eq!(cause_of(&look), None, "its data do not count");
}

fn cause_of(look: &Look) -> Option<Cause> {
    look.because(|reason| match reason {
        Reason::FailingOver { cause, .. } => Some(cause),
        _ => None,
    })
}
