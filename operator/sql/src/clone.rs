//! Cloning one server into this one: donors, the clone itself, its progress.
//! Must not start the server again: whoever supervises mysqld does.

use topology::gtid::GtidSet;
use zeroize::Zeroizing;

use crate::connect::Credentials;
use crate::row::Row;
use crate::{Deadline, Error, Session, quote};

/// ER_RESTART_SERVER_FAILED: the data are there; the server has no supervisor that it knows of to
/// start it again, and shuts down.
const RESTART_FAILED: u16 = 3707;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Donor {
    pub host: String,
    pub port: u16,
}

/// What was seen of a clone that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The data are the donor's. The server shuts down now and must be started.
    Cloned,
    /// The connection was lost: the state after the next start tells.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    NotStarted,
    InProgress,
    Completed,
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub phase: Phase,
    /// When, by the server's clock and in its words: tells one clone from the next.
    pub began: String,
    /// Host and port of the donor; `LOCAL INSTANCE` on a donor.
    pub source: String,
    /// 0 is none.
    pub code: u32,
    pub message: String,
    /// Where the donor's binary log ended. Filled in after the restart.
    pub binlog_file: String,
    pub binlog_position: u64,
    pub gtid_executed: GtidSet,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// `DROP DATA`, `FILE COPY`, `PAGE COPY`, `REDO COPY`, `FILE SYNC`, `RESTART`, `RECOVERY`.
    pub name: String,
    pub phase: Phase,
    pub estimated_bytes: u64,
    pub copied_bytes: u64,
    pub network_bytes: u64,
}

/// Whom this server may clone from, and the authority the donor's certificate must come from: a
/// file beside the server.
pub async fn allow(
    session: &mut Session,
    donors: &[Donor],
    authority_file: Option<&str>,
    deadline: Deadline,
) -> Result<(), Error> {
    let mut sql = format!("SET GLOBAL clone_valid_donor_list = {}", donor_list(donors));
    if let Some(file) = authority_file {
        sql.push_str(&format!(", GLOBAL clone_ssl_ca = {}", quote::string(file)));
    }
    session
        .run("allow donors of a clone", &sql, deadline)
        .await
        .map(|_| ())
}

/// The server refuses an empty text: nobody is NULL, the default.
fn donor_list(donors: &[Donor]) -> String {
    let list: Vec<String> = donors
        .iter()
        .map(|donor| format!("{}:{}", donor.host, donor.port))
        .collect();
    match list.is_empty() {
        true => "NULL".into(),
        false => quote::string(&list.join(",")),
    }
}

/// Replaces all data of this server by the donor's, over TLS. The server's identity stays.
/// XA transactions that were prepared before a restart hold locks that a clone into this server would wait for,
/// and fail. Rolls all of them back, without a word in the binary log; returns how many.
pub async fn roll_back_prepared(session: &mut Session, deadline: Deadline) -> Result<usize, Error> {
    const DOING: &str = "roll back prepared transactions";
    let rows = session.rows(DOING, "XA RECOVER CONVERT XID", deadline).await?;
    let statements = rows.iter().map(rollback);
    let statements = statements.collect::<Result<Vec<String>, Error>>()?;
    if !statements.is_empty() {
        session
            .run(DOING, "SET SESSION sql_log_bin = 0", deadline)
            .await?;
    }
    for sql in &statements {
        session.run(DOING, sql, deadline).await?;
    }
    Ok(statements.len())
}

/// The identifier's two parts stand behind one another, as hexadecimal digits.
fn rollback(row: &Row) -> Result<String, Error> {
    let format: i64 = row.parse("formatID")?;
    let first: usize = row.parse("gtrid_length")?;
    let data = row.text("data")?;
    let digits = data.strip_prefix("0x").unwrap_or(data);
    let parts = digits.split_at_checked(first.saturating_mul(2));
    let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    match parts.filter(|_| is_hex) {
        Some((one, two)) => Ok(format!("XA ROLLBACK X'{one}', X'{two}', {format}")),
        None => {
            let what = "the identifier is not what it says".to_owned();
            Err(Error::wrong("roll back prepared transactions", what))
        }
    }
}

/// Whoever gives up waiting does not stop the clone.
pub async fn clone_from(
    session: &mut Session,
    donor: &Donor,
    credentials: &Credentials,
    deadline: Deadline,
) -> Result<Ended, Error> {
    let sql = Zeroizing::new(format!(
        "CLONE INSTANCE FROM {}@{}:{} IDENTIFIED BY {} REQUIRE SSL",
        quote::string(&credentials.user),
        quote::string(&donor.host),
        donor.port,
        *Zeroizing::new(quote::string(credentials.password.expose())),
    ));
    match session
        .run_secret("clone", sql, &credentials.password, deadline)
        .await
    {
        // The server has started itself again before it could answer.
        Ok(_) | Err(Error::Lost { .. }) => Ok(Ended::Unknown),
        Err(error) if error.code() == Some(RESTART_FAILED) => Ok(Ended::Cloned),
        Err(error) => Err(error),
    }
}

