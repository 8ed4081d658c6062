//! What a member's agent says of it: facts with no judgement, whole in each message.
//! Must not hold times of a clock that others compare: ages are measured where they are used.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::assignment::Assignment;
use crate::gtid::{GtidSet, Uuid};
use crate::term::Term;

/// From a source that is there something comes each half second.
const SILENCE_MS: u64 = 1_000;
const LONG_SILENCE_MS: u64 = 2_000;
/// A write that takes longer is not waited for.
const WRITE_LIMIT_MS: u64 = 1_500;
/// mysqld has not answered its agent for longer: it hangs.
const ANSWER_LIMIT_MS: u64 = 2_000;

/// Sent at once on every change of something that matters, and every 500 ms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub member: String,
    /// The number of the last ping of this connection that came before this was sampled.
    pub heard: u64,
    /// The program's version.
    pub agent: String,
    /// The newest assignment, which is on the volume. Nothing below its term is obeyed.
    pub assignment: Option<Assignment>,
    /// Whether everything that the assignment asks for is in force.
    pub is_settled: bool,
    /// The newest term in which a commit was seen to be acknowledged by as many replicas as the
    /// assignment of that term asked for, the commit begun after they were all asked for.
    pub proved: Option<Proof>,
    /// The first primary's accounts and tables are made.
    pub is_founded: bool,
    pub process: Process,
    /// As of the last round that could be finished with this run of mysqld; `None` while it does
    /// not answer.
    pub server: Option<ServerSeen>,
    /// `server` is older than this many milliseconds: mysqld hangs, or the disk does.
    pub server_age_ms: u64,
    pub disk: Option<Disk>,
    /// A small write to the volume has not come back for so long; 0 while none is overdue.
    #[serde(default)]
    pub write_age_ms: u64,
    /// Safety settings that were found changed and were put back, since the agent started.
    pub drift: BTreeMap<String, Drift>,
    /// Parameters that wait for a restart.
    pub awaiting_restart: BTreeSet<String>,
    /// What nobody acknowledged and was removed from its volume, the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<Removed>,
    /// What keeps it from its assignment, in words for a person; mysqld's own where it has some.
    pub troubles: Vec<Trouble>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proof {
    pub term: Term,
    pub wait_for: u16,
}

/// What mysqld, the process, does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all_fields = "camelCase")]
pub enum Process {
    /// The agent has no assignment yet, so it does not know what to start.
    Unassigned,
    Initialising,
    /// Started, and does not answer yet: crash recovery belongs to it.
    Starting,
    Running,
    /// Its data are being replaced by a donor's.
    Cloning {
        percent: u8,
    },
    /// It ended, and is started again after a while. `restarts` counts ends nobody asked for.
    Ended {
        restarts: u32,
    },
    /// It is being stopped, for a restart or for good.
    Stopping,
}

/// mysqld's own word on itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerSeen {
    /// `server_uuid`: a new one with each data directory and each clone.
    pub incarnation: Uuid,
    pub version: String,
    pub executed: GtidSet,
    pub purged: GtidSet,
    /// Received over replication since the relay log begins, applied or not.
    pub received: GtidSet,
    /// Clients may write.
    pub is_open: bool,
    /// Somebody's commit waits for acknowledgements now.
    pub has_waiters: bool,
    /// As source: how many replicas acknowledge now.
    pub acknowledging: u16,
    /// As source: `None` while it does not wait for acknowledgements.
    pub waits_for: Option<u16>,
    /// As replica.
    pub follows: Option<Follows>,
    /// Behind the primary, by its heartbeat row; `None` where there is none to compare with.
    pub lag_ms: Option<u64>,
    /// The newest heartbeat that is in the data.
    pub beat: Option<Beat>,
}

impl ServerSeen {
    /// How many transactions it has received and not applied.
    pub fn unapplied(&self) -> u64 {
        u64::try_from(self.received.subtract(&self.executed).count()).unwrap_or(u64::MAX)
    }

