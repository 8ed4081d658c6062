//! How mysqld is brought to its end, and what comes after an end, asked for or not.
//! Must not send SIGTERM while a commit waits: mysqld would answer its client with success.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use topology::assignment::Role;
use topology::report::TroubleKind;

use super::run::{End, Run, Task};
use super::{Agent, Event, GOOD_RUN, Phase};
use crate::member::cloning::{self, Marker};
use crate::member::close::{self, Closed};
use crate::member::halt;
use crate::member::hush::Hush;
use crate::member::sessions::Sessions;
use crate::member::steps;
use crate::mysqld::child::{Child, Exit};
use crate::mysqld::data;
use crate::rejoin;

/// A clean end flushes the buffer pool. Nothing that was acknowledged depends on it.
const STOP_LIMIT: Duration = Duration::from_secs(120);
/// For ending clients and becoming read-only, which have limits of their own.
const CLOSE_LIMIT: Duration = Duration::from_secs(8);
/// For ending a receiver, and an applier that may have to roll back what it had begun.
const HALT_LIMIT: Duration = Duration::from_secs(5);
/// So often may mysqld fail to start on data that a clone had begun to replace.
const RUINED_STARTS_LIMIT: u32 = 3;

/// No controller that leads was heard for so long, and no commit of the agent's acknowledged: the rest of the world
/// may be elsewhere.
const UNHEARD_LIMIT: Duration = Duration::from_secs(8);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    Start,
    /// The data are given up first.
    GiveUp,
}

/// For the controller to make another the primary. Writes go on meanwhile.
const HANDOVER_LIMIT: Duration = Duration::from_secs(6);

/// Who reads reports while no controller is there: the door for controllers, and probes.
const READERS: usize = 2;

impl Agent {
    /// A primary with replicas ends when another leads, if that comes about soon.
    pub(crate) fn leave(&mut self) {
        if !self.may_hand_over() {
            return self.shut_down();
        }
        tracing::info!("the agent is to end: it waits for another primary");
        self.leaves_by = Some(Instant::now() + HANDOVER_LIMIT);
    }

    /// It leads, mysqld runs, and there are replicas.
    pub(crate) fn may_hand_over(&self) -> bool {
        let role = self.promise.assignment().map(|assignment| &assignment.role);
        let leads = matches!(role, Some(Role::Primary { wait_for: 1.. } | Role::Retire));
        leads && matches!(self.phase, Phase::Up)
    }

    /// Heard by nobody but, perhaps, a controller that is cut off with it, it may have been replaced: its clients wait
    /// for nothing, and read what is old. It starts closed, and opens when a write of its own is acknowledged.
    pub(crate) fn fence(&mut self) {
        let is_heard = self.clock.silence() <= UNHEARD_LIMIT
            || self.waited().is_none_or(|waited| waited <= UNHEARD_LIMIT);
        let seen = self.run.as_ref().and_then(|run| run.seen.as_ref());
        let is_open = seen.is_some_and(|seen| steps::is_open(&seen.facts));
        if is_heard || !is_open || !matches!(self.phase, Phase::Up) {
            return;
        }
        tracing::warn!(
            "mysqld is killed: neither a controller that leads nor a replica has answered for too long"
        );
        self.kill(After::Start);
    }

    /// A mysqld that hangs for good is of no use, whoever could take over or not. While its volume takes no
    /// writes it hangs for that, and another start would, too.
    pub(crate) fn end_hung(&mut self) {
        let is_able = self.takes_writes();
        let Some(run) = self.run.as_mut() else {
            return;
        };
        if !is_able {
            run.hush = Hush::default();
        }
        if !run.hush.is_for_good(Instant::now()) || !run.has_answered() || !matches!(self.phase, Phase::Up) {
            return;
        }
        tracing::warn!(
            run = run.number,
            "mysqld is killed: it hangs, and has answered nobody for a minute"
        );
        run.hush = Hush::default();
        run.is_given_up = true;
        run.child.signal(Signal::SIGKILL);
    }

