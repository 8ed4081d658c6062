//! A decision as a text for people: state, why, members, plan, and what the check says of it.
//! Must not do IO, nor judge: the sentences are those of the decision.

use std::fmt::Display;

use topology::assignment::{Assignment, Place, Role};
use topology::capture::Capture;
use topology::check::Violation;
use topology::decision::{Decision, MemberRole, Plan};
use topology::gtid::GtidSet;
use topology::observed::Endpoint;
use topology::record::{Leaving, Record, Voter};

use crate::output::{line, table};

/// Of what agents and Kubernetes say of a member, and of sets of transactions; JSON has them whole.
const QUOTE_LIMIT: usize = 400;

/// The state alone is the first line.
pub(super) fn text(capture: &Capture, decision: &Decision, checked: &Result<(), Vec<Violation>>) -> String {
    let mut text = format!("{}\n\n{}\n", decision.state.as_str(), subject(capture));
    paragraph(&mut text, "Because", sentences(&decision.because));
    paragraph(&mut text, "Refused", sentences(&decision.refused));
    paragraph(&mut text, "Members", members(decision));
    paragraph(&mut text, "Plan", plan(capture, decision));
    let said = match checked {
        Ok(()) => vec!["the plan breaks no rule".to_owned()],
        Err(violations) => sentences(violations),
    };
    paragraph(&mut text, "Check", said);
    text
}

fn subject(capture: &Capture) -> String {
    let mut text = format!("{} of {} instances", capture.spec.name, capture.spec.instances);
    if let Some(at) = &capture.taken_at {
        text.push_str(&format!(", looked at {}", line(at, QUOTE_LIMIT)));
    }
    text.push_str(&match &capture.record {
        None => "; it has no record yet".to_owned(),
        Some(record) => format!("; record {}: {}", record.term, ruler(record)),
    });
    text
}

fn ruler(record: &Record) -> String {
    let name = &record.primary;
    match (record.is_choosing, &record.handing_to) {
        (true, _) => format!("the primary after {name} is being chosen"),
        (false, Some(to)) => format!("{name} is primary and hands over to {to}"),
        (false, None) => format!("{name} is primary"),
    }
}

/// Nothing at all if there is nothing to say.
fn paragraph(text: &mut String, head: &str, lines: Vec<String>) {
    if lines.is_empty() {
        return;
    }
    text.push_str(&format!("\n{head}:\n"));
    for line in lines {
        text.push_str(&format!("  {line}\n"));
    }
}

