//! Control groups of a ground, on version 1, version 2, and both at once.
//! Must not know what runs in them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const MOUNT: &str = "/sys/fs/cgroup";
/// Processes that were killed leave within this time, or something holds them (a frozen disk).
const EMPTY_WITHIN: Duration = Duration::from_secs(20);

/// What the machine offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One hierarchy a controller, perhaps with an empty version 2 beside them.
    V1,
    /// The unified hierarchy alone.
    V2,
}

impl Version {
    /// Looks at the machine.
    pub fn detect() -> Self {
        if Path::new(MOUNT).join("cgroup.controllers").exists() {
            Self::V2
        } else {
            Self::V1
        }
    }
}

/// The hierarchies that are mounted: one on version 2, several on version 1.
fn hierarchies() -> Result<Vec<PathBuf>> {
    if Version::detect() == Version::V2 {
        return Ok(vec![PathBuf::from(MOUNT)]);
    }
    let mut all = Vec::new();
    for entry in fs::read_dir(MOUNT).context("failed to list the control groups")? {
        let path = entry?.path();
        // cpu and cpuacct are often two links to one folder.
        if path.join("cgroup.procs").exists() && !path.is_symlink() {
            all.push(path);
        }
    }
    if all.is_empty() {
        bail!("no control groups are mounted at {MOUNT}: mount them, or boot with systemd");
    }
    all.sort();
    Ok(all)
}

/// Controllers without which no kubelet starts.
const NEEDED: &[&str] = &["cpu", "memory", "pids"];

/// Refuses control groups below which a ground's cannot be made; changes nothing.
pub fn check() -> Result<()> {
    hierarchies()?;
    if Version::detect() == Version::V1 {
        return Ok(());
    }
    let top = Path::new(MOUNT);
    let read = |file: &str| {
        fs::read_to_string(top.join(file)).with_context(|| format!("failed to read {MOUNT}/{file}"))
    };
    if let Some(missing) = first_missing(&read("cgroup.controllers")?) {
        bail!("{MOUNT} offers no {missing} controller: boot with it enabled, or hand it to this container");
    }
    // In a container the topmost group is an ordinary one, which hands nothing down while it holds processes.
    let ordinary = top.join("cgroup.type").exists();
    let busy = !read("cgroup.procs")?.trim().is_empty();
    if ordinary && busy && first_missing(&read("cgroup.subtree_control")?).is_some() {
        bail!(
            "the processes of this container are in its topmost control group, which hands no controller \
             down until they leave: mkdir {MOUNT}/init && for pid in $(cat {MOUNT}/cgroup.procs); \
             do echo $pid >{MOUNT}/init/cgroup.procs; done"
        );
    }
    Ok(())
}

/// The first needed controller that is not in the list.
fn first_missing(list: &str) -> Option<&'static str> {
    let listed = |needed: &str| list.split_whitespace().any(|controller| controller == needed);
    NEEDED.iter().copied().find(|needed| !listed(needed))
}

/// Makes `group` in every hierarchy and opens it to children.
pub fn create(group: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        let mut path = hierarchy.clone();
        open_to_children(&hierarchy)?;
        for part in group.split('/') {
            path.push(part);
            fs::create_dir_all(&path).with_context(|| format!("failed to create {}", path.display()))?;
            inherit_cpuset(&path)?;
            if !part.eq("system") {
                open_to_children(&path)?;
            }
        }
    }
    Ok(())
}

/// Version 1: a cpuset without cpus and mems takes no process.
fn inherit_cpuset(path: &Path) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let own = path.join(file);
        let Some(parent) = path.parent() else { continue };
        // On version 2 an empty cpuset means the parent's.
        if Version::detect() == Version::V1 && own.exists() && fs::read_to_string(&own)?.trim().is_empty() {
            fs::write(&own, fs::read_to_string(parent.join(file))?)
                .with_context(|| format!("failed to write {}", own.display()))?;
        }
    }
    Ok(())
}

