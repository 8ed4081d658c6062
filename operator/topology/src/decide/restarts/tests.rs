//! Who is restarted when the spec changes, one look after another.
//! Must not need a history: each case is one look.

use super::*;
use crate::assignment::Role;
use crate::decision::ClusterState;
use crate::testing::{IDENTITY, Look, name, uuid};

/// A parameter was set that mysqld takes at its start alone, and everybody knows.
fn changed() -> Look {
    let mut look = Look::well();
    let parameter = ("innodb_sort_buffer_size".to_owned(), "2M".to_owned());
    look.spec.parameters.extend([parameter]);
    look.told_anew();
    look
}

fn waits(look: &mut Look, number: u8) {
    let report = look.report(number);
    report.awaiting_restart = BTreeSet::from(["innodb_sort_buffer_size".to_owned()]);
    report.is_settled = false;
}

/// Who may restart, by the orders that it gets.
fn permitted(look: &Look) -> Vec<String> {
    let plan = look.decide().plan;
    let may = plan.assign.iter().filter(|(_, order)| order.server.may_restart);
    may.map(|(name, _)| name.clone()).collect()
}

fn heir(look: &Look) -> Option<String> {
    look.decide().plan.record.and_then(|record| record.handing_to)
}

#[test]
fn a_cluster_that_is_well_is_left_alone() {
    let look = Look::well();
    let plan = look.decide().plan;
    assert_eq!((plan.record, plan.expose, plan.replace), (None, None, None));
    assert!(permitted(&look).is_empty() && permitted(&changed()).is_empty());
    assert_eq!(heir(&changed()), None);
}

#[test]
fn one_replica_restarts_at_a_time_and_only_if_the_others_serve() {
    let mut look = changed();
    for number in 0..3 {
        waits(&mut look, number);
    }
    assert_eq!((permitted(&look), heir(&look)), (vec![name(1)], None));
    // It restarts, and has not looked anew; until then nobody else may.
    look.report(1).awaiting_restart.clear();
    assert_eq!((permitted(&look), heir(&look)), (vec![], None));
    look.report(1).is_settled = true;
    assert_eq!((permitted(&look), heir(&look)), (vec![name(2)], None));
    // It follows again, and has not received what was written meanwhile.
    let more = format!("{IDENTITY}:1-3,{}:1-99", uuid(1)).parse();
    look.member(1).goal = more.clone().ok();
    assert!(permitted(&look).is_empty());
    look.server(1).received = more.unwrap();
    assert_eq!(permitted(&look), [name(2)]);
    look.member(1).goal = None;
    assert!(permitted(&look).is_empty());
    look.member(1).goal = Some(Default::default());
    look.server(1).follows = None;
    assert!(permitted(&look).is_empty());
}

#[test]
fn who_may_restart_stays_the_same_until_it_has() {
    let mut look = changed();
    waits(&mut look, 2);
    assert_eq!(permitted(&look), [name(2)]);
    look.report(1).is_settled = false;
    assert!(
        permitted(&look).is_empty(),
        "orders-1 would be the first, perhaps"
    );
    waits(&mut look, 1);
    assert_eq!(permitted(&look), [name(1)]);
}

#[test]
fn the_primary_hands_over_when_all_others_have_looked_at_the_parameters() {
    let mut look = changed();
    waits(&mut look, 0);
    assert!(heir(&look).is_some());
    // Also while something keeps it from that, nobody is told that all is done.
    look.seen.taken_back_at = Some(look.now);
    assert_eq!((heir(&look), look.decide().state), (None, ClusterState::Updating));
    look.seen.taken_back_at = None;
    // The primary was the quickest to look.
    look.report(2).is_settled = false;
    assert_eq!(heir(&look), None);
    look.report(2).is_settled = true;
    let old = |look: &mut Look| {
        look.report(2)
            .assignment
            .as_mut()
            .unwrap()
            .server
            .parameters
            .clear()
    };
    old(&mut look);
    assert_eq!(heir(&look), None);
    // The old primary would restart, and nobody be left who acknowledges.
    look.member(2).is_connected = false;
    assert_eq!(heir(&look), None);
}

#[test]
fn nobody_restarts_while_the_primary_hands_over() {
    let mut look = changed();
    waits(&mut look, 2);
    assert_eq!(permitted(&look), [name(2)]);
    look.record().handing_to = Some(name(1));
    assert!(permitted(&look).is_empty());
}

/// orders-0 is all there is, and all there is to be.
fn alone() -> Look {
    let mut look = Look::well();
    (look.spec.instances, look.spec.sync_replicas) = (1, 0);
    let record = look.record();
    record.voters.retain(|member, _| *member == name(0));
    (record.wait_for, record.acknowledged_by) = (0, 0);
    look.seen.members.retain(|member, _| *member == name(0));
    look.told(0, Role::Primary { wait_for: 0 });
    look.server(0).waits_for = Some(0);
    look.seen.exposed.replicas = look.seen.exposed.primary.iter().cloned().collect();
    look
}

#[test]
fn who_is_alone_restarts_without_a_handover() {
    let mut look = alone();
    assert_eq!(look.decide().state, ClusterState::Healthy);
    assert!(permitted(&look).is_empty());
    waits(&mut look, 0);
    assert_eq!((permitted(&look), heir(&look)), (vec![name(0)], None));
    let decision = look.decide();
    assert_eq!(decision.state, ClusterState::Updating);
    let words: Vec<_> = decision.because.iter().map(Reason::to_string).collect();
    assert_eq!(
        words,
        ["restarting mysqld of orders-0 for innodb_sort_buffer_size"]
    );
    look.server(0).is_open = false;
    assert!(permitted(&look).is_empty(), "the restart before is not over");
    let mut scaled = alone();
    waits(&mut scaled, 0);
    scaled.spec.instances = 3;
    assert!(
        permitted(&scaled).is_empty(),
        "others come, and one can take over"
    );
}

#[test]
fn the_pod_of_who_is_alone_is_made_anew() {
    let replaced = |look: &Look| look.decide().plan.replace;
    let mut look = alone();
    look.member(0).pod.as_mut().unwrap().is_current = false;
    assert_eq!(replaced(&look), Some(name(0)));
    assert_eq!(look.decide().state, ClusterState::Updating);
    waits(&mut look, 0);
    assert!(permitted(&look).is_empty(), "one pause for both");
    look.member(0).pod.as_mut().unwrap().is_terminating = true;
    assert_eq!(replaced(&look), None);
    look.member(0).is_connected = false;
    let away = look.decide();
    assert_eq!(
        (away.state, away.refused.len()),
        (ClusterState::PrimaryUnavailable, 1)
    );
    let mut three = Look::well();
    three.member(0).pod.as_mut().unwrap().is_current = false;
    assert_eq!(replaced(&three), None);
}

#[test]
fn a_pod_of_an_older_spec_that_does_not_run_is_made_anew_at_once() {
    let replaced = |problem: Option<&str>, is_connected: bool| {
        let mut look = Look::well();
        // Nobody could be spared.
        look.member(2).is_connected = false;
        look.member(1).is_connected = is_connected;
        let pod = look.member(1).pod.as_mut().unwrap();
        (pod.is_current, pod.problem) = (false, problem.map(str::to_owned));
        look.decide().plan.replace
    };
    assert_eq!(replaced(Some("no such image"), false), Some(name(1)));
    assert_eq!(
        replaced(Some("no such image"), true),
        None,
        "it is not what keeps it"
    );
    assert_eq!(replaced(None, false), None, "it may run where nobody sees it");
}
