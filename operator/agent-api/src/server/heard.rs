//! Which ping came before the sampling of a report began.
//! Must not claim one that came later: whoever sent it would take old facts for new ones.

use std::collections::VecDeque;

/// Pings that no report has come after yet. At two a second this is half a minute.
const PENDING_LIMIT: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The newest ping that came before the newest report.
    number: u64,
    /// Number and tick of receipt, both rising.
    pending: VecDeque<(u64, u64)>,
}

impl Heard {
    pub(super) fn ping(&mut self, number: u64, received: u64) {
        // The newest is forgotten rather than the oldest: a sampling that takes long still finds those
        // that came before it.
        self.pending.truncate(PENDING_LIMIT - 1);
        self.pending.push_back((number, received));
    }

    /// For a report whose sampling began then.
    pub(super) fn before(&mut self, started: u64) -> u64 {
        while let Some((number, _)) = self.pending.pop_front_if(|(_, received)| *received < started) {
            self.number = number;
        }
        self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pings_before_the_sampling_count() {
        let mut heard = Heard::default();
        assert_eq!(heard.before(9), 0);
        heard.ping(1, 10);
        heard.ping(2, 20);
        heard.ping(3, 30);
        assert_eq!(
            [10, 11, 20, 21].map(|started| heard.before(started)),
            [0, 1, 1, 2]
        );
        assert_eq!(heard.before(100), 3);
    }

    #[test]
    fn memory_is_bounded_and_old_samplings_find_theirs() {
        let mut heard = Heard::default();
        for number in 1..=10_000 {
            heard.ping(number, number * 2);
            assert!(heard.pending.len() <= PENDING_LIMIT);
        }
        assert_eq!(heard.before(21), 10);
        // Some are forgotten, never in the wrong direction.
        assert_eq!(heard.before(19_999), 63);
        assert_eq!(heard.before(20_001), 10_000);
    }
}
