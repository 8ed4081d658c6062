//! What each member is told to be, by one look each.
//! Must not need a history: what lasts is in the orders that a member has.

use super::*;
use crate::gtid::GtidSet;
use crate::report::{Process, Trouble};
use crate::testing::{HISTORY, Look, empty, name, place, uuid};

/// What it is to be.
fn told(look: &Look, number: u8) -> Role {
    look.decide().plan.assign[&name(number)].role.clone()
}

fn set(text: &str) -> GtidSet {
    text.parse().unwrap()
}

#[test]
fn without_an_address_a_replica_stays_with_the_primary_and_leaves_a_former_one() {
    let told = |look: &Look| told(look, 2);
    let mut look = Look::well();
    look.member(0).pod.as_mut().unwrap().ip = None;
    assert_eq!(told(&look), Role::Replica { source: place(0) });
    let mut look = Look::well();
    let mut record = look.record().next_epoch();
    record.primary = name(1);
    // It has nothing that nobody was promised.
    record.cut = HISTORY.parse().ok();
    look.record = Some(record);
    look.member(1).pod.as_mut().unwrap().ip = None;
    assert_eq!(told(&look), Role::Hold);
}

/// orders-2 lost its data and copies those of orders-1, as it was told.
fn copying() -> Look {
    let mut look = Look::well();
    look.record().voters.get_mut(&name(2)).unwrap().incarnation = None;
    look.server(0).purged = set(HISTORY);
    let server = look.server(2);
    (server.executed, server.follows) = (GtidSet::new(), None);
    look.told_anew();
    look.told(2, clone_of_orders_1());
    look
}

fn clone_of_orders_1() -> Role {
    let instead_of = uuid(3);
    let donor = place(1);
    Role::Clone { donor, instead_of }
}

fn trouble(look: &mut Look, kind: TroubleKind) {
    let what = "it is so".into();
    look.report(2).troubles = vec![Trouble { kind, what }];
}

#[test]
fn a_copy_that_was_begun_goes_on_until_it_is_done_or_fails() {
    let of_the_primary = |look: &Look| match told(look, 2) {
        Role::Clone { donor, .. } => donor == place(0),
        other => panic!("{other:?}"),
    };
    assert_eq!(told(&copying(), 2), clone_of_orders_1());
    let mut busy = copying();
    busy.report(2).process = Process::Cloning { percent: 40 };
    busy.report(2).server = None;
    trouble(&mut busy, TroubleKind::Other);
    assert_eq!(told(&busy, 2), clone_of_orders_1());
    let mut failed = copying();
    failed.server(1).lag_ms = None;
    assert_eq!(told(&failed, 2), clone_of_orders_1());
    trouble(&mut failed, TroubleKind::CloneFailed);
    assert!(of_the_primary(&failed), "nobody else is fit any more");
    let mut moved = copying();
    moved.member(1).pod.as_mut().unwrap().ip = Some("10.0.0.9".into());
    moved.server(1).lag_ms = None;
    assert!(of_the_primary(&moved), "its donor is elsewhere");
    let mut lost = copying();
    lost.server(1).incarnation = uuid(99);
    lost.member(1).goal = None;
    assert!(of_the_primary(&lost), "its donor has other data");
    let mut done = copying();
    done.server(2).incarnation = uuid(99);
    done.server(2).executed = set(HISTORY);
    assert_eq!(told(&done, 2), Role::Replica { source: place(0) });
}

#[test]
fn one_copies_at_a_time() {
    let mut look = copying();
    look.spec.sync_replicas = 0;
    (look.record().acknowledged_by, look.record().wait_for) = (0, 0);
    look.told_anew();
    let donor = place(0);
    let instead_of = uuid(3);
    look.told(
        2,
        Role::Clone {
            donor: donor.clone(),
            instead_of,
        },
    );
    let server = look.server(1);
    (server.executed, server.follows) = (GtidSet::new(), None);
    assert_eq!(told(&look, 1), Role::Hold);
    assert_eq!(told(&look, 2), Role::Clone { donor, instead_of });
}

#[test]
fn a_replica_whose_mysqld_is_away_follows_the_primary_to_another_address() {
    let mut look = Look::well();
    look.member(0).pod.as_mut().unwrap().ip = Some("10.0.0.9".into());
    look.report(2).server = None;
    let source = Place {
        host: "10.0.0.9".into(),
        ..place(0)
    };
    assert_eq!(told(&look, 2), Role::Replica { source });
    look.told(2, Role::Hold);
    assert_eq!(told(&look, 2), Role::Hold, "it never becomes more");
}

#[test]
fn who_has_a_port_for_members_is_followed_there() {
    let mut look = Look::well();
    look.member(0).pod.as_mut().unwrap().replication_port = Some(33_062);
    look.report(2).server = None;
    let source = Place {
        port: 33_062,
        ..place(0)
    };
    assert_eq!(told(&look, 2), Role::Replica { source });
}

#[test]
fn a_replica_that_keeps_up_gives_its_data_if_it_can_be_spared() {
    // Four, and orders-3 has nothing yet.
    let copying = |lags: [u64; 2]| {
        let mut look = Look::well();
        look.spec.instances = 4;
        look.server(0).purged = set(HISTORY);
        look.seen.members.insert(name(3), empty(3));
        (look.server(1).lag_ms, look.server(2).lag_ms) = (Some(lags[0]), Some(lags[1]));
        look
    };
    let donor = |look: &Look| match told(look, 3) {
        Role::Clone { donor, .. } => donor,
        other => panic!("{other:?}"),
    };
    assert_eq!(donor(&copying([0, 0])), place(1));
    assert_eq!(donor(&copying([30_001, 30_000])), place(2));
    assert_eq!(donor(&copying([30_001, 30_001])), place(0));
    let mut needed = copying([0, 0]);
    (needed.record().wait_for, needed.record().acknowledged_by) = (2, 2);
    needed.spec.sync_replicas = 2;
    assert_eq!(donor(&needed), place(0), "both acknowledge");
}
