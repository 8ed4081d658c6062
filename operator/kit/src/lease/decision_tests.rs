//! What a candidate does in each situation, told in its own words.
//! Must not test how situations follow each other in the world: simulation.rs does.

use super::*;

const ME: &str = "me";

const fn secs(seconds: u64) -> Moment {
    Duration::from_secs(seconds)
}

const fn ms(millis: u64) -> Moment {
    Duration::from_millis(millis)
}

fn timing() -> Timing {
    Timing::ten_seconds()
}

fn held_by(holder: &str, version: &str) -> Record {
    Record {
        version: version.to_owned(),
        holder: holder.to_owned(),
        duration: Some(secs(10)),
    }
}

fn next(memory: &Memory, now: Moment) -> Action {
    decide(ME, &timing(), memory, now)
}

fn take(version: &str) -> Action {
    let version = version.to_owned();
    Action::Take { version }
}

fn renew(version: &str) -> Action {
    let version = version.to_owned();
    Action::Renew { version }
}

/// Leading since second 100, until second 107.
fn leader() -> Memory {
    let mut memory = Memory::default();
    memory.saw(Some(held_by("", "1")), secs(100));
    memory.wrote(&timing(), held_by(ME, "2"), secs(100), ms(100_050));
    memory
}

#[test]
fn it_looks_first() {
    assert_eq!(next(&Memory::default(), secs(0)), Action::Read);
    assert_eq!(next(&Memory::default(), secs(1000)), Action::Read);
}

#[test]
fn a_released_lease_is_taken_at_once() {
    let mut memory = Memory::default();
    memory.saw(Some(held_by("", "7")), secs(5));
    assert_eq!(next(&memory, secs(5)), take("7"));
}

#[test]
fn a_held_lease_is_taken_when_it_was_seen_unchanged_for_its_duration() {
    let mut memory = Memory::default();
    memory.saw(Some(held_by("other", "7")), secs(100));
    for second in (102..110).step_by(2) {
        assert_eq!(
            next(&memory, ms(second * 1000 - 1)),
            Action::Wait { until: secs(second) }
        );
        assert_eq!(next(&memory, secs(second)), Action::Read);
        memory.saw(Some(held_by("other", "7")), secs(second));
    }
    assert_eq!(next(&memory, secs(109)), Action::Wait { until: secs(110) });
    assert_eq!(next(&memory, secs(110)), take("7"));
}

#[test]
fn any_change_begins_the_wait_anew() {
    let mut memory = Memory::default();
    memory.saw(Some(held_by("other", "7")), secs(100));
    memory.saw(Some(held_by("other", "8")), secs(109));
    assert_eq!(next(&memory, secs(110)), Action::Wait { until: secs(111) });
    memory.saw(Some(held_by("other", "8")), ms(118_999));
    assert_eq!(next(&memory, ms(118_999)), Action::Wait { until: secs(119) });
    assert_eq!(next(&memory, secs(119)), take("8"));
}

#[test]
fn the_first_sight_of_an_old_lease_is_no_proof_of_its_age() {
    // However old its renewTime is: that is another host's clock.
    let mut memory = Memory::default();
    memory.saw(Some(held_by("other", "7")), secs(50_000));
    assert!(matches!(next(&memory, secs(50_000)), Action::Wait { .. }));
}

#[test]
fn a_longer_promise_of_the_holder_is_honoured() {
    let mut memory = Memory::default();
    let duration = Some(secs(30));
    let record = Record {
        duration,
        ..held_by("other", "7")
    };
    memory.saw(Some(record.clone()), secs(100));
    memory.saw(Some(record.clone()), secs(129));
    assert_eq!(next(&memory, secs(129)), Action::Wait { until: secs(130) });
    assert_eq!(next(&memory, secs(130)), take("7"));
}

#[test]
fn a_lease_that_is_absent_is_made_for_nobody_and_waited_for() {
    let mut memory = Memory::default();
    memory.saw(None, secs(100));
    assert_eq!(next(&memory, secs(100)), Action::Reserve);
    memory.saw(Some(held_by(NOBODY_YET, "1")), secs(101));
    assert_eq!(next(&memory, secs(101)), Action::Wait { until: secs(103) });
    memory.saw(Some(held_by(NOBODY_YET, "1")), secs(110));
    assert_eq!(next(&memory, secs(110)), Action::Wait { until: secs(111) });
    assert_eq!(next(&memory, secs(111)), take("1"));
    // Absence itself gives nothing, however long it was seen: there may have been a lease between.
    let mut memory = Memory::default();
    memory.saw(None, secs(100));
    memory.saw(None, secs(500));
    assert_eq!(next(&memory, secs(500)), Action::Reserve);
}

