//! A unit's life: started in its own namespaces, found again, killed as a power cut would.
//! Must not know which processes a unit runs.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::unistd::Pid;

use crate::cgroup;
use crate::init::{Boot, Process};
use crate::shell::{Cmd, cmd};
use crate::spec::{Paths, Spec, Unit};

const STARTED_WITHIN: Duration = Duration::from_secs(10);
/// A node watches files by seven of these, and a control plane by eight: the kernel's 128, which all grounds share, are
/// enough for about fifteen nodes. A kubelet without one never comes up, or knows no volume driver.
const WATCHERS: u32 = 1024;
const WATCHERS_LIMIT: &str = "/proc/sys/fs/inotify/max_user_instances";

/// The control group of the unit's own processes; a node's pods are beside it, in `pods`.
pub fn group(spec: &Spec, unit: Unit) -> String {
    format!("{}/{}", spec.cgroup(), unit.name())
}

/// Raised and never lowered: others may count on it by then.
pub fn allow_watchers() -> Result<()> {
    let failed = || format!("failed to raise {WATCHERS_LIMIT} to {WATCHERS}");
    let now = fs::read_to_string(WATCHERS_LIMIT).with_context(failed)?;
    let now: u32 = now.trim().parse().with_context(failed)?;
    if now < WATCHERS {
        fs::write(WATCHERS_LIMIT, WATCHERS.to_string()).with_context(failed)?;
    }
    Ok(())
}

/// Starts the unit: its namespaces, its PID 1, its processes.
pub fn start(spec: &Spec, unit: Unit, processes: Vec<Process>) -> Result<()> {
    let paths = Paths::of(&spec.name);
    let dir = paths.unit(unit);
    for folder in [
        dir.clone(),
        paths.logs(unit),
        paths.holds(unit),
        paths.volumes(unit),
    ] {
        fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
    }
    let system = format!("{}/system", group(spec, unit));
    cgroup::create(&system)?;
    let boot = Boot {
        hostname: unit.name(),
        node_dir: matches!(unit, Unit::Node(_)).then(|| dir.clone()),
        ground_dir: paths.root().to_path_buf(),
        log_dir: if matches!(unit, Unit::Node(_)) {
            "/run/node/log".into()
        } else {
            paths.logs(unit)
        },
        hold_dir: if matches!(unit, Unit::Node(_)) {
            "/run/node/hold".into()
        } else {
            paths.holds(unit)
        },
        processes,
    };
    let boot_file = dir.join("boot.json");
    fs::write(&boot_file, serde_json::to_vec_pretty(&boot)?)?;
    // A copy of this program: the checkout's own may be rebuilt while the unit runs.
    let program = paths.program("ground");
    let script = format!(
        "{} && exec nsenter --net=/run/netns/{} unshare --mount --uts --ipc --pid --fork \
         --kill-child=KILL --mount-proc -- {} init {}",
        cgroup::join_script(&system)?,
        spec.netns(unit),
        program.display(),
        boot_file.display()
    );
    cmd("setsid", ["sh", "-c", &script]).detached(&paths.logs(unit).join("init.log"))?;
    let begun = Instant::now();
    while init_pid(spec, unit)?.is_none() {
        if begun.elapsed() > STARTED_WITHIN {
            let log = fs::read_to_string(paths.logs(unit).join("init.log")).unwrap_or_default();
            bail!("{} did not start: {}", unit.name(), log.trim());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// The PID, as the machine sees it, of the unit's PID 1.
pub fn init_pid(spec: &Spec, unit: Unit) -> Result<Option<i32>> {
    let program = Paths::of(&spec.name).program("ground");
    for pid in cgroup::processes(&format!("{}/system", group(spec, unit)))? {
        let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else {
            continue;
        };
        let is_one = status
            .lines()
            .find_map(|line| line.strip_prefix("NSpid:"))
            .is_some_and(|ids| ids.split_whitespace().next_back() == Some("1"));
        if is_one && arguments(pid).first().map(Path::new) == Some(&program) {
            return Ok(Some(pid.as_raw()));
        }
    }
    Ok(None)
}

/// A power cut: every process of the unit ends at once; its disk stays.
pub fn kill(spec: &Spec, unit: Unit) -> Result<()> {
    // No power cut waits for a frozen disk, but the kernel would.
    crate::down::thaw_all(&group(spec, unit))?;
    if let Some(pid) = init_pid(spec, unit)? {
        let _ = nix::sys::signal::kill(Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
    }
    cgroup::kill_all(&group(spec, unit))?;
    // A machine that boots has no control groups of before: no container's, and no limit on a disk.
    cgroup::remove(&group(spec, unit))
}

/// A command inside all namespaces of a running unit.
pub fn enter(spec: &Spec, unit: Unit, argv: &[&str]) -> Result<Cmd> {
    let pid = init_pid(spec, unit)?
        .with_context(|| format!("{} does not run: start it with `cargo ground up`", unit.name()))?;
    Ok(cmd("nsenter", [format!("--target={pid}")])
        .args(["--mount", "--uts", "--ipc", "--pid", "--net", "--"])
        .args(argv))
}

/// The host's PID of one of the unit's processes, if it runs.
pub fn process_pid(spec: &Spec, unit: Unit, name: &str) -> Result<Option<i32>> {
    let all = cgroup::processes(&format!("{}/system", group(spec, unit)))?;
    let named = |pid: &Pid| {
        let program = arguments(*pid).into_iter().next().unwrap_or_default();
        Path::new(&program).file_name().is_some_and(|own| own == name)
    };
    Ok(all.into_iter().find(named).map(Pid::as_raw))
}

/// What a process was started as: its program and arguments, or nothing if it is gone.
pub(crate) fn arguments(pid: Pid) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = line.split(|byte| *byte == 0);
    words
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}
