//! The page of failures, from the scripts.
//! Must not say anything that no script says.

use std::collections::BTreeSet;

use crate::script::Script;
use crate::stage::{self, Played};

const HEAD: &str = "\
# What fails, what you see, what to do

Generated from the scripts in [operator/topology/tests/rows](../operator/topology/tests/rows) by `HOLDFAST_ACCEPT=1 cargo \
test -p topology --test rows`; the same test without `HOLDFAST_ACCEPT` fails when a script or this page is not what the \
operator decides today. In a script the members are simulated, while each decision is the operator's own: state and words \
are those of `kubectl get mysqlcluster` and `kubectl describe`, of an example named `orders`, in the order in which they \
appear. \"Shown on\" says where the fault is made for real: the title of a story on real nodes (`e2e/src/stories`), or a \
test of the agent with real mysqlds (`operator/instance/tests/member`); \"decision only\" means neither. What does not \
work as it should says so under \"Not yet\". How it works: [cluster.md](cluster.md). What to type: [on-call.md](on-call.md).

| # | What fails | What you see: state and why | What to do | Shown on |
|---|---|---|---|---|
";

pub(crate) fn text(scripts: &[Script]) -> String {
    let mut text = HEAD.to_owned();
    for row in 1..=48 {
        let of_row: Vec<&Script> = scripts.iter().filter(|script| script.row() == row).collect();
        // Further scripts of a row are variants of the first.
        if let Some(first) = of_row.first() {
            text.push_str(&line(first, &of_row));
        }
    }
    text
}

fn line(first: &Script, of_row: &[&Script]) -> String {
    let cells = [
        first.one("row").to_owned(),
        first.title.clone(),
        seen(first, &stage::play(first)),
        format!("{}{}", first.one("do"), gaps(of_row)),
        shown(of_row),
    ];
    let cells = cells.map(|cell| cell.replace('|', "\\|"));
    format!("| {} |\n", cells.join(" | "))
}

fn seen(script: &Script, played: &Played) -> String {
    let wanted = script.one("see").split(", ");
    let cells: Vec<String> = wanted
        .map(|name| {
            let found = played.seen.iter().find(|(state, _)| state.as_str() == name);
            let (_, why) = found.unwrap_or_else(|| panic!("{}: never {name}", script.path.display()));
            match why.is_empty() {
                true => format!("`{name}`"),
                false => format!("`{name}`: {why}"),
            }
        })
        .collect();
    cells.join("<br>")
}

/// Of all scripts of a row, each said once.
fn all<'a>(of_row: &'a [&Script], key: &str) -> BTreeSet<&'a str> {
    let lines = of_row.iter().flat_map(|script| script.all(key));
    lines.map(String::as_str).collect()
}

fn gaps(of_row: &[&Script]) -> String {
    let gaps = all(of_row, "gap").into_iter();
    gaps.map(|gap| format!("<br>Not yet: {gap}")).collect()
}

fn shown(of_row: &[&Script]) -> String {
    let stories = all(of_row, "story")
        .into_iter()
        .map(|story| format!("story \"{story}\""));
    let tests = all(of_row, "agent")
        .into_iter()
        .map(|test| format!("agent: \"{test}\""));
    let all: Vec<String> = stories.chain(tests).collect();
    match all.is_empty() {
        true => "decision only".into(),
        false => all.join("<br>"),
    }
}
