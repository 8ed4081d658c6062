//! Owns the proof of settings: safety's are put back, the user's are tried, set, or wait for a restart.
//! It must not let a bad parameter end anything.

use std::time::{Duration, Instant};

use topology::assignment::Role;
use topology::report::TroubleKind;

use crate::block_on;
use crate::client::Client;
use crate::controller::{Cluster, Member};

#[test]
fn what_somebody_changed_is_put_back_and_counted() {
    block_on(async {
        let mut cluster = Cluster::new("drift", 2).await;
        let mut root = cluster.members[0].place.root().await;
        let primary = &mut cluster.members[0];
        for (setting, value) in [
            ("sync_binlog", "0"),
            ("innodb_flush_log_at_trx_commit", "2"),
            ("rpl_semi_sync_source_enabled", "0"),
            ("rpl_semi_sync_source_wait_for_replica_count", "2"),
            ("rpl_semi_sync_source_timeout", "1000"),
            ("read_only", "1"),
        ] {
            primary.settled().await;
            root.set(setting, value).await.unwrap();
            let began = Instant::now();
            let report = primary
                .until(setting, |report| {
                    report.is_settled && report.drift.contains_key(setting)
                })
                .await;
            println!(
                "{setting} put back after {:?}: {:?}",
                began.elapsed(),
                report.drift[setting]
            );
            assert_eq!(report.drift[setting].times, 1);
            assert!(began.elapsed() < Duration::from_secs(5));
        }
        let mut root = cluster.members[1].place.root().await;
        let replica = &mut cluster.members[1];
        replica.settled().await;
        root.set("super_read_only", "0").await.unwrap();
        let report = replica
            .until("super_read_only", |report| {
                report.is_settled && report.drift.contains_key("super_read_only")
            })
            .await;
        assert_eq!(report.drift["super_read_only"].found, "OFF");
    });
}

/// The same role with other parameters.
async fn with(member: &mut Member, cluster_record: &topology::record::Record, parameters: &[(&str, &str)]) {
    member.server.parameters = parameters
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    member
        .assign(Some(cluster_record), Role::Primary { wait_for: 1 })
        .await;
}

#[test]
fn parameters_are_tried_before_they_are_used() {
    block_on(async {
        let mut cluster = Cluster::new("param", 2).await;
        let record = cluster.record.clone();
        let primary = &mut cluster.members[0];
        let pid = primary.place.mysqld_pid();
        with(
            primary,
            &record,
            &[("max_connections", "77"), ("long_query_time", "0.5")],
        )
        .await;
        primary.settled().await;
        let mut root = primary.place.root().await;
        assert_eq!(root.get("max_connections").await, "77");
        assert_eq!(root.get("long_query_time").await, "0.500000");

        with(primary, &record, &[("max_connections", "78"), ("nonsense", "1")]).await;
        let kind = TroubleKind::ParameterRefused;
        let report = primary
            .until("a refusal", |report| {
                report.troubles.iter().any(|one| one.kind == kind)
            })
            .await;
        println!("{:?}", report.troubles);
        assert!(report.troubles[0].what.contains("unknown variable 'nonsense=1'"));
        assert!(report.server.unwrap().is_open);
        assert_eq!(root.get("max_connections").await, "77");

        with(primary, &record, &[("back_log", "111")]).await;
        let report = primary
            .until("waiting", |report| report.awaiting_restart.contains("back_log"))
            .await;
        assert!(
            !report.troubles.iter().any(|one| one.kind == kind),
            "{:?}",
            report.troubles
        );
        assert_eq!(root.get("max_connections").await, "151");
        assert_eq!(primary.place.mysqld_pid(), pid);
        primary.server.may_restart = true;
        with(primary, &record, &[("back_log", "111")]).await;
        let report = primary.settled().await;
        assert!(report.awaiting_restart.is_empty());
        assert_ne!(primary.place.mysqld_pid(), pid);
        let mut root = primary.place.root().await;
        assert_eq!(root.get("back_log").await, "111");

        // One that is no good does not keep a member down that ran without it.
        with(primary, &record, &[("nonsense", "2")]).await;
        primary.place.kill_agent();
        primary.place.start();
        let report = primary
            .until("a start with the last good ones", |report| {
                report.server.as_ref().is_some_and(|server| server.is_open)
                    && report.troubles.iter().any(|one| one.kind == kind)
            })
            .await;
        println!("{:?}", report.troubles);
        let mut root = primary.place.root().await;
        assert_eq!(root.get("back_log").await, "111");
    });
}

#[test]
fn a_first_start_with_a_bad_parameter_says_why() {
    block_on(async {
        let trust = crate::place::Trust::new();
        let mut member = Member::new("bad", 0, &trust);
        member.server.parameters.insert("nonsense".into(), "1".into());
        member.assign(None, Role::Hold).await;
        let kind = TroubleKind::DoesNotStart;
        let report = member
            .until("a refusal", |report| {
                report.troubles.iter().any(|one| one.kind == kind)
            })
            .await;
        println!("{:?}", report.troubles);
        assert!(report.troubles[0].what.contains("unknown variable 'nonsense=1'"));
        member.server.parameters.clear();
        member.assign(None, Role::Hold).await;
        let report = member.settled().await;
        assert!(report.troubles.is_empty(), "{:?}", report.troubles);
    });
}

/// Takes every connection there is, and every one that somebody gives up.
async fn be_greedy(port: u16) {
    let mut held = Vec::new();
    loop {
        match Client::tcp(port, "app", "first", "app").await {
            Ok(client) => held.push(client),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

/// Both at once: beyond the limit there is one login for both of them and the agent.
#[test]
fn replicas_come_back_while_clients_use_up_all_connections() {
    block_on(async {
        let mut cluster = Cluster::new("used", 3).await;
        let record = cluster.record.clone();
        let primary = &mut cluster.members[0];
        with(primary, &record, &[("max_connections", "20")]).await;
        primary.settled().await;
        let mut app = primary.place.app("first").await.unwrap();
        app.make_table().await.unwrap();
        let greedy = tokio::spawn(be_greedy(primary.place.mysql_port));
        let refused = loop {
            if let Err(error) = primary.place.app("first").await {
                break error.to_string();
            }
        };
        assert!(refused.contains("Too many connections"), "{refused}");
        let _beyond_the_limit = primary.place.root().await;
        for at in [1, 2] {
            let replica = &mut cluster.members[at];
            replica.place.kill_mysqld();
            replica.until("the end", |report| report.server.is_none()).await;
        }
        app.insert().await.unwrap();
        for at in [1, 2] {
            let follows = cluster.members[at].until("a stream", |report| {
                let follows = report.server.as_ref().and_then(|server| server.follows.as_ref());
                follows.is_some_and(|follows| follows.is_receiving)
            });
            follows.await;
        }
        assert!(
            cluster.members[0].place.app("first").await.is_err(),
            "somebody gets in"
        );
        greedy.abort();
    });
}