/// The last clone into this server, kept over its restart. An error without the plugin.
pub async fn state(session: &mut Session, deadline: Deadline) -> Result<Option<State>, Error> {
    let sql = "SELECT STATE AS state, BEGIN_TIME AS began, SOURCE AS source, ERROR_NO AS code, ERROR_MESSAGE AS message, \
         BINLOG_FILE AS binlog_file, BINLOG_POSITION AS binlog_position, \
         GTID_EXECUTED AS gtid_executed FROM performance_schema.clone_status";
    let rows = session.rows("read the state of a clone", sql, deadline).await?;
    rows.first().map(parse_state).transpose()
}

/// Stage by stage, in their order.
pub async fn progress(session: &mut Session, deadline: Deadline) -> Result<Vec<Stage>, Error> {
    let sql = "SELECT STAGE AS stage, STATE AS state, ESTIMATE AS estimate, DATA AS data, \
         NETWORK AS network FROM performance_schema.clone_progress";
    let rows = session
        .rows("read the progress of a clone", sql, deadline)
        .await?;
    rows.iter().map(parse_stage).collect()
}

fn phase(row: &Row) -> Result<Phase, Error> {
    match row.text("state")? {
        "Not Started" => Ok(Phase::NotStarted),
        "In Progress" => Ok(Phase::InProgress),
        "Completed" => Ok(Phase::Completed),
        "Failed" => Ok(Phase::Failed),
        other => Err(Error::wrong(
            "read the state of a clone",
            format!("the state is {other:?}"),
        )),
    }
}

fn parse_state(row: &Row) -> Result<State, Error> {
    Ok(State {
        phase: phase(row)?,
        began: row.maybe("began")?.unwrap_or_default().to_owned(),
        source: row.maybe("source")?.unwrap_or_default().to_owned(),
        code: row.parse_maybe("code")?.unwrap_or(0),
        message: row.maybe("message")?.unwrap_or_default().to_owned(),
        binlog_file: row.maybe("binlog_file")?.unwrap_or_default().to_owned(),
        binlog_position: row.parse_maybe("binlog_position")?.unwrap_or(0),
        gtid_executed: row.parse_maybe("gtid_executed")?.unwrap_or_default(),
    })
}

fn parse_stage(row: &Row) -> Result<Stage, Error> {
    Ok(Stage {
        name: row.text("stage")?.to_owned(),
        phase: phase(row)?,
        estimated_bytes: row.parse_maybe("estimate")?.unwrap_or(0),
        copied_bytes: row.parse_maybe("data")?.unwrap_or(0),
        network_bytes: row.parse_maybe("network")?.unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read() {
        for (text, wanted) in [
            ("Not Started", Phase::NotStarted),
            ("In Progress", Phase::InProgress),
            ("Completed", Phase::Completed),
            ("Failed", Phase::Failed),
        ] {
            let row = Row::of(&[
                ("state", Some(text)),
                ("began", Some("2026-01-01 00:00:00.000")),
                ("source", Some("db-1:3306")),
                ("code", Some("0")),
                ("message", Some("")),
                ("binlog_file", None),
                ("binlog_position", Some("157")),
                ("gtid_executed", Some("")),
            ]);
            let state = parse_state(&row).unwrap();
            assert_eq!(state.phase, wanted);
            assert!(state.gtid_executed.is_empty());
            assert_eq!(state.binlog_position, 157);
        }
        let odd = Row::of(&[("state", Some("Tired"))]);
        assert!(parse_state(&odd).is_err());
    }

    #[test]
    fn donors_are_listed_without_spaces() {
        let donor = |host: &str| Donor {
            host: host.into(),
            port: 3306,
        };
        assert_eq!(donor_list(&[]), "NULL");
        assert_eq!(donor_list(&[donor("a"), donor("b")]), "'a:3306,b:3306'");
    }

    #[test]
    fn stages_are_read() {
        let row = Row::of(&[
            ("stage", Some("FILE COPY")),
            ("state", Some("In Progress")),
            ("estimate", Some("100")),
            ("data", Some("40")),
            ("network", None),
        ]);
        let stage = parse_stage(&row).unwrap();
        assert_eq!(
            (
                stage.name.as_str(),
                stage.estimated_bytes,
                stage.copied_bytes,
                stage.network_bytes
            ),
            ("FILE COPY", 100, 40, 0)
        );
    }

    #[test]
    fn a_prepared_transaction_is_named_by_its_parts() {
        let row = |data| {
            let columns = [
                ("formatID", Some("1")),
                ("gtrid_length", Some("2")),
                ("data", Some(data)),
            ];
            Row::of(&columns)
        };
        assert_eq!(
            rollback(&row("0x616263")).unwrap(),
            "XA ROLLBACK X'6162', X'63', 1"
        );
        assert!(rollback(&row("0x61")).is_err());
        assert!(rollback(&row("0x6162'6")).is_err());
    }
}
