//! Owns the judge of every claim about lost writes: recording a run, and judging what was kept.
//! It must not know Kubernetes or the operator; a TCP address is all it sees of a cluster.

pub mod classify;
mod client;
pub mod event;
pub mod history;
pub mod judge;
pub mod members;
pub mod rows;
pub mod run;
pub mod sql;
pub mod verdict;

pub use client::Tally;
pub use event::{Completion, Event, Op, OpId, Outcome, Seen, Stage, Stamped, Start};
pub use judge::{Judge, judge};
pub use rows::{Change, Piece, Register, Row};
pub use verdict::{Kind, Verdict};
