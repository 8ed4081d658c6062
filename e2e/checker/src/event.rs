//! Owns the vocabulary of a run: what a client tried, and how it ended.
//! It must not read clocks, files or databases.

use serde::{Deserialize, Serialize};

/// The layout of a history. A reader refuses any other number.
pub const FORMAT: u32 = 1;

/// One attempt, named by its client and the client's own count (from 1, without holes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OpId {
    pub client: u32,
    pub seq: u32,
}

impl OpId {
    /// The value this attempt writes into a register: never used twice in a run, never 0.
    pub fn value(self) -> u64 {
        (u64::from(self.client) << 32) | u64::from(self.seq)
    }

    /// The attempt that wrote `value`; `None` for 0, the value a register is born with.
    pub fn of_value(value: u64) -> Option<OpId> {
        let client = u32::try_from(value >> 32).ok()?;
        let seq = u32::try_from(value & u64::from(u32::MAX)).ok()?;
        (client > 0 && seq > 0).then_some(OpId { client, seq })
    }
}

/// What an attempt does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// BEGIN, INSERT, COMMIT.
    Insert,
    /// One INSERT in autocommit mode: the statement is its own commit.
    InsertAuto,
    /// BEGIN, SELECT … FOR UPDATE, UPDATE, INSERT of its row, COMMIT.
    Update { register: u32 },
    /// One SELECT through the primary Service.
    Read { register: u32 },
    /// One SELECT through the replicas Service; may be old by design.
    ReadReplica { register: u32 },
}

impl Op {
    /// Whether an acknowledgement of it promises a row.
    pub fn writes(self) -> bool {
        matches!(self, Op::Insert | Op::InsertAuto | Op::Update { .. })
    }

    pub fn register(self) -> Option<u32> {
        match self {
            Op::Insert | Op::InsertAuto => None,
            Op::Update { register } | Op::Read { register } | Op::ReadReplica { register } => Some(register),
        }
    }
}

/// How an attempt ended, as far as its client can know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The server said yes.
    Ok,
    /// The server surely did not commit.
    Failed,
    /// Any doubt.
    Unknown,
}

/// Where an attempt was when it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Getting a connection: nothing of the attempt was sent.
    Connect,
    /// A statement of an open transaction, or a plain read: COMMIT was not sent.
    Statement,
    /// A statement in autocommit mode.
    Autocommit,
    /// COMMIT was sent.
    Commit,
}

/// What an attempt saw in its register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    pub version: u64,
    pub value: u64,
}

/// The end of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    pub id: OpId,
    pub outcome: Outcome,
    pub stage: Stage,
    /// MySQL's error code, where the server sent one.
    pub code: Option<u16>,
    /// The reason of the classification, for people.
    pub why: Option<String>,
    pub seen: Option<Seen>,
}

/// The first line of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    pub format: u32,
    /// Marks this run's rows in the database.
    pub run: u64,
    /// Wall clock at the start, milliseconds since 1970. For people only, never compared.
    pub wall_ms: u64,
    pub registers: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Start(Start),
    /// The registers exist and the clients begin: the service is measured from here.
    Ready,
    /// Written before anything of the attempt is sent.
    Invoke {
        id: OpId,
        op: Op,
    },
    Complete(Completion),
    /// A sign of life of the checker itself.
    Tick,
    /// The run was asked to end: the service is measured up to here.
    Stop,
    /// Every client has finished.
    End,
}

/// An event and its time, in nanoseconds since the history began (monotonic).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamped {
    pub at_ns: u64,
    pub event: Event,
}
