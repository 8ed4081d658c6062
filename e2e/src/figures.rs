//! What the operator and its agents give Prometheus to read, as snapshots of their tests hold it.
//! Must not make up a figure: what is not in a snapshot is not registered.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// What is read of whom, and the snapshot of it.
pub const SNAPSHOTS: &[(&str, &str)] = &[
    (
        "operator",
        "operator/controllers/src/metrics/snapshots/controllers__metrics__tests__every_figure_has_a_name_and_a_help_text.snap",
    ),
    (
        "member",
        "operator/instance/src/snapshots/instance__metrics__tests__every_figure_has_a_name_and_a_help_text.snap",
    ),
];

/// One figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// As queries name it.
    pub name: String,
    /// counter, gauge or histogram.
    pub kind: String,
    /// Of the series itself; targets have more.
    pub labels: BTreeSet<String>,
    /// For people.
    pub help: String,
}

/// What a process answers, as its test saw it.
pub fn exposition(checkout: &Path, snapshot: &str) -> Result<String> {
    let path = checkout.join(snapshot);
    let text = fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
    let body = text.splitn(3, "---\n").nth(2).context("it is no snapshot")?;
    Ok(body.to_owned())
}

/// The same in Prometheus' own format, which names counters with their ending also where they are described.
pub fn plain(exposition: &str) -> String {
    let counters: BTreeSet<&str> = exposition
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut text = String::new();
    for line in exposition.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words.as_slice() {
            ["#", "EOF"] | ["#", "UNIT", ..] => {}
            ["#", what, name, rest] if counters.contains(name) => {
                text.push_str(&format!("# {what} {name}_total {rest}\n"));
            }
            _ => text.push_str(&format!("{line}\n")),
        }
    }
    text
}

/// All that is described, in the order of the exposition.
pub fn figures(exposition: &str) -> Result<Vec<Figure>> {
    let mut found: Vec<Figure> = Vec::new();
    let text = plain(exposition);
    for line in text.lines() {
        if let Some(about) = line.strip_prefix("# HELP ") {
            let (name, help) = about.split_once(' ').context("no help text")?;
            found.push(Figure {
                name: name.to_owned(),
                kind: String::new(),
                labels: BTreeSet::new(),
                help: help.trim_end_matches('.').to_owned(),
            });
            continue;
        }
        let Some(figure) = found.last_mut() else {
            bail!("a line of nothing: {line}");
        };
        if let Some(about) = line.strip_prefix("# TYPE ") {
            figure.kind = about.rsplit(' ').next().unwrap_or_default().to_owned();
        } else if let Some((_, labels)) = line.split_once('{') {
            let labels = labels.split('}').next().unwrap_or_default().split(',');
            let names = labels.filter_map(|label| Some(label.split_once('=')?.0));
            figure
                .labels
                .extend(names.filter(|name| *name != "le").map(str::to_owned));
        }
    }
    Ok(found)
}

/// The table of them.
pub fn table(figures: &[Figure]) -> String {
    let mut table = "| Metric | Type | Labels | What |\n|---|---|---|---|\n".to_owned();
    for Figure {
        name,
        kind,
        labels,
        help,
    } in figures
    {
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        table.push_str(&format!(
            "| `{name}` | {kind} | {} | {help} |\n",
            labels.join(", ")
        ));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP a_steps Steps that were taken.\n# TYPE a_steps counter\na_steps_total{kind=\"x\"} 1\n\
                        # HELP a_seconds How long.\n# TYPE a_seconds histogram\n# UNIT a_seconds seconds\n\
                        a_seconds_bucket{le=\"1\"} 1\n# EOF\n";

    #[test]
    fn counters_are_described_under_the_name_they_are_read_by() {
        let text = plain(TEXT);
        assert!(
            text.starts_with("# HELP a_steps_total Steps that were taken.\n# TYPE a_steps_total counter\n")
        );
        assert!(!text.contains("UNIT") && !text.contains("EOF"));
    }

    #[test]
    fn a_table_names_what_tells_series_apart() {
        let table = table(&figures(TEXT).unwrap());
        let rows: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| `a_steps_total` | counter | `kind` | Steps that were taken |",
                "| `a_seconds` | histogram |  | How long |"
            ]
        );
    }
}
