//! Status, condition by condition, from decisions that are written out.
//! Must not ask decide: what is tested is how things are said.

use std::collections::{BTreeMap, BTreeSet};

use crds::conditions::ConditionType;
use kit::conditions;
use topology::decision::{ClusterState, MemberState, Plan, Reason, Refusal};
use topology::gtid::Uuid;
use topology::observed::{Endpoint, Exposed, Member, Pod};
use topology::report::{Process, Report, ServerSeen, Trouble, TroubleKind};

use super::*;
use crate::testing::record;

mod paused;

const CREATED: &str = "2026-11-21T12:00:00Z";
const NOW: &str = "2026-11-21T12:00:41.5Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn subject(instances: u16) -> Subject {
    Subject {
        generation: Some(3),
        created: Some(at(CREATED)),
        instances,
        selector: "mysql.holdfast.dev/cluster=orders".into(),
        endpoints: Endpoints {
            primary: "orders-primary".into(),
            replicas: "orders-replicas".into(),
        },
        is_suspended: false,
        removal: None,
    }
}

fn report(member: &str, is_open: bool) -> Report {
    Report {
        member: member.into(),
        heard: 7,
        agent: "0.1.0".into(),
        assignment: None,
        is_settled: true,
        proved: None,
        is_founded: true,
        process: Process::Running,
        server: Some(ServerSeen {
            incarnation: Uuid::from_bytes([1; 16]),
            version: "9.7.0".into(),
            executed: Default::default(),
            purged: Default::default(),
            received: Default::default(),
            is_open,
            has_waiters: false,
            acknowledging: 2,
            waits_for: Some(1),
            follows: None,
            lag_ms: None,
            beat: None,
        }),
        server_age_ms: 12,
        disk: None,
        write_age_ms: 0,
        drift: BTreeMap::new(),
        awaiting_restart: BTreeSet::new(),
        removed: None,
        troubles: Vec::new(),
    }
}

fn observed() -> Observed {
    let member = |name: &str| Member {
        pod: Some(Pod {
            node: Some("node1".into()),
            ..Pod::default()
        }),
        report: Some(report(name, name == "orders-0")),
        is_connected: true,
        ..Member::default()
    };
    let names = ["orders-0", "orders-1", "orders-2"];
    Observed {
        members: names.iter().map(|name| ((*name).into(), member(name))).collect(),
        exposed: Exposed {
            primary: Some(Endpoint {
                member: "orders-0".into(),
                ip: "10.0.0.1".into(),
            }),
            ..Exposed::default()
        },
        ..Observed::default()
    }
}

fn view(role: decision::MemberRole, state: MemberState, because: Option<&str>) -> MemberView {
    MemberView {
        role,
        state,
        because: because.map(str::to_owned),
        removed: None,
        is_ready: state == MemberState::Serving,
    }
}

fn decision(state: ClusterState) -> Decision {
    let members = [
        ("orders-0", decision::MemberRole::Primary),
        ("orders-1", decision::MemberRole::Replica),
        ("orders-2", decision::MemberRole::Replica),
    ];
    Decision {
        state,
        plan: Plan::default(),
        members: members
            .into_iter()
            .map(|(name, role)| (name.to_owned(), view(role, MemberState::Serving, None)))
            .collect(),
        because: Vec::new(),
        refused: Vec::new(),
        wake: None,
    }
}

struct World {
    subject: Subject,
    decision: Option<Decision>,
    observed: Observed,
    record: Option<Record>,
    stalls: Vec<Stall>,
}

impl World {
    fn healthy() -> Self {
        Self {
            subject: subject(3),
            decision: Some(decision(ClusterState::Healthy)),
            observed: observed(),
            record: Some(record(1)),
            stalls: Vec::new(),
        }
    }

    fn status(&self, before: &MySQLClusterStatus) -> MySQLClusterStatus {
        let findings = Findings {
            subject: &self.subject,
            decision: self.decision.as_ref(),
            observed: &self.observed,
            record: self.record.as_ref(),
            stalls: &self.stalls,
            story: None,
            growing: &[],
        };
        build(&findings, before, at(NOW))
    }

