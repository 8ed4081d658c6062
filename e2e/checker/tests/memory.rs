//! Owns the bound on the judge's memory: bytes per event, whatever the length of the run.
//! It must not share its process, whose peak it reads.
#![cfg(test)]

use checker::rows::payload;
use checker::{
    Change, Completion, Event, Judge, Op, OpId, Outcome, Piece, Register, Row, Seen, Stage, Stamped, Start,
};

const RUN: u64 = 5;
const ATTEMPTS: u32 = 1_000_000;

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Every second attempt updates the one register, the others insert.
fn change(seq: u32) -> Option<Change> {
    let version = u64::from(seq / 2);
    let found = if version > 1 {
        OpId {
            client: 1,
            seq: seq - 2,
        }
        .value()
    } else {
        0
    };
    seq.is_multiple_of(2).then_some(Change {
        register: 0,
        version,
        found,
    })
}

fn events() -> impl Iterator<Item = Event> {
    let start = Event::Start(Start {
        format: 1,
        run: RUN,
        wall_ms: 0,
        registers: 1,
    });
    let attempts = (1..=ATTEMPTS).flat_map(|seq| {
        let id = OpId { client: 1, seq };
        let change = change(seq);
        let op = change.map_or(Op::Insert, |_| Op::Update { register: 0 });
        let seen = change.map(|change| Seen {
            version: change.version - 1,
            value: change.found,
        });
        let (outcome, stage) = (Outcome::Ok, Stage::Commit);
        let done = Completion {
            id,
            outcome,
            stage,
            code: None,
            why: None,
            seen,
        };
        [Event::Invoke { id, op }, Event::Complete(done)]
    });
    [start, Event::Ready]
        .into_iter()
        .chain(attempts)
        .chain([Event::Stop, Event::End])
}

#[test]
fn an_event_costs_few_bytes() {
    let before = peak_kib();
    let stamped = (0u64..).zip(events()).map(|(at, event)| {
        Ok(Stamped {
            at_ns: at * 1_000,
            event,
        })
    });
    let mut judge = Judge::read(stamped).unwrap();
    for seq in 1..=ATTEMPTS {
        let id = OpId { client: 1, seq };
        let (change, payload) = (change(seq), payload(RUN, id));
        judge.piece(&Piece::Row(Row {
            id: u64::from(seq),
            run: RUN,
            client: 1,
            seq,
            change,
            payload,
        }));
    }
    let value = OpId {
        client: 1,
        seq: ATTEMPTS,
    }
    .value();
    let version = u64::from(ATTEMPTS / 2);
    judge.piece(&Piece::Register(Register {
        run: RUN,
        id: 0,
        version,
        value,
    }));
    let verdict = judge.finish().unwrap();
    assert!(
        verdict.is_clean() && verdict.counts.acknowledged == u64::from(ATTEMPTS),
        "{verdict}"
    );
    let grown = peak_kib() - before;
    println!("{} events: {} MiB", 2 * ATTEMPTS, grown / 1_024);
    assert!(grown < 100 * 1_024, "grew by {grown} KiB");
}
