//! Faults by chance until the time is over: one or several at once, of any member, the operator, the API server.
//! Must not go on after a round that failed: seed and round say how to make it again.

mod plan;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use e2e::cluster::Cluster;
use e2e::harm::Harm;
use e2e::load::{self, Load};
use e2e::operator;
use e2e::stage::Stage;
use ground::faults::{Fault, Injected};

use crate::gaps;
use plan::{Outage, Plan, What};

/// A container that ended often is started again only after minutes.
const ROUNDS_OF_A_CLUSTER: u32 = 5;

#[derive(Args)]
pub(crate) struct Soak {
    #[arg(long, default_value_t = 60)]
    minutes: u32,
    /// An odd one sends large transactions too, and compresses none.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The round to begin with.
    #[arg(long, default_value_t = 0)]
    from: u64,
}

impl Soak {
    pub(crate) fn run(&self, stage: &Stage) -> Result<()> {
        let sends_large = self.seed % 2 == 1;
        let cluster = Cluster {
            namespace: "bench-soak",
            size: "8Gi",
            more: if sends_large { Harm::Sending.needs() } else { "" },
            ..Cluster::default()
        };
        let ends = Instant::now() + Duration::from_secs(u64::from(self.minutes) * 60);
        let mut round = self.from;
        while Instant::now() < ends {
            operator::anew(stage)?;
            cluster.healthy(stage)?;
            for _ in 0..ROUNDS_OF_A_CLUSTER {
                let plan = Plan::of(self.seed, round, sends_large);
                println!("{round}: {plan}");
                let again = || {
                    format!(
                        "`bench soak --seed {} --from {round}` begins with this",
                        self.seed
                    )
                };
                println!("{round}: {}", play(&plan, stage, &cluster).with_context(again)?);
                round += 1;
                if Instant::now() >= ends || gaps::is_used_up(stage, &cluster)? {
                    break;
                }
            }
            cluster.remove(stage)?;
        }
        println!(
            "seed {}: {} rounds, nothing lost, members equal after each",
            self.seed,
            round - self.from
        );
        Ok(())
    }
}

/// Does what is planned under load, heals it, and has it judged.
fn play(plan: &Plan, stage: &Stage, cluster: &Cluster<'_>) -> Result<String> {
    let primary = cluster.primary(stage)?;
    let replicas = cluster.members().filter(|member| *member != primary);
    let members: Vec<String> = std::iter::once(primary.clone()).chain(replicas).collect();
    let load = Load::start(stage, cluster)?;
    let mut round = Round {
        stage,
        cluster,
        members,
        dark: BTreeSet::new(),
        powerless: Vec::new(),
        faults: Vec::new(),
    };
    for blow in &plan.blows {
        std::thread::sleep(blow.pause);
        round
            .strike(blow.what)
            .with_context(|| format!("{:?}", blow.what))?;
    }
    std::thread::sleep(plan.lasts);
    for fault in round.powerless.into_iter().chain(round.faults) {
        fault.heal()?;
    }
    let healed = Instant::now();
    load.acknowledges(gaps::ENOUGH)?;
    cluster.wait_healthy(stage)?;
    let healthy = healed.elapsed();
    let told = load::clean(&load.judge()?)?;
    let after = cluster.primary(stage)?;
    Ok(format!(
        "{told}; {primary} to {after}, Healthy after {:.0} s",
        healthy.as_secs_f64()
    ))
}

/// What is in force.
struct Round<'a> {
    stage: &'a Stage,
    cluster: &'a Cluster<'a>,
    members: Vec<String>,
    /// Nodes that are lost.
    dark: BTreeSet<String>,
    /// Healed first: other faults may be on these nodes.
    powerless: Vec<Injected>,
    faults: Vec<Injected>,
}

impl Round<'_> {
    fn strike(&mut self, what: What) -> Result<()> {
        match what {
            What::Member(number, harm) => {
                let member = self.members.get(number).context("no such member")?;
                if matches!(harm, Harm::Power | Harm::Cut) {
                    self.dark.insert(self.cluster.node(self.stage, member)?);
                }
                let fault = harm.strike(self.stage, self.cluster, member)?;
                match harm {
                    Harm::Power => self.powerless.extend(fault),
                    _ => self.faults.extend(fault),
                }
            }
            What::ApiDown => self.faults.push(Fault::api_down().inject(self.stage.ground()?)?),
            What::Operator(outage) => {
                // It may be gone with its node.
                if let Some(pod) = self.leader()? {
                    self.strike_operator(outage, &pod)?;
                }
            }
        }
        Ok(())
    }

    fn strike_operator(&mut self, outage: Outage, pod: &str) -> Result<()> {
        let (stage, namespace) = (self.stage, operator::NAMESPACE);
        match outage {
            Outage::Killed => stage.kill(namespace, pod, "holdfast"),
            Outage::Deleted => {
                let line = format!("delete pod {pod} -n {namespace} --wait=false");
                stage.k(&line).run()
            }
            Outage::Frozen => {
                let ground = stage.ground()?;
                let fault = Fault::pause(ground, namespace, pod, Some("holdfast"))?;
                self.faults.push(fault.inject(ground)?);
                Ok(())
            }
        }
    }

    /// The controller that leads, if its node is there.
    fn leader(&self) -> Result<Option<String>> {
        let Some(pod) = operator::leader(self.stage)? else {
            return Ok(None);
        };
        let node = operator::node(self.stage, &pod)?;
        Ok(node.filter(|node| !self.dark.contains(node)).map(|_| pod))
    }
}
