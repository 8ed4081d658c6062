//! Owns the memory of all attempts, eight bytes each.
//! It must not keep anything that grows faster than that.

use crate::event::{Op, OpId, Outcome};

/// More clients or registers than this are a broken history, not a large run.
pub const MAX_CLIENTS: usize = 65_536;
pub const MAX_REGISTERS: u32 = 4_096;

const TIME_BITS: u32 = 42;
const KIND_AT: u32 = TIME_BITS;
const OUTCOME_AT: u32 = KIND_AT + 3;
const ROWS_AT: u32 = OUTCOME_AT + 2;
const REGISTER_AT: u32 = ROWS_AT + 2;

/// One attempt in a word: its last time in microseconds (up to 50 days), operation,
/// outcome, rows seen so far (0, 1, 2 for more), register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record(u64);

impl Record {
    fn new(op: Op, at_ns: u64) -> Record {
        let kind: u64 = match op {
            Op::Insert => 0,
            Op::InsertAuto => 1,
            Op::Update { .. } => 2,
            Op::Read { .. } => 3,
            Op::ReadReplica { .. } => 4,
        };
        let register = u64::from(op.register().unwrap_or(0).min(MAX_REGISTERS - 1));
        // Unknown until a completion says otherwise: that is what an attempt without end is.
        Record(clip_us(at_ns) | (kind << KIND_AT) | (2 << OUTCOME_AT) | (register << REGISTER_AT))
    }

    fn field(self, at: u32, bits: u32) -> u64 {
        (self.0 >> at) & ((1 << bits) - 1)
    }

    pub(crate) fn op(self) -> Op {
        let register = u32::try_from(self.field(REGISTER_AT, 12)).unwrap_or(0);
        match self.field(KIND_AT, 3) {
            0 => Op::Insert,
            1 => Op::InsertAuto,
            2 => Op::Update { register },
            3 => Op::Read { register },
            _ => Op::ReadReplica { register },
        }
    }

    pub(crate) fn outcome(self) -> Outcome {
        match self.field(OUTCOME_AT, 2) {
            0 => Outcome::Ok,
            1 => Outcome::Failed,
            _ => Outcome::Unknown,
        }
    }

    pub(crate) fn rows(self) -> u64 {
        self.field(ROWS_AT, 2)
    }

    /// When it ended, or began if it never ended.
    pub(crate) fn at_ns(self) -> u64 {
        self.field(0, TIME_BITS) * 1_000
    }
}

fn clip_us(at_ns: u64) -> u64 {
    (at_ns / 1_000).min((1 << TIME_BITS) - 1)
}

/// All attempts, by client and number.
#[derive(Debug, Default)]
pub(crate) struct Ops {
    clients: Vec<Vec<Record>>,
}

impl Ops {
    /// Adds the next attempt of its client; `false` if it is not the next, or too many.
    pub(crate) fn invoke(&mut self, id: OpId, op: Op, at_ns: u64) -> bool {
        let Some(index) = index(id.client) else {
            return false;
        };
        if index >= MAX_CLIENTS || op.register().is_some_and(|register| register >= MAX_REGISTERS) {
            return false;
        }
        if self.clients.len() <= index {
            self.clients.resize_with(index + 1, Vec::new);
        }
        let list = &mut self.clients[index];
        if u32::try_from(list.len()) != Ok(id.seq - 1) {
            return false;
        }
        list.push(Record::new(op, at_ns));
        true
    }

    pub(crate) fn complete(&mut self, id: OpId, outcome: Outcome, at_ns: u64) {
        if let Some(record) = self.slot(id) {
            let bits: u64 = match outcome {
                Outcome::Ok => 0,
                Outcome::Failed => 1,
                Outcome::Unknown => 2,
            };
            let time = (1u64 << TIME_BITS) - 1;
            record.0 = (record.0 & !time & !(3 << OUTCOME_AT)) | clip_us(at_ns) | (bits << OUTCOME_AT);
        }
    }

    /// Counts a row of this attempt; answers how many there are now (2 for more).
    pub(crate) fn count_row(&mut self, id: OpId) -> u64 {
        let Some(record) = self.slot(id) else { return 0 };
        let rows = (record.rows() + 1).min(2);
        record.0 = (record.0 & !(3 << ROWS_AT)) | (rows << ROWS_AT);
        rows
    }

    pub(crate) fn get(&self, id: OpId) -> Option<Record> {
        self.clients.get(index(id.client)?)?.get(index(id.seq)?).copied()
    }

    fn slot(&mut self, id: OpId) -> Option<&mut Record> {
        self.clients.get_mut(index(id.client)?)?.get_mut(index(id.seq)?)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (OpId, Record)> + '_ {
        self.clients.iter().enumerate().flat_map(|(client, list)| {
            list.iter().enumerate().filter_map(move |(seq, record)| {
                let client = u32::try_from(client + 1).ok()?;
                let seq = u32::try_from(seq + 1).ok()?;
                Some((OpId { client, seq }, *record))
            })
        })
    }
}

fn index(one_based: u32) -> Option<usize> {
    usize::try_from(one_based.checked_sub(1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_keeps_every_field() {
        let mut ops = Ops::default();
        let id = OpId { client: 3, seq: 1 };
        assert!(ops.invoke(id, Op::Update { register: 4_095 }, 5_000));
        assert_eq!(ops.get(id).unwrap().outcome(), Outcome::Unknown);
        ops.complete(id, Outcome::Failed, 9_000_000_000);
        assert_eq!(ops.count_row(id), 1);
        assert_eq!(ops.count_row(id), 2);
        assert_eq!(ops.count_row(id), 2);
        let record = ops.get(id).unwrap();
        assert_eq!(record.op(), Op::Update { register: 4_095 });
        assert_eq!(record.outcome(), Outcome::Failed);
        assert_eq!(record.at_ns(), 9_000_000_000);
        assert_eq!(size_of::<Record>(), 8);
    }

    #[test]
    fn only_the_next_number_is_taken() {
        let mut ops = Ops::default();
        assert!(!ops.invoke(OpId { client: 1, seq: 2 }, Op::Insert, 0));
        assert!(ops.invoke(OpId { client: 1, seq: 1 }, Op::Insert, 0));
        assert!(!ops.invoke(OpId { client: 1, seq: 1 }, Op::Insert, 0));
    }
}
