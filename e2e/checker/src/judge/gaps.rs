//! Owns the figures of time: gaps of the service, pauses of the checker, latencies.
//! It must not call a pause of the checker a gap of the service without saying so.

use crate::verdict::{Gap, Latency, Service};

/// How many of the longest gaps are kept.
const LONGEST: usize = 10;
/// The checker writes a line at least every 100 ms; a longer silence than this is its own.
const PAUSE_NS: u64 = 500_000_000;

#[derive(Debug, Default)]
pub(crate) struct Gaps {
    begin_ns: Option<u64>,
    end_ns: Option<u64>,
    last_ack_ns: u64,
    last_line_ns: u64,
    paused_in_gap_ns: u64,
    acks: u64,
    service: Service,
}

impl Gaps {
    /// Every line of the history passes here first.
    pub(crate) fn line(&mut self, at_ns: u64) {
        let silence = at_ns.saturating_sub(self.last_line_ns);
        self.last_line_ns = at_ns;
        if self.open() && silence > PAUSE_NS {
            self.service.checker_pauses += 1;
            self.service.checker_paused_ns += silence;
            self.paused_in_gap_ns += silence;
        }
    }

    pub(crate) fn ready(&mut self, at_ns: u64) {
        self.begin_ns = Some(at_ns);
        self.last_ack_ns = at_ns;
    }

    pub(crate) fn stop(&mut self, at_ns: u64) {
        if self.open() {
            self.close(at_ns);
            self.end_ns = Some(at_ns);
        }
    }

    pub(crate) fn ack(&mut self, at_ns: u64) {
        if self.open() {
            self.acks += 1;
            self.close(at_ns);
        }
    }

    fn open(&self) -> bool {
        self.begin_ns.is_some() && self.end_ns.is_none()
    }

    fn close(&mut self, at_ns: u64) {
        let length_ns = at_ns.saturating_sub(self.last_ack_ns);
        let gap = Gap {
            start_ns: self.last_ack_ns,
            length_ns,
            checker_paused_ns: self.paused_in_gap_ns,
        };
        self.last_ack_ns = at_ns;
        self.paused_in_gap_ns = 0;
        self.service.gaps_over_100_ms += u64::from(length_ns > 100_000_000);
        self.service.gaps_over_1_s += u64::from(length_ns > 1_000_000_000);
        let longest = &mut self.service.longest;
        let place = longest.partition_point(|other| other.length_ns >= length_ns);
        if place < LONGEST {
            longest.insert(place, gap);
            longest.truncate(LONGEST);
        }
    }

    /// A killed checker wrote no stop: its last line is the edge.
    pub(crate) fn finish(mut self) -> Service {
        self.stop(self.last_line_ns);
        let measured = self
            .end_ns
            .unwrap_or(0)
            .saturating_sub(self.begin_ns.unwrap_or(0));
        self.service.measured_ns = measured;
        if measured > 0 {
            self.service.acknowledged_per_second = self.acks as f64 * 1e9 / measured as f64;
        }
        self.service
    }
}

/// Exact: four bytes for each acknowledged write.
#[derive(Debug, Default)]
pub(crate) struct Latencies(Vec<u32>);

impl Latencies {
    pub(crate) fn add(&mut self, ns: u64) {
        self.0.push(u32::try_from(ns / 1_000).unwrap_or(u32::MAX));
    }

    pub(crate) fn finish(mut self) -> Latency {
        self.0.sort_unstable();
        let list = &self.0;
        // Nearest rank: the smallest value that at least this share does not exceed.
        let rank = |per_cent: usize| {
            let index = (list.len() * per_cent).div_ceil(100).saturating_sub(1);
            list.get(index).copied().map_or(0, u64::from)
        };
        Latency {
            p50_us: rank(50),
            p90_us: rank(90),
            p99_us: rank(99),
            max_us: rank(100),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_exact() {
        let mut latencies = Latencies::default();
        for us in (1..=100).rev() {
            latencies.add(us * 1_000);
        }
        let latency = latencies.finish();
        assert_eq!((latency.p50_us, latency.p90_us), (50, 90));
        assert_eq!((latency.p99_us, latency.max_us), (99, 100));
    }
}
