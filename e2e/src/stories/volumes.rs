//! Stories of volumes: a real size, growth in use, life beyond pod and node.
//! Must not inject faults of disks.

use std::time::Duration;

use anyhow::{Context, Result};
use ground::faults::{Disk, Fault};
use ground::spec::Unit;

use super::network::wait_node;
use crate::fixtures::Servers;
use crate::stage::{Stage, claim, wait_until};

const SERVER: Servers<'static> = Servers {
    namespace: "volumes",
    replicas: 1,
    options: &[],
    class: None,
    size: "500Mi",
};
const POD: &str = "db-0";
const WITHIN: Duration = Duration::from_secs(90);

fn sh(stage: &Stage, line: &str) -> Result<String> {
    stage.exec(SERVER.namespace, POD, line).output()
}

fn megabytes(stage: &Stage) -> Result<u64> {
    let text = sh(stage, "df --output=size -BM /data | tail -1")?;
    text.trim()
        .trim_end_matches('M')
        .parse()
        .context("failed to read what df printed")
}

/// Asks for more and waits until the server has it, without a restart; gives how long that took.
fn grow(stage: &Stage) -> Result<Duration> {
    let restarts = SERVER.restarts(stage, 0)?;
    let patch = r#"{"spec":{"resources":{"requests":{"storage":"900Mi"}}}}"#;
    stage
        .kubectl(["patch", "pvc", "data-db-0", "-n", SERVER.namespace, "-p", patch])
        .run()?;
    // The kubelet grows a volume when it next looks at the pod, some ninety seconds later at most; a change
    // of the pod makes it look.
    let mut looks = 0;
    let grown = wait_until("the file system has grown", WITHIN, || {
        looks += 1;
        let look = format!("looks={looks}");
        stage
            .kubectl([
                "annotate",
                "--overwrite",
                "pod",
                POD,
                "-n",
                SERVER.namespace,
                &look,
            ])
            .run()?;
        Ok(megabytes(stage)? > 700)
    })?;
    wait_until("the claim says so", WITHIN, || {
        let claim = stage.get(&format!("pvc data-db-0 -n {}", SERVER.namespace))?;
        Ok(claim["status"]["capacity"]["storage"] == "900Mi")
    })?;
    claim(SERVER.restarts(stage, 0)? == restarts, "it grew in use")?;
    Ok(grown)
}

pub(super) fn life(stage: &Stage) -> Result<String> {
    let ground = stage.ground()?;
    SERVER.ready(stage)?;
    let disk = Disk::of_pod(ground, SERVER.namespace, POD, None)?;
    let volume = stage.get(&format!("pv {}", disk.handle))?;
    let affinity = volume["spec"]["nodeAffinity"].to_string();
    claim(
        affinity.contains(&disk.unit),
        format!("the volume is bound to {}: {affinity}", disk.unit),
    )?;
    let size = megabytes(stage)?;
    claim(
        (400..=500).contains(&size),
        format!("500Mi asked, {size} MB there"),
    )?;
    let said = sh(stage, "head -c 600000000 /dev/zero >/data/big")
        .err()
        .context("600 MB fit in 500Mi")?;
    claim(
        format!("{said:#}").contains("No space left"),
        format!("the limit is real: {said:#}"),
    )?;
    sh(stage, "rm -f /data/big; echo kept >/data/mark && sync /data/mark")?;

    let grown = grow(stage)?;

    stage
        .k(&format!("delete pod {POD} -n {} --wait=true", SERVER.namespace))
        .run()?;
    let kept = || Ok(sh(stage, "cat /data/mark")?.trim() == "kept");
    wait_until("the next pod has the file", WITHIN, kept)?;
    let again = Disk::of_pod(ground, SERVER.namespace, POD, None)?;
    claim(
        (again.unit, again.handle) == (disk.unit.clone(), disk.handle.clone()),
        "the next pod is on the same node with the same volume",
    )?;

    let unit = Unit::parse(&disk.unit)?;
    Fault::UnitDown { unit: unit.name() }.inject(ground)?.heal()?;
    wait_node(stage, unit, true)?;
    wait_until("the file is there after the node's restart", WITHIN, kept)?;
    claim(megabytes(stage)? > 700, "and so is the size")?;
    SERVER.remove(stage)?;
    let file = disk.file(ground)?;
    wait_until("the volume's file is gone with the claim", WITHIN, || {
        Ok(!file.exists())
    })?;
    Ok(format!(
        "{size} MB of 500Mi, grown in use to 900Mi in {:.1} s, kept over pod and node",
        grown.as_secs_f64()
    ))
}

pub(super) fn missing_file(stage: &Stage) -> Result<String> {
    let ground = stage.ground()?;
    SERVER.ready(stage)?;
    let disk = Disk::of_pod(ground, SERVER.namespace, POD, None)?;
    let file = disk.file(ground)?;
    stage
        .k(&format!(
            "scale statefulset db -n {} --replicas=0",
            SERVER.namespace
        ))
        .run()?;
    stage
        .k(&format!(
            "wait pod {POD} -n {} --for=delete --timeout=90s",
            SERVER.namespace
        ))
        .run()?;
    let hidden = file.with_extension("hidden");
    std::fs::rename(&file, &hidden).context("failed to take the file away")?;
    stage
        .k(&format!(
            "scale statefulset db -n {} --replicas=1",
            SERVER.namespace
        ))
        .run()?;
    let mut said = String::new();
    wait_until("an event says what is missing", WITHIN, || {
        let line = format!(
            "get events -n {} --field-selector reason=FailedMount -o jsonpath={{.items[*].message}}",
            SERVER.namespace
        );
        said = stage.k(&line).output()?;
        Ok(said.contains(&disk.handle))
    })?;
    claim(!file.exists(), "no empty volume was made in its place")?;
    std::fs::rename(&hidden, &file).context("failed to bring the file back")?;
    // The kubelet tries again at growing intervals of up to two minutes.
    stage
        .k(&format!("delete pod {POD} -n {} --wait=true", SERVER.namespace))
        .run()?;
    SERVER.wait_ready(stage)?;
    SERVER.remove(stage)?;
    Ok(format!("event: {}", said.chars().take(160).collect::<String>()))
}
