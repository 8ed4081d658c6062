//! Owns random correct histories, each broken in one way: the judge must say exactly which.
//! It must not accept a finding more, or one less.
#![cfg(test)]

mod common;

use std::cell::Cell;
use std::collections::BTreeMap;

use checker::{Change, Event, Kind, Op, OpId, Outcome, Row, Seen};
use common::{MS, Past, RUN};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;

const REGISTERS: u32 = 3;
const CLIENTS: u32 = 5;

/// An attempt whose end is still open.
#[derive(Clone, Copy)]
struct Open {
    id: OpId,
    op: Op,
    /// Its effect, once the database applied it.
    applied: Option<Option<Seen>>,
}

/// Runs the dice through a correct database: updates hold their register's lock from their
/// read to their end, and the lock of an unknown one may outlive its client.
fn past(steps: &[(u8, u8, u16)]) -> Past {
    let mut past = Past::new(REGISTERS);
    let mut open: BTreeMap<u32, Open> = BTreeMap::new();
    let mut late: Vec<(OpId, Op)> = Vec::new();
    past.insert(CLIENTS + 1, Outcome::Ok, true);
    past.update(CLIENTS + 1, 0);
    past.read(CLIENTS + 1, 0, past.registers[0]);
    for (who, dice, micros) in steps {
        past.pass(u64::from(*micros) * 1_000 + 1);
        let client = u32::from(*who) % CLIENTS + 1;
        if dice % 7 == 0 {
            land(&mut past, &mut late);
            continue;
        }
        match open.remove(&client) {
            None => {
                let op = draw(*dice);
                let id = past.invoke(client, op);
                open.insert(
                    client,
                    Open {
                        id,
                        op,
                        applied: None,
                    },
                );
            }
            Some(attempt) if attempt.applied.is_none() && dice % 3 == 0 => {
                let applied = effect(&mut past, &late, attempt);
                open.insert(client, Open { applied, ..attempt });
            }
            Some(attempt) => finish(&mut past, &mut late, attempt, *dice),
        }
    }
    if steps.len().is_multiple_of(2) {
        land(&mut past, &mut late);
    }
    past.end()
}

fn draw(dice: u8) -> Op {
    let register = u32::from(dice / 8) % REGISTERS;
    match dice % 8 {
        0 => Op::Insert,
        1 => Op::InsertAuto,
        2..=4 => Op::Update { register },
        5 | 6 => Op::Read { register },
        _ => Op::ReadReplica { register },
    }
}

fn land(past: &mut Past, late: &mut Vec<(OpId, Op)>) {
    for (id, op) in late.drain(..) {
        match op {
            Op::Update { register } => drop(past.apply(id, register)),
            _ => past.add_row(id, None),
        }
    }
}

/// `None` while a lock keeps it waiting.
fn effect(past: &mut Past, late: &[(OpId, Op)], attempt: Open) -> Option<Option<Seen>> {
    match attempt.op {
        Op::Insert | Op::InsertAuto => {
            past.add_row(attempt.id, None);
            Some(None)
        }
        Op::Update { register } if late.iter().any(|(_, op)| op.register() == Some(register)) => None,
        Op::Update { register } => Some(Some(past.apply(attempt.id, register))),
        Op::Read { register } | Op::ReadReplica { register } => Some(Some(past.registers[register as usize])),
    }
}

fn finish(past: &mut Past, late: &mut Vec<(OpId, Op)>, attempt: Open, dice: u8) {
    let fate = (dice / 16) % 8;
    if let Some(seen) = attempt.applied {
        let outcome = if fate == 0 && attempt.op.writes() {
            Outcome::Unknown
        } else {
            Outcome::Ok
        };
        return past.complete(attempt.id, outcome, seen);
    }
    match (fate, attempt.op.writes()) {
        (0, _) => past.complete(attempt.id, Outcome::Failed, None),
        (1, true) => past.complete(attempt.id, Outcome::Unknown, None),
        (2, true) => {
            let locked = late
                .iter()
                .any(|(_, op)| op.register().is_some() && op.register() == attempt.op.register());
            if !locked {
                late.push((attempt.id, attempt.op));
            }
            past.complete(attempt.id, Outcome::Unknown, None);
        }
        _ => match effect(past, late, attempt) {
            Some(seen) => past.complete(attempt.id, Outcome::Ok, seen),
            None => past.complete(attempt.id, Outcome::Failed, None),
        },
    }
}

/// What the history says of each attempt, without the judge's help.
struct Known {
    ops: BTreeMap<OpId, (Op, Outcome)>,
}

