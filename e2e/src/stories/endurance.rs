//! Stories of a cluster under load while something breaks: nothing acknowledged may be missing.
//! Must not inject what the ground cannot undo.

use std::time::{Duration, Instant};

use anyhow::Result;
use ground::faults::Fault;

use super::birth::kill_controllers;
use super::rows_writes::at;
use crate::cluster::{Cluster, condition, is_said, member_of};
use crate::load::{self, Load};
use crate::operator;
use crate::stage::{Stage, claim, wait_until};

/// Five servers on one machine start slowly.
const FIVE_WITHIN: Duration = Duration::from_secs(400);
/// Longer than it takes to be too far behind for reads, and to be told of.
const LOCKED_SECONDS: u32 = 60;
/// Longer than any lease of nodes and of operators.
const OUTAGE: Duration = Duration::from_secs(60);
const WITHIN: Duration = Duration::from_secs(300);

/// A Healthy cluster under load; what happens to it; the judgement.
pub(super) fn under_load(
    stage: &Stage,
    cluster: &Cluster<'_>,
    harm: impl FnOnce(&Load<'_>) -> Result<String>,
) -> Result<String> {
    operator::installed(stage)?;
    cluster.healthy(stage)?;
    let load = Load::start(stage, cluster)?;
    let what = harm(&load)?;
    load.goes_on()?;
    cluster.wait_healthy(stage)?;
    let verdict = load.judge()?;
    let told = load::clean(&verdict)?;
    cluster.remove(stage)?;
    Ok(format!("{what}; {told}"))
}

/// A process of the primary or of a replica is killed, three times each.
fn killed(stage: &Stage, namespace: &str, process: &str) -> Result<String> {
    let cluster = Cluster {
        namespace,
        ..Cluster::default()
    };
    under_load(stage, &cluster, |load| {
        let before = cluster.epoch(stage)?;
        for round in 0..4 {
            let member = match round % 2 {
                0 => cluster.primary(stage)?,
                _ => cluster.replica(stage)?,
            };
            stage.kill(namespace, &member, process)?;
            load.goes_on()?;
            cluster.wait_healthy(stage)?;
        }
        Ok(format!("epoch {before} to {}", cluster.epoch(stage)?))
    })
}

pub(super) fn mysqld_killed(stage: &Stage) -> Result<String> {
    killed(stage, "killed-mysqld", "mysqld")
}

pub(super) fn agent_killed(stage: &Stage) -> Result<String> {
    killed(stage, "killed-agent", "holdfast")
}

pub(super) fn pods_deleted(stage: &Stage) -> Result<String> {
    let cluster = Cluster {
        namespace: "deleted-pods",
        ..Cluster::default()
    };
    under_load(stage, &cluster, |load| {
        for member in [cluster.replica(stage)?, cluster.primary(stage)?] {
            stage
                .k(&format!("delete pod {member} -n {}", cluster.namespace))
                .run()?;
            load.goes_on()?;
            cluster.wait_healthy(stage)?;
        }
        Ok("a replica's Pod and the primary's deleted".into())
    })
}

pub(super) fn node_lost(stage: &Stage) -> Result<String> {
    let cluster = Cluster {
        namespace: "lost-node",
        ..Cluster::default()
    };
    under_load(stage, &cluster, |load| {
        let ground = stage.ground()?;
        let node = cluster.node(stage, &cluster.primary(stage)?)?;
        let fault = Fault::UnitDown { unit: node.clone() }.inject(ground)?;
        load.goes_on()?;
        fault.heal()?;
        Ok(format!("power cut of {node}, where the primary was"))
    })
}

pub(super) fn api_down(stage: &Stage) -> Result<String> {
    let cluster = Cluster {
        namespace: "api-down",
        ..Cluster::default()
    };
    under_load(stage, &cluster, |load| {
        let ground = stage.ground()?;
        let fault = Fault::api_down().inject(ground)?;
        let (before, begun) = (load.lines()?, Instant::now());
        wait_until("a minute of writes without an API server", WITHIN, || {
            Ok(begun.elapsed() > OUTAGE && load.lines()? > before + 1_000)
        })?;
        load.goes_on()?;
        fault.heal()?;
        operator::ready(stage)?;
        Ok("the API server away, writes went on".into())
    })
}

pub(super) fn scaled(stage: &Stage) -> Result<String> {
    let mut cluster = Cluster {
        namespace: "scaled",
        instances: 1,
        memory: "640Mi",
        ..Cluster::default()
    };
    operator::installed(stage)?;
    cluster.healthy(stage)?;
    let copy = cluster.clone();
    // One member alone writes faster than replicas, who sync every event, can follow.
    let load = Load::at_most(stage, &copy, Some(40))?;
    let mut told = Vec::new();
    for instances in [3, 1, 3] {
        cluster.instances = instances;
        cluster.apply(stage)?;
        let took = cluster.wait_healthy(stage)?;
        told.push(format!("{instances} in {:.0} s", took.as_secs_f64()));
        load.goes_on()?;
    }
    let verdict = load.judge()?;
    told.push(load::clean(&verdict)?);
    let pods = stage.get(&format!("pods -n {}", cluster.namespace))?;
    let count = pods["items"].as_array().map_or(0, Vec::len);
    claim(count == 3, format!("{count} Pods are left"))?;
    cluster.remove(stage)?;
    Ok(told.join(", "))
}

/// Lines of the spec with which five members find nodes: on fewer than five nothing keeps them apart, as no node has
/// this label.
pub(super) fn five_somewhere(stage: &Stage) -> Result<&'static str> {
    Ok(match stage.ground()?.spec().node_units().count() < 5 {
        true => "  placement: {topologyKey: holdfast.dev/no-such-label}\n",
        false => "",
    })
}

