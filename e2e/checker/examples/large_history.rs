//! Owns a made-up correct run of any size: a history, and a dump that fits it.
//! It must not keep the run in memory; it exists to measure the judge.

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};

use checker::history::write_line;
use checker::rows::{Writer, payload};
use checker::{
    Change, Completion, Event, Op, OpId, Outcome, Piece, Register, Row, Seen, Stage, Stamped, Start,
};

const CLIENTS: u32 = 32;
const REGISTERS: u32 = 8;
const RUN: u64 = 42;
const STEP_NS: u64 = 20_000;

/// `large_history EVENTS HISTORY ROWS`: half of the events are invocations, all clients overlap.
fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("usage: large_history EVENTS HISTORY ROWS");
    let events: u64 = next()?.parse()?;
    let mut history = BufWriter::new(File::create(next()?)?);
    let mut rows = Writer::new(BufWriter::new(File::create(next()?)?));
    let mut at_ns = 0;
    let mut write = |event: Event| {
        at_ns += STEP_NS;
        write_line(&mut history, &Stamped { at_ns, event })
    };
    write(Event::Start(Start {
        format: 1,
        run: RUN,
        wall_ms: 0,
        registers: REGISTERS,
    }))?;
    write(Event::Ready)?;
    let mut registers = vec![Seen { version: 0, value: 0 }; REGISTERS as usize];
    let mut id = 0;
    let rounds = u32::try_from(events / 2 / u64::from(CLIENTS))?;
    for seq in 1..=rounds {
        for client in 1..=CLIENTS {
            write(Event::Invoke {
                id: OpId { client, seq },
                op: draw(client, seq),
            })?;
        }
        for client in 1..=CLIENTS {
            let op_id = OpId { client, seq };
            let op = draw(client, seq);
            let slot = op.register().map(|register| registers[register as usize]);
            if op.writes() {
                id += 1;
                rows.write(&Piece::Row(apply(id, op_id, op, &mut registers)))?;
            }
            let (outcome, stage) = (Outcome::Ok, Stage::Commit);
            let done = Completion {
                id: op_id,
                outcome,
                stage,
                code: None,
                why: None,
                seen: slot,
            };
            write(Event::Complete(done))?;
        }
    }
    write(Event::Stop)?;
    write(Event::End)?;
    for (id, seen) in (0u32..).zip(registers) {
        let end = Register {
            run: RUN,
            id,
            version: seen.version,
            value: seen.value,
        };
        rows.write(&Piece::Register(end))?;
    }
    rows.finish()?;
    history.flush()?;
    Ok(())
}

/// The mix of a real run.
fn draw(client: u32, seq: u32) -> Op {
    let register = (client + seq) % REGISTERS;
    match (client.wrapping_mul(31) + seq.wrapping_mul(17)) % 20 {
        0..8 => Op::Insert,
        8..12 => Op::InsertAuto,
        12..17 => Op::Update { register },
        _ => Op::Read { register },
    }
}

/// The row of one write, and its register one version further.
fn apply(id: u64, op_id: OpId, op: Op, registers: &mut [Seen]) -> Row {
    let change = op.register().map(|register| {
        let slot = &mut registers[register as usize];
        let found = *slot;
        *slot = Seen {
            version: found.version + 1,
            value: op_id.value(),
        };
        Change {
            register,
            version: found.version + 1,
            found: found.value,
        }
    });
    let OpId { client, seq } = op_id;
    Row {
        id,
        run: RUN,
        client,
        seq,
        change,
        payload: payload(RUN, op_id),
    }
}
