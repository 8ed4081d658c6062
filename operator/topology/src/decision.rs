//! What `decide` answers: the state by name, the next steps, the reasons, what is refused and why.
//! Must not act: every step is a value that somebody else checks and carries out.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::assignment::Assignment;
use crate::gtid::Uuid;
use crate::observed::{Exposed, Timestamp};
use crate::record::{ByHand, Record};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    pub state: ClusterState,
    pub plan: Plan,
    /// What there is to say of each member.
    pub members: BTreeMap<String, MemberView>,
    pub because: Vec<Reason>,
    pub refused: Vec<Refusal>,
    /// When to ask again, if nothing changes before.
    pub wake: Option<Timestamp>,
}

/// The named states: the same names in status and in ARCHITECTURE.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ClusterState {
    /// The first members are being made; nothing is exposed.
    Creating,
    /// Volumes of an earlier cluster of this name are being taken over.
    Adopting,
    /// The primary is lost: the epoch after it is claimed, and its primary is being chosen.
    FailingOver,
    /// The primary gives its role to another, as asked for.
    SwitchingOver,
    /// Every member serves.
    Healthy,
    /// Writes go on, and a member is missing or behind.
    Degraded,
    /// Members are added or removed.
    Scaling,
    /// Members are restarted one by one.
    Updating,
    /// The primary runs and too few replicas acknowledge: commits wait.
    AwaitingReplicas,
    /// The primary is there and not open yet: it starts, recovers, or passes its barrier.
    Opening,
    /// The primary is not there, or cannot be seen, and nobody can take over.
    PrimaryUnavailable,
    /// No choice is safe; a person has to act.
    Blocked,
    /// Left alone, as asked.
    Suspended,
}

impl ClusterState {
    pub const ALL: &'static [ClusterState] = &[
        ClusterState::Creating,
        ClusterState::Adopting,
        ClusterState::FailingOver,
        ClusterState::SwitchingOver,
        ClusterState::Healthy,
        ClusterState::Degraded,
        ClusterState::Scaling,
        ClusterState::Updating,
        ClusterState::AwaitingReplicas,
        ClusterState::Opening,
        ClusterState::PrimaryUnavailable,
        ClusterState::Blocked,
        ClusterState::Suspended,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            ClusterState::Creating => "Creating",
            ClusterState::Adopting => "Adopting",
            ClusterState::FailingOver => "FailingOver",
            ClusterState::SwitchingOver => "SwitchingOver",
            ClusterState::Healthy => "Healthy",
            ClusterState::Degraded => "Degraded",
            ClusterState::Scaling => "Scaling",
            ClusterState::Updating => "Updating",
            ClusterState::AwaitingReplicas => "AwaitingReplicas",
            ClusterState::Opening => "Opening",
            ClusterState::PrimaryUnavailable => "PrimaryUnavailable",
            ClusterState::Blocked => "Blocked",
            ClusterState::Suspended => "Suspended",
        }
    }
}

/// The next steps, fully specific. `execute` makes no choices; the order is that of the fields, and
/// a step whose predecessor in it failed is not taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Written by compare-and-swap against the record that was decided from. If it is there, the
    /// rest of the plan waits for the next decision.
    pub record: Option<Record>,
    /// Members that must exist, with Pod and volume: wanted ones and those not struck out yet.
    pub exist: BTreeSet<String>,
    /// What each reachable member is to be. Those that it has already are not sent again.
    pub assign: BTreeMap<String, Assignment>,
    /// What the Services are to lead to; `None` leaves them as they are.
    pub expose: Option<Exposed>,
    /// The one Pod that is removed now, to be made anew from today's spec.
    pub replace: Option<String>,
    /// Members that are struck out, or never were in: their Pods go. Volumes follow the policy.
    pub remove: BTreeSet<String>,
}

