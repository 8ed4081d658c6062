//! The statements of replication: sources, receivers, appliers, acknowledgements.
//! Must not choose a source, and must not stop an applier where the receiver will do.

use std::time::Duration;

use tokio::time::sleep;
use topology::gtid::GtidSet;
use zeroize::Zeroizing;

use crate::connect::Credentials;
use crate::status::Receiver;
use crate::{Deadline, Error, Session, quote, status};

/// Seconds between heartbeats of an idle source: silence is known after a few.
const HEARTBEAT_PERIOD_S: &str = "0.5";
const CONNECT_RETRY_S: u32 = 1;
/// A day at one a second. 8.4 lowered the default to 10: a replica would give up after ten seconds.
const RETRY_COUNT: u32 = 86_400;
/// The largest value, 49 days: a commit waits, it never falls back.
const SEMI_SYNC_TIMEOUT_MS: u32 = u32::MAX;
/// How often a state is asked for while it is waited for.
const POLL: Duration = Duration::from_millis(5);

/// Longer ones are cut silently, and the source denies access.
const PASSWORD_LIMIT: usize = 32;

const UNKNOWN_THREAD: u16 = 1094;

/// Where a replica receives from. TLS always: the certificate must be of this authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub host: String,
    pub port: u16,
    /// A file beside the replica.
    pub authority_file: String,
}

/// The options that may change while the applier runs. `GET_SOURCE_PUBLIC_KEY` is not needed: TLS.
/// The authority is asked for, the name is not: it signs this cluster's servers alone, and they are
/// reached by addresses that no certificate holds.
fn receiver_options(source: &Source) -> String {
    format!(
        "SOURCE_HOST = {}, SOURCE_PORT = {}, SOURCE_SSL = 1, SOURCE_SSL_CA = {}, \
         SOURCE_SSL_VERIFY_SERVER_CERT = 0, SOURCE_HEARTBEAT_PERIOD = {HEARTBEAT_PERIOD_S}, \
         SOURCE_CONNECT_RETRY = {CONNECT_RETRY_S}, SOURCE_RETRY_COUNT = {RETRY_COUNT}",
        quote::string(&source.host),
        source.port,
        quote::string(&source.authority_file),
    )
}

/// Defines the source of a server that has none yet, or after a reset: needs both threads stopped.
/// No user and no password are stored in the server: the start of the receiver brings them.
pub async fn define_source(session: &mut Session, source: &Source, deadline: Deadline) -> Result<(), Error> {
    let sql = format!(
        "CHANGE REPLICATION SOURCE TO {}, SOURCE_AUTO_POSITION = 1, SOURCE_CONNECTION_AUTO_FAILOVER = 0",
        receiver_options(source)
    );
    session.run("define the source", &sql, deadline).await.map(|_| ())
}

/// Points the receiver, which must be stopped, at another source. The applier may run: the two
/// options that `define_source` sets besides are kept, and naming them would want it stopped.
pub async fn change_source(session: &mut Session, source: &Source, deadline: Deadline) -> Result<(), Error> {
    let sql = format!("CHANGE REPLICATION SOURCE TO {}", receiver_options(source));
    session.run("change the source", &sql, deadline).await.map(|_| ())
}

/// The password stays in the receiver's memory; a restart of the server forgets it, which is right:
/// whoever starts the receiver again has the password and the epoch.
pub async fn start_receiver(
    session: &mut Session,
    credentials: &Credentials,
    deadline: Deadline,
) -> Result<(), Error> {
    if credentials.password.expose().len() > PASSWORD_LIMIT {
        return Err(Error::Input {
            doing: "start the receiver",
            what: format!(
                "the password has more than {PASSWORD_LIMIT} characters, which a receiver would cut off"
            ),
        });
    }
    let sql = Zeroizing::new(format!(
        "START REPLICA IO_THREAD USER = {} PASSWORD = {}",
        quote::string(&credentials.user),
        *Zeroizing::new(quote::string(credentials.password.expose())),
    ));
    session
        .run_secret("start the receiver", sql, &credentials.password, deadline)
        .await
        .map(|_| ())
}

