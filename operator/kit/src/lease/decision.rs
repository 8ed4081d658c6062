//! What a candidate does next about a lease, as functions of what it saw and of its own clock.
//! Must not do IO, read a clock, or compare its clock with anyone else's.
//!
//! Why two candidates never hold at once. A holder counts its term from before it *sent* the
//! write; a candidate counts from after it *received* the answer that showed the write. Between
//! the two lies the write itself, so the candidate's count begins later, and it counts to the
//! longer `duration` where the holder counts to the shorter `renew_deadline`. Every write carries
//! the resource version it is based on, so that of two takers one fails, and a write that was
//! held up on its way changes nothing that somebody else has changed since.
//!
//! Terms are short, so that the next one leads soon. Therefore a holder whose term has run out has
//! only stopped: when it finds the lease in its own name still, nobody has held since, and it goes
//! on with its next renewal. Anything else that it finds ends its leadership.
//!
//! What this rests on: the clocks of two hosts run at rates that differ by less than
//! `duration / renew_deadline`, no clock stands still while its process runs, and only candidates
//! write who holds. Anyone may touch the lease otherwise, or delete it. Absence has no version, so
//! nothing follows from it, however long it is seen: a lease that is gone is made again in the
//! name of nobody, and waited for from then on like a held one. Its holder, if there is one left,
//! takes it back.

use std::time::Duration;

use super::timing::Timing;

/// A point in time: what the monotonic clock of this process shows, from any origin.
pub(crate) type Moment = Duration;

/// In place of a holder: whether somebody holds is not known yet.
pub(crate) const NOBODY_YET: &str = "nobody-yet";

/// What the lease says, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Changes with every write, by whomever.
    pub(crate) version: String,
    /// Empty after a release.
    pub(crate) holder: String,
    /// What the holder promised; nothing if nothing sensible is written there.
    pub(crate) duration: Option<Duration>,
}

/// What this candidate remembers between two decisions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    sighting: Option<Sighting>,
    held_until: Option<Moment>,
    /// No call before: a pause after a renewal and after a failure.
    rest_until: Moment,
}

#[derive(Clone, Debug)]
struct Sighting {
    /// None: the lease was absent.
    record: Option<Record>,
    /// Since when it is known to be exactly so: not when it became so, which is earlier.
    since: Moment,
    /// When it was last read or written; None after a call that failed, since then nobody knows.
    confirmed_at: Option<Moment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Get the lease.
    Read,
    /// Make the lease with `NOBODY_YET` as its holder. Gives nothing: the answer is to be `saw`.
    Reserve,
    /// Make the lease with us as its holder, which we are.
    Create,
    /// Replace it with us as its holder, if it still has this version.
    Take { version: String },
    /// Replace it with a new time, if it still has this version.
    Renew { version: String },
    /// Nothing before then.
    Wait { until: Moment },
    /// We held it, and somebody else does or may since. Final.
    Lose(Loss),
}

/// Why leadership ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Loss {
    #[error("the lease is held by {holder:?}")]
    Overtaken { holder: String },
    #[error("the lease was gone, or nobody's, when a renewal was late")]
    Gone,
    #[error("the lease was released")]
    Released,
    #[error("the task that renews the lease ended")]
    KeeperEnded,
}

pub(crate) fn decide(me: &str, timing: &Timing, memory: &Memory, now: Moment) -> Action {
    if now < memory.rest_until {
        return Action::Wait {
            until: memory.rest_until,
        };
    }
    let Some((sighting, confirmed_at)) = memory.confirmed() else {
        return Action::Read;
    };
    let (has_held, holds) = (memory.held_until.is_some(), memory.is_held(now));
    let Some(record) = &sighting.record else {
        // Making it in our name would be wrong if we did not hold: the request may arrive late,
        // when someone else does and the lease has been deleted once more.
        return match (has_held, holds) {
            (_, true) => Action::Create,
            (true, false) => Action::Lose(Loss::Gone),
            (false, false) => Action::Reserve,
        };
    };
    let version = record.version.clone();
    // Ours without our knowing, too: a taking that seemed to fail had arrived.
    if record.holder == me || (holds && record.holder == NOBODY_YET) {
        return Action::Renew { version };
    }
    if has_held {
        let holder = record.holder.clone();
        return Action::Lose(match holder.as_str() {
            "" | NOBODY_YET => Loss::Gone,
            _ => Loss::Overtaken { holder },
        });
    }
    let expires = sighting.since + timing.patience(record.duration);
    if record.holder.is_empty() || now >= expires {
        return Action::Take { version };
    }
    look_again(timing, expires, confirmed_at, now)
}

/// Another candidate's term runs: look now and then whether it has been renewed.
fn look_again(timing: &Timing, expires: Moment, confirmed_at: Moment, now: Moment) -> Action {
    let again = confirmed_at + timing.renew_period();
    if now >= again {
        return Action::Read;
    }
    Action::Wait {
        until: again.min(expires),
    }
}

impl Memory {
    fn confirmed(&self) -> Option<(&Sighting, Moment)> {
        let sighting = self.sighting.as_ref()?;
        Some((sighting, sighting.confirmed_at?))
    }

    pub(crate) fn is_held(&self, now: Moment) -> bool {
        self.held_until.is_some_and(|until| now < until)
    }

    /// How long our term lasts, or when it ended. Nothing if there was none.
    pub(crate) fn held_until(&self) -> Option<Moment> {
        self.held_until
    }

    /// The version to write against, while it is known.
    #[cfg(test)]
    pub(crate) fn version(&self) -> Option<&str> {
        let (sighting, _) = self.confirmed()?;
        Some(&sighting.record.as_ref()?.version)
    }

    /// The answer to `Read` or `Reserve`, and when it arrived.
    pub(crate) fn saw(&mut self, record: Option<Record>, now: Moment) {
        let version = |record: &Option<Record>| record.as_ref().map(|record| record.version.clone());
        let since = match &self.sighting {
            Some(before) if version(&before.record) == version(&record) => before.since,
            _ => now,
        };
        self.sighting = Some(Sighting {
            record,
            since,
            confirmed_at: Some(now),
        });
    }

    /// The answer to `Create`, `Take` or `Renew` that made us the holder, when that was sent and
    /// when the answer arrived.
    pub(crate) fn wrote(&mut self, timing: &Timing, record: Record, sent_at: Moment, now: Moment) {
        let before = self.sighting.take();
        let is_same = before.is_some_and(|b| b.record.is_some_and(|r| r.version == record.version));
        self.sighting = Some(Sighting {
            record: Some(record),
            since: now,
            confirmed_at: Some(now),
        });
        // A write that changed nothing is none: others did not see it, and count on.
        if is_same {
            return self.failed(timing, now);
        }
        let until = sent_at + timing.renew_deadline();
        if now < until {
            self.held_until = Some(until);
        }
        self.rest_until = sent_at + timing.renew_period();
    }

    /// A call failed, or its outcome is unknown.
    pub(crate) fn failed(&mut self, timing: &Timing, now: Moment) {
        if let Some(sighting) = &mut self.sighting {
            sighting.confirmed_at = None;
        }
        self.rest_until = now + timing.retry_pause();
    }
}

#[cfg(test)]
#[path = "decision_tests.rs"]
mod tests;
