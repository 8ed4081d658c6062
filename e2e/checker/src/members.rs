//! Owns reading whole tables, and the comparison of members with each other.
//! It must not judge rows against a history.

use std::cmp::Ordering;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::rows::{Change, Piece, Register, Row};
use crate::sql::{self, Reaper, Session, Target};
use crate::verdict::Example;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to read {host}:{port}")]
    Read {
        host: String,
        port: u16,
        source: sql::Error,
    },
    #[error("failed to read {host}:{port}: {what}")]
    Shape {
        host: String,
        port: u16,
        what: &'static str,
    },
    #[error("failed to take in a row")]
    Sink(#[from] crate::rows::Error),
    #[error("failed to compare {host}:{port}: its reader ended early")]
    Ended { host: String, port: u16 },
}

/// After this many differences two members are different enough.
const MAX_DIFFERENCES: usize = 1_000;
/// Rows on their way from a member to the comparison.
const QUEUE: usize = 1_024;
const RETRY: Duration = Duration::from_millis(500);

type Fields = (u64, u64, u32, u32, Option<u32>, Option<u64>, Option<u64>, String);

fn row(fields: Fields) -> Option<Row> {
    let (id, run, client, seq, register, version, found, payload) = fields;
    let change = match (register, version, found) {
        (Some(register), Some(version), Some(found)) => Some(Change {
            register,
            version,
            found,
        }),
        (None, None, None) => None,
        _ => return None,
    };
    Some(Row {
        id,
        run,
        client,
        seq,
        change,
        payload,
    })
}

/// Tries for as long as it would wait for an answer: a Service that has just been changed may lead nowhere.
async fn connect(target: &Target, deadline: Duration, reaper: &Reaper) -> Result<Session, sql::Error> {
    let began = Instant::now();
    loop {
        match Session::connect(target, deadline, deadline, reaper).await {
            Err(_) if began.elapsed() < deadline => sleep(RETRY).await,
            tried => return tried,
        }
    }
}

/// Reads rows by id, then registers, of one run or of all, in one snapshot.
pub async fn read<S, F>(
    target: &Target,
    deadline: Duration,
    run: Option<u64>,
    mut sink: S,
) -> Result<(), Error>
where
    S: FnMut(Piece) -> F,
    F: Future<Output = Result<(), Error>>,
{
    let failed = |source| Error::Read {
        host: target.host.clone(),
        port: target.port,
        source,
    };
    let shape = |what| Error::Shape {
        host: target.host.clone(),
        port: target.port,
        what,
    };
    let reaper = Reaper::start();
    let mut session = connect(target, deadline, &reaper).await.map_err(failed)?;
    let begin = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";
    session.run("begin a snapshot", begin).await.map_err(failed)?;
    let only = run.map_or_else(String::new, |run| format!("WHERE run = {run}"));
    let sql = format!(
        "SELECT id, run, client, seq, register, version, found, payload FROM writes FORCE INDEX (PRIMARY) {only} ORDER BY id"
    );
    let mut rows = Rows::open(&mut session, sql).await.map_err(failed)?;
    while let Some(fields) = rows.next::<Fields>().await.map_err(failed)? {
        let row = row(fields).ok_or(shape("a row with half a change"))?;
        sink(Piece::Row(row)).await?;
    }
    drop(rows);
    let sql = format!("SELECT run, id, version, value FROM registers {only} ORDER BY run, id");
    let mut rows = Rows::open(&mut session, sql).await.map_err(failed)?;
    while let Some((run, id, version, value)) = rows.next::<(u64, u32, u64, u64)>().await.map_err(failed)? {
        sink(Piece::Register(Register {
            run,
            id,
            version,
            value,
        }))
        .await?;
    }
    Ok(())
}

/// How many rows belong to other runs.
pub async fn count_others(target: &Target, deadline: Duration, run: u64) -> Result<u64, Error> {
    let failed = |source| Error::Read {
        host: target.host.clone(),
        port: target.port,
        source,
    };
    let reaper = Reaper::start();
    let mut session = connect(target, deadline, &reaper).await.map_err(failed)?;
    let sql = format!("SELECT COUNT(*) FROM writes WHERE run <> {run}");
    let mut rows = Rows::open(&mut session, sql).await.map_err(failed)?;
    Ok(rows
        .next::<(u64,)>()
        .await
        .map_err(failed)?
        .map_or(0, |(count,)| count))
}

/// A result set, row by row, each under the deadline.
struct Rows<'a> {
    result: mysql_async::QueryResult<'a, 'static, mysql_async::TextProtocol>,
    deadline: Duration,
}

