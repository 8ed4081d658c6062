//! The operator's accounts and the application's user and database, on the open primary.
//! Must not write what is right already: every write here waits for acknowledgements.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use sql::connect::{Address, Credentials, Tls};
use sql::users::{self, Binlog, Job, Rotated, User};
use sql::{Deadline, Session};

use super::sessions::{self, ACCESS_DENIED, Sessions};
use crate::options::{Options, Paths};
use crate::secrets::{self, App};
use crate::volume;

/// The writes wait for acknowledgements like any other.
const LIMIT: Duration = Duration::from_secs(30);
const LOGIN_LIMIT: Duration = Duration::from_secs(5);
const PEM_LIMIT_BYTES: u64 = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Session(#[from] sessions::Error),
    #[error("failed to read the application's user")]
    Secrets(#[from] secrets::Error),
    #[error("failed to read a certificate")]
    Volume(#[from] volume::Error),
}

impl From<sql::Error> for Error {
    fn from(error: sql::Error) -> Self {
        Error::Session(error.into())
    }
}

/// Whether the server must be made writable for `found`. Needs no writable server.
pub(crate) async fn is_founded(sessions: &Sessions) -> Result<bool, Error> {
    let mut session = sessions.login(Job::Accounts).await?;
    Ok(users::is_founded(&mut session, Deadline::after(LIMIT)).await?)
}

/// On a server that may be written.
pub(crate) async fn found(sessions: &Sessions, paths: &Paths) -> Result<(), Error> {
    let passwords = secrets::passwords(&paths.passwords)?;
    let mut session = sessions.login(Job::Accounts).await?;
    Ok(users::found(&mut session, &passwords, Deadline::after(LIMIT)).await?)
}

/// On the open primary: what `found` makes, as this version has it, then the application's.
pub(crate) async fn ensure(sessions: &Sessions, paths: &Paths, options: &Options) -> Result<(), Error> {
    found(sessions, paths).await?;
    let Some(app) = secrets::app(&paths.app)? else {
        return Ok(());
    };
    let mut session = sessions.login(Job::Accounts).await?;
    let deadline = Deadline::after(LIMIT);
    users::ensure_database(&mut session, &app.database, deadline).await?;
    let user = User::of_application(&app.user, &[&app.database])?;
    let ensured = users::ensure(&mut session, &user, &app.password, Binlog::On, deadline).await?;
    if !ensured.is_created && !can_log_in(&app, paths, options).await? {
        rotate(&mut session, &user, &app).await?;
    }
    Ok(())
}

/// The old password stays good beside the new one, for those who have not heard yet.
async fn rotate(session: &mut Session, user: &User, app: &App) -> Result<(), Error> {
    let deadline = Deadline::after(LIMIT);
    let account = &user.account;
    if users::rotate(session, account, &app.password, deadline).await? == Rotated::BothBefore {
        users::discard_old_password(session, account, deadline).await?;
        users::rotate(session, account, &app.password, deadline).await?;
    }
    tracing::info!(user = app.user, "the application's password was changed");
    Ok(())
}

/// Over TLS as the application would, to ourselves.
async fn can_log_in(app: &App, paths: &Paths, options: &Options) -> Result<bool, Error> {
    let pem = |name: &str| volume::read(&paths.tls.join(name), PEM_LIMIT_BYTES);
    let authorities_pem = pem("ca.crt")?.unwrap_or_default();
    let certificate = pem("tls.crt")?.unwrap_or_default();
    let names = kit::certificates::names(&String::from_utf8_lossy(&certificate)).unwrap_or_default();
    let everywhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let host = match options.address {
        Some(address) if address != everywhere => address,
        Some(_) | None => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    let address = Address::Tcp {
        host: host.to_string(),
        port: options.mysql_port,
        tls: Tls {
            authorities_pem,
            server_name: names.into_iter().find(|name| !name.contains('*')),
        },
    };
    let credentials = Credentials {
        user: app.user.clone(),
        password: app.password.clone(),
    };
    match Session::connect(&address, &credentials, Deadline::after(LOGIN_LIMIT)).await {
        Ok(_) => Ok(true),
        Err(error) if error.code() == Some(ACCESS_DENIED) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Tells whether the application's files have changed, without keeping them.
pub(crate) struct Fingerprints(RandomState);

impl Fingerprints {
    pub(crate) fn new() -> Self {
        Self(RandomState::new())
    }

    pub(crate) fn of(&self, folder: &Path, names: &[&str]) -> u64 {
        let contents = names.iter().map(|name| {
            let bytes = volume::read(&folder.join(name), PEM_LIMIT_BYTES).ok().flatten();
            zeroize::Zeroizing::new(bytes.unwrap_or_default())
        });
        let hashes: Vec<u64> = contents.map(|bytes| self.0.hash_one(bytes.as_slice())).collect();
        self.0.hash_one(hashes)
    }
}
