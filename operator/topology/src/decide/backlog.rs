//! How much the next primary still has to apply before it opens, and how long that takes; and what replicas lack.
//! Must not tell figures that are others at every look: this is status. The member's metrics have them.

use super::scene::{Scene, lacks};
use crate::decision::{Pace, Reason};

/// A pace that was seen for less says nothing.
const LOOK_MS: u64 = 5_000;
/// Nothing was applied for so long.
const STANDING_MS: u64 = 10_000;
/// Fewer are received in a moment.
const WORTH_A_WORD: u64 = 1_000;

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

/// Of a primary that is not open and has applied everything: what the last of those lacks who must acknowledge its epoch.
pub(super) fn of_replicas(scene: &Scene<'_>) -> Option<Reason> {
    let primary = scene.living_primary().filter(|at| at.server.rest().is_none())?;
    let names = scene.receiving().into_iter();
    let replicas = names.filter_map(|name| Some((lacks(primary, scene.running(name)?), name)));
    let mut replicas: Vec<_> = replicas.collect();
    replicas.sort_unstable();
    let last = usize::from(scene.record.wait_for).checked_sub(1)?;
    let (count, member) = *replicas.get(last)?;
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    (count >= WORTH_A_WORD).then(|| Reason::Receiving {
        member: member.to_owned(),
        at_least: step(count),
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
    use crate::testing::{IDENTITY, Look, name, uuid};

    #[test]
    fn a_replica_that_must_acknowledge_and_lacks_much_is_named() {
        let said = |executed: u32, change: fn(&mut Look)| {
            let mut look = Look::well();
            look.server(0).is_open = false;
            look.server(0).executed = format!("{IDENTITY}:1-3,{}:1-{executed}", uuid(1))
                .parse()
                .unwrap();
            change(&mut look);
            look.because(|reason| match reason {
                Reason::Receiving { member, at_least } => Some((member, at_least)),
                _ => None,
            })
        };
        // Each has nine.
        assert_eq!(said(1_008, |_| ()), None);
        assert_eq!(said(1_009, |_| ()), Some((name(1), 1_000)));
        assert_eq!(said(70_000, |_| ()), Some((name(1), 50_000)));
        let near =
            |look: &mut Look| look.server(2).received = format!("{}:1-69000", uuid(1)).parse().unwrap();
        assert_eq!(said(70_000, near), Some((name(2), 1_000)));
        let both = |look: &mut Look| {
            (look.record().wait_for, look.record().acknowledged_by) = (2, 2);
            look.spec.sync_replicas = 2;
        };
        assert_eq!(said(70_000, both), Some((name(2), 50_000)));
        let applies =
            |look: &mut Look| look.server(0).received = format!("{}:1-70001", uuid(1)).parse().unwrap();
        assert_eq!(said(70_000, applies), None, "its own comes first");
        assert_eq!(said(70_000, |look| look.server(0).is_open = true), None);
    }

    #[test]
    fn counts_and_times_go_in_steps() {
        let told = [0, 1, 2, 4, 5, 9, 10, 19, 20, 49_999, 50_000, 123_456].map(step);
        assert_eq!(told, [0, 1, 2, 2, 5, 5, 10, 10, 20, 20_000, 50_000, 100_000]);
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