    /// The same, of one that receives nothing more: it only becomes less.
    pub fn rest(&self) -> Option<u64> {
        let is_receiving = self.follows.as_ref().is_some_and(|follows| follows.is_receiving);
        Some(self.unapplied()).filter(|rest| *rest > 0 && !is_receiving)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Beat {
    pub epoch: u64,
    pub number: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Follows {
    pub host: String,
    pub port: u16,
    /// Connected and receiving.
    pub is_receiving: bool,
    pub is_applying: bool,
    /// It acknowledges what it receives.
    pub acknowledges: bool,
    /// It tries to connect, and nobody answers, or not yet. A source that answers with an error is reached.
    #[serde(default)]
    pub is_unreached: bool,
    /// Nothing, not even a heartbeat, came for so long.
    pub silence_ms: u64,
    pub failure: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Disk {
    pub total_bytes: u64,
    pub free_bytes: u64,
}

impl Follows {
    /// A source that is there is heard each half second.
    pub fn is_silent(&self) -> bool {
        self.silence_ms > SILENCE_MS
    }

    /// Who has just begun to look need not wait for a silence of its own.
    pub fn is_long_silent(&self) -> bool {
        self.silence_ms > LONG_SILENCE_MS
    }
}

impl Report {
    /// Its volume has no room for a write.
    pub fn is_out_of_room(&self) -> bool {
        self.has(TroubleKind::DiskFull)
    }

    /// Its volume takes no write: full, refusing, or hanging.
    pub fn cannot_write(&self) -> bool {
        let is_hung = self.write_age_ms > WRITE_LIMIT_MS;
        self.is_out_of_room() || self.has(TroubleKind::VolumeFails) || is_hung
    }

    /// Its mysqld said something of late.
    pub fn answers(&self) -> bool {
        self.server_age_ms <= ANSWER_LIMIT_MS
    }

    /// It could write for a while: what nobody looked at is not held against it.
    pub fn has_room(&self) -> bool {
        self.writes_now() && self.disk.is_none_or(|disk| !disk.is_nearly_full())
    }

    /// No write is overdue. A disk that several members share stalls all of them, and nobody is then better off.
    pub fn writes_now(&self) -> bool {
        !self.cannot_write() && self.write_age_ms == 0
    }

    fn has(&self, kind: TroubleKind) -> bool {
        let mut troubles = self.troubles.iter();
        troubles.any(|trouble| trouble.kind == kind)
    }
}

impl Disk {
    /// mysqld makes tables larger by 4 MiB at a time, and a binary log grows with each commit: below
    /// this, one of them fails or waits.
    pub fn is_full(&self) -> bool {
        self.free_bytes < 8 << 20
    }

    /// Less than a twentieth, or too little for a few binary logs.
    pub fn is_nearly_full(&self) -> bool {
        self.free_bytes < self.nearly_full_bytes()
    }

    pub fn nearly_full_bytes(&self) -> u64 {
        (self.total_bytes / 20).max(64 << 20)
    }
}

/// Transactions that an old primary held beyond the cut: nobody was promised them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Removed {
    /// With whose beginning its history was compared.
    pub epoch: u64,
    pub count: u64,
    /// As `Removed::told` makes it.
    pub transactions: String,
    /// The folder on the volume with their events; `None` if there are none.
    pub archive: Option<String>,
    /// How many are not there, and why.
    pub left_out: Option<String>,
    pub how: Removal,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all_fields = "camelCase")]
pub enum Removal {
    /// They were cut off the binary log before mysqld had committed them: it rolls them back.
    Cut,
    /// All data are replaced by another member's. `because`: why that could not be spared.
    Copied { because: Option<String> },
}

impl Removed {
    /// Of the set as text.
    const TOLD_LIMIT_BYTES: usize = 400;

    /// The set in a line that is short enough for a status.
    pub fn told(transactions: &GtidSet) -> String {
        let mut line = transactions.to_string().replace('\n', " ");
        // Sets are plain ASCII.
        if line.len() > Self::TOLD_LIMIT_BYTES {
            line.truncate(Self::TOLD_LIMIT_BYTES);
            line.push('…');
        }
        line
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    pub found: String,
    pub put_back: String,
    pub times: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trouble {
    pub kind: TroubleKind,
    /// Bounded to a line of at most 1,000 bytes, without secrets.
    pub what: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TroubleKind {
    /// The image lacks mysqld or a plugin, or its version is not supported.
    ImageUnfit,
    /// mysqld does not start; its last line of error.
    DoesNotStart,
    /// A parameter was refused, running or by validation; the old value stays in force.
    ParameterRefused,
    InitialisationFailed,
    CloneFailed,
    /// mysqld does not answer, though it runs.
    Unresponsive,
    /// Replication stopped with an error.
    ReplicationBroken,
    /// Commits wait longer than they should for acknowledgements.
    AwaitingAcknowledgements,
    /// The volume has had no room for a write for some seconds.
    DiskFull,
    /// The volume refuses writes, or one has hung for some seconds.
    VolumeFails,
    /// The agent's account is refused: the Secret does not belong to these data.
    CredentialsRefused,
    /// Certificates, Secrets or files that are missing or cannot be read.
    FilesMissing,
    AccountsFailed,
    /// Anything else that failed.
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::following;

    fn disk(total_mib: u64, free_bytes: u64) -> Disk {
        Disk {
            total_bytes: total_mib << 20,
            free_bytes,
        }
    }

    #[test]
    fn a_disk_is_full_before_the_last_byte() {
        assert!(disk(1_000, (8 << 20) - 1).is_full());
        assert!(!disk(1_000, 8 << 20).is_full());
    }

    #[test]
    fn a_disk_is_nearly_full_below_a_twentieth_or_64_mib() {
        let limit = 64 << 20;
        assert!(disk(1_000, limit - 1).is_nearly_full());
        assert!(!disk(1_000, limit).is_nearly_full());
        let limit = 100 << 20;
        assert!(disk(2_000, limit - 1).is_nearly_full());
        assert!(!disk(2_000, limit).is_nearly_full());
    }

    #[test]
    fn silences_count_when_they_are_over_their_limits() {
        let of = |silence_ms: u64| {
            let follows = Follows {
                silence_ms,
                ..following()
            };
            (follows.is_silent(), follows.is_long_silent())
        };
        let told = [1_000, 1_001, 2_000, 2_001].map(of);
        assert_eq!(told, [(false, false), (true, false), (true, false), (true, true)]);
    }

    #[test]
    fn only_who_receives_nothing_more_has_a_rest() {
        let mut server = crate::testing::empty(0).report.unwrap().server.unwrap();
        let set = |text: &str| {
            text.replace("own", "00000000-0000-0000-0000-000000000001")
                .parse()
                .unwrap()
        };
        (server.executed, server.received) = (set("own:1-4"), set("own:1-9"));
        assert_eq!(server.rest(), Some(5));
        server.follows = Some(following());
        assert_eq!(server.rest(), None);
        server.follows = None;
        server.executed = set("own:1-9");
        assert_eq!(server.rest(), None);
    }

    #[test]
    fn long_sets_are_cut_and_say_so() {
        let of = |last: &str| {
            Removed::told(
                &format!("00000000-0000-0000-0000-000000000001:{last}")
                    .parse()
                    .unwrap(),
            )
        };
        assert_eq!(of("7").len(), 38);
        // 36 of the server, and ":1" with some of ":3", ":5" and so on.
        let numbers = |count: u64| {
            (0..count)
                .map(|n| (1_000 + 2 * n).to_string())
                .collect::<Vec<_>>()
                .join(":")
        };
        let exact = of(&format!("1:3:{}", numbers(72)));
        assert_eq!((exact.len(), exact.ends_with('…')), (400, false));
        let longer = of(&format!("1:3:{}", numbers(73)));
        assert_eq!((longer.chars().count(), longer.ends_with('…')), (401, true));
        assert_eq!(longer.trim_end_matches('…'), exact);
    }
}
