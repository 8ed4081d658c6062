//! A session with one server: over its socket, or over TCP with TLS and an authority of ours.
//! Must not wait without a deadline, print a secret, or use a session again whose answer is open.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, SslOpts};
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use crate::Error;
use crate::row::Row;

/// GTID sets of old clusters are the largest answers; topology takes 32 MiB of text.
const PACKET_LIMIT_BYTES: usize = 64 << 20;

/// Sessions waiting to be closed by the thread that does it.
const BURIAL_LIMIT: usize = 1_024;

/// The one budget of a call, however many statements it takes.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    at: Instant,
    within: Duration,
}

impl Deadline {
    pub fn after(within: Duration) -> Self {
        // A day is as good as for ever, and cannot overflow.
        let within = within.min(Duration::from_secs(86_400));
        Self {
            at: Instant::now() + within,
            within,
        }
    }

    pub fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    pub(crate) fn error(&self, doing: &'static str) -> Error {
        Error::Timeout {
            doing,
            within: self.within,
        }
    }
}

/// A password: without `Debug` and `Display`, wiped when dropped. The driver keeps a copy of its
/// own while a session lives; that one is not wiped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

/// Who is trusted to be the server.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Certificates of the authorities, PEM. No other is trusted.
    pub authorities_pem: Vec<u8>,
    /// The name the certificate must hold, where it is not the host we connect to.
    pub server_name: Option<String>,
}

#[derive(Debug, Clone)]
pub enum Address {
    Socket(PathBuf),
    Tcp { host: String, port: u16, tls: Tls },
}

#[derive(Clone)]
pub struct Credentials {
    pub user: String,
    pub password: Secret,
}

/// Closes connections on a thread without a runtime: dropped on one, mysql_async would first talk
/// to the server again, for ever if that one is frozen.
fn bury(dead: impl Send + 'static) {
    static GRAVE: OnceLock<Option<SyncSender<Box<dyn Send>>>> = OnceLock::new();
    let grave = GRAVE.get_or_init(|| {
        let (sender, receiver) = sync_channel::<Box<dyn Send>>(BURIAL_LIMIT);
        let digger = move || receiver.into_iter().for_each(drop);
        let started = std::thread::Builder::new().name("sql-close".into()).spawn(digger);
        started.is_ok().then_some(sender)
    });
    let dead: Box<dyn Send> = Box::new(dead);
    match grave {
        Some(sender) => match sender.try_send(dead) {
            Ok(()) => {}
            Err(TrySendError::Full(dead) | TrySendError::Disconnected(dead)) => drop(dead),
        },
        None => drop(dead),
    }
}

/// Buries what it holds unless it is taken out again: a call that is given up midway leaves an
/// answer on the wire that the next statement must not take for its own.
struct Held<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> Drop for Held<T> {
    fn drop(&mut self) {
        if let Some(dead) = self.0.take() {
            bury(dead);
        }
    }
}

/// One connection. Dropping it closes the socket, without a word to the server.
pub struct Session {
    conn: Held<Conn>,
}

impl Session {
    pub async fn connect(
        address: &Address,
        credentials: &Credentials,
        deadline: Deadline,
    ) -> Result<Self, Error> {
        let doing = "connect";
        let opts = opts(address, credentials)?;
        let mut connecting = Held(Some(Conn::new(opts)));
        let Some(future) = connecting.0.as_mut() else {
            return Err(Error::Closed { doing });
        };
        let ended = timeout_at(deadline.at, future).await;
        let conn = ended
            .map_err(|_| deadline.error(doing))?
            .map_err(|error| Error::from_driver(doing, error, false))?;
        Ok(Self {
            conn: Held(Some(conn)),
        })
    }

    pub fn is_closed(&self) -> bool {
        self.conn.0.is_none()
    }

    /// Every row of one statement. Any failure but the server's own refusal closes the session.
    pub(crate) async fn rows(
        &mut self,
        doing: &'static str,
        sql: &str,
        deadline: Deadline,
    ) -> Result<Vec<Row>, Error> {
        let mut held = Held(self.conn.0.take());
        let Some(conn) = held.0.as_mut() else {
            return Err(Error::Closed { doing });
        };
        let rows: Result<Vec<mysql_async::Row>, _> = timeout_at(deadline.at, conn.query(sql))
            .await
            .map_err(|_| deadline.error(doing))?;
        match rows {
            Ok(rows) => {
                self.conn.0 = held.0.take();
                rows.into_iter().map(|row| Row::new(doing, row)).collect()
            }
            Err(error) => {
                if !error.is_fatal() {
                    self.conn.0 = held.0.take();
                }
                Err(Error::from_driver(doing, error, true))
            }
        }
    }

