//! What comes out as text, with and without clusters.
//! Must not reach into a family: what counts is what is read.

use crds::cluster::PromotionPhases;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::*;

fn key() -> Key {
    Key {
        namespace: "shop".into(),
        name: "orders".into(),
    }
}

fn text(registry: &Registry) -> String {
    kit::metrics::answer(registry).body
}

fn promotion(epoch: i64, kind: PromotionKind, deadline: Option<PromotionDeadline>) -> Promotion {
    let minute = "2026-11-21T12:00:00Z"
        .parse::<jiff::Timestamp>()
        .unwrap()
        .as_second()
        + 60 * epoch;
    Promotion {
        epoch,
        time: Time(jiff::Timestamp::from_second(minute).unwrap()),
        from: Some("orders-0".into()),
        to: "orders-1".into(),
        kind,
        reason: "MysqldDead".into(),
        because: None,
        duration_ms: 40_250,
        deadline,
        phases_ms: Some(PromotionPhases {
            detect: 30,
            barrier: 40_220,
            ..PromotionPhases::default()
        }),
        phantoms: None,
    }
}

fn condition(type_: &str, status: &str) -> Condition {
    Condition {
        type_: type_.into(),
        status: status.into(),
        reason: "Test".into(),
        message: String::new(),
        observed_generation: None,
        last_transition_time: Time("2026-11-21T12:00:00Z".parse().unwrap()),
    }
}

/// A controller that leads, and a cluster of which all is known.
fn busy(registry: &mut Registry) -> Share {
    let metrics = Metrics::new(registry);
    metrics.is_leading.set(1);
    metrics.passes.observe(0.004);
    metrics.failed(Failure::Watch);
    metrics.refused(Refused::QuorumLost);
    let failover = promotion(2, PromotionKind::Failover, Some(PromotionDeadline::Missed));
    metrics.promoted(&failover);
    let key = key();
    let end = "2027-02-21T12:00:00Z".parse().unwrap();
    metrics.certificate_ends(&key, end);
    let mut share = Share::new(metrics, key);
    share.set(ClusterState::Healthy, vec![MemberState::Serving; 3]);
    share.set_figures(3, 3, 2);
    share.set_conditions(&[condition("Ready", "True")]);
    share.set_promotions(&[failover]);
    share
}

#[test]
fn every_figure_has_a_name_and_a_help_text() {
    let mut registry = kit::metrics::registry();
    let _share = busy(&mut registry);
    insta::assert_snapshot!(kit::metrics::in_order(&text(&registry)));
}

#[test]
fn a_cluster_that_is_gone_leaves_nothing() {
    let mut registry = kit::metrics::registry();
    let mut share = busy(&mut registry);
    share.set(ClusterState::Creating, vec![MemberState::Pending; 3]);
    share.set(ClusterState::Healthy, vec![MemberState::Serving; 3]);
    let said = text(&registry);
    for line in [
        "holdfast_clusters{state=\"Creating\"} 0",
        "holdfast_clusters{state=\"Healthy\"} 1",
        "holdfast_members{state=\"Pending\"} 0",
        "holdfast_members{state=\"Serving\"} 3",
        "holdfast_cluster_epoch{namespace=\"shop\",name=\"orders\"} 2",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }
    drop(share);
    let said = text(&registry);
    assert!(said.contains("holdfast_clusters{state=\"Healthy\"} 0"), "{said}");
    assert!(said.contains("holdfast_members{state=\"Serving\"} 0"), "{said}");
    assert!(!said.contains("orders"), "{said}");
}

#[test]
fn what_is_not_known_is_not_said() {
    let mut registry = kit::metrics::registry();
    let share = busy(&mut registry);
    let line = "holdfast_cluster_primary_available{namespace=\"shop\",name=\"orders\"}";
    for (status, value) in [("True", Some(1)), ("False", Some(0)), ("Unknown", None)] {
        share.set_conditions(&[condition("PrimaryAvailable", status)]);
        let said = text(&registry);
        match value {
            Some(value) => assert!(said.contains(&format!("{line} {value}")), "{said}"),
            None => assert!(!said.contains(line), "{said}"),
        }
    }
}

#[test]
fn a_switchover_after_a_failover_leaves_the_time_of_the_failover() {
    let mut registry = kit::metrics::registry();
    let share = busy(&mut registry);
    let failover = promotion(2, PromotionKind::Failover, Some(PromotionDeadline::Missed));
    let switchover = promotion(3, PromotionKind::Switchover, Some(PromotionDeadline::Met));
    share.set_promotions(&[switchover.clone(), failover.clone()]);
    let said = text(&registry);
    let of = "{namespace=\"shop\",name=\"orders\"}";
    for (name, value) in [
        ("last_promotion_timestamp_seconds", switchover.time.0.as_second()),
        ("last_failover_timestamp_seconds", failover.time.0.as_second()),
        ("last_promotion_deadline_missed", 0),
    ] {
        let line = format!("holdfast_cluster_{name}{of} {value}\n");
        assert!(said.contains(&line), "{line}\n{said}");
    }
}