    fn fresh(&self) -> MySQLClusterStatus {
        self.status(&MySQLClusterStatus::default())
    }

    fn change(&mut self, name: &str, state: MemberState, because: &str) {
        let decision = self.decision.as_mut().unwrap();
        let member = decision.members.get_mut(name).unwrap();
        *member = view(member.role, state, Some(because));
    }
}

/// Type, status and reason of each.
fn conditions_of(status: &MySQLClusterStatus) -> Vec<String> {
    let list = status.conditions.iter().flatten();
    list.map(|one| format!("{}={} {}", one.type_, one.status, one.reason))
        .collect()
}

fn message(status: &MySQLClusterStatus, type_: ConditionType) -> String {
    let list = status.conditions.as_deref().unwrap();
    conditions::get(list, type_.as_str()).unwrap().message.clone()
}

#[test]
fn a_healthy_cluster_says_so_and_a_second_look_changes_nothing() {
    let world = World::healthy();
    let status = world.fresh();
    assert_eq!(
        conditions_of(&status),
        [
            "Ready=True AllInstancesReady",
            "PrimaryAvailable=True Writable",
            "Redundant=True SpareReplicas"
        ]
    );
    assert_eq!(status.ready.as_deref(), Some("3/3"));
    assert_eq!((status.instances, status.ready_instances), (Some(3), Some(3)));
    assert_eq!(status.version.as_deref(), Some("9.7.0"));
    assert_eq!(status.observed_generation, Some(3));
    assert_eq!(
        message(&status, ConditionType::Ready),
        "3/3 ready, primary orders-0"
    );
    let mut later = world;
    for member in later.observed.members.values_mut() {
        let server = member.report.as_mut().unwrap().server.as_mut().unwrap();
        server.executed = "9de5fb9f-cd3b-11f0-9d53-0a5d9ab4f0a1:1-9000".parse().unwrap();
        server.lag_ms = Some(31);
        member.reported_at += 500;
    }
    assert_eq!(later.status(&status), status);
}

#[test]
fn the_first_primary_is_told_when_it_is_open_and_reached() {
    let mut world = World::healthy();
    world.observed.exposed.primary = None;
    let before = world.fresh();
    // Named at once: from here on nobody founds this cluster anew.
    assert_eq!(before.primary.as_ref().unwrap().epoch, 1);
    assert!(before.promotions.is_none());
    let status = World::healthy().status(&before);
    let promotion = &status.promotions.unwrap()[0];
    assert_eq!(promotion.kind, PromotionKind::Bootstrap);
    assert_eq!(
        (promotion.to.as_str(), promotion.duration_ms),
        ("orders-0", 41_500)
    );
    assert_eq!((promotion.reason.as_str(), &promotion.from), ("Created", &None));
}

#[test]
fn a_primary_of_epoch_zero_is_not_named() {
    let mut world = World::healthy();
    world.record = Some(record(0));
    assert!(world.fresh().primary.is_none());
    let mut record = record(2);
    record.is_choosing = true;
    world.record = Some(record);
    assert!(world.fresh().primary.is_none());
}

