//! Stories of volumes without room: who is named, who goes on, and that a larger size is all the cure.
//! Must not free room by hand before the cluster is well again.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ground::faults::{Disk, DiskFault, Fault, Injected};
use serde_json::Value;

use crate::cluster::{Cluster, condition, is_said, member_of};
use crate::load::{self, Load};
use crate::operator;
use crate::stage::{Stage, claim};

const SMALL: &str = "1Gi";
const LARGER: &str = "2Gi";
/// Of one large row.
const ROW_MIB: u32 = 8;
/// mysqld looks for room once a minute, and then follows what it missed, while clients go on.
const CURED_WITHIN: Duration = Duration::from_secs(360);
const PATIENCE: Duration = Duration::from_secs(20);
const FILLED_WITHIN: Duration = Duration::from_secs(240);
/// What a person is told to do.
const CURE: &str = "is full: raise spec.storage.size";

fn fill(stage: &Stage, cluster: &Cluster<'_>, member: &str) -> Result<Injected> {
    let ground = stage.ground()?;
    let disk = Disk::of_pod(ground, cluster.namespace, member, None)?;
    let fault = DiskFault::Full;
    Fault::Disk { disk, fault }.inject(ground)
}

/// The condition Stalled names the member and the cure.
fn is_named(object: &Value, member: &str) -> bool {
    condition(object, "Stalled").is_some_and(|stalled| {
        let message = stalled["message"].as_str().unwrap_or_default();
        stalled["reason"] == "VolumeFull" && message.contains(member) && message.contains(CURE)
    })
}

/// A larger size is applied, and nothing else: everything is well again by itself.
fn grown(stage: &Stage, cluster: &mut Cluster<'_>) -> Result<String> {
    let begun = Instant::now();
    cluster.size = LARGER;
    cluster.apply(stage)?;
    cluster.wait_healthy_within(stage, CURED_WITHIN)?;
    cluster.wait(stage, "nobody has to act any more", |object| {
        condition(object, "Stalled").is_none()
    })?;
    Ok(format!(
        "Healthy {:.0} s after {LARGER} was asked for",
        begun.elapsed().as_secs_f64()
    ))
}

/// One replica has no room: writes go on by the other, and the member is named.
pub(super) fn replica_full(stage: &Stage) -> Result<String> {
    operator::installed(stage)?;
    let mut cluster = Cluster {
        namespace: "full-replica",
        size: SMALL,
        ..Cluster::default()
    };
    cluster.healthy(stage)?;
    let copy = cluster.clone();
    let load = Load::at_most(stage, &copy, Some(40))?;
    let (replica, epoch) = (cluster.replica(stage)?, cluster.epoch(stage)?);
    let fault = fill(stage, &cluster, &replica)?;
    let named = cluster.wait(stage, &format!("{replica} is named with the cure"), |object| {
        is_named(object, &replica) && member_of(object, &replica)["state"] == "Failed"
    })?;
    cluster.is_told(stage, "VolumeFull", &[&replica, CURE])?;
    // More than a relay log's buffer: what it had received before is long past.
    load.goes_on()?;
    load.goes_on()?;
    let object = cluster.get(stage)?;
    let said = object["status"].to_string();
    claim(
        is_said(&object, "PrimaryAvailable", "True"),
        format!("it takes writes: {said}"),
    )?;
    claim(
        is_said(&object, "Redundant", "False"),
        format!("no replica can be spared: {said}"),
    )?;
    claim(
        object["status"]["state"] == "Degraded",
        format!("Degraded: {said}"),
    )?;
    let cured = grown(stage, &mut cluster)?;
    claim(cluster.epoch(stage)? == epoch, "the primary stayed")?;
    let verdict = load::clean(&load.judge()?)?;
    fault.heal()?;
    cluster.remove(stage)?;
    Ok(format!(
        "{replica} named after {:.1} s; {cured}; {verdict}",
        named.as_secs_f64()
    ))
}

