//! How soon something that failed, or must not be done in a loop, is tried again.
//! Must not hold back what safety needs at once.

use std::time::{Duration, Instant};

use kit::backoff::Policy;
use topology::assignment::{Assignment, Server};

use crate::member::steps::Step;

const STEPS: Policy = Policy {
    first: Duration::from_millis(250),
    limit: Duration::from_secs(10),
};
const STARTS: Policy = Policy {
    first: Duration::from_millis(500),
    limit: Duration::from_secs(30),
};
/// After so long without a try, it begins anew.
const FORGET: Duration = Duration::from_secs(60);

/// Tries of one thing, in a row.
#[derive(Debug)]
pub(crate) struct Pace {
    policy: Policy,
    tries: u32,
    last: Option<Instant>,
}

impl Pace {
    pub(crate) fn of_steps() -> Self {
        Self::new(STEPS)
    }

    pub(crate) fn of_starts() -> Self {
        Self::new(STARTS)
    }

    fn new(policy: Policy) -> Self {
        Self {
            policy,
            tries: 0,
            last: None,
        }
    }

    pub(crate) fn reset(&mut self) {
        self.tries = 0;
        self.last = None;
    }

    pub(crate) fn tried(&mut self, now: Instant) {
        if self.last.is_some_and(|last| now.duration_since(last) > FORGET) {
            self.tries = 0;
        }
        self.tries = self.tries.saturating_add(1);
        self.last = Some(now);
    }

    /// When the next try may be.
    pub(crate) fn next(&self, now: Instant) -> Instant {
        match self.last {
            // One that is alone in its Pod has nobody to keep out of step with.
            Some(last) => last + self.policy.delay(self.tries, u32::MAX),
            None => now,
        }
    }

    pub(crate) fn may(&self, now: Instant) -> bool {
        self.next(now) <= now
    }
}

/// Whether mysqld may start now, or run for longer, where it did not. That it may be restarted is no help.
pub(crate) fn may_help(old: &Assignment, new: &Assignment) -> bool {
    let old = Assignment {
        server: Server {
            may_restart: new.server.may_restart,
            ..old.server.clone()
        },
        ..old.clone()
    };
    old != *new
}

/// Steps that can fail without an error, and would be taken for ever.
pub(crate) fn is_paced(step: &Step) -> bool {
    matches!(
        step,
        Step::Define(_)
            | Step::Change(_)
            | Step::StartReceiver
            | Step::StartApplier
            | Step::ForgetSource
            | Step::Found
            | Step::Accounts
            | Step::Clone { .. }
            | Step::ReloadTls
    )
}

/// What may be done now: all of it, or what safety cannot wait for.
pub(crate) fn allowed(steps: Vec<Step>, may: bool) -> Vec<Step> {
    if may {
        return steps;
    }
    let is_paced = steps.iter().any(is_paced);
    let is_urgent = |step: &Step| matches!(step, Step::PutBack(_) | Step::Close | Step::End(_));
    match is_paced {
        false => steps,
        true => steps.into_iter().filter(is_urgent).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use topology::assignment::Role;

    use super::*;

    #[test]
    fn tries_in_a_row_grow_apart_and_are_forgotten() {
        let mut pace = Pace::of_steps();
        let start = Instant::now();
        assert!(pace.may(start));
        pace.tried(start);
        assert!(!pace.may(start) && pace.may(start + Duration::from_millis(250)));
        for _ in 0..20 {
            pace.tried(start);
        }
        assert_eq!(pace.next(start), start + Duration::from_secs(10));
        let later = start + FORGET + Duration::from_secs(1);
        pace.tried(later);
        assert_eq!(pace.next(later), later + Duration::from_millis(250));
        pace.reset();
        assert!(pace.may(start));
    }

    #[test]
    fn a_start_waits_unless_the_orders_may_help() {
        let server = |memory_bytes, may_restart| Server {
            server_id: 1,
            memory_bytes,
            is_tls_required: true,
            parameters: BTreeMap::new(),
            may_restart,
        };
        let orders = |role, server| Assignment {
            member: "db-0".into(),
            record: None,
            role,
            server,
        };
        let old = orders(Role::Hold, server(1, false));
        assert!(!may_help(&old, &old.clone()));
        assert!(!may_help(&old, &orders(Role::Hold, server(1, true))));
        assert!(may_help(&old, &orders(Role::Hold, server(2, false))));
        assert!(may_help(&old, &orders(Role::Found, server(1, false))));
    }

    #[test]
    fn what_safety_needs_does_not_wait() {
        let steps = vec![Step::Close, Step::StopReceiver, Step::StartReceiver];
        assert_eq!(allowed(steps.clone(), true), steps);
        assert_eq!(allowed(steps, false), [Step::Close]);
        assert_eq!(allowed(vec![Step::StopReceiver], false), [Step::StopReceiver]);
    }
}