#[test]
fn after_a_failure_it_rests_and_looks_again() {
    let mut memory = Memory::default();
    memory.saw(Some(held_by("", "7")), secs(100));
    memory.failed(&timing(), secs(101));
    assert_eq!(next(&memory, secs(101)), Action::Wait { until: ms(101_500) });
    assert_eq!(next(&memory, ms(101_500)), Action::Read);
    // What it knew about the time is not lost by that.
    let mut memory = Memory::default();
    memory.saw(Some(held_by("other", "7")), secs(100));
    memory.failed(&timing(), secs(109));
    memory.saw(Some(held_by("other", "7")), secs(110));
    assert_eq!(next(&memory, secs(110)), take("7"));
}

#[test]
fn a_leader_renews_against_what_it_wrote() {
    let mut memory = leader();
    assert_eq!(memory.held_until(), Some(secs(107)));
    assert_eq!(next(&memory, secs(101)), Action::Wait { until: secs(102) });
    assert_eq!(next(&memory, secs(102)), renew("2"));
    memory.wrote(&timing(), held_by(ME, "3"), secs(102), secs(103));
    // Counted from when it was sent.
    assert_eq!(memory.held_until(), Some(secs(109)));
    assert_eq!(next(&memory, secs(104)), renew("3"));
}

#[test]
fn a_leader_whose_renewals_fail_stops_at_the_deadline_and_goes_on_if_nobody_led_since() {
    let mut memory = leader();
    memory.failed(&timing(), ms(103_500));
    assert_eq!(next(&memory, secs(104)), Action::Read);
    memory.failed(&timing(), ms(106_800));
    assert!(memory.is_held(ms(106_999)) && !memory.is_held(secs(107)));
    assert_eq!(next(&memory, secs(500)), Action::Read);
    memory.saw(Some(held_by(ME, "2")), secs(501));
    assert_eq!(next(&memory, secs(501)), renew("2"));
    memory.wrote(&timing(), held_by(ME, "3"), secs(501), secs(502));
    assert_eq!(memory.held_until(), Some(secs(508)));
    assert!(memory.is_held(secs(502)));
}

#[test]
fn a_leader_that_was_late_is_lost_if_anybody_may_have_led_since() {
    let late = |record: Option<Record>| {
        let mut memory = leader();
        memory.failed(&timing(), secs(107));
        memory.saw(record, secs(110));
        next(&memory, secs(110))
    };
    for nobody in ["", NOBODY_YET] {
        assert_eq!(late(Some(held_by(nobody, "9"))), Action::Lose(Loss::Gone));
    }
    assert_eq!(late(None), Action::Lose(Loss::Gone));
    let holder = "other".to_owned();
    assert_eq!(
        late(Some(held_by("other", "9"))),
        Action::Lose(Loss::Overtaken { holder })
    );
}

#[test]
fn a_renewal_that_was_answered_after_its_term_gives_none() {
    let mut memory = leader();
    memory.wrote(&timing(), held_by(ME, "3"), secs(102), ms(109_001));
    assert!(!memory.is_held(ms(109_001)));
    assert_eq!(next(&memory, ms(109_001)), renew("3"));
    let mut memory = Memory::default();
    memory.saw(Some(held_by("", "1")), secs(100));
    memory.wrote(&timing(), held_by(ME, "2"), secs(100), secs(107));
    assert!(memory.held_until().is_none());
    assert_eq!(next(&memory, secs(107)), renew("2"));
}

#[test]
fn a_write_that_changed_nothing_is_no_renewal() {
    let mut memory = leader();
    memory.wrote(&timing(), held_by(ME, "2"), secs(102), secs(102));
    assert_eq!(memory.held_until(), Some(secs(107)));
    assert_eq!(next(&memory, ms(102_500)), Action::Read);
}

#[test]
fn a_leader_that_sees_another_holder_gives_up() {
    let mut memory = leader();
    memory.failed(&timing(), secs(102));
    memory.saw(Some(held_by("other", "9")), secs(103));
    let holder = "other".to_owned();
    assert_eq!(next(&memory, secs(103)), Action::Lose(Loss::Overtaken { holder }));
}

#[test]
fn a_leader_goes_on_when_strangers_touch_its_lease() {
    let mut memory = leader();
    memory.failed(&timing(), secs(102));
    memory.saw(Some(held_by(ME, "9")), secs(103));
    assert_eq!(next(&memory, secs(103)), renew("9"));
    memory.saw(None, secs(103));
    assert_eq!(next(&memory, secs(103)), Action::Create);
    memory.saw(Some(held_by(NOBODY_YET, "11")), secs(104));
    assert_eq!(next(&memory, secs(104)), renew("11"));
}

#[test]
fn a_taking_that_seemed_to_fail_is_completed() {
    let mut memory = Memory::default();
    memory.saw(Some(held_by("", "7")), secs(100));
    memory.failed(&timing(), secs(102));
    memory.saw(Some(held_by(ME, "8")), secs(103));
    assert!(!memory.is_held(secs(103)));
    assert_eq!(next(&memory, secs(103)), renew("8"));
    memory.wrote(&timing(), held_by(ME, "9"), secs(103), secs(103));
    assert_eq!(memory.held_until(), Some(secs(110)));
}
