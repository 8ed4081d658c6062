//! Since when no primary had to be chosen, on the clock of who looks.
//! Must not outlive who looks: another one begins to count anew, and so waits longer, never shorter.

use crate::observed::{Observed, Timestamp};
use crate::record::Record;

/// Fed with the record at every look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calm {
    failed_over_at: Option<Timestamp>,
    counted: Option<(u16, Timestamp)>,
}

impl Calm {
    /// The record as it is now. As long as an epoch is claimed, the failover goes on.
    pub fn saw(&mut self, record: Option<&Record>, now: Timestamp) {
        let failovers = record.map_or(0, |record| record.failovers);
        let is_choosing = record.is_some_and(|record| record.is_choosing);
        if is_choosing || self.failed_over_at.is_none() {
            self.failed_over_at = Some(now);
        }
        let is_same = |(before, _): &(u16, Timestamp)| *before == failovers && !is_choosing;
        self.counted = self.counted.filter(is_same).or(Some((failovers, now)));
    }

    pub fn fill(&self, seen: &mut Observed) {
        seen.failed_over_at = self.failed_over_at;
        seen.counted_at = self.counted.map(|(_, since)| since);
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::gtid::Uuid;
    use crate::term::Term;

    fn at(calm: &Calm) -> (Option<Timestamp>, Option<Timestamp>) {
        let mut seen = Observed::default();
        calm.fill(&mut seen);
        (seen.failed_over_at, seen.counted_at)
    }

    #[test]
    fn the_time_since_a_failover_begins_when_it_is_over_and_forgetting_leaves_it() {
        let mut record = Record {
            acknowledged_by: 1,
            wait_for: 1,
            failovers: 2,
            ..Record::of(Uuid::from_bytes([7; 16]), Term::new(3, 9), "orders-0")
        };
        let mut calm = Calm::default();
        assert_eq!(at(&calm), (None, None));
        // Who begins to look knows of nothing before.
        calm.saw(Some(&record), 10);
        calm.saw(Some(&record), 20);
        assert_eq!(at(&calm), (Some(10), Some(10)));
        (record.is_choosing, record.failovers) = (true, 3);
        calm.saw(Some(&record), 30);
        calm.saw(Some(&record), 40);
        record.is_choosing = false;
        calm.saw(Some(&record), 50);
        assert_eq!(at(&calm), (Some(40), Some(40)));
        record.failovers = 2;
        calm.saw(Some(&record), 90);
        calm.saw(Some(&record), 95);
        assert_eq!(at(&calm), (Some(40), Some(90)));
    }
}
