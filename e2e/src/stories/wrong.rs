//! Stories of what a person reads when something is wrong: the status must name the cause.
//! Must not read anything but the object and its Events.

use anyhow::Result;
use ground::faults::{Fault, pod};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::cluster::{Cluster, condition};
use crate::operator;
use crate::stage::{Stage, claim};

fn says(object: &Value, words: &[&str]) -> bool {
    let text = object["status"].to_string();
    words.iter().all(|word| text.contains(word))
}

/// What does not run says why: scheduler, image, volume; and it comes up when that is mended.
pub(super) fn pods_that_cannot_run(stage: &Stage) -> Result<String> {
    operator::installed(stage)?;
    let cases: [(&str, &str, &[&str]); 4] = [
        (
            "unschedulable",
            "  placement: {nodeSelector: {disk: fast}}\n",
            &["Pending", "node affinity"],
        ),
        (
            "no-image",
            "  image: holdfast.dev/no/such:1\n",
            &["Pending", "holdfast.dev/no/such:1"],
        ),
        ("no-class", "", &["Pending", "no-such-class"]),
        (
            "not-mysql",
            "  image: holdfast.dev/ground/checker:1\n",
            &["orders-0"],
        ),
    ];
    for (namespace, more, words) in cases {
        let cluster = Cluster {
            namespace,
            instances: 1,
            class: (namespace == "no-class").then_some("no-such-class"),
            more,
            ..Cluster::default()
        };
        cluster.create(stage)?;
        cluster.wait(stage, &format!("{namespace}: status holds {words:?}"), |object| {
            says(object, words)
        })?;
        let object = cluster.get(stage)?;
        let is_ready = condition(&object, "Ready").is_some_and(|ready| ready["status"] == "True");
        claim(!is_ready, "it is not Ready")?;
        cluster.remove(stage)?;
    }
    let mut mended = Cluster {
        namespace: "mended",
        instances: 1,
        more: "  placement: {nodeSelector: {disk: fast}}\n",
        ..Cluster::default()
    };
    mended.create(stage)?;
    mended.wait(stage, "Pending", |object| {
        says(object, &["Pending", "node affinity"])
    })?;
    mended.more = "";
    mended.apply(stage)?;
    mended.wait_healthy(stage)?;
    mended.remove(stage)?;
    Ok("scheduler, image, volume class and a wrong image named; mended by the spec".into())
}

/// A parameter that mysqld refuses at its first start: its own line is in the status.
pub(super) fn mysqld_refuses(stage: &Stage) -> Result<String> {
    operator::installed(stage)?;
    let mut cluster = Cluster {
        namespace: "refuses",
        instances: 1,
        more: "  mysql: {parameters: {no_such_parameter: '1'}}\n",
        ..Cluster::default()
    };
    cluster.create(stage)?;
    cluster.wait(stage, "mysqld's line", |object| {
        says(object, &["unknown variable 'no_such_parameter=1'"])
    })?;
    cluster.more = "";
    cluster.apply(stage)?;
    cluster.wait_healthy(stage)?;
    cluster.remove(stage)?;
    Ok("unknown variable 'no_such_parameter=1', cured by taking it out".into())
}

/// Both replicas gone: commits wait, the status says for whom, and who would cure it.
pub(super) fn replicas_gone(stage: &Stage) -> Result<String> {
    operator::installed(stage)?;
    let cluster = Cluster {
        namespace: "replicas-gone",
        ..Cluster::default()
    };
    cluster.healthy(stage)?;
    let ground = stage.ground()?;
    let primary = cluster.primary(stage)?;
    let mut faults = Vec::new();
    for n in 0..cluster.instances {
        let member = format!("{}-{n}", cluster.name);
        if member != primary {
            faults.push(Fault::pause(ground, cluster.namespace, &member, None)?.inject(ground)?);
        }
    }
    cluster.wait(stage, "it waits for replicas", |object| {
        says(object, &["AwaitingReplicas", "commits wait"])
    })?;
    for fault in faults {
        fault.heal()?;
    }
    cluster.wait_healthy(stage)?;
    cluster.remove(stage)?;
    Ok("AwaitingReplicas: commits wait; Healthy again when they are back".into())
}

/// Primary and a replica gone: too few to know what was acknowledged, and it says who is missing.
pub(super) fn quorum_lost(stage: &Stage) -> Result<String> {
    operator::installed(stage)?;
    let cluster = Cluster {
        namespace: "quorum-lost",
        ..Cluster::default()
    };
    cluster.healthy(stage)?;
    let ground = stage.ground()?;
    let gone = [cluster.primary(stage)?, cluster.replica(stage)?];
    let mut faults = Vec::new();
    for member in &gone {
        let found = pod::find(ground, cluster.namespace, member)?;
        pod::signal(ground, &found, Some("mysqld"), Signal::SIGSTOP)?;
        faults.push(Fault::pause(ground, cluster.namespace, member, None)?.inject(ground)?);
    }
    cluster.wait(stage, "Blocked, with names", |object| {
        says(
            object,
            &["Blocked", gone[0].as_str(), gone[1].as_str(), "missing"],
        )
    })?;
    for (fault, member) in faults.into_iter().zip(&gone) {
        fault.heal()?;
        let found = pod::find(ground, cluster.namespace, member)?;
        pod::signal(ground, &found, Some("mysqld"), Signal::SIGCONT)?;
    }
    cluster.wait_healthy(stage)?;
    cluster.remove(stage)?;
    Ok(format!(
        "Blocked without {} and {}, Healthy when they are back",
        gone[0], gone[1]
    ))
}
