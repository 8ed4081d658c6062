//! Binary logs as transactions: where each begins and ends, its GTID, and whether it is nothing but rows.
//! Must not open files or judge what a transaction means, and must not panic or grow on any bytes.
//!
//! Format: MySQL's "Replication Protocol", and for tagged GTIDs its library `mysql-serialization`.

mod body;
mod event;
mod group;
mod log;
mod payload;

#[cfg(test)]
mod tests;

use std::io;

pub use group::{Group, Shape};
pub use log::{Ending, Log};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to read the binary log")]
    Io(#[from] io::Error),
    #[error("the binary log is encrypted")]
    Encrypted,
    #[error("this is no binary log")]
    NotALog,
    #[error("the binary log is of a format that is not known: {0}")]
    Format(&'static str),
    #[error("the event at {at} does not fit its checksum")]
    Checksum { at: u64 },
    #[error("the event at {at} is not understood: {why}")]
    Event { at: u64, why: &'static str },
}
