//! Looks at the volume: whether it has room, and takes a write.
//! Must not wait for it: a volume may hang.

use std::time::{Duration, Instant};

use topology::report::{Disk, Trouble, TroubleKind};

use super::publish::{milliseconds, trouble};
use super::{Agent, DISK_PERIOD, Event, Phase, SLOW, TICK};
use crate::volume;

/// A volume that is full for longer is told of: a statement that failed gives its room back at once.
const FULL_LIMIT: Duration = Duration::from_secs(3);
/// A write to the volume that takes longer is reported; a disk that is merely busy keeps within it.
const OVERDUE: Duration = Duration::from_millis(500);
/// One that takes longer is told to people.
const HANG_LIMIT: Duration = Duration::from_secs(5);

impl Agent {
    /// Now and then; a commit that takes long waits for a replica, or for the volume.
    pub(super) fn look_at_disk(&mut self) {
        let is_slow = self.waited().is_some_and(|waited| waited >= SLOW);
        let period = if is_slow { TICK } else { DISK_PERIOD };
        let is_due = self
            .disk_looked_at
            .is_none_or(|looked| looked.elapsed() >= period);
        if is_due && self.looking_at_disk.is_none() {
            let now = Instant::now();
            self.looking_at_disk = Some(now);
            self.disk_looked_at = Some(now);
            let (paths, events) = (self.setup.paths.clone(), self.events.clone());
            tokio::spawn(async move {
                let looked = tokio::task::spawn_blocking(move || volume::look(&paths)).await;
                let _ = events.send(Event::Disk(looked.ok())).await;
            });
        }
    }

    pub(super) fn looked_at_disk(&mut self, looked: Option<volume::Looked>, now: Instant) {
        self.looking_at_disk = None;
        let Some(looked) = looked else {
            return;
        };
        self.disk_failure = looked.failure;
        self.disk = looked.room.or(self.disk);
        let is_full = self.disk.is_some_and(|disk| disk.is_full());
        let was_full = self.full_since.is_some();
        self.full_since = is_full.then(|| self.full_since.unwrap_or(now));
        // What failed for want of room is tried at once when there is some.
        if was_full && !is_full {
            tracing::info!("the volume has room again");
            self.starts.reset();
            self.steps.reset();
            if matches!(self.phase, Phase::Waiting(_)) {
                self.phase = Phase::Waiting(now);
            }
        }
    }

    pub(super) fn write_age_ms(&self) -> u64 {
        let age = self.looking_at_disk.map(|since| since.elapsed());
        age.filter(|age| *age > OVERDUE).map_or(0, milliseconds)
    }

    pub(super) fn takes_writes(&self) -> bool {
        self.write_age_ms() == 0 && self.disk_failure.is_none()
    }

    pub(super) fn troubles_of_disk(&self) -> impl Iterator<Item = Trouble> {
        let is_full = self.full_since.is_some_and(|since| since.elapsed() > FULL_LIMIT);
        let failure = self.volume_failure();
        let failure = failure.map(|why| trouble(TroubleKind::VolumeFails, &why));
        self.disk.filter(|_| is_full).map(full).into_iter().chain(failure)
    }

    fn volume_failure(&self) -> Option<String> {
        let is_hung = self
            .looking_at_disk
            .is_some_and(|since| since.elapsed() > HANG_LIMIT);
        match (&self.disk_failure, is_hung) {
            (_, true) => Some(format!(
                "its volume takes no writes: one has hung for more than {} s; look at its storage",
                HANG_LIMIT.as_secs()
            )),
            (Some(why), _) => Some(format!("its volume takes no writes: {why}; look at its storage")),
            (None, _) => None,
        }
    }
}

/// Without the room that is left, which changes all the time.
fn full(disk: Disk) -> Trouble {
    let size = disk.total_bytes >> 20;
    trouble(
        TroubleKind::DiskFull,
        &format!("its volume ({size} MiB) is full: raise spec.storage.size"),
    )
}
