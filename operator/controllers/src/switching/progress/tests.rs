//! A Switchover from its first sight to its end, step by step.
//! Must not need an API server.

use crds::cluster::PromotionKind;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};
use topology::gtid::Uuid;
use topology::term::Term;

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + seconds).unwrap()
}

fn asked(spec: Value) -> Switchover {
    let mut spec = spec;
    spec["cluster"] = json!("orders");
    serde_json::from_value(json!({
        "apiVersion": "mysql.holdfast.dev/v1alpha1",
        "kind": "Switchover",
        "metadata": { "name": "now", "namespace": "shop", "uid": "s1", "generation": 1 },
        "spec": spec,
    }))
    .unwrap()
}

fn record(epoch: u64, primary: &str) -> Record {
    Record {
        acknowledged_by: 1,
        wait_for: 1,
        ..Record::of(Uuid::from_bytes([7; 16]), Term::new(epoch, 9), primary)
    }
}

fn promotion(epoch: i64, to: &str) -> Promotion {
    Promotion {
        epoch,
        time: Time(at(0)),
        from: None,
        to: to.into(),
        kind: PromotionKind::Switchover,
        reason: "Requested".into(),
        duration_ms: 120,
        phases_ms: None,
        because: None,
        deadline: None,
        phantoms: None,
    }
}

fn view(record: &Record) -> View<'_> {
    View {
        record: Some(record),
        promotions: &[],
        ahead: None,
        hindered: None,
        taken_back: None,
        refused: "orders-1 is too far behind",
        rehearsed: None,
        now: at(1),
    }
}

/// The state, the reason and the message that people see.
fn seen(status: &SwitchoverStatus) -> (State, String, String) {
    let ready = conditions::get(status.conditions.as_deref().unwrap(), "Ready").unwrap();
    (status.state.unwrap(), ready.reason.clone(), ready.message.clone())
}

fn follow(asked: &mut Switchover, view: &View<'_>) -> (State, String, String) {
    let status = status(asked, view);
    asked.status = Some(status.clone());
    // What was said once is not said again.
    assert_eq!(super::status(asked, view), status);
    seen(&status)
}

#[test]
fn it_is_taken_up_then_active_then_done_when_the_next_primary_serves() {
    let mut asked = asked(json!({ "target": "orders-1" }));
    let mut record = record(3, "orders-0");
    assert!(!is_active(&asked, &view(&record)));
    assert_eq!(seen(&status(&asked, &view(&record))).0, State::Pending);
    asked.status = Some(status(&asked, &view(&record)));
    assert!(is_active(&asked, &view(&record)));
    assert_eq!(follow(&mut asked, &view(&record)).2, "orders-1 is too far behind");
    record.handing_to = Some("orders-1".into());
    assert_eq!(follow(&mut asked, &view(&record)).0, State::Running);
    assert!(is_active(&asked, &view(&record)));
    let next = self::record(4, "orders-1");
    assert_eq!(follow(&mut asked, &view(&next)).2, "opening orders-1 for writes");
    assert!(!is_active(&asked, &view(&next)));
    let promotions = [promotion(4, "orders-1")];
    let done = View {
        promotions: &promotions,
        ..view(&next)
    };
    let (state, reason, message) = follow(&mut asked, &done);
    assert_eq!((state, &*reason), (State::Succeeded, "Completed"));
    assert_eq!(message, "orders-1 takes writes; nobody did for 120 ms");
    let status = asked.status.as_ref().unwrap();
    let both = (status.from.as_deref(), status.to.as_deref());
    assert_eq!(both, (Some("orders-0"), Some("orders-1")));
    let list = status.conditions.as_deref().unwrap();
    assert!(conditions::get(list, "Reconciling").is_none() && conditions::get(list, "Stalled").is_none());
}

#[test]
fn what_it_waits_for_is_said_and_not_for_ever() {
    let record = record(3, "orders-0");
    let mut asked = asked(json!({ "deadlineSeconds": 60 }));
    asked.status = Some(status(&asked, &view(&record)));
    let late = |seconds: i64| View {
        now: at(1 + seconds),
        ..view(&record)
    };
    assert_eq!(follow(&mut asked, &late(59)).0, State::Pending);
    assert!(is_active(&asked, &late(59)) && !is_active(&asked, &late(60)));
    let nothing_tried = View {
        refused: "asked for",
        ..late(60)
    };
    let (state, reason, message) = follow(&mut asked, &nothing_tried);
    assert_eq!((state, &*reason), (State::Failed, "DeadlineExceeded"));
    assert_eq!(message, "not begun within 60 seconds: orders-1 is too far behind");
    // Final: nothing changes it.
    assert_eq!(follow(&mut asked, &late(500)).0, State::Failed);
}

