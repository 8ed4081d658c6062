//! Stories of the faults of one volume, each seen by a program that uses it.
//! Must not look at how a volume is made.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ground::faults::{Disk, DiskFault, Fault, pod};
use serde_json::Value;

use crate::fixtures::Servers;
use crate::stage::{Stage, claim, wait_until};

/// One server on a volume of its own: the faults here end processes.
const SERVER: Servers<'static> = Servers {
    namespace: "disks",
    replicas: 1,
    options: &[],
    class: None,
    size: "600Mi",
};
const POD: &str = "db-0";

/// A program that only holds a volume: what breaks under mysqld ends it, and with it what can be looked at.
struct Holder {
    namespace: &'static str,
    class: &'static str,
}

const HOLDER: Holder = Holder {
    namespace: "disks-held",
    class: "standard",
};

/// On ext4, for what only ext4 can be made to do.
const EXT4: Holder = Holder {
    namespace: "disks-ext4",
    class: "standard-ext4",
};

impl Holder {
    fn ready(&self, stage: &Stage) -> Result<()> {
        stage.namespace(self.namespace)?;
        let manifest = HOLDER_MANIFEST
            .replace("{image}", &stage.images.mysql)
            .replace("{class}", self.class)
            .replace("{namespace}", self.namespace);
        stage.apply(&manifest)?;
        wait_until("the volume is held", Duration::from_secs(120), || {
            let pod = self.pod(stage)?;
            Ok(pod["status"]["containerStatuses"][0]["ready"] == true)
        })
        .map(drop)
    }

    fn restarts(&self, stage: &Stage) -> Result<u64> {
        let pod = self.pod(stage)?;
        pod["status"]["containerStatuses"][0]["restartCount"]
            .as_u64()
            .context("the pod has no container status")
    }

    fn pod(&self, stage: &Stage) -> Result<Value> {
        stage.get(&format!("pod {POD} -n {}", self.namespace))
    }
}

