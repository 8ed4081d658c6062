//! Owns the proof of how an old primary comes back with what nobody acknowledged: cut back or copied anew.
//! It must not pass where anything differs from the new primary, or where evidence is missing.

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, Read, Seek, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use binlog::Log;
use tokio::task::JoinHandle;
use topology::assignment::Role;
use topology::gtid::{GtidSet, Uuid};
use topology::record::Record;
use topology::report::{Process, Removal, Removed, Report};

use crate::block_on;
use crate::client::{Client, code};
use crate::controller::Cluster;
use crate::place::Place;

const PATIENCE: Duration = Duration::from_secs(600);
/// So many MiB has the large transaction: from 1,024 on it is too large for the archive.
const LARGE: &str = "INSTANCE_LARGE_MIB";
const ARCHIVE_MIB: u32 = 1_024;
/// Of the agent: the log is read in pieces, whatever is in it.
const AGENT_PEAK_LIMIT_KIB: u64 = 64 << 10;

#[derive(Clone, Copy)]
enum Write {
    Row,
    Compressed,
    Megabytes(u32),
    Table,
    Xa,
}

async fn write(mut app: Client, what: Write) -> mysql_async::Result<()> {
    match what {
        Write::Row | Write::Compressed => app.insert().await,
        Write::Megabytes(count) => app.insert_megabytes(count).await,
        Write::Table => app.make_other_table().await,
        Write::Xa => app.prepare_xa().await,
    }
}

fn last_log(place: &Place) -> PathBuf {
    let data = place.outside.join("data/mysql");
    let index = fs::read_to_string(data.join("binlog.index")).unwrap();
    data.join(index.lines().last().unwrap().rsplit('/').next().unwrap())
}

/// What stands in the last log, as far as it is written.
fn logged(log: &Path) -> GtidSet {
    let file = File::open(log).unwrap();
    let mut log = Log::open(BufReader::new(file)).unwrap();
    let mut all = GtidSet::new();
    while let Ok(Some(group)) = log.next_group() {
        all.insert(group.gtid);
    }
    all
}

/// A primary whose replicas acknowledge nothing more: the next epoch is claimed.
struct Losing {
    cluster: Cluster,
    claimed: Record,
    cut: GtidSet,
    old: Uuid,
    writing: Vec<JoinHandle<mysql_async::Result<()>>>,
}

impl Losing {
    async fn new(test: &str) -> Self {
        Self::of(Cluster::new(test, 3).await).await
    }

    async fn of(mut cluster: Cluster) -> Self {
        let mut app = cluster.members[0].place.app("first").await.unwrap();
        app.make_table().await.unwrap();
        app.make_big_table().await.unwrap();
        // What was acknowledged, several at once, in one log with what is not.
        let mut writers = Vec::new();
        for _ in 0..8 {
            let app = cluster.members[0].place.app("first").await.unwrap();
            writers.push(tokio::spawn(write(app, Write::Row)));
        }
        for writer in writers {
            writer.await.unwrap().unwrap();
        }
        let mut claimed = cluster.record.next_epoch();
        claimed.is_choosing = true;
        let mut cut = GtidSet::new();
        for member in &mut cluster.members[1..] {
            member.assign(Some(&claimed), Role::Hold).await;
        }
        for at in 1..3 {
            let server = cluster.members[at].settled().await.server.unwrap();
            let all = server.executed.union(&server.received);
            // One of them may have a heartbeat more: it leads.
            if !all.is_subset(&cut) {
                assert!(cut.is_subset(&all));
                cut = all;
                cluster.members.swap(1, at);
            }
        }
        let old = cluster.members[0].seen().incarnation;
        Self {
            cluster,
            claimed,
            cut,
            old,
            writing: Vec::new(),
        }
    }

