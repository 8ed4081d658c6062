//! A view of a cluster as a text for people.
//! Must not judge: what is said stands in the view.

use crds::cluster::{MemberRole, MemberStatus, Promotion, PromotionDeadline, PromotionKind, PromotionPhases};

use super::view::{View, Why};
use crate::output::{line, table};

/// Of what others said: conditions and members.
const QUOTE_LIMIT: usize = 1_024;
const INDENT: &str = "  ";

/// The verdict is the first line.
pub fn text(view: &View) -> String {
    let mut text = format!("{}\n", line(&view.verdict, QUOTE_LIMIT));
    if !view.why.is_empty() {
        text.push_str("\nWhy:\n");
        text.push_str(&reasons(&view.why));
    }
    if !view.members.is_empty() {
        text.push_str("\nMembers:\n");
        let head = ["NAME", "ROLE", "STATE", "NODE", "EPOCH", "BECAUSE"];
        let rows: Vec<_> = view.members.iter().map(member).collect();
        text.push_str(&table(INDENT, &head, &rows));
    }
    if !view.promotions.is_empty() {
        text.push_str("\nPromotions, newest first:\n");
        let head = ["EPOCH", "WHEN", "FROM", "TO", "KIND", "REASON", "TOOK", "PHASES"];
        let rows: Vec<_> = view.promotions.iter().map(promotion).collect();
        text.push_str(&table(INDENT, &head, &rows));
    }
    text.push_str("\nNext:\n");
    if view.next.is_empty() {
        text.push_str("  nothing\n");
    }
    for advice in &view.next {
        text.push_str(&format!("  {}:\n", line(&advice.what, QUOTE_LIMIT)));
        text.push_str(&format!("    {}\n", line(&advice.command, QUOTE_LIMIT)));
    }
    text
}

/// Several conditions often have one cause, and say it in the same words.
fn reasons(all: &[Why]) -> String {
    let mut text = String::new();
    for (n, why) in all.iter().enumerate() {
        let is_said = all.iter().take(n).any(|before| before.message == why.message);
        let message = match is_said {
            true => "as above".to_owned(),
            false => line(&why.message, QUOTE_LIMIT),
        };
        let Why {
            type_,
            status,
            reason,
            ..
        } = why;
        text.push_str(&format!("{INDENT}{type_} is {status} ({reason}): {message}\n"));
    }
    text
}

fn member(member: &MemberStatus) -> Vec<String> {
    let role = match member.role {
        MemberRole::Primary => "Primary",
        MemberRole::Replica => "Replica",
        MemberRole::Joining => "Joining",
        MemberRole::Fenced => "Fenced",
        MemberRole::None => "None",
    };
    vec![
        member.name.clone(),
        role.to_owned(),
        member.state.clone(),
        member.node.clone().unwrap_or_else(|| "-".to_owned()),
        member.epoch.to_string(),
        line(member.because.as_deref().unwrap_or_default(), QUOTE_LIMIT),
    ]
}

fn promotion(promotion: &Promotion) -> Vec<String> {
    let kind = match promotion.kind {
        PromotionKind::Bootstrap => "Bootstrap",
        PromotionKind::Switchover => "Switchover",
        PromotionKind::Failover => "Failover",
    };
    vec![
        promotion.epoch.to_string(),
        promotion.time.0.to_string(),
        promotion.from.clone().unwrap_or_else(|| "-".to_owned()),
        promotion.to.clone(),
        kind.to_owned(),
        promotion.reason.clone(),
        match promotion.deadline {
            Some(PromotionDeadline::Missed) => format!("{}, late", duration(promotion.duration_ms)),
            _ => duration(promotion.duration_ms),
        },
        promotion.phases_ms.as_ref().map(phases).unwrap_or_default(),
    ]
}

fn duration(duration_ms: i64) -> String {
    match duration_ms {
        ..10_000 => format!("{duration_ms} ms"),
        _ => format!("{} s", duration_ms / 1_000),
    }
}

/// Those that took time, in milliseconds.
fn phases(phases: &PromotionPhases) -> String {
    let all = [
        ("detect", phases.detect),
        ("freeze", phases.freeze),
        ("choose", phases.choose),
        ("decide", phases.decide),
        ("barrier", phases.barrier),
        ("expose", phases.expose),
    ];
    let taken = all.iter().filter(|(_, took_ms)| *took_ms > 0);
    let taken: Vec<_> = taken.map(|(name, took_ms)| format!("{name} {took_ms}")).collect();
    taken.join(", ")
}
