//! Orders of controllers: judged, kept on the volume, answered, then obeyed.
//! Must not obey before it is on the disk.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use agent_api::server::{Order, Refused};
use sql::epoch;
use topology::assignment::{Assignment, Role};
use topology::term::Term;

use super::run::Task;
use super::{Agent, Event, pace};
use crate::member::steps;
use crate::promise::{self, Promise};
use crate::rejoin;

/// For an old primary that does not answer, does not become read-only, or cannot write its orders down.
const CLOSE_LIMIT: Duration = Duration::from_secs(3);

/// A handover that takes longer needs no haste.
const HURRIED: Duration = Duration::from_secs(10);

/// An order that was written, or could not be.
pub(crate) struct Kept {
    order: Order,
    result: Result<(), promise::Error>,
    data_epoch: Option<u64>,
}

/// An order that is being written.
pub(crate) struct Keeping {
    order: Box<Assignment>,
    since: Instant,
    /// Ends the wait when it is dropped.
    _task: Task,
}

impl Agent {
    pub(crate) fn order(&mut self, order: Order) {
        let data_epoch = self.data_epoch(&order.assignment);
        if let Err(why) = self.promise.judge(&order.assignment, data_epoch) {
            tracing::warn!(term = %order.assignment.term(), why, "an order was refused");
            return self.answer(order, Err(why));
        }
        if self.promise.assignment() == Some(&*order.assignment) {
            let term = order.assignment.term();
            return self.answer(order, Ok(term));
        }
        let (paths, events) = (self.setup.paths.clone(), self.events.clone());
        let kept_order = order.assignment.clone();
        let task = Task::spawn(async move {
            let assignment = order.assignment.clone();
            let kept =
                tokio::task::spawn_blocking(move || Promise::prepare_and_keep(&paths, &assignment)).await;
            let Ok(result) = kept else {
                return;
            };
            let kept = Kept {
                order,
                result,
                data_epoch,
            };
            let _ = events.send(Event::Kept(kept)).await;
        });
        self.keeping = Some(Keeping {
            order: kept_order,
            since: Instant::now(),
            _task: task,
        });
        self.give_way_in_time();
    }

    /// Nobody is there to hear it: the connection broke. What was kept holds all the same.
    fn answer(&self, order: Order, answer: Result<Term, String>) {
        let promised = self.promise.term();
        let _ = order.answer.send(answer.map_err(|why| Refused { promised, why }));
    }

    pub(crate) fn kept(&mut self, kept: Kept) {
        self.keeping = None;
        let Kept {
            order,
            result,
            data_epoch,
        } = kept;
        if let Err(error) = result {
            let why = super::publish::chain(&error);
            tracing::error!(why, "an order could not be kept");
            self.give_way(&order.assignment);
            return self.answer(order, Err(why));
        }
        let assignment = (*order.assignment).clone();
        let term = assignment.term();
        tracing::info!(%term, role = assignment.role.name(), "assigned");
        self.obey(assignment, data_epoch);
        self.answer(order, Ok(term));
    }

    /// A later epoch cannot be promised here, on a volume that is full or broken. What contradicts it can
    /// be ended all the same: nobody is served by a primary that another one replaces.
    fn give_way(&mut self, order: &Assignment) {
        let leads = self.promise.assignment().is_some_and(|kept| {
            matches!(kept.role, Role::Primary { .. }) && kept.term().epoch < order.term().epoch
        });
        let is_replaced = leads && !matches!(order.role, Role::Primary { .. });
        if is_replaced && matches!(self.phase, super::Phase::Up) {
            tracing::warn!("mysqld is killed: another primary takes over, and that cannot be written down");
            self.kill(super::ending::After::Start);
        }
    }

    /// On a volume that hangs an order is neither kept nor refused. Where one is known to hang this is not waited for:
    /// who is connected would read there what is old.
    pub(super) fn give_way_in_time(&mut self) {
        let limit = match self.write_age_ms() {
            0 => CLOSE_LIMIT,
            _ => Duration::ZERO,
        };
        let overdue = self
            .keeping
            .as_ref()
            .filter(|keeping| keeping.since.elapsed() >= limit);
        if let Some(order) = overdue.map(|keeping| keeping.order.clone()) {
            self.give_way(&order);
        }
    }

    fn obey(&mut self, assignment: Assignment, data_epoch: Option<u64>) {
        let (is_other_role, is_other_record) = match self.promise.assignment() {
            Some(old) => (old.role != assignment.role, old.record != assignment.record),
            None => (true, true),
        };
        let is_cloning_on = self.job.as_ref().is_some_and(super::Job::is_clone)
            && matches!((&assignment.role, self.promise.assignment()),
                (Role::Clone { .. }, Some(old)) if old.role == assignment.role);
        if (is_other_role || is_other_record) && !is_cloning_on {
            self.job = None;
        }
        // The next step of the controller follows from what is seen here.
        let is_handing = (assignment.record.as_ref()).is_some_and(|record| record.handing_to.is_some());
        self.hurried_until = is_handing.then(|| Instant::now() + HURRIED);
        self.is_hurried.store(is_handing, Ordering::Relaxed);
        let is_news = (self.promise.assignment()).is_none_or(|old| pace::may_help(old, &assignment));
        self.promise.replace(assignment, data_epoch);
        self.steps.reset();
        self.told.begin_anew();
        let tick = self.clock.tick();
        let may_stay_open = self
            .promise
            .assignment()
            .is_some_and(|assignment| may_stay_open(&assignment.role));
        if let Some(run) = self.run.as_mut() {
            run.stranger.take_if(|_| is_other_role || is_other_record);
            let is_closed = run.seen.as_ref().is_none_or(|seen| steps::is_closed(&seen.facts));
            run.close_by = match may_stay_open || is_closed {
                true => None,
                false => run.close_by.or(Some(Instant::now() + CLOSE_LIMIT)),
            };
            run.stale_before = tick;
            run.nudge.notify_one();
        }
        let newest = self.promise.assignment();
        if newest.is_some_and(|newest| rejoin::demotion(newest).is_some()) {
            self.setup.is_outdated.store(true, Ordering::Relaxed);
        }
        if is_news && matches!(self.phase, super::Phase::Waiting(_)) {
            self.phase = super::Phase::Waiting(Instant::now());
        }
    }

    /// The highest epoch in the data, executed or only received.
    fn data_epoch(&self, assignment: &Assignment) -> Option<u64> {
        let identity = assignment.record.as_ref()?.identity;
        let seen = self.run.as_ref()?.seen.as_ref()?;
        Some(epoch::highest(identity, &seen.facts.received_or_executed()))
    }
}

/// All others are closed, by force if it does not come about in time.
fn may_stay_open(role: &Role) -> bool {
    matches!(role, Role::Primary { .. } | Role::Retire | Role::Found)
}