    pub(crate) fn shut_down(&mut self) {
        tracing::info!("the agent ends");
        self.leaves_by = None;
        self.is_shutting_down = true;
        self.keeping = None;
        if self.run.is_some() {
            self.stop(After::Start);
        }
    }

    /// As cleanly as it may be.
    pub(crate) fn stop(&mut self, after: After) {
        self.job = None;
        let Some(run) = self.run.as_mut() else {
            return;
        };
        run.is_ending = true;
        // The agent's own write must not be the commit that waits.
        run.goal.send_replace(None);
        let stop = Stop {
            child: run.child.clone(),
            sessions: self.sessions.clone(),
            has_clients: run.has_answered() || run.is_refused,
            is_replica: run
                .seen
                .as_ref()
                .is_some_and(|seen| steps::channel(&seen.facts).is_some()),
        };
        run.tasks.push(Task::spawn(stop.run()));
        self.phase = Phase::Stopping(after);
    }

    pub(crate) fn kill(&mut self, after: After) {
        self.job = None;
        let Some(run) = self.run.as_mut() else {
            return;
        };
        run.is_ending = true;
        run.goal.send_replace(None);
        run.child.signal(Signal::SIGKILL);
        self.phase = Phase::Stopping(after);
    }

    /// The clone is complete and mysqld ends by itself.
    pub(crate) fn copied(&mut self) {
        tracing::info!("the data are the donor's: mysqld starts anew");
        if let Some(run) = self.run.as_mut() {
            run.is_ending = true;
            let child = run.child.clone();
            run.tasks.push(Task::spawn(async move {
                if tokio::time::timeout(STOP_LIMIT, child.ended()).await.is_err() {
                    child.signal(Signal::SIGKILL);
                }
            }));
        }
        self.phase = Phase::Stopping(After::Start);
    }

    /// The same, seen after the agent or mysqld was killed in between.
    pub(crate) fn renew(&mut self) {
        let Some(marker) = self.marker.clone() else {
            return;
        };
        let marker = Marker {
            is_copied: true,
            ..marker
        };
        if let Err(error) = cloning::keep(&self.setup.paths, &marker) {
            return self.trouble(TroubleKind::CloneFailed, error);
        }
        self.stop(After::Start);
    }

    pub(crate) fn ended(&mut self, number: u64, exit: Exit) {
        let Some(run) = self.run.take_if(|run| run.number == number) else {
            return;
        };
        self.job = None;
        let now = Instant::now();
        self.may_be_replaced = self.has_successors(&run);
        let after = match self.phase {
            Phase::Stopping(after) => after,
            _ => After::Start,
        };
        let is_expected = run.is_ending;
        tracing::info!(run = run.number, %exit, is_expected, "mysqld has ended");
        self.marker = self.load_marker();
        if is_expected {
            self.starts.reset();
            self.phase = Phase::Waiting(now);
        } else {
            self.restarts = self.restarts.saturating_add(1);
            self.metrics.restarted();
            self.told.ended(End::of(&run, exit));
            if run.has_answered() && run.started.elapsed() > GOOD_RUN {
                self.starts.reset();
            }
            // A run that had answered is followed by the next at once.
            let next = match run.has_answered() && !self.starts_are_many() {
                true => now,
                false => self.starts.next(now),
            };
            self.phase = Phase::Waiting(next);
        }
        let is_ruined = self.marker.as_ref().is_some_and(|marker| !marker.is_copied)
            && !run.has_answered()
            && self.told.failed_starts() >= RUINED_STARTS_LIMIT;
        if (after == After::GiveUp || is_ruined) && !self.is_shutting_down {
            self.give_up();
        }
    }

    /// A controller is there, or so many replicas were attached last that one of them could take over
    /// without this one.
    fn has_successors(&self, run: &Run) -> bool {
        let record = self.promise.assignment().and_then(|kept| kept.record.as_ref());
        let (Some(record), Some(seen)) = (record, &run.seen) else {
            return true;
        };
        let source = seen.facts.semi_sync_source.as_ref();
        let attached = usize::try_from(source.map_or(0, |source| source.clients)).unwrap_or(usize::MAX);
        let others = record
            .voters
            .len()
            .saturating_sub(usize::from(record.acknowledged_by));
        let is_led = self.reports.receiver_count() > READERS;
        is_led || (attached > 0 && attached >= others)
    }