/// Returns when it has ended: what is received by then is all. No error if it does not run.
pub async fn stop_receiver(session: &mut Session, deadline: Deadline) -> Result<(), Error> {
    session
        .run("stop the receiver", "STOP REPLICA IO_THREAD", deadline)
        .await
        .map(|_| ())
}

/// The system's numbers of receivers that are connecting. It may be asked while they are being stopped.
pub async fn connecting_receivers(session: &mut Session, deadline: Deadline) -> Result<Vec<i32>, Error> {
    let doing = "find receivers that are connecting";
    // A receiver that is connecting has no THREAD_ID in the table of receivers.
    let sql = "SELECT THREAD_OS_ID AS id FROM performance_schema.threads \
         WHERE NAME = 'thread/sql/replica_io' AND THREAD_OS_ID IS NOT NULL AND EXISTS (\
         SELECT 1 FROM performance_schema.replication_connection_status WHERE SERVICE_STATE = 'CONNECTING')";
    let rows = session.rows(doing, sql, deadline).await?;
    rows.iter().map(|row| row.parse("id")).collect()
}

pub async fn start_applier(session: &mut Session, deadline: Deadline) -> Result<(), Error> {
    session
        .run("start the applier", "START REPLICA SQL_THREAD", deadline)
        .await
        .map(|_| ())
}

/// Takes a minute where the applier holds a part of a transaction: see `heal` first.
pub async fn stop_applier(session: &mut Session, deadline: Deadline) -> Result<(), Error> {
    session
        .run("stop the applier", "STOP REPLICA SQL_THREAD", deadline)
        .await
        .map(|_| ())
}

/// Forgets the source and deletes the relay logs, with everything received and not applied.
pub async fn reset(session: &mut Session, deadline: Deadline) -> Result<(), Error> {
    session
        .run("reset the replica", "RESET REPLICA ALL", deadline)
        .await
        .map(|_| ())
}

/// Commits wait for `count` replicas, however long, also when none is attached.
pub async fn wait_for_replicas(session: &mut Session, count: u16, deadline: Deadline) -> Result<(), Error> {
    if count == 0 {
        return Err(Error::Input {
            doing: "wait for replicas",
            what: "0 replicas acknowledge nothing".into(),
        });
    }
    // Enabled last: no commit may run under other rules.
    let sql = format!(
        "SET GLOBAL rpl_semi_sync_source_wait_point = 'AFTER_SYNC', \
         GLOBAL rpl_semi_sync_source_timeout = {SEMI_SYNC_TIMEOUT_MS}, \
         GLOBAL rpl_semi_sync_source_wait_no_replica = ON, \
         GLOBAL rpl_semi_sync_source_wait_for_replica_count = {count}, \
         GLOBAL rpl_semi_sync_source_enabled = ON"
    );
    session.run("wait for replicas", &sql, deadline).await.map(|_| ())
}

/// Releases every waiter with success: only for a server that no client can reach, with none.
pub async fn stop_waiting_for_replicas(session: &mut Session, deadline: Deadline) -> Result<(), Error> {
    let sql = "SET GLOBAL rpl_semi_sync_source_enabled = OFF";
    session
        .run("stop waiting for replicas", sql, deadline)
        .await
        .map(|_| ())
}

/// Takes effect when the receiver is started the next time.
pub async fn acknowledge(session: &mut Session, is_on: bool, deadline: Deadline) -> Result<(), Error> {
    let sql = format!("SET GLOBAL rpl_semi_sync_replica_enabled = {}", u8::from(is_on));
    session
        .run("acknowledge transactions", &sql, deadline)
        .await
        .map(|_| ())
}

