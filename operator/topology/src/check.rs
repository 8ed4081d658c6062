//! What a plan may never hold, checked by code that did not make it, before it is carried out.
//! Must not share a line with `decide`, nor trust its reasons.

use std::fmt;

use crate::assignment::Role;
use crate::decision::Plan;
use crate::observed::{Member, Observed, Spec};
use crate::record::{Leaving, Record};
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
        (None, Some(next)) => birth(seen, next, &mut found),
        (Some(before), Some(next)) => change(seen, before, next, &mut found),
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
    removal(seen, memory, plan, &mut found);
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

    fn unless(&mut self, is_fine: bool, what: impl FnOnce() -> String) {
        if !is_fine {
            self.say(what());
        }
    }
}

fn server<'a>(seen: &'a Observed, name: &str) -> Option<(&'a Member, &'a Report, &'a ServerSeen)> {
    let member = seen.members.get(name).filter(|member| member.is_connected)?;
    let report = member.report.as_ref()?;
    Some((member, report, report.server.as_ref()?))
}

fn birth(seen: &Observed, next: &Record, found: &mut Found) {
    let data = seen
        .members
        .keys()
        .filter_map(|name| server(seen, name))
        .any(|(_, report, server)| {
            let is_told = report
                .assignment
                .as_ref()
                .is_some_and(|order| order.record.is_some());
            is_told || !server.executed.is_empty() || !server.received.is_empty()
        });
    match next.term.epoch {
        0 => {
            found.unless(!data, || "a cluster is founded beside data".into());
            found.unless(!seen.had_primary, || {
                "a cluster is founded where there was one".into()
            });
            found.unless(next.acknowledged_by == 0 && next.wait_for == 0, || {
                "acknowledgements before epoch 1".into()
            });
        }
        epoch => {
            found.unless(data, || "a cluster is taken over from nothing".into());
            let told = seen
                .members
                .values()
                .filter_map(|member| member.report.as_ref()?.assignment.as_ref()?.record.as_ref());
            for record in told {
                found.unless(record.identity == next.identity, || {
                    "two identities are mixed".into()
                });
                found.unless(
                    record.term.epoch < epoch && record.term.revision < next.term.revision,
                    || {
                        format!(
                            "term {} is not above {} that a member knows",
                            next.term, record.term
                        )
                    },
                );
            }
            let histories = next.voters.keys().filter_map(|name| server(seen, name));
            let cut = next.cut.clone().unwrap_or_default();
            let counted: Vec<_> = histories
                .filter(|(_, report, server)| next.counts(&report.member, server.incarnation))
                .collect();
            let is_primary_there = counted.iter().any(|(_, report, server)| {
                report.member == next.primary && cut == server.executed.union(&server.received)
            });
            found.unless(is_primary_there, || {
                "the chosen primary does not hold the cut".into()
            });
            let need = next
                .voters
                .len()
                .saturating_sub(usize::from(next.acknowledged_by));
            found.unless(counted.len() >= need, || {
                format!("{} members are fewer than {need}", counted.len())
            });
        }
    }
    found.unless(next.voters.contains_key(&next.primary), || {
        "the primary is no voter".into()
    });
}

