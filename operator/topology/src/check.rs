//! What a plan may never hold, checked by code that did not make it, before it is carried out.
//! Must not share a line with `decide`, nor trust its reasons.

mod addresses;
mod birth;
mod by_hand;
mod cut_off;
mod record;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::assignment::Role;
use crate::decision::Plan;
use crate::gtid::{Gtid, GtidSet, Source};
use crate::observed::{Member, Observed, Spec};
use crate::record::Record;
use crate::report::{Report, ServerSeen};

/// A rule that a plan breaks. It stops the cluster's loop: better no step than a wrong one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(pub String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Everything that is wrong with a plan.
pub fn check(
    spec: &Spec,
    seen: &Observed,
    memory: Option<&Record>,
    plan: &Plan,
) -> Result<(), Vec<Violation>> {
    let mut found = Found(Vec::new());
    if spec.is_suspended && *plan != Plan::default() {
        found.say("a suspended cluster is acted upon");
    }
    match (memory, &plan.record) {
        (None, Some(next)) => birth::record(seen, next, &mut found),
        (Some(before), Some(next)) => record::change(spec, seen, before, next, &mut found),
        (_, None) => {}
    }
    if plan.record.is_some()
        && !(plan.assign.is_empty()
            && plan.expose.is_none()
            && plan.remove.is_empty()
            && plan.replace.is_none())
    {
        found.say("something is done before the record of it is written");
    }
    orders(seen, memory, plan, &mut found);
    exposure(seen, memory, plan, &mut found);
    addresses::addresses(seen, plan, &mut found);
    removal(spec, seen, memory, plan, &mut found);
    match found.0.is_empty() {
        true => Ok(()),
        false => Err(found.0),
    }
}

struct Found(Vec<Violation>);

impl Found {
    fn say(&mut self, what: impl Into<String>) {
        self.0.push(Violation(what.into()));
    }

    fn unless(&mut self, is_fine: bool, what: impl Into<String>) {
        if !is_fine {
            self.say(what);
        }
    }
}

fn server<'a>(seen: &'a Observed, name: &str) -> Option<(&'a Member, &'a Report, &'a ServerSeen)> {
    let member = seen.members.get(name).filter(|member| member.is_connected)?;
    let report = member.report.as_ref()?;
    Some((member, report, report.server.as_ref()?))
}

/// It is there with the data that are counted on, and has all of them that it ever had.
fn counts(seen: &Observed, record: &Record, name: &str) -> bool {
    server(seen, name).is_some_and(|(member, _, server)| {
        let all = server.executed.union(&server.received);
        record.counts(name, server.incarnation) && member.forgot.is_none() && !has_hole(record, &all)
    })
}

/// It has the transaction of the last epoch, and lacks what was before that.
fn has_hole(record: &Record, all: &GtidSet) -> bool {
    let last = record.term.epoch.saturating_sub(u64::from(record.is_choosing));
    let begun = Gtid::new(Source::from(record.identity), last).is_ok_and(|gtid| all.contains(&gtid));
    let cut = record.cut.as_ref();
    begun && cut.is_some_and(|cut| !cut.subtract(all).is_empty())
}

fn orders(seen: &Observed, memory: Option<&Record>, plan: &Plan, found: &mut Found) {
    for (name, order) in &plan.assign {
        found.unless(
            order.member == *name,
            format!("{name} gets the orders of {}", order.member),
        );
        found.unless(
            order.record.as_ref() == memory,
            format!("{name} gets another record than the one that is written"),
        );
        let Some(record) = memory else {
            found.unless(
                order.role == Role::Hold,
                format!("{name} gets a role before there is a record"),
            );
            continue;
        };
        let incarnation = server(seen, name).map(|(_, _, server)| server.incarnation);
        match &order.role {
            Role::Primary { wait_for } => primary(seen, record, name, *wait_for, found),
            Role::Retire => found.unless(
                *name == record.primary && record.handing_to.is_some(),
                format!("{name} gives a role up without a handover"),
            ),
            Role::Found => found.unless(
                *name == record.primary && record.term.epoch == 0,
                format!("{name} founds beside the founder"),
            ),
            Role::Replica { source } => {
                let is_right = source.member == record.primary && *name != record.primary;
                found.unless(is_right, format!("{name} is to follow {}", source.member));
                found.unless(
                    !record.is_choosing,
                    format!("{name} is to follow while a primary is chosen"),
                );
                found.unless(
                    !is_beyond(seen, record, name),
                    format!("{name} is to follow with what nobody acknowledged"),
                );
                let is_leaving = record
                    .voters
                    .get(name)
                    .is_none_or(|voter| voter.leaving.is_some());
                found.unless(
                    !is_leaving,
                    format!("{name} is to acknowledge, and is no voter that stays"),
                );
            }
            Role::Clone { donor, instead_of } => {
                found.unless(*name != record.primary, "the primary's data are thrown away");
                found.unless(donor.member != *name, format!("{name} copies itself"));
                let is_that = incarnation.is_none() || incarnation == Some(*instead_of);
                found.unless(is_that, format!("{name} throws away data that nobody looked at"));
            }
            Role::Hold => {}
        }
    }
}

/// It has nothing of this epoch, and more than this epoch began with.
fn is_beyond(seen: &Observed, record: &Record, name: &str) -> bool {
    let Some(((_, _, server), cut)) = server(seen, name).zip(record.cut.as_ref()) else {
        return false;
    };
    let numbers = Source::from(record.identity);
    let sets = [&server.executed, &server.received];
    let is_of_this = sets.iter().any(|set| set.highest(&numbers) >= record.term.epoch);
    !is_of_this && sets.iter().any(|set| !set.is_subset(cut))
}

