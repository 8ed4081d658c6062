//! Decisions carried out by pretended members, with crashes, cuts, lost volumes, killed controllers.
//! Must not use a clock or chance that a seed does not give.

#![cfg(test)]

mod by_hand;
mod cooldown;
mod cut_off;
mod dice;
mod handovers;
mod seeds;
mod sim;

use dice::Dice;
use sim::Sim;
use topology::decision::ClusterState;
use topology::gtid::GtidSet;
use topology::observed::Switchover;

const ROUNDS_LIMIT: u32 = 2_000;

fn is_done(sim: &Sim) -> bool {
    let state = sim.last.as_ref().map(|decision| decision.state);
    let is_quiet = sim
        .last
        .as_ref()
        .is_some_and(|decision| decision.plan.record.is_none());
    state == Some(ClusterState::Healthy) && is_quiet && sim.names() == sim.spec.members()
}

fn until_healthy(sim: &mut Sim, dice: &mut Dice, trouble: impl Fn(&mut Sim, &mut Dice)) -> u32 {
    for round in 0..ROUNDS_LIMIT {
        if is_done(sim) {
            return round;
        }
        trouble(sim, dice);
        sim.tick(dice);
        sim.pass(dice);
        lost(sim);
    }
    panic!("{:#?} of {:#?}", sim.last, sim.record);
}

/// Everything acknowledged is on the primary, whatever happened.
fn lost(sim: &Sim) {
    let lost = sim.lost();
    assert!(lost.is_empty(), "lost {lost} of {:#?}", sim.record);
}

fn keep_busy(sim: &mut Sim, dice: &mut Dice, rounds: u32, trouble: impl Fn(&mut Sim, &mut Dice)) {
    for _ in 0..rounds {
        trouble(sim, dice);
        sim.tick(dice);
        sim.pass(dice);
        lost(sim);
    }
}

fn no_trouble(_: &mut Sim, _: &mut Dice) {}

/// Whether an epoch that is claimed could still be decided without what this one has.
fn is_spare(sim: &Sim, name: &str) -> bool {
    let Some(record) = sim.record.as_ref().filter(|record| record.is_choosing) else {
        return true;
    };
    let others = sim.nodes.iter().filter(|(other, node)| {
        let is_counted = |is| record.counts(other, is);
        *other != name && node.server.incarnation.is_some_and(is_counted)
    });
    others.count() + usize::from(record.acknowledged_by) >= record.voters.len()
}

/// Anything that may happen to a cluster without losing the primary's volume, or so many that nobody can tell
/// any more who has everything.
fn trouble(sim: &mut Sim, dice: &mut Dice) {
    let names: Vec<String> = sim.nodes.keys().cloned().collect();
    let Some(name) = names.get(usize::try_from(dice.below(names.len().max(1) as u64)).unwrap_or(0)) else {
        return;
    };
    if dice.one_in(30) {
        sim.restart_controller();
    }
    if dice.one_in(25) {
        let ticks = dice.below(8);
        sim.crash(name, ticks);
    }
    if dice.one_in(12) {
        let node = sim.nodes.get_mut(name).unwrap();
        node.is_cut = !node.is_cut;
    }
    let is_primary = sim
        .record
        .as_ref()
        .is_some_and(|record| record.term.epoch > 0 && record.primary == *name);
    if dice.one_in(15) {
        let target = dice.one_in(2).then(|| name.clone());
        sim.spec.switchover = dice.one_in(3).then_some(Switchover {
            target,
            ..Switchover::default()
        });
    }
    if dice.one_in(60) && !is_primary && is_spare(sim, name) {
        sim.lose_volume(name);
    }
}

fn calm(sim: &mut Sim) {
    sim.spec.switchover = None;
    for node in sim.nodes.values_mut() {
        node.is_cut = false;
        node.is_off = false;
    }
}

