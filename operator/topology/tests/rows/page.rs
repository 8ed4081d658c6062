//! The page of failures, from the scripts.
//! Must not say anything that no script says.

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
        let mut of_row = scripts.iter().filter(|script| script.row() == row);
        // Further scripts of a row are variants of the first.
        let Some(script) = of_row.next() else { continue };
        let played = stage::play(script);
        text.push_str(&line(script, &played));
    }
    text
}

fn line(script: &Script, played: &Played) -> String {
    let cells = [
        script.one("row").to_owned(),
        script.title.clone(),
        seen(script, played),
        to_do(script),
        shown(script),
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

fn to_do(script: &Script) -> String {
    let gaps = script.all("gap").iter().map(|gap| format!("<br>Not yet: {gap}"));
    format!("{}{}", script.one("do"), gaps.collect::<String>())
}

fn shown(script: &Script) -> String {
    let stories = script
        .all("story")
        .iter()
        .map(|story| format!("story \"{story}\""));
    let tests = script
        .all("agent")
        .iter()
        .map(|test| format!("agent: \"{test}\""));
    let all: Vec<String> = stories.chain(tests).collect();
    match all.is_empty() {
        true => "decision only".into(),
        false => all.join("<br>"),
    }
}