/// Version 2: children get only the controllers that the parent hands down.
fn open_to_children(path: &Path) -> Result<()> {
    if Version::detect() == Version::V1 {
        return Ok(());
    }
    let control = path.join("cgroup.subtree_control");
    // At once or not at all: cpu or pids alone would turn a group that holds processes into a threaded one.
    let needed: Vec<String> = NEEDED.iter().map(|controller| format!("+{controller}")).collect();
    fs::write(&control, needed.join(" ")).with_context(|| {
        format!(
            "{}: {} cannot be handed down to children",
            path.display(),
            NEEDED.join(", ")
        )
    })?;
    for controller in fs::read_to_string(path.join("cgroup.controllers"))?.split_whitespace() {
        // One that cannot be handed down must not spoil the others.
        let _ = fs::write(&control, format!("+{controller}"));
    }
    Ok(())
}

/// Shell text that moves the shell itself into the group, in every hierarchy.
pub fn join_script(group: &str) -> Result<String> {
    let mut script = String::new();
    for hierarchy in hierarchies()? {
        let procs = hierarchy.join(group).join("cgroup.procs");
        script.push_str(&format!("echo 0 > {} && ", procs.display()));
    }
    script.push_str("true");
    Ok(script)
}

/// Moves this process into the group, in every hierarchy.
pub fn join(group: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        let procs = hierarchy.join(group).join("cgroup.procs");
        fs::write(&procs, "0").with_context(|| format!("failed to join {}", procs.display()))?;
    }
    Ok(())
}

/// Every process in the group or below it, in any hierarchy, but for this one.
pub fn processes(group: &str) -> Result<Vec<Pid>> {
    let mut pids = Vec::new();
    for hierarchy in hierarchies()? {
        collect(&hierarchy.join(group), &mut pids)?;
    }
    pids.sort_unstable();
    pids.dedup();
    pids.retain(|pid| *pid != nix::unistd::getpid());
    Ok(pids)
}

fn collect(path: &Path, pids: &mut Vec<Pid>) -> Result<()> {
    let Ok(text) = fs::read_to_string(path.join("cgroup.procs")) else {
        return Ok(());
    };
    pids.extend(
        text.lines()
            .filter_map(|line| line.parse().ok())
            .map(Pid::from_raw),
    );
    for child in children(path)? {
        collect(&child, pids)?;
    }
    Ok(())
}

fn children(path: &Path) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            all.push(entry.path());
        }
    }
    Ok(all)
}

/// Kills everything in the group and waits until it is gone.
pub fn kill_all(group: &str) -> Result<()> {
    let start = Instant::now();
    loop {
        let pids = processes(group)?;
        if pids.is_empty() {
            return Ok(());
        }
        for pid in &pids {
            // It may be gone already: that is what is wanted.
            let _ = kill(*pid, Signal::SIGKILL);
        }
        if start.elapsed() > EMPTY_WITHIN {
            bail!(
                "{} processes in {group} do not end when killed: {pids:?}",
                pids.len()
            );
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Every folder of the group that exists, deepest last.
pub fn folders(group: &str) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for hierarchy in hierarchies()? {
        let path = hierarchy.join(group);
        if path.exists() {
            descend(&path, &mut all)?;
        }
    }
    Ok(all)
}

fn descend(path: &Path, all: &mut Vec<PathBuf>) -> Result<()> {
    all.push(path.to_path_buf());
    for child in children(path)? {
        descend(&child, all)?;
    }
    Ok(())
}

/// Removes the group and everything below it; its processes must be gone.
pub fn remove(group: &str) -> Result<()> {
    for folder in folders(group)?.iter().rev() {
        let start = Instant::now();
        // A group is busy for a moment after its last process has ended.
        while let Err(error) = fs::remove_dir(folder) {
            if error.kind() == std::io::ErrorKind::NotFound {
                break;
            }
            if start.elapsed() > Duration::from_secs(5) {
                return Err(error).with_context(|| format!("failed to remove {}", folder.display()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}
