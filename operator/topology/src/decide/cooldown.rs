//! How long the next failover waits when several came shortly before, and when they are forgotten.
//! Must not hold back what somebody asked for, nor compare times of day: a number is kept, and time is counted anew.

use super::scene::Scene;
use crate::decision::{Cause, Reason, Refusal};
use crate::observed::Timestamp;
use crate::record::Record;

/// As long as no more than so many are counted, none waits.
const FREE: u16 = 3;
/// From the last failover to the next, once there were more. It doubles with each.
const FIRST_PAUSE_MS: u64 = 10_000;
const PAUSE_LIMIT_MS: u64 = 300_000;
/// The pause is at its limit: more are not counted, and so not to be forgotten either.
pub(crate) const COUNT_LIMIT: u16 = 8;
/// After each time of that length without another one, one is forgotten.
const FORGET_MS: u64 = 600_000;

/// The count with one failover more.
pub(super) fn with_one_more(record: &Record) -> u16 {
    record.failovers.saturating_add(1).min(COUNT_LIMIT)
}

fn pause_ms(failovers: u16) -> u64 {
    match failovers.checked_sub(FREE) {
        None => 0,
        Some(more) => {
            let doubled = 1_u64.checked_shl(u32::from(more)).unwrap_or(u64::MAX);
            FIRST_PAUSE_MS.saturating_mul(doubled).min(PAUSE_LIMIT_MS)
        }
    }
}

/// When the next one may begin. Who has just begun to look does not know when the last was: it waits all the pause.
fn ends_at(scene: &Scene<'_>) -> Timestamp {
    let since = scene.seen.failed_over_at.unwrap_or(scene.now);
    since.saturating_add(pause_ms(scene.record.failovers))
}

/// Why the failover that could begin now does not, if it does not.
pub(super) fn refusal(scene: &Scene<'_>, cause: Cause) -> Option<Refusal> {
    let left_ms = ends_at(scene).checked_sub(scene.now).filter(|left| *left > 0)?;
    Some(Refusal::CoolingDown {
        primary: scene.primary().to_owned(),
        cause,
        failovers: scene.record.failovers,
        within_ms: at_most_ms(left_ms),
    })
}

/// In few steps, those of the pauses: the exact figure would be another one at every look, and this is status.
fn at_most_ms(left_ms: u64) -> u64 {
    let pauses = (FREE..=COUNT_LIMIT).map(pause_ms);
    let mut steps = pauses.filter(|step| *step >= left_ms);
    steps.next().unwrap_or(PAUSE_LIMIT_MS)
}

/// When there is something else to say of the pause, or when it ends.
pub(super) fn next_word_at(scene: &Scene<'_>, within_ms: u64) -> Timestamp {
    let pauses = (FREE..=COUNT_LIMIT).map(pause_ms);
    let below = pauses.filter(|step| *step < within_ms).max();
    ends_at(scene).saturating_sub(below.unwrap_or(0))
}

fn forgets_at(scene: &Scene<'_>) -> Option<Timestamp> {
    let since = scene.seen.counted_at.filter(|_| scene.record.failovers > 0)?;
    Some(since.saturating_add(FORGET_MS))
}

/// When one is to be forgotten.
pub(super) fn wake(scene: &Scene<'_>) -> Option<Timestamp> {
    forgets_at(scene).filter(|at| *at > scene.now)
}

