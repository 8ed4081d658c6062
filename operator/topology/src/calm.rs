//! Since when no primary had to be chosen, and no Service led anywhere else, on the clock of who looks.
//! Must not outlive who looks: another one begins to count anew, and so waits longer, never shorter.

use crate::observed::{Exposed, Observed, Timestamp};
use crate::record::Record;

/// Fed with the record, and with what is seen, at every look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calm {
    failed_over_at: Option<Timestamp>,
    counted: Option<(u16, Timestamp)>,
    exposed: Option<(Exposed, Timestamp)>,
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

    /// Writes what is known into the observation, which says where Services lead.
    pub fn fill(&mut self, seen: &mut Observed, now: Timestamp) {
        let is_same = |(before, _): &(Exposed, Timestamp)| *before == seen.exposed;
        let before = self.exposed.take().filter(is_same);
        let (_, since) = self
            .exposed
            .insert(before.unwrap_or_else(|| (seen.exposed.clone(), now)));
        seen.exposed_at = Some(*since);
        seen.failed_over_at = self.failed_over_at;
        seen.counted_at = self.counted.map(|(_, since)| since);
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::gtid::Uuid;
    use crate::observed::Endpoint;
    use crate::term::Term;

    fn at(calm: &Calm) -> (Option<Timestamp>, Option<Timestamp>) {
        let mut seen = Observed::default();
        calm.clone().fill(&mut seen, 0);
        (seen.failed_over_at, seen.counted_at)
    }

    #[test]
    fn services_are_calm_since_they_were_changed_last() {
        let mut calm = Calm::default();
        let mut since = |member: &str, now: Timestamp| {
            let (member, ip) = (member.to_owned(), "10.0.0.1".to_owned());
            let mut seen = Observed::default();
            seen.exposed.primary = Some(Endpoint { member, ip });
            calm.fill(&mut seen, now);
            seen.exposed_at
        };
        let told = [
            ("orders-0", 10),
            ("orders-0", 20),
            ("orders-1", 30),
            ("orders-1", 40),
        ];
        assert_eq!(
            told.map(|(member, now)| since(member, now)),
            [10, 10, 30, 30].map(Some)
        );
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
