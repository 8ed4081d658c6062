//! The messages, one a frame, as JSON.
//! Must not change meaning within a version: fields are added, readers ignore what they do not know.

use serde::{Deserialize, Serialize};
use topology::assignment::Assignment;
use topology::report::Report;
use topology::term::Term;

/// Both sides say the version they speak, and handle the one before.
pub const VERSION: u32 = 1;

/// A GTID set may be long; no message is longer than this.
pub const FRAME_LIMIT_BYTES: usize = 40 << 20;

/// What an agent is sent comes from Kubernetes objects, none of which is larger than 1.5 MiB.
pub const ORDER_LIMIT_BYTES: usize = 4 << 20;

/// Whether two programs that say these versions can talk.
pub fn is_understood(theirs: u32) -> bool {
    theirs.abs_diff(VERSION) <= 1
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all_fields = "camelCase")]
pub enum ToAgent {
    /// First.
    Hello { version: u32 },
    /// Every 500 ms. Numbers rise over all connections of a controller, so that what was noted down
    /// before a reconnect, or on the stream to another member, still compares. Reports say which came
    /// last. Without `leads`, somebody else may be leading by now.
    Ping {
        number: u64,
        #[serde(default = "leads")]
        leads: bool,
    },
    /// Kept on the volume before it is answered, unless its term is below the promised one.
    Assign { assignment: Box<Assignment> },
}

/// Older controllers do not say.
fn leads() -> bool {
    true
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all_fields = "camelCase")]
pub enum FromAgent {
    /// First.
    Hello {
        version: u32,
        agent: String,
    },
    Report {
        report: Box<Report>,
    },
    /// It is on the volume.
    Promised {
        term: Term,
    },
    /// It was not taken.
    Refused {
        term: Term,
        promised: Term,
        why: String,
    },
}