impl<'a> Rows<'a> {
    async fn open(session: &'a mut Session, sql: String) -> Result<Rows<'a>, sql::Error> {
        let doing = "read a table";
        let (conn, deadline) = session.parts()?;
        let result = timeout(deadline, conn.query_iter(sql))
            .await
            .map_err(|_| sql::Error::Deadline { doing, deadline })?
            .map_err(|source| sql::Error::Mysql { doing, source })?;
        Ok(Rows { result, deadline })
    }

    async fn next<T: mysql_async::prelude::FromRow>(&mut self) -> Result<Option<T>, sql::Error> {
        let doing = "read a row";
        let row = timeout(self.deadline, self.result.next())
            .await
            .map_err(|_| sql::Error::Deadline {
                doing,
                deadline: self.deadline,
            })?
            .map_err(|source| sql::Error::Mysql { doing, source })?;
        row.map(|row| {
            mysql_async::from_row_opt(row).map_err(|error| {
                let source = mysql_async::DriverError::FromRow { row: error.0 }.into();
                sql::Error::Mysql { doing, source }
            })
        })
        .transpose()
    }
}

/// A member's pieces, read by a task of their own.
struct Member<'a> {
    target: &'a Target,
    pieces: mpsc::Receiver<Piece>,
    task: tokio::task::JoinHandle<Result<(), Error>>,
}

impl<'a> Member<'a> {
    fn open(target: &'a Target, deadline: Duration) -> Member<'a> {
        let (sender, pieces) = mpsc::channel(QUEUE);
        let own = target.clone();
        let task = tokio::spawn(async move {
            read(&own, deadline, None, |piece| {
                let sender = sender.clone();
                // The comparison may have seen enough and gone.
                async move {
                    let _ = sender.send(piece).await;
                    Ok(())
                }
            })
            .await
        });
        Member { target, pieces, task }
    }

    fn name(&self) -> String {
        format!("{}:{}", self.target.host, self.target.port)
    }

    /// `None` only after the reader has said that it read everything.
    async fn next(&mut self) -> Result<Option<Piece>, Error> {
        if let Some(piece) = self.pieces.recv().await {
            return Ok(Some(piece));
        }
        let ended = || Error::Ended {
            host: self.target.host.clone(),
            port: self.target.port,
        };
        (&mut self.task).await.map_err(|_| ended())??;
        Ok(None)
    }
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn key(piece: &Piece) -> (u8, u64, u64) {
    match piece {
        Piece::Row(row) => (0, row.id, 0),
        Piece::Register(register) => (1, register.run, u64::from(register.id)),
        Piece::End(_) => (2, 0, 0),
    }
}

fn difference(piece: &Piece, what: String) -> Example {
    match piece {
        Piece::Row(row) => Example {
            client: Some(row.client),
            seq: Some(row.seq),
            what: format!("row {} of run {}: {what}", row.id, row.run),
            ..Example::default()
        },
        Piece::Register(register) => Example {
            register: Some(register.id),
            what: format!("of run {}: {what}", register.run),
            ..Example::default()
        },
        Piece::End(_) => Example {
            what,
            ..Example::default()
        },
    }
}

async fn compare_two(one: &Target, other: &Target, deadline: Duration) -> Result<Vec<Example>, Error> {
    let mut left = Member::open(one, deadline);
    let mut right = Member::open(other, deadline);
    let (left_name, right_name) = (left.name(), right.name());
    let mut differences = Vec::new();
    let (mut a, mut b) = (left.next().await?, right.next().await?);
    loop {
        let order = match (&a, &b) {
            (None, None) => return Ok(differences),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => key(a).cmp(&key(b)),
        };
        if order == Ordering::Equal && a != b {
            let what = format!("{left_name} and {right_name} hold it with different content");
            differences.extend(a.as_ref().map(|piece| difference(piece, what)));
        }
        if order == Ordering::Less {
            let what = format!("{left_name} holds it, {right_name} does not");
            differences.extend(a.as_ref().map(|piece| difference(piece, what)));
        }
        if order == Ordering::Greater {
            let what = format!("{right_name} holds it, {left_name} does not");
            differences.extend(b.as_ref().map(|piece| difference(piece, what)));
        }
        if differences.len() >= MAX_DIFFERENCES {
            let what = format!("{left_name} and {right_name}: the comparison stopped here");
            differences.push(Example {
                what,
                ..Example::default()
            });
            return Ok(differences);
        }
        if order != Ordering::Greater {
            a = left.next().await?;
        }
        if order != Ordering::Less {
            b = right.next().await?;
        }
    }
}

/// Compares every member with the first, all runs and registers. Replicas may need a moment:
/// a difference or a silent member counts only after `patience`.
pub async fn compare(
    members: &[Target],
    deadline: Duration,
    patience: Duration,
) -> Result<Vec<Example>, Error> {
    let Some((first, others)) = members.split_first() else {
        return Ok(Vec::new());
    };
    let began = Instant::now();
    let mut all = Vec::new();
    for other in others {
        loop {
            let compared = compare_two(first, other, deadline).await;
            let late = began.elapsed() >= patience;
            match compared {
                Ok(differences) if differences.is_empty() || late => {
                    all.extend(differences);
                    break;
                }
                Err(error) if late => return Err(error),
                Ok(_) | Err(_) => sleep(RETRY).await,
            }
        }
    }
    Ok(all)
}
