//! Owns the verdict: the kinds of findings, the figures, and their text.
//! It must not decide what is a finding; the judge does.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A finding lists this many examples, the earliest first.
pub const MAX_EXAMPLES: usize = 20;

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An acknowledged write has no row.
    LostWrite,
    /// A write that surely failed has a row.
    FailedWriteVisible,
    /// One write has several rows.
    DuplicateRow,
    /// A row of this run that no client attempted.
    ForeignRow,
    /// A row whose content is not what its attempt sent.
    CorruptRow,
    /// Two writes made the same version of a register: both read the same one before.
    LostUpdate,
    /// A register's rows do not link from version to version.
    BrokenChain,
    /// A register does not hold what its last row wrote.
    WrongFinalValue,
    /// A read on the primary returned less than what was acknowledged, or read, before it began.
    StaleRead,
    /// A read returned what no attempt can have written by then.
    UnexplainedRead,
    /// A read returned a write that surely failed.
    DirtyRead,
    /// A read on the primary returned a write that is gone afterwards.
    VanishedRead,
    /// Two members hold different rows.
    MembersDiffer,
}

impl Kind {
    pub const ALL: [Kind; 13] = [
        Kind::LostWrite,
        Kind::FailedWriteVisible,
        Kind::DuplicateRow,
        Kind::ForeignRow,
        Kind::CorruptRow,
        Kind::LostUpdate,
        Kind::BrokenChain,
        Kind::WrongFinalValue,
        Kind::StaleRead,
        Kind::UnexplainedRead,
        Kind::DirtyRead,
        Kind::VanishedRead,
        Kind::MembersDiffer,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Kind::LostWrite => "lost-write",
            Kind::FailedWriteVisible => "failed-write-visible",
            Kind::DuplicateRow => "duplicate-row",
            Kind::ForeignRow => "foreign-row",
            Kind::CorruptRow => "corrupt-row",
            Kind::LostUpdate => "lost-update",
            Kind::BrokenChain => "broken-chain",
            Kind::WrongFinalValue => "wrong-final-value",
            Kind::StaleRead => "stale-read",
            Kind::UnexplainedRead => "unexplained-read",
            Kind::DirtyRead => "dirty-read",
            Kind::VanishedRead => "vanished-read",
            Kind::MembersDiffer => "members-differ",
        }
    }

    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// One case of a finding. Times are nanoseconds since the history began.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub register: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_ns: Option<u64>,
    pub what: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    pub kind: Kind,
    pub count: u64,
    /// The earliest and the latest case, where they have a time.
    pub first_ns: Option<u64>,
    pub last_ns: Option<u64>,
    pub examples: Vec<Example>,
}

/// Collects findings; counts all, keeps the earliest few of each kind.
#[derive(Debug, Default)]
pub struct Findings(BTreeMap<Kind, Found>);

impl Findings {
    pub fn add(&mut self, kind: Kind, example: Example) {
        let found = self.0.entry(kind).or_insert_with(|| Found {
            kind,
            count: 0,
            first_ns: None,
            last_ns: None,
            examples: Vec::new(),
        });
        found.count += 1;
        if let Some(at) = example.at_ns {
            found.first_ns = Some(found.first_ns.map_or(at, |first| first.min(at)));
            found.last_ns = Some(found.last_ns.map_or(at, |last| last.max(at)));
        }
        let time = |example: &Example| example.at_ns.unwrap_or(u64::MAX);
        let place = found
            .examples
            .partition_point(|other| time(other) <= time(&example));
        if place < MAX_EXAMPLES {
            found.examples.insert(place, example);
            found.examples.truncate(MAX_EXAMPLES);
        }
    }

    pub fn into_list(self) -> Vec<Found> {
        self.0.into_values().collect()
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Writes by outcome.
    pub acknowledged: u64,
    pub failed: u64,
    pub unknown: u64,
    /// Unknown writes whose row is there, or not. Both are right.
    pub unknown_survived: u64,
    pub unknown_vanished: u64,
    /// Writes without a completion; they count as unknown too.
    pub unfinished: u64,
    pub reads: u64,
    pub reads_failed: u64,
    pub replica_reads: u64,
    /// Reads of replicas that were behind what was acknowledged before: allowed, counted.
    pub replica_reads_stale: u64,
    pub replica_most_versions_behind: u64,
    /// Reads of replicas that saw what is gone afterwards: allowed, counted.
    pub replica_reads_vanished: u64,
    pub rows: u64,
    pub rows_of_other_runs: u64,
}

/// A time without an acknowledged write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    pub start_ns: u64,
    pub length_ns: u64,
    /// How much of it the checker itself stood still: not the service's fault.
    pub checker_paused_ns: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// From ready to stop.
    pub measured_ns: u64,
    pub gaps_over_100_ms: u64,
    pub gaps_over_1_s: u64,
    /// The ten longest, longest first; the edges of the run count.
    pub longest: Vec<Gap>,
    pub acknowledged_per_second: f64,
    pub checker_pauses: u64,
    pub checker_paused_ns: u64,
}

impl Service {
    pub fn longest_gap_ns(&self) -> u64 {
        self.longest.first().map_or(0, |gap| gap.length_ns)
    }
}

