//! Owns the proof of the checker against a real mysqld: what it must find, and must not.
//! It must not pass where there is no mysqld.
#![cfg(test)]

mod server;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use checker::classify::{Failure, classify};
use checker::history::Reader;
use checker::judge::Judge;
use checker::run::{Config, Summary, run};
use checker::sql::{Reaper, Session, Target, setup};
use checker::{Event, Kind, Outcome, Piece, Stage, Verdict, members};
use server::Server;
use tokio::time::sleep;

const LONG: Duration = Duration::from_secs(30);

fn block_on<F: Future>(future: F) -> F::Output {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    tokio::runtime::Runtime::new().unwrap().block_on(future)
}

/// A new place for one test's files.
fn place(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("mysqld-{name}"));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn config(server: &Server, history: PathBuf, clients: u32) -> Config {
    Config {
        target: server.target("app"),
        replicas: None,
        clients,
        read_clients: 2,
        registers: 4,
        history,
        deadline: Duration::from_millis(2_000),
        connect_deadline: Duration::from_millis(1_000),
        max_rate: None,
    }
}

async fn verdict(server: &Server, history: &Path) -> Verdict {
    let mut judge = Judge::read(Reader::open(history).unwrap()).unwrap();
    members::read(&server.target("app"), LONG, Some(judge.run()), |piece| {
        judge.piece(&piece);
        std::future::ready(Ok(()))
    })
    .await
    .unwrap();
    let verdict = judge.finish().unwrap();
    println!("{verdict}");
    verdict
}

/// Runs a load for `length`, with `during` happening to the server meanwhile.
async fn load<F>(config: Config, length: Duration, during: F) -> Summary
where
    F: Future<Output = ()>,
{
    let (done, ()) = tokio::join!(run(config, sleep(length)), during);
    done.unwrap()
}

fn checker(server: &Server, arguments: &[&str]) -> Output {
    let target = server.target("app");
    let output = Command::new(env!("CARGO_BIN_EXE_checker"))
        .args(arguments)
        .args(["--user", "app", "--port", &target.port.to_string()])
        .env("CHECKER_PASSWORD", server.password())
        .output()
        .unwrap();
    println!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// The binary from end to end: load, dump, verdict against both, and a wrong password.
#[test]
fn steady_load_is_clean() {
    let mut server = Server::start("steady", &[]);
    block_on(server.ready());
    let place = place("steady");
    let path = |name: &str| place.join(name).to_str().unwrap().to_owned();
    let (history, rows) = (path("history.jsonl"), path("rows.jsonl"));
    let host = ["--host", "127.0.0.1", "--tls", "insecure"];
    let with = |first: &[&'static str], rest: &[&str]| -> Vec<String> {
        first
            .iter()
            .chain(&host)
            .chain(rest)
            .map(|word| (*word).to_owned())
            .collect()
    };
    let call = |words: Vec<String>| {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        checker(&server, &words)
    };
    assert!(call(with(&["setup"], &[])).status.success());
    let rest = [
        "--clients",
        "8",
        "--read-clients",
        "2",
        "--duration",
        "5s",
        "--history",
        &history,
        "--read-host",
        "127.0.0.1",
    ];
    assert!(call(with(&["run"], &rest)).status.success());
    assert!(
        !call(with(&["run"], &rest)).status.success(),
        "an existing history is never overwritten"
    );
    assert!(call(with(&["dump"], &["--rows-file", &rows])).status.success());

    let judged = call(with(&["judge"], &["--history", &history]));
    assert_eq!(judged.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&judged.stdout).starts_with("CLEAN"));
    let offline = Command::new(env!("CARGO_BIN_EXE_checker"))
        .args(["judge", "--history", &history, "--rows-file", &rows, "-o", "json"])
        .output()
        .unwrap();
    assert_eq!(offline.status.code(), Some(0));
    let offline: Verdict = serde_json::from_slice(&offline.stdout).unwrap();
    assert!(offline.is_clean() && offline.counts.acknowledged > 500 && offline.counts.reads > 100);
    assert!(offline.counts.replica_reads > 100, "{:?}", offline.counts);
    assert_eq!((offline.counts.failed, offline.counts.unknown), (0, 0));

    // A row that nobody sent, and one that is gone.
    block_on(server.admin(
        "INSERT INTO writes (run, client, seq, payload) SELECT run, 9999, 1, 'x' FROM writes LIMIT 1",
    ));
    let admin = "DELETE FROM writes WHERE register IS NULL ORDER BY id LIMIT 1";
    block_on(server.admin(admin));
    let judged = call(with(&["judge"], &["--history", &history, "-o", "json"]));
    assert_eq!(judged.status.code(), Some(1));
    let judged: Verdict = serde_json::from_slice(&judged.stdout).unwrap();
    assert_eq!(judged.kinds(), [Kind::LostWrite, Kind::ForeignRow]);

    nobody_judges_without_a_database(&server, &history);
}

