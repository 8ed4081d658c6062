//! What is taken, what is refused, and what is still known after the file is damaged.
//! Must not need mysqld.

use std::fs;
use std::path::PathBuf;

use topology::assignment::{Place, Server};
use topology::record::Record;

use super::*;
use crate::options::Options;

fn record(epoch: u64, revision: u64) -> Record {
    Record {
        acknowledged_by: 1,
        wait_for: 1,
        ..Record::of(
            "eeeeeeee-eeee-eeee-eeee-eeeeeeeeeeee".parse().unwrap(),
            Term::new(epoch, revision),
            "db-0",
        )
    }
}

fn order(record: Option<Record>, role: Role) -> Assignment {
    Assignment {
        member: "db-0".into(),
        record,
        role,
        server: Server {
            server_id: 1,
            ..Server::default()
        },
    }
}

struct Folder(PathBuf, Paths);

impl Folder {
    fn new(name: &str) -> Self {
        let data = std::env::temp_dir().join(format!("holdfast-promise-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&data);
        let options = Options {
            member: "db-0".into(),
            data: data.clone(),
            tls: "/none".into(),
            passwords: "/none".into(),
            app: "/none".into(),
            address: None,
            mysql_port: 3306,
            replication: None,
            agent_port: 9306,
            http_port: 9307,
        };
        let paths = Paths::new(&options);
        volume::prepare(&paths).unwrap();
        Self(data, paths)
    }

    fn load(&self) -> Promise {
        Promise::load(&self.1, "db-0")
    }

    fn keep(&self, order: &Assignment) {
        Promise::keep(&self.1, order).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const OPEN: Role = Role::Primary { wait_for: 1 };

#[test]
fn what_was_kept_is_promised_after_a_restart() {
    let folder = Folder::new("kept");
    let promise = folder.load();
    assert!(promise.assignment().is_none() && promise.damage.is_none());
    let newest = order(Some(record(2, 7)), OPEN);
    promise.judge(&newest, None).unwrap();
    folder.keep(&newest);
    let promise = folder.load();
    assert_eq!(promise.assignment(), Some(&newest));
    for (epoch, revision) in [(1, 9), (2, 6), (0, 0)] {
        let refused = promise.judge(&order(Some(record(epoch, revision)), Role::Hold), None);
        assert!(refused.unwrap_err().contains("below 2.7"), "{epoch}.{revision}");
    }
    promise.judge(&newest, None).unwrap();
    promise.judge(&order(Some(record(2, 8)), OPEN), None).unwrap();
    promise
        .judge(&order(Some(record(3, 8)), Role::Hold), None)
        .unwrap();
}

#[test]
fn within_a_term_the_record_stays_and_the_rest_may_change() {
    let folder = Folder::new("term");
    folder.keep(&order(Some(record(1, 3)), OPEN));
    let promise = folder.load();
    let mut other = record(1, 3);
    other.wait_for = 2;
    assert!(promise.judge(&order(Some(other), OPEN), None).is_err());
    assert!(promise.judge(&order(None, Role::Hold), None).is_err());
    let mut parameters = order(Some(record(1, 3)), OPEN);
    parameters
        .server
        .parameters
        .insert("max_connections".into(), "10".into());
    promise.judge(&parameters, None).unwrap();
    // Before there is a record, the first one comes with the lowest term.
    folder.keep(&order(None, Role::Hold));
    folder
        .load()
        .judge(&order(Some(record(0, 0)), Role::Found), None)
        .unwrap();
}

#[test]
fn a_damaged_file_is_no_permission() {
    let folder = Folder::new("damaged");
    folder.keep(&order(Some(record(4, 9)), OPEN));
    fs::write(&folder.1.assignment, "{\"member\"").unwrap();
    let promise = folder.load();
    assert!(promise.assignment().is_none() && promise.damage.is_some());
    assert!(promise.judge(&order(Some(record(4, 8)), OPEN), None).is_err());
    promise.judge(&order(Some(record(4, 9)), OPEN), None).unwrap();
}

#[test]
fn with_both_files_lost_the_data_have_the_word() {
    let folder = Folder::new("lost");
    fs::create_dir_all(folder.1.data.join("mysql")).unwrap();
    let mut promise = folder.load();
    assert!(promise.damage.is_some());
    let open = order(Some(record(4, 9)), OPEN);
    assert!(promise.judge(&open, None).is_err());
    let hold = order(Some(record(4, 9)), Role::Hold);
    promise.judge(&hold, None).unwrap();
    promise.replace(hold, None);
    assert!(promise.judge(&open, None).is_err());
    assert!(promise.judge(&open, Some(5)).is_err());
    promise.judge(&open, Some(4)).unwrap();
}

#[test]
fn orders_that_make_no_sense_are_refused() {
    let folder = Folder::new("sense");
    let promise = folder.load();
    let me = Place {
        member: "db-0".into(),
        host: "127.0.0.1".into(),
        port: 1,
    };
    let mut of_another = order(Some(record(1, 1)), OPEN);
    of_another.member = "db-1".into();
    let mut elsewhere = record(1, 1);
    elsewhere.primary = "db-1".into();
    let instead_of = elsewhere.identity;
    let other = || Some(elsewhere.clone());
    let mut unnumbered = order(None, Role::Hold);
    unnumbered.server.server_id = 0;
    for bad in [
        of_another,
        unnumbered,
        order(None, OPEN),
        order(other(), OPEN),
        order(other(), Role::Found),
        order(Some(record(1, 1)), Role::Found),
        order(Some(record(0, 1)), OPEN),
        order(Some(record(1, 1)), Role::Primary { wait_for: 0 }),
        order(other(), Role::Replica { source: me.clone() }),
        order(
            other(),
            Role::Clone {
                donor: me.clone(),
                instead_of,
            },
        ),
        order(
            Some(record(1, 1)),
            Role::Replica {
                source: Place {
                    member: "db-1".into(),
                    ..me
                },
            },
        ),
    ] {
        assert!(promise.judge(&bad, None).is_err(), "{bad:?}");
    }
}
