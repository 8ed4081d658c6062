//! The protocol explored state by state: the product's own decisions, members that fail, electors that are late.
//! Must not repeat a decision: `decide` and `check` are the product's.

#![cfg(test)]

mod bounds;
mod breakages;
mod elector;
mod log;
mod member;
mod pool;
mod state;
mod views;
mod world;

use bounds::{Bounds, FIVE, Fault, THREE};
use stateright::{Checker, Expectation, HasDiscoveries, Model};
use world::{ONE_FAILOVER, TWO_FAILOVERS, WRITTEN_AFTER, World};

/// `HOLDFAST_MODEL=large`, in a release build, explores more of everything.
fn is_large() -> bool {
    std::env::var("HOLDFAST_MODEL").is_ok_and(|size| size == "large")
}

/// What a search found, printed; a counterexample is printed whole.
pub(crate) struct Search {
    pub(crate) unique: usize,
    /// By property: the steps that lead to it.
    pub(crate) found: Vec<(&'static str, Vec<String>)>,
}

impl Search {
    pub(crate) fn steps_to(&self, property: &str) -> Option<&Vec<String>> {
        let mut found = self.found.iter();
        found.find(|(name, _)| *name == property).map(|(_, steps)| steps)
    }

    fn counterexamples(&self, world: &World) -> Vec<&'static str> {
        let properties = world.properties();
        let always = properties
            .iter()
            .filter(|property| property.expectation == Expectation::Always);
        always
            .map(|property| property.name)
            .filter(|name| self.steps_to(name).is_some())
            .collect()
    }
}

/// Explores everything, or until one of these is found, or so many states.
// The time is printed and nothing rests on it.
#[allow(clippy::disallowed_methods)]
pub(crate) fn search(what: &str, world: World, until: HasDiscoveries, limit: Option<usize>) -> Search {
    let bounds = world.bounds;
    let mut builder = world.checker().finish_when(until);
    if let Some(limit) = limit {
        builder = builder.target_state_count(limit);
    }
    let checker = builder.spawn_bfs().join();
    println!(
        "{what}: {} unique states, {} in all, depth {}, {bounds:?}",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth()
    );
    let mut found = Vec::new();
    for property in checker.model().properties() {
        if let Some(path) = checker.discovery(property.name) {
            let actions = path.into_actions();
            let steps = actions.iter().map(|action| checker.model().format_action(action));
            let steps: Vec<String> = steps.collect();
            println!("    {}: after {} steps", property.name, steps.len());
            if property.expectation == Expectation::Always {
                println!("        {}", steps.join("\n        "));
            }
            found.push((property.name, steps));
        }
    }
    Search {
        unique: checker.unique_state_count(),
        found,
    }
}

/// Nothing that must always hold is ever broken; what should be possible is.
fn holds(what: &str, bounds: Bounds, limit: Option<usize>, possible: &[&str]) {
    let world = World::new(bounds, Fault::None, true);
    let search = search(what, world, HasDiscoveries::AnyFailures, limit);
    let broken = search.counterexamples(&World::new(bounds, Fault::None, true));
    assert!(broken.is_empty(), "{what}: {broken:?}");
    for property in possible {
        assert!(search.steps_to(property).is_some(), "{what}: never: {property}");
    }
    assert!(search.unique > 500, "{what}: nothing was explored");
}

#[test]
fn three_members_survive_a_failover_whatever_electors_see_and_however_late_acknowledgements_are() {
    let bounds = Bounds {
        alarms: 1,
        crashes: 1 + u8::from(is_large()),
        is_prompt: false,
        is_all_seen: false,
        ..THREE
    };
    holds("one failover, any view", bounds, None, &[ONE_FAILOVER]);
}

#[test]
fn three_members_survive_two_failovers_in_a_row() {
    let bounds = Bounds {
        writes: 1 + u8::from(is_large()),
        crashes: 2,
        epochs: 3,
        ..THREE
    };
    let possible = [ONE_FAILOVER, TWO_FAILOVERS, WRITTEN_AFTER];
    holds("two failovers", bounds, None, &possible);
}

#[test]
fn three_members_survive_a_lost_volume() {
    let bounds = Bounds {
        losses: 1,
        epochs: 2 + u8::from(is_large()),
        ..THREE
    };
    holds("a lost volume", bounds, None, &[ONE_FAILOVER]);
}

#[test]
fn three_members_survive_electors_and_orders_that_are_late() {
    let late = 1;
    let alarm = Bounds {
        crashes: u8::from(is_large()),
        alarms: 1,
        late,
        ..THREE
    };
    holds("late, and a primary given up", alarm, None, &[ONE_FAILOVER]);
    let crash = Bounds { late, ..THREE };
    holds("late, and a crash", crash, None, &[ONE_FAILOVER]);
}

#[test]
fn three_members_survive_a_change_of_how_many_must_acknowledge() {
    let bounds = Bounds {
        wanted_sync_replicas: 2,
        ..THREE
    };
    holds("waiting for more", bounds, None, &[ONE_FAILOVER]);
}

#[test]
fn five_members_survive_a_failover_as_far_as_it_is_explored() {
    let limit = if is_large() { 5_000_000 } else { 300_000 };
    holds("five members", FIVE, Some(limit), &[ONE_FAILOVER]);
}