#[test]
fn a_failover_is_told_with_its_cause_and_its_time() {
    let before = World::healthy().fresh();
    let mut world = World::healthy();
    let mut next = record(2);
    next.primary = "orders-1".into();
    world.record = Some(next);
    world.observed.members.get_mut("orders-1").unwrap().report = Some(report("orders-1", true));
    world.observed.exposed.primary.as_mut().unwrap().member = "orders-1".into();
    let story = Told {
        kind: PromotionKind::Failover,
        cause: "MysqldDead",
        because: Some("failing over from orders-0: its mysqld ended".into()),
        duration_ms: 240,
        deadline: PromotionDeadline::Met,
        phases: None,
    };
    let findings = Findings {
        subject: &world.subject,
        decision: world.decision.as_ref(),
        observed: &world.observed,
        record: world.record.as_ref(),
        stalls: &[],
        story: Some(story),
        growing: &[],
    };
    let status = build(&findings, &before, at(NOW));
    let told = &status.promotions.as_ref().unwrap()[0];
    assert_eq!((told.epoch, told.kind), (2, PromotionKind::Failover));
    assert_eq!(
        (told.from.as_deref(), told.to.as_str()),
        (Some("orders-0"), "orders-1")
    );
    assert_eq!((told.reason.as_str(), told.duration_ms), ("MysqldDead", 240));
    assert_eq!(told.deadline, Some(PromotionDeadline::Met));
    assert_eq!(status.promotions.unwrap().len(), 2);
    assert_eq!(status.primary.unwrap().name, "orders-1");
}

#[test]
fn a_member_that_cannot_run_is_named_with_the_reason() {
    let mut world = World::healthy();
    let problem = "Unschedulable: 0/3 nodes are available: 3 Insufficient memory.";
    world.change("orders-2", MemberState::Pending, problem);
    let decision = world.decision.as_mut().unwrap();
    decision.state = ClusterState::Degraded;
    decision.because = vec![Reason::MembersNotServing {
        members: BTreeSet::from(["orders-2".to_owned()]),
    }];
    let status = world.fresh();
    assert_eq!(
        conditions_of(&status),
        [
            "Ready=False InstancesNotReady",
            "PrimaryAvailable=True Writable",
            "Redundant=False NoSpareReplicas",
            "Reconciling=True Recovering"
        ]
    );
    let text = message(&status, ConditionType::Ready);
    assert!(
        text.starts_with("2/3 ready; ") && text.contains(problem),
        "{text}"
    );
    let member = &status.members.unwrap()[2];
    assert_eq!(member.because.as_deref(), Some(problem));
    assert_eq!(member.node.as_deref(), Some("node1"));
}

#[test]
fn a_full_volume_asks_for_a_larger_size_until_it_grows() {
    let mut world = World::healthy();
    let what = "its volume (960 MiB) is full: raise spec.storage.size";
    let report = world
        .observed
        .members
        .get_mut("orders-2")
        .unwrap()
        .report
        .as_mut();
    report.unwrap().troubles = vec![Trouble {
        kind: TroubleKind::DiskFull,
        what: what.into(),
    }];
    let status = world.fresh();
    assert_eq!(
        message(&status, ConditionType::Stalled),
        format!("orders-2: {what}")
    );
    assert!(conditions_of(&status).contains(&"Stalled=True VolumeFull".to_owned()));
    let findings = Findings {
        subject: &world.subject,
        decision: world.decision.as_ref(),
        observed: &world.observed,
        record: world.record.as_ref(),
        stalls: &[],
        story: None,
        growing: &["orders-2".to_owned()],
    };
    let status = build(&findings, &status, at(NOW));
    let said = conditions_of(&status);
    assert!(said.contains(&"Reconciling=True Resizing".to_owned()), "{said:?}");
    assert!(!said.iter().any(|one| one.starts_with("Stalled")), "{said:?}");
}

#[test]
fn a_spec_that_cannot_be_leaves_the_rest_as_it_was_said() {
    let before = World::healthy().fresh();
    let mut world = World::healthy();
    world.decision = None;
    world.record = None;
    world.stalls = vec![Stall {
        reason: Word::SpecRefused,
        message: "spec.storage.size: cannot be read".into(),
    }];
    let status = world.status(&before);
    assert_eq!(status.members, before.members);
    assert_eq!(status.primary, before.primary);
    assert_eq!(
        conditions_of(&status),
        [
            "Ready=Unknown NotObserved",
            "PrimaryAvailable=Unknown NotObserved",
            "Redundant=Unknown NotObserved",
            "Stalled=True SpecRefused"
        ]
    );
}