/// Tables grow until no member has room: nobody could take over, writes fail or wait, nothing is lost.
pub(super) fn all_full(stage: &Stage) -> Result<String> {
    operator::installed(stage)?;
    let mut cluster = Cluster {
        namespace: "full-tables",
        size: SMALL,
        ..Cluster::default()
    };
    cluster.healthy(stage)?;
    let copy = cluster.clone();
    let load = Load::at_most(stage, &copy, Some(50))?;
    let (primary, epoch) = (cluster.primary(stage)?, cluster.epoch(stage)?);
    let table = "CREATE TABLE ballast (id INT PRIMARY KEY AUTO_INCREMENT, bytes LONGBLOB)";
    cluster.query(stage, "primary", table)?;
    let (begun, mut rows) = (Instant::now(), 0);
    let refusal = loop {
        claim(
            begun.elapsed() < FILLED_WITHIN,
            "volumes of that size are full by now",
        )?;
        match one_row(stage, &cluster) {
            Ok(()) => rows += 1,
            Err(error) => break format!("{error:#}"),
        }
    };
    cluster.wait(stage, "somebody is named with the cure", |object| {
        (0..3).any(|n| is_named(object, &format!("orders-{n}")))
    })?;
    cluster.wait(stage, "it does not say that it takes writes", |object| {
        is_said(object, "PrimaryAvailable", "False")
    })?;
    let said = condition(&cluster.get(stage)?, "Stalled").map(|stalled| stalled["message"].clone());
    let cured = grown(stage, &mut cluster)?;
    one_row(stage, &cluster).context("rows fit again")?;
    let verdict = load::clean(&load.judge()?)?;
    let kept = cluster.query(stage, "primary", "SELECT COUNT(*) FROM ballast")?;
    // Of the row that failed, nobody knows.
    claim(
        kept.parse::<u32>().is_ok_and(|kept| kept > rows),
        format!("{rows} large rows and one more are there: {kept}"),
    )?;
    let moved = cluster.epoch(stage)? - epoch;
    cluster.remove(stage)?;
    let refusal = match refusal.contains("exit status: 124") {
        true => format!("no answer within {} s", PATIENCE.as_secs()),
        false => refusal.lines().last().unwrap_or_default().to_owned(),
    };
    Ok(format!(
        "{rows} rows of {ROW_MIB} MiB, then {refusal}; status: {}; {primary} was primary, {moved} failovers; \
         {cured}; {verdict}",
        said.unwrap_or_default()
    ))
}

/// Gives up when it waits for long: that is what a client would do.
fn one_row(stage: &Stage, cluster: &Cluster<'_>) -> Result<()> {
    let bytes = format!("REPEAT(RANDOM_BYTES(1024), {ROW_MIB} * 1024)");
    let login = cluster.login(stage, "primary")?;
    let statement = format!("INSERT INTO ballast (bytes) VALUES ({bytes})");
    crate::cluster::query_within(stage, &login, &statement, PATIENCE).map(drop)
}

/// The primary has no room, and the others have: another takes over.
pub(super) fn primary_full(stage: &Stage) -> Result<String> {
    operator::installed(stage)?;
    let mut cluster = Cluster {
        namespace: "full-primary",
        size: SMALL,
        ..Cluster::default()
    };
    cluster.healthy(stage)?;
    let copy = cluster.clone();
    let load = Load::at_most(stage, &copy, Some(40))?;
    let (before, epoch) = (cluster.primary(stage)?, cluster.epoch(stage)?);
    let fault = fill(stage, &cluster, &before)?;
    cluster.wait(stage, "another primary takes writes", |object| {
        let is_open = is_said(object, "PrimaryAvailable", "True");
        is_open && object["status"]["primary"]["epoch"].as_u64() > Some(epoch)
    })?;
    load.goes_on()?;
    cluster.wait(stage, &format!("{before} is named with the cure"), |object| {
        is_named(object, &before) && member_of(object, &before)["state"] == "Failed"
    })?;
    cluster.is_told(stage, "VolumeFull", &[&before, CURE])?;
    cluster.is_told(stage, "FailedOver", &[&before, "DiskFull"])?;
    let after = cluster.primary(stage)?;
    let cured = grown(stage, &mut cluster)?;
    claim(
        cluster.epoch(stage)? == epoch + 1,
        format!("one failover: {}", cluster.told(stage)),
    )?;
    let verdict = load::clean(&load.judge()?)?;
    fault.heal()?;
    cluster.remove(stage)?;
    Ok(format!("{before} full, {after} took over; {cured}; {verdict}"))
}
