//! Too many members are gone for good, and a person names who is to go on.
//! Must not forgive more than what the named one lacks when it is named.

use super::*;
use topology::decision::Refusal;
use topology::record::ByHand;

/// Whom the status lets people choose, and in which epoch.
fn choices(sim: &Sim) -> Option<(u64, Vec<ByHand>)> {
    let refused = sim.last.as_ref()?.refused.iter();
    let mut told = refused.filter_map(|refusal| match refusal {
        Refusal::LeftToPeople { epoch, choices } => Some((*epoch, choices.clone())),
        _ => None,
    });
    told.next()
}

/// The primary, and so many others that nobody can tell what was acknowledged.
fn lose_the_quorum(sim: &mut Sim, dice: &mut Dice) -> Vec<String> {
    let record = sim.record.clone().unwrap();
    let others = record.voters.keys().filter(|name| **name != record.primary);
    let mut others: Vec<String> = others.cloned().collect();
    let mut gone = vec![record.primary];
    for _ in 0..record.acknowledged_by {
        let at = usize::try_from(dice.below(others.len() as u64)).unwrap();
        gone.push(others.remove(at));
    }
    for name in &gone {
        sim.crash(name, 0);
        sim.nodes.get_mut(name).unwrap().is_off = true;
    }
    gone
}

#[test]
fn who_is_named_by_a_person_leads_and_loses_no_more_than_was_said() {
    seeds::each(
        "who_is_named_by_a_person_leads_and_loses_no_more_than_was_said",
        1_000,
        &[15_568, 41_066, 59_094, 98_434],
        |seed| {
            let mut dice = Dice::new(40_000 + seed);
            let mut sim = Sim::new(if seed % 2 == 0 { 3 } else { 5 });
            until_healthy(&mut sim, &mut dice, no_trouble);
            keep_busy(&mut sim, &mut dice, 10, no_trouble);
            let before = sim.record.clone().unwrap();
            let gone = lose_the_quorum(&mut sim, &mut dice);
            keep_busy(&mut sim, &mut dice, 40, no_trouble);
            let record = sim.record.as_ref().unwrap();
            assert_eq!(record.term.epoch, before.term.epoch, "nobody asked");
            let (epoch, choices) = choices(&sim).expect("somebody to choose");
            assert_eq!(epoch, before.term.epoch);
            let at = usize::try_from(dice.below(choices.len() as u64)).unwrap();
            let named = choices[at].clone();
            assert!(gone.iter().all(|name| named.unheard.contains(name)));
            sim.forgive(&named.member);
            sim.spec.switchover = Some(Switchover {
                target: Some(named.member.clone()),
                is_forced: true,
                accepts_loss_in: Some(epoch),
                ..Switchover::default()
            });
            let is_back = dice.one_in(3);
            keep_busy(&mut sim, &mut dice, if is_back { 2 } else { 40 }, no_trouble);
            let record = sim.record.clone().unwrap();
            if !is_back {
                assert_eq!((&record.primary, record.is_choosing), (&named.member, false));
                assert_eq!(record.failovers, before.failovers + 1);
                assert_eq!(
                    record.by_hand.as_ref().map(|done| &done.member),
                    Some(&named.member)
                );
            }
            sim.spec.switchover = None;
            for name in &gone {
                // With its data, which may be longer, or made anew.
                match is_back || dice.one_in(2) {
                    true => sim.nodes.get_mut(name).unwrap().is_off = false,
                    false => sim.lose_volume(name),
                }
                keep_busy(&mut sim, &mut dice, 5, no_trouble);
            }
            until_healthy(&mut sim, &mut dice, no_trouble);
            keep_busy(&mut sim, &mut dice, 20, no_trouble);
        },
    );
}

#[test]
fn a_word_for_another_epoch_or_for_who_is_not_there_changes_nothing() {
    let mut dice = Dice::new(41);
    let mut sim = Sim::new(3);
    until_healthy(&mut sim, &mut dice, no_trouble);
    let gone = lose_the_quorum(&mut sim, &mut dice);
    keep_busy(&mut sim, &mut dice, 40, no_trouble);
    let before = sim.record.clone().unwrap();
    let (epoch, choices) = choices(&sim).unwrap();
    let named = choices[0].member.clone();
    for (target, is_forced, accepts_loss_in) in [
        (Some(named.clone()), true, Some(epoch + 1)),
        (Some(named.clone()), true, Some(epoch - 1)),
        (Some(named.clone()), true, None),
        (Some(named.clone()), false, Some(epoch)),
        (Some(gone[1].clone()), true, Some(epoch)),
        (None, true, Some(epoch)),
    ] {
        sim.spec.switchover = Some(Switchover {
            target,
            is_forced,
            accepts_loss_in,
            ..Switchover::default()
        });
        keep_busy(&mut sim, &mut dice, 20, no_trouble);
        assert_eq!(sim.record.as_ref(), Some(&before));
    }
}

