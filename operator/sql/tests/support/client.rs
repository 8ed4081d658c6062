//! Owns what clients of the tests say to a server: applications over TLS, and a person with every right.
//! It must not be part of what is tested. Other crates' tests include this file: SQL stands here only.

use std::path::Path;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, OptsBuilder, Result, SslOpts};

pub(crate) struct Client(Conn);

impl Client {
    /// Whoever answers on loopback is believed.
    pub(crate) async fn tcp(port: u16, user: &str, password: &str, database: &str) -> Result<Self> {
        let tls = SslOpts::default().with_danger_accept_invalid_certs(true);
        let opts = OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(port)
            .user(Some(user))
            .pass(Some(password))
            .db_name(Some(database))
            .prefer_socket(false)
            .ssl_opts(Some(tls));
        Conn::new(opts).await.map(Self)
    }

    pub(crate) async fn socket(path: &Path, user: &str, password: &str) -> Result<Self> {
        let opts = OptsBuilder::default()
            .user(Some(user))
            .pass(Some(password))
            .socket(Some(path.to_str().unwrap()));
        Conn::new(opts).await.map(Self)
    }

    pub(crate) async fn make_table(&mut self) -> Result<()> {
        let sql = "CREATE TABLE t (a INT PRIMARY KEY AUTO_INCREMENT, b TEXT)";
        self.0.query_drop(sql).await
    }

    pub(crate) async fn insert(&mut self) -> Result<()> {
        self.0
            .query_drop("INSERT INTO t (b) VALUES (REPEAT('x', 10000))")
            .await
    }

    pub(crate) async fn make_big_table(&mut self) -> Result<()> {
        let sql = "CREATE TABLE big (a INT PRIMARY KEY AUTO_INCREMENT, b LONGBLOB)";
        self.0.query_drop(sql).await
    }

    /// In one transaction: so many rows of a megabyte each, which do not compress.
    pub(crate) async fn insert_megabytes(&mut self, count: u32) -> Result<()> {
        self.0.query_drop("BEGIN").await?;
        for _ in 0..count {
            let sql = "INSERT INTO big (b) VALUES (REPEAT(RANDOM_BYTES(1024), 1024))";
            self.0.query_drop(sql).await?;
        }
        self.0.query_drop("COMMIT").await
    }

    pub(crate) async fn prepare_xa(&mut self) -> Result<()> {
        for sql in [
            "XA START 'x'",
            "INSERT INTO t (b) VALUES ('xa')",
            "XA END 'x'",
            "XA PREPARE 'x'",
        ] {
            self.0.query_drop(sql).await?;
        }
        Ok(())
    }

    pub(crate) async fn make_other_table(&mut self) -> Result<()> {
        self.0.query_drop("CREATE TABLE other (a INT PRIMARY KEY)").await
    }

    /// A statement that writes, and is under way for so long.
    pub(crate) async fn insert_for(&mut self, seconds: u32) -> Result<()> {
        let sql = format!("INSERT INTO app.t (b) SELECT SLEEP({seconds})");
        self.0.query_drop(sql).await
    }

    /// Until a session is in this state. Needs every right.
    pub(crate) async fn until_somebody_is(&mut self, state: &str) {
        let sql =
            format!("SELECT COUNT(*) FROM performance_schema.threads WHERE PROCESSLIST_STATE = '{state}'");
        for _ in 0..200 {
            if self.0.query_first(&sql).await.unwrap() > Some(0) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("nobody is in this state: {state}");
    }

    /// Commits at once, without waiting for anybody. Needs every right.
    pub(crate) async fn insert_unwaiting(&mut self) -> Result<()> {
        self.0
            .query_drop("SET GLOBAL rpl_semi_sync_source_enabled = OFF")
            .await?;
        let sql = "INSERT INTO app.t (b) VALUES ('alone')";
        self.0.query_drop(sql).await?;
        // Else the engine would forget the commit with the process.
        self.0.query_drop("FLUSH LOCAL ENGINE LOGS").await
    }

    /// Of all tables of the application.
    pub(crate) async fn checksum(&mut self) -> Vec<(String, u64)> {
        let tables: Vec<String> = self.0.query("SHOW TABLES IN app").await.unwrap();
        let mut sums = Vec::new();
        for table in tables {
            let row: Option<(String, u64)> = self
                .0
                .query_first(format!("CHECKSUM TABLE app.{table}"))
                .await
                .unwrap();
            sums.extend(row);
        }
        sums
    }

    /// As many rows again.
    pub(crate) async fn double(&mut self) -> Result<()> {
        self.0.query_drop("INSERT INTO t (b) SELECT b FROM t").await
    }

    pub(crate) async fn count(&mut self) -> u64 {
        let count: Option<u64> = self.0.query_first("SELECT COUNT(*) FROM t").await.unwrap();
        count.unwrap()
    }

    pub(crate) async fn set(&mut self, variable: &str, value: &str) -> Result<()> {
        self.0
            .query_drop(format!("SET GLOBAL {variable} = {value}"))
            .await
    }

    pub(crate) async fn get(&mut self, variable: &str) -> String {
        let sql = format!("SELECT @@GLOBAL.{variable}");
        let row: Option<String> = self.0.query_first(sql).await.unwrap();
        row.unwrap()
    }

    /// A write that no other server has.
    pub(crate) async fn err(&mut self) {
        self.set("super_read_only", "0").await.unwrap();
        let _ = self.0.query_drop("CREATE DATABASE errant").await;
    }

    /// Which transaction is being received and has begun to be applied. Needs every right.
    pub(crate) async fn held_part(&mut self) -> Option<String> {
        let sql = "SELECT s.QUEUEING_TRANSACTION FROM performance_schema.replication_connection_status s \
             JOIN performance_schema.replication_applier_status_by_worker w \
             ON w.APPLYING_TRANSACTION = s.QUEUEING_TRANSACTION WHERE s.QUEUEING_TRANSACTION <> ''";
        self.0.query_first(sql).await.unwrap()
    }

    /// Empty before a clone has come so far.
    pub(crate) async fn stage_of_clone(&mut self, stage: &str) -> String {
        let sql = format!(
            "SELECT COALESCE(MAX(STATE), '') FROM performance_schema.clone_progress WHERE STAGE = '{stage}'"
        );
        let row: Option<String> = self.0.query_first(sql).await.unwrap();
        row.unwrap()
    }
}

/// 0 is success, 1 a connection that broke.
pub(crate) fn code<T>(ended: &Result<T>) -> u16 {
    match ended {
        Ok(_) => 0,
        Err(Error::Server(error)) => error.code,
        Err(_) => 1,
    }
}