#[test]
fn a_cluster_comes_up_whatever_its_size() {
    for instances in [1, 3, 5, 7, 9] {
        let mut sim = Sim::new(instances);
        let rounds = until_healthy(&mut sim, &mut Dice::new(1), no_trouble);
        assert!(rounds < 100, "{instances} members took {rounds} rounds");
        let record = sim.record.as_ref().unwrap();
        assert_eq!(
            (record.term.epoch, record.wait_for, record.acknowledged_by),
            (1, (instances - 1) / 2, (instances - 1) / 2)
        );
        assert_eq!(sim.exposed.primary.as_ref().unwrap().member, record.primary);
    }
}

#[test]
fn a_cluster_comes_up_through_any_trouble() {
    seeds::each(
        "a_cluster_comes_up_through_any_trouble",
        3_000,
        &[4_588, 7_826, 193_936],
        |seed| {
            let mut dice = Dice::new(seed);
            let mut sim = Sim::new(if seed % 2 == 0 { 3 } else { 5 });
            keep_busy(&mut sim, &mut dice, 60, trouble);
            calm(&mut sim);
            until_healthy(&mut sim, &mut dice, no_trouble);
            keep_busy(&mut sim, &mut dice, 60, trouble);
            calm(&mut sim);
            until_healthy(&mut sim, &mut dice, no_trouble);
            assert!(!sim.acknowledged.is_empty());
        },
    );
}

#[test]
fn scaling_up_and_down_under_trouble_loses_nothing() {
    seeds::each(
        "scaling_up_and_down_under_trouble_loses_nothing",
        1_500,
        &[],
        |seed| {
            let mut dice = Dice::new(1_000 + seed);
            let mut sim = Sim::new(1);
            until_healthy(&mut sim, &mut dice, no_trouble);
            for instances in [3, 5, 3, 5, 1, 3] {
                sim.spec = sim::spec(instances);
                keep_busy(&mut sim, &mut dice, 20, trouble);
                calm(&mut sim);
                until_healthy(&mut sim, &mut dice, no_trouble);
                let record = sim.record.as_ref().unwrap();
                assert_eq!(record.acknowledged_by, (instances - 1) / 2);
                assert_eq!(record.voters.len(), usize::from(instances));
                assert!(sim.spec.members().contains(&record.primary));
            }
        },
    );
}

#[test]
fn members_that_never_come_are_not_needed_for_a_failover() {
    seeds::each(
        "members_that_never_come_are_not_needed_for_a_failover",
        100,
        &[],
        |seed| {
            let mut dice = Dice::new(40_000 + seed);
            let mut sim = Sim::new(3);
            until_healthy(&mut sim, &mut dice, no_trouble);
            sim.spec = sim::spec(5);
            let never = |sim: &mut Sim, _: &mut Dice| {
                let new = sim.nodes.iter_mut();
                let new = new.filter(|(name, _)| ["orders-3", "orders-4"].contains(&name.as_str()));
                new.for_each(|(_, node)| node.is_off = true);
            };
            keep_busy(&mut sim, &mut dice, 20, never);
            let before = sim.record.as_ref().unwrap().primary.clone();
            sim.nodes.get_mut(&before).unwrap().is_off = true;
            keep_busy(&mut sim, &mut dice, 60, never);
            let after = sim.exposed.primary.as_ref().unwrap().member.clone();
            assert!(after != before && sim.record.as_ref().unwrap().primary == after);
            calm(&mut sim);
            until_healthy(&mut sim, &mut dice, no_trouble);
            assert_eq!(sim.record.as_ref().unwrap().voters.len(), 5);
        },
    );
}

