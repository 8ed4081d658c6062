//! The operator on a stage: installed as a person would, found, killed.
//! Must not build it: the ground has its image.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result};
use ground::spec::checkout;
use jiff::Timestamp;
use serde_json::Value;

use crate::stage::{Stage, wait_until};

/// Where it runs.
pub const NAMESPACE: &str = "holdfast-system";
const READY_WITHIN: Duration = Duration::from_secs(120);

/// Installs it from the manifests, or finds that it is there, and waits until it leads.
pub fn installed(stage: &Stage) -> Result<()> {
    let root = checkout()?;
    for file in ["crds/yaml", "manifests/ground.yaml"] {
        let path = root.join(file).display().to_string();
        stage
            .k(&format!("apply --server-side --force-conflicts -f {path}"))
            .run()?;
    }
    stage
        .k("wait --for=condition=Established crd/mysqlclusters.mysql.holdfast.dev crd/switchovers.mysql.holdfast.dev --timeout=60s")
        .run()?;
    ready(stage)
}

/// Waits until a controller leads.
pub fn ready(stage: &Stage) -> Result<()> {
    wait_until("the operator is ready and leads", READY_WITHIN, || {
        let deployment = stage.get(&format!("deployment holdfast -n {NAMESPACE}"))?;
        let is_ready = deployment["status"]["readyReplicas"].as_u64() >= Some(1);
        Ok(is_ready && leader(stage)?.is_some())
    })
    .map(drop)
}

/// As many controllers as said: all of them ready and one leading, or not one process left.
pub fn scaled(stage: &Stage, replicas: u64) -> Result<()> {
    stage
        .k(&format!(
            "scale deployment holdfast -n {NAMESPACE} --replicas={replicas}"
        ))
        .run()?;
    wait_until(&format!("{replicas} controllers"), READY_WITHIN, || {
        if replicas == 0 {
            return Ok(listed(stage)?.is_empty());
        }
        let deployment = stage.get(&format!("deployment holdfast -n {NAMESPACE}"))?;
        Ok(deployment["status"]["readyReplicas"] == replicas && leader(stage)?.is_some())
    })
    .map(drop)
}

/// The Pod that holds the lease.
pub fn leader(stage: &Stage) -> Result<Option<String>> {
    let lease = stage.get(&format!("lease holdfast-controller -n {NAMESPACE}"))?;
    let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
    let pods = pods(stage)?;
    Ok(pods.into_iter().find(|pod| holder.starts_with(pod.as_str())))
}

/// The node that it leads from.
pub fn leads_on(stage: &Stage) -> Result<String> {
    let leader = leader(stage)?.context("nobody leads")?;
    node(stage, &leader)?.context("the leader has no node")
}

/// The node of a controller's Pod, if it has one.
pub fn node(stage: &Stage, pod: &str) -> Result<Option<String>> {
    let pod = stage.get(&format!("pod {pod} -n {NAMESPACE}"))?;
    Ok(pod["spec"]["nodeName"].as_str().map(str::to_owned))
}

/// Who holds the lease: another name for each process.
pub fn holder(stage: &Stage) -> Result<String> {
    let lease = stage.get(&format!("lease holdfast-controller -n {NAMESPACE}"))?;
    let holder = lease["spec"]["holderIdentity"].as_str();
    Ok(holder.unwrap_or_default().to_owned())
}

/// When the lease was renewed last, by the clock of its holder.
pub fn renewed(stage: &Stage) -> Result<Timestamp> {
    let lease = stage.get(&format!("lease holdfast-controller -n {NAMESPACE}"))?;
    let renewed = lease["spec"]["renewTime"].as_str();
    Ok(renewed.context("the lease was never renewed")?.parse()?)
}

/// Makes all controllers' Pods anew: a container that ended often is started again only after minutes.
pub fn anew(stage: &Stage) -> Result<()> {
    stage
        .k(&format!(
            "delete pods -n {NAMESPACE} -l app.kubernetes.io/name=holdfast --wait=true --timeout=60s"
        ))
        .run()?;
    on_two_nodes(stage).map(drop)
}

/// The nodes on which a controller runs: two, after this, so that one of them may go.
pub fn on_two_nodes(stage: &Stage) -> Result<BTreeSet<String>> {
    let mut nodes = BTreeSet::new();
    wait_until("controllers on two nodes", READY_WITHIN, || {
        ready(stage)?;
        nodes.clear();
        let pods = pods(stage)?;
        for pod in &pods {
            nodes.extend(node(stage, pod)?);
        }
        if let ([one, _, ..], 1) = (pods.as_slice(), nodes.len()) {
            stage
                .k(&format!("delete pod {one} -n {NAMESPACE} --wait=true"))
                .run()?;
        }
        Ok(nodes.len() >= 2)
    })?;
    Ok(nodes)
}

/// The controllers' Pods that are not ending.
pub fn pods(stage: &Stage) -> Result<Vec<String>> {
    let pods = listed(stage)?;
    let running = pods
        .iter()
        .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    Ok(running
        .filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned))
        .collect())
}

/// All Pods of controllers, the ending ones too.
fn listed(stage: &Stage) -> Result<Vec<Value>> {
    let list = stage.get(&format!("pods -n {NAMESPACE} -l app.kubernetes.io/name=holdfast"))?;
    list["items"].as_array().cloned().context("no list of pods")
}

/// What the controllers logged.
pub fn logs(stage: &Stage) -> Result<String> {
    let mut all = String::new();
    for pod in pods(stage)? {
        all.push_str(&stage.k(&format!("logs -n {NAMESPACE} {pod}")).output()?);
    }
    Ok(all)
}
