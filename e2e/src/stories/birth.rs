//! Stories of a cluster's beginning: from the manifest to the first write, through interruptions.
//! Must not wait for time to pass: every wait is for something seen.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::cluster::{Cluster, condition};
use crate::load::{self, Load};
use crate::operator;
use crate::stage::{Stage, claim, wait_until};

/// Applied, Ready, and a row written and read through both Services.
pub(super) fn from_one_manifest(stage: &Stage) -> Result<String> {
    operator::installed(stage)?;
    let cluster = Cluster {
        namespace: "born",
        ..Cluster::default()
    };
    let begun = cluster.create(stage)?;
    wait_until("the first acknowledged write", Duration::from_secs(120), || {
        let made = "CREATE TABLE IF NOT EXISTS first (id INT PRIMARY KEY); REPLACE INTO first VALUES (1)";
        Ok(cluster.query(stage, "primary", made).is_ok())
    })
    .with_context(|| cluster.told(stage))?;
    let written = begun.elapsed();
    cluster.wait_healthy(stage)?;
    let ready = begun.elapsed();
    wait_until("the row on the replicas", Duration::from_secs(10), || {
        Ok(cluster.query(stage, "replicas", "SELECT id FROM first")? == "1")
    })?;
    let object = cluster.get(stage)?;
    let is_redundant = condition(&object, "Redundant").is_some_and(|found| found["status"] == "True");
    claim(
        is_redundant,
        format!("a node may be lost now: {}", object["status"]),
    )?;
    let primary = cluster.primary(stage)?;
    let settings = cluster.query(
        stage,
        "primary",
        "SELECT CONCAT_WS(' ', @@rpl_semi_sync_source_wait_point, @@rpl_semi_sync_source_wait_for_replica_count, \
         @@sync_binlog, @@innodb_flush_log_at_trx_commit, @@gtid_mode)",
    )?;
    claim(
        settings == "AFTER_SYNC 1 1 1 ON",
        format!("lossless settings: {settings}"),
    )?;
    let refused = cluster.query(stage, "replicas", "REPLACE INTO first VALUES (2)");
    claim(refused.is_err(), "a replica refuses writes")?;
    cluster.remove(stage)?;
    Ok(format!(
        "first write after {:.1} s, Ready after {:.1} s, primary {primary}",
        written.as_secs_f64(),
        ready.as_secs_f64()
    ))
}

/// The controller's processes are killed every few seconds until the cluster is Healthy.
pub(super) fn controller_killed(stage: &Stage) -> Result<String> {
    operator::installed(stage)?;
    let cluster = Cluster {
        namespace: "interrupted",
        ..Cluster::default()
    };
    let begun = cluster.create(stage)?;
    let mut kills = 0;
    let mut last = Instant::now();
    wait_until("Healthy in spite of it", Duration::from_secs(240), || {
        if last.elapsed() > Duration::from_secs(5) && kills < 8 {
            kills += kill_controllers(stage)?;
            last = Instant::now();
        }
        let object = cluster.get(stage)?;
        Ok(object["status"]["state"] == "Healthy" && kills >= 8)
    })
    .with_context(|| cluster.told(stage))?;
    cluster.wait_healthy(stage)?;
    let verdict = Load::start(stage, &cluster)?.judge()?;
    let told = load::clean(&verdict)?;
    cluster.remove(stage)?;
    Ok(format!(
        "{kills} kills, Healthy after {:.1} s; {told}",
        begun.elapsed().as_secs_f64()
    ))
}

/// SIGKILL to every controller; gives how many there were.
pub(super) fn kill_controllers(stage: &Stage) -> Result<usize> {
    stage.ground()?;
    // One that is just starting has no process yet.
    let is_killed = |pod: &String| stage.kill(operator::NAMESPACE, pod, "holdfast").is_ok();
    Ok(operator::pods(stage)?.iter().filter(|pod| is_killed(pod)).count())
}

/// A cluster of the same name in another namespace is another cluster.
pub(super) fn two_of_a_name(stage: &Stage) -> Result<String> {
    operator::installed(stage)?;
    let one = Cluster {
        namespace: "twin-a",
        instances: 1,
        ..Cluster::default()
    };
    let other = Cluster {
        namespace: "twin-b",
        ..one.clone()
    };
    one.create(stage)?;
    other.create(stage)?;
    one.wait_healthy(stage)?;
    other.wait_healthy(stage)?;
    let table = "CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1)";
    one.query(stage, "primary", table)?;
    let elsewhere = other.query(stage, "primary", "SHOW TABLES")?;
    claim(
        elsewhere.is_empty(),
        format!("nothing of it in the other: {elsewhere}"),
    )?;
    let mut login = one.login(stage, "primary")?;
    login.host = other.login(stage, "primary")?.host;
    let refused = crate::cluster::query(stage, &login, "SELECT 1");
    claim(refused.is_err(), "one's password does not open the other")?;
    one.remove(stage)?;
    other.wait_healthy(stage)?;
    other.remove(stage)?;
    Ok("two clusters named orders, each with its own data and passwords".into())
}
