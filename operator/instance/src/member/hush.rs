//! Whether mysqld has answered nobody for so long that it hangs for good.
//! Must not count the time in which the agent itself stood still.

use std::time::{Duration, Instant};

/// Nobody has to wait for so long where another can take over: it is ended then, by other rules.
const LIMIT: Duration = Duration::from_secs(60);
/// One that hangs is asked about every five seconds.
const ROUNDS: u32 = 8;

/// Rounds in a row in which it neither let anybody in nor answered.
#[derive(Debug, Default)]
pub(crate) struct Hush {
    rounds: u32,
    since: Option<Instant>,
}

impl Hush {
    pub(crate) fn heard(&mut self, has_answered: bool, now: Instant) {
        if has_answered {
            *self = Self::default();
            return;
        }
        self.rounds = self.rounds.saturating_add(1);
        self.since.get_or_insert(now);
    }

    pub(crate) fn is_for_good(&self, now: Instant) -> bool {
        let lasts = self.since.map(|since| now.saturating_duration_since(since));
        self.rounds >= ROUNDS && lasts.is_some_and(|lasts| lasts >= LIMIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_a_minute_in_which_the_agent_was_awake_and_no_answer() {
        let begun = Instant::now();
        let at = |seconds: u64| begun + Duration::from_secs(seconds);
        let asked = |hush: &mut Hush, seconds: std::ops::Range<u64>| {
            for second in seconds.step_by(5) {
                hush.heard(false, at(second));
            }
        };
        let mut hush = Hush::default();
        asked(&mut hush, 0..60);
        assert!(!hush.is_for_good(at(59)));
        assert!(hush.is_for_good(at(60)));
        hush.heard(true, at(61));
        assert!(!hush.is_for_good(at(61)));
        // The machine stood still between two rounds.
        asked(&mut hush, 70..80);
        hush.heard(false, at(600));
        assert!(!hush.is_for_good(at(600)));
        // Refused at once, many times.
        let mut hush = Hush::default();
        (0..100).for_each(|_| hush.heard(false, at(0)));
        assert!(!hush.is_for_good(at(30)));
    }
}
