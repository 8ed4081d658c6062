//! What the operator writes into the data: the epoch's transaction, its row, the heartbeat.
//! Must not decide which epoch it is, nor derive the identity under which epochs are numbered.

use topology::gtid::{Gtid, GtidSet, Source, Uuid};

use crate::row::Row;
use crate::users::Binlog;
use crate::{Deadline, Error, Session, quote, status};

/// The database of the operator in every cluster.
pub const DATABASE: &str = "holdfast";

/// How many rows of epochs are read at most.
const EPOCHS_LIMIT: u32 = 1_000;

const TABLES: [&str; 3] = [
    "CREATE DATABASE IF NOT EXISTS holdfast",
    // Binary logs are purged, and with them the transactions of old epochs: the rows stay.
    "CREATE TABLE IF NOT EXISTS holdfast.epoch (
       epoch BIGINT UNSIGNED NOT NULL PRIMARY KEY,
       server_uuid CHAR(36) CHARACTER SET ascii NOT NULL,
       written_at DATETIME(6) NOT NULL
     ) ENGINE = InnoDB",
    "CREATE TABLE IF NOT EXISTS holdfast.heartbeat (
       id TINYINT UNSIGNED NOT NULL PRIMARY KEY,
       beat BIGINT UNSIGNED NOT NULL,
       epoch BIGINT UNSIGNED NOT NULL,
       server_uuid CHAR(36) CHARACTER SET ascii NOT NULL,
       written_at DATETIME(6) NOT NULL
     ) ENGINE = InnoDB",
];

/// Makes the operator's tables. `Binlog::Off` on the first server of a cluster, before anybody
/// replicates from it: clones carry them on.
pub async fn make_tables(session: &mut Session, binlog: Binlog, deadline: Deadline) -> Result<(), Error> {
    let doing = "make the operator's tables";
    binlog.enter(session, deadline).await?;
    let mut made = Ok(0);
    for sql in TABLES {
        if made.is_ok() {
            made = session.run(doing, sql, deadline).await;
        }
    }
    binlog.leave(session, deadline).await?;
    made.map(|_| ())
}

/// Whether both tables are there.
pub async fn has_tables(session: &mut Session, deadline: Deadline) -> Result<bool, Error> {
    let doing = "look for the operator's tables";
    let sql = "SELECT COUNT(*) AS count FROM information_schema.TABLES \
         WHERE TABLE_SCHEMA = 'holdfast' AND TABLE_NAME IN ('epoch', 'heartbeat')";
    let count: u64 = session.row(doing, sql, deadline).await?.parse("count")?;
    Ok(count == 2)
}

/// The transaction that begins an epoch.
pub fn gtid(identity: Uuid, epoch: u64) -> Result<Gtid, Error> {
    let source = Source::from(identity);
    Gtid::new(source, epoch).map_err(|error| Error::Input {
        doing: "name an epoch",
        what: error.to_string(),
    })
}

/// The highest epoch in a set of transactions; 0 is none.
pub fn highest(identity: Uuid, set: &GtidSet) -> u64 {
    set.highest(&Source::from(identity))
}

/// What was seen around the write. Whether it proves anything is for the caller to say: a server
/// whose semi-sync is off commits at once, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Barrier {
    /// `false`: the transaction was there already, and an ordinary write took its place as the
    /// proof. A GTID that is executed is skipped silently and waits for nobody.
    pub is_new: bool,
    pub before: Option<status::SemiSyncSource>,
    pub after: Option<status::SemiSyncSource>,
}

/// Writes the transaction of an epoch, under its own GTID, and returns when it is committed. Again
/// after a failure: the second call ends when the first one's transaction has been acknowledged.
pub async fn barrier(
    session: &mut Session,
    identity: Uuid,
    epoch: u64,
    deadline: Deadline,
) -> Result<Barrier, Error> {
    let before = status::semi_sync_source(session, deadline).await?;
    let is_new = begin(session, identity, epoch, deadline).await?;
    let after = status::semi_sync_source(session, deadline).await?;
    Ok(Barrier {
        is_new,
        before,
        after,
    })
}