const HOLDER_MANIFEST: &str = r"
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, namespace: {namespace}}
spec: {storageClassName: {class}, accessModes: [ReadWriteOnce], resources: {requests: {storage: 600Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: db-0, namespace: {namespace}}
spec:
  terminationGracePeriodSeconds: 0
  automountServiceAccountToken: false
  securityContext: {runAsUser: 27, runAsGroup: 27, fsGroup: 27, runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: main
    image: {image}
    command: [sleep, infinity]
    securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
";

fn fault(stage: &Stage, namespace: &str, fault: DiskFault) -> Result<Fault> {
    let disk = Disk::of_pod(stage.ground()?, namespace, POD, None)?;
    Ok(Fault::Disk { disk, fault })
}

fn sh(stage: &Stage, namespace: &str, line: &str) -> Result<String> {
    stage.exec(namespace, POD, line).output()
}

/// What a line that must fail printed.
fn fails(stage: &Stage, namespace: &str, line: &str) -> Result<String> {
    let error = sh(stage, namespace, line)
        .err()
        .with_context(|| format!("`{line}` went well"))?;
    Ok(format!("{error:#}"))
}

pub(super) fn full(stage: &Stage) -> Result<String> {
    SERVER.ready(stage)?;
    let fault = fault(stage, SERVER.namespace, DiskFault::Full)?.inject(stage.ground()?)?;
    let line = "head -c 1000000 /dev/zero >/data/mark && sync /data/mark";
    let said = fails(stage, SERVER.namespace, line)?;
    claim(
        said.contains("No space left on device"),
        format!("the program is told: {said}"),
    )?;
    let free = sh(stage, SERVER.namespace, "df -h /data | tail -1")?;
    fault.heal()?;
    sh(stage, SERVER.namespace, line)?;
    sh(stage, SERVER.namespace, "rm /data/mark")?;
    SERVER.wait_ready(stage)?;
    Ok(format!(
        "`No space left on device`, df: {}",
        free.split_whitespace().collect::<Vec<_>>().join(" ")
    ))
}

pub(super) fn read_only(stage: &Stage) -> Result<String> {
    EXT4.ready(stage)?;
    sh(stage, EXT4.namespace, "echo kept >/data/mark && sync /data/mark")?;
    let restarts = EXT4.restarts(stage)?;
    let fault = fault(stage, EXT4.namespace, DiskFault::ReadOnly)?.inject(stage.ground()?)?;
    let said = fails(stage, EXT4.namespace, "touch /data/other")?;
    claim(
        said.contains("Read-only file system"),
        format!("the program is told: {said}"),
    )?;
    claim(
        sh(stage, EXT4.namespace, "cat /data/mark")?.trim() == "kept",
        "it can still be read",
    )?;
    fault.heal()?;
    wait_until("it can be written again", Duration::from_secs(90), || {
        Ok(sh(stage, EXT4.namespace, "touch /data/other && cat /data/mark")?.trim() == "kept")
    })?;
    EXT4.ready(stage)?;
    claim(
        EXT4.restarts(stage)? > restarts,
        "its user was ended, as healing says",
    )?;
    stage.delete_namespace(EXT4.namespace)?;
    Ok("`Read-only file system` on write, readable; writable after healing, nothing lost".to_owned())
}

pub(super) fn frozen(stage: &Stage) -> Result<String> {
    SERVER.ready(stage)?;
    let ground = stage.ground()?;
    let found = pod::find(ground, SERVER.namespace, POD)?;
    let fault = fault(stage, SERVER.namespace, DiskFault::Frozen)?.inject(ground)?;
    // The writer is left behind, hung, on purpose: it must finish by itself when the disk thaws.
    sh(
        stage,
        SERVER.namespace,
        "(sh -c 'echo thawed >/data/mark') >/dev/null 2>&1 &",
    )?;
    let hung = || {
        Ok(pod::processes(ground, &found, None)?
            .iter()
            .any(|pid| pod::state(*pid) == Some('D')))
    };
    wait_until("a writer hangs in the kernel", Duration::from_secs(10), hung)?;
    let missing = fails(stage, SERVER.namespace, "timeout 2 cat /data/mark")?;
    claim(
        missing.contains("No such file"),
        format!("nothing was written: {missing}"),
    )?;
    fault.heal()?;
    wait_until("the hung writer has finished", Duration::from_secs(20), || {
        Ok(sh(stage, SERVER.namespace, "cat /data/mark")?.trim() == "thawed")
    })?;
    sh(stage, SERVER.namespace, "rm /data/mark")?;
    SERVER.wait_ready(stage)?;
    Ok("a write hung in state D and finished by itself after the thaw".to_owned())
}

pub(super) fn slow(stage: &Stage) -> Result<String> {
    SERVER.ready(stage)?;
    let write = || -> Result<Duration> {
        let begun = Instant::now();
        sh(
            stage,
            SERVER.namespace,
            "dd if=/dev/zero of=/data/mark bs=256k count=16 oflag=direct,dsync 2>&1 && rm /data/mark",
        )?;
        Ok(begun.elapsed())
    };
    let before = write()?;
    let fault = fault(
        stage,
        SERVER.namespace,
        DiskFault::Slow {
            bytes_per_second: 1_000_000,
        },
    )?
    .inject(stage.ground()?)?;
    let during = write()?;
    fault.heal()?;
    let after = write()?;
    // 4 MiB at 1 MB/s: not quicker by much than four seconds on any machine.
    claim(
        during > Duration::from_millis(3_000),
        format!("the rate holds: {during:?}"),
    )?;
    claim(
        before < during && after < during,
        format!("it is quicker without: {before:?}, {after:?}"),
    )?;
    SERVER.remove(stage)?;
    Ok(format!(
        "4 MiB synced in {} ms, at 1 MB/s in {} ms, healed in {} ms",
        before.as_millis(),
        during.as_millis(),
        after.as_millis()
    ))
}

pub(super) fn power_lost(stage: &Stage) -> Result<String> {
    HOLDER.ready(stage)?;
    sh(
        stage,
        HOLDER.namespace,
        "echo synced >/data/synced && sync /data/synced /data",
    )?;
    let restarts = HOLDER.restarts(stage)?;
    let disk = fault(stage, HOLDER.namespace, DiskFault::PowerLost)?;
    sh(
        stage,
        HOLDER.namespace,
        "echo written >/data/written; cat /data/written",
    )?;
    let fault = disk.inject(stage.ground()?)?;
    let said = fails(stage, HOLDER.namespace, "cat /data/synced")?;
    claim(
        said.contains("Input/output error"),
        format!("nothing works: {said}"),
    )?;
    fault.heal()?;
    wait_until("the volume works again", Duration::from_secs(90), || {
        Ok(sh(stage, HOLDER.namespace, "cat /data/synced")?.trim() == "synced")
    })?;
    let left = sh(stage, HOLDER.namespace, "cat /data/written 2>/dev/null || true")?;
    claim(
        !left.contains("written"),
        format!("what was not synced is gone: {left:?}"),
    )?;
    HOLDER.ready(stage)?;
    claim(HOLDER.restarts(stage)? > restarts, "its user was ended")?;
    stage.delete_namespace(HOLDER.namespace)?;
    Ok("the synced file is there, the one only written is not".to_owned())
}
