//! What stands at the end of the last log and counts for nobody, and whether it can be cut off.
//! Must not call anything safe that mysqld may have committed.

use std::path::PathBuf;

use binlog::{Ending, Shape};
use topology::gtid::{GtidSet, Source};
use topology::record::Record;

use super::{Error, logs};
use crate::options::Paths;

/// From here to the end of the log there is nothing that counts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    pub(crate) log: PathBuf,
    pub(crate) from: u64,
    pub(crate) transactions: GtidSet,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Nothing that does not count, or nothing that a crash left behind.
    Nothing,
    Tail(Tail),
    /// There is something, and it must not be cut off: why.
    Unfit(String),
}

pub(crate) fn is_open(paths: &Paths) -> Result<bool, Error> {
    match logs::last(paths)? {
        Some(path) => Ok(logs::open(&path)?.is_in_use()),
        None => Ok(false),
    }
}

/// mysqld is down.
pub(crate) fn look(paths: &Paths, record: &Record) -> Result<Look, Error> {
    let (Some(path), Some(cut)) = (logs::last(paths)?, &record.cut) else {
        return Ok(Look::Nothing);
    };
    let epochs = Source::from(record.identity);
    let mut log = logs::open(&path)?;
    // It was closed: everything in it is committed. Or it has followed in this epoch, and was compared then.
    if !log.is_in_use() || log.previous().highest(&epochs) >= record.term.epoch {
        return Ok(Look::Nothing);
    }
    let earlier = log.previous().subtract(cut);
    let mut transactions = GtidSet::new();
    let (mut from, mut odd) = (None, None);
    while let Some(group) = log.next_group().map_err(logs::unread(&path))? {
        let gtid = &group.gtid;
        if *gtid.source() == epochs && gtid.number() >= record.term.epoch {
            return Ok(Look::Nothing);
        }
        if cut.contains(gtid) {
            if from.is_some() {
                odd.get_or_insert(format!("{gtid} counts and follows what does not"));
            }
            continue;
        }
        from.get_or_insert(group.at);
        if let Shape::Other(why) = group.shape {
            odd.get_or_insert(format!("{gtid} is no change of rows alone: {why}"));
        }
        transactions.insert(group.gtid);
    }
    let unfit = |why: &str| Ok(Look::Unfit(why.to_owned()));
    if !earlier.is_empty() {
        // mysqld begins a log only when all of the one before is committed.
        return unfit("some of them are in an earlier binary log: they are committed");
    }
    let Some(from) = from else {
        return Ok(Look::Nothing);
    };
    if let Some(why) = odd {
        return Ok(Look::Unfit(why));
    }
    if log.ending() == Ending::Closed {
        return unfit("the binary log was closed: they are committed");
    }
    match logs::started_on(paths)? {
        None => unfit("it is not known whether mysqld was started since it crashed"),
        Some(name) if name == logs::name_of(&path) => {
            unfit("mysqld was started since it crashed: they may be committed")
        }
        Some(_) => Ok(Look::Tail(Tail {
            log: path,
            from,
            transactions,
        })),
    }
}
