//! How long a lease lasts and how its renewal is paced, in proportions that are safe.
//! Must not be buildable in others.

use std::time::Duration;

/// A lease that claims to last longer is not believed: it would keep everyone out for ever.
const DURATION_LIMIT: Duration = Duration::from_secs(60);

/// Built by `new`, which checks it, or by `default`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    duration: Duration,
    renew_deadline: Duration,
    renew_period: Duration,
    call_timeout: Duration,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("failed to accept a lease of {0:?}: whole seconds are needed, between 1 and 60")]
    Duration(Duration),
    #[error("failed to accept a renew deadline of {0:?}: at most four fifths of the lease are safe")]
    RenewDeadline(Duration),
    #[error("failed to accept a renew period of {0:?}: two renewals must fit into the deadline")]
    RenewPeriod(Duration),
    #[error("failed to accept a timeout of {0:?} for a call: one hung call must not cost the lease")]
    CallTimeout(Duration),
}

impl Timing {
    /// `duration` is what the others wait after the last renewal they saw; `renew_deadline` how
    /// long we act upon ours. The fifth between them is for clocks that run at different rates.
    pub fn new(
        duration: Duration,
        renew_deadline: Duration,
        renew_period: Duration,
        call_timeout: Duration,
    ) -> Result<Self, Error> {
        // The field of the lease counts seconds.
        if duration.subsec_nanos() != 0 || duration.is_zero() || duration > DURATION_LIMIT {
            return Err(Error::Duration(duration));
        }
        if renew_deadline > duration * 4 / 5 || renew_deadline.is_zero() {
            return Err(Error::RenewDeadline(renew_deadline));
        }
        if renew_period > renew_deadline / 2 || renew_period.is_zero() {
            return Err(Error::RenewPeriod(renew_period));
        }
        // After a renewal: one period, one call that hangs, a pause, and time for one that works.
        let spent = renew_period + call_timeout + renew_period / 4;
        if spent >= renew_deadline || call_timeout.is_zero() {
            return Err(Error::CallTimeout(call_timeout));
        }
        Ok(Self {
            duration,
            renew_deadline,
            renew_period,
            call_timeout,
        })
    }

    pub fn duration(&self) -> Duration {
        self.duration
    }

    pub fn renew_deadline(&self) -> Duration {
        self.renew_deadline
    }

    pub fn renew_period(&self) -> Duration {
        self.renew_period
    }

    pub fn call_timeout(&self) -> Duration {
        self.call_timeout
    }

    pub(crate) fn retry_pause(&self) -> Duration {
        self.renew_period / 4
    }

    /// How long to wait for a holder that wrote `promised`. While two versions of us with
    /// different settings run side by side, the longer one counts.
    pub(crate) fn patience(&self, promised: Option<Duration>) -> Duration {
        promised
            .unwrap_or_default()
            .min(DURATION_LIMIT)
            .max(self.duration)
    }
}

impl Default for Timing {
    /// A dead leader is replaced two to two and a half seconds after its last renewal: a failover may
    /// wait for it. A live one survives a renewal that hangs; two make it stop until it is heard again.
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(2),
            renew_deadline: Duration::from_millis(1600),
            renew_period: Duration::from_millis(500),
            call_timeout: Duration::from_millis(900),
        }
    }
}

#[cfg(test)]
impl Timing {
    /// What tests count with, whatever the default is.
    pub(crate) fn ten_seconds() -> Self {
        Self {
            duration: Duration::from_secs(10),
            renew_deadline: Duration::from_secs(7),
            renew_period: Duration::from_secs(2),
            call_timeout: Duration::from_millis(1500),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn of(duration_ms: u64, deadline_ms: u64, period_ms: u64, call_ms: u64) -> Result<Timing, Error> {
        Timing::new(ms(duration_ms), ms(deadline_ms), ms(period_ms), ms(call_ms))
    }

    #[test]
    fn the_default_is_safe() {
        let default = Timing::default();
        assert_eq!(of(2_000, 1_600, 500, 900), Ok(default));
    }

    #[test]
    fn unsafe_proportions_are_refused() {
        assert_eq!(of(0, 7000, 2000, 1500), Err(Error::Duration(ms(0))));
        assert_eq!(of(10_500, 7000, 2000, 1500), Err(Error::Duration(ms(10_500))));
        assert_eq!(of(61_000, 7000, 2000, 1500), Err(Error::Duration(ms(61_000))));
        assert_eq!(of(10_000, 8_001, 2000, 1500), Err(Error::RenewDeadline(ms(8001))));
        assert_eq!(of(10_000, 0, 2000, 1500), Err(Error::RenewDeadline(ms(0))));
        assert_eq!(of(10_000, 7000, 3501, 10), Err(Error::RenewPeriod(ms(3501))));
        assert_eq!(of(10_000, 7000, 0, 1500), Err(Error::RenewPeriod(ms(0))));
        assert_eq!(of(10_000, 7000, 2000, 4500), Err(Error::CallTimeout(ms(4500))));
        assert_eq!(of(10_000, 7000, 2000, 0), Err(Error::CallTimeout(ms(0))));
    }

    #[test]
    fn the_longer_promise_counts_within_reason() {
        let timing = Timing::default();
        assert_eq!(timing.patience(None), ms(2_000));
        assert_eq!(timing.patience(Some(ms(1_000))), ms(2_000));
        assert_eq!(timing.patience(Some(ms(30_000))), ms(30_000));
        assert_eq!(timing.patience(Some(ms(1_000_000_000))), ms(60_000));
    }
}
