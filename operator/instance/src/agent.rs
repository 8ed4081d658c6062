//! The agent's one loop: hears mysqld, its tasks and the controller, and decides what is begun next.
//! Must not wait for anything but the next event: whatever may hang runs in a task of its own.

mod disk;
mod ending;
mod job;
mod orders;
pub(crate) mod pace;
mod publish;
mod run;
mod steer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use agent_api::server::{Clock, Order, Sampled};
use kit::shutdown::Shutdown;
use tokio::sync::{Notify, mpsc, watch};
use topology::assignment::Assignment;
use topology::report::{Disk, Process, TroubleKind};

use crate::member::account::Fingerprints;
use crate::member::beats::{Beat, Beats, Pulse};
use crate::member::cloning::{self, Marker};
use crate::member::hush::Hush;
use crate::member::sampling::{self, Sampler};
use crate::member::sessions::Sessions;
use crate::metrics::Metrics;
use crate::mysqld::child::Exit;
use crate::mysqld::start::{self, Prepared, Setup};
use crate::promise::Promise;
use crate::rejoin::{self, notes};
use crate::volume;
use job::Job;
use pace::Pace;
pub(crate) use publish::chain;
use run::{InForce, Run, Task};

/// Between looks at the time, the disk and files.
const TICK: Duration = Duration::from_millis(500);
/// The same while an answer of mysqld or of the volume is overdue: others act on how long that has been so.
const SHORT_TICK: Duration = Duration::from_millis(100);
/// mysqld answers twice a second.
const OVERDUE: Duration = Duration::from_secs(1);
const FILES_PERIOD: Duration = Duration::from_secs(10);
const DISK_PERIOD: Duration = Duration::from_secs(2);
/// A commit that waits longer makes the agent look at the volume.
const SLOW: Duration = Duration::from_millis(250);
const EVENTS_LIMIT: usize = 64;
/// After which a run counts as good, and the next end as the first.
const GOOD_RUN: Duration = Duration::from_secs(60);

/// What tasks tell the loop.
pub(crate) enum Event {
    /// For this assignment.
    Prepared(Box<Assignment>, Result<Prepared, start::Error>),
    Ended(u64, Exit),
    Job(u64, job::Ended),
    Kept(orders::Kept),
    Disk(Option<volume::Looked>),
    GivenUp(Result<(), String>),
}

