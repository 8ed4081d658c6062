//! What was removed last, on the volume: it is told from then on, also after a copy of all data.
//! Must not hold anything that decisions rest on.

use serde::{Deserialize, Serialize};
use topology::gtid::GtidSet;
use topology::report::Removed;

use super::Error;
use crate::options::Paths;
use crate::volume;

/// As much as sets in assignments may have.
const LIMIT_BYTES: u64 = 48 << 20;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Note {
    pub(crate) transactions: GtidSet,
    pub(crate) removed: Removed,
}

impl Note {
    /// Of the same demotion.
    pub(crate) fn covers(&self, epoch: u64, transactions: &GtidSet) -> bool {
        self.removed.epoch == epoch && transactions.is_subset(&self.transactions)
    }
}

pub(crate) fn load(paths: &Paths) -> Option<Note> {
    let bytes = volume::read(&paths.removed, LIMIT_BYTES).ok().flatten()?;
    serde_json::from_slice(&bytes).ok()
}

pub(crate) fn keep(paths: &Paths, note: &Note) -> Result<(), Error> {
    let text = serde_json::to_vec_pretty(note).map_err(Error::Note)?;
    Ok(volume::write(&paths.removed, &text)?)
}
