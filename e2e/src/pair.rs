//! Two plain servers, the second in lossless semi-synchronous replication from the first: no operator.
//! Must not inject faults.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::cluster::Login;
use crate::fixtures::{PASSWORD, Servers};
use crate::stage::{Stage, wait_until};

const SOURCE: u8 = 0;
/// The Pod that acknowledges.
pub const REPLICA: u8 = 1;
const WITHIN: Duration = Duration::from_secs(60);

/// The kubelet starts mysqld by a shell: the Pod's number becomes the server's.
const OPTIONS: &[&str] = &[
    "--server-id=1${HOSTNAME##*-}",
    "--gtid-mode=ON",
    "--enforce-gtid-consistency=ON",
    "--skip-replica-start",
    "--plugin-load-add=semisync_source.so",
    "--plugin-load-add=semisync_replica.so",
];

/// A source whose commits wait for one replica, which receives and applies nothing.
#[derive(Debug)]
pub struct Pair<'a> {
    /// Both.
    pub servers: Servers<'a>,
}

impl<'a> Pair<'a> {
    /// Made anew; the replica syncs its relay log after so many events.
    pub fn made(stage: &Stage, namespace: &'a str, sync_relay_log: u32) -> Result<Self> {
        let servers = Servers {
            namespace,
            replicas: 2,
            options: OPTIONS,
            size: "2Gi",
            ..Servers::default()
        };
        servers.remove(stage)?;
        servers.ready(stage)?;
        let pair = Self { servers };
        pair.begin(stage, sync_relay_log)?;
        Ok(pair)
    }

    fn begin(&self, stage: &Stage, sync_relay_log: u32) -> Result<()> {
        let source = self.servers.place(stage, SOURCE)?.1.ip();
        self.root(
            stage,
            SOURCE,
            &format!(
                "CREATE USER repl@'%' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON *.* TO repl@'%'; \
                 SET GLOBAL rpl_semi_sync_source_timeout = 4294967295; SET GLOBAL rpl_semi_sync_source_enabled = ON"
            ),
        )?;
        self.sync_every(stage, sync_relay_log)?;
        self.root(
            stage,
            REPLICA,
            &format!(
                "SET GLOBAL rpl_semi_sync_replica_enabled = ON; CHANGE REPLICATION SOURCE TO SOURCE_HOST = '{source}', \
                 SOURCE_USER = 'repl', SOURCE_PASSWORD = '{PASSWORD}', SOURCE_AUTO_POSITION = 1, \
                 GET_SOURCE_PUBLIC_KEY = 1; START REPLICA IO_THREAD"
            ),
        )?;
        wait_until("the replica acknowledges", WITHIN, || {
            let said = self.root(
                stage,
                SOURCE,
                "SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_source_clients'",
            )?;
            Ok(said.split_whitespace().last() == Some("1"))
        })
        .map(drop)
    }

    /// After how many events the replica syncs its relay log, from now on.
    pub fn sync_every(&self, stage: &Stage, events: u32) -> Result<()> {
        let set = format!("SET GLOBAL sync_relay_log = {events}");
        self.root(stage, REPLICA, &set).map(drop)
    }

    /// Whether transactions of connections to come are compressed: one event each, after its number.
    pub fn compress(&self, stage: &Stage, is_on: bool) -> Result<()> {
        let set = format!("SET GLOBAL binlog_transaction_compression = {is_on}");
        self.root(stage, SOURCE, &set).map(drop)
    }

    /// Applies what the replica received, to its end, and no more.
    pub fn apply_all(&self, stage: &Stage) -> Result<()> {
        self.root(stage, REPLICA, "START REPLICA SQL_THREAD")?;
        wait_until("all that was received is applied", WITHIN, || {
            let said = self.root(stage, REPLICA, "SHOW REPLICA STATUS")?;
            let field = |name: &str| {
                let line = said.lines().find(|line| line.trim().starts_with(name));
                line.and_then(|line| line.split_once(": "))
                    .map(|(_, value)| value.trim())
            };
            let has_read =
                field("Replica_SQL_Running_State:").is_some_and(|s| s.contains("has read all relay log"));
            // The last event may be torn: it was never whole, and never acknowledged.
            Ok(has_read || field("Replica_SQL_Running:") == Some("No"))
        })?;
        self.root(stage, REPLICA, "STOP REPLICA SQL_THREAD").map(drop)
    }

    /// The checker's way in to one of them.
    pub fn login(&self, stage: &Stage, index: u8) -> Result<Login> {
        Ok(Login {
            host: self.servers.place(stage, index)?.1.ip().to_string(),
            user: "checker".to_owned(),
            password: PASSWORD.to_owned(),
            database: "checker".to_owned(),
        })
    }

    fn root(&self, stage: &Stage, index: u8, statements: &str) -> Result<String> {
        let line = format!("mysql --no-defaults -uroot -S/tmp/mysql.sock --vertical -e \"{statements}\"");
        stage
            .exec(self.servers.namespace, &self.servers.pod(index), &line)
            .output()
            .context("a statement failed")
    }
}
