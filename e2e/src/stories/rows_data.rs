//! Stories of rows of docs/failures.md: a member's data written to, lost or set back, and all connections used up.
//! Must not undo by hand what the operator is to cure.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use ground::faults::{Disk, Fault, Injected};
use ground::shell::{cmd, words};
use serde_json::Value;

use super::care::inside;
use super::endurance::under_load;
use super::rows_members::says;
use super::switchover::Asked;
use crate::cluster::{self, Cluster, is_said};
use crate::load::Load;
use crate::operator;
use crate::stage::{Stage, claim, wait_until};

const WITHIN: Duration = Duration::from_secs(120);
const CONNECTIONS: usize = 30;
/// More than there is room for, beside the checker's and the agent's.
const GREEDY: usize = CONNECTIONS + 5;
const HELD_S: u32 = 25;
const STILL: Duration = Duration::from_secs(10);

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
        load.writes(100)?;
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

/// A write that only a replica has: told, and gone with all its data.
fn written_to(stage: &Stage, cluster: &Cluster<'_>, load: &Load<'_>) -> Result<String> {
    let replica = cluster.replica(stage)?;
    let database = cluster.login(stage, "primary")?.database;
    let identity = || inside(stage, cluster, &replica, "SELECT @@GLOBAL.server_uuid");
    let (before, epoch) = (identity()?, cluster.epoch(stage)?);
    let errant = format!(
        "SET GLOBAL super_read_only = 0; SET GLOBAL read_only = 0; CREATE TABLE {database}.errant (id INT PRIMARY KEY)"
    );
    inside(stage, cluster, &replica, &errant)?;
    cluster.wait(stage, &format!("{replica} does not serve"), |object| {
        says(object, &["Degraded", &format!("not serving: {replica}")])
            || cluster::member_of(object, &replica)["state"] != "Serving"
    })?;
    wait_until("all its data are made anew", WITHIN, || Ok(identity()? != before))?;
    cluster.wait_healthy(stage)?;
    load.writes(100)?;
    let left = inside(
        stage,
        cluster,
        &replica,
        &format!("SHOW TABLES IN {database} LIKE \"errant\""),
    )?;
    claim(left.is_empty(), format!("nothing of it is left: {left}"))?;
    claim(cluster.epoch(stage)? == epoch, "and nobody took over")?;
    Ok(format!("{replica} written to: copied anew, the write is gone"))
}

/// Row 39: the primary's volume and Pod are taken away at once, without a word to the agent.
pub(super) fn volume_lost(stage: &Stage) -> Result<String> {
    let cluster = Cluster {
        namespace: "lost-primary",
        ..Cluster::default()
    };
    under_load(stage, &cluster, |load| {
        let (before, epoch) = (cluster.primary(stage)?, cluster.epoch(stage)?);
        let identity = || inside(stage, &cluster, &before, "SELECT @@GLOBAL.server_uuid");
        let (old, claimed) = (identity()?, uid(stage, &cluster, &before)?);
        let line = format!(
            "delete pod,pvc {before} -n {} --force --grace-period=0 --wait=false",
            cluster.namespace
        );
        stage.k(&line).run()?;
        wait_until("another volume", WITHIN, || {
            Ok(uid(stage, &cluster, &before)? != claimed)
        })?;
        wait_until("another epoch", WITHIN, || Ok(cluster.epoch(stage)? > epoch))
            .with_context(|| cluster.told(stage))?;
        load.writes(100)?;
        let (after, now) = (cluster.primary(stage)?, cluster.epoch(stage)?);
        claim(
            after != before && now == epoch + 1,
            format!("another took over: {}", cluster.told(stage)),
        )?;
        cluster.wait_healthy(stage)?;
        claim(identity()? != old, format!("{before} is made anew"))?;
        let promotion = &cluster.get(stage)?["status"]["promotions"][0];
        Ok(format!(
            "volume and Pod of {before} deleted: {after} took over ({} {}), {before} made anew",
            promotion["kind"], promotion["reason"]
        ))
    })
}

fn uid(stage: &Stage, cluster: &Cluster<'_>, member: &str) -> Result<String> {
    let object = stage.get(&format!("pvc {member} -n {}", cluster.namespace))?;
    let uid = object["metadata"]["uid"].as_str();
    uid.map(str::to_owned).context("the volume has no uid")
}

/// The volume of a member whose node can lose its power: copied, and set back to the copy.
struct Snapshot<'a> {
    stage: &'a Stage,
    unit: String,
    file: PathBuf,
    copy: PathBuf,
}

impl<'a> Snapshot<'a> {
    fn of(stage: &'a Stage, cluster: &Cluster<'_>, member: &str) -> Result<Self> {
        let disk = Disk::of_pod(stage.ground()?, cluster.namespace, member, None)?;
        let file = disk.file(stage.ground()?)?;
        Ok(Self {
            stage,
            unit: disk.unit,
            copy: file.with_extension("copy"),
            file,
        })
    }

