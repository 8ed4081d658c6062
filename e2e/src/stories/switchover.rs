//! Stories of a Switchover: rehearsed, done, refused with words, and as the word that a failover waits for.
//! Must not look at anything but what a person would: the object, its cluster, and the writes.

use std::time::Duration;

use anyhow::{Context, Result};
use ground::faults::Fault;
use serde_json::Value;

use crate::cluster::{Cluster, condition};
use crate::load::{self, Load};
use crate::operator;
use crate::stage::{Stage, claim, wait_until};

const WORDS_WITHIN: Duration = Duration::from_secs(30);

/// One that was asked for.
pub(super) struct Asked<'a> {
    stage: &'a Stage,
    namespace: &'a str,
    name: String,
}

impl<'a> Asked<'a> {
    pub(super) fn create(stage: &'a Stage, cluster: &'a Cluster<'_>, name: &str, spec: &str) -> Result<Self> {
        let namespace = cluster.namespace;
        let asked = Self {
            stage,
            namespace,
            name: name.to_owned(),
        };
        cluster.ask_switchover(stage, name, spec)?;
        Ok(asked)
    }

    fn get(&self) -> Result<Value> {
        self.stage
            .get(&format!("switchover {} -n {}", self.name, self.namespace))
    }

    /// Waits as a pipeline would; what it says then.
    pub(super) fn wait(&self, condition: &str) -> Result<Value> {
        let line = format!(
            "wait --for=condition={condition} switchover/{} -n {} --timeout=60s",
            self.name, self.namespace
        );
        let waited = self.stage.k(&line).run();
        let object = self.get()?;
        waited.with_context(|| object["status"].to_string())?;
        Ok(object)
    }

    /// What it waits for, in words that name this member.
    pub(super) fn wait_words(&self, member: &str) -> Result<String> {
        let mut said = String::new();
        wait_until("it says what it waits for", WORDS_WITHIN, || {
            said = words(&self.get()?).1;
            Ok(said.contains(member))
        })
        .with_context(|| format!("it says: {said}"))?;
        Ok(said)
    }
}

/// The role goes to this member, if it does not have it.
pub(super) fn led_by(stage: &Stage, cluster: &Cluster<'_>, member: &str) -> Result<u64> {
    let name = format!("to-{member}-{}", cluster.epoch(stage)?);
    let spec = format!(", target: {member}, budgetSeconds: 30");
    Asked::create(stage, cluster, &name, &spec)?.wait("Ready")?;
    claim(cluster.primary(stage)? == member, format!("{member} leads"))?;
    cluster.epoch(stage)
}

/// Its reason and what it says.
fn words(object: &Value) -> (String, String) {
    let ready = condition(object, "Ready").cloned().unwrap_or_default();
    let text = |key: &str| ready[key].as_str().unwrap_or_default().to_owned();
    (text("reason"), text("message"))
}

/// By dry run, by name, by choice, two at once; and nothing acknowledged is missing.
pub(super) fn asked(stage: &Stage) -> Result<String> {
    operator::installed(stage)?;
    let cluster = Cluster {
        namespace: "asked",
        ..Cluster::default()
    };
    cluster.healthy(stage)?;
    let load = Load::start(stage, &cluster)?;
    let (from, epoch) = (cluster.primary(stage)?, cluster.epoch(stage)?);
    let target = cluster.replica(stage)?;
    let rehearsed = Asked::create(
        stage,
        &cluster,
        "rehearsal",
        &format!(", target: {target}, dryRun: true"),
    )?
    .wait("Ready")?;
    let steps = rehearsed["status"]["plan"].as_array().map_or(0, Vec::len);
    claim(
        words(&rehearsed).0 == "DryRun" && rehearsed["status"]["to"] == *target && steps > 3,
        format!("a dry run says what would be done: {}", rehearsed["status"]),
    )?;
    claim(cluster.epoch(stage)? == epoch, "and changes nothing")?;
    let done = Asked::create(stage, &cluster, "by-name", &format!(", target: {target}"))?.wait("Ready")?;
    claim(
        cluster.primary(stage)? == target && done["status"]["from"] == *from,
        format!("the role went from {from} to {target}: {}", done["status"]),
    )?;
    let took_ms = done["status"]["durationMs"]
        .as_u64()
        .context("it says how long it took")?;
    let both = [
        Asked::create(stage, &cluster, "first", "")?,
        Asked::create(stage, &cluster, "second", "")?,
    ];
    for asked in &both {
        asked.wait("Ready")?;
    }
    claim(
        cluster.epoch(stage)? == epoch + 3,
        format!(
            "two at once are done one after the other: {}",
            cluster.told(stage)
        ),
    )?;
    load.goes_on()?;
    cluster.wait_healthy(stage)?;
    let told = load::clean(&load.judge()?)?;
    let refused = refusals(stage, &cluster)?;
    cluster.remove(stage)?;
    Ok(format!(
        "by name in {took_ms} ms, then two more; {refused} refused with words; {told}"
    ))
}

