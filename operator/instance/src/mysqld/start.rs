//! Everything between "mysqld should run" and its start: files, data, configuration, the process.
//! Must not decide when, and must not wait for its first answer.

use std::io;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use topology::assignment::{Assignment, Server};
use topology::report::TroubleKind;

use super::child::{self, Child, Reaper};
use super::config::Input;
use super::data;
use super::error_log::ErrorLog;
use super::parameters::{self, Parameters};
use super::program::{self, Program};
use crate::member::cloning;
use crate::options::{Options, Paths, text};
use crate::{rejoin, volume};

/// Parameters that hold for the life of a data directory.
const FIXED_AT_CREATION: [&str; 2] = ["innodb_page_size", "lower_case_table_names"];
const TLS_FILES: [&str; 3] = ["ca.crt", "tls.crt", "tls.key"];

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Program(#[from] program::Error),
    #[error("failed to prepare the volume")]
    Volume(#[from] volume::Error),
    #[error("failed to find {0}")]
    TlsMissing(String),
    #[error(transparent)]
    Data(#[from] data::Error),
    #[error(transparent)]
    Parameters(#[from] parameters::Error),
    #[error("failed to read what is known of a clone")]
    Clone(#[from] cloning::Error),
    #[error("failed to see what an old primary left behind")]
    Rejoin(#[from] rejoin::Error),
    #[error("a primary that may be replaced stays down for a moment")]
    Held,
    #[error("failed to start mysqld")]
    Start(#[from] child::Error),
    #[error("failed to pass on what mysqld says")]
    Pipe(#[source] io::Error),
    #[error("a task of the agent ended unasked")]
    Task,
}

impl Error {
    pub(crate) fn kind(&self) -> TroubleKind {
        match self {
            Error::Program(_) => TroubleKind::ImageUnfit,
            Error::TlsMissing(_) | Error::Data(data::Error::Secrets(_)) => TroubleKind::FilesMissing,
            Error::Data(_) => TroubleKind::InitialisationFailed,
            Error::Parameters(parameters::Error::Refused(_)) | Error::Start(_) => TroubleKind::DoesNotStart,
            Error::Volume(_)
            | Error::Parameters(_)
            | Error::Clone(_)
            | Error::Rejoin(_)
            | Error::Held
            | Error::Pipe(_)
            | Error::Task => TroubleKind::Other,
        }
    }
}

/// What starts have in common.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) options: Arc<Options>,
    pub(crate) paths: Arc<Paths>,
    pub(crate) reaper: Reaper,
    /// Whether a data directory is being made now.
    pub(crate) is_initialising: Arc<AtomicBool>,
    /// While a start is prepared, it was said that another is primary.
    pub(crate) is_outdated: Arc<AtomicBool>,
}

impl Setup {
    pub(crate) fn input<'a>(&'a self, server: &'a Server, program: &'a Program) -> Input<'a> {
        Input {
            paths: &self.paths,
            address: self.options.address,
            port: self.options.mysql_port,
            replication: self.options.replication,
            member: &self.options.member,
            plugins: &program.plugins,
            server,
        }
    }
}

/// Ready to be started.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) program: Program,
    /// What was asked for.
    pub(crate) server: Server,
    /// Those in the file.
    pub(crate) parameters: Parameters,
    /// Why they are not those that were asked for.
    pub(crate) refused: Option<String>,
    /// Why what nobody acknowledged could not be cut off.
    pub(crate) uncut: Option<String>,
}

/// Whatever can be done again is done again: a crash in the middle costs time only.
/// `is_held`: it stays down if a crash left something that could be cut off once another is primary.
pub(crate) async fn prepare(
    setup: &Setup,
    assignment: &Assignment,
    is_held: bool,
) -> Result<Prepared, Error> {
    let (server, paths) = (&assignment.server, setup.paths.clone());
    let has_open_log = move || is_held && rejoin::has_open_log(&paths);
    if tokio::task::spawn_blocking(has_open_log)
        .await
        .map_err(|_| Error::Task)?
    {
        return Err(Error::Held);
    }
    let program = program::find(&setup.reaper).await?;
    let paths = setup.paths.clone();
    let is_complete = tokio::task::spawn_blocking(move || on_disk(&paths))
        .await
        .map_err(|_| Error::Task)??;
    if !is_complete {
        setup.is_initialising.store(true, Ordering::Relaxed);
        let fixed: Vec<(String, String)> = server
            .parameters
            .iter()
            .filter(|(name, _)| FIXED_AT_CREATION.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let made = data::initialise(&setup.paths, &program, &setup.reaper, &fixed).await;
        setup.is_initialising.store(false, Ordering::Relaxed);
        made?;
        tracing::info!("a data directory was made");
    }
    let input = setup.input(server, &program);
    let (parameters, refused) = choose(&input, server, &program, &setup.reaper).await?;
    parameters::write(&input, &parameters)?;
    let (paths, assignment) = (setup.paths.clone(), assignment.clone());
    let uncut = tokio::task::spawn_blocking(move || rejoin::before_start(&paths, &assignment))
        .await
        .map_err(|_| Error::Task)?;
    // Not marked as a start, which it may become only after another look.
    if setup.is_outdated.load(Ordering::Relaxed) {
        return Err(Error::Held);
    }
    let paths = setup.paths.clone();
    tokio::task::spawn_blocking(move || rejoin::logs::mark_start(&paths))
        .await
        .map_err(|_| Error::Task)??;
    Ok(Prepared {
        program,
        server: server.clone(),
        parameters,
        refused,
        uncut,
    })
}

/// Whether there are data. What is left of a clone is put right first.
fn on_disk(paths: &Paths) -> Result<bool, Error> {
    volume::prepare(paths)?;
    for name in TLS_FILES {
        let file = paths.tls.join(name);
        if !file.is_file() {
            return Err(Error::TlsMissing(text(&file)));
        }
    }
    data::clear_tmp(paths);
    volume::remove_folder(&paths.void)?;
    let is_complete = data::is_complete(paths)?;
    match cloning::load(paths)? {
        // It was ruined and given up: what comes now is new.
        Some(_) if !is_complete => cloning::forget(paths)?,
        Some(marker) if marker.is_copied && data::identity(paths) == Some(marker.instead_of) => {
            data::forget_identity(paths)?;
        }
        Some(_) | None => {}
    }
    Ok(is_complete)
}

/// The parameters asked for, or the last good ones where mysqld refuses those.
async fn choose(
    input: &Input<'_>,
    server: &Server,
    program: &Program,
    reaper: &Reaper,
) -> Result<(Parameters, Option<String>), Error> {
    let wanted = &server.parameters;
    let accepted = parameters::accepted(input.paths);
    if accepted.as_ref() == Some(wanted) || (wanted.is_empty() && accepted.is_none()) {
        return Ok((wanted.clone(), None));
    }
    match (parameters::accept(input, wanted, program, reaper).await, accepted) {
        (Ok(()), _) => Ok((wanted.clone(), None)),
        (Err(parameters::Error::Refused(why)), Some(accepted)) => Ok((accepted, Some(why))),
        (Err(error), _) => Err(error.into()),
    }
}

/// The process, and what it says about its errors.
pub(crate) fn launch(setup: &Setup, program: &Program) -> Result<(Child, ErrorLog), Error> {
    let (reader, writer) = io::pipe().map_err(Error::Pipe)?;
    let mut command = Command::new(&program.path);
    command
        .arg(format!("--defaults-file={}", text(&setup.paths.config)))
        .stdin(Stdio::null())
        .stdout(writer.try_clone().map_err(Error::Pipe)?)
        .stderr(writer);
    let log = ErrorLog::default();
    log.pass_on(reader).map_err(Error::Pipe)?;
    let child = setup.reaper.spawn(&mut command)?;
    Ok((child, log))
}
