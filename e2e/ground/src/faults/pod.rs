//! A pod's processes and volumes, found without the API server, and signals to them.
//! Must not ask Kubernetes: faults are injected while it is away, too.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::ground::Ground;
use crate::spec::Unit;
use crate::{cgroup, machine};

const STOPPED_WITHIN: Duration = Duration::from_secs(5);

/// A pod as a node knows it.
#[derive(Clone, Debug)]
pub struct Pod {
    /// The node it is on.
    pub unit: Unit,
    /// Its UID.
    pub uid: String,
}

/// Finds a running pod by the log folders of the nodes, whose names hold its UID.
pub fn find(ground: &Ground, namespace: &str, name: &str) -> Result<Pod> {
    let prefix = format!("{namespace}_{name}_");
    for unit in ground.spec().node_units() {
        let Ok(entries) = fs::read_dir(ground.paths.logs(unit).join("pods")) else {
            continue;
        };
        for entry in entries {
            let folder = entry?.file_name().to_string_lossy().into_owned();
            let Some(uid) = folder.strip_prefix(&prefix) else {
                continue;
            };
            let pod = Pod {
                unit,
                uid: uid.to_owned(),
            };
            // The logs of an earlier pod of this name stay a while.
            if !processes(ground, &pod, None)?.is_empty() {
                return Ok(pod);
            }
        }
    }
    bail!("no pod {name} runs in namespace {namespace}")
}

/// The PIDs, as the machine sees them, of a pod's processes with this name, or of all but `pause`.
pub fn processes(ground: &Ground, pod: &Pod, process: Option<&str>) -> Result<Vec<i32>> {
    let pods = format!("{}/pods", machine::group(ground.spec(), pod.unit));
    let mut found = Vec::new();
    for pid in cgroup::processes(&pods)? {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let name = name.trim();
        let wanted = process.map_or(name != "pause", |process| process == name);
        if groups.contains(&pod.uid) && wanted {
            found.push(pid.as_raw());
        }
    }
    Ok(found)
}

/// Sends a signal to processes of a pod; gives how many there were.
pub fn signal(ground: &Ground, pod: &Pod, process: Option<&str>, signal: Signal) -> Result<usize> {
    let pids = processes(ground, pod, process)?;
    if pids.is_empty() {
        bail!("the pod has no process {}", process.unwrap_or("at all"));
    }
    for pid in &pids {
        kill(Pid::from_raw(*pid), signal).with_context(|| format!("failed to signal {pid}"))?;
    }
    Ok(pids.len())
}

/// Freezes processes and waits until each is seen stopped.
pub(super) fn pause(pids: &[i32]) -> Result<()> {
    for pid in pids {
        kill(Pid::from_raw(*pid), Signal::SIGSTOP).with_context(|| format!("failed to stop {pid}"))?;
    }
    let begun = Instant::now();
    while !pids.iter().all(|pid| state(*pid) == Some('T')) {
        if begun.elapsed() > STOPPED_WITHIN {
            bail!("not all of {pids:?} stopped");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Lets frozen processes go on; one that is gone, or whose PID is another's by now, is left alone.
pub(super) fn resume(ground: &Ground, unit: Unit, pids: &[i32]) -> Result<()> {
    let ours = cgroup::processes(&machine::group(ground.spec(), unit))?;
    for pid in pids.iter().filter(|pid| ours.contains(&Pid::from_raw(**pid))) {
        let _ = kill(Pid::from_raw(*pid), Signal::SIGCONT);
    }
    Ok(())
}

/// The letter of a process's state, `T` for stopped.
pub fn state(pid: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// The names of a pod's persistent volumes, as its node's kubelet has them.
pub fn volumes(ground: &Ground, pod: &Pod) -> Result<Vec<String>> {
    let folder: PathBuf = ground
        .paths
        .unit(pod.unit)
        .join("kubelet/pods")
        .join(&pod.uid)
        .join("volumes/kubernetes.io~csi");
    let Ok(entries) = fs::read_dir(&folder) else {
        return Ok(Vec::new());
    };
    let mut names = Vec::new();
    for entry in entries {
        let text = fs::read(entry?.path().join("vol_data.json")).context("failed to read a volume's data")?;
        let data: serde_json::Value = serde_json::from_slice(&text)?;
        names.extend(data["volumeHandle"].as_str().map(str::to_owned));
    }
    names.sort();
    Ok(names)
}
