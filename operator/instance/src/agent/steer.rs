//! From facts to the next job: what the loop does while mysqld is up.
//! Must not plan with facts older than the last change.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use topology::assignment::{Assignment, Role};
use topology::report::{Proof, TroubleKind};

use super::ending::After;
use super::job::{Ended, What};
use super::{Agent, FILES_PERIOD, pace};
use crate::member::beats::Goal;
use crate::member::execute::{Done, Failure};
use crate::member::rules::Wrong;
use crate::member::steps::{self, Ending, Step, View};
use crate::mysqld::parameters;
use crate::rejoin::notes;
use sql::epoch;
use sql::settings::{Setting, Value};

/// What nobody waits for is done after that.
const JUST_OPEN: Duration = Duration::from_secs(2);

const APP_FILES: [&str; 3] = ["username", "password", "database"];

impl Agent {
    pub(crate) fn steer(&mut self, now: Instant) {
        let is_due = self
            .files_looked_at
            .is_none_or(|looked| now.duration_since(looked) >= FILES_PERIOD);
        if is_due {
            self.files_looked_at = Some(now);
            self.told.app = self.fingerprints.of(&self.setup.paths.app, &APP_FILES);
            self.told.certificates = self.certificates();
        }
        if self.hurried_until.take_if(|until| *until <= now).is_some() {
            self.is_hurried.store(false, Ordering::Relaxed);
        }
        self.aim();
        self.look_at_source();
        if self.is_overdue(now) {
            tracing::warn!("an old primary does not close: mysqld is killed");
            return self.kill(After::Start);
        }
        let Some(planned) = self.plan() else {
            return;
        };
        let is_upkeep = planned.iter().all(Step::is_upkeep);
        match &self.job {
            Some(job) if is_upkeep || !job.is_upkeep() => return,
            Some(_) => self.job = None,
            None => {}
        }
        self.count_drift_of_role(&planned);
        let (is_done, may) = (planned.is_empty(), self.steps.may(now));
        let planned = pace::allowed(planned, may);
        if let Some(Step::End(ending)) = planned.first() {
            return self.end(*ending);
        }
        if !planned.is_empty() {
            if planned.iter().any(pace::is_paced) {
                self.steps.tried(now);
            }
            let (app, certificates) = (self.told.app, self.told.certificates);
            return self.begin_steps(planned, app, certificates);
        }
        if is_done && may {
            self.told.forget_job();
        }
        self.steer_parameters(now);
    }

    /// It should have been closed by now.
    fn is_overdue(&mut self, now: Instant) -> bool {
        let Some(run) = self.run.as_mut() else {
            return false;
        };
        if run.fresh().is_some_and(|seen| steps::is_closed(&seen.facts)) {
            run.close_by = None;
        }
        run.close_by.is_some_and(|by| by <= now)
    }

    /// The next steps; `None` without facts that may be planned with.
    pub(crate) fn plan(&self) -> Option<Vec<Step>> {
        let run = self.run.as_ref().filter(|run| !run.is_ending)?;
        let assignment = self.promise.assignment()?;
        let seen = run.fresh()?;
        let view = View {
            assignment,
            facts: &seen.facts,
            left: run.left(self.marker.as_ref()),
            is_founded: run.is_founded,
            is_proved: is_proved(assignment, run.proved),
            are_accounts_right: run.accounts == Some(self.told.app),
            are_certificates_right: run.certificates == self.told.certificates || self.told.certificates == 0,
            has_stranger: run.stranger.is_some(),
            is_just_open: run.opened.is_some_and(|opened| opened.elapsed() < JUST_OPEN),
            copy_waited: run.log.copy_waited(Instant::now()),
        };
        Some(steps::steps(&view))
    }

    /// Remembered until there are other orders: a second look would begin with receiving again.
    fn look_at_source(&mut self) {
        let (Some(run), Some(assignment)) = (self.run.as_mut(), self.promise.assignment()) else {
            return;
        };
        let fresh = run.fresh().filter(|_| run.stranger.is_none());
        if let Some(found) = fresh.and_then(|seen| steps::stranger(assignment, &seen.facts)) {
            tracing::warn!(%found, "another server than the record says is at the source's address");
            run.stranger = Some(found);
        }
    }

