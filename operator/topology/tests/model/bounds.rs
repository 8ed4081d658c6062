//! How much may happen in a run of the model, and which rule is broken on purpose.
//! Must not hold a rule of the protocol.

/// The longest history that a member can have here.
pub(crate) const LOG_LIMIT: usize = 24;
/// Nothing is explored beyond a history of this length: electors that disagree for ever about a primary would
/// have it prove itself for ever.
pub(crate) const HISTORY_LIMIT: u8 = 11;
/// The largest cluster that is modelled.
pub(crate) const MEMBERS_LIMIT: usize = 5;
/// Epoch 1 is the first; so many may come.
pub(crate) const EPOCHS_LIMIT: usize = 4;

/// Everything is explored within these; nothing outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) members: u8,
    /// k as recorded at the beginning.
    pub(crate) sync_replicas: u8,
    /// k as asked for.
    pub(crate) wanted_sync_replicas: u8,
    /// Writes that clients begin.
    pub(crate) writes: u8,
    /// Ends of mysqld that nobody asked for.
    pub(crate) crashes: u8,
    /// Volumes that are lost.
    pub(crate) losses: u8,
    /// Primaries that are given up though they run.
    pub(crate) alarms: u8,
    /// The last epoch that may be claimed.
    pub(crate) epochs: u8,
    /// Old orders on their way, old reports and old records in an elector's mind, at one time.
    pub(crate) late: u8,
    /// All that a replica lacks reaches it at once, and is acknowledged then; else one transaction at a time, and
    /// acknowledgements take as long as they like.
    pub(crate) is_prompt: bool,
    /// Only whom the record names as primary crashes.
    pub(crate) are_replicas_spared: bool,
    /// Electors see every agent, save a primary that is given up; else anybody may be out of their sight.
    pub(crate) is_all_seen: bool,
}

/// Three members, one of which must have a write beside the primary.
pub(crate) const THREE: Bounds = Bounds {
    members: 3,
    sync_replicas: 1,
    wanted_sync_replicas: 1,
    writes: 1,
    crashes: 1,
    losses: 0,
    alarms: 0,
    epochs: 2,
    late: 0,
    is_prompt: true,
    are_replicas_spared: false,
    is_all_seen: true,
};

pub(crate) const FIVE: Bounds = Bounds {
    members: 5,
    sync_replicas: 2,
    wanted_sync_replicas: 2,
    ..THREE
};

/// A rule that is broken on purpose; the model must find what it was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// The agent says that it holds still while it receives on.
    ReadBeforeFreezing,
    /// The quorum for a claim and a choice is smaller by one.
    SmallerQuorum,
    /// The agent opens before a write of its own is acknowledged.
    NoBarrier,
    /// The longest history wins, whatever its epoch.
    CountOnly,
    /// A restart forgets the assignment.
    ForgottenPromise,
    /// A new volume passes for the one that was recorded.
    AmnesiacCounted,
    /// What was received and not applied is thrown away by a promotion.
    RelayLogDropped,
    /// The record does not say where the epochs before ended.
    NoCut,
    /// The agent takes orders of any term.
    TermIgnored,
    /// More replicas are counted on before a commit was proved with them.
    NoBarrierForQuorum,
    /// Who is left out of the choice counts towards its quorum.
    LeftOutCounted,
}