/// Five members wait for two replicas: both counts change while clients write.
pub(super) fn scaled_to_five(stage: &Stage) -> Result<String> {
    let nodes = stage.ground()?.spec().node_units().count();
    let mut cluster = Cluster {
        namespace: "scaled-to-five",
        memory: "640Mi",
        more: five_somewhere(stage)?,
        ..Cluster::default()
    };
    operator::installed(stage)?;
    cluster.healthy(stage)?;
    let copy = cluster.clone();
    let load = Load::at_most(stage, &copy, Some(40))?;
    let mut told = Vec::new();
    for (instances, acknowledgements) in [(5, "2"), (3, "1")] {
        cluster.instances = instances;
        cluster.apply(stage)?;
        let took = cluster.wait_healthy_within(stage, FIVE_WITHIN)?;
        told.push(format!("{instances} in {:.0} s", took.as_secs_f64()));
        let count = "SELECT @@GLOBAL.rpl_semi_sync_source_wait_for_replica_count";
        let waits_for = cluster.query(stage, "primary", count)?;
        claim(
            waits_for == acknowledgements,
            format!("{instances} members wait for {acknowledgements} replicas: {waits_for}"),
        )?;
        load.goes_on()?;
    }
    let verdict = load.judge()?;
    told.push(load::clean(&verdict)?);
    // Not sooner than mysqld ends: in the middle of a transaction, that takes it a minute.
    wait_until("three Pods are left", Duration::from_secs(120), || {
        let pods = stage.get(&format!("pods -n {}", cluster.namespace))?;
        Ok(pods["items"].as_array().map(Vec::len) == Some(3))
    })?;
    cluster.remove(stage)?;
    Ok(format!("on {nodes} nodes: {}", told.join(", ")))
}

/// Somebody's lock on a replica holds up all that it applies: it is named, and serves no reads meanwhile.
pub(super) fn lagging(stage: &Stage) -> Result<String> {
    let cluster = Cluster {
        namespace: "lagging",
        ..Cluster::default()
    };
    operator::installed(stage)?;
    cluster.healthy(stage)?;
    cluster.query(stage, "primary", "CREATE TABLE held (id INT PRIMARY KEY)")?;
    let load = Load::at_most(stage, &cluster, Some(100))?;
    let replica = cluster.replica(stage)?;
    let login = at(stage, &cluster, &replica)?;
    let lock = format!("LOCK TABLES held READ; SELECT SLEEP({LOCKED_SECONDS})");
    let named = std::thread::scope(|scope| -> Result<Duration> {
        let held = scope.spawn(|| crate::cluster::query(stage, &login, &lock));
        wait_until("the lock is held", Duration::from_secs(10), || {
            let list = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE 'SELECT SLEEP%'";
            Ok(crate::cluster::query(stage, &login, list)? == "1")
        })?;
        cluster.query(stage, "primary", "INSERT INTO held VALUES (1)")?;
        let named = named_as_lagging(stage, &cluster, &replica)?;
        load.goes_on()?;
        let held = held.join().map(|answer| answer.is_ok());
        claim(held.is_ok_and(|is_ok| is_ok), "the lock was held to its end")?;
        Ok(named)
    })?;
    let caught_up = cluster.wait_healthy(stage)?;
    let told = load::clean(&load.judge()?)?;
    cluster.remove(stage)?;
    Ok(format!(
        "{replica} named after {:.0} s, level {:.0} s after the lock; {told}",
        named.as_secs_f64(),
        caught_up.as_secs_f64()
    ))
}