/// A member as people see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberView {
    pub role: MemberRole,
    pub state: MemberState,
    /// Why, where it is not plain: a sentence for a person.
    pub because: Option<String>,
    /// What nobody acknowledged and was removed from its volume last: a sentence for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<String>,
    /// It serves as it should.
    pub is_ready: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberRole {
    Primary,
    Replica,
    /// Neither yet: being made, seeded, or removed.
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum MemberState {
    /// There is no Pod yet, or it cannot be scheduled or started.
    Pending,
    /// The Pod runs; its agent or mysqld is starting.
    Starting,
    /// Its data are being made or copied.
    Seeding,
    /// It follows, and has not caught up or been counted yet.
    CatchingUp,
    Serving,
    /// A replica too far behind to serve reads.
    Lagging,
    /// mysqld does not start, or does not answer.
    Failed,
    /// Nothing was heard of it for a while.
    Unreachable,
    /// It is being removed.
    Leaving,
    /// Its history is not the primary's.
    Diverged,
}

impl MemberState {
    pub fn as_str(self) -> &'static str {
        match self {
            MemberState::Pending => "Pending",
            MemberState::Starting => "Starting",
            MemberState::Seeding => "Seeding",
            MemberState::CatchingUp => "CatchingUp",
            MemberState::Serving => "Serving",
            MemberState::Lagging => "Lagging",
            MemberState::Failed => "Failed",
            MemberState::Unreachable => "Unreachable",
            MemberState::Leaving => "Leaving",
            MemberState::Diverged => "Diverged",
        }
    }
}

/// Why the state and the plan are what they are; typed, and a sentence by `Display`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all_fields = "camelCase")]
pub enum Reason {
    /// Members that do not run yet.
    WaitingFor {
        members: BTreeSet<String>,
    },
    Founding {
        primary: String,
    },
    /// Replicas that must be counted before the first epoch opens.
    WaitingForReplicas {
        have: u16,
        need: u16,
    },
    Opening {
        primary: String,
        epoch: u64,
    },
    /// What it received comes first.
    Applying {
        member: String,
        /// So many transactions, or somewhat more: in steps.
        at_least: u64,
        pace: Pace,
    },
    /// Who must acknowledge before it opens lacks so many transactions, or somewhat more: in steps.
    Receiving {
        member: String,
        at_least: u64,
    },
    FailingOver {
        from: String,
        cause: Cause,
    },
    /// A person lets the next epoch be claimed for a member, or has made it primary.
    ByHand {
        epoch: u64,
        named: ByHand,
        is_done: bool,
    },
    /// It is closed, to make another the primary.
    HandingOver {
        from: String,
        to: String,
        why: Occasion,
    },
    /// It stays primary after all.
    TakingBack {
        primary: String,
        why: Hindrance,
    },
    Joined {
        members: BTreeSet<String>,
    },
    Seeding {
        member: String,
        from: String,
        why: SeedReason,
    },
    RaisingQuorum {
        from: u16,
        to: u16,
    },
    LoweringQuorum {
        from: u16,
        to: u16,
    },
    Adding {
        members: BTreeSet<String>,
    },
    Removing {
        members: BTreeSet<String>,
    },
    Adopting {
        primary: String,
        epoch: u64,
    },
    Replacing {
        member: String,
    },
    Restarting {
        member: String,
        parameters: BTreeSet<String>,
    },
    /// Parameters that wait for the primary's restart, or its Pod is of an older spec: it hands over first.
    PrimaryRestartPending {
        parameters: BTreeSet<String>,
    },
    /// Nothing can be written there: refused, or hanging.
    VolumesFail {
        members: BTreeSet<String>,
    },
    VolumesFull {
        members: BTreeSet<String>,
    },
    MembersNotServing {
        members: BTreeSet<String>,
    },
    CommitsWait {
        have: u16,
        need: u16,
    },
    /// A failover of long ago makes the next one wait no more.
    Forgetting {
        left: u16,
    },
    Suspended,
}

