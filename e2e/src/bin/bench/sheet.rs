//! What was measured, where: kept as a file that people and the plot read.
//! Must not mix machines: a file of another one is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use e2e::harm::Harm;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Sheet {
    pub(crate) machine: Machine,
    pub(crate) series: Vec<Series>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) memory_gib: u64,
    pub(crate) kernel: String,
    pub(crate) system: String,
}

/// All runs of one fault under one load.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Series {
    pub(crate) harm: String,
    pub(crate) load: String,
    pub(crate) runs: Vec<Run>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    /// Between two acknowledged writes, at the client.
    pub(crate) gap_ms: u64,
    /// When that began, after the fault was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) begun_ms: Option<i64>,
    /// As the operator says it.
    pub(crate) promotion_ms: u64,
    pub(crate) phases_ms: BTreeMap<String, u64>,
}

impl Run {
    pub(crate) fn told(&self) -> String {
        let phases = self.phases_ms.iter().map(|(phase, ms)| format!("{phase} {ms}"));
        let phases: Vec<String> = phases.collect();
        let begun = self.begun_ms.unwrap_or_default();
        format!(
            "the gap begins after {begun} ms; promotion in {} ms: {}",
            self.promotion_ms,
            phases.join(", ")
        )
    }
}

impl Machine {
    fn this() -> Result<Self> {
        let kib = |text: &str| -> Option<u64> {
            let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
            line.split_whitespace().nth(1)?.parse().ok()
        };
        let memory = fs::read_to_string("/proc/meminfo").context("failed to read the memory's size")?;
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let system = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
        Ok(Self {
            cores: std::thread::available_parallelism()?.get(),
            memory_gib: kib(&memory)
                .context("failed to find the memory's size")?
                .div_ceil(1 << 20),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?
                .trim()
                .to_owned(),
            system: system.unwrap_or("Linux").trim_matches('"').to_owned(),
        })
    }

    pub(crate) fn told(&self) -> String {
        format!(
            "{} cores, {} GiB, {}, kernel {}; three nodes and the load on the same machine",
            self.cores, self.memory_gib, self.system, self.kernel
        )
    }
}

impl Sheet {
    pub(crate) fn of_this_machine() -> Result<Self> {
        Ok(Self {
            machine: Machine::this()?,
            series: Vec::new(),
        })
    }

    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("failed to understand {}", path.display()))
    }

    /// The same, to add to it.
    pub(crate) fn read_to_add(path: &Path) -> Result<Self> {
        let sheet = Self::read(path)?;
        if sheet.machine != Machine::this()? {
            bail!("{} is of another machine: name another file", path.display());
        }
        Ok(sheet)
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        fs::write(path, text + "\n").with_context(|| format!("failed to write {}", path.display()))
    }

    /// For a page: a line for each series, with the median of each phase.
    pub(crate) fn table(&self) -> String {
        let mut text = String::from(
            "| What | Load | Runs | p50 | p90 | p99 | max | goal, p50 and p99 | medians of the phases |\n\
             |---|---|---|---|---|---|---|---|---|\n",
        );
        for series in &self.series {
            let gaps = sorted(series.runs.iter().map(|run| run.gap_ms));
            let at = |percent| percentile(&gaps, percent);
            let names: BTreeSet<&String> = series.runs.iter().flat_map(|run| run.phases_ms.keys()).collect();
            let medians = names.into_iter().map(|name| {
                let all = sorted(
                    series
                        .runs
                        .iter()
                        .filter_map(|run| run.phases_ms.get(name).copied()),
                );
                (name, percentile(&all, 50))
            });
            let medians: Vec<String> = medians
                .filter(|(_, ms)| *ms > 0)
                .map(|(name, ms)| format!("{name} {ms}"))
                .collect();
            let harm = Harm::from_str(&series.harm, false).ok();
            let goal = harm
                .map(Harm::goal_ms)
                .map(|(half, most)| format!("{half}, {most}"));
            text += &format!(
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
                harm.map_or(series.harm.as_str(), |harm| harm.what()),
                series.load,
                gaps.len(),
                at(50),
                at(90),
                at(99),
                at(100),
                goal.unwrap_or_default(),
                medians.join(", ")
            );
        }
        text
    }

    pub(crate) fn add(&mut self, harm: &str, load: &str, run: Run) {
        let found = self
            .series
            .iter()
            .position(|series| series.harm == harm && series.load == load);
        let index = found.unwrap_or_else(|| {
            self.series.push(Series {
                harm: harm.to_owned(),
                load: load.to_owned(),
                runs: Vec::new(),
            });
            self.series.len() - 1
        });
        self.series[index].runs.push(run);
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn sorted(figures: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut all: Vec<u64> = figures.collect();
    all.sort_unstable();
    all
}

/// The smallest figure that this many of a hundred do not exceed.
pub(crate) fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

/// Minimum, median, 90 and 99 of a hundred, maximum.
pub(crate) fn spread(figures: &[u64]) -> String {
    let sorted = sorted(figures.iter().copied());
    let at = |percent| percentile(&sorted, percent);
    format!(
        "{} runs, min {} ms, p50 {} ms, p90 {} ms, p99 {} ms, max {} ms",
        sorted.len(),
        at(0),
        at(50),
        at(90),
        at(99),
        at(100)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_figures_that_were_seen() {
        let all: Vec<u64> = (1..=30).collect();
        let at = |percent| percentile(&all, percent);
        assert_eq!((at(0), at(50), at(90), at(99), at(100)), (1, 15, 27, 30, 30));
        assert_eq!(percentile(&[], 50), 0);
    }
}
