//! What happens, a line a change, for a person who repeats one seed.
//! Must not change anything.

use super::*;

/// The record, and of each member: what troubles it, its orders, whom it follows, what it has.
pub(super) fn tell(sim: &Sim) {
    let state = sim.last.as_ref().map(|decision| decision.state);
    let record = sim.record.as_ref().map(|record| {
        let is_choosing = if record.is_choosing { " choosing" } else { "" };
        let handing = record.handing_to.as_deref().unwrap_or_default();
        format!("{} {}{is_choosing} {handing}", record.term, record.primary)
    });
    println!("{} {state:?} {}", sim.now, record.unwrap_or_default());
    for reason in sim.last.iter().flat_map(|decision| &decision.because) {
        println!("    {reason}");
    }
    for refusal in sim.last.iter().flat_map(|decision| &decision.refused) {
        println!("    {refusal}");
    }
    for (name, node) in &sim.nodes {
        println!("  {}", line(name, node));
    }
}

fn line(name: &str, node: &Node) -> String {
    let troubles = [
        (node.is_cut, "cut"),
        (node.is_off, "off"),
        (node.is_full, "full"),
        (node.down > 0, "down"),
        (node.server.is_open, "open"),
    ];
    let troubles = troubles.iter().filter(|(is_so, _)| *is_so);
    let troubles: Vec<&str> = troubles.map(|(_, word)| *word).collect();
    let order = node.order.as_ref();
    let role = order.map_or("", |order| order.role.name());
    let term = order.map(Assignment::term).unwrap_or_default();
    let follows = node.server.follows.as_ref().map(|source| source.member.as_str());
    let has = short(node.server.executed.union(&node.server.received));
    format!(
        "{name} [{}] {role} {term} of {} has {has} {}",
        troubles.join(" "),
        follows.unwrap_or_default(),
        node.server.incarnation.map(short).unwrap_or_default()
    )
}

/// Only the last digits tell the identities of a simulation apart.
fn short(what: impl ToString) -> String {
    let text = what.to_string().replace('\n', " ");
    text.replace("07070707-0707-0707-0000-000000000", "")
}
