//! Owns the SQL text and the sessions; every call has a deadline.
//! It must not classify an error or retry a statement.

use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, SslOpts};
use tokio::time::timeout;

use crate::classify::Failure;
use crate::event::{OpId, Seen, Stage};
use crate::rows::{Change, payload};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to {doing} within {deadline:?}")]
    Deadline { doing: &'static str, deadline: Duration },
    #[error("failed to {doing}")]
    Mysql {
        doing: &'static str,
        source: mysql_async::Error,
    },
    #[error("failed to accept {0:?} as the name of a database: letters, digits and underscores only")]
    Name(String),
}

impl Error {
    /// The error as the classification sees it.
    pub fn failure(&self) -> Failure {
        match self {
            Error::Deadline { .. } => Failure::Timeout,
            Error::Mysql {
                source: mysql_async::Error::Server(error),
                ..
            } => Failure::Server { code: error.code },
            Error::Mysql { .. } | Error::Name(_) => Failure::Lost,
        }
    }
}

/// A password: without `Debug` and `Display`, so that no log can show it.
#[derive(Clone)]
pub struct Password(String);

impl Password {
    pub fn new(text: impl Into<String>) -> Password {
        Password(text.into())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    Off,
    /// Encrypted, to whoever answers.
    Insecure,
    /// The server must prove its name with a certificate of this authority.
    Ca(PathBuf),
}

/// A server and how to enter it.
#[derive(Clone)]
pub struct Target {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: Password,
    pub tls: Tls,
    pub database: String,
}

impl Target {
    pub fn at(&self, host: &str, port: u16) -> Target {
        Target {
            host: host.to_owned(),
            port,
            ..self.clone()
        }
    }

    fn checked_database(&self) -> Result<&str, Error> {
        let name = &self.database;
        let good = (1..=64).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if good {
            Ok(name)
        } else {
            Err(Error::Name(name.clone()))
        }
    }

    fn opts(&self) -> OptsBuilder {
        let tls = match &self.tls {
            Tls::Off => None,
            Tls::Insecure => Some(
                SslOpts::default()
                    .with_danger_accept_invalid_certs(true)
                    .with_danger_skip_domain_validation(true),
            ),
            Tls::Ca(path) => Some(
                SslOpts::default()
                    .with_disable_built_in_roots(true)
                    .with_root_certs(vec![path.clone().into()]),
            ),
        };
        OptsBuilder::default()
            .ip_or_hostname(self.host.clone())
            .tcp_port(self.port)
            .user(Some(self.user.clone()))
            .pass(Some(self.password.0.clone()))
            .ssl_opts(tls)
            // Loopback must stay TCP: a Service is TCP.
            .prefer_socket(false)
            // Given here, the driver does not ask the server for them on every connection.
            .max_allowed_packet(Some(16 << 20))
            .wait_timeout(Some(28_800))
            .setup(vec!["SET SESSION autocommit = 1, innodb_lock_wait_timeout = 1"])
    }
}

/// Closes connections where no runtime is: dropped on a runtime, mysql_async would first
/// talk to the server once more, for ever if that one is frozen.
#[derive(Clone)]
pub struct Reaper(SyncSender<Conn>);

impl Reaper {
    pub fn start() -> Reaper {
        let (sender, receiver) = sync_channel::<Conn>(1_024);
        std::thread::spawn(move || receiver.into_iter().for_each(drop));
        Reaper(sender)
    }

    fn bury(&self, conn: Conn) {
        match self.0.try_send(conn) {
            Ok(()) => {}
            Err(TrySendError::Full(conn) | TrySendError::Disconnected(conn)) => drop(conn),
        }
    }
}

/// How an attempt broke.
#[derive(Debug, Clone, Copy)]
pub struct Broken {
    pub stage: Stage,
    pub failure: Failure,
    /// What it had read of its register before.
    pub seen: Option<Seen>,
}

fn broken(stage: Stage, seen: Option<Seen>) -> impl FnOnce(Error) -> Broken {
    move |error| Broken {
        stage,
        failure: error.failure(),
        seen,
    }
}

/// One connection. Dropping it closes the socket at once.
pub struct Session {
    conn: Option<Conn>,
    deadline: Duration,
    reaper: Reaper,
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            self.reaper.bury(conn);
        }
    }
}