    /// What the primary's own writes should prove; nothing while it may not write.
    fn aim(&mut self) {
        let (Some(run), Some(assignment)) = (self.run.as_mut(), self.promise.assignment()) else {
            return;
        };
        let (Role::Primary { wait_for }, Some(record)) = (&assignment.role, &assignment.record) else {
            run.proved = None;
            return set_goal(&run.goal, None);
        };
        let Some(seen) = run.fresh() else {
            return;
        };
        if run.is_ending || !steps::may_prove(&seen.facts, *wait_for) {
            run.proved = None;
            return set_goal(&run.goal, None);
        }
        let begun = epoch::gtid(record.identity, record.term.epoch);
        let goal = Goal {
            identity: record.identity,
            proof: Proof {
                term: record.term,
                wait_for: *wait_for,
            },
            is_epoch_begun: begun.is_ok_and(|gtid| seen.facts.gtid_executed.contains(&gtid)),
        };
        set_goal(&run.goal, Some(goal));
    }

    fn steer_parameters(&mut self, now: Instant) {
        let (Some(run), server) = (&self.run, self.server()) else {
            return;
        };
        if run.is_ending || run.fresh().is_none() || !self.steps.may(now) {
            return;
        }
        let in_force = &run.in_force;
        let (considered, was_tls_required) = &in_force.considered;
        let is_new = *considered != server.parameters || *was_tls_required != server.is_tls_required;
        if is_new {
            self.steps.tried(now);
            return self.begin_parameters();
        }
        if !in_force.awaiting.is_empty() && server.may_restart {
            tracing::info!(parameters = ?in_force.awaiting, "mysqld restarts for parameters");
            self.stop(After::Start);
        }
    }

    fn end(&mut self, ending: Ending) {
        match ending {
            Ending::Kill => {
                tracing::warn!(
                    "commits wait for acknowledgements on a server that lost its role: it is killed"
                );
                self.kill(After::Start);
            }
            Ending::Unblock => {
                tracing::warn!(
                    "commits wait for a replica whose copy waits for these commits: mysqld is started anew, closed"
                );
                self.kill(After::Start);
            }
            Ending::Renew => self.renew(),
            Ending::GiveUp => {
                tracing::warn!("a clone ruined the data: new ones are made");
                self.kill(After::GiveUp);
            }
        }
    }

    pub(crate) fn job_ended(&mut self, id: u64, ended: Ended) {
        let Some(job) = self.job.take_if(|job| job.id == id) else {
            return;
        };
        let is_clone = job.is_clone();
        let wrong = job.wrong();
        self.marker = self.load_marker();
        if is_clone {
            self.told.removed = notes::load(&self.setup.paths).map(|note| note.removed);
        }
        self.is_cloning.store(self.marker.is_some(), Ordering::Relaxed);
        let tick = self.clock.tick();
        if let Some(run) = self.run.as_mut() {
            run.stale_before = tick;
            run.nudge.notify_one();
        }
        match (ended, job.what) {
            (
                Ended::Steps(Ok(done)),
                What::Steps {
                    app,
                    certificates,
                    steps,
                },
            ) => {
                self.told.forget_job();
                self.told.put_back(&wrong);
                self.metrics.put_back(wrong.len());
                self.steps_taken(done, &steps, app, certificates);
            }
            (Ended::Steps(Err(failure)), _) => self.steps_failed(&failure, is_clone),
            (Ended::Parameters(applied), What::Parameters(server)) => {
                let considered = (server.parameters, server.is_tls_required);
                self.parameters_applied(applied, considered);
            }
            // A task ends as what it was begun as.
            (Ended::Steps(Ok(_)), What::Parameters(_)) | (Ended::Parameters(_), What::Steps { .. }) => {}
        }
    }

    fn steps_taken(&mut self, done: Done, steps: &[Step], app: u64, certificates: u64) {
        let Some(run) = self.run.as_mut() else {
            return;
        };
        if steps.contains(&Step::ReloadTls) {
            run.certificates = certificates;
        }
        if steps.contains(&Step::Open) {
            run.opened = Some(Instant::now());
            tracing::info!("the primary is open");
        }
        match done {
            Done::Steps | Done::NotYet => {}
            Done::Founded => run.is_founded = true,
            Done::AccountsRight => {
                run.accounts = Some(app);
                self.told.have_accounts_failed = false;
            }
            Done::Copied => self.copied(),
            Done::MustKill => {
                tracing::warn!("the server could not be closed in a second: it is killed");
                self.kill(After::Start);
            }
        }
    }

