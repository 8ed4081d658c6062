//! The parsers of the round of facts, by tables.
//! Must not need a server.

use super::*;

const UUID: &str = "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa";

fn channel<'a>(changes: &[(&'a str, Option<&'a str>)]) -> Row {
    let mut columns = vec![
        ("channel", Some("")),
        ("host", Some("db-1")),
        ("port", Some("3306")),
        ("auto_position", Some("1")),
        ("auto_failover", Some("0")),
        ("source_uuid", Some(UUID)),
        ("receiver", Some("ON")),
        ("receiver_code", Some("0")),
        ("receiver_message", Some("")),
        ("heartbeats", Some("7")),
        ("news_age", Some("1500")),
        ("received", Some("aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa:1-5")),
        ("receiving", Some("")),
        ("applier", Some("ON")),
        ("applier_code", Some("0")),
        ("applier_message", Some("")),
    ];
    for (name, value) in changes {
        for column in columns.iter_mut().filter(|column| column.0 == *name) {
            column.1 = *value;
        }
    }
    Row::of(&columns)
}

fn worker(channel: &str, applying: &str, code: &str) -> Row {
    Row::of(&[
        ("channel", Some(channel)),
        ("number", Some("1")),
        ("state", Some("ON")),
        ("code", Some(code)),
        ("message", Some("duplicate key")),
        ("applying", Some(applying)),
    ])
}

fn one(row: Row) -> Channel {
    parse_channels(&[row], &[]).unwrap().remove(0)
}

#[test]
fn a_healthy_channel() {
    let seen = one(channel(&[]));
    assert_eq!((seen.source_host.as_str(), seen.source_port), ("db-1", 3306));
    assert_eq!(seen.receiver, Receiver::On);
    assert_eq!(seen.source_uuid, UUID.parse().ok());
    assert_eq!(seen.received.count(), 5);
    assert_eq!(seen.news_age, Some(Duration::from_micros(1_500)));
    assert!(seen.auto_position && !seen.auto_failover && seen.is_applier_on);
    assert!(seen.receiver_failure.is_none() && seen.applier_failure.is_none());
}

#[test]
fn what_is_not_known_yet_is_none() {
    // A channel that never connected, without a coordinator: its columns come from an outer join.
    let seen = one(channel(&[
        ("source_uuid", Some("")),
        ("receiver", Some("CONNECTING")),
        ("receiver_code", Some("2003")),
        ("receiver_message", Some("cannot connect")),
        ("news_age", None),
        ("received", Some("")),
        ("applier", Some("OFF")),
        ("applier_code", None),
        ("applier_message", None),
    ]));
    assert_eq!(seen.source_uuid, None);
    assert_eq!(seen.receiver, Receiver::Connecting);
    assert_eq!(seen.receiver_failure.unwrap().code, 2003);
    assert_eq!(seen.news_age, None);
    assert!(seen.received.is_empty() && !seen.is_applier_on && seen.applier_failure.is_none());
}

#[test]
fn workers_belong_to_their_channel() {
    let gtid = format!("{UUID}:6");
    let workers = [
        worker("", &gtid, "0"),
        worker("other", "", "1062"),
        worker("", "ANONYMOUS", "1062"),
    ];
    let seen = parse_channels(&[channel(&[])], &workers).unwrap().remove(0);
    assert_eq!(seen.workers.len(), 2);
    assert!(seen.is_applying());
    assert_eq!(seen.workers[0].applying, gtid.parse().ok());
    assert!(seen.workers[0].failure.is_none() && seen.workers[1].applying.is_none());
    let failure = seen.workers[1].failure.clone().unwrap();
    assert_eq!((failure.code, failure.message.as_str()), (1062, "duplicate key"));
}

#[test]
fn odd_answers_are_wrong_answers() {
    for (name, value) in [
        ("receiver", Some("PERHAPS")),
        ("received", Some("not a set")),
        ("port", Some("70000")),
        ("receiving", Some("x:1")),
        ("source_uuid", Some("x")),
        ("applier", None),
    ] {
        let error = parse_channels(&[channel(&[(name, value)])], &[]).unwrap_err();
        assert!(matches!(error, Error::WrongAnswer { .. }), "{name}: {error}");
    }
}

fn pair<'a>(kind: &'a str, name: &'a str, value: &'a str) -> Row {
    Row::of(&[("kind", Some(kind)), ("name", Some(name)), ("value", Some(value))])
}

#[test]
fn semi_sync_is_there_with_its_plugin_only() {
    let pairs = Pairs::parse(&[pair("status", "Uptime", "12")]).unwrap();
    assert_eq!(pairs.semi_sync_source().unwrap(), None);
    assert_eq!(pairs.semi_sync_replica().unwrap(), None);
    assert_eq!(pairs.count("Uptime").unwrap(), 12);
    assert!(pairs.count("Threads_running").is_err());

    let pairs = Pairs::parse(&[
        pair("variable", "rpl_semi_sync_source_enabled", "ON"),
        pair("variable", "rpl_semi_sync_replica_enabled", "OFF"),
        pair("status", "Rpl_semi_sync_source_status", "ON"),
        pair("status", "Rpl_semi_sync_source_clients", "2"),
        pair("status", "Rpl_semi_sync_source_wait_sessions", "3"),
        pair("status", "Rpl_semi_sync_source_yes_tx", "4"),
        pair("status", "Rpl_semi_sync_source_no_tx", "5"),
        pair("status", "Rpl_semi_sync_source_no_times", "6"),
        pair("status", "Rpl_semi_sync_replica_status", "OFF"),
        pair("plugin", "rpl_semi_sync_source", "ACTIVE"),
        pair("plugin", "clone", "DISABLED"),
    ])
    .unwrap();
    let wanted = SemiSyncSource {
        is_on: true,
        clients: 2,
        waiters: 3,
        acked_transactions: 4,
        unacked_transactions: 5,
        off_times: 6,
    };
    assert_eq!(pairs.semi_sync_source().unwrap(), Some(wanted));
    assert_eq!(pairs.semi_sync_replica().unwrap(), Some(false));
    assert_eq!(pairs.plugins, BTreeSet::from([Plugin::SemiSyncSource]));
}

#[test]
fn a_loaded_plugin_without_its_counters_is_a_wrong_answer() {
    let pairs = Pairs::parse(&[pair("variable", "rpl_semi_sync_source_enabled", "ON")]).unwrap();
    assert!(pairs.semi_sync_source().is_err());
}
