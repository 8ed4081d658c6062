//! A primary that is well gives its role up: asked for, with its Pod, or not at all.
//! Must not hold stories of failures: those are beside it.

use super::*;

fn keep_busy_until(sim: &mut Sim, dice: &mut Dice, is_so: impl Fn(&Sim) -> bool) {
    for _ in 0..ROUNDS_LIMIT {
        if is_so(sim) {
            return;
        }
        keep_busy(sim, dice, 1, no_trouble);
    }
    panic!("{:#?} of {:#?}", sim.last, sim.record);
}

#[test]
fn the_role_moves_when_asked_and_loses_nothing() {
    seeds::each(
        "the_role_moves_when_asked_and_loses_nothing",
        1_000,
        &[],
        |seed| {
            let mut dice = Dice::new(20_000 + seed);
            let mut sim = Sim::new(if seed % 2 == 0 { 3 } else { 5 });
            until_healthy(&mut sim, &mut dice, no_trouble);
            for _ in 0..4 {
                let before = sim.record.clone().unwrap();
                let others = sim.names().into_iter().filter(|name| *name != before.primary);
                let target = others.max();
                sim.spec.switchover = Some(Switchover {
                    target: target.clone(),
                    ..Switchover::default()
                });
                until_healthy(&mut sim, &mut dice, |_, _| {});
                for _ in 0..200 {
                    if sim.record.as_ref().map(|record| &record.primary) == target.as_ref() {
                        break;
                    }
                    keep_busy(&mut sim, &mut dice, 1, no_trouble);
                }
                until_healthy(&mut sim, &mut dice, no_trouble);
                let after = sim.record.clone().unwrap();
                assert_eq!((Some(&after.primary), after.handing_to), (target.as_ref(), None));
                assert_eq!(after.term.epoch, before.term.epoch + 1);
                // Nobody had to be copied anew.
                let incarnations = |record: &topology::record::Record| -> Vec<_> {
                    record.voters.values().map(|voter| voter.incarnation).collect()
                };
                assert_eq!(incarnations(&before), incarnations(sim.record.as_ref().unwrap()));
            }
        },
    );
}

#[test]
fn a_primary_whose_pod_is_deleted_leads_until_another_does() {
    seeds::each(
        "a_primary_whose_pod_is_deleted_leads_until_another_does",
        500,
        &[],
        |seed| {
            let mut dice = Dice::new(30_000 + seed);
            let mut sim = Sim::new(if seed % 2 == 0 { 3 } else { 5 });
            until_healthy(&mut sim, &mut dice, no_trouble);
            keep_busy_until(&mut sim, &mut dice, |sim| sim.exposed.primary.is_some());
            let before = sim.record.clone().unwrap();
            sim.nodes.get_mut(&before.primary).unwrap().is_ending = true;
            for _ in 0..200 {
                if sim.record.as_ref().unwrap().primary != before.primary {
                    break;
                }
                keep_busy(&mut sim, &mut dice, 1, no_trouble);
                assert!(sim.exposed.primary.is_some(), "{:#?}", sim.last);
            }
            let after = sim.record.clone().unwrap();
            assert_ne!(after.primary, before.primary);
            assert_eq!(after.term.epoch, before.term.epoch + 1);
            assert!(!after.is_choosing, "a handover is no failover");
            let old = sim.nodes.get_mut(&before.primary).unwrap();
            (old.is_ending, old.has_pod) = (false, false);
            sim.crash(&before.primary, 3);
            until_healthy(&mut sim, &mut dice, no_trouble);
        },
    );
}

#[test]
fn a_handover_whose_target_goes_away_is_taken_back() {
    let mut dice = Dice::new(77);
    let mut sim = Sim::new(3);
    until_healthy(&mut sim, &mut dice, no_trouble);
    let before = sim.record.clone().unwrap();
    let target = sim
        .names()
        .into_iter()
        .find(|name| *name != before.primary)
        .unwrap();
    sim.spec.switchover = Some(Switchover {
        target: Some(target.clone()),
        ..Switchover::default()
    });
    keep_busy_until(&mut sim, &mut dice, |sim| {
        sim.record.as_ref().unwrap().handing_to.is_some()
    });
    sim.nodes.get_mut(&target).unwrap().is_off = true;
    sim.spec.switchover = None;
    keep_busy(&mut sim, &mut dice, 20, no_trouble);
    let record = sim.record.clone().unwrap();
    assert_eq!(
        (&record.primary, record.term.epoch),
        (&before.primary, before.term.epoch)
    );
    assert_eq!(record.handing_to, None);
    assert!(sim.taken_back_at.is_some() && sim.nodes[&record.primary].server.is_open);
}

#[test]
fn who_cannot_take_over_is_named_with_the_reason() {
    let mut dice = Dice::new(21);
    let mut sim = Sim::new(3);
    until_healthy(&mut sim, &mut dice, no_trouble);
    let primary = sim.record.as_ref().unwrap().primary.clone();
    let target = sim.names().into_iter().find(|name| *name != primary).unwrap();
    sim.nodes.get_mut(&target).unwrap().is_off = true;
    sim.spec.switchover = Some(Switchover {
        target: Some(target.clone()),
        ..Switchover::default()
    });
    keep_busy(&mut sim, &mut dice, 20, no_trouble);
    let words = |sim: &Sim| {
        let refused = sim.last.as_ref().unwrap().refused.iter();
        refused.map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    assert!(
        words(&sim).contains(&format!("{target} does not follow it")),
        "{}",
        words(&sim)
    );
    sim.spec.switchover.as_mut().unwrap().target = Some("orders-7".into());
    keep_busy(&mut sim, &mut dice, 20, no_trouble);
    assert!(words(&sim).contains("orders-7 is no member"), "{}", words(&sim));
}