/// How fast what was received is applied, and so how long the rest takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all_fields = "camelCase")]
pub enum Pace {
    /// It was not looked at for long enough.
    Unknown,
    /// Nothing was applied for a while: a large transaction, or one that waits.
    None,
    /// About, in steps.
    Left { seconds: u64 },
}

/// Why a primary counts as lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// Its agent says that mysqld ended.
    MysqldDead,
    /// Neither the controller nor its replicas hear of it.
    Unreachable,
    /// Its mysqld does not answer its agent, nor do its replicas hear of it.
    Hung,
    /// So many of its replicas cannot reach it that none of its commits is acknowledged, though it can be seen.
    CutOff,
    /// Its volume has no room for a write, and those of enough others have.
    DiskFull,
    /// Its volume refuses writes, or lets them hang.
    VolumeFails,
    /// Its volume is another one.
    DataLost,
    /// Its volume lacks what it wrote itself.
    SetBack,
}

/// Why a primary that is well gives its role up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Occasion {
    /// Somebody asked for it.
    Asked,
    /// It is beyond the number of instances.
    Removed,
    /// Its Pod is being deleted.
    PodEnds,
    /// It needs a restart, or its Pod is of an older spec.
    Update,
}

/// Why a handover is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hindrance {
    /// The primary could not be closed, or the other did not catch up, within the limit.
    TooLong,
    /// Who was to take over is not there any more.
    TargetGone,
}

/// Why a member cannot take over from a primary that is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unfit {
    /// The cluster has no such member, or will not keep it.
    NotWanted,
    /// It does not follow the primary, or its data do not count.
    NotFollowing,
    /// Its Pod is being deleted.
    Ending,
    /// It lacks or has not applied too much.
    Behind,
    /// With it as primary too few others would acknowledge.
    Alone,
}

/// What a handover waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wait {
    /// The primary is not open.
    Opening,
    /// Members are added or removed, or more replicas are to acknowledge.
    Membership,
    /// One was taken back a moment ago.
    Pause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeedReason {
    /// It is empty, and the history is too long or not whole in the binary logs.
    Empty,
    /// The primary has purged what it lacks.
    TooFarBehind,
    /// It has transactions that the primary does not have.
    Diverged,
    /// It lacks transactions of before this epoch that nobody sends it any more: it wrote them itself.
    Hole,
}

/// What would be done, and what forbids it; a sentence by `Display` with what would cure it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all_fields = "camelCase")]
pub enum Refusal {
    /// Too few members with their data can be seen to know what was acknowledged.
    QuorumLost {
        seen: BTreeSet<String>,
        missing: BTreeSet<String>,
        need: u16,
    },
    /// The primary's volume holds other data than those that were recorded.
    PrimaryDataLost {
        primary: String,
        recorded: Uuid,
        found: Uuid,
    },
    /// Histories of one epoch differ.
    HistoryDiverged { one: String, other: String },
    /// The primary cannot be seen; whether it is down is not known.
    PrimaryUnreachable { primary: String },
    /// What a person can decide where no choice is safe: whom to make primary, and what that loses.
    LeftToPeople { epoch: u64, choices: Vec<ByHand> },
    /// Volumes hold data of clusters with different identities, or of none that is known.
    MixedVolumes { members: BTreeSet<String> },
    /// There was a primary once, the record of it is gone, and what can be seen is empty.
    RecordLost,
    /// A failover is possible, and the spec leaves it to a person.
    AwaitingApproval { primary: String },
    /// A failover is possible, and waits since so many came shortly before. The time is one of few steps.
    CoolingDown {
        primary: String,
        cause: Cause,
        failovers: u16,
        within_ms: u64,
    },
    /// Another is to be primary, and nobody can take over now.
    NoSuccessor {
        primary: String,
        unfit: BTreeMap<String, Unfit>,
    },
    /// Another is to be primary, and something comes first.
    HandoverWaits { primary: String, why: Wait },
}