fn change(seen: &Observed, before: &Record, next: &Record, found: &mut Found) {
    found.unless(next.identity == before.identity, || "the identity changes".into());
    found.unless(next.term.revision == before.term.revision + 1, || {
        "the revision does not rise by one".into()
    });
    found.unless(next.acknowledged_by <= next.wait_for, || {
        "fewer are waited for than are counted on".into()
    });
    found.unless(next.voters.contains_key(&next.primary), || {
        "the primary is no voter".into()
    });
    found.unless(next.primary == before.primary || before.term.epoch == 0, || {
        "the primary moves".into()
    });
    let proved = server(seen, &before.primary).is_some_and(|(_, report, server)| {
        let is_counted = before.counts(&before.primary, server.incarnation);
        is_counted
            && report
                .proved
                .is_some_and(|proof| proof.term == before.term && proof.wait_for >= before.wait_for)
    });
    match (before.term.epoch, next.term.epoch) {
        (0, 0) => found.unless(next.wait_for == 0, || "acknowledgements before epoch 1".into()),
        (0, 1) => {
            let founded = server(seen, &before.primary).is_some_and(|(_, report, _)| report.is_founded);
            found.unless(founded, || "the first primary is not founded".into());
            let counted = before.voters.iter().filter(|(name, voter)| {
                let now = server(seen, name).map(|(_, _, server)| server.incarnation);
                voter.incarnation.is_some() && now == voter.incarnation
            });
            found.unless(counted.count() > usize::from(next.wait_for), || {
                "too few members are counted to open".into()
            });
            found.unless(next.acknowledged_by == next.wait_for, || {
                "the first epoch counts on fewer than it waits for".into()
            });
            found.unless(next.voters == before.voters, || {
                "voters change with the epoch".into()
            });
            return;
        }
        (same, also) => found.unless(same == also, || "the epoch changes".into()),
    }
    found.unless(
        next.acknowledged_by <= before.acknowledged_by || (proved && next.acknowledged_by <= before.wait_for),
        || "more replicas are counted on than a commit was proved with".into(),
    );
    voters(seen, before, next, proved, found);
}

fn voters(seen: &Observed, before: &Record, next: &Record, is_proved: bool, found: &mut Found) {
    for (name, voter) in &before.voters {
        let Some(after) = next.voters.get(name) else {
            let is_silent = voter.leaving == Some(Leaving::Silent);
            found.unless(is_silent && is_proved, || {
                format!("{name} is struck out while its acknowledgements may count")
            });
            continue;
        };
        if after.leaving != voter.leaving {
            let is_onward = match (voter.leaving, after.leaving) {
                (None, Some(Leaving::Asked)) => true,
                (Some(Leaving::Asked), Some(Leaving::Silent)) => is_quiet(seen, before, name),
                _ => false,
            };
            found.unless(is_onward, || {
                format!("{name} is taken for silent, and was not seen to be")
            });
            found.unless(*name != before.primary, || "the primary is removed".into());
        }
        let is_reset = before.term.epoch == 0 && before.primary != next.primary;
        if after.incarnation != voter.incarnation && !is_reset && !is_refounded(before, next, name) {
            let has_all = after
                .incarnation
                .is_some_and(|incarnation| holds_all(seen, before, name, incarnation));
            found.unless(has_all, || {
                format!("{name} is counted, and was not seen to hold everything")
            });
        }
    }
    let new = next
        .voters
        .iter()
        .filter(|(name, _)| !before.voters.contains_key(*name));
    for (name, voter) in new {
        found.unless(voter.incarnation.is_none(), || {
            format!("{name} is counted as it is added")
        });
    }
}

/// In epoch 0 the founder's volume may be another one: everybody begins again.
fn is_refounded(before: &Record, next: &Record, name: &str) -> bool {
    let founder = |record: &Record| {
        record
            .voters
            .get(&record.primary)
            .and_then(|voter| voter.incarnation)
    };
    let is_begun_again = before.term.epoch == 0 && founder(before) != founder(next);
    is_begun_again
        && (name == next.primary
            || next
                .voters
                .get(name)
                .is_some_and(|voter| voter.incarnation.is_none()))
}

fn is_quiet(seen: &Observed, before: &Record, name: &str) -> bool {
    let never_ran = seen.members.get(name).is_some_and(|member| {
        member.pod.as_ref().is_some_and(|pod| pod.node.is_none()) && before.voters[name].incarnation.is_none()
    });
    let obeys = server(seen, name).is_some_and(|(_, report, server)| {
        let order = report.assignment.as_ref();
        report.is_settled
            && order.is_some_and(|order| order.term() == before.term && order.role == Role::Hold)
            && !server
                .follows
                .as_ref()
                .is_some_and(|follows| follows.is_receiving)
    });
    never_ran || obeys
}