/// The same, for who looks around it in a way of its own. Whether it is new.
pub async fn begin(
    session: &mut Session,
    identity: Uuid,
    epoch: u64,
    deadline: Deadline,
) -> Result<bool, Error> {
    let doing = "write the epoch";
    let gtid = gtid(identity, epoch)?;
    let sql = format!("SET SESSION gtid_next = {}", quote::string(&gtid.to_string()));
    session.run(doing, &sql, deadline).await?;
    let sql = format!(
        "REPLACE INTO holdfast.epoch (epoch, server_uuid, written_at) \
         VALUES ({epoch}, @@GLOBAL.server_uuid, UTC_TIMESTAMP(6))"
    );
    let written = session.run(doing, &sql, deadline).await;
    // Also after an error: the session would refuse the next statement.
    if !session.is_closed() {
        if written.is_err() {
            session.run(doing, "ROLLBACK", deadline).await?;
        }
        session
            .run(doing, "SET SESSION gtid_next = 'AUTOMATIC'", deadline)
            .await?;
    }
    // A row of that epoch may have come back with old data: replaced counts 2.
    let is_new = written? > 0;
    if !is_new {
        beat(session, epoch, deadline).await?;
    }
    Ok(is_new)
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epoch {
    pub number: u64,
    /// The primary that wrote it.
    pub server_uuid: Uuid,
}

/// The newest first.
pub async fn rows(session: &mut Session, deadline: Deadline) -> Result<Vec<Epoch>, Error> {
    let sql =
        format!("SELECT epoch, server_uuid FROM holdfast.epoch ORDER BY epoch DESC LIMIT {EPOCHS_LIMIT}");
    let rows = session.rows("read the epochs", &sql, deadline).await?;
    rows.iter().map(parse_epoch).collect()
}

fn parse_epoch(row: &Row) -> Result<Epoch, Error> {
    Ok(Epoch {
        number: row.parse("epoch")?,
        server_uuid: row.parse("server_uuid")?,
    })
}

/// The row of the heartbeat itself; the others are for nudges.
const BEAT_ROW: u8 = 1;

/// Writes the heartbeat.
pub async fn beat(session: &mut Session, epoch: u64, deadline: Deadline) -> Result<(), Error> {
    write_row(session, "write the heartbeat", BEAT_ROW, epoch, deadline).await
}

/// A write that waits for none before it: whoever acknowledges it acknowledges all before it, too. A
/// commit that waits for an acknowledgement that was lost, or sent before it was asked for, is freed so.
/// Each of several that wait at once needs a number of its own, since it holds a row.
pub async fn nudge(session: &mut Session, number: u8, epoch: u64, deadline: Deadline) -> Result<(), Error> {
    let row = number.saturating_add(BEAT_ROW + 1);
    write_row(session, "nudge a commit that waits", row, epoch, deadline).await
}

async fn write_row(
    session: &mut Session,
    doing: &'static str,
    row: u8,
    epoch: u64,
    deadline: Deadline,
) -> Result<(), Error> {
    let sql = format!(
        "INSERT INTO holdfast.heartbeat (id, beat, epoch, server_uuid, written_at) \
         VALUES ({row}, 1, {epoch}, @@GLOBAL.server_uuid, UTC_TIMESTAMP(6)) AS new \
         ON DUPLICATE KEY UPDATE beat = heartbeat.beat + 1, epoch = new.epoch, \
         server_uuid = new.server_uuid, written_at = new.written_at"
    );
    session.run(doing, &sql, deadline).await.map(|_| ())
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// Rises with every write: time its changes with a clock of your own.
    pub beat: u64,
    pub epoch: u64,
    pub server_uuid: Uuid,
    /// The writer's clock, microseconds since 1970.
    pub written_at_us: i64,
    /// The clock of the server that was asked, at the same moment as the rest was read.
    pub read_at_us: i64,
}

/// The table or its database is not there: nobody founded a cluster on these data yet.
const NO_TABLE: [u16; 4] = [1049, 1142, 1146, 1044];

/// `None`: never written, or not received yet.
pub async fn read_heartbeat(session: &mut Session, deadline: Deadline) -> Result<Option<Heartbeat>, Error> {
    let sql = "SELECT beat, epoch, server_uuid, \
         TIMESTAMPDIFF(MICROSECOND, '1970-01-01', written_at) AS written_at_us, \
         TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) AS read_at_us \
         FROM holdfast.heartbeat WHERE id = 1";
    let rows = match session.rows("read the heartbeat", sql, deadline).await {
        Err(error) if error.code().is_some_and(|code| NO_TABLE.contains(&code)) => return Ok(None),
        rows => rows?,
    };
    rows.first().map(parse_heartbeat).transpose()
}

fn parse_heartbeat(row: &Row) -> Result<Heartbeat, Error> {
    Ok(Heartbeat {
        beat: row.parse("beat")?,
        epoch: row.parse("epoch")?,
        server_uuid: row.parse("server_uuid")?,
        written_at_us: row.parse("written_at_us")?,
        read_at_us: row.parse("read_at_us")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: &str = "eeeeeeee-eeee-eeee-eeee-eeeeeeeeeeee";

    #[test]
    fn the_highest_epoch_is_found() {
        let identity: Uuid = IDENTITY.parse().unwrap();
        let other = "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa";
        for (set, wanted) in [
            (String::new(), 0),
            (format!("{other}:1-9"), 0),
            (format!("{IDENTITY}:1"), 1),
            (format!("{IDENTITY}:1-3,{other}:1-9"), 3),
            (format!("{IDENTITY}:1-3:7:11-12"), 12),
            // A tag is another numbering.
            (format!("{IDENTITY}:2:x:9"), 2),
            (format!("{IDENTITY}:x:9"), 0),
        ] {
            assert_eq!(highest(identity, &set.parse().unwrap()), wanted, "{set}");
        }
    }

    #[test]
    fn an_epoch_is_a_number_of_a_transaction() {
        let identity: Uuid = IDENTITY.parse().unwrap();
        assert_eq!(gtid(identity, 3).unwrap().to_string(), format!("{IDENTITY}:3"));
        assert!(gtid(identity, 0).is_err());
        assert!(gtid(identity, u64::MAX).is_err());
    }
}
