//! Gaps between acknowledged writes, seen by a client of the Service, run after run on one cluster.
//! Must not keep a run that the checker finds something in: the measuring ends there.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use e2e::cluster::Cluster;
use e2e::harm::Harm;
use e2e::load::{self, Load};
use e2e::stage::{Stage, wait_until};
use ground::faults::Injected;
use jiff::Timestamp;

use crate::sheet::{Run, Sheet, spread};

const MOVED_WITHIN: Duration = Duration::from_secs(180);
/// What a client waits for who is gone is added to the gap.
const CONNECT_WITHIN: Duration = Duration::from_millis(250);
/// Acknowledged writes after which the gap is over.
pub(crate) const ENOUGH: usize = 100;
/// After so many failovers in a row the next one waits: a new cluster is made instead.
const FREE: u64 = 3;
const PHASES: [&str; 6] = ["detect", "freeze", "choose", "decide", "barrier", "expose"];

#[derive(Args)]
pub(crate) struct Gap {
    /// What befalls the primary; all of them without a word.
    harms: Vec<Harm>,
    #[arg(long, default_value_t = 10)]
    runs: u32,
    /// How much is written beside it.
    #[arg(long, value_enum, default_value = "some")]
    load: Amount,
    /// A file that the runs are added to, one by one.
    #[arg(long)]
    into: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Amount {
    /// 50 writes a second: just enough to see a gap.
    Little,
    /// 100 a second.
    Some,
    /// As many as eight clients can.
    Most,
}

impl Amount {
    fn per_second(self) -> Option<u32> {
        match self {
            Self::Little => Some(50),
            Self::Some => Some(100),
            Self::Most => None,
        }
    }
}

impl Gap {
    pub(crate) fn measure(&self, stage: &Stage) -> Result<()> {
        let mut sheet = match &self.into {
            Some(path) if path.exists() => Sheet::read_to_add(path)?,
            _ => Sheet::of_this_machine()?,
        };
        let harms = match self.harms.as_slice() {
            [] => Harm::value_variants(),
            some => some,
        };
        let load = self.load.to_possible_value();
        let load = load.map(|value| value.get_name().to_owned()).unwrap_or_default();
        for harm in harms {
            let gaps = self.series(stage, *harm, &load, &mut sheet)?;
            println!("{}, load {load}: {}", harm.what(), spread(&gaps));
        }
        Ok(())
    }

    fn series(&self, stage: &Stage, harm: Harm, load: &str, sheet: &mut Sheet) -> Result<Vec<u64>> {
        let namespace = format!("bench-{}", harm.name());
        let cluster = Cluster {
            namespace: &namespace,
            size: "4Gi",
            more: harm.needs(),
            ..Cluster::default()
        };
        cluster.healthy(stage)?;
        let mut gaps = Vec::new();
        for number in 1..=self.runs {
            anew_if_due(stage, &cluster)?;
            let (run, told) = once(stage, &cluster, harm, self.load)?;
            println!("{} {number}: {told}; {}", harm.name(), run.told());
            gaps.push(run.gap_ms);
            sheet.add(&harm.name(), load, run);
            if let Some(path) = &self.into {
                sheet.write(path)?;
            }
        }
        cluster.remove(stage)?;
        Ok(gaps)
    }
}

/// Whether its next failover would wait, since several came before it.
pub(crate) fn is_used_up(stage: &Stage, cluster: &Cluster<'_>) -> Result<bool> {
    let record = cluster.record(stage)?.context("the cluster has no record")?;
    Ok(record["failovers"].as_u64().unwrap_or(0) >= FREE)
}

fn anew_if_due(stage: &Stage, cluster: &Cluster<'_>) -> Result<()> {
    if !is_used_up(stage, cluster)? {
        return Ok(());
    }
    cluster.remove(stage)?;
    cluster.healthy(stage).map(drop)
}

/// One fault under load, healed and judged.
fn once(stage: &Stage, cluster: &Cluster<'_>, harm: Harm, amount: Amount) -> Result<(Run, String)> {
    let before = cluster.epoch(stage)?;
    let load = Load::trying(stage, cluster, amount.per_second(), CONNECT_WITHIN)?;
    let asked_ms = Timestamp::now().as_millisecond();
    let fault = harm.befall(stage, cluster)?;
    wait_until("another epoch", MOVED_WITHIN, || {
        Ok(cluster.epoch(stage)? > before)
    })
    .with_context(|| cluster.told(stage))?;
    load.acknowledges(ENOUGH)?;
    fault.map_or(Ok(()), Injected::heal)?;
    cluster.wait_healthy(stage)?;
    let verdict = load.judge()?;
    let told = load::clean(&verdict)?;
    let longest = verdict.service.longest.first().context("nothing was written")?;
    let begun_ms = i64::try_from(verdict.wall_ms + longest.start_ns / 1_000_000)? - asked_ms;
    let (promotion_ms, phases_ms) = promotion(stage, cluster)?;
    let run = Run {
        gap_ms: longest.length_ns / 1_000_000,
        begun_ms: Some(begun_ms),
        promotion_ms,
        phases_ms,
    };
    Ok((run, told))
}

/// Where the time of the last promotion went, as the status says.
fn promotion(stage: &Stage, cluster: &Cluster<'_>) -> Result<(u64, BTreeMap<String, u64>)> {
    let object = cluster.get(stage)?;
    let last = &object["status"]["promotions"][0];
    let of = |phase: &&str| Some(((*phase).to_owned(), last["phasesMs"][*phase].as_u64()?));
    let promotion_ms = last["durationMs"].as_u64().unwrap_or(0);
    Ok((promotion_ms, PHASES.iter().filter_map(of).collect()))
}
