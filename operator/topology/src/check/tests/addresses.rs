//! Addresses that are not those of today's Pods.
//! Must not hold a rule of who may be led there.

use super::*;

fn moved() -> Case {
    let mut case = healthy();
    case.give(1, follows(0));
    case.give(
        2,
        Role::Clone {
            donor: place(1),
            instead_of: incarnation(2),
        },
    );
    case.report(1).assignment = None;
    case.plan.expose = Some(Exposed {
        primary: Some(endpoint(0)),
        replicas: [endpoint(1)].into(),
    });
    case
}

fn move_away(case: &mut Case, n: u8) {
    case.member(n).pod.as_mut().unwrap().ip = Some("10.0.0.9".into());
}

#[test]
fn addresses_are_those_of_pods() {
    const TO_0: &str = "orders-1 is sent to 10.0.0.0, where orders-0 is not; \
                        clients are led to 10.0.0.0, where orders-0 is not";
    const TO_1: &str = "orders-2 is sent to 10.0.0.1, where orders-1 is not; \
                        clients are led to 10.0.0.1, where orders-1 is not";
    each_breaks(
        moved,
        &[
            (|case| move_away(case, 0), TO_0),
            (|case| case.member(0).pod.as_mut().unwrap().ip = None, TO_0),
            (|case| case.member(0).pod = None, TO_0),
            (|case| move_away(case, 1), TO_1),
        ],
    );
}

#[test]
fn what_was_there_before_may_stay() {
    fn kept() -> Case {
        let mut case = moved();
        for n in [1, 2] {
            case.report(n).assignment = case.plan.assign.get(&name(n)).cloned();
        }
        case.seen.exposed = case.plan.expose.clone().unwrap();
        case
    }
    each_passes(kept, &[|case| move_away(case, 0), |case| move_away(case, 1)]);
}