/// One is forgotten: it has been quiet for long, and somebody takes writes.
pub(super) fn forgotten(scene: &Scene<'_>) -> Option<(Record, Reason)> {
    let is_due = forgets_at(scene).is_some_and(|at| scene.now >= at);
    let is_open = scene.living_primary().is_some_and(|at| at.server.is_open);
    if !is_due || !is_open {
        return None;
    }
    let mut record = scene.record.revised();
    record.failovers -= 1;
    let left = record.failovers;
    Some((record, Reason::Forgetting { left }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Process;
    use crate::testing::Look;

    #[test]
    fn the_pause_doubles_up_to_its_limit() {
        let pauses = [0, 2, 3, 4, 5, 6, 7, 8, 9, 100, u16::MAX].map(|count| pause_ms(count) / 1_000);
        assert_eq!(pauses, [0, 0, 10, 20, 40, 80, 160, 300, 300, 300, 300]);
        assert_eq!(pause_ms(COUNT_LIMIT), PAUSE_LIMIT_MS);
        assert!(pause_ms(COUNT_LIMIT - 1) < PAUSE_LIMIT_MS);
    }

    /// Four failovers, the last one so long ago, and the primary's mysqld is dead.
    fn waiting(ago_ms: u64) -> Look {
        let mut look = Look::well();
        look.record().failovers = FREE + 1;
        look.seen.failed_over_at = Some(look.now - ago_ms);
        look.report(0).process = Process::Ended { restarts: 0 };
        look
    }

    #[test]
    fn a_pause_is_told_of_again_when_there_is_something_new_to_say() {
        let refused = |look: &Look| {
            let decision = look.decide();
            assert_eq!(decision.plan.record, None);
            let record = look.record.as_ref().unwrap();
            let scene = Scene::new(&look.spec, &look.seen, record, look.now);
            match &decision.refused[..] {
                [Refusal::CoolingDown { within_ms, .. }] => {
                    let at = next_word_at(&scene, *within_ms);
                    assert!(
                        decision.wake.is_some_and(|wake| wake <= at),
                        "nobody would say it"
                    );
                    at - look.now
                }
                other => panic!("{other:?}"),
            }
        };
        // 20 s: at most 20 s are left until at most 10 are.
        assert_eq!(refused(&waiting(0)), 10_000);
        assert_eq!(refused(&waiting(9_999)), 1);
        assert_eq!(refused(&waiting(10_000)), 10_000);
        assert_eq!(refused(&waiting(19_999)), 1);
        assert!(waiting(20_000).decide().plan.record.unwrap().is_choosing);
        // Who has just begun to look waits for all of it.
        let mut new = waiting(0);
        new.seen.failed_over_at = None;
        assert_eq!(refused(&new), 10_000);
    }

    #[test]
    fn a_failover_is_forgotten_after_ten_quiet_minutes() {
        let quiet = |ms: u64| {
            let mut look = Look::well();
            look.record().failovers = 2;
            look.now = 2 * FORGET_MS;
            for number in 0..3 {
                look.member(number).reported_at = look.now;
            }
            look.told_anew();
            look.seen.counted_at = Some(look.now - ms);
            look.decide()
        };
        assert_eq!(quiet(FORGET_MS - 1).plan.record, None);
        assert_eq!(quiet(FORGET_MS - 1).wake, Some(2 * FORGET_MS + 1));
        let forgotten = quiet(FORGET_MS);
        assert_eq!(forgotten.plan.record.unwrap().failovers, 1);
        assert_eq!(forgotten.because, [Reason::Forgetting { left: 1 }]);
        let mut nothing = Look::well();
        nothing.seen.counted_at = Some(nothing.now);
        assert_eq!(nothing.decide().wake, None);
        // It is time, and nobody takes writes: that will be seen.
        let mut closed = Look::well();
        closed.record().failovers = 1;
        closed.now += FORGET_MS;
        closed.seen.counted_at = Some(closed.now - FORGET_MS);
        let record = closed.record.clone().unwrap();
        assert_eq!(
            wake(&Scene::new(&closed.spec, &closed.seen, &record, closed.now)),
            None
        );
    }

    #[test]
    fn what_is_left_is_told_in_steps() {
        let told = [1, 10_000, 10_001, 40_000, 299_999, 400_000].map(|left| at_most_ms(left) / 1_000);
        assert_eq!(told, [10, 10, 20, 40, 300, 300]);
    }
}
