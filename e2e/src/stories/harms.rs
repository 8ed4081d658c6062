//! Stories of what befalls a primary under load: another takes over, and nothing acknowledged is missing.
//! Must not heal before the writes have gone on.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ground::faults::{Injected, pod};

use super::endurance::under_load;
use super::switchover::led_by;
use crate::cluster::Cluster;
use crate::harm::Harm;
use crate::operator;
use crate::stage::{Stage, claim, wait_until};

const MOVED_WITHIN: Duration = Duration::from_secs(60);
const CLOSED_WITHIN: Duration = Duration::from_secs(60);

/// Its writes hang, though mysqld answers.
pub(super) fn volume_hung(stage: &Stage) -> Result<String> {
    befallen(stage, "hung", Harm::Hung)
}

/// Its mysqld answers nobody, and runs.
pub(super) fn frozen(stage: &Stage) -> Result<String> {
    befallen(stage, "frozen", Harm::Frozen)
}

/// Nobody can take over: after a minute without an answer its agent ends it, and it is started again.
pub(super) fn frozen_alone(stage: &Stage) -> Result<String> {
    let cluster = Cluster {
        namespace: "frozen-alone",
        instances: 1,
        ..Cluster::default()
    };
    under_load(stage, &cluster, |load| {
        let begun = Instant::now();
        // It is never thawed: the signal ends with the process.
        let fault = Harm::Frozen.befall(stage, &cluster)?;
        cluster.wait(stage, "a server that does not answer is told of", |object| {
            object["status"]["state"] == "PrimaryUnavailable"
        })?;
        load.acknowledges(100)?;
        let ended = begun.elapsed().as_secs();
        drop(fault);
        Ok(format!("writes go on {ended} s after it was frozen for good"))
    })
}

/// It dies while its replicas have a part of one large transaction.
pub(super) fn killed_while_sending(stage: &Stage) -> Result<String> {
    befallen(stage, "sending", Harm::Sending)
}

fn befallen(stage: &Stage, namespace: &str, harm: Harm) -> Result<String> {
    let cluster = Cluster {
        namespace,
        size: "4Gi",
        more: harm.needs(),
        ..Cluster::default()
    };
    under_load(stage, &cluster, |load| {
        let (epoch, before) = (cluster.epoch(stage)?, cluster.primary(stage)?);
        let fault = harm.befall(stage, &cluster)?;
        wait_until(
            "another epoch",
            MOVED_WITHIN,
            || Ok(cluster.epoch(stage)? > epoch),
        )
        .with_context(|| cluster.told(stage))?;
        load.goes_on()?;
        let after = cluster.primary(stage)?;
        claim(before != after, format!("another leads than {before}"))?;
        fault.map_or(Ok(()), Injected::heal)?;
        Ok(format!("{}: {before}, then {after}", harm.what()))
    })
}

/// Nobody reaches it but who is on its node, where the operator leads from: it closes itself, so that nobody reads
/// there what is old.
pub(super) fn cut_off(stage: &Stage) -> Result<String> {
    let cluster = Cluster {
        namespace: "cut-off",
        ..Cluster::default()
    };
    under_load(stage, &cluster, |load| {
        let ground = stage.ground()?;
        let before = beside_leader(stage, &cluster)?;
        led_by(stage, &cluster, &before)?;
        load.goes_on()?;
        let found = pod::find(ground, cluster.namespace, &before)?;
        let mysqld = || pod::processes(ground, &found, Some("mysqld"));
        let old = mysqld()?;
        let begun = Instant::now();
        let fault = Harm::Cut.befall(stage, &cluster)?.context("a cut is a fault")?;
        load.goes_on()?;
        let after = cluster.primary(stage)?;
        claim(before != after, format!("another leads than {before}"))?;
        wait_until("the one that is cut off ends its mysqld", CLOSED_WITHIN, || {
            Ok(mysqld()?.iter().all(|pid| !old.contains(pid)))
        })?;
        let closed = begun.elapsed().as_secs();
        fault.heal()?;
        Ok(format!(
            "{after} took over from {before}, which closed itself {closed} s after it was cut off"
        ))
    })
}

/// The member on the node of the operator that leads; another one is on another node.
pub(super) fn beside_leader(stage: &Stage, cluster: &Cluster<'_>) -> Result<String> {
    operator::on_two_nodes(stage)?;
    let node = operator::leads_on(stage)?;
    let mut members = cluster.members();
    members
        .find(|member| cluster.node(stage, member).is_ok_and(|found| found == node))
        .with_context(|| format!("no member is on {node}, where the operator leads"))
}
