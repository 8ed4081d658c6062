//! What is said while a failover waits since several came shortly before.
//! Must not ask decide whether it waits.

use topology::decision::Cause;

use super::*;

#[test]
fn a_failover_that_waits_says_so_and_needs_nobody() {
    let mut world = World::healthy();
    world.change("orders-0", MemberState::Failed, "mysqld ended");
    let decision = world.decision.as_mut().unwrap();
    decision.state = ClusterState::PrimaryUnavailable;
    decision.refused = vec![Refusal::CoolingDown {
        primary: "orders-0".into(),
        cause: Cause::MysqldDead,
        failovers: 4,
        within_ms: 20_000,
    }];
    let status = world.fresh();
    let said = conditions_of(&status);
    assert!(
        said.contains(&"PrimaryAvailable=False CoolingDown".into()),
        "{said:?}"
    );
    assert!(!said.iter().any(|said| said.starts_with("Stalled")), "{said:?}");
    let text = message(&status, ConditionType::PrimaryAvailable);
    assert!(
        text.contains("within 20 s") && text.contains("force: true"),
        "{text}"
    );
}
