//! An old primary on its way back: what it holds beyond the cut is kept aside, told, and cut off its log
//! where that is safe. Must not cut anything of a member that may still be the primary.

pub(crate) mod archive;
pub(crate) mod logs;
pub(crate) mod notes;
pub(crate) mod tail;

use std::fs::OpenOptions;
use std::time::Duration;

use topology::assignment::{Assignment, Role};
use topology::gtid::{GtidSet, Uuid};
use topology::record::Record;
use topology::report::{Removal, Removed};

use crate::member::cloning;
use crate::options::Paths;
use crate::volume::{self, failed};
use archive::Archived;
use notes::Note;
use tail::{Look, Tail};

/// A primary whose mysqld crashed stays down for so long for the next epoch to be claimed: controllers
/// need a tenth of it. Nothing is waited for where nobody could take over.
const CLAIM_LIMIT: Duration = Duration::from_secs(2);
/// In all, once it is claimed: whoever chooses may yet need what this one has.
const CHOICE_LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Volume(#[from] volume::Error),
    #[error("failed to read {name}")]
    Log {
        name: String,
        #[source]
        source: binlog::Error,
    },
    #[error("failed to keep note of what is removed")]
    Note(#[source] serde_json::Error),
}

/// For how long a mysqld that crashed stays down, since it may be replaced: what it did not commit yet can
/// then be cut off.
pub(crate) fn patience(assignment: &Assignment) -> Option<Duration> {
    let record = assignment.record.as_ref()?;
    if record.primary != assignment.member || record.acknowledged_by == 0 {
        return None;
    }
    match assignment.role {
        Role::Primary { .. } | Role::Retire => Some(CLAIM_LIMIT),
        Role::Hold if record.is_choosing => Some(CHOICE_LIMIT),
        _ => None,
    }
}

/// The record, if another is primary by it and it says what counts.
pub(crate) fn demotion(assignment: &Assignment) -> Option<&Record> {
    let record = assignment.record.as_ref()?;
    let is_replaced = record.primary != assignment.member && !record.is_choosing;
    (is_replaced && record.cut.is_some()).then_some(record)
}

/// mysqld crashed and left a log open: what stands last in it may be only prepared.
pub(crate) fn has_open_log(paths: &Paths) -> bool {
    tail::is_open(paths).unwrap_or(false)
}

/// Before mysqld starts. Returns why it could not be spared a copy of all data, if that was looked at.
pub(crate) fn before_start(paths: &Paths, assignment: &Assignment) -> Option<String> {
    let record = demotion(assignment)?;
    match look_and_cut(paths, record) {
        Ok(why) => why,
        Err(error) => {
            let why = crate::agent::chain(&error);
            tracing::warn!(why, "the end of the binary log cannot be cut off");
            Some(why)
        }
    }
}

fn look_and_cut(paths: &Paths, record: &Record) -> Result<Option<String>, Error> {
    let is_cloning = volume::read(&paths.clone, cloning::LIMIT_BYTES)?.is_some();
    if is_cloning {
        return Ok(None);
    }
    let tail = match tail::look(paths, record)? {
        Look::Nothing => return Ok(None),
        Look::Unfit(why) => return Ok(Some(why)),
        Look::Tail(tail) => tail,
    };
    let archived = archive::keep(paths, record.term.epoch, &tail.transactions)?;
    note(paths, record, &tail.transactions, &archived, Removal::Cut)?;
    cut(paths, &tail)?;
    let count = tail.transactions.count();
    let (transactions, log) = (&tail.transactions, tail.log.display());
    tracing::warn!(count, %transactions, %log, at = tail.from, "transactions that nobody acknowledged were cut off");
    Ok(None)
}

/// Under a new identity: what another took from this one before it crashed can never be taken for what it
/// numbers next. The identity goes first: after a crash in between there is a new member with too much.
fn cut(paths: &Paths, tail: &Tail) -> Result<(), Error> {
    volume::remove(&paths.auto_cnf())?;
    let file = OpenOptions::new().write(true).open(&tail.log);
    let shorter = file.and_then(|file| {
        file.set_len(tail.from)?;
        file.sync_all()
    });
    shorter.map_err(failed("shorten", &tail.log))?;
    Ok(volume::sync_folder_of(&tail.log)?)
}

/// Before all data are replaced: `all` is what mysqld has, under this identity.
pub(crate) fn before_copy(
    paths: &Paths,
    record: &Record,
    (incarnation, all): (Uuid, &GtidSet),
    because: Option<String>,
) -> Result<(), Error> {
    let beyond = record.unpromised(incarnation, all);
    if beyond.is_empty() {
        return Ok(());
    }
    // Cut off already, and mysqld has them all the same: the logs hold them no more.
    if let Some(mut kept) = notes::load(paths).filter(|kept| kept.covers(record.term.epoch, &beyond)) {
        if kept.removed.how == Removal::Cut {
            let because = Some("mysqld had committed them before its log was cut".to_owned());
            kept.removed.how = Removal::Copied { because };
        }
        return notes::keep(paths, &kept);
    }
    let how = Removal::Copied { because };
    let archived = archive::keep(paths, record.term.epoch, &beyond)?;
    note(paths, record, &beyond, &archived, how)
}

fn note(
    paths: &Paths,
    record: &Record,
    transactions: &GtidSet,
    archived: &Archived,
    how: Removal,
) -> Result<(), Error> {
    let left_out = transactions.subtract(&archived.transactions);
    let is_any = !archived.transactions.is_empty();
    let removed = Removed {
        epoch: record.term.epoch,
        count: u64::try_from(transactions.count()).unwrap_or(u64::MAX),
        transactions: Removed::told(transactions),
        archive: is_any.then(|| paths.archive.display().to_string()),
        left_out: (!left_out.is_empty()).then(|| {
            let why = archived.why.as_deref().unwrap_or("they are in no binary log");
            format!("{} of them are in no archive: {why}", left_out.count())
        }),
        how,
    };
    let note = Note {
        transactions: transactions.clone(),
        removed,
    };
    notes::keep(paths, &note)
}

#[cfg(test)]
mod tests;
