//! Owns the proof of ends: a client whose write nobody acknowledged never hears OK, a replica ends cleanly.
//! It must not depend on how long the end may take.

use std::time::{Duration, Instant};

use topology::assignment::Role;
use topology::gtid::GtidSet;

use crate::block_on;
use crate::client::code;
use crate::controller::Cluster;

/// mysqld by itself waits a minute for the rest of a transaction whose receiver it has ended.
const END_LIMIT: Duration = Duration::from_secs(30);
const LARGE_MIB: u32 = 200;
const HUNG_LIMIT: Duration = Duration::from_secs(90);

#[test]
fn no_end_answers_a_waiting_write_with_ok() {
    block_on(async {
        let mut cluster = Cluster::new("term", 3).await;
        let mut app = cluster.members[0].place.app("first").await.unwrap();
        app.make_table().await.unwrap();
        let later = cluster.record.next_epoch();
        for member in &mut cluster.members[1..] {
            member.assign(Some(&later), Role::Hold).await;
            member.settled().await;
        }
        let writing = tokio::spawn(async move { app.insert().await });
        let primary = &mut cluster.members[0];
        primary.until_a_commit_waits().await;
        primary.place.signal_agent("TERM");
        let ended = writing.await.unwrap();
        println!("the waiting write heard {ended:?}");
        assert_ne!(code(&ended), 0);
        assert_eq!(primary.place.wait_end(), Some(0));
        let log = primary.place.log();
        assert!(
            !log.contains("Forced shutdown"),
            "mysqld was asked to end with a waiter"
        );
        assert!(log.contains("signal 9"));
    });
}

#[test]
fn whoever_has_no_waiters_ends_cleanly() {
    block_on(async {
        let mut cluster = Cluster::new("clean", 3).await;
        for at in [2, 0] {
            let place = &mut cluster.members[at].place;
            place.signal_agent("TERM");
            assert_eq!(place.wait_end(), Some(0));
            assert!(place.log().contains("Shutdown complete"), "member {at}");
        }
        // The promise holds over a clean end as over any other.
        cluster.members[0].place.start();
        let primary = &mut cluster.members[0];
        primary.until("the restart", |report| !report.is_settled).await;
        primary.settled().await;
    });
}

#[test]
fn a_primary_that_is_replaced_releases_nobody_and_follows() {
    block_on(async {
        let mut cluster = Cluster::new("move", 3).await;
        let mut app = cluster.members[0].place.app("first").await.unwrap();
        app.make_table().await.unwrap();
        app.insert().await.unwrap();
        // Frozen, all of them, as a failover would.
        let mut next = cluster.record.next_epoch();
        next.primary = cluster.members[1].place.member.clone();
        for at in [1, 2, 0] {
            let began = std::time::Instant::now();
            cluster.members[at].assign(Some(&next), Role::Hold).await;
            let promised = began.elapsed();
            cluster.members[at].settled().await;
            println!("promised after {promised:?}, frozen after {:?}", began.elapsed());
        }
        assert_ne!(code(&app.insert().await), 0);
        let began = std::time::Instant::now();
        let source = cluster.members[1].at();
        cluster.members[1]
            .assign(Some(&next), Role::Primary { wait_for: 1 })
            .await;
        for at in [2, 0] {
            let source = source.clone();
            cluster.members[at]
                .assign(Some(&next), Role::Replica { source })
                .await;
        }
        let report = cluster.members[1].settled().await;
        println!("another primary open after {:?}", began.elapsed());
        let server = report.server.unwrap();
        let still = server
            .follows
            .filter(|follows| follows.is_receiving || follows.is_applying);
        assert!(server.is_open && still.is_none());
        let forgets = cluster.members[1].until("having forgotten its source", |report| {
            let server = report.server.as_ref();
            server.is_some_and(|server| server.follows.is_none())
        });
        forgets.await;
        for at in [0, 2] {
            cluster.members[at].settled().await;
        }
        let mut app = cluster.members[1].place.app("first").await.unwrap();
        app.insert().await.unwrap();
        assert_eq!(app.count().await, 2);
    });
}

