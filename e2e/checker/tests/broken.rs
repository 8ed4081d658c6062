//! Owns histories that are broken by hand: each must be caught, and pass when whole.
//! It must not need a database.
#![cfg(test)]

mod common;

use checker::history::{Reader, write_line};
use checker::judge::{Error, Judge};
use checker::{Change, Event, Kind, Op, Outcome, Seen, Verdict};
use common::{MS, Past, RUN};

fn whole() -> Past {
    let mut past = Past::new(2);
    for round in 0..30 {
        past.insert(1, Outcome::Ok, true);
        past.update(2, round % 2);
        let seen = past.registers[(round % 2) as usize];
        past.read(3, round % 2, seen);
        past.insert(1, Outcome::Failed, false);
    }
    past.insert(1, Outcome::Ok, true);
    past
}

fn verdict(past: Past) -> Verdict {
    past.end().judge().unwrap()
}

#[test]
fn a_whole_history_is_clean() {
    let verdict = verdict(whole());
    assert!(verdict.is_clean(), "{verdict}");
    assert_eq!(
        (
            verdict.counts.acknowledged,
            verdict.counts.failed,
            verdict.counts.rows
        ),
        (61, 30, 61)
    );
    assert!(
        verdict
            .to_string()
            .starts_with("CLEAN: no anomaly in 61 acknowledged writes")
    );
}

#[test]
fn a_missing_acknowledged_row_is_found_and_named() {
    let mut past = whole();
    let gone = past.rows.remove(20);
    assert_eq!(gone.change, None);
    let verdict = verdict(past);
    assert_eq!(verdict.kinds(), [Kind::LostWrite]);
    let example = &verdict.found(Kind::LostWrite).unwrap().examples[0];
    assert_eq!((example.client, example.seq), (Some(gone.client), Some(gone.seq)));
    assert!(example.at_ns.is_some());
}

#[test]
fn the_last_acknowledged_row_missing_is_found() {
    let mut past = whole();
    past.rows.pop();
    assert_eq!(verdict(past).kinds(), [Kind::LostWrite]);
}

#[test]
fn an_update_rolled_back_with_its_register_is_a_lost_write() {
    let mut past = whole();
    let last = past.rows.iter().rposition(|row| row.change.is_some()).unwrap();
    let change = past.rows.remove(last).change.unwrap();
    past.registers[change.register as usize] = Seen {
        version: change.version - 1,
        value: change.found,
    };
    assert_eq!(verdict(past).kinds(), [Kind::LostWrite]);
}

#[test]
fn a_failed_write_that_is_visible_is_found() {
    let mut past = whole();
    past.insert(1, Outcome::Failed, true);
    assert_eq!(verdict(past).kinds(), [Kind::FailedWriteVisible]);
}

#[test]
fn a_duplicate_row_is_found() {
    let mut past = whole();
    let twin = past.rows[7].clone();
    past.rows.push(checker::Row { id: 9_999, ..twin });
    let mut other = past.clone();
    assert_eq!(verdict(past).kinds(), [Kind::DuplicateRow]);
    // An unknown outcome does not excuse it.
    other.rows.pop();
    let id = other.insert(4, Outcome::Unknown, true);
    other.add_row(id, None);
    assert_eq!(verdict(other).kinds(), [Kind::DuplicateRow]);
}

#[test]
fn a_foreign_row_is_found_and_other_runs_are_not() {
    let mut past = whole();
    let other = checker::Row {
        run: RUN + 1,
        ..past.rows[0].clone()
    };
    past.rows.push(other);
    let mut broken = past.clone();
    let counted = verdict(past);
    assert!(counted.is_clean() && counted.counts.rows_of_other_runs == 1);
    broken.rows.push(checker::Row {
        client: 50,
        seq: 1,
        ..broken.rows[0].clone()
    });
    assert_eq!(verdict(broken).kinds(), [Kind::ForeignRow]);
}

#[test]
fn a_row_that_is_changed_is_found() {
    let mut past = whole();
    past.rows[3].payload.replace_range(0..1, "!");
    assert_eq!(verdict(past).kinds(), [Kind::CorruptRow]);
}

#[test]
fn a_lost_update_is_found() {
    // Two clients read version 30 of register 0 and both are acknowledged.
    let mut past = Past::new(1);
    past.update(1, 0);
    let found = past.registers[0];
    let (one, two) = (
        past.invoke(1, Op::Update { register: 0 }),
        past.invoke(2, Op::Update { register: 0 }),
    );
    past.pass(MS);
    past.apply(one, 0);
    past.complete(one, Outcome::Ok, Some(found));
    let mut broken = past.clone();

    let found_later = past.apply(two, 0);
    past.complete(two, Outcome::Ok, Some(found_later));
    assert!(verdict(past).is_clean());

    let change = Change {
        register: 0,
        version: found.version + 1,
        found: found.value,
    };
    broken.add_row(two, Some(change));
    broken.registers[0] = Seen {
        version: change.version,
        value: two.value(),
    };
    broken.complete(two, Outcome::Ok, Some(found));
    assert_eq!(verdict(broken).kinds(), [Kind::LostUpdate]);
}

