//! Captures from files: decided as `topology` decides them, told as people read them.
//! Must not repeat the tests of decisions: those stand beside them.

use topology::decide::decide;
use topology::decision::ClusterState;

use super::*;

const DIED: &str = include_str!("../../tests/captures/primary-died.json");
const LOST: &str = include_str!("../../tests/captures/quorum-lost.json");
const HEALTHY: &str = include_str!("../../tests/captures/healthy.json");

fn capture(text: &str) -> Capture {
    parse("the test", text.as_bytes()).unwrap()
}

fn told(capture: &Capture) -> String {
    let decision = capture.decide();
    words::text(capture, &decision, &capture.check(&decision))
}

#[test]
fn a_capture_is_decided_as_the_controller_decides() {
    for (text, state) in [
        (DIED, ClusterState::FailingOver),
        (LOST, ClusterState::Blocked),
        (HEALTHY, ClusterState::Healthy),
    ] {
        let capture = capture(text);
        let wanted = decide(
            &capture.spec,
            &capture.observed,
            capture.record.as_ref(),
            capture.now,
        );
        assert_eq!(capture.decide(), wanted);
        assert_eq!(wanted.state, state);
        assert_eq!(capture.check(&wanted), Ok(()));
        assert_eq!(told(&capture).lines().next(), Some(state.as_str()));
    }
}

#[test]
fn a_failover_is_told_from_its_capture() {
    let wanted = "\
FailingOver

orders of 3 instances, looked at 2026-11-21T12:00:00.412Z; record 2.9: orders-1 is primary

Because:
  failing over from orders-1: its mysqld ended

Members:
  NAME       ROLE      STATE        BECAUSE
  orders-0   Replica   CatchingUp
  orders-1   Primary   Failed       mysqld ended and is started again
  orders-2   Replica   CatchingUp

Plan:
  write the record 3.10 instead of 2.9, and all else after that
    ruler: orders-1 is primary → the primary after orders-1 is being chosen

Check:
  the plan breaks no rule
";
    assert_eq!(told(&capture(DIED)), wanted);
}

#[test]
fn the_page_for_people_on_call_shows_what_is_refused_as_it_is_told() {
    let page = include_str!("../../../docs/on-call.md");
    let text = told(&capture(LOST));
    assert!(text.contains("bring a missing one back"), "{text}");
    assert!(page.contains(&text), "docs/on-call.md should show:\n{text}");
}

#[test]
fn orders_that_were_given_before_are_told_from_new_ones() {
    let text = told(&capture(HEALTHY));
    let follows = "  orders-0 is to follow orders-1 at 10.244.2.9:33062 (it is told so already)\n";
    assert!(text.contains(follows), "{text}");
    let mut other = capture(HEALTHY);
    other.spec.parameters.clear();
    assert!(!told(&other).contains("(it is told so already)"));
}

#[test]
fn every_part_of_a_plan_and_of_a_broken_rule_has_its_words() {
    let capture = capture(HEALTHY);
    let mut decision = capture.decide();
    let mut record = capture.record.clone().unwrap().revised();
    record.handing_to = Some("orders-0".into());
    record.voters.remove("orders-2");
    record.wait_for = 2;
    record.cut = None;
    decision.plan.record = Some(record);
    decision.plan.exist.insert("orders-3".into());
    decision.plan.replace = Some("orders-1".into());
    decision.plan.remove.insert("orders-2".into());
    let checked = capture.check(&decision);
    let text = words::text(&capture, &decision, &checked);
    for wanted in [
        "ruler: orders-1 is primary → orders-1 is primary and hands over to orders-0",
        "replicas that writes wait for: 1 → 2",
        "cut: 7d1c0e52-9a3b-4c8f-8e21-5f60b7a1d3c4:1, a1f0c3d2-6c11-11f0-9d2e-0242ac110000:1-48210 → none",
        "orders-2: voter with the data c3d2e5b4-6c11-11f0-9d2e-0242ac110002 → no voter",
        "make orders-3: it has no Pod",
        "replace the Pod of orders-1",
        "remove orders-2",
    ] {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
    let violations = checked.unwrap_err();
    assert!(
        !violations.is_empty() && !text.contains("breaks no rule"),
        "{text}"
    );
    assert!(
        violations.iter().all(|violation| text.contains(&violation.0)),
        "{text}"
    );
}

#[test]
fn what_is_no_capture_is_refused_with_what_to_do() {
    let failed = |bytes: &[u8]| parse("standard input", bytes).unwrap_err().to_string();
    assert!(failed(b" \n").contains("it is empty"));
    let said = failed(b"this process does not lead\n");
    assert!(
        said.ends_with("and this says: this process does not lead"),
        "{said}"
    );
    let error = parse("a.json", b"{\"spec\": 1}").unwrap_err();
    assert!(error.to_string().contains("a.json"), "{error}");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("spec") || cause.contains("struct Spec"), "{cause}");
    let missing = read(Path::new("no/such/file")).unwrap_err().to_string();
    assert!(
        missing.contains("no/such/file") && missing.contains("or - for"),
        "{missing}"
    );
}

#[test]
fn what_is_too_large_is_not_read_to_its_end() {
    assert!(bounded("x", io::repeat(b' ').take(CAPTURE_LIMIT_BYTES)).is_ok());
    let error = bounded("x", io::repeat(b' ')).unwrap_err();
    assert!(error.to_string().contains("larger than 16 MiB"), "{error}");
}