fn primary(seen: &Observed, record: &Record, name: &str, wait_for: u16, found: &mut Found) {
    let incarnation = server(seen, name).map(|(_, _, server)| server.incarnation);
    found.unless(name == record.primary, format!("{name} is made a second primary"));
    found.unless(
        wait_for == record.wait_for,
        format!("{name} waits for another number than recorded"),
    );
    found.unless(record.term.epoch > 0, format!("{name} is opened before epoch 1"));
    let recorded = record.voters.get(name).and_then(|voter| voter.incarnation);
    found.unless(
        incarnation.is_none() || incarnation == recorded,
        format!("{name} is opened with other data"),
    );
    let has_all = seen
        .members
        .get(name)
        .is_none_or(|member| member.forgot.is_none());
    found.unless(has_all, format!("{name} is opened without what it had"));
    found.unless(!record.is_choosing, format!("{name} is opened before the choice"));
    found.unless(
        record.handing_to.is_none(),
        format!("{name} is opened while it hands over"),
    );
    let report = seen.members.get(name).and_then(|member| member.report.as_ref());
    let told = report.and_then(|report| report.assignment.as_ref());
    let was_primary = told.is_some_and(|told| {
        let is_same = told
            .record
            .as_ref()
            .is_some_and(|told| told.identity == record.identity);
        is_same && matches!(told.role, Role::Primary { .. } | Role::Retire | Role::Found)
    });
    let is_known = incarnation.is_some() || was_primary;
    found.unless(is_known, format!("{name} is opened with data that nobody saw"));
}

/// Voters that are seen to have promised this epoch: they acknowledge nothing of those before.
fn how_many_promised(seen: &Observed, record: &Record) -> usize {
    let members = seen.members.iter().filter(|(name, member)| {
        let report = member.report.as_ref().filter(|_| member.is_connected);
        let order = report.and_then(|report| report.assignment.as_ref());
        let epoch = order.map(|order| order.term().epoch).unwrap_or_default();
        record.voters.contains_key(*name) && epoch >= record.term.epoch
    });
    members.count()
}

fn exposure(seen: &Observed, memory: Option<&Record>, plan: &Plan, found: &mut Found) {
    let Some(expose) = &plan.expose else {
        return;
    };
    let Some(record) = memory.filter(|record| record.term.epoch > 0 && !record.is_choosing) else {
        found.say("a half-made cluster is exposed");
        return;
    };
    if let Some(endpoint) = &expose.primary {
        let is_new = seen.exposed.primary.as_ref() != Some(endpoint);
        // Whoever comes there is refused, as if it led nowhere, or has no commit acknowledged.
        let is_shut = seen.members.get(&endpoint.member).is_some_and(|member| {
            let server = member.report.as_ref().and_then(|report| report.server.as_ref());
            !member.is_connected || !server.is_some_and(|server| server.is_open)
        });
        let is_mute = how_many_promised(seen, record) >= record::quorum(record);
        found.unless(
            endpoint.member == record.primary || (!is_new && (is_shut || is_mute)),
            format!("writes are led to {}", endpoint.member),
        );
        let is_open = server(seen, &endpoint.member).is_some_and(|(_, report, server)| {
            let term = report
                .assignment
                .as_ref()
                .map(|order| order.term())
                .unwrap_or_default();
            server.is_open
                && term.epoch == record.term.epoch
                && record.counts(&endpoint.member, server.incarnation)
        });
        found.unless(
            !is_new || is_open,
            format!("{} is exposed and not open", endpoint.member),
        );
    }
    for endpoint in &expose.replicas {
        found.unless(
            record.voters.contains_key(&endpoint.member),
            format!("{} serves reads and is no voter", endpoint.member),
        );
    }
}

fn removal(spec: &Spec, seen: &Observed, memory: Option<&Record>, plan: &Plan, found: &mut Found) {
    let is_voter = |name: &String| memory.is_some_and(|record| record.voters.contains_key(name));
    for name in &plan.remove {
        found.unless(
            !is_voter(name) && !plan.exist.contains(name),
            format!("{name} is removed and still counts"),
        );
        found.unless(memory.is_some(), format!("{name} is removed without a record"));
    }
    if let Some(name) = &plan.replace {
        // Alone it has nobody to hand over to.
        let is_primary = memory
            .is_some_and(|record| record.primary == *name && (record.voters.len() > 1 || spec.instances > 1));
        let is_there = seen.members.get(name).is_some_and(|member| member.is_connected);
        found.unless(!(is_primary && is_there), "the primary's Pod is replaced");
        // What it says may be what is waited for.
        let is_led = memory.is_some_and(|record| record.term.epoch > 0 && !record.is_choosing);
        found.unless(
            is_led || !is_there,
            format!("{name}'s Pod is replaced before there is a primary"),
        );
        // Whoever does not run in the first place is no loss.
        let ends_too = |(other, member): (&String, &Member)| {
            let is_ending = member.pod.as_ref().is_some_and(|pod| pod.is_terminating);
            is_ending && other != name && is_voter(other)
        };
        let is_second = is_there && seen.members.iter().any(ends_too);
        found.unless(
            !is_second,
            format!("{name}'s Pod is replaced while another one ends"),
        );
    }
}