#[test]
fn of_a_cluster_that_is_well_nothing_is_asked_by_hand() {
    let mut dice = Dice::new(42);
    let mut sim = Sim::new(3);
    until_healthy(&mut sim, &mut dice, no_trouble);
    let before = sim.record.clone().unwrap();
    let target = sim.names().into_iter().find(|name| *name != before.primary);
    sim.spec.switchover = Some(Switchover {
        target,
        is_forced: true,
        accepts_loss_in: Some(before.term.epoch),
        ..Switchover::default()
    });
    keep_busy(&mut sim, &mut dice, 30, no_trouble);
    assert_eq!(sim.record.as_ref(), Some(&before));
}

#[test]
fn a_claim_that_left_the_primary_out_is_decided_by_hand_when_all_others_are_gone() {
    seeds::each(
        "a_claim_that_left_the_primary_out_is_decided_by_hand_when_all_others_are_gone",
        200,
        &[],
        |seed| {
            let mut dice = Dice::new(43_000 + seed);
            let mut sim = Sim::new(3);
            until_healthy(&mut sim, &mut dice, no_trouble);
            keep_busy(&mut sim, &mut dice, 10, no_trouble);
            let before = sim.record.clone().unwrap();
            cut_off::part(&mut sim, &[before.primary.clone()].into());
            let is_claimed = |sim: &Sim| sim.record.as_ref().is_some_and(|record| record.is_choosing);
            for _ in 0..ROUNDS_LIMIT {
                keep_busy(&mut sim, &mut dice, 1, no_trouble);
                if is_claimed(&sim) {
                    break;
                }
            }
            let left_out = &sim.record.as_ref().unwrap().left_out;
            assert!(is_claimed(&sim) && left_out.contains(&before.primary));
            let gone = sim.names().into_iter().filter(|name| *name != before.primary);
            let gone: Vec<String> = gone.collect();
            for name in &gone {
                sim.crash(name, 0);
                sim.nodes.get_mut(name).unwrap().is_off = true;
            }
            keep_busy(&mut sim, &mut dice, 40, no_trouble);
            let (epoch, choices) = choices(&sim).expect("somebody to choose");
            let members: Vec<&String> = choices.iter().map(|choice| &choice.member).collect();
            assert_eq!(members, [&before.primary]);
            sim.forgive(&before.primary);
            sim.spec.switchover = Some(Switchover {
                target: Some(before.primary.clone()),
                is_forced: true,
                accepts_loss_in: Some(epoch),
                ..Switchover::default()
            });
            keep_busy(&mut sim, &mut dice, 20, no_trouble);
            let after = sim.record.clone().unwrap();
            assert_eq!((&after.primary, after.is_choosing), (&before.primary, false));
            assert!(after.by_hand.is_some() && after.left_out.is_empty());
            // The claim was counted, and its choice is not another one.
            assert_eq!(after.failovers, before.failovers + 1);
            sim.spec.switchover = None;
            cut_off::heal(&mut sim);
            for name in &gone {
                sim.lose_volume(name);
            }
            until_healthy(&mut sim, &mut dice, no_trouble);
        },
    );
}

#[test]
fn who_is_named_by_a_person_waits_for_no_pause_and_counts_as_a_failover() {
    let mut dice = Dice::new(44);
    let mut sim = cooldown::after(7, &mut dice);
    lose_the_quorum(&mut sim, &mut dice);
    keep_busy(&mut sim, &mut dice, 20, no_trouble);
    let (epoch, choices) = choices(&sim).unwrap();
    let named = choices[0].member.clone();
    sim.forgive(&named);
    sim.spec.switchover = Some(Switchover {
        target: Some(named.clone()),
        is_forced: true,
        accepts_loss_in: Some(epoch),
        ..Switchover::default()
    });
    keep_busy(&mut sim, &mut dice, 20, no_trouble);
    let record = sim.record.as_ref().unwrap();
    assert_eq!((&record.primary, record.is_choosing), (&named, false));
    assert_eq!(record.failovers, 8);
}