/// By its member, by the condition and by an Event, each with how far it lags.
fn named_as_lagging(stage: &Stage, cluster: &Cluster<'_>, replica: &str) -> Result<Duration> {
    let words = "s behind the primary, too far to serve reads";
    let took = cluster.wait(
        stage,
        &format!("{replica} is Lagging, and by how much"),
        |object| {
            let member = member_of(object, replica);
            let because = member["because"].as_str().unwrap_or_default();
            let is_said = member["state"] == "Lagging" && because.contains(words);
            let ready = condition(object, "Ready").map(|ready| ready["message"].to_string());
            let told = format!("{replica}: Lagging, it is more than 20 {words}");
            is_said && ready.is_some_and(|message| message.contains(&told))
        },
    )?;
    let object = cluster.get(stage)?;
    let is_open = is_said(&object, "PrimaryAvailable", "True");
    claim(is_open, format!("writes go on: {}", object["status"]))?;
    cluster.is_told(stage, "MemberTroubled", &[replica, words])?;
    let address = cluster.address(stage, replica)?;
    let slice = format!("endpointslice {}-replicas -n {}", cluster.name, cluster.namespace);
    wait_until(
        &format!("no reads are led to {address}"),
        Duration::from_secs(5),
        || {
            let endpoints = stage.get(&slice)?["endpoints"].to_string();
            Ok(!endpoints.contains(&format!("\"{address}\"")))
        },
    )?;
    Ok(took)
}

pub(super) fn controllers_killed_while_scaling(stage: &Stage) -> Result<String> {
    let mut cluster = Cluster {
        namespace: "scaled-roughly",
        instances: 1,
        ..Cluster::default()
    };
    operator::installed(stage)?;
    cluster.healthy(stage)?;
    let copy = cluster.clone();
    // One member alone writes faster than replicas, who sync every event, can follow.
    let load = Load::at_most(stage, &copy, Some(40))?;
    cluster.instances = 3;
    cluster.apply(stage)?;
    let mut kills = 0;
    let mut last = Instant::now();
    wait_until("three members in spite of it", Duration::from_secs(240), || {
        if kills < 6 && last.elapsed() > Duration::from_secs(5) {
            kills += kill_controllers(stage)?;
            last = Instant::now();
        }
        Ok(kills >= 6 && cluster.get(stage)?["status"]["state"] == "Healthy")
    })?;
    cluster.wait_healthy(stage)?;
    let told = load::clean(&load.judge()?)?;
    cluster.remove(stage)?;
    Ok(format!("{kills} kills; {told}"))
}

/// A replica's volume is removed: it is made anew and counted again.
pub(super) fn volume_lost(stage: &Stage) -> Result<String> {
    let cluster = Cluster {
        namespace: "lost-volume",
        ..Cluster::default()
    };
    under_load(stage, &cluster, |load| {
        let replica = cluster.replica(stage)?;
        let uid = |kind: &str| -> Result<String> {
            let object = stage.get(&format!("{kind} {replica} -n {}", cluster.namespace))?;
            Ok(object["metadata"]["uid"].to_string())
        };
        let before = uid("pvc")?;
        stage
            .k(&format!(
                "delete pvc,pod {replica} -n {} --wait=false",
                cluster.namespace
            ))
            .run()?;
        wait_until("another volume", Duration::from_secs(120), || {
            Ok(uid("pvc")? != before)
        })?;
        load.goes_on()?;
        cluster.wait_healthy(stage)?;
        Ok(format!("the volume of {replica} made anew"))
    })
}
