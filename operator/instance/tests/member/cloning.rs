//! Owns the proof of clones: another's data under a new identity, whatever is killed in between.
//! It must not pass where half a clone is taken for data.

use topology::assignment::{Place as At, Role};
use topology::gtid::Uuid;
use topology::report::{Process, TroubleKind};

use crate::block_on;
use crate::controller::{Cluster, Member};
use crate::place::signal;

fn incarnation(member: &Member) -> Uuid {
    member.seen().incarnation
}

async fn with_rows(test: &str, rows: u32) -> Cluster {
    let mut cluster = Cluster::new(test, 3).await;
    let mut app = cluster.members[0].place.app("first").await.unwrap();
    app.make_table().await.unwrap();
    app.insert().await.unwrap();
    for _ in 0..rows {
        app.double().await.unwrap();
    }
    for member in &mut cluster.members {
        member.settled().await;
    }
    cluster
}

/// Ends as a replica whose data are the primary's, with nothing of its own.
async fn ends_as_a_replica(cluster: &mut Cluster, at: usize, old: Uuid, errant: &str) {
    let source = cluster.members[0].at();
    let record = cluster.record.clone();
    let member = &mut cluster.members[at];
    member.assign(Some(&record), Role::Replica { source }).await;
    member.settled().await;
    let primary = cluster.members[0].settled().await.server.unwrap().executed;
    let report = cluster.members[at]
        .until("the rest", |report| {
            let server = report.server.as_ref();
            server.is_some_and(|server| primary.is_subset(&server.executed))
        })
        .await;
    let member = &cluster.members[at];
    let server = report.server.unwrap();
    assert_ne!(server.incarnation, old);
    assert!(
        !server.executed.to_string().contains(errant),
        "{}",
        server.executed
    );
    assert!(!member.place.outside.join("data/holdfast/clone.json").exists());
    let mut primary = cluster.members[0].place.app("first").await.unwrap();
    let mut replica = cluster.members[at].place.app("first").await.unwrap();
    assert_eq!(primary.count().await, replica.count().await);
}

/// Freezes the donor, the second member, when the data of the third have gone and only a part of the
/// donor's has come. Returns the donor's process.
async fn freeze_in_the_middle(cluster: &Cluster) -> u32 {
    let mut root = cluster.members[2].place.root().await;
    let donor = cluster.members[1].place.mysqld_pid().unwrap();
    let began = std::time::Instant::now();
    while root.stage_of_clone("FILE COPY").await != "In Progress" {
        assert!(
            began.elapsed() < std::time::Duration::from_secs(30),
            "no clone begins"
        );
    }
    signal("STOP", donor);
    assert_eq!(root.stage_of_clone("FILE COPY").await, "In Progress");
    donor
}

#[test]
fn a_clone_has_the_donors_data_and_a_new_identity() {
    block_on(async {
        let mut cluster = with_rows("clone", 8).await;
        // The donor is a replica: its own replication comes with its data.
        let donor = cluster.members[1].at();
        let record = cluster.record.clone();
        cluster.members[2].place.root().await.err().await;
        let member = &mut cluster.members[2];
        member
            .until("drift", |report| report.is_settled && !report.drift.is_empty())
            .await;
        let old = incarnation(member);
        let executed = member.seen().executed.to_string();
        assert!(
            executed.contains(&old.to_string()),
            "the errant write is there: {executed}"
        );
        let began = std::time::Instant::now();
        let role = Role::Clone {
            donor,
            instead_of: old,
        };
        member.assign(Some(&record), role.clone()).await;
        let report = member.settled().await;
        println!("cloned after {:?}", began.elapsed());
        assert!(report.troubles.is_empty(), "{:?}", report.troubles);
        let new = incarnation(member);
        assert_ne!(new, old);
        assert!(report.server.unwrap().follows.is_none());
        // Said again, it is done.
        member.assign(Some(&record), role).await;
        member.settled().await;
        assert_eq!(incarnation(member), new);
        ends_as_a_replica(&mut cluster, 2, old, &old.to_string()).await;
    });
}

