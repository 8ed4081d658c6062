//! Owns the comparison of a history with what the database kept.
//! It must not do IO, read a clock, or call clean what it could not judge.

mod gaps;
mod ops;
mod registers;

use crate::event::{Completion, Event, Op, OpId, Outcome, Seen, Stamped, Start};
use crate::history;
use crate::rows::{self, Piece, Row, payload};
use crate::verdict::{Counts, Example, Findings, Kind, Verdict};
use gaps::{Gaps, Latencies};
use ops::{Ops, Record};
use registers::Register;

pub use ops::{MAX_CLIENTS, MAX_REGISTERS};

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to judge: the history is empty")]
    Empty,
    #[error("failed to judge: no write was acknowledged")]
    NothingAcknowledged,
    #[error("failed to judge: line {line} is out of order: {what}")]
    Order { line: u64, what: &'static str },
    #[error("failed to judge without the whole history")]
    History(#[from] history::Error),
    #[error("failed to judge without all rows")]
    Rows(#[from] rows::Error),
}

/// An attempt that has begun and not ended.
#[derive(Debug, Clone, Copy)]
struct Pending {
    id: OpId,
    op: Op,
    at_ns: u64,
    /// What its register had reached before it began.
    floor: u64,
}

/// Judges a history against the pieces of a database.
pub fn judge<H, P>(history: H, pieces: P) -> Result<Verdict, Error>
where
    H: IntoIterator<Item = Result<Stamped, history::Error>>,
    P: IntoIterator<Item = Result<Piece, rows::Error>>,
{
    let mut judge = Judge::read(history)?;
    for piece in pieces {
        judge.piece(&piece?);
    }
    judge.finish()
}

/// The same in steps, for pieces that come from a stream.
pub struct Judge {
    start: Start,
    line: u64,
    at_ns: u64,
    ready: bool,
    ended: bool,
    pending: Vec<Option<Pending>>,
    ops: Ops,
    registers: Vec<Register>,
    gaps: Gaps,
    latencies: Latencies,
    counts: Counts,
    findings: Findings,
    notes: Vec<String>,
}

impl Judge {
    /// Takes in the whole history.
    pub fn read<H>(history: H) -> Result<Judge, Error>
    where
        H: IntoIterator<Item = Result<Stamped, history::Error>>,
    {
        let mut events = history.into_iter();
        let first = events.next().ok_or(Error::Empty)??;
        let Event::Start(start) = first.event else {
            return Err(Error::Order {
                line: 1,
                what: "the first event is not a start",
            });
        };
        if start.registers > MAX_REGISTERS {
            return Err(Error::Order {
                line: 1,
                what: "more registers than any run has",
            });
        }
        let mut judge = Judge {
            start,
            line: 1,
            at_ns: first.at_ns,
            ready: false,
            ended: false,
            pending: Vec::new(),
            ops: Ops::default(),
            registers: (0..start.registers).map(|_| Register::default()).collect(),
            gaps: Gaps::default(),
            latencies: Latencies::default(),
            counts: Counts::default(),
            findings: Findings::default(),
            notes: Vec::new(),
        };
        for event in events {
            judge.event(event?)?;
        }
        Ok(judge)
    }

    /// The mark of the rows to bring.
    pub fn run(&self) -> u64 {
        self.start.run
    }

    pub fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Adds a finding of another judge, such as the comparison of members.
    pub fn add(&mut self, kind: Kind, example: Example) {
        self.findings.add(kind, example);
    }

    /// Rows that were left out of the pieces because they are of other runs.
    pub fn add_rows_of_other_runs(&mut self, count: u64) {
        self.counts.rows_of_other_runs += count;
    }

    fn order(&self, what: &'static str) -> Error {
        Error::Order {
            line: self.line,
            what,
        }
    }

    fn event(&mut self, stamped: Stamped) -> Result<(), Error> {
        self.line += 1;
        let at_ns = stamped.at_ns;
        if at_ns < self.at_ns {
            return Err(self.order("time runs backwards"));
        }
        self.at_ns = at_ns;
        self.gaps.line(at_ns);
        match stamped.event {
            Event::Start(_) => return Err(self.order("a second start")),
            Event::Ready if self.ready => return Err(self.order("ready twice")),
            Event::Ready => {
                self.ready = true;
                self.gaps.ready(at_ns);
            }
            Event::Tick => {}
            Event::Stop => self.gaps.stop(at_ns),
            Event::End => self.ended = true,
            Event::Invoke { id, op } => self.invoke(id, op, at_ns)?,
            Event::Complete(done) => self.complete(&done, at_ns)?,
        }
        Ok(())
    }

    fn invoke(&mut self, id: OpId, op: Op, at_ns: u64) -> Result<(), Error> {
        if !self.ready {
            return Err(self.order("an attempt before ready"));
        }
        let floor = match op.register() {
            None => 0,
            Some(register) => match usize::try_from(register)
                .ok()
                .and_then(|at| self.registers.get(at))
            {
                Some(register) => register.floor,
                None => return Err(self.order("a register that the run does not have")),
            },
        };
        if !self.ops.invoke(id, op, at_ns) {
            return Err(self.order("not the next number of its client"));
        }
        let index = usize::try_from(id.client - 1).unwrap_or(usize::MAX);
        if self.pending.len() <= index {
            self.pending.resize(index + 1, None);
        }
        if self.pending[index].is_some() {
            return Err(self.order("a client with two attempts at once"));
        }
        self.pending[index] = Some(Pending { id, op, at_ns, floor });
        Ok(())
    }

    fn complete(&mut self, done: &Completion, at_ns: u64) -> Result<(), Error> {
        let index = usize::try_from(done.id.client - 1).unwrap_or(usize::MAX);
        let pending = self.pending.get_mut(index).and_then(Option::take);
        let Some(pending) = pending.filter(|pending| pending.id == done.id) else {
            return Err(self.order("a completion of nothing"));
        };
        self.ops.complete(done.id, done.outcome, at_ns);
        let ok = done.outcome == Outcome::Ok;
        if ok && pending.op.register().is_some() && done.seen.is_none() {
            return Err(self.order("a success on a register that does not say what it saw"));
        }
        if pending.op.writes() {
            match done.outcome {
                Outcome::Ok => self.counts.acknowledged += 1,
                Outcome::Failed => self.counts.failed += 1,
                Outcome::Unknown => self.counts.unknown += 1,
            }
            if ok {
                self.gaps.ack(at_ns);
                self.latencies.add(at_ns - pending.at_ns);
            }
        }
        if let (Some(register), Some(seen)) = (pending.op.register(), done.seen) {
            self.saw(pending, register, seen, ok, at_ns);
        } else if !pending.op.writes() {
            self.counts.reads_failed += 1;
        }
        Ok(())
    }

    fn saw(&mut self, pending: Pending, id: u32, seen: Seen, ok: bool, at_ns: u64) {
        let written = seen == (Seen { version: 0, value: 0 })
            || OpId::of_value(seen.value)
                .and_then(|writer| self.ops.get(writer))
                .is_some_and(|record| record.op() == Op::Update { register: id });
        if !written {
            let what = format!(
                "version {} was read before anybody tried to write it",
                seen.version
            );
            self.findings
                .add(Kind::UnexplainedRead, read_example(pending, id, at_ns, what));
        }
        let Some(register) = usize::try_from(id).ok().and_then(|at| self.registers.get_mut(at)) else {
            return;
        };
        match pending.op {
            Op::Update { .. } if ok => register.acknowledge(pending.id, seen),
            Op::ReadReplica { .. } => {
                self.counts.replica_reads += 1;
                let behind = pending.floor.saturating_sub(seen.version);
                self.counts.replica_reads_stale += u64::from(behind > 0);
                let most = self.counts.replica_most_versions_behind.max(behind);
                self.counts.replica_most_versions_behind = most;
                if written {
                    register.read_replica(seen, at_ns);
                }
            }
            Op::Read { .. } => {
                self.counts.reads += 1;
                if seen.version < pending.floor {
                    let (old, new) = (seen.version, pending.floor);
                    let what = format!("version {old} was read, {new} was known before the read began");
                    self.findings
                        .add(Kind::StaleRead, read_example(pending, id, at_ns, what));
                }
                if written {
                    register.floor = register.floor.max(seen.version);
                    register.read(seen, at_ns);
                }
            }
            // What an update read before it failed was shown all the same.
            _ if written => register.read(seen, at_ns),
            _ => {}
        }
    }

    /// Takes in one row or register.
    pub fn piece(&mut self, piece: &Piece) {
        match piece {
            Piece::Row(row) if row.run != self.start.run => self.counts.rows_of_other_runs += 1,
            Piece::Row(row) => self.row(row),
            Piece::Register(end) if end.run == self.start.run => {
                let register = usize::try_from(end.id)
                    .ok()
                    .and_then(|at| self.registers.get_mut(at));
                if let Some(register) = register {
                    register.end(Seen {
                        version: end.version,
                        value: end.value,
                    });
                }
            }
            Piece::Register(_) | Piece::End(_) => {}
        }
    }

    fn row(&mut self, row: &Row) {
        self.counts.rows += 1;
        let id = row.op();
        let Some(record) = self.ops.get(id).filter(|record| record.op().writes()) else {
            self.findings.add(
                Kind::ForeignRow,
                row_example(row, None, "a row that nobody attempted".into()),
            );
            return;
        };
        if self.ops.count_row(id) > 1 {
            let what = format!("row {} is not its first", row.id);
            self.findings
                .add(Kind::DuplicateRow, row_example(row, Some(record), what));
            return;
        }
        let fits = match (record.op(), row.change) {
            (Op::Update { register }, Some(change)) => register == change.register,
            (Op::Update { .. }, None) | (_, Some(_)) => false,
            (_, None) => true,
        };
        if !fits || row.payload != payload(self.start.run, id) {
            let what = format!("row {} is not what was sent", row.id);
            self.findings
                .add(Kind::CorruptRow, row_example(row, Some(record), what));
        }
        if let (true, Some(change)) = (fits, row.change)
            && let Ok(at) = usize::try_from(change.register)
            && let Some(register) = self.registers.get_mut(at)
        {
            register.row(id, change);
        }
    }

    /// The verdict, once every piece was taken in.
    pub fn finish(mut self) -> Result<Verdict, Error> {
        if self.counts.acknowledged == 0 {
            return Err(Error::NothingAcknowledged);
        }
        let unfinished = self
            .pending
            .iter()
            .flatten()
            .filter(|pending| pending.op.writes())
            .count();
        self.counts.unfinished = u64::try_from(unfinished).unwrap_or(u64::MAX);
        self.counts.unknown += self.counts.unfinished;
        for (id, record) in self.ops.iter().filter(|(_, record)| record.op().writes()) {
            let case = |what: &str| Example {
                client: Some(id.client),
                seq: Some(id.seq),
                register: record.op().register(),
                at_ns: Some(record.at_ns()),
                what: what.to_owned(),
            };
            match (record.outcome(), record.rows()) {
                (Outcome::Ok, 0) => self
                    .findings
                    .add(Kind::LostWrite, case("was acknowledged and is gone")),
                (Outcome::Failed, 1..) => {
                    self.findings
                        .add(Kind::FailedWriteVisible, case("surely failed and is there"));
                }
                (Outcome::Unknown, 0) => self.counts.unknown_vanished += 1,
                (Outcome::Unknown, _) => self.counts.unknown_survived += 1,
                _ => {}
            }
        }
        for (id, register) in (0u32..).zip(std::mem::take(&mut self.registers)) {
            self.counts.replica_reads_vanished += register.finish(id, &self.ops, &mut self.findings);
        }
        if !self.ended {
            self.notes
                .push("the history has no end: its checker was killed or still runs".to_owned());
        }
        Ok(Verdict {
            run: self.start.run,
            wall_ms: self.start.wall_ms,
            findings: self.findings.into_list(),
            counts: self.counts,
            service: self.gaps.finish(),
            latency: self.latencies.finish(),
            notes: self.notes,
        })
    }
}

fn read_example(pending: Pending, register: u32, at_ns: u64, what: String) -> Example {
    Example {
        client: Some(pending.id.client),
        seq: Some(pending.id.seq),
        register: Some(register),
        at_ns: Some(at_ns),
        what,
    }
}

fn row_example(row: &Row, record: Option<Record>, what: String) -> Example {
    Example {
        client: Some(row.client),
        seq: Some(row.seq),
        register: row.change.map(|change| change.register),
        at_ns: record.map(|record| record.at_ns()),
        what,
    }
}