#[test]
fn volumes_are_taken_over_with_everything_acknowledged() {
    seeds::each(
        "volumes_are_taken_over_with_everything_acknowledged",
        1_000,
        &[],
        |seed| {
            let mut dice = Dice::new(5_000 + seed);
            let mut sim = Sim::new(3);
            until_healthy(&mut sim, &mut dice, no_trouble);
            keep_busy(&mut sim, &mut dice, 20, no_trouble);
            let before = sim.record.take().unwrap();
            // Deleted and applied again: the volumes stay, the rest is new.
            sim.last = None;
            sim.had_primary = false;
            sim.exposed = topology::observed::Exposed::default();
            sim.restart_controller();
            for name in sim.names() {
                sim.crash(&name, 1);
                sim.nodes.get_mut(&name).unwrap().is_of_this_cluster = false;
            }
            let acknowledged = sim.acknowledged.clone();
            until_healthy(&mut sim, &mut dice, no_trouble);
            let record = sim.record.clone().unwrap();
            assert!(record.term > before.term && record.term.epoch > before.term.epoch);
            assert_eq!(record.identity, before.identity);
            assert!(acknowledged.is_subset(record.cut.as_ref().unwrap()));
        },
    );
}

#[test]
fn a_cluster_with_a_lost_record_and_empty_volumes_is_not_founded_again() {
    let mut dice = Dice::new(3);
    let mut sim = Sim::new(3);
    until_healthy(&mut sim, &mut dice, no_trouble);
    sim.record = None;
    for name in sim.names() {
        sim.lose_volume(&name);
    }
    keep_busy(&mut sim, &mut dice, 50, no_trouble);
    assert_eq!(sim.last.as_ref().unwrap().state, ClusterState::Blocked);
    assert!(sim.record.is_none());
}

#[test]
fn another_takes_over_from_a_primary_whose_volume_is_lost() {
    seeds::each(
        "another_takes_over_from_a_primary_whose_volume_is_lost",
        1_000,
        &[],
        |seed| {
            let mut dice = Dice::new(9_000 + seed);
            let mut sim = Sim::new(if seed % 2 == 0 { 3 } else { 5 });
            until_healthy(&mut sim, &mut dice, no_trouble);
            for _ in 0..4 {
                keep_busy(&mut sim, &mut dice, 10, no_trouble);
                let before = sim.record.clone().unwrap();
                sim.lose_volume(&before.primary);
                keep_busy(&mut sim, &mut dice, 10, no_trouble);
                until_healthy(&mut sim, &mut dice, no_trouble);
                let after = sim.record.as_ref().unwrap();
                assert_ne!(after.primary, before.primary);
                assert!(after.term.epoch > before.term.epoch);
            }
        },
    );
}

#[test]
fn a_primary_without_room_is_followed_by_one_that_has_some() {
    seeds::each(
        "a_primary_without_room_is_followed_by_one_that_has_some",
        500,
        &[],
        |seed| {
            let mut dice = Dice::new(11_000 + seed);
            let mut sim = Sim::new(if seed % 2 == 0 { 3 } else { 5 });
            until_healthy(&mut sim, &mut dice, no_trouble);
            keep_busy(&mut sim, &mut dice, 10, no_trouble);
            let before = sim.record.clone().unwrap();
            sim.nodes.get_mut(&before.primary).unwrap().is_full = true;
            keep_busy(&mut sim, &mut dice, 60, no_trouble);
            let after = sim.record.clone().unwrap();
            assert_ne!(after.primary, before.primary);
            assert_eq!(after.term.epoch, before.term.epoch + 1);
            assert!(!after.is_choosing && sim.nodes[&after.primary].server.is_open);
            sim.nodes.get_mut(&before.primary).unwrap().is_full = false;
            until_healthy(&mut sim, &mut dice, no_trouble);
        },
    );
}

