//! Since when a primary hands over, and when that was taken back last: by our own clock.
//! Must not decide anything; another controller begins to count anew.

use topology::observed::Timestamp;
use topology::record::Record;
use topology::term::Term;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Handing {
    under_way: Option<(Term, Timestamp)>,
    pub(crate) taken_back_at: Option<Timestamp>,
}

impl Handing {
    pub(crate) fn since(&self) -> Option<Timestamp> {
        self.under_way.map(|(_, since)| since)
    }

    /// The record as it is now.
    pub(crate) fn saw(&mut self, record: Option<&Record>, now: Timestamp) {
        let term = record
            .filter(|record| record.handing_to.is_some())
            .map(|record| record.term);
        let epoch = record.map(|record| record.term.epoch);
        self.under_way = match (self.under_way, term) {
            (Some((before, since)), Some(term)) if before == term => Some((before, since)),
            (_, Some(term)) => Some((term, now)),
            (Some((before, _)), None) => {
                if epoch == Some(before.epoch) {
                    self.taken_back_at = Some(now);
                }
                None
            }
            (None, None) => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use topology::gtid::Uuid;

    use super::*;

    fn record() -> Record {
        Record {
            voters: std::collections::BTreeMap::new(),
            acknowledged_by: 1,
            wait_for: 1,
            ..Record::of(Uuid::from_bytes([7; 16]), Term::new(3, 9), "orders-0")
        }
    }

    #[test]
    fn a_handover_is_timed_and_remembered_when_it_is_taken_back() {
        let mut handing = Handing::default();
        let mut record = record();
        handing.saw(Some(&record), 5);
        assert_eq!(handing, Handing::default());
        record.handing_to = Some("orders-1".into());
        record.term.revision += 1;
        handing.saw(Some(&record), 10);
        handing.saw(Some(&record), 20);
        assert_eq!(handing.since(), Some(10));
        record.handing_to = None;
        record.term.revision += 1;
        handing.saw(Some(&record), 30);
        assert_eq!((handing.since(), handing.taken_back_at), (None, Some(30)));
        record.handing_to = Some("orders-1".into());
        record.term.revision += 1;
        handing.saw(Some(&record), 40);
        record.handing_to = None;
        record.term.revision += 1;
        record.term.epoch += 1;
        handing.saw(Some(&record), 50);
        assert_eq!((handing.since(), handing.taken_back_at), (None, Some(30)));
    }
}
