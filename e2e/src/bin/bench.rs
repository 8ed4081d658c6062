//! Measures on the proving ground: `cargo run -p e2e --bin bench -- birth|killed|deleted|node|switchover|idle [--runs N]`.
//! Must not judge: it prints distributions, and whether the checker found anything.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use e2e::cluster::Cluster;
use e2e::load::{self, Load};
use e2e::operator;
use e2e::stage::{Images, Stage, wait_until};
use e2e::stories::scrutiny;
use ground::faults::Fault;
use ground::ground::Ground;

#[derive(Parser)]
#[command(name = "bench", about = "Measures a cluster on the proving ground")]
struct Cli {
    /// What to measure.
    what: What,
    /// How often; minutes, when nothing happens.
    #[arg(long, default_value_t = 10)]
    runs: u32,
    /// The proving ground.
    #[arg(long, default_value = "main")]
    name: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// From apply to the first acknowledged write, and to Ready.
    Birth,
    /// Gap between two acknowledged writes when the primary's mysqld is killed.
    Killed,
    /// The same when the primary's Pod is deleted.
    Deleted,
    /// The same when the primary's node loses power.
    Node,
    /// The same when a Switchover asks for another primary.
    Switchover,
    /// What the operator asks and writes at the API server while nothing happens, and its memory.
    Idle,
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
    let stage = Stage::on_ground(Ground::open(&cli.name)?, Images::default());
    operator::installed(&stage)?;
    match cli.what {
        What::Birth => births(&stage, cli.runs),
        What::Killed => gaps(&stage, cli.runs, "mysqld of the primary killed", kill),
        What::Deleted => gaps(&stage, cli.runs, "Pod of the primary deleted", delete),
        What::Node => gaps(&stage, cli.runs, "node of the primary without power", cut_power),
        What::Switchover => gaps(&stage, cli.runs, "a Switchover", ask),
        What::Idle => idle(&stage, cli.runs),
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
    print("from apply to the first acknowledged write", writes);
    print("from apply to Ready with all members", readies);
    Ok(())
}

type Harm = fn(&Stage, &Cluster<'_>) -> Result<Option<Fault>>;

fn kill(stage: &Stage, cluster: &Cluster<'_>) -> Result<Option<Fault>> {
    stage.kill(cluster.namespace, &cluster.primary(stage)?, "mysqld")?;
    Ok(None)
}

fn delete(stage: &Stage, cluster: &Cluster<'_>) -> Result<Option<Fault>> {
    let primary = cluster.primary(stage)?;
    stage
        .k(&format!(
            "delete pod {primary} -n {} --wait=false",
            cluster.namespace
        ))
        .run()?;
    Ok(None)
}

fn ask(stage: &Stage, cluster: &Cluster<'_>) -> Result<Option<Fault>> {
    let name = format!("after-{}", cluster.epoch(stage)?);
    cluster.ask_switchover(stage, &name, "")?;
    Ok(None)
}

/// Where the time of the last promotion went, as the status says.
fn phases(stage: &Stage, cluster: &Cluster<'_>) -> Result<String> {
    let object = cluster.get(stage)?;
    let last = &object["status"]["promotions"][0];
    let of = |phase: &str| format!("{phase} {}", last["phasesMs"][phase]);
    let all = ["detect", "freeze", "choose", "decide", "barrier", "expose"].map(of);
    Ok(format!(
        "{} in {} ms: {}",
        last["kind"],
        last["durationMs"],
        all.join(", ")
    ))
}

fn cut_power(stage: &Stage, cluster: &Cluster<'_>) -> Result<Option<Fault>> {
    let unit = cluster.node(stage, &cluster.primary(stage)?)?;
    let fault = Fault::UnitDown { unit };
    Ok(Some(fault.inject(stage.ground()?)?.keep()))
}

fn gaps(stage: &Stage, runs: u32, what: &str, harm: Harm) -> Result<()> {
    let cluster = Cluster {
        namespace: "bench-gap",
        ..Cluster::default()
    };
    cluster.healthy(stage)?;
    let mut found = Vec::new();
    for run in 1..=runs {
        let before = cluster.epoch(stage)?;
        let load = Load::start(stage, &cluster)?;
        let fault = harm(stage, &cluster)?;
        wait_until("another epoch", Duration::from_secs(120), || {
            Ok(cluster.epoch(stage)? > before)
        })
        .with_context(|| cluster.told(stage))?;
        load.goes_on()?;
        if let Some(fault) = fault {
            fault.heal(stage.ground()?)?;
        }
        cluster.wait_healthy(stage)?;
        let verdict = load.judge()?;
        println!(
            "run {run}: {}; {}",
            load::clean(&verdict)?,
            phases(stage, &cluster)?
        );
        found.push(Duration::from_nanos(verdict.service.longest_gap_ns()));
    }
    print(&format!("gap between acknowledged writes, {what}"), found);
    cluster.remove(stage)
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

/// Minimum, median, 90 and 99 of a hundred, maximum.
fn print(what: &str, mut figures: Vec<Duration>) {
    figures.sort();
    let at = |percent: usize| figures[(figures.len() * percent / 100).min(figures.len() - 1)].as_millis();
    if figures.is_empty() {
        return;
    }
    println!(
        "{what}: {} runs, min {} ms, p50 {} ms, p90 {} ms, p99 {} ms, max {} ms",
        figures.len(),
        at(0),
        at(50),
        at(90),
        at(99),
        figures[figures.len() - 1].as_millis()
    );
}
