//! Folders with logs that a mysqld wrote, looked at with one cut and another.
//! Must not need a mysqld.

use std::fs;
use std::path::PathBuf;

use topology::assignment::Server;
use topology::term::Term;

use super::*;
use crate::options::Options;

const CLOSED: &[u8] = include_bytes!("../../../binlog/src/tests/mysqld-9.7.4-sums.binlog");
/// With the transactions 16 to 18, in use.
const OPEN: &[u8] = include_bytes!("../../../binlog/src/tests/mysqld-9.7.4-bare.binlog");
const EARLIER: &str = "server:1-15:blue:1,eeeeeeee-eeee-eeee-eeee-eeeeeeeeeeee:70000";

/// Who the server is, where that does not matter.
const OTHER: Uuid = Uuid::from_bytes([9; 16]);

fn set(text: &str) -> GtidSet {
    let text = text.replace("earlier", EARLIER);
    text.replace("server", "283f33ca-e642-11f1-9843-02fc00000001")
        .parse()
        .unwrap()
}

struct Volume {
    paths: Paths,
    folder: PathBuf,
}

impl Volume {
    fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("holdfast-rejoin-{test}-{}", std::process::id()));
        let options = Options {
            member: "orders-0".into(),
            data: folder.clone(),
            tls: folder.clone(),
            passwords: folder.clone(),
            app: folder.clone(),
            address: None,
            mysql_port: 3306,
            replication: None,
            agent_port: 9306,
            http_port: 9307,
        };
        let paths = Paths::new(&options);
        fs::create_dir_all(&paths.own).unwrap();
        fs::create_dir_all(&paths.data).unwrap();
        fs::write(paths.data.join("binlog.000002"), CLOSED).unwrap();
        fs::write(paths.data.join("binlog.000003"), OPEN).unwrap();
        let index = "/somewhere/else/binlog.000002\n./binlog.000003\n";
        fs::write(paths.data.join("binlog.index"), index).unwrap();
        fs::write(&paths.started_on, "binlog.000002").unwrap();
        let identity = "[auto]\nserver-uuid=283f33ca-e642-11f1-9843-02fc00000001\n";
        fs::write(paths.auto_cnf(), identity).unwrap();
        Self { paths, folder }
    }

    fn last(&self) -> Vec<u8> {
        fs::read(self.paths.data.join("binlog.000003")).unwrap()
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn demoted(cut: &str) -> Assignment {
    let record = Record {
        acknowledged_by: 1,
        wait_for: 1,
        cut: Some(set(cut)),
        ..Record::of(
            "dddddddd-dddd-dddd-dddd-dddddddddddd".parse().unwrap(),
            Term::new(2, 4),
            "orders-1",
        )
    };
    Assignment {
        member: "orders-0".into(),
        record: Some(record),
        role: Role::Hold,
        server: Server::default(),
    }
}

#[test]
fn what_counts_for_nobody_is_archived_and_cut_off_under_a_new_identity() {
    let volume = Volume::new("cut");
    assert!(has_open_log(&volume.paths));
    let order = demoted("earlier,server:16");
    assert_eq!(before_start(&volume.paths, &order), None);
    let rest = volume.last();
    assert!(OPEN.starts_with(&rest) && rest.len() < OPEN.len());
    assert!(!volume.paths.auto_cnf().exists());
    let note = notes::load(&volume.paths).unwrap();
    assert_eq!(note.transactions, set("server:17-18"));
    assert_eq!((note.removed.count, &note.removed.left_out), (2, &None));
    assert_eq!(note.removed.how, Removal::Cut);
    let name = "epoch-2.283f33ca-e642-11f1-9843-02fc00000001.binlog.000003";
    let archive = fs::read(volume.paths.archive.join(name)).unwrap();
    // Its own beginning, and then the very bytes that were cut off.
    assert!(archive.ends_with(&OPEN[rest.len()..]));
    let log = binlog::Log::open(OPEN).unwrap();
    assert_eq!(archive.len(), log.head().len() + OPEN.len() - rest.len());
    // Once is enough.
    assert_eq!(before_start(&volume.paths, &order), None);
    assert_eq!(volume.last(), rest);
    assert_eq!(notes::load(&volume.paths), Some(note));
}

#[test]
fn what_may_be_committed_or_may_count_is_left_alone() {
    let why = |cut: &str, change: &dyn Fn(&Volume)| {
        let volume = Volume::new("left");
        change(&volume);
        let why = before_start(&volume.paths, &demoted(cut));
        assert_eq!(volume.last(), OPEN, "{why:?}");
        assert!(volume.paths.auto_cnf().exists());
        assert!(notes::load(&volume.paths).is_none());
        why
    };
    let fit = "earlier,server:16";
    let left = |cut: &str, change: &dyn Fn(&Volume)| why(cut, change).unwrap();
    let started_on =
        |name: &'static str| move |volume: &Volume| fs::write(&volume.paths.started_on, name).unwrap();
    assert!(left(fit, &started_on("binlog.000003")).contains("was started since"));
    let forget = |volume: &Volume| fs::remove_file(&volume.paths.started_on).unwrap();
    assert!(left(fit, &forget).contains("not known"));
    assert!(left("server:1-14:blue:1", &|_| ()).contains("an earlier binary log"));
    assert!(left("earlier,server:17", &|_| ()).contains("counts and follows what does not"));
    // All of it counts; a clone is under way.
    assert_eq!(why("earlier,server:16-18", &|_| ()), None);
    let cloning = |volume: &Volume| fs::write(&volume.paths.clone, "{}").unwrap();
    assert_eq!(why(fit, &cloning), None);
}

#[test]
fn nobody_is_cut_who_may_still_be_primary() {
    let volume = Volume::new("primary");
    let mut order = demoted("earlier,server:16");
    let record = order.record.as_mut().unwrap();
    record.is_choosing = true;
    assert_eq!(before_start(&volume.paths, &order), None);
    let record = order.record.as_mut().unwrap();
    record.is_choosing = false;
    record.primary = "orders-0".into();
    assert_eq!(before_start(&volume.paths, &order), None);
    // It has followed in this epoch already, and was compared before.
    let mut later = demoted("earlier,server:16");
    let record = later.record.as_mut().unwrap();
    record.identity = "eeeeeeee-eeee-eeee-eeee-eeeeeeeeeeee".parse().unwrap();
    assert_eq!(before_start(&volume.paths, &later), None);
    assert_eq!(volume.last(), OPEN);
}

#[test]
fn a_log_that_cannot_be_read_is_left_alone_and_said_so() {
    let volume = Volume::new("damaged");
    let mut damaged = OPEN.to_vec();
    damaged.extend([0; 64]);
    let log = volume.paths.data.join("binlog.000003");
    fs::write(&log, &damaged).unwrap();
    let why = before_start(&volume.paths, &demoted("earlier,server:16")).unwrap();
    assert!(why.contains("shorter than its own header"), "{why}");
    assert_eq!(fs::read(&log).unwrap(), damaged);
    fs::write(&log, b"\xfdbin").unwrap();
    let why = before_start(&volume.paths, &demoted("earlier,server:16")).unwrap();
    assert!(why.contains("encrypted"), "{why}");
}

#[test]
fn before_a_copy_every_log_gives_what_it_has() {
    let volume = Volume::new("copy");
    let order = demoted("server:1-13:blue:1,eeeeeeee-eeee-eeee-eeee-eeeeeeeeeeee:70000");
    let record = order.record.unwrap();
    let all = set("earlier,server:16-18,00000000-0000-0000-0000-000000000009:1");
    before_copy(&volume.paths, &record, (OTHER, &all), Some("of a reason".into())).unwrap();
    let note = notes::load(&volume.paths).unwrap();
    assert_eq!(note.removed.count, 6);
    let left_out = note.removed.left_out.as_ref().unwrap();
    assert_eq!(left_out, "1 of them are in no archive: they are in no binary log");
    assert_eq!(fs::read_dir(&volume.paths.archive).unwrap().count(), 2);
    // Nothing but what counts: nothing is said, and what was said stays.
    before_copy(&volume.paths, &record, (OTHER, &GtidSet::new()), None).unwrap();
    assert_eq!(notes::load(&volume.paths), Some(note));
}

#[test]
fn what_somebody_wrote_to_a_replica_is_kept_aside() {
    let volume = Volume::new("errant");
    let mut record = demoted("earlier,server:16").record.unwrap();
    let voter = topology::record::Voter {
        incarnation: Some(OTHER),
        leaving: None,
    };
    record.voters.insert(record.primary.clone(), voter);
    let own = "283f33ca-e642-11f1-9843-02fc00000001".parse().unwrap();
    // It has seen this epoch: compared with the cut alone it has nothing too much.
    let epoch = format!("{}:1-{}", record.identity, record.term.epoch);
    let all = set("earlier,server:16-17").union(&epoch.parse().unwrap());
    assert!(record.beyond_cut(&all).is_empty());
    before_copy(&volume.paths, &record, (own, &all), None).unwrap();
    let removed = notes::load(&volume.paths).unwrap().removed;
    assert_eq!(removed.count, 1);
    assert!(removed.archive.is_some() && removed.left_out.is_none());
}

#[test]
fn what_was_cut_and_is_there_all_the_same_keeps_its_archive() {
    let volume = Volume::new("kept");
    let order = demoted("earlier,server:16");
    assert_eq!(before_start(&volume.paths, &order), None);
    let record = order.record.unwrap();
    before_copy(
        &volume.paths,
        &record,
        (OTHER, &set("earlier,server:16-17")),
        None,
    )
    .unwrap();
    let removed = notes::load(&volume.paths).unwrap().removed;
    assert_eq!(removed.count, 2);
    assert!(removed.archive.is_some() && removed.left_out.is_none());
    assert!(matches!(removed.how, Removal::Copied { because: Some(_) }));
}

#[test]
fn a_primary_waits_for_a_moment_and_nobody_else_does() {
    let mut order = demoted("earlier");
    assert_eq!(patience(&order), None);
    let record = order.record.as_mut().unwrap();
    record.primary = "orders-0".into();
    assert_eq!(patience(&order), None);
    order.role = Role::Primary { wait_for: 1 };
    assert_eq!(patience(&order), Some(CLAIM_LIMIT));
    order.role = Role::Hold;
    order.record.as_mut().unwrap().is_choosing = true;
    assert_eq!(patience(&order), Some(CHOICE_LIMIT));
    order.record.as_mut().unwrap().acknowledged_by = 0;
    assert_eq!(patience(&order), None);
}
