//! The protocol explored state by state: the product's own decisions, members that fail, electors that are late.
//! Must not repeat a decision: `decide` and `check` are the product's.

#![cfg(test)]

mod bounds;
mod elector;
mod log;
mod member;
mod pool;
mod state;
mod world;

use std::time::Instant;

use bounds::{Bounds, Fault};
use stateright::{Checker, Model};
use world::World;

const SMALL: Bounds = Bounds {
    members: 3,
    sync_replicas: 1,
    wanted_sync_replicas: 1,
    writes: 1,
    crashes: 1,
    losses: 0,
    alarms: 0,
    epochs: 2,
    late: 0,
};

#[test]
fn probe() {
    let mut bounds = SMALL;
    if let Ok(text) = std::env::var("B") {
        let n: Vec<u8> = text.split(',').map(|n| n.parse().unwrap()).collect();
        bounds.writes = n[0];
        bounds.crashes = n[1];
        bounds.losses = n[2];
        bounds.alarms = n[3];
        bounds.epochs = n[4];
        bounds.late = n[5];
    }
    let began = Instant::now();
    let checker = World::new(bounds, Fault::None, true)
        .checker()
        .finish_when(match std::env::var("ALL") { Ok(_) => stateright::HasDiscoveries::All, Err(_) => stateright::HasDiscoveries::AnyFailures })
        .timeout(std::time::Duration::from_secs(100))
        .spawn_bfs()
        .join();
    println!(
        "{bounds:?}: {} states, {} unique, depth {}, {:?}",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        began.elapsed()
    );
    for (name, path) in checker.discoveries() {
        println!("== {name}: {} steps", path.clone().into_actions().len());
        let long = std::env::var("V").is_ok();
        if long || checker.model().properties().iter().any(|p| p.name == name && p.expectation == stateright::Expectation::Always) {
            for (state, action) in path.into_vec() {
                if long { println!("{:?} {:?}", state.record, state.members.iter().map(|m| (m.log, m.executed, m.run.follows, m.run.is_open)).collect::<Vec<_>>()); }
                println!("    {}", action.map(|a| checker.model().format_action(&a)).unwrap_or_default());
            }
        }
    }
}
