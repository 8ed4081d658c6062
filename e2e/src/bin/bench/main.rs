//! Measures on the proving ground: births, gaps between acknowledged writes, idle minutes.
//! Must not judge: it prints distributions, and whether the checker found anything.

mod commits;
mod gaps;
mod plot;
mod sheet;
mod soak;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};
use e2e::cluster::Cluster;
use e2e::operator;
use e2e::stage::{Images, Stage, wait_until};
use e2e::stories::scrutiny;
use ground::ground::Ground;

use crate::gaps::Gap;
use crate::soak::Soak;

#[derive(Parser)]
#[command(name = "bench", about = "Measures a cluster on the proving ground")]
struct Cli {
    #[command(subcommand)]
    what: What,
    /// The proving ground.
    #[arg(long, default_value = "main", global = true)]
    name: String,
}

#[derive(Subcommand)]
enum What {
    /// From apply to the first acknowledged write, and to Ready.
    Birth {
        #[arg(long, default_value_t = 10)]
        runs: u32,
    },
    /// Gaps between two acknowledged writes when something befalls the primary.
    Gap(Gap),
    /// Faults by chance, several at once, of members, operator and API server, each round judged.
    Soak(Soak),
    /// How long a commit takes, in pairs of rounds that differ in one thing.
    Commits {
        what: commits::Of,
        #[arg(long, default_value_t = 10)]
        pairs: u32,
        /// How long each round lasts.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// What the operator asks and writes at the API server while nothing happens, and its memory.
    Idle {
        #[arg(long, default_value_t = 10)]
        minutes: u32,
    },
    /// Draws a file of gaps; needs no ground.
    Plot { from: PathBuf, into: PathBuf },
    /// Prints a file of gaps as a table, in milliseconds; needs no ground.
    Table { from: PathBuf },
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    if let What::Plot { from, into } = &cli.what {
        return Ok(std::fs::write(into, plot::svg(&sheet::Sheet::read(from)?))?);
    }
    if let What::Table { from } = &cli.what {
        let sheet = sheet::Sheet::read(from)?;
        println!("{}\n\n{}", sheet.machine.told(), sheet.table());
        return Ok(());
    }
    let stage = Stage::on_ground(Ground::open(&cli.name)?, Images::default());
    operator::installed(&stage)?;
    match &cli.what {
        What::Birth { runs } => births(&stage, *runs),
        What::Gap(gap) => gap.measure(&stage),
        What::Soak(soak) => soak.run(&stage),
        What::Commits { what, pairs, seconds } => commits::measure(&stage, *what, *pairs, *seconds),
        What::Idle { minutes } => idle(&stage, *minutes),
        What::Plot { .. } | What::Table { .. } => Ok(()),
    }
}

fn births(stage: &Stage, runs: u32) -> Result<()> {
    let cluster = Cluster {
        namespace: "bench-birth",
        ..Cluster::default()
    };
    let (mut writes, mut readies) = (Vec::new(), Vec::new());
    for run in 1..=runs {
        let begun = cluster.create(stage)?;
        let statement =
            "CREATE TABLE IF NOT EXISTS first (id INT PRIMARY KEY); REPLACE INTO first VALUES (1)";
        wait_until("the first acknowledged write", Duration::from_secs(180), || {
            Ok(cluster.query(stage, "primary", statement).is_ok())
        })?;
        let written = begun.elapsed();
        cluster.wait_healthy(stage)?;
        let ready = begun.elapsed();
        println!(
            "run {run}: first write {} ms, Ready {} ms",
            written.as_millis(),
            ready.as_millis()
        );
        writes.push(written);
        readies.push(ready);
        cluster.remove(stage)?;
    }
    print("from apply to the first acknowledged write", &writes);
    print("from apply to Ready with all members", &readies);
    Ok(())
}

fn idle(stage: &Stage, minutes: u32) -> Result<()> {
    let cluster = Cluster {
        namespace: "bench-idle",
        ..Cluster::default()
    };
    cluster.healthy(stage)?;
    let idle = scrutiny::idle(stage, Duration::from_secs(u64::from(minutes) * 60))?;
    println!(
        "one cluster of three, {minutes} minutes: {} writes, {} of the lease, {} reads, controller {:.1} MiB",
        idle.writes.len(),
        idle.leases,
        idle.reads,
        scrutiny::controller_kib(stage)? as f64 / 1024.0
    );
    for call in &idle.writes {
        println!("  {} {}", call.at, call.told());
    }
    cluster.remove(stage)
}

fn print(what: &str, figures: &[Duration]) {
    let all: Vec<u64> = figures.iter().map(|figure| sheet::millis(*figure)).collect();
    println!("{what}: {}", sheet::spread(&all));
}