    fn steps_failed(&mut self, failure: &Failure, is_clone: bool) {
        let kind = match is_clone {
            true => TroubleKind::CloneFailed,
            false => failure.kind,
        };
        self.told.have_accounts_failed |= kind == TroubleKind::AccountsFailed;
        self.steps.tried(Instant::now());
        self.trouble(kind, publish_chain(&failure.error));
    }

    fn parameters_applied(
        &mut self,
        applied: Result<super::job::Applied, super::job::Error>,
        considered: (parameters::Parameters, bool),
    ) {
        let Some(run) = self.run.as_mut() else {
            return;
        };
        let in_force = &mut run.in_force;
        match applied {
            Ok(applied) => {
                in_force.parameters = applied.in_force;
                in_force.awaiting = applied.awaiting;
                in_force.refused = applied.refused;
                in_force.is_tls_required = considered.1;
                in_force.considered = considered;
            }
            Err(super::job::Error::Parameters(parameters::Error::Refused(why))) => {
                tracing::warn!(why, "parameters were refused");
                in_force.refused = Some(why);
                in_force.awaiting.clear();
                in_force.considered = considered;
            }
            Err(error) => self.trouble(TroubleKind::Other, publish_chain(&error)),
        }
    }

    /// Somebody changed what the role had brought about.
    fn count_drift_of_role(&mut self, planned: &[Step]) {
        if !self.told.was_settled || planned.is_empty() {
            return;
        }
        let Some((assignment, seen)) = self
            .promise
            .assignment()
            .zip(self.run.as_ref().and_then(|run| run.fresh()))
        else {
            return;
        };
        let wrong = of_role(&assignment.role, &seen.facts.settings);
        self.told.was_settled = false;
        if !wrong.is_empty() {
            for one in &wrong {
                let (setting, found, wanted) = (one.setting.name(), &one.found, &one.wanted);
                tracing::warn!(setting, %found, put_back = %wanted, "a setting of the role had been changed");
            }
            self.told.put_back(&wrong);
            self.metrics.put_back(wrong.len());
        }
    }
}

fn publish_chain(error: &dyn std::error::Error) -> String {
    super::publish::chain(error)
}

fn set_goal(goal: &tokio::sync::watch::Sender<Option<Goal>>, new: Option<Goal>) {
    goal.send_if_modified(|old| {
        let is_new = *old != new;
        *old = new;
        is_new
    });
}

/// A proof of this epoch, for as many replicas.
fn is_proved(assignment: &Assignment, proved: Option<Proof>) -> bool {
    let Role::Primary { wait_for } = assignment.role else {
        return false;
    };
    proved.is_some_and(|proof| proof.term.epoch == assignment.term().epoch && proof.wait_for >= wait_for)
}

/// What a role that was brought about looks like.
fn of_role(role: &Role, settings: &sql::settings::Settings) -> Vec<Wrong> {
    let mut wanted = match role {
        Role::Primary { wait_for } => vec![
            (Setting::SuperReadOnly, Value::Flag(false)),
            (Setting::ReadOnly, Value::Flag(false)),
            (Setting::OfflineMode, Value::Flag(false)),
            (Setting::SemiSyncSource, Value::Flag(*wait_for > 0)),
        ],
        Role::Replica { .. } => vec![
            (Setting::SuperReadOnly, Value::Flag(true)),
            (Setting::OfflineMode, Value::Flag(false)),
            (Setting::SemiSyncSource, Value::Flag(false)),
        ],
        Role::Hold | Role::Found | Role::Retire | Role::Clone { .. } => {
            vec![(Setting::SuperReadOnly, Value::Flag(true))]
        }
    };
    if let Role::Primary {
        wait_for: count @ 1..,
    } = role
    {
        wanted.push((Setting::SemiSyncWaitCount, Value::Number(u64::from(*count))));
    }
    let wanted = wanted.into_iter();
    wanted
        .filter_map(|(setting, wanted)| {
            let found = settings.get(setting)?.clone();
            (found != wanted).then_some(Wrong {
                setting,
                found,
                wanted,
            })
        })
        .collect()
}