#[test]
fn what_a_person_must_do_comes_first_and_ends_the_word_of_progress() {
    let mut world = World::healthy();
    let decision = world.decision.as_mut().unwrap();
    decision.state = ClusterState::Blocked;
    decision.refused = vec![Refusal::RecordLost];
    for member in decision.members.values_mut() {
        member.is_ready = false;
    }
    world.stalls = vec![Stall {
        reason: Word::DeadlineExceeded,
        message: "late".into(),
    }];
    let status = world.fresh();
    assert_eq!(
        conditions_of(&status),
        [
            "Ready=False NoPrimary",
            "PrimaryAvailable=False NoPrimary",
            "Redundant=False NoPrimary",
            "Stalled=True QuorumLost"
        ]
    );
    world.decision.as_mut().unwrap().refused.clear();
    let status = world.fresh();
    assert!(conditions_of(&status).contains(&"Stalled=True DeadlineExceeded".to_owned()));
}

#[test]
fn an_image_that_lacks_something_stalls_the_cluster() {
    let mut world = World::healthy();
    let member = world.observed.members.get_mut("orders-1").unwrap();
    member.report.as_mut().unwrap().troubles = vec![Trouble {
        kind: TroubleKind::ImageUnfit,
        what: "the image has no plugin semisync_replica.so".into(),
    }];
    let status = world.fresh();
    assert!(conditions_of(&status).contains(&"Stalled=True ImageUnfit".to_owned()));
    assert_eq!(
        message(&status, ConditionType::Stalled),
        "orders-1: the image has no plugin semisync_replica.so"
    );
}

#[test]
fn one_member_alone_is_ready_and_not_redundant() {
    let mut world = World::healthy();
    world.subject = subject(1);
    let decision = world.decision.as_mut().unwrap();
    decision.members.retain(|name, _| name == "orders-0");
    assert_eq!(
        conditions_of(&world.fresh()),
        [
            "Ready=True AllInstancesReady",
            "PrimaryAvailable=True Writable",
            "Redundant=False SingleInstance"
        ]
    );
}

#[test]
fn suspension_and_removal_are_said_while_they_last() {
    let mut world = World::healthy();
    world.subject.is_suspended = true;
    world.decision.as_mut().unwrap().state = ClusterState::Suspended;
    let status = world.fresh();
    let said = conditions_of(&status);
    assert!(
        said.contains(&"Suspended=True SuspendedBySpec".to_owned()),
        "{said:?}"
    );
    assert!(
        said.contains(&"Ready=True AllInstancesReady".to_owned()),
        "{said:?}"
    );
    let mut world = World::healthy();
    world.subject.removal = Some("waiting for orders-1 to end".into());
    world.decision = None;
    let said = conditions_of(&world.status(&status));
    assert!(!said.iter().any(|one| one.starts_with("Suspended")), "{said:?}");
    assert!(said.contains(&"Ready=False Deleting".to_owned()), "{said:?}");
    assert!(said.contains(&"Reconciling=True Deleting".to_owned()), "{said:?}");
}

#[test]
fn reasons_are_those_of_their_condition() {
    let mut world = World::healthy();
    for state in ClusterState::ALL {
        for is_ready in [true, false] {
            let decision = world.decision.as_mut().unwrap();
            decision.state = *state;
            for member in decision.members.values_mut() {
                member.is_ready = is_ready;
            }
            for condition in world.fresh().conditions.unwrap() {
                let types = [
                    ConditionType::Ready,
                    ConditionType::PrimaryAvailable,
                    ConditionType::Redundant,
                    ConditionType::Reconciling,
                    ConditionType::Stalled,
                    ConditionType::Suspended,
                ];
                let type_ = types
                    .iter()
                    .find(|type_| type_.as_str() == condition.type_)
                    .unwrap();
                let is_one = type_.reasons().iter().any(|one| one.as_str() == condition.reason);
                assert!(is_one, "{state:?}: {} {}", condition.type_, condition.reason);
            }
        }
    }
}
