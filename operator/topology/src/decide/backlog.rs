//! How much the next primary still has to apply before it opens, and how long that takes.
//! Must not tell figures that are others at every look: this is status. The member's metrics have them.

use super::scene::Scene;
use crate::decision::{Pace, Reason};

/// A pace that was seen for less says nothing.
const LOOK_MS: u64 = 5_000;
/// Nothing was applied for so long.
const STANDING_MS: u64 = 10_000;

/// Of a primary that is not open: what it has received and not applied.
pub(super) fn of_primary(scene: &Scene<'_>) -> Option<Reason> {
    let at = scene.living_primary()?;
    let rest = at.server.rest()?;
    let pace = at.member.backlog.map_or(Pace::Unknown, |first| {
        let lasted_ms = at.member.reported_at.saturating_sub(first.at);
        pace(first.transactions, rest, lasted_ms)
    });
    Some(Reason::Applying {
        member: scene.primary().to_owned(),
        at_least: step(rest),
        pace,
    })
}

/// From two looks: what was left at the first, and what is left so much later.
fn pace(first: u64, rest: u64, lasted_ms: u64) -> Pace {
    match first.saturating_sub(rest) {
        0 if lasted_ms >= STANDING_MS => Pace::None,
        0 => Pace::Unknown,
        _ if lasted_ms < LOOK_MS => Pace::Unknown,
        done => {
            let left_ms = u128::from(rest) * u128::from(lasted_ms) / u128::from(done);
            let seconds = u64::try_from(left_ms / 1_000).unwrap_or(u64::MAX);
            Pace::Left {
                seconds: seconds_step(seconds),
            }
        }
    }
}

/// 1, 2, 5, 10, 20, 50, ...: the largest that is not more.
fn step(count: u64) -> u64 {
    let mut power = 1;
    while power <= count / 10 {
        power *= 10;
    }
    match count / power {
        0 => 0,
        1 => power,
        2..=4 => 2 * power,
        _ => 5 * power,
    }
}

/// The smallest that is not less; beyond eight hours a day, which stands for all that is more.
fn seconds_step(seconds: u64) -> u64 {
    let steps = [
        10, 30, 60, 120, 300, 600, 1_200, 1_800, 3_600, 7_200, 14_400, 28_800,
    ];
    let mut steps = steps.into_iter();
    steps.find(|step| seconds <= *step).unwrap_or(86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_times_go_in_steps() {
        let told = [1, 2, 4, 5, 9, 10, 19, 20, 49_999, 50_000, 123_456].map(step);
        assert_eq!(told, [1, 2, 2, 5, 5, 10, 10, 20, 20_000, 50_000, 100_000]);
        assert_eq!(step(u64::MAX), 10_000_000_000_000_000_000);
        let told = [0, 10, 11, 61, 5_000, 1_000_000].map(seconds_step);
        assert_eq!(told, [10, 10, 30, 120, 7_200, 86_400]);
    }

    #[test]
    fn a_pace_needs_two_looks_that_differ() {
        assert_eq!(pace(1_000, 1_000, 4_000), Pace::Unknown);
        assert_eq!(pace(1_000, 1_000, 10_000), Pace::None);
        assert_eq!(pace(1_000, 900, 4_999), Pace::Unknown);
        // A hundred in five seconds, nine hundred are left.
        assert_eq!(pace(1_000, 900, 5_000), Pace::Left { seconds: 60 });
        assert_eq!(pace(u64::MAX, 1, u64::MAX), Pace::Left { seconds: 10 });
    }
}