pub(crate) enum Phase {
    /// Nothing is known of what to run.
    Unassigned,
    /// Until it is time to prepare.
    Waiting(Instant),
    Preparing(#[expect(dead_code, reason = "ends the task when it is dropped")] Task),
    Up,
    /// Asked to end; what comes after it.
    Stopping(ending::After),
}

pub(crate) struct Agent {
    setup: Setup,
    sessions: Sessions,
    clock: Arc<Clock>,
    promise: Promise,
    phase: Phase,
    run: Option<Run>,
    runs: u64,
    /// Ends nobody asked for.
    restarts: u32,
    starts: Pace,
    /// A primary whose mysqld crashed stays down since.
    held_since: Option<Instant>,
    /// Enough replicas were attached for another to take over, or that is not known.
    may_be_replaced: bool,
    /// Why what nobody acknowledged could not be cut off before this start.
    uncut: Option<String>,
    steps: Pace,
    job: Option<Job>,
    jobs: u64,
    marker: Option<Marker>,
    is_cloning: Arc<AtomicBool>,
    is_hurried: Arc<AtomicBool>,
    hurried_until: Option<Instant>,
    /// An order on its way to the disk; the next waits.
    keeping: Option<orders::Keeping>,
    is_shutting_down: bool,
    /// It was asked to end, and leads until another does, or until then.
    leaves_by: Option<Instant>,
    fingerprints: Fingerprints,
    files_looked_at: Option<Instant>,
    disk: Option<Disk>,
    /// Since when its volume was seen to be full at every look.
    full_since: Option<Instant>,
    disk_looked_at: Option<Instant>,
    /// Since when a look has not come back.
    looking_at_disk: Option<Instant>,
    /// Why the volume took no write at the last look.
    disk_failure: Option<String>,
    told: publish::Told,
    metrics: Arc<Metrics>,
    reports: watch::Sender<Arc<Sampled>>,
    events: mpsc::Sender<Event>,
    samples: mpsc::Sender<sampling::Sampled>,
    beats: mpsc::Sender<(u64, Beat)>,
}

/// The other ends.
pub(crate) struct Inbox {
    events: mpsc::Receiver<Event>,
    samples: mpsc::Receiver<sampling::Sampled>,
    beats: mpsc::Receiver<(u64, Beat)>,
    pub(crate) orders: mpsc::Receiver<Order>,
}

impl Agent {
    pub(crate) fn new(
        setup: Setup,
        clock: Arc<Clock>,
        metrics: Arc<Metrics>,
        orders: mpsc::Receiver<Order>,
    ) -> (Self, Inbox, watch::Receiver<Arc<Sampled>>) {
        let promise = Promise::load(&setup.paths, &setup.options.member);
        let (events, events_in) = mpsc::channel(EVENTS_LIMIT);
        let (samples, samples_in) = mpsc::channel(1);
        let (beats, beats_in) = mpsc::channel(1);
        let first = Arc::new(publish::first(
            &setup.options.member,
            promise.assignment(),
            clock.tick(),
        ));
        let (reports, reports_in) = watch::channel(first);
        let mut told = publish::Told::default();
        told.removed = notes::load(&setup.paths).map(|note| note.removed);
        let agent = Self {
            sessions: Sessions::new(setup.paths.clone()),
            setup,
            clock,
            promise,
            phase: Phase::Unassigned,
            run: None,
            runs: 0,
            restarts: 0,
            starts: Pace::of_starts(),
            held_since: None,
            may_be_replaced: true,
            uncut: None,
            steps: Pace::of_steps(),
            job: None,
            jobs: 0,
            marker: None,
            is_cloning: Arc::default(),
            is_hurried: Arc::default(),
            hurried_until: None,
            keeping: None,
            is_shutting_down: false,
            leaves_by: None,
            fingerprints: Fingerprints::new(),
            files_looked_at: None,
            disk: None,
            full_since: None,
            disk_looked_at: None,
            looking_at_disk: None,
            disk_failure: None,
            told,
            metrics,
            reports,
            events,
            samples,
            beats,
        };
        let inbox = Inbox {
            events: events_in,
            samples: samples_in,
            beats: beats_in,
            orders,
        };
        (agent, inbox, reports_in)
    }

    /// Until it was asked to end and mysqld has ended.
    pub(crate) async fn run(mut self, mut inbox: Inbox, mut shutdown: Shutdown) {
        let mut looked = None;
        loop {
            let period = match self.is_answer_overdue() {
                true => SHORT_TICK,
                false => TICK,
            };
            let next_look = looked.map_or_else(Instant::now, |looked| looked + period);
            tokio::select! {
                biased;
                Some(event) = inbox.events.recv() => self.event(event),
                Some(beat) = inbox.beats.recv() => self.beat(beat),
                Some(sampled) = inbox.samples.recv() => self.sampled(sampled),
                Some(order) = inbox.orders.recv(), if self.keeping.is_none() => self.order(order),
                () = shutdown.requested(), if !self.is_shutting_down && self.leaves_by.is_none() => self.leave(),
                () = tokio::time::sleep_until(next_look.into()) => {
                    looked = Some(Instant::now());
                    self.look_around();
                }
            }
            self.advance(Instant::now());
            self.publish();
            if self.is_shutting_down && self.run.is_none() {
                return;
            }
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Prepared(assignment, prepared) => self.prepared(&assignment, prepared),
            Event::Ended(run, exit) => self.ended(run, exit),
            Event::Job(id, ended) => self.job_ended(id, ended),
            Event::Kept(kept) => self.kept(kept),
            Event::Disk(looked) => self.looked_at_disk(looked, Instant::now()),
            Event::GivenUp(given_up) => self.given_up(given_up),
        }
    }

