//! What is remembered of a cluster: one small object, written by compare-and-swap only.
//! Must not hold what can be seen; status is output, this is the truth that decisions rest on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::gtid::{GtidSet, Uuid};
use crate::term::Term;

/// How a cluster is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Under which epochs are numbered in the data: epoch 7 is the transaction `<identity>:7`.
    pub identity: Uuid,
    /// Epoch 0: the first primary is being made, nothing was ever acknowledged to a client.
    pub term: Term,
    /// Who may acknowledge writes in this epoch.
    pub primary: String,
    /// The epoch is claimed and its primary is not chosen yet: everybody is to hold still, `primary` is
    /// the one before.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_choosing: bool,
    /// The primary gives its role up, for this one: it is closed while everybody still follows it, and what it
    /// then holds is all of its epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handing_to: Option<String>,
    /// Everybody whose acknowledgement may ever have counted: a superset, the primary among them.
    pub voters: BTreeMap<String, Voter>,
    /// So many replicas, at least, have whatever was acknowledged: a lower bound.
    pub acknowledged_by: u16,
    /// So many replicas the primary is told to wait for. Above `acknowledged_by` while it is being
    /// raised, never below it.
    pub wait_for: u16,
    /// All that counts of the epochs before: what the primary had when this epoch began. What an
    /// older primary holds beyond it was never acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<GtidSet>,
}

/// One whose acknowledgements may count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Voter {
    /// The incarnation that has everything acknowledged so far, or got it. `None`: none has yet;
    /// such a voter is never counted as reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<Uuid>,
    /// It is being removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaving: Option<Leaving>,
}

/// How far the removal of a voter is. It still belongs to the superset of those who may acknowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Leaving {
    /// It is told to follow nobody.
    Asked,
    /// It was seen to follow nobody. A commit proved in this term or later strikes it out.
    Silent,
}

// Serde hands over a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl Record {
    /// The record as it would be written next in this epoch.
    pub fn revised(&self) -> Self {
        let mut next = self.clone();
        next.term.revision += 1;
        next
    }

    /// The record as it would be written to begin the next epoch.
    pub fn next_epoch(&self) -> Self {
        let mut next = self.revised();
        next.term.epoch += 1;
        next
    }

    /// Whether this incarnation of the member counts.
    pub fn counts(&self, member: &str, incarnation: Uuid) -> bool {
        let voter = self.voters.get(member);
        voter.is_some_and(|voter| voter.incarnation == Some(incarnation))
    }
}
