//! Objects as the API server holds them, told as people read them.
//! Must not need a server.

use crds::switchover::Switchover;
use serde_json::{Value, json};

use super::*;

fn object(status: Value) -> MySQLCluster {
    let mut value = json!({
        "apiVersion": "mysql.holdfast.dev/v1alpha1",
        "kind": "MySQLCluster",
        "metadata": { "name": "orders", "namespace": "shop", "uid": "uid-1", "generation": 4 },
        "spec": { "version": "9.7", "instances": 3, "storage": { "size": "10Gi" } },
    });
    value["status"] = status;
    serde_json::from_value(value).unwrap()
}

fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": type_, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": "2026-11-21T12:00:00Z", "observedGeneration": 4,
    })
}

fn member(n: u8, role: &str, state: &str, because: &str) -> Value {
    let mut member = json!({
        "name": format!("orders-{n}"), "role": role, "epoch": 2, "state": state, "node": format!("node{}", n + 1),
    });
    if !because.is_empty() {
        member["because"] = because.into();
    }
    member
}

fn status(state: &str, members: Value, conditions: Value) -> Value {
    json!({
        "observedGeneration": 4,
        "state": state,
        "primary": { "name": "orders-1", "epoch": 2, "since": "2026-11-21T11:58:02Z" },
        "members": members,
        "promotions": [
            {
                "epoch": 2, "time": "2026-11-21T11:58:02Z", "from": "orders-0", "to": "orders-1", "kind": "Failover",
                "reason": "MysqldDead", "durationMs": 412, "phasesMs": {
                    "detect": 20, "freeze": 0, "choose": 95, "decide": 31, "barrier": 212, "expose": 54,
                },
            },
            {
                "epoch": 1, "time": "2026-11-20T08:00:41Z", "to": "orders-0", "kind": "Bootstrap",
                "reason": "Created", "durationMs": 41_000,
            },
        ],
        "conditions": conditions,
    })
}

fn healthy() -> Value {
    status(
        "Healthy",
        json!([
            member(0, "Replica", "Serving", ""),
            member(1, "Primary", "Serving", ""),
            member(2, "Replica", "Serving", ""),
        ]),
        json!([
            condition(
                "Ready",
                "True",
                "AllInstancesReady",
                "3/3 ready, primary orders-1"
            ),
            condition("PrimaryAvailable", "True", "Writable", "orders-1 takes writes"),
            condition(
                "Redundant",
                "True",
                "SpareReplicas",
                "2 replicas acknowledge, 1 is needed"
            ),
        ]),
    )
}

fn told(object: &MySQLCluster) -> String {
    words::text(&View::of(object))
}

#[test]
fn a_healthy_cluster_needs_nothing() {
    let object = object(healthy());
    let wanted = "\
Healthy: orders-1 takes writes, 2 of 2 replicas follow; a node may be lost now

Members:
  NAME       ROLE      STATE     NODE    EPOCH   BECAUSE
  orders-0   Replica   Serving   node1   2
  orders-1   Primary   Serving   node2   2
  orders-2   Replica   Serving   node3   2

Promotions, newest first:
  EPOCH   WHEN                   FROM       TO         KIND        REASON       TOOK     PHASES
  2       2026-11-21T11:58:02Z   orders-0   orders-1   Failover    MysqldDead   412 ms   \
detect 20, choose 95, decide 31, barrier 212, expose 54
  1       2026-11-20T08:00:41Z   -          orders-0   Bootstrap   Created      41 s

Next:
  nothing
";
    assert_eq!(told(&object), wanted);
    assert!(View::of(&object).is_ready);
}

#[test]
fn while_it_fails_over_there_is_nothing_to_do_but_watch() {
    let why = "failing over from orders-1: its mysqld ended";
    let object = object(status(
        "FailingOver",
        json!([
            member(0, "Replica", "CatchingUp", ""),
            member(1, "Primary", "Failed", "mysqld ended and is started again"),
            member(2, "Replica", "CatchingUp", ""),
        ]),
        json!([
            condition(
                "Ready",
                "False",
                "FailoverInProgress",
                &format!("0/3 ready; {why}")
            ),
            condition("PrimaryAvailable", "False", "FailoverInProgress", why),
            condition("Redundant", "False", "NoPrimary", why),
            condition("Reconciling", "True", "FailoverInProgress", why),
        ]),
    ));
    let text = told(&object);
    assert!(
        text.starts_with("FailingOver: nobody takes writes\n\nWhy:\n"),
        "{text}"
    );
    let whys = "\
  Ready is False (FailoverInProgress): 0/3 ready; failing over from orders-1: its mysqld ended
  PrimaryAvailable is False (FailoverInProgress): failing over from orders-1: its mysqld ended
  Redundant is False (NoPrimary): as above
  Reconciling is True (FailoverInProgress): as above
";
    assert!(text.contains(whys), "{text}");
    assert!(
        text.contains("kubectl --namespace shop logs orders-1 --container mysql"),
        "{text}"
    );
    assert!(
        text.ends_with("holdfast status orders --namespace shop --watch\n"),
        "{text}"
    );
    assert!(!View::of(&object).is_ready);
}

