//! The labels of the controller's figures, which are the cases of enums.
//! Must not grow with what is in a cluster.

use std::hash::{Hash, Hasher};

use crds::cluster::PromotionKind;
use kit::metrics::Label;
use topology::decision::{ClusterState, MemberState};

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Failure {
    /// A watch broke; it is begun anew.
    Watch,
    /// Objects, Secrets and certificates could not be put as they should be.
    Supply,
    /// The record could not be read or written.
    Record,
    /// A Pod, volume or EndpointSlice could not be written.
    Step,
    /// The status or an Event could not be written.
    Report,
    /// A plan failed its check.
    PlanRefused,
    /// The task of a cluster ended in a panic.
    Task,
}

impl Label for Failure {
    const NAME: &'static str = "kind";

    fn value(&self) -> &'static str {
        match self {
            Failure::Watch => "watch",
            Failure::Supply => "supply",
            Failure::Record => "record",
            Failure::Step => "step",
            Failure::Report => "report",
            Failure::PlanRefused => "plan_refused",
            Failure::Task => "task",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State(pub(crate) ClusterState);

impl Label for State {
    const NAME: &'static str = "state";

    fn value(&self) -> &'static str {
        self.0.as_str()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct OfMember(pub(crate) MemberState);

impl Label for OfMember {
    const NAME: &'static str = "state";

    fn value(&self) -> &'static str {
        self.0.as_str()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind(pub(crate) PromotionKind);

// The API's own type has none.
impl Hash for Kind {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.value().hash(state);
    }
}

impl Label for Kind {
    const NAME: &'static str = "kind";

    fn value(&self) -> &'static str {
        match self.0 {
            PromotionKind::Bootstrap => "Bootstrap",
            PromotionKind::Switchover => "Switchover",
            PromotionKind::Failover => "Failover",
        }
    }
}

/// What a promotion's time went into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    Detect,
    Freeze,
    Choose,
    Decide,
    Barrier,
    Expose,
}

impl Label for Phase {
    const NAME: &'static str = "phase";

    fn value(&self) -> &'static str {
        match self {
            Phase::Detect => "detect",
            Phase::Freeze => "freeze",
            Phase::Choose => "choose",
            Phase::Decide => "decide",
            Phase::Barrier => "barrier",
            Phase::Expose => "expose",
        }
    }
}

/// Why nobody takes over, where somebody would have to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Refused {
    QuorumLost,
    PrimaryDataLost,
    HistoryDiverged,
    PrimaryUnreachable,
    MixedVolumes,
    RecordLost,
    AwaitingApproval,
    CoolingDown,
}

impl Refused {
    pub(crate) const ALL: &'static [Self] = &[
        Refused::QuorumLost,
        Refused::PrimaryDataLost,
        Refused::HistoryDiverged,
        Refused::PrimaryUnreachable,
        Refused::MixedVolumes,
        Refused::RecordLost,
        Refused::AwaitingApproval,
        Refused::CoolingDown,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Refused::QuorumLost => "QuorumLost",
            Refused::PrimaryDataLost => "PrimaryDataLost",
            Refused::HistoryDiverged => "HistoryDiverged",
            Refused::PrimaryUnreachable => "PrimaryUnreachable",
            Refused::MixedVolumes => "MixedVolumes",
            Refused::RecordLost => "RecordLost",
            Refused::AwaitingApproval => "AwaitingApproval",
            Refused::CoolingDown => "CoolingDown",
        }
    }
}

impl Label for Refused {
    const NAME: &'static str = "reason";

    fn value(&self) -> &'static str {
        self.as_str()
    }
}
