//! What a server lets clients do: offline, read-only, and who is connected.
//! Must not decide which role a server has.

use crate::replication::{kill, kill_each};
use crate::row::Row;
use crate::{Deadline, Error, Session};

/// The lock that a waiting commit holds was not to be had: nothing changed.
pub const LOCK_TIMEOUT: u16 = 1205;

/// On: ends the connections of all who may not administer connections, waiters included, and admits
/// none. Returns at once, even with commits that wait; their threads wait on, without a client.
/// Dump threads of replicas end too, unless their user may administer connections: after that, no
/// replica of ours receives from this server.
pub async fn set_offline(session: &mut Session, is_on: bool, deadline: Deadline) -> Result<(), Error> {
    let sql = format!("SET GLOBAL offline_mode = {}", u8::from(is_on));
    session.run("set offline mode", &sql, deadline).await.map(|_| ())
}

/// Also for administrators. On waits for commits in flight, so for one without an acknowledgement;
/// the server gives up about when we do, with `LOCK_TIMEOUT`: it does not switch later, unseen.
pub async fn set_super_read_only(
    session: &mut Session,
    is_on: bool,
    deadline: Deadline,
) -> Result<(), Error> {
    let sql = read_only_sql("super_read_only", is_on, deadline);
    session
        .run("set super read only", &sql, deadline)
        .await
        .map(|_| ())
}

/// For ordinary users. Off ends `super_read_only` too.
pub async fn set_read_only(session: &mut Session, is_on: bool, deadline: Deadline) -> Result<(), Error> {
    let sql = read_only_sql("read_only", is_on, deadline);
    session.run("set read only", &sql, deadline).await.map(|_| ())
}

/// How a statement of `read_only_sql` begins.
const READ_ONLY_SQL: &str = "SET SESSION lock_wait_timeout = ";

/// Whole seconds, at least one: rounded down, so that the server's answer is there before ours.
fn read_only_sql(name: &str, is_on: bool, deadline: Deadline) -> String {
    let seconds = deadline.left().as_secs().max(1);
    format!("{READ_ONLY_SQL}{seconds}, GLOBAL {name} = {}", u8::from(is_on))
}

/// Who gave up setting read-only and went left a statement that still waits in the server, and all
/// writes behind it: ends those of the same user. Returns how many there were.
pub async fn end_abandoned_read_only(session: &mut Session, deadline: Deadline) -> Result<u64, Error> {
    let doing = "end what was given up of becoming read-only";
    let sql = format!(
        "SELECT PROCESSLIST_ID AS id FROM performance_schema.threads \
         WHERE PROCESSLIST_INFO LIKE '{READ_ONLY_SQL}%' AND PROCESSLIST_ID <> CONNECTION_ID() \
         AND PROCESSLIST_USER = SUBSTRING_INDEX(USER(), '@', 1)"
    );
    kill_each(session, doing, &sql, deadline).await
}

/// A connection from outside, ours excepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    pub id: u64,
    /// `None` while it is logging in.
    pub user: Option<String>,
    pub host: Option<String>,
    pub database: Option<String>,
    pub command: String,
    pub state: Option<String>,
    pub seconds: u64,
}

impl Client {
    /// A replica that receives.
    pub fn is_dump(&self) -> bool {
        self.command.starts_with("Binlog Dump")
    }

    /// Its commit waits for an acknowledgement, and leads those queued behind it.
    pub fn is_waiter(&self) -> bool {
        self.state
            .as_deref()
            .is_some_and(|state| state.contains("semi-sync ACK"))
    }

    /// Its commit is queued behind another one: for the same acknowledgement, or for the disk.
    pub fn is_queued(&self) -> bool {
        self.state.as_deref() == Some("waiting for handler commit")
    }
}

/// Threads of the server itself have no type of connection.
pub async fn clients(session: &mut Session, deadline: Deadline) -> Result<Vec<Client>, Error> {
    let sql = "SELECT PROCESSLIST_ID AS id, PROCESSLIST_USER AS user, PROCESSLIST_HOST AS host, \
         PROCESSLIST_DB AS db, PROCESSLIST_COMMAND AS command, PROCESSLIST_STATE AS state, \
         PROCESSLIST_TIME AS seconds FROM performance_schema.threads \
         WHERE CONNECTION_TYPE IS NOT NULL AND PROCESSLIST_ID IS NOT NULL \
         AND PROCESSLIST_ID <> CONNECTION_ID() ORDER BY PROCESSLIST_ID";
    let rows = session.rows("list the clients", sql, deadline).await?;
    rows.iter().map(parse_client).collect()
}

fn parse_client(row: &Row) -> Result<Client, Error> {
    Ok(Client {
        id: row.parse("id")?,
        user: row.some_text("user")?,
        host: row.some_text("host")?,
        database: row.some_text("db")?,
        command: row.maybe("command")?.unwrap_or_default().to_owned(),
        state: row.some_text("state")?,
        seconds: row.parse_maybe("seconds")?.unwrap_or(0),
    })
}

/// `false`: it had gone already. The client of a commit that waits for an acknowledgement gets an
/// error; the server's thread waits on, and what it holds stays held.
pub async fn kill_client(session: &mut Session, id: u64, deadline: Deadline) -> Result<bool, Error> {
    kill(session, "end a client", id, deadline).await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_server_gives_up_with_us() {
        let sql = |seconds| {
            let deadline = Deadline::after(Duration::from_millis(seconds));
            read_only_sql("super_read_only", true, deadline)
        };
        let wanted =
            |seconds| format!("SET SESSION lock_wait_timeout = {seconds}, GLOBAL super_read_only = 1");
        assert_eq!(sql(100), wanted(1));
        assert_eq!(sql(2_900), wanted(2));
    }

    #[test]
    fn clients_are_told_apart() {
        let client = |command, state| {
            parse_client(&Row::of(&[
                ("id", Some("8")),
                ("user", Some("app")),
                ("host", Some("10.0.0.1")),
                ("db", None),
                ("command", Some(command)),
                ("state", Some(state)),
                ("seconds", None),
            ]))
            .unwrap()
        };
        let dump = client("Binlog Dump GTID", "Source has sent all binlog to replica");
        assert!(dump.is_dump() && !dump.is_waiter());
        let waiter = client("Query", "Waiting for semi-sync ACK from replica");
        assert!(waiter.is_waiter() && !waiter.is_dump());
        let queued = client("Query", "waiting for handler commit");
        assert!(queued.is_queued() && !queued.is_waiter() && !waiter.is_queued());
        assert!(!client("Sleep", "").is_waiter());
    }
}
