//! A clone that was begun: a mark on the volume from before the data are touched until after they are
//! whole under a new identity. Must not be forgotten earlier: half a clone claims transactions it lacks.

use serde::{Deserialize, Serialize};
use topology::gtid::Uuid;

use crate::options::Paths;
use crate::volume;

pub(crate) const LIMIT_BYTES: u64 = 4_096;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("failed to keep the mark of a clone")]
    Volume(#[from] volume::Error),
    #[error("failed to read the mark of a clone")]
    Text(#[source] serde_json::Error),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Marker {
    /// Whose data are being replaced.
    pub(crate) instead_of: Uuid,
    /// When the clone before this one began: mysqld goes on showing that one until the next begins.
    pub(crate) before: Option<String>,
    /// The donor's data are all there. The identity is given up before mysqld starts again.
    pub(crate) is_copied: bool,
}

pub(crate) fn load(paths: &Paths) -> Result<Option<Marker>, Error> {
    let bytes = volume::read(&paths.clone, LIMIT_BYTES)?;
    bytes
        .map(|bytes| serde_json::from_slice(&bytes).map_err(Error::Text))
        .transpose()
}

pub(crate) fn keep(paths: &Paths, marker: &Marker) -> Result<(), Error> {
    let text = serde_json::to_vec(marker).map_err(Error::Text)?;
    Ok(volume::write(&paths.clone, &text)?)
}

pub(crate) fn forget(paths: &Paths) -> Result<(), Error> {
    volume::remove(&paths.clone)?;
    Ok(())
}

/// What the mark, and what mysqld says of its last clone, mean together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// No clone was begun.
    Nothing,
    /// It was refused before the data were touched.
    Untouched,
    /// The data are neither the old ones nor the donor's.
    Ruined,
    /// The donor's data, still under the old identity.
    Copied,
    /// The donor's data under a new identity, with the donor's replication to be forgotten.
    Renewed,
}

pub(crate) fn judge(
    marker: Option<&Marker>,
    incarnation: Uuid,
    state: Option<&sql::clone::State>,
    stages: &[sql::clone::Stage],
) -> Left {
    use sql::clone::Phase;
    let Some(marker) = marker else {
        return Left::Nothing;
    };
    let state = state.filter(|state| Some(&state.began) != marker.before.as_ref());
    let stages = if state.is_some() { stages } else { &[] };
    let is_complete = state.is_some_and(|state| state.phase == Phase::Completed);
    let is_new = incarnation != marker.instead_of;
    let is_touched = stages
        .iter()
        .any(|stage| stage.name == "DROP DATA" && stage.phase != Phase::NotStarted);
    match (is_complete, is_new) {
        (true, true) => Left::Renewed,
        (true, false) => Left::Copied,
        // An identity that is new without a clone that is complete: the data are no good.
        (false, true) => Left::Ruined,
        (false, false) if is_touched => Left::Ruined,
        (false, false) => Left::Untouched,
    }
}

#[cfg(test)]
mod tests {
    use sql::clone::{Phase, Stage, State};

    use super::*;

    const OLD: &str = "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa";
    const NEW: &str = "bbbbbbbb-bbbb-bbbb-bbbb-bbbbbbbbbbbb";

    fn judged(identity: &str, began: &str, phase: Option<Phase>, drop: Option<Phase>) -> Left {
        let marker = Marker {
            instead_of: OLD.parse().unwrap(),
            before: Some("1".into()),
            is_copied: false,
        };
        let state = phase.map(|phase| State {
            phase,
            began: began.into(),
            source: String::new(),
            code: 0,
            message: String::new(),
            binlog_file: String::new(),
            binlog_position: 0,
            gtid_executed: Default::default(),
        });
        let stages: Vec<Stage> = drop
            .map(|phase| Stage {
                name: "DROP DATA".into(),
                phase,
                estimated_bytes: 0,
                copied_bytes: 0,
                network_bytes: 0,
            })
            .into_iter()
            .collect();
        judge(Some(&marker), identity.parse().unwrap(), state.as_ref(), &stages)
    }

    #[test]
    fn a_clone_is_done_when_it_is_complete_under_a_new_identity() {
        use Phase::{Completed, Failed, InProgress, NotStarted};
        for (identity, phase, drop, wanted) in [
            (OLD, None, None, Left::Untouched),
            (OLD, Some(Failed), Some(NotStarted), Left::Untouched),
            (OLD, Some(Failed), Some(Completed), Left::Ruined),
            (OLD, Some(InProgress), Some(InProgress), Left::Ruined),
            (OLD, Some(Completed), Some(Completed), Left::Copied),
            (NEW, Some(Completed), Some(Completed), Left::Renewed),
            (NEW, Some(Failed), Some(Completed), Left::Ruined),
            (NEW, None, None, Left::Ruined),
        ] {
            assert_eq!(
                judged(identity, "2", phase, drop),
                wanted,
                "{identity} {phase:?} {drop:?}"
            );
        }
        // Of the clone before.
        let before = judged(OLD, "1", Some(Completed), Some(Completed));
        assert_eq!(before, Left::Untouched);
        assert_eq!(judge(None, OLD.parse().unwrap(), None, &[]), Left::Nothing);
    }
}
