//! Owns the proof of restarts: what is promised holds, and nobody reads or writes before a commit of
//! the agent's own was acknowledged. It must not need the controller for any of it.

use std::time::{Duration, Instant};

use topology::assignment::Role;
use topology::report::{Process, TroubleKind};

use crate::block_on;
use crate::client::code;
use crate::controller::{Cluster, record};

#[test]
fn a_killed_primary_opens_again_by_a_proof() {
    block_on(async {
        let mut cluster = Cluster::new("kill", 3).await;
        let mut app = cluster.members[0].place.app("first").await.unwrap();
        app.make_table().await.unwrap();
        let primary = &mut cluster.members[0];
        primary.settled().await;
        let pid = primary.place.mysqld_pid().unwrap();
        primary.place.kill_mysqld();
        // Giving back its memory takes the system some tens of milliseconds.
        while std::path::Path::new(&format!("/proc/{pid}")).exists() {
            std::thread::yield_now();
        }
        let began = Instant::now();
        primary
            .until("the end", |report| {
                matches!(report.process, Process::Ended { .. } | Process::Starting)
            })
            .await;
        let told = began.elapsed();
        let report = primary.until("opening", |report| report.is_settled).await;
        println!(
            "killed: told after {told:?}, open again after {:?}",
            began.elapsed()
        );
        assert!(told < Duration::from_millis(50), "{told:?}");
        assert!(matches!(report.process, Process::Running));
        assert!(report.troubles.is_empty(), "{:?}", report.troubles);
        let mut app = primary.place.app("first").await.unwrap();
        app.insert().await.unwrap();
    });
}

#[test]
fn a_restarted_primary_stays_closed_while_nobody_acknowledges() {
    block_on(async {
        let mut cluster = Cluster::new("alone", 2).await;
        let mut app = cluster.members[0].place.app("first").await.unwrap();
        app.make_table().await.unwrap();
        let later = cluster.record.next_epoch();
        let source = cluster.members[0].at();
        cluster.members[1].assign(Some(&later), Role::Hold).await;
        cluster.members[1].settled().await;
        // The write that nobody acknowledges; a crash makes it part of the data.
        let writing = tokio::spawn(async move { app.insert().await });
        let primary = &mut cluster.members[0];
        primary.until_a_commit_waits().await;
        primary
            .until("trouble", |report| {
                report
                    .troubles
                    .iter()
                    .any(|one| one.kind == TroubleKind::AwaitingAcknowledgements)
            })
            .await;
        primary.place.kill_mysqld();
        assert_ne!(code(&writing.await.unwrap()), 0);
        // What was said before the kill may still be on its way.
        primary
            .until("its end", |report| !matches!(report.process, Process::Running))
            .await;
        let report = primary
            .until("the trouble again", |report| {
                let kind = TroubleKind::AwaitingAcknowledgements;
                matches!(report.process, Process::Running)
                    && report.troubles.iter().any(|one| one.kind == kind)
            })
            .await;
        let server = report.server.unwrap();
        assert!(!server.is_open && server.waits_for == Some(1) && server.acknowledging == 0);
        let refused = primary.place.app("first").await;
        assert_eq!(code(&refused), 3032, "nobody reads what is not replicated");
        // As soon as one acknowledges, it opens; what crash recovery brought back is everywhere then.
        let place = source.clone();
        let mut record = later.revised();
        record.term.epoch = later.term.epoch;
        cluster.members[1]
            .assign(Some(&record), Role::Replica { source: place })
            .await;
        let primary = &mut cluster.members[0];
        primary.settled().await;
        let mut app = primary.place.app("first").await.unwrap();
        assert_eq!(app.count().await, 1);
    });
}

#[test]
fn a_primary_that_nobody_hears_closes_itself() {
    block_on(async {
        let mut cluster = Cluster::new("unheard", 2).await;
        let mut app = cluster.members[0].place.app("first").await.unwrap();
        app.make_table().await.unwrap();
        let later = cluster.record.next_epoch();
        cluster.members[1].assign(Some(&later), Role::Hold).await;
        cluster.members[1].settled().await;
        let writing = tokio::spawn(async move { app.insert().await });
        let primary = &mut cluster.members[0];
        let before = primary.place.mysqld_pid();
        // A write that waits for long is no reason as long as a controller leads.
        primary
            .until("trouble for ten seconds", |report| {
                let mut troubles = report.troubles.iter();
                troubles.any(|one| one.what.contains("waits for 10 s"))
            })
            .await;
        assert_eq!(primary.place.mysqld_pid(), before);
        // One that talks on and leads no more is cut off like the member, perhaps.
        primary.lose_the_lead();
        let place = &cluster.members[0].place;
        assert_ne!(code(&writing.await.unwrap()), 0, "it was never acknowledged");
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let refused = place.app("first").await;
            if refused.is_err() && code(&refused) == 3032 {
                break;
            }
            assert!(Instant::now() < until, "it is closed again: {}", place.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_ne!(place.mysqld_pid(), before);
    });
}

#[test]
fn a_promise_outlives_the_agent() {
    block_on(async {
        let mut cluster = Cluster::new("again", 2).await;
        let old = record(0, 1, &cluster.members[0], 1);
        let began = Instant::now();
        let primary = &mut cluster.members[0];
        primary.place.kill_agent();
        primary.place.start();
        primary
            .until("the lost connection", |report| !report.is_settled)
            .await;
        // Nobody tells it anything.
        let report = primary.settled().await;
        println!("agent and mysqld killed: open again after {:?}", began.elapsed());
        let role = report.assignment.unwrap().role;
        assert_eq!(role, Role::Primary { wait_for: 1 });
        let lower = primary.assignment(Some(&old), Role::Hold);
        let refused = primary.order(lower).await.unwrap_err();
        assert!(refused.contains("below 1.2"), "{refused}");
        let mut stale = cluster.record.clone();
        stale.term.revision = 1;
        let primary = &mut cluster.members[0];
        let stale = primary.assignment(Some(&stale), Role::Primary { wait_for: 1 });
        assert!(primary.order(stale).await.is_err());
        let still = primary.settled().await;
        assert!(still.server.unwrap().is_open);
    });
}

#[test]
fn an_end_in_the_middle_of_initialising_leaves_nothing_half_made() {
    block_on(async {
        let trust = crate::place::Trust::new();
        let mut member = crate::controller::Member::new("half", 0, &trust);
        member.assign(None, Role::Hold).await;
        for _ in 0..3 {
            member
                .until("initialising", |report| report.process == Process::Initialising)
                .await;
            member.place.kill_agent();
            assert!(!member.place.outside.join("data/mysql").exists());
            member.place.start();
        }
        let report = member.settled().await;
        assert!(report.server.unwrap().executed.is_empty());
        assert!(!member.place.outside.join("data/mysql.unfinished").exists());
        assert!(!member.place.outside.join("data/holdfast/tmp/init.sql").exists());
    });
}
