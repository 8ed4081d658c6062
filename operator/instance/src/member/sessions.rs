//! Sessions with our own mysqld, over its socket, as the agent or as the maker of accounts.
//! Must not keep a password: each login reads the file anew.

use std::sync::Arc;
use std::time::Duration;

use sql::connect::{Address, Credentials};
use sql::users::Job;
use sql::{Deadline, Secret, Session};
use tokio::sync::Mutex;

use crate::options::Paths;
use crate::secrets;

/// A login on a socket takes milliseconds; a mysqld that hangs takes for ever.
const LOGIN_LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("failed to read a password")]
    Secrets(#[from] secrets::Error),
    #[error(transparent)]
    Sql(#[from] sql::Error),
}

impl Error {
    /// The server does not know us, or not with this password.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self, Error::Sql(error) if error.code() == Some(ACCESS_DENIED))
    }

    /// It was asked, and said nothing.
    pub(crate) fn is_silence(&self) -> bool {
        matches!(self, Error::Sql(error) if error.code().is_none())
    }
}

/// The server refuses the account.
pub(crate) const ACCESS_DENIED: u16 = 1045;

#[derive(Clone)]
pub(crate) struct Sessions {
    paths: Arc<Paths>,
    /// The one that steps are taken on, while nobody has it.
    idle: Arc<Mutex<Option<Session>>>,
}

impl Sessions {
    pub(crate) fn new(paths: Arc<Paths>) -> Self {
        Self {
            paths,
            idle: Arc::default(),
        }
    }

    pub(crate) async fn login(&self, job: Job) -> Result<Session, Error> {
        let credentials = self.credentials(job)?;
        let address = Address::Socket(self.paths.socket.clone());
        let session = Session::connect(&address, &credentials, Deadline::after(LOGIN_LIMIT)).await;
        Ok(session?)
    }

    pub(crate) fn credentials(&self, job: Job) -> Result<Credentials, secrets::Error> {
        Ok(Credentials {
            user: job.account().user,
            password: self.password(job)?,
        })
    }

    fn password(&self, job: Job) -> Result<Secret, secrets::Error> {
        secrets::password(&self.paths.passwords, job)
    }

    /// Give it back with `keep` when it is still good.
    pub(crate) async fn take(&self) -> Result<Session, Error> {
        let idle = self.idle.lock().await.take();
        match idle.filter(|session| !session.is_closed()) {
            Some(session) => Ok(session),
            None => self.login(Job::Agent).await,
        }
    }

    pub(crate) async fn keep(&self, session: Session) {
        if !session.is_closed() {
            *self.idle.lock().await = Some(session);
        }
    }
}
