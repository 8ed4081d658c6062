//! One run of mysqld: the process, the tasks that speak with it, and what was seen of it.
//! Must not outlive the process; the next run begins with nothing known.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use nix::sys::signal::Signal;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use topology::assignment::Server;
use topology::gtid::Uuid;
use topology::report::{Proof, Trouble, TroubleKind};

use super::publish::trouble;
use crate::member::beats::{Goal, Pulse};
use crate::member::cloning::{self, Left, Marker};
use crate::member::hush::Hush;
use crate::member::sampling::Seen;
use crate::mysqld::child::{Child, Exit};
use crate::mysqld::error_log::ErrorLog;
use crate::mysqld::parameters::Parameters;
use crate::mysqld::program::Program;

/// Ends with its owner.
pub(crate) struct Task(AbortHandle);

impl Task {
    pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(future).abort_handle())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What mysqld was started or set with.
pub(crate) struct InForce {
    pub(crate) parameters: Parameters,
    pub(crate) is_tls_required: bool,
    /// What was tried last, taken or not.
    pub(crate) considered: (Parameters, bool),
    pub(crate) awaiting: BTreeSet<String>,
    pub(crate) refused: Option<String>,
}

impl InForce {
    pub(crate) fn at_start(asked: Server, parameters: Parameters, refused: Option<String>) -> Self {
        let is_tls_required = asked.is_tls_required;
        Self {
            parameters,
            is_tls_required,
            considered: (asked.parameters, is_tls_required),
            awaiting: BTreeSet::new(),
            refused,
        }
    }
}

pub(crate) struct Run {
    pub(crate) number: u64,
    pub(crate) child: Child,
    pub(crate) log: ErrorLog,
    pub(crate) program: Program,
    pub(crate) started: Instant,
    pub(crate) seen: Option<Box<Seen>>,
    /// Facts that were asked for earlier are not planned with.
    pub(crate) stale_before: u64,
    /// Why the last round could not be finished.
    pub(crate) unseen: Option<String>,
    pub(crate) is_refused: bool,
    pub(crate) hush: Hush,
    pub(crate) is_given_up: bool,
    pub(crate) is_founded: bool,
    /// By a commit of this run.
    pub(crate) proved: Option<Proof>,
    /// When clients were let in as a primary's.
    pub(crate) opened: Option<Instant>,
    pub(crate) goal: watch::Sender<Option<Goal>>,
    pub(crate) pulse: Pulse,
    pub(crate) accounts: Option<u64>,
    pub(crate) certificates: u64,
    pub(crate) in_force: InForce,
    /// Another server than the record says was seen at the source's address, under these orders.
    pub(crate) stranger: Option<Uuid>,
    /// It lost the role of a primary: closed by then, or killed.
    pub(crate) close_by: Option<Instant>,
    /// Its end is no accident.
    pub(crate) is_ending: bool,
    pub(crate) nudge: Arc<Notify>,
    pub(crate) tasks: Vec<Task>,
}

impl Run {
    /// Facts that may be planned with.
    pub(crate) fn fresh(&self) -> Option<&Seen> {
        let seen = self.seen.as_deref()?;
        (seen.started > self.stale_before).then_some(seen)
    }

    pub(crate) fn left(&self, marker: Option<&Marker>) -> Left {
        match &self.seen {
            Some(seen) => {
                let facts = &seen.facts;
                cloning::judge(marker, facts.server_uuid, facts.clone.as_ref(), &seen.stages)
            }
            None => Left::Nothing,
        }
    }

    pub(crate) fn has_answered(&self) -> bool {
        self.seen.is_some()
    }
}

/// How a run ended that nobody had asked to end.
pub(crate) struct End {
    pub(crate) had_answered: bool,
    was_given_up: bool,
    exit: Exit,
    log: ErrorLog,
}

impl End {
    pub(crate) fn of(run: &Run, exit: Exit) -> Self {
        Self {
            had_answered: run.has_answered(),
            was_given_up: run.is_given_up,
            exit,
            log: run.log.clone(),
        }
    }

    pub(crate) fn told(&self) -> Trouble {
        let is_killed = matches!(self.exit, Exit::Signal(signal) if signal == Signal::SIGKILL as i32);
        let why = match (self.was_given_up, is_killed, self.had_answered) {
            // Of these two its log knows nothing.
            (true, ..) => Some("it hung: it was ended after a minute without an answer".to_owned()),
            (_, true, _) => Some("it was killed: for want of memory, or by somebody".to_owned()),
            (.., true) => self.log.last(),
            (.., false) => self.log.first(),
        };
        let why = why.unwrap_or_else(|| format!("it ended with {} and did not say why", self.exit));
        let kind = match self.had_answered {
            true => TroubleKind::Other,
            false => TroubleKind::DoesNotStart,
        };
        trouble(kind, &why)
    }
}