#[test]
fn a_clone_that_is_killed_is_made_again() {
    block_on(async {
        let mut cluster = with_rows("ckill", 13).await;
        let donor = cluster.members[1].at();
        let record = cluster.record.clone();
        let old = incarnation(&cluster.members[2]);
        let role = Role::Clone {
            donor,
            instead_of: old,
        };
        let member = &mut cluster.members[2];
        member.assign(Some(&record), role).await;
        let donor = freeze_in_the_middle(&cluster).await;
        let member = &mut cluster.members[2];
        member.place.kill_agent();
        assert!(member.place.outside.join("data/holdfast/clone.json").exists());
        signal("CONT", donor);
        member.place.start();
        let report = member
            .until("the second clone", |report| {
                report.is_settled
                    && report
                        .server
                        .as_ref()
                        .is_some_and(|server| server.incarnation != old)
            })
            .await;
        println!("{:?} {:?}", report.process, report.troubles);
        ends_as_a_replica(&mut cluster, 2, old, "nothing").await;
    });
}

#[test]
fn data_that_a_clone_ruined_are_given_up() {
    block_on(async {
        let mut cluster = with_rows("cruin", 13).await;
        let donor = cluster.members[1].at();
        let record = cluster.record.clone();
        let old = incarnation(&cluster.members[2]);
        let role = Role::Clone {
            donor,
            instead_of: old,
        };
        let member = &mut cluster.members[2];
        member.assign(Some(&record), role).await;
        let donor = freeze_in_the_middle(&cluster).await;
        let member = &mut cluster.members[2];
        member.place.kill_mysqld();
        signal("CONT", donor);
        // Nobody wants the clone any more: what is left is nobody's data.
        member.assign(Some(&record), Role::Hold).await;
        let report = member
            .until("new data", |report| {
                report.is_settled
                    && report
                        .server
                        .as_ref()
                        .is_some_and(|server| server.incarnation != old)
            })
            .await;
        assert!(report.server.unwrap().executed.is_empty());
        ends_as_a_replica(&mut cluster, 2, old, "nothing").await;
    });
}

#[test]
fn a_clone_from_nobody_leaves_the_data_alone() {
    block_on(async {
        let mut cluster = with_rows("cnone", 1).await;
        let record = cluster.record.clone();
        let old = incarnation(&cluster.members[2]);
        let donor = At {
            member: "gone".into(),
            host: "127.0.0.1".into(),
            port: 1,
        };
        let role = Role::Clone {
            donor,
            instead_of: old,
        };
        let member = &mut cluster.members[2];
        member.assign(Some(&record), role).await;
        let kind = TroubleKind::CloneFailed;
        let report = member
            .until("a failure", |report| {
                report.troubles.iter().any(|one| one.kind == kind)
            })
            .await;
        println!("{:?}", report.troubles);
        let source = cluster.members[0].at();
        let member = &mut cluster.members[2];
        member.assign(Some(&record), Role::Replica { source }).await;
        let report = member.settled().await;
        assert_eq!(report.server.unwrap().incarnation, old);
        let mut replica = cluster.members[2].place.app("first").await.unwrap();
        assert_eq!(replica.count().await, 2);
    });
}

/// All replicas lost their volumes: the commits that wait hold up the copy that would end their wait.
#[test]
fn a_copy_that_waiting_commits_hold_up_is_made_and_they_are_kept() {
    block_on(async {
        let mut cluster = with_rows("cdead", 2).await;
        let (donor, record) = (cluster.members[0].at(), cluster.record.clone());
        for member in &mut cluster.members[1..] {
            member.assign(Some(&record), Role::Hold).await;
            member.settled().await;
        }
        let mut app = cluster.members[0].place.app("first").await.unwrap();
        let before = app.count().await;
        let writing = tokio::spawn(async move { app.insert().await });
        let primary = &mut cluster.members[0];
        primary.until_a_commit_waits().await;
        let old = incarnation(&cluster.members[2]);
        let role = Role::Clone {
            donor,
            instead_of: old,
        };
        cluster.members[2].assign(Some(&record), role).await;
        let began = std::time::Instant::now();
        let primary = &mut cluster.members[0];
        primary
            .until("its end", |report| !matches!(report.process, Process::Running))
            .await;
        println!("the donor was ended after {:?}", began.elapsed());
        assert!(
            writing.await.unwrap().is_err(),
            "its client is not told that it is done"
        );
        let report = cluster.members[2]
            .until("the copy", |report| {
                let server = report.server.as_ref();
                report.is_settled && server.is_some_and(|server| server.incarnation != old)
            })
            .await;
        println!("copied after {:?}: {:?}", began.elapsed(), report.troubles);
        let primary = &mut cluster.members[0];
        let refused = primary.place.app("first").await;
        assert!(refused.is_err(), "nobody reads what nobody else has");
        ends_as_a_replica(&mut cluster, 2, old, "nothing").await;
        let mut app = cluster.members[0].place.app("first").await.unwrap();
        assert_eq!(app.count().await, before + 1, "what waited is everywhere");
    });
}