fn sentences(all: &[impl Display]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

fn members(decision: &Decision) -> Vec<String> {
    let rows = decision.members.iter().map(|(name, member)| {
        let role = match member.role {
            MemberRole::Primary => "Primary",
            MemberRole::Replica => "Replica",
            MemberRole::None => "None",
        };
        let because = member.because.as_deref().unwrap_or_default();
        vec![
            name.clone(),
            role.to_owned(),
            member.state.as_str().to_owned(),
            line(because, QUOTE_LIMIT),
        ]
    });
    let rows: Vec<_> = rows.collect();
    lines(&table("", &["NAME", "ROLE", "STATE", "BECAUSE"], &rows))
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

fn plan(capture: &Capture, decision: &Decision) -> Vec<String> {
    let plan = &decision.plan;
    let mut said = record_change(capture.record.as_ref(), plan.record.as_ref());
    let seen = &capture.observed;
    let missing = plan
        .exist
        .iter()
        .filter(|name| seen.members.get(*name).is_none_or(|member| member.pod.is_none()));
    said.extend(missing.map(|name| format!("make {name}: it has no Pod")));
    for (name, order) in &plan.assign {
        let report = seen.members.get(name).and_then(|member| member.report.as_ref());
        let has_it = report.is_some_and(|report| report.assignment.as_ref() == Some(order));
        let already = if has_it { " (it is told so already)" } else { "" };
        said.push(format!("{name} is to {}{already}", duty(order)));
    }
    said.extend(exposure(plan));
    said.extend(
        plan.replace
            .iter()
            .map(|name| format!("replace the Pod of {name}")),
    );
    said.extend(plan.remove.iter().map(|name| format!("remove {name}")));
    if said.is_empty() {
        said.push("nothing is to be done".to_owned());
    }
    if let Some(wake) = decision.wake {
        let wait_ms = wake.saturating_sub(capture.now);
        said.push(format!("ask again in {wait_ms} ms, if nothing changes before"));
    }
    said
}

fn duty(order: &Assignment) -> String {
    match &order.role {
        Role::Hold => "hold still: follow nobody, take no writes".to_owned(),
        Role::Found => "make the first accounts and tables".to_owned(),
        Role::Primary { wait_for } => {
            format!("be primary, each write acknowledged by {wait_for} before the client hears of it")
        }
        Role::Retire => "retire: close, and let what waits be acknowledged".to_owned(),
        Role::Replica { source } => format!("follow {}", place(source)),
        Role::Clone { donor, instead_of } => {
            format!(
                "throw its data {instead_of} away and copy those of {}",
                place(donor)
            )
        }
    }
}

fn place(place: &Place) -> String {
    format!("{} at {}:{}", place.member, place.host, place.port)
}

fn exposure(plan: &Plan) -> Vec<String> {
    let Some(expose) = &plan.expose else {
        return Vec::new();
    };
    let named = |endpoint: &Endpoint| format!("{} at {}", endpoint.member, endpoint.ip);
    let writes = expose.primary.as_ref().map(named);
    let reads: Vec<_> = expose.replicas.iter().map(named).collect();
    let reads = match reads.is_empty() {
        true => "nobody".to_owned(),
        false => reads.join(", "),
    };
    let writes = writes.unwrap_or_else(|| "nobody".to_owned());
    vec![format!("lead writes to {writes}, reads to {reads}")]
}

/// What is another in the next record, line by line.
fn record_change(before: Option<&Record>, next: Option<&Record>) -> Vec<String> {
    let Some(next) = next else { return Vec::new() };
    let Some(before) = before else {
        return vec![format!(
            "write the first record, {}: {}, {} voters",
            next.term,
            ruler(next),
            next.voters.len()
        )];
    };
    let mut said = vec![format!(
        "write the record {} instead of {}, and all else after that",
        next.term, before.term
    )];
    let mut change = |what: &str, before: String, next: String| {
        if before != next {
            said.push(format!("  {what}: {before} → {next}"));
        }
    };
    change("ruler", ruler(before), ruler(next));
    change("identity", before.identity.to_string(), next.identity.to_string());
    change(
        "replicas that writes wait for",
        before.wait_for.to_string(),
        next.wait_for.to_string(),
    );
    change(
        "replicas that have what was acknowledged",
        before.acknowledged_by.to_string(),
        next.acknowledged_by.to_string(),
    );
    change("cut", cut(before.cut.as_ref()), cut(next.cut.as_ref()));
    let mut names: Vec<_> = before.voters.keys().chain(next.voters.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        change(name, voter(before.voters.get(name)), voter(next.voters.get(name)));
    }
    said
}

fn cut(cut: Option<&GtidSet>) -> String {
    cut.map_or("none".to_owned(), |cut| line(&cut.to_string(), QUOTE_LIMIT))
}

fn voter(voter: Option<&Voter>) -> String {
    let Some(voter) = voter else {
        return "no voter".to_owned();
    };
    let data = match voter.incarnation {
        Some(incarnation) => format!("voter with the data {incarnation}"),
        None => "voter that is not counted yet".to_owned(),
    };
    match voter.leaving {
        None => data,
        Some(Leaving::Asked) => format!("{data}, asked to leave"),
        Some(Leaving::Silent) => format!("{data}, leaving and silent"),
    }
}
