//! What must be true of the machine before anything is made, and what to do when it is not.
//! Must not change the machine, but for installing missing packages.

use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;

use crate::shell::{cmd, words};
use crate::spec::{Spec, cache_root, state_root};
use crate::{cgroup, network};

/// Images, template, and a few volumes of three nodes.
const DISK_MIN_BYTES: u64 = 12_000_000_000;
/// Three nodes with a MySQL each use about this much.
const MEMORY_MIN_KB: u64 = 4_000_000;

/// A program that is needed and the Debian package that has it.
const PROGRAMS: &[(&str, &str)] = &[
    ("buildah", "buildah"),
    ("cc", "gcc"),
    ("containerd", "containerd"),
    ("e2fsck", "e2fsprogs"),
    ("file", "file"),
    ("git", "git"),
    ("ip", "iproute2"),
    ("iptables-legacy", "iptables"),
    ("mmdebstrap", "mmdebstrap"),
    ("nft", "nftables"),
    ("nsenter", "util-linux"),
    ("runc", "runc"),
    ("sysctl", "procps"),
    ("xfs_io", "xfsprogs"),
    ("/usr/lib/cni/ptp", "containernetworking-plugins"),
];

/// Refuses a machine on which a ground cannot stand.
pub fn check(spec: &Spec) -> Result<()> {
    check_root()?;
    for (program, hint) in [
        ("go", "install Go 1.26 or newer and have `go` in PATH"),
        ("cargo", "install Rust (stable) and have `cargo` in PATH"),
    ] {
        if find(program).is_none() {
            bail!("{program} is missing: {hint}");
        }
    }
    check_kernel()?;
    check_disk(&state_root())?;
    check_disk(&cache_root())?;
    check_memory()?;
    cgroup::check()?;
    network::check_free(spec)
}

/// Everything here makes namespaces and mounts.
pub fn check_root() -> Result<()> {
    if !geteuid().is_root() {
        bail!(
            "the proving ground makes network namespaces and mounts: run it as root (sudo -E cargo ground …)"
        );
    }
    Ok(())
}

/// Installs the Debian packages whose programs are missing; gives their names.
pub fn install_missing() -> Result<Vec<&'static str>> {
    let missing: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(program, _)| find(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(missing);
    }
    if find("apt-get").is_none() {
        bail!("missing and no apt-get to install them: {}", missing.join(", "));
    }
    let log = crate::images::log_file("packages")?;
    let apt = |args: &[&str]| {
        cmd("apt-get", args)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .logged(&log)
    };
    apt(&["update"])?;
    let mut install = vec!["install", "--yes", "--no-install-recommends"];
    install.extend(&missing);
    apt(&install)?;
    if let Some((program, package)) = PROGRAMS.iter().find(|(program, _)| find(program).is_none()) {
        bail!(
            "{program} is still missing after installing {package}: see {}",
            log.display()
        );
    }
    Ok(missing)
}

fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<_> = std::env::split_paths(&path).collect();
    // Root's own programs are not in everybody's PATH.
    places.extend(["/usr/sbin", "/sbin"].map(Into::into));
    places
        .into_iter()
        .map(|dir| dir.join(program))
        .find(|candidate| candidate.is_file())
}

fn check_kernel() -> Result<()> {
    let known = std::fs::read_to_string("/proc/filesystems").context("failed to read /proc/filesystems")?;
    for name in ["overlay", "ext4"] {
        let built_in = known
            .lines()
            .any(|line| line.split_whitespace().next_back() == Some(name));
        if !built_in && !words(&format!("modprobe {name}")).ok() {
            bail!("this kernel has no {name} file system: load the module or use another kernel");
        }
    }
    if !Path::new("/dev/loop-control").exists() && !words("modprobe loop").ok() {
        bail!("this kernel has no loop devices: volumes need them (modprobe loop)");
    }
    Ok(())
}

fn check_disk(place: &Path) -> Result<()> {
    let mut existing = place;
    while !existing.exists() {
        existing = existing.parent().unwrap_or(Path::new("/"));
    }
    let stat = nix::sys::statvfs::statvfs(existing)
        .with_context(|| format!("failed to look at {}", existing.display()))?;
    let free = stat.blocks_available() * stat.fragment_size();
    if free < disk_min_bytes() {
        bail!(
            "{} has {} GB free and {} GB are needed: free some, or choose another place with \
             HOLDFAST_GROUND_STATE and HOLDFAST_GROUND_CACHE",
            existing.display(),
            free / 1_000_000_000,
            disk_min_bytes() / 1_000_000_000
        );
    }
    Ok(())
}

/// The limit can be raised for a test of the refusal itself.
fn disk_min_bytes() -> u64 {
    let asked = std::env::var("HOLDFAST_GROUND_DISK_MIN_BYTES")
        .ok()
        .and_then(|text| text.parse().ok());
    asked.unwrap_or(DISK_MIN_BYTES).max(DISK_MIN_BYTES)
}

fn check_memory() -> Result<()> {
    let text = std::fs::read_to_string("/proc/meminfo").context("failed to read /proc/meminfo")?;
    let available = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse::<u64>().ok())
        .context("failed to read MemAvailable")?;
    if available < MEMORY_MIN_KB {
        bail!(
            "{} MB of memory are free and {} MB are needed",
            available / 1000,
            MEMORY_MIN_KB / 1000
        );
    }
    Ok(())
}