impl Session {
    pub async fn connect(
        target: &Target,
        connect_deadline: Duration,
        deadline: Duration,
        reaper: &Reaper,
    ) -> Result<Session, Error> {
        let name = target.checked_database()?.to_owned();
        let opts = target.opts().db_name(Some(name));
        Session::open(opts, connect_deadline, deadline, reaper).await
    }

    async fn open(
        opts: OptsBuilder,
        connect_deadline: Duration,
        deadline: Duration,
        reaper: &Reaper,
    ) -> Result<Session, Error> {
        let doing = "connect";
        let conn = timeout(connect_deadline, Conn::new(opts))
            .await
            .map_err(|_| Error::Deadline {
                doing,
                deadline: connect_deadline,
            })?
            .map_err(|source| Error::Mysql { doing, source })?;
        Ok(Session {
            conn: Some(conn),
            deadline,
            reaper: reaper.clone(),
        })
    }

    fn conn(&mut self) -> Result<&mut Conn, Error> {
        let source = mysql_async::Error::Driver(mysql_async::DriverError::ConnectionClosed);
        self.conn.as_mut().ok_or(Error::Mysql {
            doing: "use a closed session",
            source,
        })
    }

    /// For the readers of whole tables.
    pub(crate) fn parts(&mut self) -> Result<(&mut Conn, Duration), Error> {
        let deadline = self.deadline;
        Ok((self.conn()?, deadline))
    }

    pub async fn run(&mut self, doing: &'static str, sql: &str) -> Result<u64, Error> {
        let deadline = self.deadline;
        let conn = self.conn()?;
        let ended = timeout(deadline, conn.query_drop(sql)).await;
        ended
            .map_err(|_| Error::Deadline { doing, deadline })?
            .map_err(|source| Error::Mysql { doing, source })?;
        Ok(conn.affected_rows())
    }

    async fn seen(&mut self, doing: &'static str, sql: &str) -> Result<Seen, Error> {
        let deadline = self.deadline;
        let conn = self.conn()?;
        let row: Option<(u64, u64)> = timeout(deadline, conn.query_first(sql))
            .await
            .map_err(|_| Error::Deadline { doing, deadline })?
            .map_err(|source| Error::Mysql { doing, source })?;
        // A register that is gone reads as one that was never written: stale, or wrong at the end.
        let (version, value) = row.unwrap_or((0, 0));
        Ok(Seen { version, value })
    }

    pub async fn rollback(&mut self) -> Result<(), Error> {
        self.run("roll back", "ROLLBACK").await.map(|_| ())
    }

    /// BEGIN, INSERT, COMMIT.
    pub async fn insert(&mut self, run: u64, id: OpId) -> Result<(), Broken> {
        self.run("begin", "START TRANSACTION")
            .await
            .map_err(broken(Stage::Statement, None))?;
        self.run("insert", &insert_sql(run, id, None))
            .await
            .map_err(broken(Stage::Statement, None))?;
        self.run("commit", "COMMIT")
            .await
            .map_err(broken(Stage::Commit, None))?;
        Ok(())
    }

    /// INSERT alone.
    pub async fn insert_auto(&mut self, run: u64, id: OpId) -> Result<(), Broken> {
        self.run("insert", &insert_sql(run, id, None))
            .await
            .map_err(broken(Stage::Autocommit, None))?;
        Ok(())
    }