fn known(past: &Past) -> Known {
    let mut ops = BTreeMap::new();
    for stamped in &past.events {
        match &stamped.event {
            Event::Invoke { id, op } => drop(ops.insert(*id, (*op, Outcome::Unknown))),
            Event::Complete(done) => {
                if let Some(entry) = ops.get_mut(&done.id) {
                    entry.1 = done.outcome;
                }
            }
            _ => {}
        }
    }
    Known { ops }
}

impl Known {
    fn acknowledged(&self, row: &Row) -> bool {
        self.ops
            .get(&row.op())
            .is_some_and(|(_, outcome)| *outcome == Outcome::Ok)
    }

    fn ids(&self, wanted: impl Fn(Op, Outcome) -> bool) -> Vec<OpId> {
        self.ops
            .iter()
            .filter(|(_, (op, outcome))| wanted(*op, *outcome))
            .map(|(id, _)| *id)
            .collect()
    }
}

fn pick<T: Copy>(from: &[T], index: &Index) -> Option<T> {
    (!from.is_empty()).then(|| from[index.index(from.len())])
}

fn places(past: &Past, wanted: impl Fn(&Row) -> bool) -> Vec<usize> {
    (0..past.rows.len())
        .filter(|at| wanted(&past.rows[*at]))
        .collect()
}

/// The last version of each register, if its writer was acknowledged.
fn last_updates(past: &Past, known: &Known) -> Vec<usize> {
    places(past, |row| {
        known.acknowledged(row)
            && row
                .change
                .is_some_and(|change| past.registers[change.register as usize].version == change.version)
    })
}

type Mutation = fn(&mut Past, &Known, &Index) -> Option<Vec<Kind>>;

const MUTATIONS: [Mutation; 14] = [
    |past, known, index| {
        let at = pick(
            &places(past, |row| row.change.is_none() && known.acknowledged(row)),
            index,
        )?;
        past.rows.remove(at);
        Some(vec![Kind::LostWrite])
    },
    |past, known, index| {
        let at = pick(&last_updates(past, known), index)?;
        past.rows.remove(at);
        Some(vec![Kind::LostWrite, Kind::WrongFinalValue])
    },
    |past, known, index| {
        let at = pick(&last_updates(past, known), index)?;
        let change = past.rows.remove(at).change?;
        past.registers[change.register as usize] = Seen {
            version: change.version - 1,
            value: change.found,
        };
        Some(vec![Kind::LostWrite])
    },
    |past, known, index| {
        let last = |change: Change| past.registers[change.register as usize].version == change.version;
        let middle = places(past, |row| {
            known.acknowledged(row) && row.change.is_some_and(|change| !last(change))
        });
        past.rows.remove(pick(&middle, index)?);
        Some(vec![Kind::LostWrite, Kind::BrokenChain])
    },
    |past, known, index| {
        let failed = known.ids(|op, out| matches!(op, Op::Insert | Op::InsertAuto) && out == Outcome::Failed);
        past.add_row(pick(&failed, index)?, None);
        Some(vec![Kind::FailedWriteVisible])
    },
    |past, _, index| {
        let row = past.rows[index.index(past.rows.len())].clone();
        past.rows.push(Row { id: 1 << 40, ..row });
        Some(vec![Kind::DuplicateRow])
    },
    |past, _, index| {
        let client = 1 + CLIENTS + index.index(1_000) as u32;
        past.add_row(
            OpId {
                client,
                seq: 1_000_000,
            },
            None,
        );
        Some(vec![Kind::ForeignRow])
    },
    |past, _, index| {
        let at = index.index(past.rows.len());
        past.rows[at].payload.push('0');
        Some(vec![Kind::CorruptRow])
    },
    |past, _, index| {
        past.registers[index.index(REGISTERS as usize)].version += 1;
        Some(vec![Kind::WrongFinalValue])
    },
    |past, known, index| lose_update(past, known, index),
    |past, _, index| stale(past, index),
    |past, known, index| reread(past, known, index, Outcome::Failed, Kind::DirtyRead),
    |past, known, index| reread(past, known, index, Outcome::Unknown, Kind::VanishedRead),
    |past, _, index| {
        let at = pick(&reads(past), index)?;
        see(past, at, |seen| Seen {
            version: seen.version,
            value: 900 << 32 | 1,
        });
        Some(vec![Kind::UnexplainedRead])
    },
];