    /// The only row of a statement that must have one.
    pub(crate) async fn row(
        &mut self,
        doing: &'static str,
        sql: &str,
        deadline: Deadline,
    ) -> Result<Row, Error> {
        let rows = self.rows(doing, sql, deadline).await?;
        let count = rows.len();
        match <[Row; 1]>::try_from(rows) {
            Ok([row]) => Ok(row),
            Err(_) => Err(Error::wrong(doing, format!("{count} rows"))),
        }
    }

    /// How many rows the statement changed.
    pub(crate) async fn run(
        &mut self,
        doing: &'static str,
        sql: &str,
        deadline: Deadline,
    ) -> Result<u64, Error> {
        self.rows(doing, sql, deadline).await?;
        Ok(self.conn.0.as_ref().map_or(0, Conn::affected_rows))
    }

    /// A statement that holds a password: no error shows it.
    pub(crate) async fn run_secret(
        &mut self,
        doing: &'static str,
        sql: Zeroizing<String>,
        secret: &Secret,
        deadline: Deadline,
    ) -> Result<u64, Error> {
        self.run(doing, &sql, deadline)
            .await
            .map_err(|error| error.without(secret.expose()))
    }
}

/// What every statement of this crate may rely on. The SQL mode is the one `quote` is for, and the
/// clock of DATETIME is UTC. Nobody waits a year for a lock.
const SETUP: &str = "SET SESSION autocommit = 1, time_zone = '+00:00', lock_wait_timeout = 10, \
     innodb_lock_wait_timeout = 10, sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ENGINE_SUBSTITUTION'";

fn opts(address: &Address, credentials: &Credentials) -> Result<OptsBuilder, Error> {
    let doing = "connect";
    let input = |what: &str| Error::Input {
        doing,
        what: what.into(),
    };
    let opts = OptsBuilder::default()
        .user(Some(credentials.user.clone()))
        .pass(Some(credentials.password.expose()))
        // Loopback must stay TCP: it has TLS, the socket has not.
        .prefer_socket(false)
        // Given here, the driver does not ask the server for them on every connection.
        .max_allowed_packet(Some(PACKET_LIMIT_BYTES))
        .wait_timeout(Some(28_800))
        .setup(vec![SETUP]);
    match address {
        Address::Socket(path) => {
            let path = path
                .to_str()
                .ok_or_else(|| input("the path of the socket is not UTF-8"))?;
            Ok(opts.socket(Some(path)))
        }
        Address::Tcp { host, port, tls } => {
            if rustls::crypto::CryptoProvider::get_default().is_none() {
                return Err(input("no TLS provider is installed"));
            }
            let mut ssl = SslOpts::default()
                .with_disable_built_in_roots(true)
                .with_root_certs(vec![tls.authorities_pem.clone().into()]);
            if let Some(name) = &tls.server_name {
                ssl = ssl.with_danger_tls_hostname_override(Some(name.clone()));
            }
            Ok(opts
                .ip_or_hostname(host.clone())
                .tcp_port(*port)
                .ssl_opts(Some(ssl)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_one_for_all_statements() {
        let deadline = Deadline::after(Duration::MAX);
        assert!(deadline.left() <= Duration::from_secs(86_400));
        let deadline = Deadline::after(Duration::ZERO);
        assert_eq!(deadline.left(), Duration::ZERO);
        assert_eq!(deadline.error("wait").to_string(), "failed to wait within 0ns");
    }

    #[tokio::test]
    async fn a_missing_socket_is_refused() {
        let address = Address::Socket("/nowhere/mysqld.sock".into());
        let credentials = Credentials {
            user: "a".into(),
            password: Secret::new("b"),
        };
        let deadline = Deadline::after(Duration::from_secs(5));
        let error = Session::connect(&address, &credentials, deadline).await.err();
        assert!(matches!(error, Some(Error::Refused { .. })), "{error:?}");
    }

    #[tokio::test]
    async fn without_a_provider_tls_is_an_error_not_a_panic() {
        let tls = Tls {
            authorities_pem: Vec::new(),
            server_name: None,
        };
        let address = Address::Tcp {
            host: "127.0.0.1".into(),
            port: 1,
            tls,
        };
        let credentials = Credentials {
            user: "a".into(),
            password: Secret::new("b"),
        };
        let deadline = Deadline::after(Duration::from_secs(5));
        let error = Session::connect(&address, &credentials, deadline).await.err();
        assert!(matches!(error, Some(Error::Input { .. })), "{error:?}");
    }
}
