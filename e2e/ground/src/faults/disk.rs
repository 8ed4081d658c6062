//! Faults of one volume: full, read-only, frozen, slow, or without what was never synced.
//! Must not know what is stored on it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::{Fault, pod};
use crate::cgroup::{self, Version};
use crate::ground::Ground;
use crate::machine;
use crate::shell::words;
use crate::spec::Unit;

const LIMITS_V1: [&str; 2] = [
    "blkio.throttle.read_bps_device",
    "blkio.throttle.write_bps_device",
];
/// Version 1: the group of the kernel's own threads.
const KERNEL_WRITERS: &str = "/sys/fs/cgroup/blkio";
const FILLER: &str = ".ground-filler";
const RELEASED_WITHIN: Duration = Duration::from_secs(20);

/// A volume on a node: one file with a file system in it, on a loop device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// The node.
    pub unit: String,
    /// The volume's name, also of its backing file.
    pub handle: String,
    /// The number of its loop device when the fault was made: it is another volume's once this one has left.
    #[serde(default)]
    pub number: Option<String>,
}

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DiskFault {
    /// No space left.
    Full,
    /// The file system has met an error and turned read-only, as ext4 does; undone by mounting it again.
    ReadOnly,
    /// Every write and sync hangs.
    Frozen,
    /// Reads and writes are held to this rate.
    Slow { bytes_per_second: u64 },
    /// What was not synced is lost and nothing works any more; undone by mounting it again.
    PowerLost,
}

impl Disk {
    /// The only volume of a pod, or the one that is named.
    pub fn of_pod(ground: &Ground, namespace: &str, pod: &str, volume: Option<&str>) -> Result<Self> {
        let found = pod::find(ground, namespace, pod)?;
        let all = pod::volumes(ground, &found)?;
        let handle = match (volume, all.as_slice()) {
            (Some(name), all) if all.iter().any(|own| own == name) => name.to_owned(),
            (None, [only]) => only.clone(),
            (_, all) => bail!("say which volume of {pod} with --volume: {}", all.join(", ")),
        };
        let mut disk = Self {
            unit: found.unit.name(),
            handle,
            number: None,
        };
        if let Some(device) = disk.device(ground)? {
            disk.number = Some(number_of(&device)?);
        }
        Ok(disk)
    }

    fn unit(&self) -> Result<Unit> {
        Unit::parse(&self.unit)
    }

    /// The backing file.
    pub fn file(&self, ground: &Ground) -> Result<PathBuf> {
        Ok(ground
            .paths
            .volumes(self.unit()?)
            .join(format!("{}.img", self.handle)))
    }

    /// The loop device's name without `/dev/`, if it is attached.
    fn device(&self, ground: &Ground) -> Result<Option<String>> {
        let Ok(meta) = fs::metadata(self.file(ground)?) else {
            return Ok(None);
        };
        let found = loop_devices()?
            .into_iter()
            .find(|(_, inode)| *inode == meta.ino());
        Ok(found.map(|(name, _)| name))
    }

    fn attached(&self, ground: &Ground) -> Result<String> {
        self.device(ground)?
            .with_context(|| format!("volume {} is not mounted on {}", self.handle, self.unit))
    }

    /// Where the node, not a container, has it mounted.
    fn places(&self, ground: &Ground, device: &str) -> Result<Vec<String>> {
        let Some(pid) = machine::init_pid(ground.spec(), self.unit()?)? else {
            return Ok(Vec::new());
        };
        let mut places = mounted_at(pid, device)?;
        // Each is seen a second time in the ground's own folder, which propagates from here.
        places.retain(|place| place.starts_with("/var/lib/kubelet/"));
        Ok(places)
    }

    fn inside(&self, ground: &Ground, argv: &[&str]) -> Result<()> {
        machine::enter(ground.spec(), self.unit()?, argv)?.run()
    }

    fn first_place(&self, ground: &Ground) -> Result<String> {
        let device = self.attached(ground)?;
        let places = self.places(ground, &device)?;
        places
            .into_iter()
            .next()
            .with_context(|| format!("volume {} is not mounted", self.handle))
    }
}

