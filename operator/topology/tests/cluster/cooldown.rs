//! Failovers that follow each other: the next one waits longer, unless somebody asks for it.
//! Must not hold stories of a single failure: those are beside it.

use super::*;

/// The primary's mysqld is down until another takes over; how long that took.
fn fails_over(sim: &mut Sim, dice: &mut Dice) -> u64 {
    let before = sim.record.clone().unwrap();
    sim.crash(&before.primary, u64::MAX);
    let lost_at = sim.now;
    for _ in 0..ROUNDS_LIMIT {
        keep_busy(sim, dice, 1, no_trouble);
        let epoch = sim.record.as_ref().unwrap().term.epoch;
        if epoch > before.term.epoch {
            let took = sim.now - lost_at;
            sim.crash(&before.primary, 1);
            until_healthy(sim, dice, no_trouble);
            return took;
        }
    }
    panic!("{:#?} of {:#?}", sim.last, sim.record);
}

fn refused(sim: &Sim) -> String {
    let refused = sim.last.as_ref().unwrap().refused.iter();
    refused.map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// With so many failovers behind it, and Healthy.
pub(super) fn after(failovers: u16, dice: &mut Dice) -> Sim {
    let mut sim = Sim::new(3);
    until_healthy(&mut sim, dice, no_trouble);
    for _ in 0..failovers {
        fails_over(&mut sim, dice);
    }
    assert_eq!(sim.record.as_ref().unwrap().failovers, failovers);
    sim
}

#[test]
fn the_first_three_failovers_are_free_and_then_each_waits_longer() {
    let mut dice = Dice::new(41);
    let mut sim = after(0, &mut dice);
    for (number, pause_s) in [0, 0, 0, 10, 20, 40, 80, 160, 300, 300].into_iter().enumerate() {
        let took = fails_over(&mut sim, &mut dice);
        let (least, most) = (
            (pause_s * 1_000_u64).saturating_sub(15_000),
            pause_s * 1_000 + 5_000,
        );
        assert!(
            (least..=most).contains(&took),
            "failover {number} took {took} ms, the pause is {pause_s} s"
        );
    }
    assert_eq!(sim.record.as_ref().unwrap().failovers, 8);
}

#[test]
fn who_takes_over_from_a_controller_waits_no_less() {
    let mut dice = Dice::new(42);
    let mut sim = after(5, &mut dice);
    sim.restart_controller();
    keep_busy(&mut sim, &mut dice, 20, no_trouble);
    let took = fails_over(&mut sim, &mut dice);
    // It has looked for ten seconds, and knows of nothing before.
    assert!((25_000..=45_000).contains(&took), "{took} ms");
}

#[test]
fn a_primary_that_is_back_within_the_pause_goes_on_and_nothing_is_counted() {
    let mut dice = Dice::new(43);
    let mut sim = after(5, &mut dice);
    let before = sim.record.clone().unwrap();
    sim.crash(&before.primary, 20);
    keep_busy(&mut sim, &mut dice, 10, no_trouble);
    assert_eq!(sim.last.as_ref().unwrap().state, ClusterState::PrimaryUnavailable);
    assert!(
        refused(&sim).contains("5 failovers came shortly before"),
        "{}",
        refused(&sim)
    );
    until_healthy(&mut sim, &mut dice, no_trouble);
    let now = sim.record.as_ref().unwrap();
    assert_eq!(
        (now.term.epoch, now.failovers),
        (before.term.epoch, before.failovers)
    );
}

#[test]
fn a_forced_switchover_ends_the_pause() {
    let mut dice = Dice::new(44);
    let mut sim = after(7, &mut dice);
    sim.spec.switchover = Some(Switchover {
        is_forced: true,
        ..Switchover::default()
    });
    let took = fails_over(&mut sim, &mut dice);
    assert!(took < 5_000, "{took} ms");
}

#[test]
fn handovers_neither_count_nor_wait() {
    let mut dice = Dice::new(45);
    let mut sim = after(5, &mut dice);
    let before = sim.record.clone().unwrap();
    let target = sim.names().into_iter().find(|name| *name != before.primary);
    sim.spec.switchover = Some(Switchover {
        target: target.clone(),
        ..Switchover::default()
    });
    keep_busy(&mut sim, &mut dice, 20, no_trouble);
    let now = sim.record.as_ref().unwrap();
    assert_eq!(
        (Some(&now.primary), now.failovers),
        (target.as_ref(), before.failovers)
    );
}

#[test]
fn failovers_are_forgotten_one_after_the_other_while_it_is_quiet() {
    let mut dice = Dice::new(46);
    let mut sim = after(4, &mut dice);
    for left in (0..4).rev() {
        keep_busy(&mut sim, &mut dice, 1_150, no_trouble);
        assert_eq!(sim.record.as_ref().unwrap().failovers, left + 1);
        keep_busy(&mut sim, &mut dice, 60, no_trouble);
        assert_eq!(sim.record.as_ref().unwrap().failovers, left);
    }
    let took = fails_over(&mut sim, &mut dice);
    assert!(took < 5_000, "{took} ms");
}