    /// Reads a register under its lock, writes it, and leaves the row that says so.
    pub async fn update(&mut self, run: u64, id: OpId, register: u32) -> Result<Seen, Broken> {
        self.run("begin", "START TRANSACTION")
            .await
            .map_err(broken(Stage::Statement, None))?;
        let sql = format!("{} FOR UPDATE", select_sql(run, register));
        let seen = self
            .seen("read a register", &sql)
            .await
            .map_err(broken(Stage::Statement, None))?;
        let sql = format!(
            "UPDATE registers SET value = {}, writer = {}, version = version + 1 WHERE run = {run} AND id = {register}",
            id.value(),
            id.client
        );
        let count = self
            .run("update", &sql)
            .await
            .map_err(broken(Stage::Statement, Some(seen)))?;
        if count != 1 {
            // The register is gone. COMMIT is not sent; the session is closed by the caller.
            return Err(Broken {
                stage: Stage::Statement,
                failure: Failure::Lost,
                seen: Some(seen),
            });
        }
        let change = Change {
            register,
            version: seen.version.saturating_add(1),
            found: seen.value,
        };
        let sql = insert_sql(run, id, Some(change));
        self.run("insert", &sql)
            .await
            .map_err(broken(Stage::Statement, Some(seen)))?;
        self.run("commit", "COMMIT")
            .await
            .map_err(broken(Stage::Commit, Some(seen)))?;
        Ok(seen)
    }

    pub async fn read(&mut self, run: u64, register: u32) -> Result<Seen, Broken> {
        let sql = select_sql(run, register);
        self.seen("read a register", &sql)
            .await
            .map_err(broken(Stage::Statement, None))
    }

    /// Makes the registers of a run; does nothing to those that exist.
    pub async fn make_registers(&mut self, run: u64, count: u32) -> Result<(), Error> {
        if count == 0 {
            return Ok(());
        }
        let rows: Vec<String> = (0..count).map(|id| format!("({run}, {id}, 0, 0, 0)")).collect();
        let sql = format!(
            "INSERT IGNORE INTO registers (run, id, version, value, writer) VALUES {}",
            rows.join(", ")
        );
        self.run("make the registers", &sql).await.map(|_| ())
    }
}

fn select_sql(run: u64, register: u32) -> String {
    format!("SELECT version, value FROM registers WHERE run = {run} AND id = {register}")
}

/// Numbers and hexadecimal digits only: nothing to escape.
fn insert_sql(run: u64, id: OpId, change: Option<Change>) -> String {
    let change = change.map_or_else(
        || "NULL, NULL, NULL".to_owned(),
        |change| format!("{}, {}, {}", change.register, change.version, change.found),
    );
    format!(
        "INSERT INTO writes (run, client, seq, register, version, found, payload) VALUES ({run}, {}, {}, {change}, '{}')",
        id.client,
        id.seq,
        payload(run, id)
    )
}

/// The surrogate key lets a write that was applied twice be two rows: the index on the
/// attempt is not unique on purpose.
const TABLES: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS writes (
       id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
       run BIGINT UNSIGNED NOT NULL,
       client INT UNSIGNED NOT NULL,
       seq INT UNSIGNED NOT NULL,
       register INT UNSIGNED NULL,
       version BIGINT UNSIGNED NULL,
       found BIGINT UNSIGNED NULL,
       payload VARCHAR(64) CHARACTER SET ascii NOT NULL,
       KEY attempt (run, client, seq)
     ) ENGINE = InnoDB",
    "CREATE TABLE IF NOT EXISTS registers (
       run BIGINT UNSIGNED NOT NULL,
       id INT UNSIGNED NOT NULL,
       version BIGINT UNSIGNED NOT NULL,
       value BIGINT UNSIGNED NOT NULL,
       writer INT UNSIGNED NOT NULL,
       PRIMARY KEY (run, id)
     ) ENGINE = InnoDB",
];

/// Makes the database and its tables where they are missing.
pub async fn setup(target: &Target, deadline: Duration) -> Result<(), Error> {
    let name = target.checked_database()?;
    let reaper = Reaper::start();
    let mut session = Session::open(target.opts(), deadline, deadline, &reaper).await?;
    let made = session
        .run(
            "make the database",
            &format!("CREATE DATABASE IF NOT EXISTS `{name}`"),
        )
        .await;
    match made {
        // No right to make databases: ours may exist all the same, the next statement tells.
        Err(error) if error.failure() == (Failure::Server { code: 1044 }) => {}
        other => drop(other?),
    }
    session
        .run("enter the database", &format!("USE `{name}`"))
        .await?;
    for table in TABLES {
        session.run("make a table", table).await?;
    }
    Ok(())
}