#[test]
fn one_comes_after_the_other_and_nothing_is_done_without_a_cluster() {
    let record = record(3, "orders-0");
    let mut second = asked(json!({}));
    let behind = View {
        ahead: Some("first"),
        ..view(&record)
    };
    assert_eq!(follow(&mut second, &behind).2, "waits for the Switchover first");
    assert!(second.status.as_ref().unwrap().started_at.is_none());
    let hindered = View {
        hindered: Some("the cluster is suspended"),
        ..view(&record)
    };
    assert_eq!(follow(&mut second, &hindered).2, "the cluster is suspended");
    let nobody = View {
        record: None,
        ..view(&record)
    };
    assert_eq!(follow(&mut second, &nobody).2, "orders has no primary yet");
    let (state, reason, _) = seen(&orphaned(&second, at(2)));
    assert_eq!((state, &*reason), (State::Pending, "ClusterNotFound"));
}

#[test]
fn what_was_taken_back_or_overtaken_has_failed() {
    let record = record(3, "orders-0");
    let mut back = asked(json!({}));
    back.status = Some(status(&back, &view(&record)));
    let mut other = back.clone();
    let taken_back = View {
        taken_back: Some("orders-0 stays primary: it could not be closed in time"),
        ..view(&record)
    };
    assert_eq!(follow(&mut back, &taken_back).1, "TakenBack");
    other.spec.target = Some("orders-2".into());
    let next = self::record(4, "orders-1");
    let promotions = [promotion(4, "orders-1")];
    let superseded = View {
        promotions: &promotions,
        ..view(&next)
    };
    let (state, reason, _) = follow(&mut other, &superseded);
    assert_eq!((state, &*reason), (State::Failed, "Superseded"));
}

#[test]
fn a_dry_run_ends_at_once_and_is_never_active() {
    let record = record(3, "orders-0");
    let mut dry = asked(json!({ "dryRun": true }));
    let possible = Rehearsal::Possible {
        to: Some("orders-1".into()),
        plan: vec!["orders-0 is closed".into()],
    };
    let rehearsed = View {
        rehearsed: Some(&possible),
        ..view(&record)
    };
    assert!(!is_active(&dry, &rehearsed));
    let (state, reason, message) = follow(&mut dry, &rehearsed);
    assert_eq!((state, &*reason), (State::Succeeded, "DryRun"));
    assert_eq!(message, "orders-1 would take over; nothing was changed");
    let mut refused = asked(json!({ "dryRun": true }));
    let no = Rehearsal::Refused("orders-1 is too far behind".into());
    let view = View {
        rehearsed: Some(&no),
        ..view(&record)
    };
    assert_eq!(follow(&mut refused, &view).1, "NotPossible");
    let mut there = asked(json!({ "target": "orders-0", "dryRun": true }));
    assert_eq!(follow(&mut there, &view).2, "orders-0 is primary already");
}

#[test]
fn a_loss_is_accepted_in_one_epoch_only() {
    let by_hand = |epoch: u64, is_choosing| Record {
        is_choosing,
        by_hand: Some(topology::record::ByHand {
            member: "orders-2".into(),
            unheard: ["orders-1".to_owned()].into(),
            given_up: Default::default(),
        }),
        ..record(epoch, "orders-2")
    };
    let spec = json!({ "force": true, "target": "orders-2", "acceptLossInEpoch": 4 });
    let mut other = asked(spec.clone());
    let (state, reason, message) = follow(&mut other, &view(&record(5, "orders-0")));
    assert_eq!((state, &*reason), (State::Failed, "NotPossible"));
    assert!(message.contains("orders is in epoch 5"), "{message}");
    // The quorum is lost in epoch 4: the next is claimed, decided, and told.
    let promotions = [promotion(5, "orders-2")];
    let before = record(4, "orders-0");
    let mut this = asked(spec.clone());
    this.status = Some(status(&this, &view(&before)));
    assert!(is_active(&this, &view(&before)));
    let claimed = by_hand(5, true);
    assert_eq!(follow(&mut this, &view(&claimed)).0, State::Running);
    let chosen = by_hand(5, false);
    let open = View {
        promotions: &promotions,
        ..view(&chosen)
    };
    let (state, _, message) = follow(&mut this, &open);
    assert_eq!(state, State::Succeeded);
    assert!(
        message.ends_with("whatever only orders-1 had may be lost"),
        "{message}"
    );
    // Histories differ in a claimed epoch: it is decided in this very one.
    let claimed = Record {
        is_choosing: true,
        ..record(4, "orders-2")
    };
    let mut this = asked(spec);
    this.status = Some(status(&this, &view(&claimed)));
    assert!(is_active(&this, &view(&claimed)));
    let (promotions, chosen) = ([promotion(4, "orders-2")], by_hand(4, false));
    let open = View {
        promotions: &promotions,
        ..view(&chosen)
    };
    assert_eq!(follow(&mut this, &open).0, State::Succeeded);
}
