//! When an order was given: the epoch of the primary, and the revision of the record within it.
//! Must not be compared with clocks: terms order, they do not measure.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Terms rise by compare-and-swap of the cluster's record alone. An agent refuses orders of a term
/// below the highest that it has promised, also within an epoch: a controller that was paused could
/// otherwise set back how many replicas must acknowledge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Term {
    pub epoch: u64,
    /// Rises with every write of the record, also over epochs.
    pub revision: u64,
}

impl Term {
    pub const fn new(epoch: u64, revision: u64) -> Self {
        Self { epoch, revision }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.revision)
    }
}