#[test]
fn a_full_primary_stays_where_another_would_be_as_full() {
    let mut dice = Dice::new(12);
    let mut sim = Sim::new(3);
    until_healthy(&mut sim, &mut dice, no_trouble);
    let before = sim.record.clone().unwrap();
    let replica = sim.names().into_iter().find(|name| *name != before.primary);
    // The replica's report may come later than the primary's: it is seen to be full first.
    for name in [replica.unwrap(), before.primary.clone()] {
        sim.nodes.get_mut(&name).unwrap().is_full = true;
        keep_busy(&mut sim, &mut dice, 20, no_trouble);
    }
    assert_eq!(sim.record.as_ref().unwrap().term.epoch, before.term.epoch);
    let last = sim.last.as_ref().unwrap();
    assert_eq!(last.state, ClusterState::PrimaryUnavailable);
    let said: Vec<String> = last.because.iter().map(ToString::to_string).collect();
    assert!(
        said.concat().contains("is full: raise spec.storage.size"),
        "{said:?}"
    );
    for node in sim.nodes.values_mut() {
        node.is_full = false;
    }
    until_healthy(&mut sim, &mut dice, no_trouble);
    assert_eq!(sim.record.as_ref().unwrap().primary, before.primary);
}

#[test]
fn with_both_replicas_full_it_says_that_commits_wait_and_why() {
    let mut dice = Dice::new(14);
    let mut sim = Sim::new(3);
    until_healthy(&mut sim, &mut dice, no_trouble);
    let primary = sim.record.as_ref().unwrap().primary.clone();
    for (_, node) in sim.nodes.iter_mut().filter(|(name, _)| **name != primary) {
        node.is_full = true;
    }
    keep_busy(&mut sim, &mut dice, 40, no_trouble);
    let last = sim.last.as_ref().unwrap();
    assert_eq!(last.state, ClusterState::AwaitingReplicas);
    let said: Vec<String> = last.because.iter().map(ToString::to_string).collect();
    let said = said.join("; ");
    assert!(
        said.contains("commits wait") && said.contains("is full: raise spec.storage.size"),
        "{said}"
    );
    for node in sim.nodes.values_mut() {
        node.is_full = false;
    }
    until_healthy(&mut sim, &mut dice, no_trouble);
}

#[test]
fn volumes_that_fill_and_are_emptied_at_any_time_lose_nothing() {
    // 263: a replica that nobody reached got the next epoch through the old primary, and was never compared.
    seeds::each(
        "volumes_that_fill_and_are_emptied_at_any_time_lose_nothing",
        2_000,
        &[263, 1_535],
        |seed| {
            let mut dice = Dice::new(13_000 + seed);
            let mut sim = Sim::new(if seed % 2 == 0 { 3 } else { 5 });
            until_healthy(&mut sim, &mut dice, no_trouble);
            keep_busy(&mut sim, &mut dice, 150, |sim, dice| {
                for node in sim.nodes.values_mut() {
                    node.is_full ^= dice.one_in(20);
                    node.is_cut ^= dice.one_in(30);
                }
                let names: Vec<String> = sim.names().into_iter().collect();
                for name in names.iter().filter(|_| dice.one_in(60)) {
                    sim.crash(name, 5);
                }
            });
            calm(&mut sim);
            for node in sim.nodes.values_mut() {
                node.is_full = false;
            }
            until_healthy(&mut sim, &mut dice, no_trouble);
        },
    );
}

#[test]
fn volumes_and_servers_that_hang_at_any_time_lose_nothing() {
    seeds::each(
        "volumes_and_servers_that_hang_at_any_time_lose_nothing",
        1_000,
        &[],
        |seed| {
            let mut dice = Dice::new(29_000 + seed);
            let mut sim = Sim::new(if seed % 2 == 0 { 3 } else { 5 });
            until_healthy(&mut sim, &mut dice, no_trouble);
            keep_busy(&mut sim, &mut dice, 150, |sim, dice| {
                for node in sim.nodes.values_mut() {
                    if dice.one_in(20) {
                        node.stalled_ms = node.stalled_ms.xor(Some(0));
                    }
                    if dice.one_in(20) {
                        node.hung_ms = node.hung_ms.xor(Some(0));
                    }
                    node.is_cut ^= dice.one_in(30);
                }
            });
            calm(&mut sim);
            for node in sim.nodes.values_mut() {
                (node.stalled_ms, node.hung_ms) = (None, None);
            }
            until_healthy(&mut sim, &mut dice, no_trouble);
        },
    );
}

