//! How long a commit takes with something and without it, in rounds that take turns.
//! Must not compare rounds that lie far apart: the machine is another one after minutes.

use anyhow::Result;
use clap::ValueEnum;
use e2e::cluster::{Cluster, Login};
use e2e::load;
use e2e::operator;
use e2e::pair::Pair;
use e2e::stage::Stage;

use crate::sheet::percentile;

/// As many as the acknowledgements of one replica can carry together, and one alone.
const CLIENTS: [u32; 2] = [1, 8];

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Of {
    /// A cluster while the operator runs, and while it is scaled to nothing.
    Operator,
    /// Two plain servers: the replica syncs its relay log after each event, or each 10,000 as by default.
    Sync,
    /// The same two, the relay log synced after each event: transactions compressed, or not as by default.
    Compression,
}

/// All commits of one kind of round.
#[derive(Default)]
struct Rounds {
    micros: Vec<u64>,
    seconds: u64,
}

impl Rounds {
    fn add(&mut self, stage: &Stage, login: &Login, clients: u32, seconds: u64) -> Result<()> {
        let took = load::commits(stage, login, clients, seconds)?;
        let micros = took.iter().map(|one| u64::try_from(one.as_micros()));
        self.micros.extend(micros.collect::<Result<Vec<u64>, _>>()?);
        self.seconds += seconds;
        Ok(())
    }

    /// Prints it; the median.
    fn told(&mut self, name: &str) -> u64 {
        self.micros.sort_unstable();
        let at = |percent| percentile(&self.micros, percent);
        let ms = |percent| at(percent) as f64 / 1000.0;
        println!(
            "  {name}: {} commits, {} a second, p50 {:.2} ms, p90 {:.2} ms, p99 {:.2} ms",
            self.micros.len(),
            self.micros.len() as u64 / self.seconds.max(1),
            ms(50),
            ms(90),
            ms(99)
        );
        at(50)
    }
}

pub(crate) fn measure(stage: &Stage, of: Of, pairs: u32, seconds: u64) -> Result<()> {
    match of {
        Of::Operator => with_and_without(stage, pairs, seconds),
        Of::Sync => {
            let names = ["sync_relay_log=1", "sync_relay_log=10000"];
            two_servers(stage, pairs, seconds, names, |pair, is_first| {
                pair.sync_every(stage, if is_first { 1 } else { 10_000 })
            })
        }
        Of::Compression => {
            let names = ["compressed", "not compressed"];
            two_servers(stage, pairs, seconds, names, |pair, is_first| {
                pair.compress(stage, is_first)
            })
        }
    }
}

fn with_and_without(stage: &Stage, pairs: u32, seconds: u64) -> Result<()> {
    let cluster = Cluster {
        namespace: "bench-commits",
        size: "4Gi",
        ..Cluster::default()
    };
    cluster.healthy(stage)?;
    let login = cluster.login(stage, "primary")?;
    for clients in CLIENTS {
        let (mut with, mut without) = (Rounds::default(), Rounds::default());
        for _ in 0..pairs {
            with.add(stage, &login, clients, seconds)?;
            operator::scaled(stage, 0)?;
            let away = without.add(stage, &login, clients, seconds);
            operator::scaled(stage, 2)?;
            away?;
            cluster.wait_healthy(stage)?;
        }
        println!("{clients} clients, {pairs} pairs of rounds of {seconds} s");
        tell(with.told("with the operator"), without.told("without it"));
    }
    cluster.remove(stage)
}

/// Two plain servers, with something and without it in turns.
fn two_servers(
    stage: &Stage,
    pairs: u32,
    seconds: u64,
    names: [&str; 2],
    set: impl Fn(&Pair<'_>, bool) -> Result<()>,
) -> Result<()> {
    let pair = Pair::made(stage, "bench-sync", 1)?;
    let login = pair.login(stage, 0)?;
    for clients in CLIENTS {
        let (mut first, mut second) = (Rounds::default(), Rounds::default());
        for _ in 0..pairs {
            set(&pair, true)?;
            first.add(stage, &login, clients, seconds)?;
            set(&pair, false)?;
            second.add(stage, &login, clients, seconds)?;
        }
        println!("{clients} clients, {pairs} pairs of rounds of {seconds} s");
        tell(first.told(names[0]), second.told(names[1]));
    }
    pair.servers.remove(stage)
}

fn tell(first: u64, second: u64) {
    println!(
        "  ratio of the medians {:.3}",
        first as f64 / second.max(1) as f64
    );
}