/// Of acknowledged writes, from before the first byte (a reconnect included) to the answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    pub p50_us: u64,
    pub p90_us: u64,
    pub p99_us: u64,
    pub max_us: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    pub run: u64,
    /// Wall clock of the history's beginning, for reading beside other logs.
    pub wall_ms: u64,
    pub findings: Vec<Found>,
    pub counts: Counts,
    pub service: Service,
    pub latency: Latency,
    pub notes: Vec<String>,
}

impl Verdict {
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// Clean but for kinds that a story allows, each with its reason.
    pub fn is_clean_but_for(&self, allowed: &[Kind]) -> bool {
        self.findings.iter().all(|found| allowed.contains(&found.kind))
    }

    pub fn found(&self, kind: Kind) -> Option<&Found> {
        self.findings.iter().find(|found| found.kind == kind)
    }

    pub fn kinds(&self) -> Vec<Kind> {
        self.findings.iter().map(|found| found.kind).collect()
    }
}

fn seconds(ns: u64) -> String {
    format!("{}.{:03} s", ns / 1_000_000_000, ns / 1_000_000 % 1_000)
}

fn millis(us: u64) -> String {
    format!("{}.{:02} ms", us / 1_000, us / 10 % 100)
}

impl fmt::Display for Example {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(client), Some(seq)) = (self.client, self.seq) {
            write!(out, "client {client} seq {seq} ")?;
        }
        if let Some(register) = self.register {
            write!(out, "register {register} ")?;
        }
        if let Some(at) = self.at_ns {
            write!(out, "at {} ", seconds(at))?;
        }
        out.write_str(&self.what)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            writeln!(
                out,
                "CLEAN: no anomaly in {} acknowledged writes",
                self.counts.acknowledged
            )?;
        } else {
            let kinds: Vec<String> = self
                .findings
                .iter()
                .map(|found| format!("{} {}", found.count, found.kind.name()))
                .collect();
            writeln!(out, "ANOMALIES: {}", kinds.join(", "))?;
        }
        for found in &self.findings {
            writeln!(out, "{}: {}", found.kind.name(), found.count)?;
            for example in &found.examples {
                writeln!(out, "  {example}")?;
            }
            let more = found.count.saturating_sub(found.examples.len() as u64);
            if more > 0 {
                writeln!(
                    out,
                    "  and {more} more, the last at {}",
                    seconds(found.last_ns.unwrap_or(0))
                )?;
            }
        }
        self.figures(out)?;
        for note in &self.notes {
            writeln!(out, "note      {note}")?;
        }
        Ok(())
    }
}

impl Verdict {
    fn figures(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = &self.counts;
        writeln!(
            out,
            "writes    {} acknowledged, {} failed, {} unknown ({} survived, {} vanished, {} without an end)",
            c.acknowledged, c.failed, c.unknown, c.unknown_survived, c.unknown_vanished, c.unfinished
        )?;
        writeln!(
            out,
            "rows      {} of this run, {} of others",
            c.rows, c.rows_of_other_runs
        )?;
        writeln!(
            out,
            "reads     {} on the primary, {} failed",
            c.reads, c.reads_failed
        )?;
        if c.replica_reads > 0 {
            writeln!(
                out,
                "replicas  {} reads, {} behind (at most {} versions), {} of writes gone afterwards",
                c.replica_reads,
                c.replica_reads_stale,
                c.replica_most_versions_behind,
                c.replica_reads_vanished
            )?;
        }
        let s = &self.service;
        writeln!(
            out,
            "service   {:.1} acknowledged writes/s over {}; longest gap {}; {} gaps > 100 ms, {} > 1 s",
            s.acknowledged_per_second,
            seconds(s.measured_ns),
            seconds(s.longest_gap_ns()),
            s.gaps_over_100_ms,
            s.gaps_over_1_s
        )?;
        for gap in &s.longest {
            write!(
                out,
                "  gap of {} from {}",
                seconds(gap.length_ns),
                seconds(gap.start_ns)
            )?;
            if gap.checker_paused_ns > 0 {
                write!(
                    out,
                    ", the checker itself stood still for {}",
                    seconds(gap.checker_paused_ns)
                )?;
            }
            writeln!(out)?;
        }
        if s.checker_pauses > 0 {
            let (pauses, length) = (s.checker_pauses, seconds(s.checker_paused_ns));
            writeln!(out, "checker   stood still {pauses} times, {length} in all")?;
        }
        let l = &self.latency;
        writeln!(
            out,
            "latency   p50 {} p90 {} p99 {} max {}",
            millis(l.p50_us),
            millis(l.p90_us),
            millis(l.p99_us),
            millis(l.max_us)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_keeps_the_earliest_examples_and_counts_all() {
        let mut findings = Findings::default();
        for at in (0..100).rev() {
            let example = Example {
                at_ns: Some(at),
                what: "gone".into(),
                ..Example::default()
            };
            findings.add(Kind::LostWrite, example);
        }
        let list = findings.into_list();
        assert_eq!(list[0].count, 100);
        let times: Vec<u64> = list[0]
            .examples
            .iter()
            .filter_map(|example| example.at_ns)
            .collect();
        assert_eq!(times, (0..20).collect::<Vec<u64>>());
        assert_eq!((list[0].first_ns, list[0].last_ns), (Some(0), Some(99)));
    }

    #[test]
    fn names_are_those_of_the_json_form() {
        for kind in Kind::ALL {
            assert_eq!(
                serde_json::to_string(&kind).unwrap(),
                format!("\"{}\"", kind.name())
            );
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
        }
    }
}
