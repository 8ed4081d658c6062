//! The data directory: made whole or not at all, given up, and its identity.
//! Must not remove one that was complete, unless a clone has already ruined it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use sql::users;
use topology::gtid::Uuid;

use super::child::{self, Reaper};
use super::error_log::ErrorLog;
use super::program::Program;
use crate::options::{Paths, text};
use crate::{secrets, volume};

/// Three members on two slow cores need a small part of it.
const INITIALISE_LIMIT: Duration = Duration::from_secs(600);
const AUTO_CNF_LIMIT_BYTES: u64 = 4_096;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("failed to prepare the data directory")]
    Volume(#[from] volume::Error),
    #[error("failed to read the passwords")]
    Secrets(#[from] secrets::Error),
    #[error("failed to run mysqld")]
    Run(#[from] child::Error),
    #[error("failed to pass on what mysqld says")]
    Pipe(#[source] std::io::Error),
    #[error("mysqld could not make a data directory ({exit}): {why}")]
    Refused { exit: String, why: String },
}

/// Whether there are data. A directory that is half made is not there: it has another name.
pub(crate) fn is_complete(paths: &Paths) -> Result<bool, Error> {
    Ok(volume::has_entries(&paths.data)?)
}

/// Quick, and as good when it is done: mysqld flushes everything when it ends.
const QUICK: [&str; 11] = [
    "--initialize-insecure",
    "--skip-log-bin",
    "--mysqlx=OFF",
    "--performance-schema=OFF",
    "--innodb-redo-log-capacity=128M",
    "--innodb-buffer-pool-size=64M",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-doublewrite=OFF",
    "--innodb-buffer-pool-dump-at-shutdown=OFF",
    "--auto-generate-certs=OFF",
    "--secure-file-priv=NULL",
];

/// Makes data with the two local accounts and without root.
/// `fixed`: parameters that hold for the life of a data directory.
pub(crate) async fn initialise(
    paths: &Paths,
    program: &Program,
    reaper: &Reaper,
    fixed: &[(String, String)],
) -> Result<(), Error> {
    volume::remove_folder(&paths.unfinished)?;
    let passwords = secrets::passwords(&paths.passwords)?;
    let init_file = paths.tmp.join("init.sql");
    let statements = users::init_file(&passwords.agent, &passwords.accounts);
    volume::write(&init_file, statements.as_bytes())?;
    let ended = run(paths, program, reaper, fixed, &init_file).await;
    volume::remove(&init_file)?;
    ended?;
    // mysqld does not mind another name: what it wrote is relative to the directory.
    Ok(volume::rename(&paths.unfinished, &paths.data)?)
}

async fn run(
    paths: &Paths,
    program: &Program,
    reaper: &Reaper,
    fixed: &[(String, String)],
    init_file: &Path,
) -> Result<(), Error> {
    let (reader, writer) = std::io::pipe().map_err(Error::Pipe)?;
    let mut command = Command::new(&program.path);
    command
        .arg("--no-defaults")
        .args(QUICK)
        .arg(format!("--datadir={}", text(&paths.unfinished)))
        .arg(format!("--tmpdir={}", text(&paths.tmp)))
        .arg(format!("--init-file={}", text(init_file)))
        .args(fixed.iter().map(|(name, value)| format!("--{name}={value}")))
        .stdin(Stdio::null())
        .stdout(writer.try_clone().map_err(Error::Pipe)?)
        .stderr(writer);
    let log = ErrorLog::default();
    log.pass_on(reader).map_err(Error::Pipe)?;
    let child = reaper.spawn(&mut command)?;
    drop(command);
    let _killed = KillOnDrop(child.clone());
    let exit = match tokio::time::timeout(INITIALISE_LIMIT, child.ended()).await {
        Ok(exit) => exit,
        Err(_) => return Err(child::Error::Late(INITIALISE_LIMIT).into()),
    };
    // A statement of the init file that fails is an error in the log and nothing else.
    match (exit.is_success(), log.first()) {
        (true, None) => Ok(()),
        (_, why) => Err(Error::Refused {
            exit: exit.to_string(),
            why: why.unwrap_or_else(|| "it did not say why".into()),
        }),
    }
}

struct KillOnDrop(child::Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        self.0.signal(Signal::SIGKILL);
    }
}

/// Removes data that a clone has ruined. A crash in the middle leaves nothing that looks complete.
pub(crate) fn give_up(paths: &Paths) -> Result<(), Error> {
    volume::remove_folder(&paths.void)?;
    if is_complete(paths)? {
        volume::rename(&paths.data, &paths.void)?;
    }
    Ok(volume::remove_folder(&paths.void)?)
}

/// Removes the identity, so that mysqld takes a new one when it starts.
pub(crate) fn forget_identity(paths: &Paths) -> Result<(), Error> {
    volume::remove(&paths.auto_cnf())?;
    Ok(())
}

/// As the file says; `None` where there is none.
pub(crate) fn identity(paths: &Paths) -> Option<Uuid> {
    let bytes = volume::read(&paths.auto_cnf(), AUTO_CNF_LIMIT_BYTES).ok()??;
    let text = String::from_utf8(bytes).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("server-uuid"))?;
    line.trim_start_matches([' ', '=']).trim().parse().ok()
}

/// Removes sockets and other leftovers of a run that was killed.
pub(crate) fn clear_tmp(paths: &Paths) {
    let Ok(entries) = fs::read_dir(&paths.tmp) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        // Temporary files of mysqld's; a folder is not.
        if path.is_dir() {
            continue;
        }
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "a leftover could not be removed");
        }
    }
}
