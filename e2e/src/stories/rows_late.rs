//! Stories of rows of docs/failures.md: what comes late in a failover, the Services' change and new passwords.
//! Must not show a password: they are told apart by whether they are good.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::endurance::under_load;
use super::rows_members::{refusal, says};
use super::rows_writes::at;
use crate::cluster::{self, Cluster};
use crate::gate::Gate;
use crate::load::Load;
use crate::stage::{Stage, claim, wait_until};

/// As long as the row says.
const HELD_BACK: Duration = Duration::from_secs(30);
const STILL: Duration = Duration::from_secs(10);
const WITHIN: Duration = Duration::from_secs(120);

/// Row 34, then row 48: both in a failover.
pub(super) fn services_and_passwords(stage: &Stage) -> Result<String> {
    let cluster = Cluster {
        namespace: "late",
        ..Cluster::default()
    };
    under_load(stage, &cluster, |load| {
        let services = services_late(stage, &cluster, load)?;
        let app = application_rotated(stage, &cluster, load)?;
        let internal = replication_changed(stage, &cluster, load)?;
        Ok(format!("{services}; {app}; {internal}"))
    })
}

fn slice(stage: &Stage, cluster: &Cluster<'_>) -> Result<Value> {
    let line = format!("endpointslice {}-primary -n {}", cluster.name, cluster.namespace);
    Ok(stage.get(&line)?["endpoints"].clone())
}

/// Killed, and another leads.
fn moved(stage: &Stage, cluster: &Cluster<'_>) -> Result<(String, String)> {
    let (before, epoch) = (cluster.primary(stage)?, cluster.epoch(stage)?);
    stage.kill(cluster.namespace, &before, "mysqld")?;
    cluster.wait(stage, "another leads", |object| {
        let primary = &object["status"]["primary"];
        primary["name"] != *before && primary["epoch"].as_u64() > Some(epoch)
    })?;
    Ok((before, cluster.primary(stage)?))
}

/// Another is primary, and the Service leads to who was: its clients are refused, and nobody is told ok.
fn services_late(stage: &Stage, cluster: &Cluster<'_>, load: &Load<'_>) -> Result<String> {
    let held = Gate::of_endpoints(stage, cluster.namespace, cluster.name)?;
    let leads = slice(stage, cluster)?;
    let (before, after) = moved(stage, cluster)?;
    load.stands_still(HELD_BACK)?;
    claim(slice(stage, cluster)? == leads, "the Service is as it was")?;
    let state = cluster.get(stage)?["status"]["state"].to_string();
    let direct = at(stage, cluster, &after)?;
    let made = "CREATE TABLE direct (id INT PRIMARY KEY); INSERT INTO direct VALUES (1)";
    cluster::query(stage, &direct, made).with_context(|| format!("{after} is open, whoever is led there"))?;
    let refused = cluster.query(stage, "primary", "INSERT INTO direct VALUES (2)");
    let refused = refused.err().context("the old primary took a write")?;
    held.open()?;
    let took = load.acknowledges(100)?;
    cluster.wait_healthy(stage)?;
    Ok(format!(
        "the Service held back for {} s: {after} open ({state}), whoever came to {before} was refused: {}; 100 writes \
         {:.1} s after",
        HELD_BACK.as_secs(),
        refusal(&refused),
        took.as_secs_f64()
    ))
}

/// Puts another password into a Secret; gives what was there, as it was there.
fn change(stage: &Stage, cluster: &Cluster<'_>, secret: &str, key: &str, to: &str) -> Result<String> {
    let name = format!("{}-{secret}", cluster.name);
    let object = stage.get(&format!("secret {name} -n {}", cluster.namespace))?;
    let was = object["data"][key]
        .as_str()
        .context("the Secret has no such key")?;
    let patch = json!({"data": {key: to}});
    let line = format!(
        "patch secret {name} -n {} --type=merge --patch-file=/dev/stdin",
        cluster.namespace
    );
    stage.k(&line).input(&patch.to_string())?;
    Ok(was.to_owned())
}

/// The application's password changes as the primary dies: the new one becomes good, the old one stays so.
fn application_rotated(stage: &Stage, cluster: &Cluster<'_>, load: &Load<'_>) -> Result<String> {
    let old = cluster.login(stage, "primary")?;
    // "second-of-a-story"
    change(stage, cluster, "app", "password", "c2Vjb25kLW9mLWEtc3Rvcnk=")?;
    let (before, after) = moved(stage, cluster)?;
    load.acknowledges(100)?;
    let took = wait_until("the new password is good", WITHIN, || {
        cluster.query(stage, "primary", "SELECT 1").map(|_| true)
    })?;
    cluster.wait_healthy(stage)?;
    cluster::query(stage, &old, "SELECT 1").context("the old one is good, too")?;
    Ok(format!(
        "the application's password changed as {before} died: {after} leads, everybody follows, the new one good \
         {:.0} s later beside the old one",
        took.as_secs_f64()
    ))
}

/// What the replicas' file says, without saying it.
fn print_of(stage: &Stage, cluster: &Cluster<'_>, member: &str) -> Result<String> {
    cluster.inside(stage, member, &["sha256sum", "/holdfast/passwords/replication"])
}

/// A password of the operator's own accounts is not rotated: changed by hand it keeps everybody from following.
fn replication_changed(stage: &Stage, cluster: &Cluster<'_>, load: &Load<'_>) -> Result<String> {
    let members: Vec<String> = cluster.members().collect();
    let prints = || -> Result<Vec<String>> {
        members
            .iter()
            .map(|member| print_of(stage, cluster, member))
            .collect()
    };
    let first = prints()?;
    // "nobody-knows-it"
    let was = change(stage, cluster, "internal", "replication", "bm9ib2R5LWtub3dzLWl0")?;
    wait_until("it has come to all Pods", WITHIN, || {
        Ok(prints()?.iter().zip(&first).all(|(now, before)| now != before))
    })?;
    let before = cluster.primary(stage)?;
    stage.kill(cluster.namespace, &before, "mysqld")?;
    let words = ["AwaitingReplicas", "Access denied"];
    cluster.wait(stage, "status says that replicas are denied", |object| {
        says(object, &words)
    })?;
    load.stands_still(STILL)?;
    let after = cluster.primary(stage)?;
    change(stage, cluster, "internal", "replication", &was)?;
    let took = load.acknowledges(100)?;
    cluster.wait_healthy(stage)?;
    Ok(format!(
        "another replication password by hand as {before} died: {after} chosen and closed, AwaitingReplicas, Access \
         denied; put back: 100 writes {:.0} s later",
        took.as_secs_f64()
    ))
}
