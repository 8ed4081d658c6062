//! The plans of rights, and the names that are refused, by tables.
//! Must not need a server.

use super::*;

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn sql(user: &User, held: &Held, is_plain: bool) -> Vec<String> {
    plan(user, held, is_plain)
        .into_iter()
        .map(|(_, sql)| sql)
        .collect()
}

#[test]
fn a_new_user_gets_what_its_job_needs() {
    let user = User::of_job(Job::Replication);
    assert_eq!(
        sql(&user, &Held::default(), false),
        [
            "GRANT CONNECTION_ADMIN, REPLICATION SLAVE, SERVICE_CONNECTION_ADMIN ON *.* TO 'holdfast_replication'@'%'"
        ]
    );
    let user = User::of_job(Job::Monitoring);
    assert_eq!(
        sql(&user, &Held::default(), false),
        [
            "GRANT PROCESS, REPLICATION CLIENT ON *.* TO 'holdfast_monitoring'@'%'",
            "GRANT SELECT ON `holdfast`.* TO 'holdfast_monitoring'@'%'",
            "GRANT SELECT ON `performance\\_schema`.* TO 'holdfast_monitoring'@'%'",
        ]
    );
}

#[test]
fn what_it_has_is_not_granted_again_and_the_rest_goes() {
    let user = User::of_job(Job::Monitoring);
    let mut held = Held {
        global: set(&["PROCESS", "SUPER", GRANT_OPTION]),
        databases: BTreeMap::from([
            ("performance\\_schema".to_owned(), set(&["SELECT"])),
            ("secrets".to_owned(), set(&["SELECT", "UPDATE"])),
        ]),
    };
    assert_eq!(
        sql(&user, &held, false),
        [
            "GRANT REPLICATION CLIENT ON *.* TO 'holdfast_monitoring'@'%'",
            "GRANT SELECT ON `holdfast`.* TO 'holdfast_monitoring'@'%'",
            "REVOKE GRANT OPTION, SUPER ON *.* FROM 'holdfast_monitoring'@'%'",
            "REVOKE SELECT, UPDATE ON `secrets`.* FROM 'holdfast_monitoring'@'%'",
        ]
    );
    held.global = set(&["PROCESS", "REPLICATION CLIENT"]);
    held.databases.remove("secrets");
    held.databases.insert("holdfast".into(), set(&["SELECT"]));
    assert_eq!(sql(&user, &held, false), [""; 0]);
    // Where names are plain, the pattern is another database's name.
    assert_eq!(sql(&user, &held, true).len(), 2);
}

#[test]
fn all_rights_are_granted_once() {
    let user = User::of_job(Job::Accounts);
    assert_eq!(sql(&user, &Held::default(), false).len(), 1);
    let held = Held {
        global: set(&["SUPER", GRANT_OPTION]),
        databases: BTreeMap::new(),
    };
    assert_eq!(sql(&user, &held, false), [""; 0]);
}

#[test]
fn an_application_stays_in_its_database() {
    let user = User::of_application("o'brien", &["my_db"]).unwrap();
    let sql = sql(&user, &Held::default(), false);
    assert_eq!(sql.len(), 1);
    assert!(
        sql[0].ends_with("UPDATE ON `my\\_db`.* TO 'o''brien'@'%'"),
        "{}",
        sql[0]
    );
    for (name, database) in [
        ("root", "a"),
        ("ROOT", "a"),
        ("mysql.sys", "a"),
        ("Holdfast_agent", "a"),
        ("", "a"),
        ("a\0", "a"),
        ("a", "mysql"),
        ("a", "Performance_Schema"),
        ("a", "HOLDFAST"),
        ("a", ""),
        ("a", "back\\slash"),
    ] {
        let made = User::of_application(name, &[database]);
        assert!(made.is_err(), "{name:?} {database:?}");
    }
    assert!(User::of_application(&"x".repeat(33), &[]).is_err());
}

#[test]
fn only_local_users_come_without_tls() {
    for job in Job::ALL {
        let is_local = job.account().host == "localhost";
        assert_eq!(job.transport() == Transport::Any, is_local, "{job:?}");
    }
}

#[test]
fn accounts_are_read() {
    for (ssl, two, transport) in [
        ("", "0", Some(Transport::Any)),
        ("ANY", "1", Some(Transport::Tls)),
        ("X509", "0", None),
    ] {
        let row = Row::of(&[
            ("ssl_type", Some(ssl)),
            ("account_locked", Some("N")),
            ("two", Some(two)),
        ]);
        let seen = parse_account(&row).unwrap();
        assert_eq!((seen.transport, seen.has_two_passwords), (transport, two == "1"));
        assert!(!seen.is_locked);
    }
}