    fn advance(&mut self, now: Instant) {
        if self
            .leaves_by
            .is_some_and(|by| by <= now || !self.may_hand_over())
        {
            self.shut_down();
        }
        if self.is_shutting_down {
            return;
        }
        match self.phase {
            Phase::Unassigned if self.promise.assignment().is_some() => self.prepare(),
            Phase::Waiting(until) if until <= now => self.prepare(),
            Phase::Up => {
                self.look_at_disk();
                self.steer(now);
            }
            _ => {}
        }
    }

    fn prepare(&mut self) {
        let Some(assignment) = self.promise.assignment() else {
            return;
        };
        let (assignment, now) = (assignment.clone(), Instant::now());
        let is_held = self.held_until(now).is_some_and(|until| until > now);
        let (setup, events) = (self.setup.clone(), self.events.clone());
        if !is_held {
            self.starts.tried(now);
        }
        setup.is_outdated.store(false, Ordering::Relaxed);
        self.phase = Phase::Preparing(Task::spawn(async move {
            let prepared = start::prepare(&setup, &assignment, is_held).await;
            let _ = events.send(Event::Prepared(Box::new(assignment), prepared)).await;
        }));
    }

    fn prepared(&mut self, assignment: &Assignment, prepared: Result<Prepared, start::Error>) {
        let is_news = self.promise.assignment().is_some_and(|newest| {
            rejoin::demotion(newest).is_some() && rejoin::demotion(assignment).is_none()
        });
        if is_news {
            // Since then it was told what counts: it is compared with that first.
            self.phase = Phase::Waiting(Instant::now());
            return;
        }
        if let Err(start::Error::Held) = prepared {
            return self.hold_down(Instant::now());
        }
        let launched = prepared.and_then(|prepared| {
            let (child, log) = start::launch(&self.setup, &prepared.program)?;
            Ok((prepared, child, log))
        });
        self.marker = self.load_marker();
        self.told.removed = notes::load(&self.setup.paths).map(|note| note.removed);
        match launched {
            Ok((prepared, child, log)) => {
                self.held_since = None;
                self.told.forget_start();
                self.begin(prepared, child, log);
            }
            Err(error) => {
                self.told.start(&error);
                self.phase = Phase::Waiting(self.starts.next(Instant::now()));
            }
        }
    }

    fn begin(
        &mut self,
        prepared: Prepared,
        child: crate::mysqld::child::Child,
        log: crate::mysqld::error_log::ErrorLog,
    ) {
        self.runs += 1;
        let number = self.runs;
        self.uncut = prepared.uncut;
        self.sessions = Sessions::new(self.setup.paths.clone());
        tracing::info!(run = number, pid = child.pid(), version = %prepared.program.version, "mysqld is started");
        let nudge = Arc::new(Notify::new());
        let pulse = Pulse::default();
        let (goal, goals) = watch::channel(None);
        self.is_cloning.store(self.marker.is_some(), Ordering::Relaxed);
        let sampler = Sampler {
            run: number,
            sessions: self.sessions.clone(),
            clock: self.clock.clone(),
            nudge: nudge.clone(),
            is_cloning: self.is_cloning.clone(),
            is_hurried: self.is_hurried.clone(),
            results: self.samples.clone(),
        };
        let beats = Beats {
            run: number,
            sessions: self.sessions.clone(),
            goal: goals,
            pulse: pulse.clone(),
            results: self.beats.clone(),
        };
        let (process, events) = (child.clone(), self.events.clone());
        let watched = async move {
            let exit = process.ended().await;
            let _ = events.send(Event::Ended(number, exit)).await;
        };
        self.run = Some(Run {
            number,
            child,
            log,
            program: prepared.program,
            started: Instant::now(),
            seen: None,
            stale_before: 0,
            unseen: None,
            is_refused: false,
            hush: Hush::default(),
            is_given_up: false,
            is_founded: false,
            proved: None,
            opened: None,
            goal,
            pulse,
            accounts: None,
            certificates: self.certificates(),
            in_force: InForce::at_start(prepared.server, prepared.parameters, prepared.refused),
            is_ending: false,
            close_by: None,
            stranger: None,
            nudge,
            tasks: vec![
                Task::spawn(sampler.run()),
                Task::spawn(beats.run()),
                Task::spawn(watched),
            ],
        });
        self.phase = Phase::Up;
        self.steps.reset();
    }

