//! Owns a small imaginary past: clients, a correct database, and what each could know.
//! It must not be wrong by itself; tests break what it made.

use std::collections::BTreeMap;

use checker::rows::payload;
use checker::{
    Change, Completion, Event, Op, OpId, Outcome, Piece, Register, Row, Seen, Stage, Stamped, Start, Verdict,
};

pub(crate) const RUN: u64 = 77;
pub(crate) const MS: u64 = 1_000_000;

#[derive(Debug, Clone)]
pub(crate) struct Past {
    pub(crate) events: Vec<Stamped>,
    pub(crate) rows: Vec<Row>,
    pub(crate) registers: Vec<Seen>,
    pub(crate) now_ns: u64,
    last_line_ns: u64,
    counts: BTreeMap<u32, u32>,
}

impl Past {
    pub(crate) fn new(registers: u32) -> Past {
        let mut past = Past {
            events: Vec::new(),
            rows: Vec::new(),
            registers: vec![Seen { version: 0, value: 0 }; registers as usize],
            now_ns: 0,
            last_line_ns: 0,
            counts: BTreeMap::new(),
        };
        past.push(Event::Start(Start {
            format: 1,
            run: RUN,
            wall_ms: 1_700_000_000_000,
            registers,
        }));
        past.push(Event::Ready);
        past
    }

    pub(crate) fn push(&mut self, event: Event) {
        self.events.push(Stamped {
            at_ns: self.now_ns,
            event,
        });
        self.last_line_ns = self.now_ns;
    }

    /// Lets time pass, with the signs of life that a checker writes.
    pub(crate) fn pass(&mut self, ns: u64) {
        let end = self.now_ns + ns;
        while end - self.last_line_ns > 100 * MS {
            self.now_ns = self.last_line_ns + 100 * MS;
            self.push(Event::Tick);
        }
        self.now_ns = end;
    }

    pub(crate) fn invoke(&mut self, client: u32, op: Op) -> OpId {
        let seq = self.counts.entry(client).or_default();
        *seq += 1;
        let id = OpId { client, seq: *seq };
        self.push(Event::Invoke { id, op });
        id
    }

    pub(crate) fn complete(&mut self, id: OpId, outcome: Outcome, seen: Option<Seen>) {
        let stage = if outcome == Outcome::Failed {
            Stage::Statement
        } else {
            Stage::Commit
        };
        self.push(Event::Complete(Completion {
            id,
            outcome,
            stage,
            code: None,
            why: None,
            seen,
        }));
    }

    pub(crate) fn add_row(&mut self, id: OpId, change: Option<Change>) {
        let row = Row {
            id: self.rows.len() as u64 + 1,
            run: RUN,
            client: id.client,
            seq: id.seq,
            change,
            payload: payload(RUN, id),
        };
        self.rows.push(row);
    }

    /// The database applies an update: register and row together.
    pub(crate) fn apply(&mut self, id: OpId, register: u32) -> Seen {
        let slot = &mut self.registers[register as usize];
        let found = *slot;
        *slot = Seen {
            version: found.version + 1,
            value: id.value(),
        };
        self.add_row(
            id,
            Some(Change {
                register,
                version: found.version + 1,
                found: found.value,
            }),
        );
        found
    }

    /// One insert of a millisecond.
    pub(crate) fn insert(&mut self, client: u32, outcome: Outcome, visible: bool) -> OpId {
        let id = self.invoke(client, Op::Insert);
        self.pass(MS);
        if visible {
            self.add_row(id, None);
        }
        self.complete(id, outcome, None);
        id
    }

    /// One acknowledged update of a millisecond.
    pub(crate) fn update(&mut self, client: u32, register: u32) -> OpId {
        let id = self.invoke(client, Op::Update { register });
        self.pass(MS);
        let seen = self.apply(id, register);
        self.complete(id, Outcome::Ok, Some(seen));
        id
    }

    /// One read of a millisecond that says it saw `seen`.
    pub(crate) fn read(&mut self, client: u32, register: u32, seen: Seen) {
        let id = self.invoke(client, Op::Read { register });
        self.pass(MS);
        self.complete(id, Outcome::Ok, Some(seen));
    }

    pub(crate) fn end(mut self) -> Past {
        self.push(Event::Stop);
        self.push(Event::End);
        self
    }

    pub(crate) fn pieces(&self) -> Vec<Piece> {
        let rows = self.rows.iter().cloned().map(Piece::Row);
        let registers = (0u32..).zip(&self.registers).map(|(id, seen)| {
            Piece::Register(Register {
                run: RUN,
                id,
                version: seen.version,
                value: seen.value,
            })
        });
        rows.chain(registers).collect()
    }

    pub(crate) fn judge(&self) -> Result<Verdict, checker::judge::Error> {
        checker::judge(
            self.events.iter().cloned().map(Ok),
            self.pieces().into_iter().map(Ok),
        )
    }
}