/// The cluster of the capture quorum-lost, as its status has it.
fn quorum_lost() -> MySQLCluster {
    let refused = "orders-1 is primary and cannot be reached; it may still serve, so nobody takes over; 2 members with \
                   their data are needed to know every acknowledged write; seen: orders-0, missing: orders-1, \
                   orders-2; bring a missing one back";
    let unreachable = "its agent cannot be reached; whether it runs is not known";
    let pending = "Unschedulable: 0/3 nodes are available: 1 node(s) were unschedulable, 2 node(s) didn't match pod \
                   anti-affinity rules.";
    let mut lost = member(2, "Replica", "Pending", pending);
    lost.as_object_mut().unwrap().remove("node");
    let ready = format!(
        "0/3 ready; {refused}; orders-0: CatchingUp; orders-1: Unreachable, {unreachable}; orders-2: Pending, {pending}"
    );
    let stalled = refused.split_once("takes over; ").unwrap().1;
    object(status(
        "Blocked",
        json!([
            member(0, "Replica", "CatchingUp", ""),
            member(1, "Primary", "Unreachable", unreachable),
            lost,
        ]),
        json!([
            condition("Ready", "False", "NoPrimary", &ready),
            condition("PrimaryAvailable", "False", "NoPrimary", refused),
            condition("Redundant", "False", "NoPrimary", refused),
            condition("Stalled", "True", "QuorumLost", stalled),
        ]),
    ))
}

#[test]
fn a_lost_quorum_names_who_is_missing_and_how_to_look_for_them() {
    let text = told(&quorum_lost());
    let verdict = "Blocked: nobody is known to take writes; a person has to act (QuorumLost)\n";
    assert!(text.starts_with(verdict), "{text}");
    // What a person has to act on comes first.
    let first = "Why:\n  Stalled is True (QuorumLost): 2 members with their data";
    assert!(text.contains(first), "{text}");
    for command in [
        "get pods,pvc --output wide --selector mysql.holdfast.dev/cluster=orders",
        "kubectl --namespace shop get pod orders-1 --output wide && kubectl describe node node2",
        "kubectl --namespace shop describe pod/orders-2 pvc/orders-2",
        "get events",
    ] {
        assert!(text.contains(command), "{command} in {text}");
    }
}

#[test]
fn the_page_for_people_on_call_shows_what_is_told() {
    let page = include_str!("../../../docs/on-call.md");
    let text = told(&quorum_lost());
    assert!(page.contains(&text), "docs/on-call.md should show:\n{text}");
}

#[test]
fn a_full_volume_says_what_to_raise() {
    let full = "orders-0: its volume is full";
    let object = object(status(
        "Degraded",
        json!([
            member(0, "Replica", "Failed", "its volume is full"),
            member(1, "Primary", "Serving", ""),
            member(2, "Replica", "Serving", ""),
        ]),
        json!([
            condition("Ready", "False", "InstancesNotReady", "2/3 ready"),
            condition("PrimaryAvailable", "True", "Writable", "orders-1 takes writes"),
            condition(
                "Redundant",
                "False",
                "NoSpareReplicas",
                "1 replica acknowledges, 1 is needed"
            ),
            condition("Stalled", "True", "VolumeFull", full),
        ]),
    ));
    let text = told(&object);
    let verdict = "Degraded: orders-1 takes writes, 1 of 2 replicas follows; one more loss stops writes; a person has \
                   to act (VolumeFull)\n";
    assert!(text.starts_with(verdict), "{text}");
    let next = r#"
  raise storage.size, which is 10Gi: put what you need in place of MORE:
    kubectl --namespace shop patch mysqlcluster orders --type merge --patch '{"spec":{"storage":{"size":"MORE"}}}'
"#;
    assert!(text.contains(next), "{text}");
}

