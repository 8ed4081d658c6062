//! Stories of rows of docs/failures.md that take five members: on a proving ground of five nodes of their own.
//! Must not touch the ground that the other stories play on, and leaves nothing of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use ground::faults::{Fault, Injected};
use ground::ground::Ground;
use ground::shell::cmd;

use super::rows_members::says;
use crate::cluster::{Cluster, is_said};
use crate::load::{self, Load};
use crate::operator;
use crate::stage::{Stage, claim, wait_until};

const NAME: &str = "five";
const NET: &str = "10.94.0.0/16";
/// Five servers on one machine start slowly.
const FIVE_WITHIN: Duration = Duration::from_secs(400);
const WITHIN: Duration = Duration::from_secs(120);
const STILL: Duration = Duration::from_secs(10);

/// Five nodes; taken down again, also when the story fails.
struct Five {
    stage: Stage,
    /// The other ground's: its own goes with it.
    program: PathBuf,
}

impl Five {
    fn up(stage: &Stage) -> Result<Self> {
        let program = stage.ground()?.paths.program("ground");
        told(&program, &["down"])?;
        told(&program, &["up", "--nodes", "5", "--net", NET])?;
        let stage = Stage::on_ground(Ground::open(NAME)?, stage.images.clone());
        let five = Self { stage, program };
        operator::installed(&five.stage)?;
        // One on each node: whichever three are lost, somebody leads.
        operator::scaled(&five.stage, 5)?;
        Ok(five)
    }
}

impl Drop for Five {
    fn drop(&mut self) {
        if let Err(error) = told(&self.program, &["down"]) {
            eprintln!("failed to take the ground of five nodes down: {error:#}");
        }
    }
}

fn told(program: &Path, args: &[&str]) -> Result<()> {
    cmd(program, ["--name", NAME]).args(args).run()
}

fn power_off(stage: &Stage, unit: &str) -> Result<Injected> {
    let unit = unit.to_owned();
    Fault::UnitDown { unit }.inject(stage.ground()?)
}

/// Row 43, then row 46, of one cluster.
pub(super) fn scaled_and_killed(stage: &Stage) -> Result<String> {
    let five = Five::up(stage)?;
    let stage = &five.stage;
    let mut cluster = Cluster {
        namespace: "five",
        memory: "640Mi",
        ..Cluster::default()
    };
    cluster.healthy(stage)?;
    let three = cluster.clone();
    cluster.instances = 5;
    // The judge asks the status who is a member.
    let load = Load::at_most(stage, &three, Some(40))?;
    let scaled = dies_while_scaling(stage, &cluster, &load)?;
    let two = two_and_a_third(stage, &cluster, &load)?;
    let told = load::clean(&load.judge()?)?;
    Ok(format!("{scaled}; {two}; {told}"))
}

/// The primary dies when the new members are on their way: those who were there before need nobody else.
fn dies_while_scaling(stage: &Stage, cluster: &Cluster<'_>, load: &Load<'_>) -> Result<String> {
    let (before, epoch) = (cluster.primary(stage)?, cluster.epoch(stage)?);
    let unit = cluster.node(stage, &before)?;
    cluster.apply(stage)?;
    wait_until("the new Pods are there", WITHIN, || {
        let pod = |member: &str| stage.get(&format!("pod {member} -n {}", cluster.namespace));
        Ok(pod("orders-3").is_ok() && pod("orders-4").is_ok())
    })?;
    let power = power_off(stage, &unit)?;
    let wrote = load.acknowledges(50)?;
    let after = cluster.primary(stage)?;
    claim(
        !["orders-3", "orders-4", &before].contains(&&*after) && cluster.epoch(stage)? == epoch + 1,
        format!("one of the other two leads: {}", cluster.told(stage)),
    )?;
    power.heal()?;
    cluster.wait_healthy_within(stage, FIVE_WITHIN)?;
    Ok(format!(
        "{before} without power as orders-3 and orders-4 were added: {after} took over, 50 writes {:.0} s after; then \
         five members",
        wrote.as_secs_f64()
    ))
}

/// Two of five die, primary and a replica, and another takes over; with the third it is Blocked.
fn two_and_a_third(stage: &Stage, cluster: &Cluster<'_>, load: &Load<'_>) -> Result<String> {
    let (before, epoch) = (cluster.primary(stage)?, cluster.epoch(stage)?);
    let replica = cluster.replica(stage)?;
    let two = [&before, &replica];
    let units = two.map(|member| cluster.node(stage, member));
    let mut faults = Vec::new();
    for unit in units {
        faults.push(power_off(stage, &unit?)?);
    }
    load.acknowledges(100)?;
    let after = cluster.primary(stage)?;
    claim(
        !two.contains(&&after) && cluster.epoch(stage)? == epoch + 1,
        format!("one of the other three leads: {}", cluster.told(stage)),
    )?;
    cluster.wait(stage, "Degraded, with both names", |object| {
        says(
            object,
            &["Degraded", before.as_str(), replica.as_str(), "not serving"],
        ) && is_said(object, "PrimaryAvailable", "True")
    })?;
    let third = power_off(stage, &cluster.node(stage, &after)?)?;
    let words = [
        "Blocked",
        "3 members with their data are needed",
        "missing",
        "QuorumLost",
    ];
    cluster.wait(stage, "Blocked without the third", |object| says(object, &words))?;
    load.stands_still(STILL)?;
    third.heal()?;
    let wrote = load.acknowledges(50)?;
    faults.into_iter().try_for_each(Injected::heal)?;
    cluster
        .wait_healthy_within(stage, FIVE_WITHIN)
        .context("all five are back")?;
    Ok(format!(
        "{before} and {replica} of five without power: {after} took over; then {after}, too: Blocked (QuorumLost), \
         nothing acknowledged; writes {:.0} s after the third's return",
        wrote.as_secs_f64()
    ))
}
