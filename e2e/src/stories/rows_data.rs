//! Stories of rows of docs/failures.md: a replica written to, and all connections used up.
//! Must not undo by hand what the operator is to cure.

use std::time::Duration;

use anyhow::{Context, Result};

use super::care::inside;
use super::endurance::under_load;
use super::rows_by_hand::{gone_with_equals, identity};
use super::rows_members::says;
use super::rows_writes::{removed, replicas};
use crate::cluster::{self, Cluster};
use crate::gate::Gate;
use crate::load::Load;
use crate::operator;
use crate::stage::{Stage, claim, wait_until};

const WITHIN: Duration = Duration::from_secs(120);
const CONNECTIONS: usize = 30;
/// More than there is room for, beside the checker's and the agent's.
const GREEDY: usize = CONNECTIONS + 5;
const HELD_S: u32 = 25;

/// Rows 41 and 31: all connections used up, and a write on a replica.
pub(super) fn used_and_written(stage: &Stage) -> Result<String> {
    let more = format!("  mysql: {{parameters: {{max_connections: '{CONNECTIONS}'}}}}\n");
    let cluster = Cluster {
        namespace: "used-up",
        more: &more,
        ..Cluster::default()
    };
    under_load(stage, &cluster, |load| {
        let used = used_up(stage, &cluster, load)?;
        let written = written_to(stage, &cluster, load)?;
        Ok(format!("{used}; {written}"))
    })
}

/// Nobody else gets in: those who are in go on, a replica comes back, and nobody takes over.
fn used_up(stage: &Stage, cluster: &Cluster<'_>, load: &Load<'_>) -> Result<String> {
    let before = (cluster.primary(stage)?, cluster.epoch(stage)?);
    let replica = cluster.replica(stage)?;
    let login = cluster.login(stage, "primary")?;
    let held = format!("SELECT SLEEP({HELD_S})");
    let told = std::thread::scope(|scope| -> Result<String> {
        let greedy: Vec<_> = (0..GREEDY)
            .map(|_| scope.spawn(|| cluster::query(stage, &login, &held)))
            .collect();
        let mut told = String::new();
        wait_until("nobody else gets in", WITHIN, || {
            let refused = cluster::query(stage, &login, "SELECT 1").err();
            told = refused.map_or_else(String::new, |error| format!("{error:#}"));
            Ok(told.contains("1040"))
        })?;
        stage.kill(cluster.namespace, &replica, "mysqld")?;
        cluster.wait(stage, "the replica is missed", |object| {
            object["status"]["readyInstances"].as_u64() < Some(3)
        })?;
        cluster.wait(stage, "it follows again", |object| {
            object["status"]["state"] == "Healthy" && object["status"]["readyInstances"] == 3
        })?;
        let refused = cluster::query(stage, &login, "SELECT 1").is_err();
        claim(refused, "all the while nobody else got in")?;
        load.acknowledges(100)?;
        let kept = greedy.into_iter().filter_map(|client| client.join().ok());
        let kept = kept.filter(Result::is_ok).count();
        claim(kept > 0, "who was in stayed in")?;
        Ok(format!("{kept} clients held, others were told 1040"))
    })?;
    cluster.wait_healthy(stage)?;
    let after = (cluster.primary(stage)?, cluster.epoch(stage)?);
    claim(
        before == after,
        format!("nobody took over: {}", cluster.told(stage)),
    )?;
    Ok(format!(
        "{told}; {replica} killed and back meanwhile, writes went on, no failover"
    ))
}

/// What only this replica gets.
fn write_to(stage: &Stage, cluster: &Cluster<'_>, replica: &str) -> Result<()> {
    let database = cluster.login(stage, "primary")?.database;
    let errant = format!(
        "SET GLOBAL super_read_only = 0; SET GLOBAL read_only = 0; CREATE TABLE {database}.errant (id INT PRIMARY KEY)"
    );
    inside(stage, cluster, replica, &errant).map(drop)
}

fn nothing_left(stage: &Stage, cluster: &Cluster<'_>, member: &str) -> Result<()> {
    let database = cluster.login(stage, "primary")?.database;
    let tables = format!("SHOW TABLES IN {database} LIKE \"errant\"");
    let left = inside(stage, cluster, member, &tables)?;
    claim(
        left.is_empty(),
        format!("nothing of it is left on {member}: {left}"),
    )
}

/// A write that only a replica has: told, and gone with all its data.
fn written_to(stage: &Stage, cluster: &Cluster<'_>, load: &Load<'_>) -> Result<String> {
    let replica = cluster.replica(stage)?;
    let identified = || identity(stage, cluster, &replica);
    let (before, epoch) = (identified()?, cluster.epoch(stage)?);
    write_to(stage, cluster, &replica)?;
    cluster.wait(stage, &format!("{replica} does not serve"), |object| {
        says(object, &["Degraded", &format!("not serving: {replica}")])
            || cluster::member_of(object, &replica)["state"] != "Serving"
    })?;
    wait_until("all its data are made anew", WITHIN, || {
        Ok(identified()? != before)
    })?;
    cluster.wait_healthy(stage)?;
    load.acknowledges(100)?;
    nothing_left(stage, cluster, &replica)?;
    claim(cluster.epoch(stage)? == epoch, "and nobody took over")?;
    Ok(format!("{replica} written to: copied anew, the write is gone"))
}

/// Row 31 again: of two replicas with one history the one that would be chosen is written to in the moment in which
/// the primary dies.
pub(super) fn written_as_the_primary_dies(stage: &Stage) -> Result<String> {
    let cluster = Cluster {
        namespace: "written-to",
        ..Cluster::default()
    };
    under_load(stage, &cluster, |load| {
        let (primary, epoch) = (cluster.primary(stage)?, cluster.epoch(stage)?);
        let replicas = replicas(stage, &cluster)?;
        let node = cluster.node(stage, &primary)?;
        let gate = Gate::of_epoch(stage, cluster.namespace, epoch + 1, "")?;
        let gone = load.while_still(|| gone_with_equals(stage, &cluster, (&primary, &node)))?;
        wait_until("an operator leads that has power", WITHIN, || {
            Ok(operator::leads_on(stage)? != node)
        })?;
        let beside = operator::leads_on(stage)?;
        let apart = |replica: &&String| cluster.node(stage, replica).is_ok_and(|node| node != beside);
        let written = replicas.iter().find(apart).context("no replica is apart")?;
        let other = replicas.iter().find(|replica| *replica != written);
        let other = other.context("there is one replica only")?;
        let before = identity(stage, &cluster, written)?;
        write_to(stage, &cluster, written)?;
        gate.open()?;
        cluster.wait(stage, &format!("{other} leads"), |object| {
            let leads = &object["status"]["primary"];
            leads["name"] == **other && leads["epoch"] == epoch + 1
        })?;
        // Only the one that was written to can acknowledge, and it is to be copied first.
        let took = load.acknowledges(100)?;
        gone.heal()?;
        let words = removed(stage, &cluster, written)?;
        cluster.wait_healthy(stage)?;
        let after = identity(stage, &cluster, written)?;
        claim(before != after, format!("{written} is copied anew"))?;
        for member in &[&primary, written, other] {
            nothing_left(stage, &cluster, member)?;
        }
        claim(
            cluster.primary(stage)? == *other && cluster.epoch(stage)? == epoch + 1,
            format!("{other} leads: {}", cluster.told(stage)),
        )?;
        Ok(format!(
            "{primary} without power and {written} written to: {other} leads, 100 writes {:.0} s later; {written} \
             copied anew: {words}",
            took.as_secs_f64()
        ))
    })
}