impl DiskFault {
    pub(super) fn id(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::ReadOnly => "read-only",
            Self::Frozen => "frozen",
            Self::Slow { .. } => "slow",
            Self::PowerLost => "power-lost",
        }
    }

    pub(super) fn apply(self, ground: &Ground, disk: &Disk) -> Result<()> {
        let device = disk.attached(ground)?;
        let place = disk.first_place(ground)?;
        match self {
            Self::Full => {
                // Most of it is only reserved, which costs nothing; cat then writes until the very last byte is
                // taken and fails, which is its purpose.
                let script = r#"
free=$(df --output=avail --block-size=1M "$1" | tail -1)
[ "$free" -gt 64 ] && fallocate --length $((free - 64))M "$1/$2"
cat /dev/zero 2>/dev/null >>"$1/$2" || sync "$1/$2"
"#;
                disk.inside(ground, &["sh", "-c", script, "sh", &place, FILLER])
            }
            Self::ReadOnly => {
                let trigger = PathBuf::from("/sys/fs/ext4")
                    .join(&device)
                    .join("trigger_fs_error");
                fs::write(&trigger, "1").context(
                    "only ext4 volumes can be made to fail this way: use the storage class standard-ext4",
                )
            }
            Self::Frozen => disk.inside(ground, &["fsfreeze", "--freeze", &place]),
            Self::Slow { bytes_per_second } => throttle(ground, disk, &number_of(&device)?, bytes_per_second),
            // Neither journal nor data is written out: what fstests uses to stand in for a power cut.
            Self::PowerLost => disk.inside(ground, &["xfs_io", "-x", "-c", "shutdown", &place]),
        }
    }

    pub(super) fn undo(self, ground: &Ground, disk: &Disk) -> Result<()> {
        let Some(device) = disk.device(ground)? else {
            // Its node was killed or its pod has left: with the mount, the fault went too, but for the filler.
            return match self {
                Self::Full => remove_filler_unmounted(ground, disk),
                Self::Slow { .. } => throttle_end(ground, disk),
                _ => Ok(()),
            };
        };
        match self {
            Self::Full => {
                let place = disk.first_place(ground)?;
                disk.inside(ground, &["rm", "-f", &format!("{place}/{FILLER}")])
            }
            Self::Frozen => {
                let place = disk.first_place(ground)?;
                // Refused when it is not frozen any more.
                let _ = disk.inside(ground, &["fsfreeze", "--unfreeze", &place]);
                Ok(())
            }
            Self::Slow { .. } => {
                throttle(ground, disk, &number_of(&device)?, 0)?;
                throttle_end(ground, disk)
            }
            Self::ReadOnly | Self::PowerLost => mount_again(ground, disk, &device),
        }
    }
}

/// A volume that is nowhere mounted still holds the filler.
fn remove_filler_unmounted(ground: &Ground, disk: &Disk) -> Result<()> {
    let file = disk.file(ground)?;
    if !file.exists() {
        return Ok(());
    }
    let script = r#"mount -o loop "$1" /mnt && rm -f "/mnt/$2" && umount /mnt"#;
    crate::shell::cmd("unshare", ["--mount", "sh", "-c", script, "sh"])
        .args([file.as_os_str(), FILLER.as_ref()])
        .run()
}

/// Ends whoever uses the volume, as the failure of a disk would; then checks it and mounts it where it was.
fn mount_again(ground: &Ground, disk: &Disk, device: &str) -> Result<()> {
    let unit = disk.unit()?;
    let places = disk.places(ground, device)?;
    let Some(kubelet) = machine::process_pid(ground.spec(), unit, "kubelet")?.map(Pid::from_raw) else {
        bail!("{} has no kubelet running: start it first", disk.unit);
    };
    // A container that came back between the kill and the mount would hold the old file system.
    kill(kubelet, Signal::SIGSTOP).context("failed to pause the kubelet")?;
    let result = remount(ground, disk, device, &places);
    kill(kubelet, Signal::SIGCONT).context("failed to resume the kubelet")?;
    result
}

fn remount(ground: &Ground, disk: &Disk, device: &str, places: &[String]) -> Result<()> {
    release(ground, disk, device)?;
    for place in places.iter().rev() {
        disk.inside(ground, &["umount", place])?;
    }
    wait_detached(ground, disk, device)?;
    let file = format!("/run/node/volumes/{}.img", disk.handle);
    let script = r#"
set -e
kind=$(blkid -p -o value -s TYPE "$1")
options=loop
if [ "$kind" = ext4 ]; then
  e2fsck -p "$1" || [ $? -le 1 ]
  options=loop,errors=remount-ro
fi
first=$2
mount -t "$kind" -o $options "$1" "$first"
shift 2
for place; do mount --bind "$first" "$place"; done
"#;
    let mut argv = vec!["sh", "-c", script, "sh", &file];
    argv.extend(places.iter().map(String::as_str));
    disk.inside(ground, &argv)
}

