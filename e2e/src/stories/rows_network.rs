//! Stories of rows of docs/failures.md: replicas that do not reach their primary, while clients and operator do.
//! Must not cut what clients or the operator use, nor heal before the writes have gone on.

use std::time::Duration;

use anyhow::{Context, Result};
use ground::faults::Injected;
use ground::faults::net::Direction;

use super::endurance::under_load;
use super::rows_members::{REPLICATION_PORT, port_cut};
use super::rows_writes::{
    SOME, lost_behind, lost_while_commits_wait, recorded_epoch, replicas, says, unheard,
};
use crate::cluster::{Cluster, is_said, member_of};
use crate::load::Load;
use crate::stage::{Stage, claim};

/// Within the time in which replicas may come back to their primary.
const STILL: Duration = Duration::from_secs(4);

/// Longer than it takes until another is tried, who cannot be followed either.
const STILL_AFTER_ANOTHER: Duration = Duration::from_secs(20);

/// Replicas give a connection up after ten seconds and try again; that they are silent is seen a little later.
const IN_HASTE_MS: u64 = 6_000;
const CAUSE: &str = "its replicas cannot reach it";

/// One failover, for this reason, and not in haste; who led follows again. Gives it in words.
fn succeeded(
    stage: &Stage,
    cluster: &Cluster<'_>,
    epoch: u64,
    (before, after, removed): &(String, String, String),
) -> Result<String> {
    cluster.wait_healthy(stage)?;
    let object = cluster.get(stage)?;
    let last = &object["status"]["promotions"][0];
    let because = last["because"].as_str().unwrap_or_default();
    claim(
        last["reason"] == "PrimaryCutOff" && because.ends_with(CAUSE),
        format!("it says of {before} that {CAUSE}: {last}"),
    )?;
    let took_ms = last["durationMs"].as_u64().context("it took no time")?;
    claim(
        took_ms >= IN_HASTE_MS,
        format!("replicas had time to come back: {last}"),
    )?;
    claim(
        cluster.epoch(stage)? == epoch + 1 && cluster.primary(stage)? == *after,
        format!("one failover: {}", cluster.told(stage)),
    )?;
    let old = member_of(&object, before);
    claim(
        old["role"] == "Replica" && old["state"] == "Serving",
        format!("{before} follows: {old}"),
    )?;
    Ok(format!(
        "none acknowledged until {after} led, {:.1} s without writes ({CAUSE}), {SOME} writes before it was healed; \
         {before} follows again: {removed}",
        Duration::from_millis(took_ms).as_secs_f64()
    ))
}

/// Row 5: no replica reaches the primary, and it reaches none; the operator and clients reach everybody.
pub(super) fn cut_from_replicas(stage: &Stage) -> Result<String> {
    let cluster = Cluster {
        namespace: "cut-from-replicas",
        ..Cluster::default()
    };
    under_load(stage, &cluster, |load| {
        let epoch = cluster.epoch(stage)?;
        let told = lost_while_commits_wait(stage, &cluster, load, |_| load.stands_still(STILL))?;
        let told = succeeded(stage, &cluster, epoch, &told)?;
        Ok(format!(
            "port {REPLICATION_PORT} cut between primary and replicas: {told}"
        ))
    })
}

/// Row 5 at its worst: no member reaches another one; the operator and clients reach everybody.
pub(super) fn cut_from_everybody(stage: &Stage) -> Result<String> {
    let cluster = Cluster {
        namespace: "everybody-cut",
        ..Cluster::default()
    };
    under_load(stage, &cluster, |load| {
        let epoch = cluster.epoch(stage)?;
        let members: Vec<String> = cluster.members().collect();
        let mut cuts = Vec::new();
        for source in &members {
            for replica in members.iter().filter(|replica| *replica != source) {
                cuts.push(unheard(stage, &cluster, source, replica)?);
            }
        }
        load.stands_still(STILL_AFTER_ANOTHER)?;
        let object = cluster.get(stage)?;
        claim(
            is_said(&object, "PrimaryAvailable", "False") && recorded_epoch(stage, &cluster)? > epoch,
            format!("another was tried, in vain: {}", object["status"]),
        )?;
        let state = object["status"]["state"].as_str().unwrap_or_default().to_owned();
        cuts.into_iter().try_for_each(Injected::heal)?;
        let again = load.acknowledges(2 * SOME)?;
        cluster.wait_healthy(stage)?;
        Ok(format!(
            "port {REPLICATION_PORT} cut between all members: {state}, nothing acknowledged for {} s, in which another was tried in vain; \
             {} writes within {:.1} s of the end of it",
            STILL_AFTER_ANOTHER.as_secs(),
            2 * SOME,
            again.as_secs_f64()
        ))
    })
}

/// Row 25: what the primary sends to replicas is lost, what they send arrives; first for one of them, then for both.
pub(super) fn cut_one_way(stage: &Stage) -> Result<String> {
    let cluster = Cluster {
        namespace: "one-way",
        ..Cluster::default()
    };
    under_load(stage, &cluster, |load| one_then_both(stage, &cluster, load))
}

fn one_then_both(stage: &Stage, cluster: &Cluster<'_>, load: &Load<'_>) -> Result<String> {
    let ground = stage.ground()?;
    let (primary, epoch) = (cluster.primary(stage)?, cluster.epoch(stage)?);
    let own = cluster.node(stage, &primary)?;
    let deaf = |replica: &str| {
        let node = cluster.node(stage, replica)?;
        port_cut(&own, REPLICATION_PORT, &node, Direction::Out).inject(ground)
    };
    let replicas = replicas(stage, cluster)?;
    let [one, other] = replicas.as_slice() else {
        anyhow::bail!("three members have two replicas: {replicas:?}");
    };
    let mut cuts = vec![deaf(one)?];
    let not_serving = format!("not serving: {one}");
    let is_degraded =
        |object: &_| says(object, &["Degraded", &not_serving]) && is_said(object, "PrimaryAvailable", "True");
    let degraded = cluster.wait(stage, &format!("Degraded, {not_serving}"), is_degraded)?;
    load.acknowledges(2 * SOME)?;
    claim(
        is_degraded(&cluster.get(stage)?) && recorded_epoch(stage, cluster)? == epoch,
        format!(
            "Degraded as before, and nobody took over: {}",
            cluster.told(stage)
        ),
    )?;
    cuts.push(deaf(other)?);
    let told = lost_behind(stage, cluster, load, cuts, |_| load.stands_still(STILL))?;
    claim(
        told.1 == *other,
        format!("the one that heard more takes over, {other}: {}", told.1),
    )?;
    let told = succeeded(stage, cluster, epoch, &told)?;
    Ok(format!(
        "{one} does not hear {primary}: Degraded after {:.0} s, {} writes went on; nor does {other}: {told}",
        degraded.as_secs_f64(),
        2 * SOME
    ))
}
