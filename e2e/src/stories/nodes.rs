//! Stories of processes: nodes without power, the API server away, processes killed and frozen.
//! Must not touch networks or disks.

use std::time::Duration;

use anyhow::{Context, Result};
use ground::faults::{self, Fault, pod};
use ground::probe::Place;
use ground::shell::cmd;
use ground::spec::Unit;
use nix::sys::signal::Signal;

use super::network::{greets, wait_node};
use super::platform::TRIO;
use crate::stage::{Stage, claim, wait_until};

const SOON: Duration = Duration::from_secs(2);

pub(super) fn power_cut(stage: &Stage) -> Result<String> {
    TRIO.ready(stage)?;
    let ground = stage.ground()?;
    let client = Place::unit(ground, Unit::Client);
    let (node, address) = TRIO.place(stage, 2)?;
    let unit = Unit::parse(&node)?;
    let name = TRIO.pod(2);
    stage
        .exec(TRIO.namespace, &name, "echo kept >/data/mark && sync /data/mark")
        .run()?;
    let fault = Fault::UnitDown { unit: unit.name() }.inject(ground)?;
    claim(
        pod::find(ground, TRIO.namespace, &name).is_err(),
        "none of its processes runs",
    )?;
    claim(!client.is_greeted(address, SOON)?, "its server does not answer")?;
    fault.heal()?;
    let back = wait_until("the pod's server runs again", Duration::from_secs(90), || {
        Ok(stage
            .exec(TRIO.namespace, &name, "cat /data/mark")
            .output()?
            .trim()
            == "kept")
    })?;
    TRIO.wait_ready(stage)?;
    wait_node(stage, unit, true)?;
    Ok(format!(
        "{node}: no process left; {:.1} s after its start its pod runs with the file on its volume",
        back.as_secs_f64()
    ))
}

pub(super) fn api_down(stage: &Stage) -> Result<String> {
    TRIO.ready(stage)?;
    let ground = stage.ground()?;
    let client = Place::unit(ground, Unit::Client);
    let service = TRIO.service(stage)?;
    greets(&client, service, "the Service reaches a server before")?;
    let fault = Fault::api_down().inject(ground)?;
    claim(
        !stage.k("get --raw /readyz --request-timeout=2s").ok(),
        "the API server does not answer",
    )?;
    greets(&client, service, "the Service still reaches a server")?;
    // Faults are needed most while it is away.
    let found = pod::find(ground, TRIO.namespace, &TRIO.pod(0))?;
    claim(
        !pod::processes(ground, &found, Some("mysqld"))?.is_empty(),
        "pods are found without it",
    )?;
    fault.heal()?;
    let back = wait_until("the API server is ready", Duration::from_secs(60), || {
        Ok(stage.k("get --raw /readyz --request-timeout=2s").ok())
    })?;
    for unit in ground.spec().node_units() {
        wait_node(stage, unit, true)?;
    }
    Ok(format!(
        "Services go on without it; ready {:.1} s after its start",
        back.as_secs_f64()
    ))
}

pub(super) fn killed(stage: &Stage) -> Result<String> {
    TRIO.ready(stage)?;
    let ground = stage.ground()?;
    let before = TRIO.restarts(stage, 0)?;
    let found = pod::find(ground, TRIO.namespace, &TRIO.pod(0))?;
    let pids = pod::processes(ground, &found, Some("mysqld"))?;
    pod::signal(ground, &found, Some("mysqld"), Signal::SIGKILL)?;
    let seen = wait_until("the container has started again", Duration::from_secs(60), || {
        Ok(TRIO.restarts(stage, 0)? > before)
    })?;
    TRIO.wait_ready(stage)?;
    let after = pod::processes(ground, &found, Some("mysqld"))?;
    claim(
        after.len() == 1 && after != pids,
        format!("another process runs: {pids:?}, {after:?}"),
    )?;
    Ok(format!(
        "restart counted {:.1} s after SIGKILL",
        seen.as_secs_f64()
    ))
}

pub(super) fn paused(stage: &Stage) -> Result<String> {
    TRIO.ready(stage)?;
    let ground = stage.ground()?;
    let client = Place::unit(ground, Unit::Client);
    let (_, address) = TRIO.place(stage, 1)?;
    let restarts = TRIO.restarts(stage, 1)?;
    let fault = Fault::pause(ground, TRIO.namespace, &TRIO.pod(1), Some("mysqld"))?.inject(ground)?;
    claim(!client.is_greeted(address, SOON)?, "the server greets nobody")?;
    claim(
        client.connects(address, SOON)?,
        "though the kernel still takes connections",
    )?;
    fault.heal()?;
    wait_until("the server greets again", SOON * 5, || {
        client.is_greeted(address, SOON)
    })?;
    TRIO.wait_ready(stage)?;
    claim(
        TRIO.restarts(stage, 1)? == restarts,
        "it is the same process as before",
    )?;
    Ok("stopped: connects, no greeting; continued: greets, never restarted".to_owned())
}

pub(super) fn faults_outlive_their_maker(stage: &Stage) -> Result<String> {
    TRIO.ready(stage)?;
    let ground = stage.ground()?;
    let program = ground.paths.program("ground");
    let name = &ground.spec().name;
    let run = |args: &[&str]| cmd(&program, ["--name", name]).args(args).output();
    run(&["fault", "cut", "node1", "--from", "node2"])?;
    run(&[
        "fault",
        "pause",
        "-n",
        TRIO.namespace,
        &TRIO.pod(0),
        "--process",
        "mysqld",
    ])?;
    run(&["fault", "disk-frozen", "-n", TRIO.namespace, &TRIO.pod(1)])?;
    // The process that made them is gone: only the record knows them.
    let listed = run(&["faults"])?;
    claim(
        listed.lines().count() == 3,
        format!("three faults are on record: {listed}"),
    )?;
    let twice = run(&["fault", "cut", "node1", "--from", "node2"])
        .err()
        .context("the same fault was made twice")?;
    claim(
        twice.to_string().contains("heal"),
        format!("the refusal says how to end it: {twice:#}"),
    )?;
    run(&["heal", "--all"])?;
    claim(faults::active(ground)?.is_empty(), "none is on record")?;
    let client = Place::unit(ground, Unit::Client);
    for index in 0..TRIO.replicas {
        let (_, address) = TRIO.place(stage, index)?;
        wait_until("every server greets", SOON * 5, || {
            client.is_greeted(address, SOON)
        })?;
    }
    Ok("3 faults of ended processes listed, then healed at once".to_owned())
}