/// What cannot be done fails with what to change, and nothing happens.
fn refusals(stage: &Stage, cluster: &Cluster<'_>) -> Result<usize> {
    let epoch = cluster.epoch(stage)?;
    let cases = [
        (
            "stranger",
            ", target: orders-7, deadlineSeconds: 3",
            "orders-7 is no member",
        ),
        (
            "forced",
            ", force: true, deadlineSeconds: 3",
            "force is for a failover",
        ),
        (
            "forced-dry",
            ", force: true, dryRun: true",
            "nothing holds a failover back",
        ),
    ];
    for (name, spec, wanted) in cases {
        let object = Asked::create(stage, cluster, name, spec)?.wait("Stalled")?;
        let (_, message) = words(&object);
        claim(
            object["status"]["state"] == "Failed" && message.contains(wanted),
            format!("{name} is refused with {wanted:?}: {}", object["status"]),
        )?;
    }
    let nowhere = Cluster {
        name: "nowhere",
        ..cluster.clone()
    };
    let lost = Asked::create(stage, &nowhere, "lost", "")?.wait("Stalled")?;
    claim(
        words(&lost).0 == "ClusterNotFound",
        format!("a cluster that is not there is named: {}", lost["status"]),
    )?;
    claim(cluster.epoch(stage)? == epoch, "nothing of it was done")?;
    Ok(cases.len() + 1)
}

/// With a manual policy a lost primary waits for somebody's word, and that is a Switchover with force.
pub(super) fn held_back(stage: &Stage) -> Result<String> {
    operator::installed(stage)?;
    let cluster = Cluster {
        namespace: "held-back",
        more: "  failover: {policy: Manual}\n",
        ..Cluster::default()
    };
    cluster.healthy(stage)?;
    let load = Load::start(stage, &cluster)?;
    let (from, epoch) = (cluster.primary(stage)?, cluster.epoch(stage)?);
    let unit = cluster.node(stage, &from)?;
    let fault = Fault::UnitDown { unit: unit.clone() }.inject(stage.ground()?)?;
    cluster.wait(
        stage,
        "status says that a failover waits for a person",
        |object| {
            let stalled = condition(object, "Stalled");
            stalled.is_some_and(|stalled| {
                let message = stalled["message"].as_str().unwrap_or_default();
                stalled["reason"] == "AwaitingApproval" && message.contains("force: true")
            })
        },
    )?;
    claim(cluster.epoch(stage)? == epoch, "nobody took over unasked")?;
    let dry = Asked::create(stage, &cluster, "rehearsal", ", force: true, dryRun: true")?.wait("Ready")?;
    claim(
        words(&dry).0 == "DryRun",
        format!("it could be done: {}", dry["status"]),
    )?;
    let done = Asked::create(stage, &cluster, "approval", ", force: true")?.wait("Ready")?;
    let to = cluster.primary(stage)?;
    claim(
        to != from && done["status"]["to"] == *to,
        format!("another took over when it was asked for: {}", done["status"]),
    )?;
    load.goes_on()?;
    fault.heal()?;
    cluster.wait_healthy(stage)?;
    let told = load::clean(&load.judge()?)?;
    cluster.remove(stage)?;
    Ok(format!(
        "power cut of {unit}; {to} took over from {from} when it was asked for, not before; {told}"
    ))
}
