//! One round of facts from one server, in five or six short statements.
//! Must not judge: a set, a state and a counter are handed on as the server tells them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use topology::gtid::{Gtid, GtidSet, Uuid};

use crate::row::{Row, flag};
use crate::settings::{self, Setting, Settings};
use crate::version::Version;
use crate::{Deadline, Error, Session, clone};

const DOING: &str = "read the status";

#[derive(Debug, Clone)]
pub struct Facts {
    pub server_uuid: Uuid,
    pub server_id: u64,
    pub version: Version,
    pub uptime: Duration,
    pub gtid_executed: GtidSet,
    pub gtid_purged: GtidSet,
    /// The settings of durability and of the role, as they are now.
    pub settings: Settings,
    /// `None`: the plugin is not loaded.
    pub semi_sync_source: Option<SemiSyncSource>,
    /// Whether it acknowledges. `None`: the plugin is not loaded.
    pub semi_sync_replica: Option<bool>,
    pub plugins: BTreeSet<Plugin>,
    pub channels: Vec<Channel>,
    /// `None`: no binary log.
    pub binlog: Option<BinlogPosition>,
    /// The last clone into this server. `None`: the plugin is not loaded, or no clone so far.
    pub clone: Option<clone::State>,
    pub threads_connected: u64,
    pub threads_running: u64,
}

impl Facts {
    /// The union of what the channels received since their relay logs begin, and what is executed.
    pub fn received_or_executed(&self) -> GtidSet {
        let received = self.channels.iter().map(|channel| &channel.received);
        received.fold(self.gtid_executed.clone(), |all, set| all.union(set))
    }
}

/// Counters run since the server's start or the last `FLUSH STATUS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SemiSyncSource {
    /// Whether commits wait now: enabled, and not fallen back.
    pub is_on: bool,
    /// Replicas that acknowledge; one that left counts until its dump thread notices.
    pub clients: u64,
    /// Sessions that wait for an acknowledgement themselves. Commits queued behind them do not count:
    /// more than 0 means "somebody waits", not how many.
    pub waiters: u64,
    pub acked_transactions: u64,
    /// Committed without an acknowledgement, while on or off.
    pub unacked_transactions: u64,
    /// How often it fell back.
    pub off_times: u64,
}

/// The plugins the operator needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Plugin {
    Clone,
    SemiSyncSource,
    SemiSyncReplica,
}

impl Plugin {
    pub const ALL: [Plugin; 3] = [Plugin::Clone, Plugin::SemiSyncSource, Plugin::SemiSyncReplica];