/// What the primary had after this incarnation attached is all there.
fn holds_all(seen: &Observed, before: &Record, name: &str, incarnation: crate::gtid::Uuid) -> bool {
    let (Some((member, _, server)), Some((_, told, primary))) =
        (server(seen, name), server(seen, &before.primary))
    else {
        return false;
    };
    let is_later = member.attached_at_ping.is_some_and(|ping| told.heard > ping);
    let has_all = primary
        .executed
        .is_subset(&server.executed.union(&server.received));
    server.incarnation == incarnation
        && before.counts(&before.primary, primary.incarnation)
        && is_later
        && has_all
}

fn orders(seen: &Observed, memory: Option<&Record>, plan: &Plan, found: &mut Found) {
    for (name, order) in &plan.assign {
        found.unless(order.member == *name, || {
            format!("{name} gets the orders of {}", order.member)
        });
        found.unless(order.record.as_ref() == memory, || {
            format!("{name} gets another record than the one that is written")
        });
        let Some(record) = memory else {
            found.unless(order.role == Role::Hold, || {
                format!("{name} gets a role before there is a record")
            });
            continue;
        };
        let incarnation = server(seen, name).map(|(_, _, server)| server.incarnation);
        match &order.role {
            Role::Primary { wait_for } => {
                found.unless(*name == record.primary, || {
                    format!("{name} is made a second primary")
                });
                found.unless(*wait_for == record.wait_for, || {
                    format!("{name} waits for another number than recorded")
                });
                found.unless(record.term.epoch > 0, || {
                    format!("{name} is opened before epoch 1")
                });
                let recorded = record.voters.get(name).and_then(|voter| voter.incarnation);
                found.unless(incarnation.is_none() || incarnation == recorded, || {
                    format!("{name} is opened with other data")
                });
            }
            Role::Found => found.unless(*name == record.primary && record.term.epoch == 0, || {
                format!("{name} founds beside the founder")
            }),
            Role::Replica { source } => {
                let is_right = source.member == record.primary && *name != record.primary;
                found.unless(is_right, || format!("{name} is to follow {}", source.member));
                let is_leaving = record
                    .voters
                    .get(name)
                    .is_none_or(|voter| voter.leaving.is_some());
                found.unless(!is_leaving, || {
                    format!("{name} is to acknowledge, and is no voter that stays")
                });
            }
            Role::Clone { donor, instead_of } => {
                found.unless(*name != record.primary, || {
                    "the primary's data are thrown away".into()
                });
                found.unless(donor.member != *name, || format!("{name} copies itself"));
                let is_that = incarnation.is_none() || incarnation == Some(*instead_of);
                found.unless(is_that, || {
                    format!("{name} throws away data that nobody looked at")
                });
            }
            Role::Hold => {}
        }
    }
}

fn exposure(seen: &Observed, memory: Option<&Record>, plan: &Plan, found: &mut Found) {
    let Some(expose) = &plan.expose else {
        return;
    };
    let Some(record) = memory.filter(|record| record.term.epoch > 0) else {
        found.say("a half-made cluster is exposed");
        return;
    };
    if let Some(endpoint) = &expose.primary {
        found.unless(endpoint.member == record.primary, || {
            format!("writes are led to {}", endpoint.member)
        });
        let is_new = seen.exposed.primary.as_ref() != Some(endpoint);
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
        found.unless(!is_new || is_open, || {
            format!("{} is exposed and not open", endpoint.member)
        });
    }
    for endpoint in &expose.replicas {
        found.unless(record.voters.contains_key(&endpoint.member), || {
            format!("{} serves reads and is no voter", endpoint.member)
        });
    }
}

fn removal(seen: &Observed, memory: Option<&Record>, plan: &Plan, found: &mut Found) {
    let is_voter = |name: &String| memory.is_some_and(|record| record.voters.contains_key(name));
    for name in &plan.remove {
        found.unless(!is_voter(name) && !plan.exist.contains(name), || {
            format!("{name} is removed and still counts")
        });
        found.unless(memory.is_some(), || format!("{name} is removed without a record"));
    }
    if let Some(name) = &plan.replace {
        let is_primary = memory.is_some_and(|record| record.primary == *name);
        let is_there = seen.members.get(name).is_some_and(|member| member.is_connected);
        found.unless(!(is_primary && is_there), || {
            "the primary's Pod is replaced".into()
        });
    }
}