#[test]
fn a_broken_chain_and_a_wrong_end_are_found() {
    let mut past = whole();
    let middle = past
        .rows
        .iter()
        .position(|row| row.change.is_some_and(|change| change.version == 5));
    past.rows.remove(middle.unwrap());
    assert_eq!(verdict(past).kinds(), [Kind::LostWrite, Kind::BrokenChain]);

    let mut past = whole();
    past.registers[1].value = 1;
    assert_eq!(verdict(past).kinds(), [Kind::WrongFinalValue]);

    let mut past = whole();
    past.registers.pop();
    assert_eq!(
        verdict(past).kinds(),
        [Kind::WrongFinalValue],
        "a register that is gone"
    );
}

#[test]
fn a_stale_read_is_found_and_a_concurrent_one_is_not() {
    let mut past = whole();
    let old = past.registers[0];
    // Began before the write was acknowledged: may see either.
    let read = past.invoke(9, Op::Read { register: 0 });
    past.update(2, 0);
    past.complete(read, Outcome::Ok, Some(old));
    let mut broken = past.clone();
    assert!(verdict(past).is_clean());

    broken.read(9, 0, old);
    let verdict = verdict(broken);
    assert_eq!(verdict.kinds(), [Kind::StaleRead]);
}

#[test]
fn a_read_that_goes_back_behind_another_read_is_stale() {
    // The write is never acknowledged, but somebody saw it.
    let mut past = whole();
    let old = past.registers[0];
    let write = past.invoke(2, Op::Update { register: 0 });
    past.apply(write, 0);
    let new = past.registers[0];
    past.read(9, 0, new);
    let mut broken = past.clone();
    assert!(verdict(past).is_clean());
    broken.read(9, 0, old);
    assert_eq!(verdict(broken).kinds(), [Kind::StaleRead]);
}

#[test]
fn reads_of_what_failed_vanished_or_never_was_are_told_apart() {
    for (outcome, kind) in [
        (Outcome::Failed, Kind::DirtyRead),
        (Outcome::Unknown, Kind::VanishedRead),
    ] {
        let mut past = whole();
        let write = past.invoke(2, Op::Update { register: 0 });
        past.complete(write, outcome, None);
        let seen = Seen {
            version: past.registers[0].version + 1,
            value: write.value(),
        };
        past.read(9, 0, seen);
        assert_eq!(verdict(past).kinds(), [kind]);
    }
    let mut past = whole();
    let newer = past.registers[0].version + 1;
    past.read(
        9,
        0,
        Seen {
            version: newer,
            value: 123 << 32 | 5,
        },
    );
    assert_eq!(verdict(past).kinds(), [Kind::UnexplainedRead]);
}

#[test]
fn a_replica_may_be_behind_and_is_counted() {
    let mut past = whole();
    let read = past.invoke(9, Op::ReadReplica { register: 0 });
    past.complete(read, Outcome::Ok, Some(Seen { version: 0, value: 0 }));
    let verdict = verdict(past);
    assert!(verdict.is_clean());
    assert_eq!(
        (
            verdict.counts.replica_reads_stale,
            verdict.counts.replica_most_versions_behind
        ),
        (1, 15)
    );
}

#[test]
fn unknown_writes_may_survive_or_vanish() {
    let mut past = whole();
    past.insert(1, Outcome::Unknown, true);
    past.insert(1, Outcome::Unknown, false);
    // And two that never ended: the checker was killed.
    let survived = past.invoke(1, Op::Insert);
    past.add_row(survived, None);
    past.invoke(2, Op::InsertAuto);
    let verdict = past.judge().unwrap();
    assert!(verdict.is_clean(), "{verdict}");
    let counts = verdict.counts;
    assert_eq!(
        (counts.unknown, counts.unknown_survived, counts.unknown_vanished),
        (4, 2, 2)
    );
    assert_eq!(counts.unfinished, 2);
    assert!(verdict.notes[0].contains("no end"));
}

fn lines(past: &Past) -> Vec<u8> {
    let mut text = Vec::new();
    for event in &past.events {
        write_line(&mut text, event).unwrap();
    }
    text
}

fn judge_text(text: &[u8], past: &Past) -> Result<(Verdict, bool), Error> {
    let mut reader = Reader::new(text);
    let mut judge = Judge::read(&mut reader)?;
    past.pieces().iter().for_each(|piece| judge.piece(piece));
    Ok((judge.finish()?, reader.torn()))
}

