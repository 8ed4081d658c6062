//! The proof of leadership that role changes ask for.
//! Must not be made by anyone but the lease.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::decision::Moment;

/// Exists only because a lease was acquired; whether it still is held, `is_held` says. Nothing
/// outside of the lease can make one:
///
/// ```compile_fail
/// let forged = kit::lease::Leadership { term: Default::default() };
/// ```
///
/// What was begun while it was held may end when it is not: whatever must not happen twice needs
/// an epoch besides. While a renewal is late it says no, and yes again when nobody has led since.
#[derive(Clone, Debug)]
pub struct Leadership {
    term: Arc<Term>,
}

/// Sees whether the token is held, and is none: the lease can be released meanwhile.
#[derive(Clone, Debug)]
pub struct Witness {
    term: Weak<Term>,
}

impl Witness {
    pub fn is_held(&self) -> bool {
        let term = self.term.upgrade();
        term.is_some_and(|term| term.remaining().is_some())
    }
}

/// Shared by the task that renews and all tokens.
#[derive(Debug)]
struct Term {
    origin: Instant,
    until_micros: AtomicU64,
    /// Lost, or given back. Never taken back.
    has_ended: AtomicBool,
}

impl Term {
    fn remaining(&self) -> Option<Duration> {
        if self.has_ended.load(Ordering::SeqCst) {
            return None;
        }
        let until = Duration::from_micros(self.until_micros.load(Ordering::SeqCst));
        let remaining = until.saturating_sub(self.origin.elapsed());
        (!remaining.is_zero()).then_some(remaining)
    }
}

impl Leadership {
    pub(super) fn new(origin: Instant, until: Moment) -> Self {
        Self {
            term: Arc::new(Term {
                origin,
                until_micros: AtomicU64::new(micros(until)),
                has_ended: AtomicBool::new(false),
            }),
        }
    }

    /// By the clock alone: turns false in time even if the task that renews hangs.
    pub fn is_held(&self) -> bool {
        self.remaining().is_some()
    }

    /// How long it lasts if it is not renewed: an upper bound for a call that is to end within it.
    pub fn remaining(&self) -> Option<Duration> {
        self.term.remaining()
    }

    pub fn witness(&self) -> Witness {
        Witness {
            term: Arc::downgrade(&self.term),
        }
    }

    pub(super) fn extend(&self, until: Moment) {
        self.term.until_micros.store(micros(until), Ordering::SeqCst);
    }

    pub(super) fn end(&self) {
        self.term.has_ended.store(true, Ordering::SeqCst);
    }

    /// This one and its clones.
    pub(super) fn copies(&self) -> usize {
        Arc::strong_count(&self.term)
    }
}

/// Rounded down: the shorter is the safer.
fn micros(moment: Moment) -> u64 {
    u64::try_from(moment.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn time_alone_ends_a_term_and_a_renewal_begins_another() {
        let token = Leadership::new(Instant::now(), 5 * SECOND);
        let copy = token.clone();
        assert_eq!(copy.remaining(), Some(5 * SECOND));
        tokio::time::advance(3 * SECOND).await;
        token.extend(8 * SECOND);
        assert_eq!(copy.remaining(), Some(5 * SECOND));
        tokio::time::advance(5 * SECOND).await;
        assert!(!copy.is_held());
        token.extend(20 * SECOND);
        assert!(token.is_held() && copy.is_held());
    }

    #[tokio::test(start_paused = true)]
    async fn it_can_be_ended_before_its_time() {
        let token = Leadership::new(Instant::now(), 5 * SECOND);
        assert_eq!(token.copies(), 1);
        let copy = token.clone();
        assert!(token.copies() == 2 && copy.is_held());
        token.end();
        token.extend(20 * SECOND);
        assert!(!copy.is_held() && copy.remaining().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_witness_sees_the_term_and_does_not_count_as_a_copy() {
        let token = Leadership::new(Instant::now(), 5 * SECOND);
        let witness = token.witness();
        assert!(token.copies() == 1 && witness.is_held());
        tokio::time::advance(5 * SECOND).await;
        assert!(!witness.is_held(), "its time is over");
        token.extend(20 * SECOND);
        assert!(witness.is_held());
        drop(token);
        assert!(!witness.is_held(), "nobody holds it any more");
    }
}