    /// Without power, and its file in nobody's use.
    fn power_off(&self) -> Result<Injected> {
        use std::os::unix::fs::MetadataExt as _;
        let unit = self.unit.clone();
        let fault = Fault::UnitDown { unit }.inject(self.stage.ground()?)?;
        let inode = std::fs::metadata(&self.file)?.ino().to_string();
        wait_until("its file is free", WITHIN, || {
            let used = words("losetup --list --noheadings --raw --output BACK-INO").output()?;
            Ok(!used.lines().any(|line| line.trim() == inode))
        })?;
        Ok(fault)
    }

    fn take(&self) -> Result<()> {
        cmd("cp", ["--sparse=always"])
            .args([&self.file, &self.copy])
            .run()
    }

    /// In place: the same file, with what it held then.
    fn set_back(&self) -> Result<()> {
        cmd("cp", ["--sparse=always"])
            .args([&self.copy, &self.file])
            .run()
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.copy);
    }
}

/// The role goes to this member, if it does not have it.
fn led_by(stage: &Stage, cluster: &Cluster<'_>, member: &str) -> Result<u64> {
    let name = format!("to-{member}-{}", cluster.epoch(stage)?);
    let spec = format!(", target: {member}, budgetSeconds: 30");
    Asked::create(stage, cluster, &name, &spec)?.wait("Ready")?;
    claim(cluster.primary(stage)? == member, format!("{member} leads"))?;
    cluster.epoch(stage)
}

fn controllers(stage: &Stage, replicas: u8) -> Result<()> {
    let line = format!(
        "scale deployment holdfast -n {} --replicas={replicas}",
        operator::NAMESPACE
    );
    stage.k(&line).run()?;
    match replicas {
        0 => wait_until("no controller is left", WITHIN, || {
            Ok(operator::pods(stage)?.is_empty())
        })
        .map(drop),
        _ => operator::ready(stage),
    }
}

/// Row 40: a volume set back to an older copy in place, while the operator looks, and while nobody looks.
pub(super) fn set_back(stage: &Stage) -> Result<String> {
    let cluster = Cluster {
        namespace: "set-back",
        ..Cluster::default()
    };
    under_load(stage, &cluster, |load| {
        let member = cluster.primary(stage)?;
        let snapshot = Snapshot::of(stage, &cluster, &member)?;
        let power = snapshot.power_off()?;
        snapshot.take()?;
        power.heal()?;
        cluster.wait_healthy(stage)?;
        let epoch = led_by(stage, &cluster, &member)?;
        load.writes(100)?;
        let power = snapshot.power_off()?;
        load.writes(100)?;
        snapshot.set_back()?;
        power.heal()?;
        cluster.wait_healthy(stage)?;
        let other = cluster.primary(stage)?;
        claim(
            other != member && cluster.epoch(stage)? > epoch,
            format!("another leads: {}", cluster.told(stage)),
        )?;
        let unseen = set_back_unseen(stage, &cluster, load, &member, &snapshot)?;
        Ok(format!(
            "{member} set back in sight: {other} took over, Healthy; {unseen}"
        ))
    })
}

/// The primary of the record comes back with less than its replicas have: it stays closed until it is made anew.
fn set_back_unseen(
    stage: &Stage,
    cluster: &Cluster<'_>,
    load: &Load<'_>,
    member: &str,
    snapshot: &Snapshot<'_>,
) -> Result<String> {
    let epoch = led_by(stage, cluster, member)?;
    load.writes(100)?;
    controllers(stage, 0)?;
    let power = snapshot.power_off()?;
    snapshot.set_back()?;
    power.heal()?;
    wait_until("its mysqld runs, on older data", WITHIN, || {
        inside(stage, cluster, member, "SELECT 1").map(|_| true)
    })?;
    load.stands_still(STILL)?;
    controllers(stage, 2)?;
    let is_closed = |object: &Value| {
        let primary = &object["status"]["primary"];
        let is_same = primary["name"] == *member && primary["epoch"] == epoch;
        is_same
            && says(object, &["AwaitingReplicas", "commits wait"])
            && !is_said(object, "PrimaryAvailable", "True")
    };
    cluster.wait(stage, "it is closed, and commits wait", is_closed)?;
    load.stands_still(STILL)?;
    let object = cluster.get(stage)?;
    claim(is_closed(&object), format!("it stays so: {}", object["status"]))?;
    let line = format!("delete pvc,pod {member} -n {} --wait=false", cluster.namespace);
    stage.k(&line).run()?;
    load.writes(100)?;
    let after = cluster.primary(stage)?;
    claim(after != member, format!("another leads than {member}"))?;
    Ok(format!(
        "set back unseen: closed, AwaitingReplicas, nothing acknowledged; its volume deleted: {after} took over"
    ))
}