#[test]
fn a_suspended_cluster_says_how_to_go_on() {
    let mut status = healthy();
    status["state"] = "Suspended".into();
    let suspended = "spec.suspend is true: nothing is changed, and nothing fails over";
    let conditions = status["conditions"].as_array_mut().unwrap();
    conditions.push(condition("Suspended", "True", "SuspendedBySpec", suspended));
    let text = told(&object(status));
    let verdict = "Suspended: orders-1 takes writes, 2 of 2 replicas follow; a node may be lost now; suspended, so \
                   nothing is changed and nothing fails over\n";
    assert!(text.starts_with(verdict), "{text}");
    assert!(
        text.contains(&format!("Suspended is True (SuspendedBySpec): {suspended}\n")),
        "{text}"
    );
    assert!(text.contains(r#"--patch '{"spec":{"suspend":false}}'"#), "{text}");
}

#[test]
fn what_no_operator_has_seen_leads_to_the_operator() {
    for status in [json!(null), json!({ "observedGeneration": -1 })] {
        let object = object(status);
        let wanted = "\
NotObserved: no operator has said anything of orders yet

Next:
  see whether an operator runs, in the namespace that it was installed into, and looks after the namespace shop:
    kubectl --namespace holdfast-system get pods,leases
";
        assert_eq!(told(&object), wanted);
        assert!(!View::of(&object).is_ready);
    }
}

#[test]
fn a_status_about_an_older_spec_is_not_taken_for_today() {
    let mut status = healthy();
    status["observedGeneration"] = 3.into();
    let view = View::of(&object(status));
    assert!(!view.is_ready);
    let end = "; no operator has looked since it was changed";
    assert!(view.verdict.ends_with(end), "{}", view.verdict);
    assert_eq!(view.next.len(), 1);
}

#[test]
fn a_cluster_that_is_being_removed_is_told_so() {
    let mut object = object(healthy());
    let time = serde_json::from_value(json!("2026-11-21T12:00:00Z")).unwrap();
    object.metadata.deletion_timestamp = Some(time);
    let verdict = View::of(&object).verdict;
    assert!(verdict.ends_with("; it is being removed"), "{verdict}");
}

#[test]
fn a_failover_that_waits_for_a_person_says_how_to_allow_it() {
    let why = "orders-1 is lost and another could take over; failover.policy is Manual";
    let view = View::of(&object(status(
        "PrimaryUnavailable",
        json!([]),
        json!([
            condition("Ready", "False", "AwaitingApproval", why),
            condition("PrimaryAvailable", "False", "AwaitingApproval", why),
            condition("Stalled", "True", "AwaitingApproval", why),
        ]),
    )));
    assert!(
        view.next[0].what.contains("Switchover with force"),
        "{:?}",
        view.next
    );
    let (wish, create) = view.next[0].command.split_once(" | ").unwrap();
    assert_eq!(create, "kubectl --namespace shop create --filename -");
    let wish = wish.trim_start_matches("echo '").trim_end_matches('\'');
    let wish: Switchover = serde_json::from_str(wish).unwrap();
    assert!(wish.spec.force && wish.spec.cluster == "orders" && wish.spec.target.is_none());
}

#[test]
fn commits_that_wait_are_not_told_as_writes_that_are_taken() {
    let why = "commits wait: 0 replicas follow, 1 must acknowledge";
    let view = View::of(&object(status(
        "AwaitingReplicas",
        json!([member(1, "Primary", "Serving", "")]),
        json!([condition("PrimaryAvailable", "False", "AwaitingReplicas", why)]),
    )));
    let wanted = "AwaitingReplicas: commits wait, 0 of 2 replicas follow";
    assert_eq!(view.verdict, wanted);
}

#[test]
fn every_reason_to_stall_says_what_to_type() {
    for reason in crds::conditions::ConditionType::Stalled.reasons() {
        let stalled = condition("Stalled", "True", reason.as_str(), "something");
        let ready = condition("Ready", "True", "AllInstancesReady", "all");
        let view = View::of(&object(status("Blocked", json!([]), json!([ready, stalled]))));
        assert_eq!(view.next.len(), 1, "{reason}");
        let command = &view.next[0].command;
        assert!(
            command.contains("shop") && command.contains("orders"),
            "{command}"
        );
    }
}

#[test]
fn a_promotion_that_took_too_long_is_called_late() {
    let mut status = healthy();
    assert!(!told(&object(status.clone())).contains("late"));
    status["promotions"][0]["deadline"] = "Missed".into();
    assert!(told(&object(status)).contains("412 ms, late"));
}

#[test]
fn programs_find_the_same_under_names_that_stay() {
    let view = View::of(&object(healthy()));
    let value = serde_json::to_value(&view).unwrap();
    let names: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
    let mut wanted = [
        "namespace",
        "name",
        "verdict",
        "isReady",
        "state",
        "why",
        "members",
        "promotions",
        "next",
    ];
    wanted.sort_unstable();
    let mut names = names;
    names.sort_unstable();
    assert_eq!(names, wanted);
    assert_eq!(value["isReady"], true);
    assert_eq!(value["members"][1]["role"], "Primary");
    assert_eq!(value["promotions"][0]["phasesMs"]["barrier"], 212);
}

#[test]
fn what_others_wrote_moves_no_cursor() {
    let mut status = healthy();
    status["members"][0]["because"] = "one\nline\u{1b}[2J".into();
    let text = told(&object(status));
    assert!(
        text.contains("one line [2J\n") && !text.contains('\u{1b}'),
        "{text}"
    );
}
