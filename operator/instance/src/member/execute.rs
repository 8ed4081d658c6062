//! Steps, taken one after another on one session, each with its deadline.
//! Must not choose: a step that fails ends the round, and the next facts say what comes then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sql::replication::{self, Source};
use sql::settings::{self, Setting};
use sql::users::Job;
use sql::{Deadline, Session, clone, roles, status};
use topology::assignment::Place;
use topology::gtid::Uuid;
use topology::record::Record;
use topology::report::TroubleKind;

use super::account;
use super::cloning::{self, Marker};
use super::close::{self, Closed};
use super::halt;
use super::rules::Wrong;
use super::sessions::{self, Sessions};
use super::steps::Step;
use crate::mysqld::child::Child;
use crate::options::{Options, Paths, text};
use crate::{rejoin, secrets};

const STEP_LIMIT: Duration = Duration::from_secs(10);
/// A round of waiting; the next one begins with new facts.
const APPLY_LIMIT: Duration = Duration::from_secs(2);
const CLONE_LIMIT: Duration = Duration::from_secs(24 * 3_600);

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Session(#[from] sessions::Error),
    #[error(transparent)]
    Account(#[from] account::Error),
    #[error(transparent)]
    Clone(#[from] cloning::Error),
    #[error("failed to keep aside what nobody acknowledged")]
    Rejoin(#[from] rejoin::Error),
    #[error("failed to read a password")]
    Secrets(#[from] secrets::Error),
    #[error("failed to become read-only within a second: a statement or a commit of a client holds it up")]
    HeldOpen,
    #[error("failed to wait for the disk")]
    Task(#[source] tokio::task::JoinError),
}

impl From<sql::Error> for Error {
    fn from(error: sql::Error) -> Self {
        Error::Session(error.into())
    }
}

/// What the agent must know of a round that went well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    Steps,
    /// What the rest rests on is not so yet: they were not taken.
    NotYet,
    Founded,
    AccountsRight,
    /// The data are the donor's; mysqld ends by itself.
    Copied,
    /// Commits wait where nobody may be told that they succeeded.
    MustKill,
}

/// A step that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: TroubleKind,
    pub(crate) error: Error,
}

pub(crate) struct Tools {
    pub(crate) mysqld: Child,
    pub(crate) sessions: Sessions,
    pub(crate) paths: Arc<Paths>,
    pub(crate) options: Arc<Options>,
    pub(crate) is_cloning: Arc<AtomicBool>,
    pub(crate) record: Option<Record>,
    /// Why what nobody acknowledged could not be cut off.
    pub(crate) uncut: Option<String>,
}

impl Tools {
    pub(crate) async fn take(self, steps: Vec<Step>) -> Result<Done, Failure> {
        let session = self.sessions.take().await;
        let mut session = session.map_err(|error| Failure {
            kind: TroubleKind::Other,
            error: error.into(),
        })?;
        let mut done = Done::Steps;
        for step in &steps {
            match self.step(&mut session, step).await {
                Ok(Done::Steps) => {}
                Ok(other) => done = other,
                Err(error) => {
                    self.sessions.keep(session).await;
                    return Err(Failure {
                        kind: kind(step),
                        error,
                    });
                }
            }
            if matches!(done, Done::MustKill | Done::NotYet) {
                break;
            }
        }
        self.sessions.keep(session).await;
        Ok(done)
    }

    async fn step(&self, session: &mut Session, step: &Step) -> Result<Done, Error> {
        let deadline = Deadline::after(STEP_LIMIT);
        match step {
            Step::PutBack(wrong) => put_back(session, wrong).await?,
            Step::Close => match close::close(session).await? {
                Closed::Fully => {}
                Closed::NotInTime => return Ok(Done::MustKill),
            },
            Step::Retire => match close::close(session).await? {
                Closed::Fully => {}
                Closed::NotInTime => return Err(Error::HeldOpen),
            },
            Step::StopWaiting => replication::stop_waiting_for_replicas(session, deadline).await?,
            Step::StopReceiver => halt::stop_receiver(&self.sessions, &self.mysqld, session).await?,
            Step::Define(place) => {
                replication::define_source(session, &self.source(place), deadline).await?;
            }
            Step::Change(place) => {
                replication::change_source(session, &self.source(place), deadline).await?;
            }
            Step::StartReceiver => {
                let credentials = self.sessions.credentials(Job::Replication)?;
                replication::start_receiver(session, &credentials, deadline).await?;
            }
            Step::StartApplier => replication::start_applier(session, deadline).await?,
            Step::StopApplier => halt::stop_applier(&self.sessions, session).await?,
            Step::AwaitApplied => return Ok(await_applied(session).await?),
            Step::ForgetSource => return Ok(forget_source(session).await?),
            Step::WaitFor(count) => replication::wait_for_replicas(session, *count, deadline).await?,
            Step::AllowOwnWrites => allow_own_writes(session, deadline).await?,
            Step::Open => {
                roles::set_read_only(session, false, deadline).await?;
                roles::set_offline(session, false, deadline).await?;
            }
            Step::LetIn => roles::set_offline(session, false, deadline).await?,
            Step::Found => return self.found(session).await,
            Step::Accounts => {
                account::ensure(&self.sessions, &self.paths, &self.options).await?;
                return Ok(Done::AccountsRight);
            }
            Step::Clone { donor, instead_of } => return self.clone(session, donor, *instead_of).await,
            Step::FinishClone => {
                // The donor's source, and relay logs that stayed with the donor.
                replication::reset(session, deadline).await?;
                self.forget_clone().await?;
            }
            Step::ForgetClone => self.forget_clone().await?,
            Step::ReloadTls => {
                sql::tls::reload(session, deadline).await?;
                tracing::info!("mysqld has taken new certificates");
            }
            // The agent's.
            Step::End(_) => {}
        }
        Ok(Done::Steps)
    }

    fn source(&self, place: &Place) -> Source {
        Source {
            host: place.host.clone(),
            port: place.port,
            authority_file: text(&self.paths.authority()),
        }
    }

    /// Writable for the agent only, and only meanwhile.
    async fn found(&self, session: &mut Session) -> Result<Done, Error> {
        if !account::is_founded(&self.sessions).await? {
            let deadline = Deadline::after(STEP_LIMIT);
            roles::set_read_only(session, true, deadline).await?;
            roles::set_super_read_only(session, false, deadline).await?;
            let found = account::found(&self.sessions, &self.paths).await;
            roles::set_super_read_only(session, true, Deadline::after(STEP_LIMIT)).await?;
            found?;
        }
        Ok(Done::Founded)
    }

    /// The mark is on the disk before the data are touched.
    async fn clone(&self, session: &mut Session, donor: &Place, instead_of: Uuid) -> Result<Done, Error> {
        let deadline = Deadline::after(STEP_LIMIT);
        let credentials = self.sessions.credentials(Job::Clone)?;
        self.keep_aside(session).await?;
        let before = clone::state(session, deadline).await?.map(|state| state.began);
        let marker = Marker {
            instead_of,
            before,
            is_copied: false,
        };
        self.mark(marker.clone()).await?;
        self.is_cloning.store(true, Ordering::Relaxed);
        let donor = clone::Donor {
            host: donor.host.clone(),
            port: donor.port,
        };
        let authority = text(&self.paths.authority());
        clone::allow(session, std::slice::from_ref(&donor), Some(&authority), deadline).await?;
        tracing::info!(donor = donor.host, "a clone begins");
        // mysqld clones into nothing that is super-read-only; offline and read-only keep clients out.
        roles::set_offline(session, true, deadline).await?;
        roles::set_read_only(session, true, deadline).await?;
        roles::set_super_read_only(session, false, deadline).await?;
        self.end_prepared().await?;
        let ended = clone::clone_from(session, &donor, &credentials, Deadline::after(CLONE_LIMIT)).await;
        if ended.is_err() && !session.is_closed() {
            roles::set_super_read_only(session, true, Deadline::after(STEP_LIMIT)).await?;
        }
        if ended? == clone::Ended::Unknown {
            return Ok(Done::Steps);
        }
        self.mark(Marker {
            is_copied: true,
            ..marker
        })
        .await?;
        Ok(Done::Copied)
    }

    /// What crash recovery left prepared would hold up the removal of the data.
    async fn end_prepared(&self) -> Result<(), Error> {
        let mut session = self.sessions.login(Job::Accounts).await?;
        let ended = clone::roll_back_prepared(&mut session, Deadline::after(STEP_LIMIT)).await?;
        if ended > 0 {
            tracing::info!(ended, "prepared transactions were rolled back for a clone");
        }
        Ok(())
    }

    /// What nobody was promised, before it goes.
    async fn keep_aside(&self, session: &mut Session) -> Result<(), Error> {
        let facts = status::read(session, Deadline::after(STEP_LIMIT)).await?;
        let Some(record) = self.record.clone() else {
            return Ok(());
        };
        let (paths, because) = (self.paths.clone(), self.uncut.clone());
        let (incarnation, all) = (facts.server_uuid, facts.received_or_executed());
        let kept = move || rejoin::before_copy(&paths, &record, (incarnation, &all), because);
        let kept = tokio::task::spawn_blocking(kept).await;
        Ok(kept.map_err(Error::Task)??)
    }

    async fn mark(&self, marker: Marker) -> Result<(), Error> {
        let paths = self.paths.clone();
        let kept = tokio::task::spawn_blocking(move || cloning::keep(&paths, &marker)).await;
        Ok(kept.map_err(Error::Task)??)
    }

    async fn forget_clone(&self) -> Result<(), Error> {
        let paths = self.paths.clone();
        let forgotten = tokio::task::spawn_blocking(move || cloning::forget(&paths)).await;
        forgotten.map_err(Error::Task)??;
        self.is_cloning.store(false, Ordering::Relaxed);
        Ok(())
    }
}

/// As which trouble a failure is told.
fn kind(step: &Step) -> TroubleKind {
    match step {
        Step::Define(_) | Step::Change(_) | Step::StartReceiver | Step::StartApplier | Step::AwaitApplied => {
            TroubleKind::ReplicationBroken
        }
        Step::Found | Step::Accounts => TroubleKind::AccountsFailed,
        Step::Clone { .. } | Step::FinishClone | Step::ForgetClone => TroubleKind::CloneFailed,
        _ => TroubleKind::Other,
    }
}

async fn put_back(session: &mut Session, wrong: &[Wrong]) -> Result<(), sql::Error> {
    let mut failed = Ok(());
    for Wrong {
        setting,
        found,
        wanted,
    } in wrong
    {
        let deadline = Deadline::after(STEP_LIMIT);
        if *setting == Setting::PreserveCommitOrder {
            replication::stop_applier(session, deadline).await?;
        }
        match settings::set(session, &[(*setting, wanted.clone())], deadline).await {
            Ok(()) => tracing::warn!(
                setting = setting.name(), %found, put_back = %wanted,
                "a setting that safety needs had been changed"
            ),
            Err(error) => failed = Err(error),
        }
    }
    failed
}

/// Leaves `read_only` on: setting that would wait for whatever held up a close that is taken back.
async fn allow_own_writes(session: &mut Session, deadline: Deadline) -> Result<(), sql::Error> {
    let ended = roles::end_abandoned_read_only(session, deadline).await?;
    if ended > 0 {
        tracing::info!(ended, "a close that was given up held up all writes");
    }
    roles::set_super_read_only(session, false, deadline).await
}

async fn await_applied(session: &mut Session) -> Result<Done, sql::Error> {
    let deadline = Deadline::after(STEP_LIMIT);
    for channel in status::channels(session, deadline).await? {
        let within = Deadline::after(APPLY_LIMIT);
        if !replication::wait_applied(session, &channel.received, within).await? {
            return Ok(Done::NotYet);
        }
    }
    Ok(Done::Steps)
}

/// Looks once more: what was received and is not applied would be lost with the relay log.
async fn forget_source(session: &mut Session) -> Result<Done, sql::Error> {
    let sets = status::read_sets(session, Deadline::after(STEP_LIMIT)).await?;
    let is_applied = sets.received.is_subset(&sets.executed);
    if !is_applied {
        return Ok(Done::NotYet);
    }
    replication::reset(session, Deadline::after(STEP_LIMIT)).await?;
    Ok(Done::Steps)
}