fn nobody_judges_without_a_database(server: &Server, history: &str) {
    let nobody = Command::new(env!("CARGO_BIN_EXE_checker"))
        .args([
            "judge",
            "--history",
            history,
            "--host",
            "127.0.0.1",
            "--user",
            "app",
        ])
        .args(["--port", &server.target("app").port.to_string()])
        .env("CHECKER_PASSWORD", "wrong")
        .output()
        .unwrap();
    assert_eq!(nobody.status.code(), Some(2), "no database, no verdict");
}

#[test]
fn a_crash_without_flushing_loses_acknowledged_writes_and_is_caught() {
    // Flushed by the clock only, and that seldom: the crash cannot come just after a flush.
    let clock = "--innodb-flush-log-at-timeout=60";
    let options = [
        "--innodb-flush-log-at-trx-commit=0",
        clock,
        "--sync-binlog=0",
        "--skip-log-bin",
    ];
    let mut server = Server::start("unflushed", &options);
    let place = place("unflushed");
    block_on(async {
        server.ready().await;
        // How much a crash loses depends on when the engine last wrote its pages: until some.
        for round in 0..5 {
            let history = place.join(format!("history-{round}.jsonl"));
            load(
                config(&server, history.clone(), 8),
                Duration::from_millis(3_700),
                async {
                    sleep(Duration::from_millis(2_500)).await;
                    server.crash_and_restart();
                },
            )
            .await;
            server.ready().await;
            let expected = lost(&server, &history).await;
            let verdict = verdict(&server, &history).await;
            assert_eq!(
                verdict.found(Kind::LostWrite).map_or(0, |found| found.count),
                expected
            );
            assert!(verdict.found(Kind::DuplicateRow).is_none() && verdict.found(Kind::ForeignRow).is_none());
            if expected > 0 {
                assert!(!verdict.is_clean());
                return;
            }
        }
        panic!("five crashes without flushing lost nothing: the proof proves nothing");
    });
}

/// Acknowledged writes without a row, counted without the judge.
async fn lost(server: &Server, history: &Path) -> u64 {
    let (mut run, mut ops, mut acknowledged) = (0, HashMap::new(), HashSet::new());
    for event in Reader::open(history).unwrap() {
        match event.unwrap().event {
            Event::Start(start) => run = start.run,
            Event::Invoke { id, op } => drop(ops.insert(id, op)),
            Event::Complete(done) if done.outcome == Outcome::Ok && ops[&done.id].writes() => {
                acknowledged.insert(done.id);
            }
            _ => {}
        }
    }
    let target = server.target("app");
    let read = members::read(&target, LONG, Some(run), |piece| {
        if let Piece::Row(row) = piece {
            acknowledged.remove(&row.op());
        }
        std::future::ready(Ok(()))
    });
    read.await.unwrap();
    acknowledged.len() as u64
}

#[test]
fn a_crash_with_flushing_is_clean() {
    let options = ["--innodb-flush-log-at-trx-commit=1", "--sync-binlog=1"];
    let mut server = Server::start("flushed", &options);
    let history = place("flushed").join("history.jsonl");
    block_on(async {
        server.ready().await;
        load(
            config(&server, history.clone(), 8),
            Duration::from_secs(9),
            async {
                sleep(Duration::from_millis(2_500)).await;
                server.crash_and_restart();
            },
        )
        .await;
        let verdict = verdict(&server, &history).await;
        assert!(verdict.is_clean());
        assert!(verdict.counts.acknowledged > 300);
        assert!(
            verdict.service.longest_gap_ns() > 300_000_000,
            "a restart takes longer than that"
        );
    });
}

#[test]
fn a_frozen_server_is_a_gap_of_its_length() {
    let mut server = Server::start("frozen", &[]);
    let history = place("frozen").join("history.jsonl");
    block_on(async {
        server.ready().await;
        load(
            config(&server, history.clone(), 8),
            Duration::from_secs(8),
            async {
                sleep(Duration::from_millis(2_000)).await;
                server.signal("STOP");
                sleep(Duration::from_millis(3_000)).await;
                server.signal("CONT");
            },
        )
        .await;
        let verdict = verdict(&server, &history).await;
        assert!(verdict.is_clean());
        let gap = verdict.service.longest[0];
        assert!((2_950_000_000..4_000_000_000).contains(&gap.length_ns), "{gap:?}");
        assert_eq!((verdict.service.gaps_over_1_s, gap.checker_paused_ns), (1, 0));
    });
}

