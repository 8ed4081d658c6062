//! What befalls whom in a round of a soak, drawn by chance.
//! Must not do any of it.

use std::fmt;
use std::time::Duration;

use e2e::harm::Harm;

/// From one fault to the next, and from the last until all are healed.
const PAUSE_MS: u64 = 4_000;
const LASTS_MS: u64 = 15_000;

/// What befalls whom in one round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) blows: Vec<Blow>,
    /// From the last of them until all are healed.
    pub(super) lasts: Duration,
}

/// So long after what came before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blow {
    pub(super) pause: Duration,
    pub(super) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Of the primary as the round begins (0), or of one of its replicas.
    Member(usize, Harm),
    /// Of the controller that leads.
    Operator(Outage),
    /// The API server stops.
    ApiDown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outage {
    Killed,
    Deleted,
    Frozen,
}

const OF_ANY: [Harm; 7] = [
    Harm::Killed,
    Harm::Agent,
    Harm::Deleted,
    Harm::Power,
    Harm::Cut,
    Harm::Frozen,
    Harm::Hung,
];
const MEMBERS: usize = 3;

impl Plan {
    /// The same for the same seed and round. Nobody is struck twice, and who asks the API server does so while it is there.
    pub(super) fn of(seed: u64, round: u64, sends_large: bool) -> Self {
        let mut chance = Chance::of(seed, round);
        let mut whats = Vec::new();
        for member in 0..MEMBERS {
            // The primary in two of three rounds, each replica in one.
            if chance.below(3) < if member == 0 { 2 } else { 1 } {
                let harm = match chance.below(9) {
                    0 if member == 0 => Harm::Switchover,
                    1 if member == 0 && sends_large => Harm::Sending,
                    _ => chance.one_of(&OF_ANY),
                };
                whats.push(What::Member(member, harm));
            }
        }
        if whats.is_empty() || chance.below(3) == 0 {
            let outages = [Outage::Killed, Outage::Deleted, Outage::Frozen];
            whats.push(What::Operator(chance.one_of(&outages)));
        }
        chance.shuffle(&mut whats);
        whats.sort_by_key(|what| *what != What::Member(0, Harm::Sending));
        if chance.below(6) == 0 {
            whats.push(What::ApiDown);
        }
        let mut blow = |what| {
            // Often at once.
            let pause = Duration::from_millis(chance.below(2) * chance.below(PAUSE_MS));
            Blow { pause, what }
        };
        let blows = whats.into_iter().map(&mut blow).collect();
        let lasts = Duration::from_millis(chance.below(LASTS_MS));
        Self { blows, lasts }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for blow in &self.blows {
            write!(f, "{:.1} s, ", blow.pause.as_secs_f64())?;
            match blow.what {
                What::Member(0, harm) => write!(f, "primary: {}; ", harm.what())?,
                What::Member(replica, harm) => write!(f, "replica {replica}: {}; ", harm.what())?,
                What::Operator(Outage::Killed) => f.write_str("operator killed; ")?,
                What::Operator(Outage::Deleted) => f.write_str("operator's Pod deleted; ")?,
                What::Operator(Outage::Frozen) => f.write_str("operator frozen; ")?,
                What::ApiDown => f.write_str("API server stopped; ")?,
            }
        }
        write!(f, "healed {:.1} s later", self.lasts.as_secs_f64())
    }
}

/// Splitmix64: the same numbers for the same beginning.
struct Chance(u64);

impl Chance {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

    fn of(seed: u64, round: u64) -> Self {
        let mut rounds = Self(seed);
        rounds.0 = rounds.next() ^ round;
        rounds
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(Self::STEP);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn place(&mut self, of: usize) -> usize {
        usize::try_from(self.below(of as u64)).unwrap_or_default()
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.place(all.len())]
    }

    fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            all.swap(last, self.place(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Everything that can be drawn comes, nobody is struck twice, and nothing asks an API server that is stopped.
    #[test]
    fn plans_are_drawn_from_all_there_is() {
        let mut seen = BTreeSet::new();
        for round in 0..2_000 {
            let plan = Plan::of(1, round, true);
            assert_eq!(plan, Plan::of(1, round, true));
            assert!(!plan.blows.is_empty(), "round {round}");
            let members = plan.blows.iter().filter_map(|blow| match blow.what {
                What::Member(number, _) => Some(number),
                _ => None,
            });
            let mut members: Vec<usize> = members.collect();
            let struck = members.len();
            members.sort_unstable();
            members.dedup();
            assert_eq!(members.len(), struck, "{plan}");
            let stops = plan.blows.iter().position(|blow| blow.what == What::ApiDown);
            assert!(stops.is_none_or(|at| at + 1 == plan.blows.len()), "{plan}");
            seen.extend(plan.blows.iter().map(|blow| format!("{:?}", blow.what)));
        }
        let of_members = MEMBERS * OF_ANY.len() + 2;
        assert_eq!(seen.len(), of_members + 4, "{seen:?}");
        let is_large = |round| format!("{:?}", Plan::of(2, round, false)).contains("Sending");
        assert!(!(0..2_000).any(is_large));
    }
}
