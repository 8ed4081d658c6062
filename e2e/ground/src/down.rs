//! Takes a proving ground away and proves that nothing is left.
//! Must not rely on the ground's record: a killed `up` may not have written one.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::faults::disk;
use crate::ground::{Ground, Lock};
use crate::shell::words;
use crate::spec::Paths;
use crate::{cache, cgroup, network, preflight};

/// Removes the ground with this name, whatever state it is in.
pub fn down(name: &str) -> Result<()> {
    preflight::check_root()?;
    let lock = Lock::take(name)?;
    sweep(name)?;
    lock.discard(name);
    Ok(())
}

/// Removes everything that carries the ground's name; errors if something stays.
pub fn sweep(name: &str) -> Result<()> {
    let group = format!("hf-{name}");
    let paths = Paths::of(name);
    thaw_all(&group)?;
    cgroup::kill_all(&group)?;
    unmount_below(paths.root())?;
    for device in loop_devices(paths.root())? {
        words(&format!("losetup --detach {device}")).run()?;
    }
    network::delete_all(&group)?;
    cgroup::remove(&group)?;
    if let Ok(Some(ground)) = Ground::open_any(name) {
        // A record that a kill left half written must not stop this.
        let _ = disk::forget_rates(&ground);
    }
    cache::remove(paths.root())?;
    let left = remains(name)?;
    if !left.is_empty() {
        bail!(
            "these are left of the ground {name:?} and could not be removed:\n{}",
            left.join("\n")
        );
    }
    Ok(())
}

/// A process that waits for a frozen file system does not die: thaw what this ground's processes see.
pub(crate) fn thaw_all(group: &str) -> Result<()> {
    for pid in cgroup::processes(group)? {
        let Ok(mounts) = fs::read_to_string(format!("/proc/{pid}/mountinfo")) else {
            continue;
        };
        for line in mounts.lines().filter(|line| line.contains(" /dev/loop")) {
            let Some(place) = line.split(' ').nth(4) else {
                continue;
            };
            // Thawing what is not frozen is refused, which is fine.
            let _ = words(&format!(
                "nsenter --target={pid} --mount -- fsfreeze --unfreeze {place}"
            ))
            .run();
        }
    }
    Ok(())
}

pub(crate) fn unmount_below(root: &Path) -> Result<()> {
    for place in mounts_below(root)?.iter().rev() {
        words(&format!("umount --lazy {place}")).run()?;
    }
    Ok(())
}

fn mounts_below(root: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string("/proc/self/mountinfo").context("failed to read the mounts")?;
    let places = text.lines().filter_map(|line| line.split(' ').nth(4));
    Ok(places
        .filter(|place| Path::new(place).starts_with(root))
        .map(str::to_owned)
        .collect())
}

/// Loop devices whose backing file lies below the folder.
fn loop_devices(root: &Path) -> Result<Vec<String>> {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(units) = fs::read_dir(root) else {
        return Ok(Vec::new());
    };
    let mut inodes = Vec::new();
    for unit in units {
        let Ok(files) = fs::read_dir(unit?.path().join("volumes")) else {
            continue;
        };
        for file in files {
            inodes.push(file?.metadata()?.ino());
        }
    }
    let ours = disk::loop_devices()?
        .into_iter()
        .filter(|(_, inode)| inodes.contains(inode));
    Ok(ours.map(|(name, _)| format!("/dev/{name}")).collect())
}

/// Everything on this machine that still belongs to the ground, one line each.
pub fn remains(name: &str) -> Result<Vec<String>> {
    let group = format!("hf-{name}");
    let paths = Paths::of(name);
    let mut left = Vec::new();
    left.extend(
        cgroup::processes(&group)?
            .iter()
            .map(|pid| format!("process {pid}")),
    );
    left.extend(processes_of(paths.root())?);
    left.extend(
        mounts_below(paths.root())?
            .iter()
            .map(|place| format!("mount {place}")),
    );
    left.extend(
        loop_devices(paths.root())?
            .iter()
            .map(|device| format!("loop device {device}")),
    );
    let (links, netns) = network::remains(&group)?;
    left.extend(links.iter().map(|link| format!("interface {link}")));
    left.extend(netns.iter().map(|name| format!("network namespace {name}")));
    left.extend(
        cgroup::folders(&group)?
            .iter()
            .map(|path| format!("control group {}", path.display())),
    );
    if paths.root().exists() {
        left.push(format!("files {}", paths.root().display()));
    }
    Ok(left)
}

/// Processes that run a program from the ground's folder, in whatever control group.
fn processes_of(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("failed to list the processes")? {
        let path = entry?.path();
        let Ok(program) = fs::read_link(path.join("exe")) else {
            continue;
        };
        if program.starts_with(root.join("bin")) {
            found.push(format!("process {} of {}", path.display(), program.display()));
        }
    }
    Ok(found)
}