#[test]
fn a_single_member_whose_volume_is_lost_blocks_and_says_so() {
    let mut dice = Dice::new(4);
    let mut sim = Sim::new(1);
    until_healthy(&mut sim, &mut dice, no_trouble);
    sim.lose_volume("orders-0");
    sim.acknowledged = GtidSet::new();
    keep_busy(&mut sim, &mut dice, 50, no_trouble);
    let last = sim.last.as_ref().unwrap();
    assert_eq!(last.state, ClusterState::Blocked);
    assert!(
        last.refused[0].to_string().contains("bring the volume back"),
        "{:?}",
        last.refused
    );
    assert!(sim.nodes["orders-0"].server.executed.is_empty());
}

#[test]
fn with_a_manual_policy_nobody_takes_over_unasked() {
    let mut dice = Dice::new(8);
    let mut sim = Sim::new(3);
    until_healthy(&mut sim, &mut dice, no_trouble);
    sim.spec.is_failover_manual = true;
    let before = sim.record.clone().unwrap();
    sim.nodes.get_mut(&before.primary).unwrap().is_off = true;
    keep_busy(&mut sim, &mut dice, 30, no_trouble);
    assert_eq!(sim.record.as_ref().unwrap().primary, before.primary);
    let last = sim.last.as_ref().unwrap();
    assert_eq!(last.state, ClusterState::PrimaryUnavailable);
    assert!(
        last.refused
            .iter()
            .any(|refusal| refusal.to_string().contains("failover.policy"))
    );
    sim.spec.switchover = Some(Switchover {
        is_forced: true,
        ..Switchover::default()
    });
    until_healthy(&mut sim, &mut dice, |sim, _| {
        let primary = &sim.record.as_ref().unwrap().primary;
        let is_off = *primary != before.primary;
        sim.nodes.get_mut(&before.primary).unwrap().is_off = !is_off;
    });
    let after = sim.record.clone().unwrap();
    assert_ne!(after.primary, before.primary);
    // Of a primary that is well nothing is asked by force.
    keep_busy(&mut sim, &mut dice, 30, no_trouble);
    assert_eq!(sim.record.as_ref().unwrap().primary, after.primary);
}

#[test]
fn a_replica_with_writes_of_its_own_is_copied_anew() {
    let mut dice = Dice::new(5);
    let mut sim = Sim::new(3);
    until_healthy(&mut sim, &mut dice, no_trouble);
    let primary = sim.record.as_ref().unwrap().primary.clone();
    let name = sim.names().into_iter().find(|name| *name != primary).unwrap();
    let replica = sim.nodes.get_mut(&name).unwrap();
    let before = replica.server.incarnation.unwrap();
    replica.server.executed.insert(sim::gtid(before, 1));
    keep_busy(&mut sim, &mut dice, 30, no_trouble);
    until_healthy(&mut sim, &mut dice, no_trouble);
    let after = &sim.nodes[&name].server;
    assert_ne!(after.incarnation, Some(before));
    assert!(!after.executed.contains(&sim::gtid(before, 1)));
    assert_eq!(
        sim.record.as_ref().unwrap().voters[&name].incarnation,
        after.incarnation
    );
}

#[test]
fn a_suspended_cluster_is_left_alone() {
    let mut dice = Dice::new(6);
    let mut sim = Sim::new(3);
    until_healthy(&mut sim, &mut dice, no_trouble);
    sim.spec = sim::spec(5);
    sim.spec.is_suspended = true;
    let before = sim.record.clone();
    keep_busy(&mut sim, &mut dice, 30, no_trouble);
    assert_eq!(sim.record, before);
    assert_eq!(sim.last.as_ref().unwrap().state, ClusterState::Suspended);
    assert_eq!(sim.names().len(), 3);
}