/// Waits until the last mount is gone: a container that was just being made may hold one, and mounting the
/// device once more would give the old, broken file system again.
fn wait_detached(ground: &Ground, disk: &Disk, device: &str) -> Result<()> {
    let begun = Instant::now();
    while disk.device(ground)?.as_deref() == Some(device) {
        if begun.elapsed() > RELEASED_WITHIN {
            bail!("{device} of volume {} is still mounted somewhere", disk.handle);
        }
        release(ground, disk, device)?;
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Kills the processes of containers that have the device mounted, until none is left.
fn release(ground: &Ground, disk: &Disk, device: &str) -> Result<()> {
    let pods = format!("{}/pods", machine::group(ground.spec(), disk.unit()?));
    let begun = Instant::now();
    loop {
        let mut users = Vec::new();
        for pid in cgroup::processes(&pods)? {
            if !mounted_at(pid.as_raw(), device).unwrap_or_default().is_empty() {
                users.push(pid);
            }
        }
        if users.is_empty() {
            return Ok(());
        }
        if begun.elapsed() > RELEASED_WITHIN {
            bail!("{users:?} still use {device}");
        }
        for pid in users {
            let _ = kill(pid, Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Every attached loop device, without `/dev/`, and the inode of its file: paths lie in other mounts.
pub(crate) fn loop_devices() -> Result<Vec<(String, u64)>> {
    let listed = words("losetup --list --noheadings --raw --output NAME,BACK-INO").output()?;
    let pairs = listed.lines().filter_map(|line| line.split_once(' '));
    let parsed = pairs.filter_map(|(name, inode)| Some((name, inode.trim().parse().ok()?)));
    Ok(parsed
        .map(|(name, inode)| (name.trim_start_matches("/dev/").to_owned(), inode))
        .collect())
}

/// Where the mount namespace of a process has the device mounted, in the order of mounting.
fn mounted_at(pid: i32, device: &str) -> Result<Vec<String>> {
    let number = number_of(device)?;
    let text = fs::read_to_string(format!("/proc/{pid}/mountinfo"))?;
    let rows = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let ours = rows.filter(|row| row.get(2) == Some(&number.as_str()));
    Ok(ours
        .filter_map(|row| row.get(4).map(|place| (*place).to_owned()))
        .collect())
}

/// Limits the device for every group that may write to it; zero takes the limit away.
fn throttle(ground: &Ground, disk: &Disk, number: &str, bytes_per_second: u64) -> Result<()> {
    let mut folders = cgroup::folders(&format!("{}/pods", machine::group(ground.spec(), disk.unit()?)))?;
    folders.retain(|folder| throttles(folder));
    if folders.is_empty() && bytes_per_second > 0 {
        bail!(
            "no rate can be set: the control groups of {} have no io controller",
            disk.unit
        );
    }
    for folder in &folders {
        let result = limit(folder, number, bytes_per_second);
        // The group of a container that has just ended needs no limit.
        if folder.exists() {
            result?;
        }
    }
    if Version::detect() == Version::V1 {
        // The kernel's own writers, which work for everybody, are in the root group.
        limit(Path::new(KERNEL_WRITERS), number, bytes_per_second)?;
    }
    Ok(())
}

fn limit(folder: &Path, number: &str, bytes_per_second: u64) -> Result<()> {
    if Version::detect() == Version::V2 {
        let rate = if bytes_per_second == 0 {
            "max".to_owned()
        } else {
            bytes_per_second.to_string()
        };
        let line = format!("{number} rbps={rate} wbps={rate}");
        return fs::write(folder.join("io.max"), line).context("failed to write io.max");
    }
    for file in LIMITS_V1 {
        fs::write(folder.join(file), format!("{number} {bytes_per_second}"))
            .with_context(|| format!("failed to write {file}"))?;
    }
    Ok(())
}

/// Ends the limit on the device that the volume had when the fault was made.
fn throttle_end(ground: &Ground, disk: &Disk) -> Result<()> {
    match &disk.number {
        Some(number) if exists(number) => throttle(ground, disk, number, 0),
        _ => Ok(()),
    }
}

/// Ends what slow disks left outside the ground's own control groups, before its records go.
pub(crate) fn forget_rates(ground: &Ground) -> Result<()> {
    if Version::detect() == Version::V2 {
        return Ok(());
    }
    for fault in super::active(ground)? {
        if let Fault::Disk {
            disk: Disk {
                number: Some(number), ..
            },
            fault: DiskFault::Slow { .. },
        } = fault
            && exists(&number)
        {
            limit(Path::new(KERNEL_WRITERS), &number, 0)?;
        }
    }
    Ok(())
}

fn exists(number: &str) -> bool {
    Path::new("/sys/dev/block").join(number).exists()
}

/// The `major:minor` of a device.
fn number_of(device: &str) -> Result<String> {
    let text = fs::read_to_string(Path::new("/sys/block").join(device).join("dev"))?;
    Ok(text.trim().to_owned())
}

fn throttles(folder: &Path) -> bool {
    folder.join("io.max").exists() || folder.join("blkio.throttle.write_bps_device").exists()
}
