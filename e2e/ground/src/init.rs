//! PID 1 of a unit: sets its namespaces up, starts its processes, restarts them, reaps orphans.
//! Must not decide what runs: it follows the `Boot` file it is given.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// How often exits and holds are looked at.
const TICK: Duration = Duration::from_millis(50);
/// A process that ended starts again after this long, as systemd would do.
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// Everything a unit's PID 1 has to know.
#[derive(Debug, Serialize, Deserialize)]
pub struct Boot {
    /// The host name inside.
    pub hostname: String,
    /// A node gets folders of its own under /run and /var/lib.
    pub node_dir: Option<PathBuf>,
    /// The folder of the whole ground, seen at the same place from every unit.
    pub ground_dir: PathBuf,
    /// One log file a process.
    pub log_dir: PathBuf,
    /// A file here named after a process keeps it stopped.
    pub hold_dir: PathBuf,
    /// What runs, in this order.
    pub processes: Vec<Process>,
}

/// One process that should always run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Process {
    /// Its name in logs and holds.
    pub name: String,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// It starts once this file exists (a socket of the one before it).
    pub after: Option<PathBuf>,
}

enum State {
    Running(Pid),
    Waiting(Instant),
}

/// Runs until it is killed; killing it kills everything in its PID namespace.
pub fn run(boot_file: &Path) -> Result<()> {
    let text = fs::read(boot_file).with_context(|| format!("failed to read {}", boot_file.display()))?;
    let boot: Boot = serde_json::from_slice(&text).context("failed to parse the boot file")?;
    nix::unistd::sethostname(&boot.hostname).context("failed to set the host name")?;
    // Mounts made here stay here, and mounts of containers may propagate among themselves.
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_SHARED,
        None::<&str>,
    )
    .context("failed to share the mounts below /")?;
    if let Some(dir) = &boot.node_dir {
        node_folders(dir, &boot.ground_dir)?;
    }
    supervise(&boot)
}

/// Inside a node the usual paths are the node's own: /run is empty after each start, as after
/// a boot; /var/lib/{kubelet,containerd,cni}, /var/log and /run/node are on the node's disk.
fn node_folders(dir: &Path, ground_dir: &Path) -> Result<()> {
    let kept = Path::new("/run/ground");
    tmpfs("/run")?;
    bind(dir, Path::new("/run/node"))?;
    bind(ground_dir, kept)?;
    bind(&dir.join("log"), Path::new("/var/log"))?;
    tmpfs("/var/lib")?;
    bind(kept, ground_dir)?;
    for name in ["kubelet", "containerd", "cni"] {
        let on_disk = Path::new("/run/node").join(name);
        fs::create_dir_all(&on_disk)?;
        bind(&on_disk, &Path::new("/var/lib").join(name))?;
    }
    Ok(())
}

fn tmpfs(at: &str) -> Result<()> {
    mount(
        Some("tmpfs"),
        at,
        Some("tmpfs"),
        MsFlags::empty(),
        Some("mode=755"),
    )
    .with_context(|| format!("failed to mount a tmpfs at {at}"))
}

fn bind(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("failed to create {}", to.display()))?;
    mount(
        Some(from),
        to,
        None::<&str>,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        None::<&str>,
    )
    .with_context(|| format!("failed to bind {} at {}", from.display(), to.display()))
}

fn supervise(boot: &Boot) -> Result<()> {
    fs::create_dir_all(&boot.log_dir)?;
    fs::create_dir_all(&boot.hold_dir)?;
    let now = Instant::now();
    let mut states: BTreeMap<usize, State> = (0..boot.processes.len())
        .map(|index| (index, State::Waiting(now)))
        .collect();
    loop {
        reap(boot, &mut states);
        for (index, process) in boot.processes.iter().enumerate() {
            let held = boot.hold_dir.join(&process.name).exists();
            match states.get(&index) {
                Some(State::Waiting(due)) if !held && Instant::now() >= *due && ready(process) => {
                    states.insert(index, start(process, &boot.log_dir));
                }
                _ => {}
            }
        }
        std::thread::sleep(TICK);
    }
}

fn ready(process: &Process) -> bool {
    process.after.as_ref().is_none_or(|path| path.exists())
}

/// Collects every child that ended, ours and the orphans that fell to PID 1.
fn reap(boot: &Boot, states: &mut BTreeMap<usize, State>) {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        let ended = match status {
            WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _) => pid,
            WaitStatus::StillAlive => return,
            _ => continue,
        };
        for (index, state) in states.iter_mut() {
            if matches!(state, State::Running(pid) if *pid == ended) {
                println!("{} ended: {status:?}", boot.processes[*index].name);
                *state = State::Waiting(Instant::now() + RESTART_AFTER);
            }
        }
    }
}

fn start(process: &Process, log_dir: &Path) -> State {
    match spawn(process, log_dir) {
        Ok(pid) => {
            println!("{} started as {pid}", process.name);
            State::Running(pid)
        }
        Err(error) => {
            println!("{} did not start: {error:#}", process.name);
            State::Waiting(Instant::now() + RESTART_AFTER)
        }
    }
}

fn spawn(process: &Process, log_dir: &Path) -> Result<Pid> {
    let (program, args) = process.argv.split_first().context("no program")?;
    let log = File::options()
        .create(true)
        .append(true)
        .open(log_dir.join(format!("{}.log", process.name)))?;
    let copy = log.try_clone()?;
    let child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::from(log))
        .stderr(Stdio::from(copy))
        .spawn()
        .with_context(|| format!("failed to start {program}"))?;
    Ok(Pid::from_raw(i32::try_from(child.id())?))
}