    fn sampled(&mut self, sampled: sampling::Sampled) {
        let Some(run) = self.run.as_mut().filter(|run| run.number == sampled.run) else {
            return;
        };
        run.hush.heard(sampled.has_answered, Instant::now());
        match sampled.result {
            Ok(seen) => {
                if !run.has_answered() {
                    let after_ms = u64::try_from(run.started.elapsed().as_millis()).unwrap_or(u64::MAX);
                    tracing::info!(run = run.number, after_ms, "mysqld answers");
                    self.told.start_over();
                }
                self.told.follow(&seen);
                run.seen = Some(seen);
                run.unseen = None;
                run.is_refused = false;
            }
            Err(error) => {
                run.is_refused = error.is_refused();
                run.unseen = Some(error.to_string());
            }
        }
    }

    fn beat(&mut self, (number, beat): (u64, Beat)) {
        let Some(run) = self.run.as_mut().filter(|run| run.number == number) else {
            return;
        };
        match beat {
            Beat::Committed(took) => return self.metrics.beat(took),
            Beat::Proved(proof) => {
                run.proved = Some(proof);
                self.told.proved(proof);
                tracing::info!(term = %proof.term, wait_for = proof.wait_for, "a commit was acknowledged");
            }
            Beat::Unproved => tracing::warn!("a commit was not made under the rules: it proves nothing"),
            Beat::Failed(error) => self.told.beat_failed(&error),
        }
        run.nudge.notify_one();
    }

    /// Files and the disk, of which nobody tells.
    fn look_around(&mut self) {
        self.give_way_in_time();
        self.fence();
        self.look_at_disk();
        self.end_hung();
    }

    fn is_answer_overdue(&self) -> bool {
        let seen = self.run.as_ref().and_then(|run| run.seen.as_ref());
        self.write_age_ms() > 0 || seen.is_some_and(|seen| seen.at.elapsed() > OVERDUE)
    }

    /// How long the agent's own commit has waited.
    fn waited(&self) -> Option<Duration> {
        let began = self.run.as_ref()?.pulse.state().began?;
        Some(began.elapsed())
    }

    fn load_marker(&self) -> Option<Marker> {
        cloning::load(&self.setup.paths).unwrap_or_else(|error| {
            tracing::error!(%error, "the mark of a clone cannot be read");
            None
        })
    }

    fn certificates(&self) -> u64 {
        let names = ["ca.crt", "tls.crt", "tls.key"];
        self.fingerprints.of(&self.setup.paths.tls, &names)
    }

    fn server(&self) -> topology::assignment::Server {
        self.promise
            .assignment()
            .map(|assignment| assignment.server.clone())
            .unwrap_or_default()
    }

    fn process(&self) -> Process {
        match &self.phase {
            Phase::Unassigned => Process::Unassigned,
            Phase::Preparing(_) if self.setup.is_initialising.load(Ordering::Relaxed) => {
                Process::Initialising
            }
            Phase::Preparing(_) if self.restarts == 0 => Process::Starting,
            Phase::Preparing(_) | Phase::Waiting(_) => Process::Ended {
                restarts: self.restarts,
            },
            Phase::Stopping(_) => Process::Stopping,
            Phase::Up => self.process_up(),
        }
    }

    fn process_up(&self) -> Process {
        let Some(run) = &self.run else {
            return Process::Ended {
                restarts: self.restarts,
            };
        };
        let Some(seen) = &run.seen else {
            return Process::Starting;
        };
        match self.job.as_ref().is_some_and(Job::is_clone) {
            true => Process::Cloning {
                percent: publish::percent(&seen.stages),
            },
            false => Process::Running,
        }
    }

    fn trouble(&mut self, kind: TroubleKind, what: impl ToString) {
        let what = what.to_string();
        tracing::warn!(?kind, what, "trouble");
        self.told.trouble(kind, what);
    }
}

#[cfg(test)]
pub(crate) fn first_report(member: &str) -> topology::report::Report {
    publish::first(member, None, 0).report
}