/// The last two updates of a register, both acknowledged, now read the same version.
fn lose_update(past: &mut Past, known: &Known, index: &Index) -> Option<Vec<Kind>> {
    let second = pick(&last_updates(past, known), index)?;
    let change = past.rows[second].change?;
    let before = |row: &Row| {
        row.change
            .is_some_and(|other| other.register == change.register && other.version + 1 == change.version)
            && known.acknowledged(row)
    };
    let first = past.rows.iter().find(|row| before(row))?.change?;
    let writer = past.rows[second].op();
    past.rows[second].change = Some(first);
    let (old, new) = (change.version, first.version);
    past.registers[change.register as usize].version = new;
    for stamped in &mut past.events {
        if let Event::Complete(done) = &mut stamped.event
            && let Some(seen) = &mut done.seen
        {
            if done.id == writer {
                *seen = Seen {
                    version: new - 1,
                    value: first.found,
                };
            } else if *seen
                == (Seen {
                    version: old,
                    value: writer.value(),
                })
            {
                seen.version = new;
            }
        }
    }
    Some(vec![Kind::LostUpdate])
}

/// Where a read of the primary ended well.
fn reads(past: &Past) -> Vec<usize> {
    let known = known(past);
    (0..past.events.len())
        .filter(|at| match &past.events[*at].event {
            Event::Complete(done) => {
                matches!(known.ops[&done.id].0, Op::Read { .. }) && done.outcome == Outcome::Ok
            }
            _ => false,
        })
        .collect()
}

fn see(past: &mut Past, at: usize, change: impl Fn(Seen) -> Seen) {
    if let Event::Complete(done) = &mut past.events[at].event {
        done.seen = done.seen.map(change);
    }
}

/// One read returns the version before the newest acknowledged before it began.
fn stale(past: &mut Past, index: &Index) -> Option<Vec<Kind>> {
    let known = known(past);
    let mut choices = Vec::new();
    for at in reads(past) {
        let Event::Complete(done) = &past.events[at].event else {
            continue;
        };
        let id = done.id;
        let Some(register) = known.ops[&id].0.register() else {
            continue;
        };
        let acknowledged = past
            .events
            .iter()
            .take_while(|stamped| !matches!(stamped.event, Event::Invoke { id: begun, .. } if begun == id))
            .filter_map(|stamped| match &stamped.event {
                Event::Complete(done) if done.outcome == Outcome::Ok => {
                    let updates = known.ops[&done.id].0 == (Op::Update { register });
                    done.seen.filter(|_| updates)
                }
                _ => None,
            })
            .max();
        choices.extend(acknowledged.map(|found| (at, found)));
    }
    let (at, found) = pick(&choices, index)?;
    see(past, at, |_| found);
    Some(vec![Kind::StaleRead])
}

/// One read returns an update that has no row.
fn reread(past: &mut Past, known: &Known, index: &Index, outcome: Outcome, kind: Kind) -> Option<Vec<Kind>> {
    let mut choices = Vec::new();
    for at in reads(past) {
        let Event::Complete(done) = &past.events[at].event else {
            continue;
        };
        let register = known.ops[&done.id].0.register();
        for stamped in &past.events[..at] {
            if let Event::Invoke {
                id,
                op: op @ Op::Update { .. },
            } = &stamped.event
                && op.register() == register
                && known.ops[id].1 == outcome
                && !past.rows.iter().any(|row| row.op() == *id)
            {
                choices.push((at, *id));
            }
        }
    }
    let (at, writer) = pick(&choices, index)?;
    see(past, at, |seen| Seen {
        version: seen.version,
        value: writer.value(),
    });
    Some(vec![kind])
}

fn steps() -> impl Strategy<Value = Vec<(u8, u8, u16)>> {
    prop::collection::vec(any::<(u8, u8, u16)>(), 40..400)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_correct_past_is_clean(steps in steps()) {
        let past = past(&steps);
        let verdict = past.judge().unwrap();
        prop_assert!(verdict.is_clean(), "{verdict}");
        prop_assert_eq!(verdict.run, RUN);
        prop_assert_eq!(verdict.counts.rows, past.rows.len() as u64);
        prop_assert!(verdict.service.measured_ns >= MS);
    }
}

#[test]
fn one_break_is_exactly_what_is_found() {
    let applied: [Cell<u32>; MUTATIONS.len()] = Default::default();
    let mut runner = TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let ran = runner.run(&(steps(), any::<Index>()), |(steps, index)| {
        let whole = past(&steps);
        let known = known(&whole);
        for (number, mutation) in MUTATIONS.iter().enumerate() {
            let mut past = whole.clone();
            // A past without anything to break in this way proves nothing.
            let Some(expected) = mutation(&mut past, &known, &index) else {
                continue;
            };
            applied[number].set(applied[number].get() + 1);
            let verdict = past.judge().unwrap();
            prop_assert_eq!(verdict.kinds(), expected, "mutation {}: {}", number, verdict);
        }
        Ok(())
    });
    ran.unwrap();
    let applied: Vec<u32> = applied.iter().map(Cell::get).collect();
    println!("each mutation was applied so often: {applied:?}");
    assert!(applied.iter().all(|count| *count >= 50), "{applied:?}");
}
