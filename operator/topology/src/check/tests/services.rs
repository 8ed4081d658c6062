//! Services and Pods in a plan that break a rule: where reads and writes may be led, and whose Pod may go.
//! Must not hold a rule of the record.

use super::*;

/// There is no record, no epoch has begun, or its primary is still to be chosen.
const LED_BY_NOBODY: [Change; 3] = [
    |case| case.before = None,
    |case| case.before().term.epoch = 0,
    |case| case.before().is_choosing = true,
];

/// The Services are to lead to everybody for the first time.
fn exposed() -> Case {
    let mut case = healthy();
    case.plan.expose = Some(Exposed {
        primary: Some(endpoint(0)),
        replicas: [1, 2].map(endpoint).into(),
    });
    case
}

/// Writes are led to orders-1, which would be fit for them.
fn lead_to_another(case: &mut Case) {
    case.plan.expose.as_mut().unwrap().primary = Some(endpoint(1));
    case.server(1).is_open = true;
}

#[test]
fn only_a_cluster_with_a_primary_is_exposed() {
    const RULE: &str = "a half-made cluster is exposed";
    each_breaks(exposed, &LED_BY_NOBODY.map(|change| (change, RULE)));
    each_passes(
        exposed,
        &[|case| case.plan.expose.as_mut().unwrap().primary = None],
    );
}

#[test]
fn writes_are_led_to_the_primary_alone() {
    each_breaks(exposed, &[(lead_to_another, "writes are led to orders-1")]);
}

#[test]
fn writes_stay_led_to_an_old_primary_only_if_it_takes_none() {
    /// Nobody is primary now, and the Service leads where it led.
    fn left() -> Case {
        let mut case = exposed();
        lead_to_another(&mut case);
        case.server(1).is_open = false;
        case.seen.exposed.primary = Some(endpoint(1));
        // They may acknowledge what an older primary writes.
        for n in [1, 2] {
            case.told_record(n).term.epoch = 2;
        }
        case
    }
    const RULE: &str = "writes are led to orders-1";
    each_passes(
        left,
        &[
            |case| case.report(1).server = None,
            |case| case.member(1).report = None,
            |case| {
                case.server(1).is_open = true;
                case.lose(1);
            },
            |case| {
                case.server(1).is_open = true;
                case.told_record(2).term.epoch = 3;
            },
        ],
    );
    each_breaks(
        left,
        &[
            (|case| case.server(1).is_open = true, RULE),
            (
                |case| {
                    case.server(1).is_open = true;
                    case.told_record(2).term.epoch = 3;
                    case.lose(0);
                },
                RULE,
            ),
            (|case| drop(case.seen.members.remove("orders-1")), RULE),
            (
                |case| case.seen.exposed.primary = None,
                "writes are led to orders-1; orders-1 is exposed and not open",
            ),
            (
                |case| case.seen.exposed.primary.as_mut().unwrap().ip = "10.0.0.9".into(),
                "writes are led to orders-1; orders-1 is exposed and not open",
            ),
        ],
    );
}

#[test]
fn a_primary_is_exposed_only_once_it_is_open() {
    const RULE: &str = "orders-0 is exposed and not open";
    each_breaks(
        exposed,
        &[
            (|case| case.server(0).is_open = false, RULE),
            (|case| case.told_record(0).term.epoch = 2, RULE),
            (|case| case.report(0).assignment = None, RULE),
            (|case| case.replace_data(0), RULE),
            (|case| case.lose(0), RULE),
            (|case| case.report(0).server = None, RULE),
        ],
    );
    let still_exposed = || {
        let mut case = exposed();
        case.seen.exposed.primary = Some(endpoint(0));
        case
    };
    each_passes(
        still_exposed,
        &[|case| case.server(0).is_open = false, |case| case.lose(0)],
    );
}

#[test]
fn only_voters_serve_reads() {
    each_breaks(
        exposed,
        &[(
            |case| {
                case.seen.members.insert(name(7), member(7));
                let expose = case.plan.expose.as_mut().unwrap();
                expose.replicas.insert(endpoint(7));
            },
            "orders-7 serves reads and is no voter",
        )],
    );
}

#[test]
fn nobody_is_removed_that_counts_or_is_wanted() {
    let removed = || {
        let mut case = healthy();
        case.plan.remove.insert(name(7));
        case
    };
    each_breaks(
        removed,
        &[
            (
                |case| add(&mut case.plan.remove, 1),
                "orders-1 is removed and still counts",
            ),
            (
                |case| add(&mut case.plan.exist, 7),
                "orders-7 is removed and still counts",
            ),
            (|case| case.before = None, "orders-7 is removed without a record"),
        ],
    );
}

fn replaced() -> Case {
    let mut case = healthy();
    case.plan.replace = Some(name(1));
    case
}

/// Nobody but orders-0 counts.
fn are_gone(case: &mut Case) {
    case.before
        .as_mut()
        .unwrap()
        .voters
        .retain(|member, _| *member == name(0));
}

#[test]
fn the_pod_of_a_primary_that_is_there_stays_unless_it_is_alone() {
    const RULE: &str = "the primary's Pod is replaced";
    each_breaks(
        replaced,
        &[
            (|case| case.plan.replace = Some(name(0)), RULE),
            (
                |case| {
                    case.plan.replace = Some(name(0));
                    case.spec.instances = 1;
                },
                RULE,
            ),
            (
                |case| {
                    case.plan.replace = Some(name(0));
                    are_gone(case);
                },
                RULE,
            ),
        ],
    );
    each_passes(
        replaced,
        &[
            |case| {
                case.plan.replace = Some(name(0));
                case.spec.instances = 1;
                are_gone(case);
            },
            |case| {
                case.plan.replace = Some(name(0));
                case.lose(0);
            },
            |case| {
                case.plan.replace = Some(name(0));
                case.seen.members.remove("orders-0");
            },
        ],
    );
}

#[test]
fn who_is_there_stays_while_nobody_leads() {
    const RULE: &str = "orders-1's Pod is replaced before there is a primary";
    each_breaks(replaced, &LED_BY_NOBODY.map(|change| (change, RULE)));
    let unseen = || {
        let mut case = replaced();
        case.lose(1);
        case
    };
    each_passes(unseen, &LED_BY_NOBODY);
}

#[test]
fn one_pod_is_replaced_at_a_time() {
    fn end(case: &mut Case, n: u8) {
        case.member(n).pod.as_mut().unwrap().is_terminating = true;
    }
    const RULE: &str = "orders-1's Pod is replaced while another one ends";
    each_breaks(
        replaced,
        &[(|case| end(case, 2), RULE), (|case| end(case, 0), RULE)],
    );
    each_passes(
        replaced,
        &[
            |case| end(case, 1),
            |case| case.member(2).pod = None,
            |case| {
                end(case, 2);
                case.lose(1);
            },
            |case| {
                case.seen.members.insert(name(7), member(7));
                end(case, 7);
            },
        ],
    );
}