/// Whether all of the set is applied before the deadline. The server stops waiting, too.
pub async fn wait_applied(session: &mut Session, set: &GtidSet, deadline: Deadline) -> Result<bool, Error> {
    // Room for the answer to come back.
    let left = deadline.left().saturating_sub(Duration::from_millis(50));
    // 0 is "for ever" to the server.
    let seconds = left.as_secs_f64().max(0.001);
    let sql = format!(
        "SELECT WAIT_FOR_EXECUTED_GTID_SET({}, {seconds:.3}) AS missed",
        quote::string(&set.to_string())
    );
    let row = session.row("wait for a set", &sql, deadline).await?;
    row.flag("missed").map(|missed| !missed)
}

/// What a remedy saw at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Healed {
    /// No transaction is in the applier's hands.
    Idle,
    /// The deadline came first: a backlog is still being applied, or nothing moved.
    Busy,
}

/// Frees an applier that holds a part of a transaction whose source died: the receiver connects to
/// a sibling for a moment, whose format event makes the applier roll the part back. Leaves the
/// receiver stopped, with what the sibling has, and pointing at it.
/// A quarter of the time is kept for stopping it again.
pub async fn heal(
    session: &mut Session,
    sibling: &Source,
    credentials: &Credentials,
    deadline: Deadline,
) -> Result<Healed, Error> {
    let reserve = deadline.left() / 4;
    stop_receiver(session, deadline).await?;
    change_source(session, sibling, deadline).await?;
    start_receiver(session, credentials, deadline).await?;
    let healed = loop {
        let round = status::channels(session, deadline).await?;
        let is_connected = round.iter().any(|channel| channel.receiver == Receiver::On);
        let is_applying = round.iter().any(status::Channel::is_applying);
        if is_connected && !is_applying {
            break Healed::Idle;
        }
        if deadline.left() <= reserve {
            break Healed::Busy;
        }
        sleep(POLL).await;
    };
    stop_receiver(session, deadline).await?;
    Ok(healed)
}

/// Kills the applier's workers: the other way to free it. It ends with an error and must be started
/// again. Returns how many there were.
pub async fn kill_workers(session: &mut Session, deadline: Deadline) -> Result<u64, Error> {
    let doing = "kill the applier's workers";
    let sql = "SELECT t.PROCESSLIST_ID AS id FROM performance_schema.threads t \
         JOIN performance_schema.replication_applier_status_by_worker w USING (THREAD_ID) \
         WHERE t.PROCESSLIST_ID IS NOT NULL";
    kill_each(session, doing, sql, deadline).await
}

/// Every session whose `id` is found so. Returns how many there were.
pub(crate) async fn kill_each(
    session: &mut Session,
    doing: &'static str,
    sql: &str,
    deadline: Deadline,
) -> Result<u64, Error> {
    let rows = session.rows(doing, sql, deadline).await?;
    let mut killed = 0;
    for row in rows {
        let id: u64 = row.parse("id")?;
        killed += u64::from(kill(session, doing, id, deadline).await?);
    }
    Ok(killed)
}

/// `false`: it had gone already.
pub(crate) async fn kill(
    session: &mut Session,
    doing: &'static str,
    id: u64,
    deadline: Deadline,
) -> Result<bool, Error> {
    match session
        .run(doing, &format!("KILL CONNECTION {id}"), deadline)
        .await
    {
        Ok(_) => Ok(true),
        Err(error) if error.code() == Some(UNKNOWN_THREAD) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_texts_stay_inside_their_quotes() {
        let options = receiver_options(&Source {
            host: "a', SOURCE_SSL = 0, SOURCE_BIND = '".into(),
            port: 3306,
            authority_file: r"/x\' y".into(),
        });
        assert!(
            options.starts_with("SOURCE_HOST = 'a'', SOURCE_SSL = 0, SOURCE_BIND = ''', SOURCE_PORT = 3306")
        );
        assert!(options.contains(r"SOURCE_SSL_CA = '/x\\'' y',"));
    }
}