    /// By a client that waits in vain; until it is in the log.
    async fn write(&mut self, what: Write) {
        let place = &self.cluster.members[0].place;
        let compression = ["OFF", "ON"][usize::from(matches!(what, Write::Compressed))];
        let mut root = place.root().await;
        root.set("binlog_transaction_compression", compression)
            .await
            .unwrap();
        let app = place.app("first").await.unwrap();
        let before = logged(&last_log(place)).count();
        self.writing.push(tokio::spawn(write(app, what)));
        let began = Instant::now();
        while logged(&last_log(&self.cluster.members[0].place)).count() == before {
            assert!(began.elapsed() < PATIENCE, "it is never logged");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// mysqld is dead, and its agent lives. Returns a copy of the last log.
    async fn crash(&mut self) -> PathBuf {
        self.die().await;
        self.ended().await
    }

    async fn die(&mut self) {
        let primary = &mut self.cluster.members[0];
        primary.place.kill_mysqld();
        primary
            .until("its end", |report| {
                matches!(report.process, Process::Ended { .. })
            })
            .await;
    }

    async fn ended(&mut self) -> PathBuf {
        let place = &self.cluster.members[0].place;
        let copy = place.outside.join("the-last-log");
        fs::copy(last_log(place), &copy).unwrap();
        for writing in self.writing.drain(..) {
            assert_ne!(
                code(&writing.await.unwrap()),
                0,
                "nobody was told that it succeeded"
            );
        }
        copy
    }

    /// The second is primary, the third follows it, and the first knows what counts.
    async fn fail_over(&mut self) -> Instant {
        let mut record = self.claimed.revised();
        record.is_choosing = false;
        record.primary = self.cluster.members[1].place.member.clone();
        record.cut = Some(self.cut.clone());
        self.cluster.record = record.clone();
        let began = Instant::now();
        let members = &mut self.cluster.members;
        members[0].assign(Some(&record), Role::Hold).await;
        let source = members[1].at();
        members[1]
            .assign(Some(&record), Role::Primary { wait_for: 1 })
            .await;
        members[2].assign(Some(&record), Role::Replica { source }).await;
        members[1].settled().await;
        began
    }

    async fn up(&mut self) -> Report {
        let member = &mut self.cluster.members[0];
        let report = member
            .until("being up again", |report| {
                report.process == Process::Running && report.server.is_some() && report.is_settled
            })
            .await;
        println!("{:?}", report.removed.as_ref().map(Removed::to_string));
        report
    }

    /// It has what counts, and is another than before.
    async fn is_cut_back(&mut self, lost: &GtidSet) {
        let removed = self.cuts_back().await;
        self.is_told(&removed, lost);
        self.follows().await;
    }

    async fn cuts_back(&mut self) -> Removed {
        let report = self.up().await;
        let server = report.server.unwrap();
        assert!(server.executed.is_subset(&self.cut), "{}", server.executed);
        assert_ne!(server.incarnation, self.old);
        let removed = report.removed.unwrap();
        assert_eq!(removed.how, Removal::Cut);
        removed
    }

    /// It still has what nobody acknowledged, until all is copied.
    async fn is_copied(&mut self, lost: &GtidSet, because: &str) {
        let removed = self.copies(because).await;
        self.is_told(&removed, lost);
        self.follows().await;
    }

    async fn copies(&mut self, because: &str) -> Removed {
        let report = self.up().await;
        let server = report.server.unwrap();
        assert!(!server.executed.is_subset(&self.cut), "{}", server.executed);
        let record = self.cluster.record.clone();
        let donor = self.cluster.members[1].at();
        let instead_of = server.incarnation;
        let member = &mut self.cluster.members[0];
        member
            .assign(Some(&record), Role::Clone { donor, instead_of })
            .await;
        let report = member.settled().await;
        assert_ne!(report.server.unwrap().incarnation, instead_of);
        let removed = report.removed.unwrap();
        println!("{removed}");
        let Removal::Copied { because: told } = &removed.how else {
            panic!("{removed}");
        };
        assert!(
            told.as_ref().is_some_and(|told| told.contains(because)),
            "{told:?}"
        );
        removed
    }

    /// Exactly these, and `mysqlbinlog` reads them from the archive.
    fn is_told(&self, removed: &Removed, lost: &GtidSet) {
        is_named(removed, lost);
        assert_eq!(removed.left_out, None);
        assert_eq!(self.archived(), *lost);
    }

    fn archived(&self) -> GtidSet {
        let place = &self.cluster.members[0].place;
        let archives = fs::read_dir(place.outside.join("data/holdfast/archive")).unwrap();
        let mut found = GtidSet::new();
        for archive in archives.flatten() {
            let name = archive.file_name().into_string().unwrap();
            let text = place.mysqlbinlog(&format!("data/holdfast/archive/{name}"));
            let next = text.lines().filter_map(|line| {
                let (_, rest) = line.split_once("GTID_NEXT= '")?;
                rest.split('\'').next()?.parse().ok()
            });
            next.for_each(|gtid| found.insert(gtid));
        }
        found
    }

    /// As a replica that has every transaction and every row of the new primary, and nothing else.
    async fn follows(&mut self) {
        let record = self.cluster.record.clone();
        let source = self.cluster.members[1].at();
        let members = &mut self.cluster.members;
        members[0].assign(Some(&record), Role::Replica { source }).await;
        members[0].settled().await;
        let app = members[1].place.app("first").await.unwrap();
        write(app, Write::Row).await.unwrap();
        let primary = members[1].settled().await.server.unwrap().executed;
        let report = members[0]
            .until("the rest", |report| {
                let server = report.server.as_ref();
                server.is_some_and(|server| primary.is_subset(&server.executed))
            })
            .await;
        let own = members[1].seen().incarnation;
        let surplus = report.server.unwrap().executed.subtract(&primary);
        assert!(surplus.sources().all(|source| source.uuid == own), "{surplus}");
        let (mut primary, mut replica) = (members[1].place.root().await, members[0].place.root().await);
        let sums = primary.checksum().await;
        assert!(!sums.is_empty());
        assert_eq!(replica.checksum().await, sums);
    }
}

fn is_named(removed: &Removed, lost: &GtidSet) {
    assert_eq!(u128::from(removed.count), lost.count());
    assert_eq!(removed.transactions.parse::<GtidSet>().unwrap(), *lost);
}

/// Writes these in vain, crashes, and is replaced. Returns what was lost.
async fn lose(losing: &mut Losing, writes: &[Write]) -> GtidSet {
    for what in writes {
        losing.write(*what).await;
    }
    let copy = losing.crash().await;
    losing.fail_over().await;
    let lost = logged(&copy).subtract(&losing.cut);
    assert!(lost.count() >= writes.len() as u128, "{lost}");
    lost
}

#[test]
fn what_nobody_acknowledged_is_cut_off() {
    block_on(async {
        let mut losing = Losing::new("cut").await;
        let lost = lose(&mut losing, &[Write::Row, Write::Row, Write::Row]).await;
        losing.is_cut_back(&lost).await;
        // It is told from then on, also by another agent.
        let member = &mut losing.cluster.members[0];
        member.place.kill_agent();
        member.place.start();
        let report = member.until("being back", |report| report.is_settled).await;
        assert_eq!(u128::from(report.removed.unwrap().count), lost.count());
    });
}

#[test]
fn a_compressed_transaction_is_cut_off() {
    block_on(async {
        let mut losing = Losing::new("zip").await;
        let lost = lose(&mut losing, &[Write::Compressed, Write::Row, Write::Compressed]).await;
        losing.is_cut_back(&lost).await;
    });
}

#[test]
fn a_large_transaction_is_cut_off() {
    block_on(async {
        let size = std::env::var(LARGE).map_or(100, |size| size.parse().unwrap());
        let mut losing = Losing::new("large").await;
        for what in [Write::Row, Write::Megabytes(size)] {
            losing.write(what).await;
        }
        losing.die().await;
        // The next epoch is claimed: a copy of so large a log takes longer than its agent would wait otherwise.
        let claimed = losing.claimed.clone();
        losing.cluster.members[0].assign(Some(&claimed), Role::Hold).await;
        let copy = losing.ended().await;
        losing.fail_over().await;
        let lost = logged(&copy).subtract(&losing.cut);
        let began = Instant::now();
        let removed = losing.cuts_back().await;
        if size < ARCHIVE_MIB {
            losing.is_told(&removed, &lost);
        } else {
            is_named(&removed, &lost);
            let why = removed.left_out.unwrap();
            assert!(why.contains("the archive is full"), "{why}");
            let archived = losing.archived();
            assert!(!archived.is_empty() && archived.is_subset(&lost) && archived != lost);
        }
        losing.follows().await;
        let peak_kib = losing.cluster.members[0].place.agent_peak_kib();
        println!("{size} MiB: {peak_kib} KiB at most, {:?}", began.elapsed());
        assert!(peak_kib < AGENT_PEAK_LIMIT_KIB);
    });
}

#[test]
fn an_encrypted_log_is_left_whole_and_all_is_copied() {
    block_on(async {
        let mut losing = Losing::of(Cluster::encrypted("crypt", 3).await).await;
        let primary = &mut losing.cluster.members[0];
        let log = last_log(&primary.place);
        assert_eq!(fs::read(&log).unwrap()[..4], *b"\xfdbin");
        let app = primary.place.app("first").await.unwrap();
        losing.writing.push(tokio::spawn(write(app, Write::Row)));
        primary.until_a_commit_waits().await;
        let copy = losing.crash().await;
        losing.fail_over().await;
        let executed = losing.up().await.server.unwrap().executed;
        let lost = executed.subtract(&losing.cut);
        assert!(!lost.is_empty());
        assert_eq!(
            fs::metadata(&log).unwrap().len(),
            fs::metadata(&copy).unwrap().len()
        );
        let removed = losing.copies("encrypted").await;
        is_named(&removed, &lost);
        let why = removed.left_out.unwrap();
        println!("{why}");
        assert!(why.contains("encrypted") && losing.archived().is_empty(), "{why}");
        losing.follows().await;
    });
}

#[test]
fn a_log_that_asks_for_another_waits_and_is_cut_off() {
    block_on(async {
        let mut losing = Losing::new("rotate").await;
        let place = &losing.cluster.members[0].place;
        place.root().await.set("max_binlog_size", "4096").await.unwrap();
        let log = last_log(place);
        let lost = lose(&mut losing, &[Write::Row, Write::Row, Write::Row]).await;
        // mysqld begins no other before all of this one is committed.
        assert!(lost.is_subset(&logged(
            &losing.cluster.members[0].place.outside.join("the-last-log")
        )));
        let name = log.file_name().unwrap().to_str().unwrap().to_owned();
        println!("the tail is in {name}");
        losing.is_cut_back(&lost).await;
    });
}

#[test]
fn a_torn_event_is_cut_off_with_the_rest_after_the_agent_died_too() {
    block_on(async {
        let mut losing = Losing::new("torn").await;
        losing.write(Write::Row).await;
        losing.write(Write::Row).await;
        losing.cluster.members[0].place.kill_agent();
        let copy = losing.ended().await;
        let mut log = Log::open(BufReader::new(File::open(&copy).unwrap())).unwrap();
        let first = log.next_group().unwrap().unwrap();
        // The beginning of a transaction: its GTID, and a part of what follows.
        let mut torn = vec![0; usize::try_from(first.end - first.at).unwrap() - 10];
        let mut source = File::open(&copy).unwrap();
        source.seek(SeekFrom::Start(first.at)).unwrap();
        source.read_exact(&mut torn).unwrap();
        let place = &mut losing.cluster.members[0].place;
        let log = OpenOptions::new().append(true).open(last_log(place));
        log.unwrap().write_all(&torn).unwrap();
        place.start();
        losing.fail_over().await;
        let lost = logged(&copy).subtract(&losing.cut);
        losing.is_cut_back(&lost).await;
    });
}

#[test]
fn with_a_definition_all_is_copied() {
    block_on(async {
        let mut losing = Losing::new("define").await;
        let lost = lose(&mut losing, &[Write::Row, Write::Table]).await;
        losing.is_copied(&lost, "it is a statement").await;
    });
}

#[test]
fn with_an_xa_transaction_all_is_copied() {
    block_on(async {
        let mut losing = Losing::new("xa").await;
        let lost = lose(&mut losing, &[Write::Row, Write::Xa]).await;
        losing.is_copied(&lost, "XA").await;
    });
}

#[test]
fn what_was_committed_unseen_is_noticed_and_all_is_copied() {
    block_on(async {
        let mut losing = Losing::new("unseen").await;
        let mut root = losing.cluster.members[0].place.root().await;
        root.insert_unwaiting().await.unwrap();
        let copy = losing.crash().await;
        losing.fail_over().await;
        let lost = logged(&copy).subtract(&losing.cut);
        losing.is_copied(&lost, "mysqld had committed them").await;
    });
}

#[test]
fn a_primary_that_started_again_has_committed_all_and_is_copied() {
    block_on(async {
        let mut losing = Losing::new("again2").await;
        losing.write(Write::Row).await;
        let copy = losing.crash().await;
        let lost = logged(&copy).subtract(&losing.cut);
        // Nobody claims anything: it starts by itself, and stays closed.
        let began = Instant::now();
        let primary = &mut losing.cluster.members[0];
        primary
            .until("a start", |report| report.process == Process::Running)
            .await;
        println!("started by itself after {:?}", began.elapsed());
        assert!(began.elapsed() > Duration::from_millis(1_500));
        primary.place.kill_mysqld();
        primary
            .until("its end", |report| {
                matches!(report.process, Process::Ended { .. })
            })
            .await;
        losing.fail_over().await;
        // With the heartbeat that it wrote since.
        let report = losing.up().await;
        let all = report.server.unwrap().executed.subtract(&losing.cut);
        assert!(lost.is_subset(&all));
        losing.is_copied(&all, "an earlier binary log").await;
    });
}
