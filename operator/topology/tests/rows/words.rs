//! A decision in words: those of the status, and what would be done.
//! Must not leave out anything that is done.

use std::fmt::Write;

use topology::assignment::{Assignment, Role};
use topology::capture::Capture;
use topology::decision::{Decision, MemberState, MemberView};
use topology::observed::Endpoint;
use topology::record::{Record, Voter};

pub(crate) fn of(capture: &Capture, decision: &Decision) -> String {
    let mut text = format!("{}\n", decision.state.as_str());
    for reason in &decision.because {
        say(&mut text, "because", reason);
    }
    for refusal in &decision.refused {
        say(&mut text, "refused", refusal);
    }
    let is_plain = |view: &MemberView| view.state == MemberState::Serving && view.because.is_none();
    for (name, view) in decision.members.iter().filter(|(_, view)| !is_plain(view)) {
        let because = view.because.as_deref();
        let because = because.map(|because| format!(", {because}")).unwrap_or_default();
        say(
            &mut text,
            "member",
            format!("{name} is {}{because}", view.state.as_str()),
        );
    }
    let plan = &decision.plan;
    if let Some(next) = &plan.record {
        say(&mut text, "record", change(capture.record.as_ref(), next));
    }
    for (name, order) in &plan.assign {
        let member = capture.observed.members.get(name);
        let before = member.and_then(|member| member.report.as_ref()?.assignment.as_ref());
        if before != Some(order) {
            say(&mut text, "told", format!("{name} {}", role(before, order)));
        }
    }
    if let Some(expose) = &plan.expose {
        let writes = endpoints(expose.primary.iter());
        let reads = endpoints(expose.replicas.iter());
        say(
            &mut text,
            "services",
            format!("writes to {writes}, reads to {reads}"),
        );
    }
    for (what, names) in [
        ("made anew", plan.replace.iter().collect::<Vec<_>>()),
        ("removed", plan.remove.iter().collect()),
    ] {
        for name in names {
            say(&mut text, "pod", format!("{name} is {what}"));
        }
    }
    text
}

/// What the status says beside the state: what is refused, why, and what members have to say.
pub(crate) fn of_status(decision: &Decision) -> String {
    let refused = decision.refused.iter().map(ToString::to_string);
    let because = decision.because.iter().map(ToString::to_string);
    let is_telling = |view: &MemberView| matches!(view.state, MemberState::Serving | MemberState::Failed);
    let members = decision.members.iter().filter(|(_, view)| is_telling(view));
    let members = members.filter_map(|(name, view)| Some(format!("{name}: {}", view.because.as_ref()?)));
    let all: Vec<String> = refused.chain(because).chain(members).collect();
    all.join("; ")
}

fn say(text: &mut String, what: &str, words: impl std::fmt::Display) {
    // Writing into a String cannot fail.
    let _ = writeln!(text, "{what}: {words}");
}

fn endpoints<'a>(all: impl Iterator<Item = &'a Endpoint>) -> String {
    let names: Vec<&str> = all.map(|endpoint| endpoint.member.as_str()).collect();
    match names.is_empty() {
        true => "nobody".into(),
        false => names.join(", "),
    }
}

fn role(before: Option<&Assignment>, order: &Assignment) -> String {
    let words = match &order.role {
        Role::Hold => "to follow nobody and take no writes".to_owned(),
        Role::Found => "to make the accounts".to_owned(),
        Role::Primary { wait_for } => format!("to be primary, each write on {}", replicas(*wait_for)),
        Role::Retire => "to close".to_owned(),
        Role::Replica { source } => format!("to follow {}", source.member),
        Role::Clone { donor, .. } => format!("to throw its data away and copy those of {}", donor.member),
    };
    let is_same = before.is_some_and(|before| before.role == order.role);
    let again = match (is_same, order.server.may_restart) {
        (true, true) => ", and may restart",
        (true, false) => ", as before",
        (false, _) => "",
    };
    format!("{words}{again} (term {})", order.term())
}

pub(crate) fn replicas(count: u16) -> String {
    match count {
        1 => "1 replica".to_owned(),
        _ => format!("{count} replicas"),
    }
}

/// What changes with the next record.
fn change(before: Option<&Record>, next: &Record) -> String {
    let Some(before) = before else {
        return format!("{}, the first", next.term);
    };
    let mut all = vec![format!("{} after {}", next.term, before.term)];
    if next.term.epoch != before.term.epoch {
        all.push(match next.is_choosing {
            true if next.by_hand.is_some() => format!("epoch {} is claimed, by hand", next.term.epoch),
            true => format!("epoch {} is claimed", next.term.epoch),
            false => format!("epoch {} begins", next.term.epoch),
        });
    }
    if !next.left_out.is_empty() {
        let names: Vec<&str> = next.left_out.iter().map(String::as_str).collect();
        all.push(format!("{} left out of the choice", names.join(", ")));
    }
    if before.is_choosing && !next.is_choosing {
        let how = if next.by_hand.is_some() { ", by hand" } else { "" };
        all.push(format!("{} is chosen{how}", next.primary));
    } else if next.primary != before.primary {
        all.push(format!("{} is primary", next.primary));
    }
    match (&before.handing_to, &next.handing_to) {
        (None, Some(to)) => all.push(format!("the role goes to {to}")),
        (Some(_), None) if next.term.epoch == before.term.epoch => all.push("the role stays".into()),
        _ => {}
    }
    if next.cut != before.cut {
        all.push("what counts of the epochs before is written down".into());
    }
    for (name, voter) in &next.voters {
        let old = before.voters.get(name);
        if old != Some(voter) {
            all.push(format!("{name} {}", of_voter(old, voter)));
        }
    }
    for name in before
        .voters
        .keys()
        .filter(|name| !next.voters.contains_key(*name))
    {
        all.push(format!("{name} counts no more"));
    }
    if next.wait_for != before.wait_for {
        all.push(format!("writes wait for {}", replicas(next.wait_for)));
    }
    if next.acknowledged_by != before.acknowledged_by {
        all.push(format!("{} have every write", replicas(next.acknowledged_by)));
    }
    all.join("; ")
}

fn of_voter(old: Option<&Voter>, voter: &Voter) -> &'static str {
    match (old, voter.leaving.is_some()) {
        (_, true) => "leaves",
        (None, false) => "may acknowledge from now on, and is not counted yet",
        (Some(old), false) if old.incarnation != voter.incarnation => "counts with the data it has now",
        (Some(_), false) => "stays",
    }
}
