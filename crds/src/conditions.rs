//! The condition types and reasons of all kinds: programs read them, so they are API.
//! Must not decide which of them holds.

use std::fmt;

macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $word:ident,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$doc])* $word,)+ }

        impl $name {
            /// Every word, in the order of the reference.
            pub const ALL: &'static [Self] = &[$(Self::$word),+];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$word => stringify!($word)),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// What a condition is about.
    ConditionType {
        /// The object is as asked and serves. Always present.
        Ready,
        /// There is a primary that takes writes. Always present on a cluster.
        PrimaryAvailable,
        /// A node may be lost now without losing writes or service. Always present on a cluster.
        Redundant,
        /// The operator is changing something. Present only while true.
        Reconciling,
        /// The operator cannot go on until a person acts. Present only while true.
        Stalled,
        /// The operator leaves the object alone, as asked. Present only while true.
        Suspended,
    }
}

words! {
    /// Why a condition is what it is. What each belongs to: `ConditionType::reasons`.
    Reason {
        /// The operator has not looked yet, or could not.
        NotObserved,
        /// All members that are wanted serve.
        AllInstancesReady,
        /// Some members do not serve; writes go on.
        InstancesNotReady,
        /// No member takes writes.
        NoPrimary,
        /// The primary takes writes and they are acknowledged.
        Writable,
        /// A failover is under way.
        FailoverInProgress,
        /// A switchover is under way.
        SwitchoverInProgress,
        /// The primary runs, but too few replicas acknowledge: commits wait.
        AwaitingReplicas,
        /// A failover is possible and waits for a person, as `failover.policy` says.
        AwaitingApproval,
        /// A failover is possible and waits a while, since several came shortly before.
        CoolingDown,
        /// More replicas acknowledge than are needed.
        SpareReplicas,
        /// Just as many replicas acknowledge as are needed: one more loss stops writes.
        NoSpareReplicas,
        /// There is one member only.
        SingleInstance,
        /// The first members are being made.
        Creating,
        /// Members are added or removed.
        Scaling,
        /// Members are restarted one by one with new settings.
        Updating,
        /// Members are moved to another version one by one.
        Upgrading,
        /// Volumes are growing.
        Resizing,
        /// A member is being brought back.
        Recovering,
        /// The object is being removed.
        Deleting,
        /// The spec asks for something that cannot be done; the message says what to change.
        SpecRefused,
        /// Too few members can be reached to prove that no acknowledged write is lost.
        QuorumLost,
        /// Members of one epoch have different histories: no choice between them is safe.
        HistoryDiverged,
        /// The image lacks something that is needed, or is of a wrong version.
        ImageUnfit,
        /// The volumes cannot be grown by their storage class.
        ResizeRefused,
        /// A volume is full; the message names the member. Raise `spec.storage.size`.
        VolumeFull,
        /// A volume refuses writes or lets them hang; the message names the member. Look at its storage.
        VolumeFails,
        /// A plan failed its own check; nothing was done.
        PlanRefused,
        /// A failover takes longer than `failover.deadlineSeconds`.
        DeadlineExceeded,
        /// `spec.suspend` is true.
        SuspendedBySpec,
        /// It waits for something; the message says for what.
        Waiting,
        /// What was asked for is done.
        Completed,
        /// It was only to be said what would be done, and it could be done.
        DryRun,
        /// There is no cluster of that name in the namespace.
        ClusterNotFound,
        /// It cannot be done as it was asked for; the message says what to change.
        NotPossible,
        /// It took longer than it may, and was undone.
        TakenBack,
        /// Something else changed what it was about, such as a failover.
        Superseded,
    }
}

/// Nothing goes on before somebody or something else changes.
const STALLED: &[Reason] = &[
    Reason::SpecRefused,
    Reason::QuorumLost,
    Reason::HistoryDiverged,
    Reason::ImageUnfit,
    Reason::ResizeRefused,
    Reason::VolumeFull,
    Reason::VolumeFails,
    Reason::PlanRefused,
    Reason::DeadlineExceeded,
    Reason::AwaitingApproval,
    Reason::ClusterNotFound,
    Reason::NotPossible,
    Reason::TakenBack,
    Reason::Superseded,
];

impl ConditionType {
    /// The reasons that this condition can have.
    pub const fn reasons(self) -> &'static [Reason] {
        use Reason::*;
        match self {
            Self::Ready => &[
                NotObserved,
                AllInstancesReady,
                InstancesNotReady,
                NoPrimary,
                FailoverInProgress,
                SwitchoverInProgress,
                AwaitingReplicas,
                AwaitingApproval,
                CoolingDown,
                Creating,
                Deleting,
                Waiting,
                Completed,
                DryRun,
                ClusterNotFound,
                NotPossible,
                TakenBack,
                Superseded,
                DeadlineExceeded,
            ],
            Self::PrimaryAvailable => &[
                NotObserved,
                Writable,
                NoPrimary,
                FailoverInProgress,
                SwitchoverInProgress,
                AwaitingReplicas,
                AwaitingApproval,
                CoolingDown,
                Creating,
            ],
            Self::Redundant => &[
                NotObserved,
                SpareReplicas,
                NoSpareReplicas,
                SingleInstance,
                NoPrimary,
            ],
            Self::Reconciling => &[
                FailoverInProgress,
                SwitchoverInProgress,
                Creating,
                Scaling,
                Updating,
                Upgrading,
                Resizing,
                Recovering,
                Deleting,
                Waiting,
            ],
            Self::Stalled => STALLED,
            Self::Suspended => &[SuspendedBySpec],
        }
    }

    /// Whether it is left out while it does not hold.
    pub const fn only_while_true(self) -> bool {
        matches!(self, Self::Reconciling | Self::Stalled | Self::Suspended)
    }
}