#[test]
fn a_read_only_server_fails_writes_and_shows_none() {
    let mut server = Server::start("readonly", &[]);
    let history = place("readonly").join("history.jsonl");
    block_on(async {
        server.ready().await;
        load(
            config(&server, history.clone(), 8),
            Duration::from_secs(6),
            async {
                for _ in 0..3 {
                    sleep(Duration::from_millis(1_000)).await;
                    server.admin("SET GLOBAL read_only = ON").await;
                    sleep(Duration::from_millis(500)).await;
                    server.admin("SET GLOBAL read_only = OFF").await;
                }
            },
        )
        .await;
        let verdict = verdict(&server, &history).await;
        assert!(verdict.is_clean());
        assert!(verdict.counts.failed > 20, "{:?}", verdict.counts);
        assert_eq!(verdict.counts.unknown, 0, "read-only is never a doubt");
        let refused = |stage: Stage| {
            Reader::open(&history)
                .unwrap()
                .filter(|event| {
                    matches!(&event.as_ref().unwrap().event, Event::Complete(done)
                        if done.stage == stage && done.code == Some(1290) && done.outcome == Outcome::Failed)
                })
                .count()
        };
        let (statement, commit, auto) = (
            refused(Stage::Statement),
            refused(Stage::Commit),
            refused(Stage::Autocommit),
        );
        println!("1290: {statement} at a statement, {commit} at COMMIT, {auto} in autocommit");
        assert!(statement > 0 && auto > 0);
        a_commit_on_a_read_only_server_is_rolled_back(&server).await;
    });
}

/// The rarest path of the table of codes, made on purpose: the server turned read-only
/// between the statement and its COMMIT.
async fn a_commit_on_a_read_only_server_is_rolled_back(server: &Server) {
    let reaper = Reaper::start();
    let mut session = Session::connect(&server.target("app"), LONG, LONG, &reaper)
        .await
        .unwrap();
    let insert = "INSERT INTO writes (run, client, seq, payload) VALUES (1, 1, 1, 'x')";
    session.run("begin", "START TRANSACTION").await.unwrap();
    session.run("insert", insert).await.unwrap();
    server.admin("SET GLOBAL read_only = ON").await;
    let failure = session.run("commit", "COMMIT").await.unwrap_err().failure();
    assert_eq!(failure, Failure::Server { code: 1290 });
    assert_eq!(classify(Stage::Commit, failure).0, Outcome::Failed);
    drop(session);
    server.admin("SET GLOBAL read_only = OFF").await;
    let target = server.target("app");
    let mut left = 0;
    let read = members::read(&target, LONG, Some(1), |_| {
        left += 1;
        std::future::ready(Ok(()))
    });
    read.await.unwrap();
    assert_eq!(left, 0, "a refused COMMIT left a row");
}

/// Two databases of one server stand for two members.
#[test]
fn members_are_compared_row_by_row() {
    let mut server = Server::start("members", &[]);
    let history = place("members").join("history.jsonl");
    block_on(async {
        server.ready().await;
        load(config(&server, history, 4), Duration::from_secs(1), async {}).await;
        let one = server.target("admin");
        let two = Target {
            database: "checker2".into(),
            ..one.clone()
        };
        setup(&two, LONG).await.unwrap();
        for table in ["writes", "registers"] {
            server
                .admin(&format!(
                    "INSERT INTO checker2.{table} SELECT * FROM checker.{table}"
                ))
                .await;
        }
        let both = [one, two.clone(), two];
        let moment = Duration::from_millis(600);
        assert_eq!(members::compare(&both, LONG, moment).await.unwrap(), []);

        server
            .admin("DELETE FROM checker2.writes ORDER BY id DESC LIMIT 1")
            .await;
        server
            .admin("UPDATE checker2.writes SET payload = 'y' ORDER BY id LIMIT 1")
            .await;
        server
            .admin("UPDATE checker2.registers SET version = version + 1 WHERE id = 2")
            .await;
        let found = members::compare(&both[..2], LONG, moment).await.unwrap();
        println!("{found:#?}");
        assert_eq!(found.len(), 3);
        server.admin("DROP DATABASE checker2").await;
        assert!(
            members::compare(&both[..2], LONG, moment).await.is_err(),
            "a member without the tables"
        );
    });
}

/// A history without its end, as a killed checker leaves it.
#[test]
fn a_killed_checker_leaves_a_history_that_can_be_judged() {
    let mut server = Server::start("killed", &[]);
    let history = place("killed").join("history.jsonl");
    block_on(server.ready());
    let mut child = Command::new(env!("CARGO_BIN_EXE_checker"))
        .args([
            "run",
            "--host",
            "127.0.0.1",
            "--user",
            "app",
            "--clients",
            "4",
            "--history",
        ])
        .arg(&history)
        .args(["--port", &server.target("app").port.to_string()])
        .env("CHECKER_PASSWORD", server.password())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(3));
    child.kill().unwrap();
    child.wait().unwrap();
    // The server ends the transactions of the dead client before it is asked.
    std::thread::sleep(Duration::from_millis(500));
    let verdict = block_on(verdict(&server, &history));
    assert!(verdict.is_clean());
    assert!(verdict.counts.unfinished > 0 && verdict.counts.acknowledged > 100);
    assert!(
        verdict.notes.iter().any(|note| note.contains("no end")),
        "{:?}",
        verdict.notes
    );
}
