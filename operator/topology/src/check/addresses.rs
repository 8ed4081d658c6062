//! Addresses in a plan: of Pods that are there, or as they were.
//! Must not judge who may be led or sent there.

use super::Found;
use crate::assignment::Role;
use crate::decision::Plan;
use crate::observed::Observed;

pub(super) fn addresses(seen: &Observed, plan: &Plan, found: &mut Found) {
    orders(seen, plan, found);
    exposure(seen, plan, found);
}

fn orders(seen: &Observed, plan: &Plan, found: &mut Found) {
    for (name, order) in &plan.assign {
        let (Role::Replica { source: place } | Role::Clone { donor: place, .. }) = &order.role else {
            continue;
        };
        let report = seen.members.get(name).and_then(|member| member.report.as_ref());
        let told = report.and_then(|report| report.assignment.as_ref());
        let is_kept = told.is_some_and(|told| told.role == order.role);
        found.unless(
            is_kept || is_there(seen, &place.member, &place.host),
            format!("{name} is sent to {}, where {} is not", place.host, place.member),
        );
    }
}

fn exposure(seen: &Observed, plan: &Plan, found: &mut Found) {
    let Some(next) = &plan.expose else {
        return;
    };
    let before = &seen.exposed;
    for endpoint in next.primary.iter().chain(&next.replicas) {
        let is_kept = before.primary.as_ref() == Some(endpoint) || before.replicas.contains(endpoint);
        found.unless(
            is_kept || is_there(seen, &endpoint.member, &endpoint.ip),
            format!(
                "clients are led to {}, where {} is not",
                endpoint.ip, endpoint.member
            ),
        );
    }
}

fn is_there(seen: &Observed, member: &str, ip: &str) -> bool {
    let pod = seen.members.get(member).and_then(|member| member.pod.as_ref());
    pod.is_some_and(|pod| pod.ip.as_deref() == Some(ip))
}