    pub fn name(self) -> &'static str {
        match self {
            Plugin::Clone => "clone",
            Plugin::SemiSyncSource => "rpl_semi_sync_source",
            Plugin::SemiSyncReplica => "rpl_semi_sync_replica",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receiver {
    On,
    Off,
    Connecting,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub code: u32,
    pub message: String,
}

#[derive(Debug, Clone)]
pub struct Channel {
    pub name: String,
    pub source_host: String,
    pub source_port: u16,
    pub auto_position: bool,
    pub auto_failover: bool,
    /// Unknown until it has connected once.
    pub source_uuid: Option<Uuid>,
    pub receiver: Receiver,
    pub receiver_failure: Option<Failure>,
    /// Heartbeats since the receiver was started. Time its changes with a clock of your own.
    pub heartbeats: u64,
    /// Since the last transaction or heartbeat, by the server's wall clock, which may jump.
    pub news_age: Option<Duration>,
    pub received: GtidSet,
    /// In the middle of being received.
    pub receiving: Option<Gtid>,
    pub is_applier_on: bool,
    pub applier_failure: Option<Failure>,
    pub workers: Vec<Worker>,
}

impl Channel {
    pub fn is_applying(&self) -> bool {
        self.workers.iter().any(|worker| worker.applying.is_some())
    }
}

#[derive(Debug, Clone)]
pub struct Worker {
    pub number: u64,
    pub is_on: bool,
    pub applying: Option<Gtid>,
    pub failure: Option<Failure>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BinlogPosition {
    pub file: String,
    pub position: u64,
}

/// All facts. Nothing is returned of a round that could not be finished.
pub async fn read(session: &mut Session, deadline: Deadline) -> Result<Facts, Error> {
    // Settings before sets: of a server that was seen closed, the sets are complete. Then those of the channels:
    // what moves from received to executed is never missed.
    let sql = format!("{} UNION ALL {}", pairs_sql(), plugins_sql());
    let pairs = session.rows(DOING, &sql, deadline).await?;
    let channels = session.rows(DOING, CHANNELS, deadline).await?;
    let workers = session.rows(DOING, WORKERS, deadline).await?;
    let identity = session.row(DOING, IDENTITY, deadline).await?;
    let pairs = Pairs::parse(&pairs)?;
    let version: Version = identity.parse("version")?;
    let binlog = session
        .rows(DOING, version.number.binary_log_status(), deadline)
        .await?;
    let clone = if pairs.plugins.contains(&Plugin::Clone) {
        clone::state(session, deadline).await?
    } else {
        None
    };
    Ok(Facts {
        server_uuid: identity.parse("server_uuid")?,
        server_id: identity.parse("server_id")?,
        version,
        uptime: Duration::from_secs(pairs.count("Uptime")?),
        gtid_executed: identity.parse("gtid_executed")?,
        gtid_purged: identity.parse("gtid_purged")?,
        semi_sync_source: pairs.semi_sync_source()?,
        semi_sync_replica: pairs.semi_sync_replica()?,
        threads_connected: pairs.count("Threads_connected")?,
        threads_running: pairs.count("Threads_running")?,
        settings: pairs.settings,
        plugins: pairs.plugins,
        channels: parse_channels(&channels, &workers)?,
        binlog: binlog.first().map(parse_binlog).transpose()?,
        clone,
    })
}

/// Only the channels.
pub async fn channels(session: &mut Session, deadline: Deadline) -> Result<Vec<Channel>, Error> {
    let channels = session.rows(DOING, CHANNELS, deadline).await?;
    let workers = session.rows(DOING, WORKERS, deadline).await?;
    parse_channels(&channels, &workers)
}

/// Only the counters of acknowledgements.
pub async fn semi_sync_source(
    session: &mut Session,
    deadline: Deadline,
) -> Result<Option<SemiSyncSource>, Error> {
    let rows = session.rows(DOING, &pairs_sql(), deadline).await?;
    Pairs::parse(&rows)?.semi_sync_source()
}

/// Only what acknowledgements rest on: the settings and the counters, of one moment.
pub async fn semi_sync(
    session: &mut Session,
    deadline: Deadline,
) -> Result<(Settings, Option<SemiSyncSource>), Error> {
    let rows = session.rows(DOING, &pairs_sql(), deadline).await?;
    let pairs = Pairs::parse(&rows)?;
    let source = pairs.semi_sync_source()?;
    Ok((pairs.settings, source))
}

/// Only the sets, in one statement: for the moment after a freeze.
pub async fn read_sets(session: &mut Session, deadline: Deadline) -> Result<Sets, Error> {
    let sql = "SELECT (SELECT GROUP_CONCAT(RECEIVED_TRANSACTION_SET SEPARATOR ',') \
         FROM performance_schema.replication_connection_status) AS received, \
         @@GLOBAL.gtid_executed AS executed";
    // GROUP_CONCAT cuts at 1024 otherwise, silently.
    session
        .run(
            "read the sets",
            "SET SESSION group_concat_max_len = 33554432",
            deadline,
        )
        .await?;
    let row = session.row("read the sets", sql, deadline).await?;
    let received = row.maybe("received")?.unwrap_or_default();
    let received = received.parse().map_err(|_| {
        let what = "received is not a GTID set";
        Error::wrong("read the sets", what)
    })?;
    Ok(Sets {
        received,
        executed: row.parse("executed")?,
    })
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sets {
    pub received: GtidSet,
    pub executed: GtidSet,
}

const IDENTITY: &str = "SELECT @@GLOBAL.server_uuid AS server_uuid, @@GLOBAL.server_id AS server_id, \
     @@GLOBAL.version AS version, @@GLOBAL.gtid_executed AS gtid_executed, \
     @@GLOBAL.gtid_purged AS gtid_purged";

/// A zero timestamp is "never".
const CHANNELS: &str = "SELECT s.CHANNEL_NAME AS channel, c.HOST AS host, c.PORT AS port, \
     c.AUTO_POSITION AS auto_position, c.SOURCE_CONNECTION_AUTO_FAILOVER AS auto_failover, \
     s.SOURCE_UUID AS source_uuid, s.SERVICE_STATE AS receiver, \
     s.LAST_ERROR_NUMBER AS receiver_code, s.LAST_ERROR_MESSAGE AS receiver_message, \
     s.COUNT_RECEIVED_HEARTBEATS AS heartbeats, \
     IF(UNIX_TIMESTAMP(GREATEST(s.LAST_HEARTBEAT_TIMESTAMP, s.LAST_QUEUED_TRANSACTION_END_QUEUE_TIMESTAMP)) = 0, \
        NULL, GREATEST(0, TIMESTAMPDIFF(MICROSECOND, \
           GREATEST(s.LAST_HEARTBEAT_TIMESTAMP, s.LAST_QUEUED_TRANSACTION_END_QUEUE_TIMESTAMP), NOW(6)))) AS news_age, \
     s.RECEIVED_TRANSACTION_SET AS received, s.QUEUEING_TRANSACTION AS receiving, \
     a.SERVICE_STATE AS applier, k.LAST_ERROR_NUMBER AS applier_code, \
     k.LAST_ERROR_MESSAGE AS applier_message \
     FROM performance_schema.replication_connection_status s \
     JOIN performance_schema.replication_connection_configuration c USING (CHANNEL_NAME) \
     JOIN performance_schema.replication_applier_status a USING (CHANNEL_NAME) \
     LEFT JOIN performance_schema.replication_applier_status_by_coordinator k USING (CHANNEL_NAME)";

const WORKERS: &str = "SELECT CHANNEL_NAME AS channel, WORKER_ID AS number, SERVICE_STATE AS state, \
     LAST_ERROR_NUMBER AS code, LAST_ERROR_MESSAGE AS message, APPLYING_TRANSACTION AS applying \
     FROM performance_schema.replication_applier_status_by_worker ORDER BY CHANNEL_NAME, WORKER_ID";

const SOURCE_COUNTERS: [&str; 6] = [
    "Rpl_semi_sync_source_status",
    "Rpl_semi_sync_source_clients",
    "Rpl_semi_sync_source_wait_sessions",
    "Rpl_semi_sync_source_yes_tx",
    "Rpl_semi_sync_source_no_tx",
    "Rpl_semi_sync_source_no_times",
];
const REPLICA_STATUS: &str = "Rpl_semi_sync_replica_status";
const COUNTERS: [&str; 3] = ["Uptime", "Threads_connected", "Threads_running"];

fn pairs_sql() -> String {
    let counters: Vec<String> = SOURCE_COUNTERS
        .iter()
        .chain(&COUNTERS)
        .chain([&REPLICA_STATUS])
        .map(|name| format!("'{name}'"))
        .collect();
    format!(
        "SELECT 'variable' AS kind, VARIABLE_NAME AS name, VARIABLE_VALUE AS value \
         FROM performance_schema.global_variables WHERE VARIABLE_NAME IN ({}) \
         UNION ALL SELECT 'status', VARIABLE_NAME, VARIABLE_VALUE \
         FROM performance_schema.global_status WHERE VARIABLE_NAME IN ({})",
        settings::names(),
        counters.join(", "),
    )
}

fn plugins_sql() -> String {
    let plugins: Vec<String> = Plugin::ALL
        .iter()
        .map(|plugin| format!("'{}'", plugin.name()))
        .collect();
    format!(
        "SELECT 'plugin', PLUGIN_NAME, PLUGIN_STATUS \
         FROM information_schema.PLUGINS WHERE PLUGIN_NAME IN ({})",
        plugins.join(", ")
    )
}

struct Pairs {
    settings: Settings,
    status: BTreeMap<String, String>,
    plugins: BTreeSet<Plugin>,
}

impl Pairs {
    fn parse(rows: &[Row]) -> Result<Self, Error> {
        let mut pairs = Self {
            settings: Settings::default(),
            status: BTreeMap::new(),
            plugins: BTreeSet::new(),
        };
        for row in rows {
            let (kind, name, value) = (row.text("kind")?, row.text("name")?, row.text("value")?);
            match kind {
                "variable" => pairs.settings.add(name, value)?,
                "status" => drop(pairs.status.insert(name.to_owned(), value.to_owned())),
                _ => {
                    let known = Plugin::ALL.iter().find(|plugin| plugin.name() == name);
                    // DISABLED, INACTIVE and DELETED are as good as not there.
                    pairs.plugins.extend(known.filter(|_| value == "ACTIVE"));
                }
            }
        }
        Ok(pairs)
    }

    fn count(&self, name: &str) -> Result<u64, Error> {
        let text = self.status.get(name).map(String::as_str);
        text.and_then(|text| text.parse().ok())
            .ok_or_else(|| Error::wrong(DOING, format!("{name} is {text:?}")))
    }

    fn flag(&self, name: &str) -> Result<bool, Error> {
        let text = self.status.get(name).map(String::as_str);
        text.and_then(flag)
            .ok_or_else(|| Error::wrong(DOING, format!("{name} is {text:?}")))
    }

    fn semi_sync_source(&self) -> Result<Option<SemiSyncSource>, Error> {
        if self.settings.get(Setting::SemiSyncSource).is_none() {
            return Ok(None);
        }
        let [status, clients, waiters, acked, unacked, off_times] = SOURCE_COUNTERS;
        Ok(Some(SemiSyncSource {
            is_on: self.flag(status)?,
            clients: self.count(clients)?,
            waiters: self.count(waiters)?,
            acked_transactions: self.count(acked)?,
            unacked_transactions: self.count(unacked)?,
            off_times: self.count(off_times)?,
        }))
    }

    fn semi_sync_replica(&self) -> Result<Option<bool>, Error> {
        match self.settings.get(Setting::SemiSyncReplica) {
            None => Ok(None),
            Some(_) => self.flag(REPLICA_STATUS).map(Some),
        }
    }
}

fn failure(row: &Row, code: &str, message: &str) -> Result<Option<Failure>, Error> {
    let code = row.parse_maybe::<u32>(code)?.unwrap_or(0);
    let message = row.maybe(message)?.unwrap_or_default().to_owned();
    Ok((code != 0).then_some(Failure { code, message }))
}

/// These columns hold `ANONYMOUS` where a transaction has no GTID, and nothing where there is none.
fn transaction(row: &Row, name: &str) -> Result<Option<Gtid>, Error> {
    match row.some_text(name)?.as_deref() {
        None | Some("ANONYMOUS" | "NOT_YET_DETERMINED") => Ok(None),
        Some(_) => row.parse(name).map(Some),
    }
}

fn parse_channels(channels: &[Row], workers: &[Row]) -> Result<Vec<Channel>, Error> {
    let mut parsed = Vec::with_capacity(channels.len());
    for row in channels {
        let name = row.text("channel")?;
        let receiver = match row.text("receiver")? {
            "ON" => Receiver::On,
            "OFF" => Receiver::Off,
            "CONNECTING" => Receiver::Connecting,
            other => return Err(Error::wrong(DOING, format!("a receiver is {other:?}"))),
        };
        let age: Option<u64> = row.parse_maybe("news_age")?;
        let mut channel = Channel {
            name: name.to_owned(),
            source_host: row.text("host")?.to_owned(),
            source_port: row.parse("port")?,
            auto_position: row.flag("auto_position")?,
            auto_failover: row.flag("auto_failover")?,
            source_uuid: match row.some_text("source_uuid")? {
                None => None,
                Some(_) => Some(row.parse("source_uuid")?),
            },
            receiver,
            receiver_failure: failure(row, "receiver_code", "receiver_message")?,
            heartbeats: row.parse("heartbeats")?,
            news_age: age.map(Duration::from_micros),
            received: row.parse("received")?,
            receiving: transaction(row, "receiving")?,
            is_applier_on: row.flag("applier")?,
            applier_failure: failure(row, "applier_code", "applier_message")?,
            workers: Vec::new(),
        };
        for worker in workers {
            if worker.text("channel")? == name {
                channel.workers.push(parse_worker(worker)?);
            }
        }
        parsed.push(channel);
    }
    Ok(parsed)
}

fn parse_worker(row: &Row) -> Result<Worker, Error> {
    Ok(Worker {
        number: row.parse("number")?,
        is_on: row.flag("state")?,
        applying: transaction(row, "applying")?,
        failure: failure(row, "code", "message")?,
    })
}

fn parse_binlog(row: &Row) -> Result<BinlogPosition, Error> {
    Ok(BinlogPosition {
        file: row.text("File")?.to_owned(),
        position: row.parse("Position")?,
    })
}

#[cfg(test)]
mod tests;