#[test]
fn an_old_primary_that_is_frozen_is_killed() {
    block_on(async {
        let mut cluster = Cluster::new("ice", 2).await;
        let later = cluster.record.next_epoch();
        let primary = &mut cluster.members[0];
        let pid = primary.place.mysqld_pid().unwrap();
        crate::place::signal("STOP", pid);
        let began = std::time::Instant::now();
        primary.assign(Some(&later), Role::Hold).await;
        primary.until("the end", |report| report.server.is_none()).await;
        println!("killed after {:?}", began.elapsed());
        let report = primary.settled().await;
        assert!(!report.server.unwrap().is_open);
        assert_ne!(primary.place.mysqld_pid(), Some(pid));
    });
}

/// Two of two: nobody takes over, and no controller gives another order.
#[test]
fn servers_that_hang_for_good_are_ended_after_a_minute_and_serve_again() {
    block_on(async {
        let mut cluster = Cluster::new("hush", 2).await;
        let mut app = cluster.members[0].place.app("first").await.unwrap();
        app.make_table().await.unwrap();
        app.insert().await.unwrap();
        let began = Instant::now();
        let before = [0, 1].map(|at: usize| cluster.members[at].place.mysqld_pid().unwrap());
        for pid in before {
            crate::place::signal("STOP", pid);
        }
        for (member, pid) in cluster.members.iter_mut().zip(before) {
            while member.place.mysqld_pid() == Some(pid) {
                assert!(began.elapsed() < HUNG_LIMIT, "it hangs on");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            println!("ended after {:?}", began.elapsed());
            assert!(began.elapsed() > Duration::from_secs(60), "ended in haste");
        }
        for at in [1, 0] {
            cluster.members[at].settled().await;
        }
        let mut app = cluster.members[0].place.app("first").await.unwrap();
        app.insert().await.unwrap();
        assert_eq!(app.count().await, 2);
    });
}

#[test]
fn a_replica_that_holds_a_part_of_a_transaction_ends_soon_and_has_all_of_it_later() {
    block_on(async {
        let mut cluster = Cluster::new("part", 3).await;
        // Compressed, a transaction is one event, and comes whole.
        let mut root = cluster.members[0].place.root().await;
        root.set("binlog_transaction_compression", "OFF").await.unwrap();
        let mut app = cluster.members[0].place.app("first").await.unwrap();
        app.make_big_table().await.unwrap();
        let mut root = cluster.members[1].place.root().await;
        let writing = tokio::spawn(async move { app.insert_megabytes(LARGE_MIB).await });
        let began = Instant::now();
        // A heartbeat is gone at the second look.
        let held = loop {
            let first = root.held_part().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            if let Some(held) = root.held_part().await.filter(|held| Some(held) == first.as_ref()) {
                break held;
            }
            assert!(!writing.is_finished(), "all was sent before it was seen");
            assert!(began.elapsed() < Duration::from_secs(120), "nothing is sent");
        };
        // Nothing more comes of it meanwhile.
        let source = cluster.members[0].place.mysqld_pid().unwrap();
        crate::place::signal("STOP", source);
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(root.held_part().await, Some(held), "all was sent");
        let place = &mut cluster.members[1].place;
        let began = Instant::now();
        place.signal_agent("TERM");
        assert_eq!(place.wait_end(), Some(0));
        let took = began.elapsed();
        crate::place::signal("CONT", source);
        let is_clean = place.log().contains("Shutdown complete");
        println!("ended after {took:?}, cleanly: {is_clean}");
        assert!(took < END_LIMIT, "{took:?}");
        writing.await.unwrap().unwrap();
        place.start();
        cluster.members[1].settled().await;
        let mut primary = cluster.members[0].place.root().await;
        let executed: GtidSet = primary.get("gtid_executed").await.parse().unwrap();
        let has_all = cluster.members[1].until("the rest", |report| {
            let server = report.server.as_ref();
            server.is_some_and(|server| executed.is_subset(&server.executed))
        });
        has_all.await;
        println!("has all of it {:?} after its end was asked for", began.elapsed());
        let mut replica = cluster.members[1].place.root().await;
        let sums = primary.checksum().await;
        assert!(!sums.is_empty());
        assert_eq!(replica.checksum().await, sums);
    });
}
