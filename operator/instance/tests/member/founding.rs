//! Owns the proof of a cluster's beginning: three empty volumes become a primary and its replicas.
//! It must not need a controller's decisions.

use crate::block_on;
use crate::client::code;
use crate::controller::{Cluster, identity};

#[test]
fn three_empty_volumes_become_a_cluster() {
    block_on(async {
        let mut cluster = Cluster::new("found", 3).await;
        let mut app = cluster.members[0].place.app("first").await.unwrap();
        app.make_table().await.unwrap();
        app.insert().await.unwrap();
        let primary = cluster.members[0].settled().await;
        let server = primary.server.unwrap();
        assert!(server.is_open && server.follows.is_none());
        assert_eq!((server.waits_for, server.acknowledging), (Some(1), 2));
        assert!(server.executed.to_string().contains(&format!("{}:1", identity())));
        for member in &mut cluster.members[1..] {
            let place = &member.place;
            let mut replica = place.app("first").await.unwrap();
            assert_eq!(code(&replica.insert().await), 1290);
            let executed = server.executed.clone();
            member
                .until("the rows", |report| {
                    let seen = report.server.as_ref();
                    seen.is_some_and(|seen| executed.is_subset(&seen.executed))
                })
                .await;
            assert_eq!(replica.count().await, 1);
        }
    });
}

#[test]
fn a_member_alone_is_a_cluster() {
    block_on(async {
        let mut cluster = Cluster::new("one", 1).await;
        let report = cluster.members[0].settled().await;
        let server = report.server.unwrap();
        assert!(server.is_open && server.waits_for.is_none());
        let mut app = cluster.members[0].place.app("first").await.unwrap();
        app.make_table().await.unwrap();
        cluster.members[0].place.kill_mysqld();
        cluster.members[0]
            .until("the end", |report| report.server.is_none())
            .await;
        cluster.members[0].settled().await;
        let mut app = cluster.members[0].place.app("first").await.unwrap();
        app.insert().await.unwrap();
    });
}