#[test]
fn a_torn_last_line_is_tolerated_and_said() {
    let past = whole();
    let text = lines(&past);
    let (verdict, torn) = judge_text(&text, &past).unwrap();
    assert!(verdict.is_clean() && !torn);
    // Every possible tear inside the last line: the acknowledgement becomes an unknown.
    let last = text[..text.len() - 1]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .unwrap()
        + 1;
    for end in last + 1..text.len() {
        let (verdict, torn) = judge_text(&text[..end], &past).unwrap();
        assert!(verdict.is_clean() && torn, "cut at {end}");
        assert_eq!((verdict.counts.acknowledged, verdict.counts.unfinished), (60, 1));
    }
}

#[test]
fn a_torn_line_in_the_middle_is_refused() {
    let past = whole();
    let mut text = lines(&past);
    let middle = text.len() / 2;
    text.remove(text[..middle].iter().rposition(|byte| *byte == b'{').unwrap());
    assert!(matches!(judge_text(&text, &past), Err(Error::History(_))));
}

#[test]
fn nothing_is_not_clean() {
    assert!(matches!(judge_text(b"", &Past::new(1)), Err(Error::Empty)));
    let nothing = Past::new(1).end();
    assert!(matches!(nothing.judge(), Err(Error::NothingAcknowledged)));
    let mut unlucky = Past::new(1);
    unlucky.insert(1, Outcome::Unknown, true);
    unlucky.insert(1, Outcome::Failed, false);
    assert!(matches!(unlucky.end().judge(), Err(Error::NothingAcknowledged)));
}

#[test]
fn a_history_that_contradicts_itself_is_refused() {
    type Break = fn(&mut Past);
    let breaks: [(&str, Break); 7] = [
        ("time runs backwards", |past| past.events[30].at_ns = 0),
        ("start", |past| drop(past.events.remove(0))),
        ("second start", |past| {
            past.events[5].event = past.events[0].event.clone()
        }),
        ("before ready", |past| drop(past.events.remove(1))),
        ("next number", |past| drop(past.events.drain(2..4))),
        ("two attempts at once", |past| drop(past.events.remove(3))),
        ("completion of nothing", |past| {
            past.events.insert(4, past.events[3].clone())
        }),
    ];
    for (what, apply) in breaks {
        let mut past = whole().end();
        apply(&mut past);
        match past.judge() {
            Err(Error::Order { what: said, .. }) => assert!(said.contains(what), "{what}: {said}"),
            other => panic!("{what}: {other:?}"),
        }
    }
}

#[test]
fn a_gap_of_service_is_measured_exactly() {
    let mut past = Past::new(0);
    past.pass(250 * MS);
    past.insert(1, Outcome::Ok, true);
    past.pass(3_000 * MS - MS);
    past.insert(1, Outcome::Unknown, false);
    past.insert(1, Outcome::Ok, true);
    past.pass(70 * MS);
    let verdict = verdict(past);
    let gaps: Vec<(u64, u64)> = verdict
        .service
        .longest
        .iter()
        .map(|gap| (gap.start_ns / MS, gap.length_ns))
        .collect();
    // Between the two acknowledgements; then the edges of the run.
    assert_eq!(gaps, [(251, 3_001 * MS), (0, 251 * MS), (3_252, 70 * MS)]);
    assert_eq!(
        (verdict.service.gaps_over_100_ms, verdict.service.gaps_over_1_s),
        (2, 1)
    );
    assert_eq!(verdict.service.measured_ns, 3_322 * MS);
    assert_eq!(verdict.service.checker_pauses, 0);
}

#[test]
fn acknowledgements_after_the_stop_do_not_shorten_the_last_gap() {
    let mut past = Past::new(0);
    past.insert(1, Outcome::Ok, true);
    let late = past.invoke(2, Op::Insert);
    past.add_row(late, None);
    past.pass(400 * MS);
    past.push(Event::Stop);
    past.pass(100 * MS);
    past.complete(late, Outcome::Ok, None);
    let verdict = past.judge().unwrap();
    assert_eq!(verdict.service.longest_gap_ns(), 400 * MS);
}

#[test]
fn a_pause_of_the_checker_is_not_laid_on_the_service() {
    let mut past = whole();
    past.now_ns += 5_000 * MS;
    past.insert(1, Outcome::Ok, true);
    let verdict = verdict(past);
    assert!(verdict.is_clean());
    let gap = verdict.service.longest[0];
    assert_eq!((gap.length_ns, gap.checker_paused_ns), (5_001 * MS, 5_000 * MS));
    assert!(
        verdict
            .to_string()
            .contains("the checker itself stood still for 5.000 s"),
        "{verdict}"
    );
}
