//! How long nothing has come from the source: told from one look to the next.
//! Must not trust the wall clock for more than what lies between two looks.

use std::time::{Duration, Instant};

use sql::status::Channel;
use topology::gtid::GtidSet;

/// Listens to one stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ear {
    heard: Option<Heard>,
}

#[derive(Clone, Debug)]
struct Heard {
    /// When something came last.
    last: Instant,
    /// When it was looked at last.
    looked: Instant,
    heartbeats: u64,
    received: GtidSet,
}

impl Ear {
    /// `at` is when the server said this.
    pub(crate) fn listen(&mut self, channel: &Channel, at: Instant) {
        let last = match &self.heard {
            // Nobody is silent for longer than it has been listened to.
            None => at,
            Some(heard) if heard.heartbeats == channel.heartbeats && heard.received == channel.received => {
                heard.last
            }
            // Some time since the look before; the server knows when, if its clock was left alone.
            Some(heard) => {
                let since = at.saturating_duration_since(heard.looked);
                at - channel.news_age.unwrap_or_default().min(since)
            }
        };
        self.heard = Some(Heard {
            last,
            looked: at,
            heartbeats: channel.heartbeats,
            received: channel.received.clone(),
        });
    }

    pub(crate) fn silence(&self, now: Instant) -> Duration {
        let last = self.heard.as_ref().map(|heard| heard.last);
        last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last))
    }
}

#[cfg(test)]
mod tests {
    use sql::status::Receiver;

    use super::*;

    fn channel(heartbeats: u64, age_ms: u64) -> Channel {
        Channel {
            name: String::new(),
            source_host: "orders-0".into(),
            source_port: 3306,
            auto_position: true,
            auto_failover: false,
            source_uuid: None,
            receiver: Receiver::On,
            receiver_failure: None,
            heartbeats,
            news_age: Some(Duration::from_millis(age_ms)),
            received: GtidSet::default(),
            receiving: None,
            is_applier_on: true,
            applier_failure: None,
            workers: Vec::new(),
        }
    }

    #[test]
    fn silence_begins_with_the_last_news_and_no_clock_makes_it_longer_than_it_was_watched() {
        let begun = Instant::now();
        let at = |ms: u64| begun + Duration::from_millis(ms);
        let mut ear = Ear::default();
        let mut listen = |heartbeats, age_ms, ms| {
            ear.listen(&channel(heartbeats, age_ms), at(ms));
            ear.silence(at(ms)).as_millis()
        };
        assert_eq!(listen(1, 60_000, 0), 0, "the first look");
        assert_eq!(listen(2, 400, 500), 400, "it came between two looks");
        assert_eq!(listen(2, 900, 1_000), 900);
        assert_eq!(listen(3, 3_600_000, 1_500), 500, "a clock that jumped on");
        assert_eq!(listen(3, 0, 2_000), 1_000, "a clock that was set back");
    }
}
