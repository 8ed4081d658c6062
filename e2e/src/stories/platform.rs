//! Stories of the platform itself: nodes, servers, Services, DNS, images.
//! Must not inject faults.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::fixtures::Servers;
use crate::stage::{Stage, claim, wait_until};

/// Three servers that several stories share; each leaves them as it found them.
pub(super) const TRIO: Servers<'static> = Servers {
    namespace: "trio",
    replicas: 3,
    options: &[],
    class: None,
    size: "1Gi",
};

pub(super) fn nodes_ready(stage: &Stage) -> Result<String> {
    let nodes = stage.get("nodes")?;
    let nodes = nodes["items"].as_array().context("no list of nodes")?.clone();
    claim(nodes.len() >= 3, format!("three nodes or more: {}", nodes.len()))?;
    let mut versions = Vec::new();
    for node in &nodes {
        let name = node["metadata"]["name"].as_str().unwrap_or_default();
        let conditions = node["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let ready = conditions
            .iter()
            .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
        claim(ready, format!("{name} is Ready"))?;
        versions.push(
            node["status"]["nodeInfo"]["kubeletVersion"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        );
    }
    versions.dedup();
    if stage.has_nodes() {
        claim(
            versions.len() == 1 && versions[0].starts_with("v1.36."),
            format!("v1.36: {versions:?}"),
        )?;
    }
    Ok(format!("{} nodes, {}", nodes.len(), versions.join(", ")))
}

pub(super) fn three_servers(stage: &Stage) -> Result<String> {
    let took = TRIO.ready(stage)?;
    let mut nodes = Vec::new();
    for index in 0..TRIO.replicas {
        nodes.push(TRIO.place(stage, index)?.0);
    }
    nodes.sort();
    nodes.dedup();
    claim(nodes.len() == 3, format!("one server a node: {nodes:?}"))?;
    // The namespace really enforces: a pod that asks for root is refused.
    let refused = stage
        .kubectl([
            "run",
            "rooted",
            "-n",
            TRIO.namespace,
            "--image=x",
            "--dry-run=server",
        ])
        .output();
    let said = refused
        .err()
        .context("a pod without a security context was let in")?
        .to_string();
    claim(
        said.contains("restricted"),
        format!("the refusal names the policy: {said}"),
    )?;
    Ok(format!(
        "3/3 Ready {:.1} s after apply, on {}",
        took.as_secs_f64(),
        nodes.join(", ")
    ))
}

pub(super) fn service_and_dns(stage: &Stage) -> Result<String> {
    TRIO.ready(stage)?;
    let namespace = TRIO.namespace;
    let service = TRIO.service(stage)?.ip();
    for index in 0..TRIO.replicas {
        let (from, to) = (TRIO.pod(index), TRIO.pod((index + 1) % TRIO.replicas));
        let resolved = stage
            .exec(
                namespace,
                &from,
                &format!("getent hosts db.{namespace}.svc.cluster.local"),
            )
            .output()?;
        claim(
            resolved.starts_with(&service.to_string()),
            format!("{from} resolves the Service: {resolved}"),
        )?;
        let peer = TRIO.place(stage, (index + 1) % TRIO.replicas)?.1.ip();
        wait_until(&format!("{from} resolves {to}"), Duration::from_secs(15), || {
            let line = format!("getent hosts {to}.members.{namespace}.svc.cluster.local");
            Ok(stage
                .exec(namespace, &from, &line)
                .output()?
                .starts_with(&peer.to_string()))
        })?;
        let unknown = stage
            .exec(namespace, &from, "getent hosts no-such-name.example")
            .ok();
        claim(!unknown, "a name outside is answered with a quick no")?;
    }
    let mut seen = std::collections::BTreeSet::new();
    let line = format!(
        "MYSQL_PWD={} mysql -N -h db -u checker -e 'SELECT @@hostname'",
        crate::fixtures::PASSWORD
    );
    wait_until(
        "the Service reaches all three servers",
        Duration::from_secs(60),
        || {
            seen.insert(stage.exec(namespace, "db-0", &line).output()?.trim().to_owned());
            Ok(seen.len() == 3)
        },
    )?;
    Ok(format!(
        "Service {service} reaches {seen:?}; every pod resolves Service and peers"
    ))
}

pub(super) fn operator_image(stage: &Stage) -> Result<String> {
    stage.namespace("operator-image")?;
    stage.apply(&format!(
        r#"
apiVersion: v1
kind: Pod
metadata: {{name: holdfast, namespace: operator-image}}
spec:
  restartPolicy: Never
  securityContext: {{runAsNonRoot: true, seccompProfile: {{type: RuntimeDefault}}}}
  containers:
  - name: main
    image: {}
    args: [version]
    securityContext: {{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {{drop: [ALL]}}}}
"#,
        stage.images.operator
    ))?;
    wait_until(
        "the operator's pod has succeeded",
        Duration::from_secs(60),
        || Ok(stage.get("pod holdfast -n operator-image")?["status"]["phase"] == "Succeeded"),
    )?;
    let said = stage.k("logs holdfast -n operator-image").output()?;
    claim(
        said.contains(env!("CARGO_PKG_VERSION")),
        format!("it says its version: {said}"),
    )?;
    stage.delete_namespace("operator-image")?;
    Ok(format!("{} said {:?}", stage.images.operator, said.trim()))
}
