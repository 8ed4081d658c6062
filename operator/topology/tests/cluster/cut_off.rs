//! A primary that its replicas cannot reach, while the controller reaches everybody.
//! Must not hold stories of members that are down: those are beside it.

use std::collections::BTreeSet;

use super::*;

/// Rounds until another leads, when controllers have ceased to be restarted: failovers that follow each other wait.
const AFTER_THE_LAST: u32 = 300;

/// Nobody of one side hears anybody of the other.
pub(super) fn part(sim: &mut Sim, one: &BTreeSet<String>) {
    let names = sim.names();
    for (name, node) in &mut sim.nodes {
        let others = names
            .iter()
            .filter(|other| one.contains(*other) != one.contains(name));
        node.deaf_to = others.cloned().collect();
    }
}

pub(super) fn heal(sim: &mut Sim) {
    for node in sim.nodes.values_mut() {
        node.deaf_to.clear();
    }
}

fn is_open(sim: &Sim) -> bool {
    let record = sim.record.as_ref().unwrap();
    !record.is_choosing && sim.nodes[&record.primary].server.is_open
}

#[test]
fn another_takes_over_from_a_primary_that_its_replicas_cannot_reach() {
    seeds::each(
        "another_takes_over_from_a_primary_that_its_replicas_cannot_reach",
        500,
        &[7_881, 12_497, 26_896],
        |seed| {
            let mut dice = Dice::new(50_000 + seed);
            let mut sim = Sim::new(if seed % 2 == 0 { 3 } else { 5 });
            until_healthy(&mut sim, &mut dice, no_trouble);
            keep_busy(&mut sim, &mut dice, 10, no_trouble);
            let before = sim.record.clone().unwrap();
            // Of five, one may be on the primary's side.
            let friend = sim.names().into_iter().find(|name| *name != before.primary);
            let friend = friend.filter(|_| seed % 4 == 1);
            let mut side: BTreeSet<String> = friend.into_iter().collect();
            side.insert(before.primary.clone());
            part(&mut sim, &side);
            if seed % 3 == 0 {
                // Packets are lost in one direction.
                sim.nodes.get_mut(&before.primary).unwrap().deaf_to.clear();
            }
            keep_busy(&mut sim, &mut dice, 150, |sim, dice| {
                if dice.one_in(40) {
                    sim.restart_controller();
                }
            });
            // Who has just begun to look may take it for lost at once, and choose it once more.
            let mut rounds = 0;
            while side.contains(&sim.record.as_ref().unwrap().primary) || !is_open(&sim) {
                rounds += 1;
                assert!(rounds < AFTER_THE_LAST, "{side:?} {:#?}", sim.record);
                keep_busy(&mut sim, &mut dice, 1, no_trouble);
            }
            let after = sim.record.clone().unwrap();
            assert!(after.term.epoch > before.term.epoch);
            assert!(is_open(&sim) && after.left_out.is_empty(), "{:#?}", sim.last);
            heal(&mut sim);
            until_healthy(&mut sim, &mut dice, no_trouble);
            assert_eq!(sim.record.as_ref().unwrap().term.epoch, after.term.epoch);
        },
    );
}

#[test]
fn where_nobody_reaches_anybody_few_are_tried_and_one_opens_when_it_is_reached() {
    let mut dice = Dice::new(51);
    let mut sim = Sim::new(3);
    until_healthy(&mut sim, &mut dice, no_trouble);
    let before = sim.record.clone().unwrap();
    let names = sim.names();
    for (name, node) in &mut sim.nodes {
        node.deaf_to = names.iter().filter(|other| *other != name).cloned().collect();
    }
    keep_busy(&mut sim, &mut dice, 1_000, no_trouble);
    let tries = sim.record.as_ref().unwrap().term.epoch - before.term.epoch;
    assert!((1..=8).contains(&tries), "{tries} tries");
    keep_busy(&mut sim, &mut dice, 2_000, no_trouble);
    let record = sim.record.clone().unwrap();
    let tries = record.term.epoch - before.term.epoch;
    assert!(tries <= 12, "{tries} tries");
    assert_eq!(sim.last.as_ref().unwrap().state, ClusterState::AwaitingReplicas);
    heal(&mut sim);
    until_healthy(&mut sim, &mut dice, no_trouble);
    assert_eq!(sim.record.as_ref().unwrap().term.epoch, record.term.epoch);
}

#[test]
fn a_replica_alone_that_cannot_reach_the_primary_changes_nothing() {
    let mut dice = Dice::new(52);
    let mut sim = Sim::new(3);
    until_healthy(&mut sim, &mut dice, no_trouble);
    let before = sim.record.clone().unwrap();
    let replica = sim.names().into_iter().find(|name| *name != before.primary);
    part(&mut sim, &replica.into_iter().collect());
    keep_busy(&mut sim, &mut dice, 100, no_trouble);
    assert_eq!(sim.record.as_ref().unwrap().term.epoch, before.term.epoch);
    assert!(is_open(&sim));
}

#[test]
fn networks_that_part_at_any_time_lose_nothing() {
    seeds::each("networks_that_part_at_any_time_lose_nothing", 500, &[], |seed| {
        let mut dice = Dice::new(53_000 + seed);
        let mut sim = Sim::new(if seed % 2 == 0 { 3 } else { 5 });
        until_healthy(&mut sim, &mut dice, no_trouble);
        keep_busy(&mut sim, &mut dice, 200, |sim, dice| {
            let names: Vec<String> = sim.names().into_iter().collect();
            if dice.one_in(25) {
                let side = names.iter().filter(|_| dice.one_in(2)).cloned().collect();
                part(sim, &side);
            }
            if dice.one_in(40) {
                heal(sim);
            }
            if dice.one_in(40) {
                sim.restart_controller();
            }
            for node in sim.nodes.values_mut() {
                node.is_cut ^= dice.one_in(100);
            }
            for name in names.iter().filter(|_| dice.one_in(150)) {
                sim.crash(name, 5);
            }
        });
        calm(&mut sim);
        heal(&mut sim);
        until_healthy(&mut sim, &mut dice, no_trouble);
    });
}