    /// Until when a primary that crashed stays down. It needs nobody to get up again.
    pub(crate) fn held_until(&self, now: Instant) -> Option<Instant> {
        let limit = rejoin::patience(self.promise.assignment()?)?;
        let since = self.held_since.unwrap_or(now);
        self.may_be_replaced.then(|| since + limit)
    }

    pub(crate) fn hold_down(&mut self, now: Instant) {
        if self.held_since.is_none() {
            tracing::info!(
                "mysqld crashed as a primary's: it stays down for a moment, since another may take over"
            );
        }
        self.held_since.get_or_insert(now);
        self.phase = Phase::Waiting(self.held_until(now).unwrap_or(now));
    }

    fn starts_are_many(&self) -> bool {
        self.starts.next(Instant::now()) > Instant::now() + Duration::from_secs(1)
    }

    fn give_up(&mut self) {
        let (paths, events) = (self.setup.paths.clone(), self.events.clone());
        self.phase = Phase::Preparing(Task::spawn(async move {
            let given_up = tokio::task::spawn_blocking(move || {
                data::give_up(&paths).map_err(|error| super::publish::chain(&error))
            });
            let given_up = given_up.await.unwrap_or_else(|error| Err(error.to_string()));
            let _ = events.send(Event::GivenUp(given_up)).await;
        }));
    }

    pub(crate) fn given_up(&mut self, given_up: Result<(), String>) {
        if let Err(why) = given_up {
            self.trouble(TroubleKind::CloneFailed, why);
        }
        self.phase = Phase::Waiting(self.starts.next(Instant::now()));
    }
}

/// How a run of mysqld is brought to its end.
struct Stop {
    child: Child,
    sessions: Sessions,
    has_clients: bool,
    is_replica: bool,
}

impl Stop {
    /// Clients first, then writes, then what replicates, then mysqld: with SIGTERM if it was seen that no commit
    /// waits, and that no applier will make it wait. SIGKILL takes nothing from anybody: whoever waits is told
    /// nothing, and what a replica has acknowledged is in its relay log, on the disk, and applied after the next
    /// start.
    async fn run(self) {
        let is_closed = !self.has_clients || is_closed(&self.sessions).await;
        let is_ready = is_closed && (!self.is_replica || self.is_halted().await);
        match (is_closed, is_ready) {
            (_, true) => self.child.signal(Signal::SIGTERM),
            (true, false) => {
                tracing::warn!(
                    "the applier does not stop: mysqld is killed, and applies the rest when it is started"
                );
                self.child.signal(Signal::SIGKILL);
            }
            (false, false) => {
                tracing::warn!("mysqld could not be closed in time: it is killed, so that nobody is lied to");
                self.child.signal(Signal::SIGKILL);
            }
        }
        if tokio::time::timeout(STOP_LIMIT, self.child.ended())
            .await
            .is_err()
        {
            tracing::warn!("mysqld does not end: it is killed");
            self.child.signal(Signal::SIGKILL);
        }
    }

    async fn is_halted(&self) -> bool {
        let halting = halt::stop_replication(&self.sessions, &self.child);
        match tokio::time::timeout(HALT_LIMIT, halting).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::warn!(%error, "replication could not be stopped");
                false
            }
            Err(_) => false,
        }
    }
}

async fn is_closed(sessions: &Sessions) -> bool {
    let closing = async {
        let mut session = sessions.take().await?;
        Ok::<Closed, crate::member::sessions::Error>(close::close(&mut session).await?)
    };
    match tokio::time::timeout(CLOSE_LIMIT, closing).await {
        Ok(Ok(Closed::Fully)) => true,
        Ok(Ok(Closed::NotInTime)) | Err(_) => false,
        Ok(Err(error)) => {
            tracing::warn!(%error, "mysqld could not be closed");
            false
        }
    }
}
