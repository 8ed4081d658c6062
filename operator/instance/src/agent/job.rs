//! The one task at a time that changes the server: a round of steps, or parameters.
//! Must not outlive the assignment it was begun for.

use std::collections::BTreeSet;
use std::time::Duration;

use sql::parameters::Changed;
use sql::users::Job as Account;
use sql::{Deadline, parameters as statements};
use topology::assignment::Server;

use super::run::Task;
use super::{Agent, Event};
use crate::member::execute::{Done, Failure, Tools};
use crate::member::rules::Wrong;
use crate::member::sessions::{self, Sessions};
use crate::member::steps::Step;
use crate::mysqld::config;
use crate::mysqld::parameters::{self, Parameters};
use crate::mysqld::program::Program;
use crate::mysqld::start::Setup;

/// Shrinking a buffer pool takes its time.
const SET_LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct Job {
    pub(crate) id: u64,
    pub(crate) what: What,
    #[expect(dead_code, reason = "ends the task when it is dropped")]
    task: Task,
}

pub(crate) enum What {
    Steps {
        steps: Vec<Step>,
        /// The files that they were planned with.
        app: u64,
        certificates: u64,
    },
    Parameters(Server),
}

pub(crate) enum Ended {
    Steps(Result<Done, Failure>),
    Parameters(Result<Applied, Error>),
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Parameters(#[from] parameters::Error),
    #[error(transparent)]
    Session(#[from] sessions::Error),
}

/// What became of changed parameters.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    pub(crate) in_force: Parameters,
    pub(crate) awaiting: BTreeSet<String>,
    pub(crate) refused: Option<String>,
}

impl Job {
    pub(crate) fn is_clone(&self) -> bool {
        match &self.what {
            What::Steps { steps, .. } => steps.iter().any(|step| matches!(step, Step::Clone { .. })),
            What::Parameters(_) => false,
        }
    }

    /// Gives way to whatever the role asks for.
    pub(crate) fn is_upkeep(&self) -> bool {
        match &self.what {
            What::Steps { steps, .. } => steps.iter().all(Step::is_upkeep),
            What::Parameters(_) => true,
        }
    }

    /// Settings that it puts back.
    pub(crate) fn wrong(&self) -> Vec<Wrong> {
        let What::Steps { steps, .. } = &self.what else {
            return Vec::new();
        };
        let lists = steps.iter().filter_map(|step| match step {
            Step::PutBack(wrong) => Some(wrong.clone()),
            _ => None,
        });
        lists.flatten().collect()
    }
}

impl Agent {
    pub(crate) fn begin_steps(&mut self, steps: Vec<Step>, app: u64, certificates: u64) {
        let Some(run) = &self.run else {
            return;
        };
        let tools = Tools {
            mysqld: run.child.clone(),
            sessions: self.sessions.clone(),
            paths: self.setup.paths.clone(),
            options: self.setup.options.clone(),
            is_cloning: self.is_cloning.clone(),
            record: self.promise.assignment().and_then(|kept| kept.record.clone()),
            uncut: self.uncut.clone(),
        };
        tracing::debug!(?steps, "steps");
        let taken = tools.take(steps.clone());
        let what = What::Steps {
            steps,
            app,
            certificates,
        };
        self.begin_job(what, async move { Ended::Steps(taken.await) });
    }

    pub(crate) fn begin_parameters(&mut self) {
        let server = self.server();
        let Some(run) = &self.run else {
            return;
        };
        let (setup, sessions, program) = (self.setup.clone(), self.sessions.clone(), run.program.clone());
        let old = (run.in_force.parameters.clone(), run.in_force.is_tls_required);
        let new = server.clone();
        let applied = async move { Ended::Parameters(apply(&setup, &sessions, &program, &new, old).await) };
        self.begin_job(What::Parameters(server), applied);
    }

    fn begin_job(&mut self, what: What, job: impl Future<Output = Ended> + Send + 'static) {
        self.jobs += 1;
        let (id, events) = (self.jobs, self.events.clone());
        let task = Task::spawn(async move {
            let ended = job.await;
            let _ = events.send(Event::Job(id, ended)).await;
        });
        self.job = Some(Job { id, what, task });
    }
}

/// Tried by another mysqld first; then each that can change now, changes.
async fn apply(
    setup: &Setup,
    sessions: &Sessions,
    program: &Program,
    server: &Server,
    old: (Parameters, bool),
) -> Result<Applied, Error> {
    let (old, was_tls_required) = old;
    let input = setup.input(server, program);
    parameters::accept(&input, &server.parameters, program, &setup.reaper).await?;
    let mut applied = Applied {
        in_force: old.clone(),
        ..Applied::default()
    };
    let changed = parameters::changed(&old, &server.parameters);
    if changed.is_empty() && was_tls_required == server.is_tls_required {
        return Ok(applied);
    }
    let mut session = sessions.login(Account::Accounts).await?;
    for (name, value) in changed {
        let wanted = value
            .clone()
            .or_else(|| config::default_of(&name, server.memory_bytes));
        let spelled = config::spelled(&name);
        let deadline = Deadline::after(SET_LIMIT);
        let set = statements::set(&mut session, &spelled, wanted.as_deref(), deadline).await;
        match set.map_err(sessions::Error::from)? {
            Changed::Now => {
                tracing::info!(parameter = name, value = wanted, "a parameter was changed");
                match value {
                    Some(value) => drop(applied.in_force.insert(name, value)),
                    None => drop(applied.in_force.remove(&name)),
                }
            }
            Changed::NeedsRestart => drop(applied.awaiting.insert(name)),
            Changed::Refused(why) => applied.refused = Some(format!("{name}: {why}")),
        }
    }
    let is_on = if server.is_tls_required { "ON" } else { "OFF" };
    let deadline = Deadline::after(SET_LIMIT);
    statements::set(&mut session, "require_secure_transport", Some(is_on), deadline)
        .await
        .map_err(sessions::Error::from)?;
    Ok(applied)
}
