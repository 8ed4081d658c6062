//! Stories of the faults of one volume, each seen by a program that uses it.
//! Must not look at how a volume is made.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ground::faults::{Disk, DiskFault, Fault, pod};

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

/// The same on ext4, for what only ext4 can be made to do.
const EXT4: Servers<'static> = Servers {
    namespace: "disks-ext4",
    class: Some("standard-ext4"),
    ..SERVER
};

fn fault(stage: &Stage, servers: &Servers<'_>, fault: DiskFault) -> Result<Fault> {
    let disk = Disk::of_pod(stage.ground()?, servers.namespace, POD, None)?;
    Ok(Fault::Disk { disk, fault })
}

fn sh(stage: &Stage, servers: &Servers<'_>, line: &str) -> Result<String> {
    stage.exec(servers.namespace, POD, line).output()
}

/// What a line that must fail printed.
fn fails(stage: &Stage, servers: &Servers<'_>, line: &str) -> Result<String> {
    let error = sh(stage, servers, line)
        .err()
        .with_context(|| format!("`{line}` went well"))?;
    Ok(format!("{error:#}"))
}

pub(super) fn full(stage: &Stage) -> Result<String> {
    SERVER.ready(stage)?;
    let fault = fault(stage, &SERVER, DiskFault::Full)?.inject(stage.ground()?)?;
    let line = "head -c 1000000 /dev/zero >/data/mark && sync /data/mark";
    let said = fails(stage, &SERVER, line)?;
    claim(
        said.contains("No space left on device"),
        format!("the program is told: {said}"),
    )?;
    let free = sh(stage, &SERVER, "df -h /data | tail -1")?;
    fault.heal()?;
    sh(stage, &SERVER, line)?;
    sh(stage, &SERVER, "rm /data/mark")?;
    SERVER.wait_ready(stage)?;
    Ok(format!(
        "`No space left on device`, df: {}",
        free.split_whitespace().collect::<Vec<_>>().join(" ")
    ))
}

pub(super) fn read_only(stage: &Stage) -> Result<String> {
    EXT4.ready(stage)?;
    sh(stage, &EXT4, "echo kept >/data/mark && sync /data/mark")?;
    let restarts = EXT4.restarts(stage, 0)?;
    let fault = fault(stage, &EXT4, DiskFault::ReadOnly)?.inject(stage.ground()?)?;
    let said = fails(stage, &EXT4, "touch /data/other")?;
    claim(
        said.contains("Read-only file system"),
        format!("the program is told: {said}"),
    )?;
    claim(
        sh(stage, &EXT4, "cat /data/mark")?.trim() == "kept",
        "it can still be read",
    )?;
    fault.heal()?;
    wait_until("it can be written again", Duration::from_secs(90), || {
        Ok(sh(stage, &EXT4, "touch /data/other && cat /data/mark")?.trim() == "kept")
    })?;
    EXT4.wait_ready(stage)?;
    claim(
        EXT4.restarts(stage, 0)? > restarts,
        "its user was ended, as healing says",
    )?;
    EXT4.remove(stage)?;
    Ok("`Read-only file system` on write, readable; writable after healing, nothing lost".to_owned())
}

pub(super) fn frozen(stage: &Stage) -> Result<String> {
    SERVER.ready(stage)?;
    let ground = stage.ground()?;
    let found = pod::find(ground, SERVER.namespace, POD)?;
    let fault = fault(stage, &SERVER, DiskFault::Frozen)?.inject(ground)?;
    // The writer is left behind, hung, on purpose: it must finish by itself when the disk thaws.
    sh(
        stage,
        &SERVER,
        "(sh -c 'echo thawed >/data/mark') >/dev/null 2>&1 &",
    )?;
    let hung = || {
        Ok(pod::processes(ground, &found, None)?
            .iter()
            .any(|pid| pod::state(*pid) == Some('D')))
    };
    wait_until("a writer hangs in the kernel", Duration::from_secs(10), hung)?;
    let missing = fails(stage, &SERVER, "timeout 2 cat /data/mark")?;
    claim(
        missing.contains("No such file"),
        format!("nothing was written: {missing}"),
    )?;
    fault.heal()?;
    wait_until("the hung writer has finished", Duration::from_secs(20), || {
        Ok(sh(stage, &SERVER, "cat /data/mark")?.trim() == "thawed")
    })?;
    sh(stage, &SERVER, "rm /data/mark")?;
    SERVER.wait_ready(stage)?;
    Ok("a write hung in state D and finished by itself after the thaw".to_owned())
}

pub(super) fn slow(stage: &Stage) -> Result<String> {
    SERVER.ready(stage)?;
    let write = || -> Result<Duration> {
        let begun = Instant::now();
        sh(
            stage,
            &SERVER,
            "dd if=/dev/zero of=/data/mark bs=256k count=16 oflag=direct,dsync 2>&1 && rm /data/mark",
        )?;
        Ok(begun.elapsed())
    };
    let before = write()?;
    let fault = fault(
        stage,
        &SERVER,
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
    Ok(format!(
        "4 MiB synced in {} ms, at 1 MB/s in {} ms, healed in {} ms",
        before.as_millis(),
        during.as_millis(),
        after.as_millis()
    ))
}

pub(super) fn power_lost(stage: &Stage) -> Result<String> {
    SERVER.ready(stage)?;
    sh(
        stage,
        &SERVER,
        "echo synced >/data/synced && sync /data/synced /data",
    )?;
    let restarts = SERVER.restarts(stage, 0)?;
    let disk = fault(stage, &SERVER, DiskFault::PowerLost)?;
    sh(stage, &SERVER, "echo written >/data/written; cat /data/written")?;
    let fault = disk.inject(stage.ground()?)?;
    // The server may have ended by the error before the question comes: then there is nobody to ask.
    let said = fails(stage, &SERVER, "cat /data/synced")?;
    let ended = said.contains("container not found") || said.contains("not running");
    claim(
        ended || said.contains("Input/output error"),
        format!("nothing works: {said}"),
    )?;
    fault.heal()?;
    wait_until("the volume works again", Duration::from_secs(90), || {
        Ok(sh(stage, &SERVER, "cat /data/synced")?.trim() == "synced")
    })?;
    let left = sh(stage, &SERVER, "cat /data/written 2>/dev/null || true")?;
    claim(
        !left.contains("written"),
        format!("what was not synced is gone: {left:?}"),
    )?;
    SERVER.wait_ready(stage)?;
    claim(SERVER.restarts(stage, 0)? > restarts, "its user was ended")?;
    SERVER.remove(stage)?;
    Ok("the synced file is there, the one only written is not".to_owned())
}
