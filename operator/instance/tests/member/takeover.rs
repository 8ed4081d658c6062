//! Owns the figures of a primary that is opened by proof: from its orders to its first clients.
//! It must not judge speed; it must not go on where a client's write is not taken.

use std::time::{Duration, Instant};

use topology::assignment::Role;

use crate::block_on;
use crate::controller::Cluster;

const ROUNDS: usize = 6;

#[test]
fn who_was_chosen_is_opened_again_and_again() {
    block_on(async {
        let mut cluster = Cluster::new("take", 3).await;
        let mut app = cluster.members[0].place.app("first").await.unwrap();
        app.make_table().await.unwrap();
        let mut took = Vec::new();
        for _ in 0..ROUNDS {
            let mut record = cluster.record.next_epoch();
            for member in &mut cluster.members {
                member.assign(Some(&record), Role::Hold).await;
                member.settled().await;
            }
            cluster.members.rotate_left(1);
            record = record.revised();
            record.primary = cluster.members[0].place.member.clone();
            cluster.record = record.clone();
            took.push(open(&mut cluster).await);
            for member in &mut cluster.members {
                member.settled().await;
            }
            let mut app = cluster.members[0].place.app("first").await.unwrap();
            app.insert().await.unwrap();
        }
        took.sort();
        println!("open after {took:?}, half of them within {:?}", took[ROUNDS / 2]);
        let mut app = cluster.members[0].place.app("first").await.unwrap();
        assert_eq!(app.count().await, ROUNDS as u64);
    });
}

/// A statement holds up the close for longer than anybody waits; what is taken back is served before it ends.
#[test]
fn who_could_not_be_closed_serves_again_at_once() {
    block_on(async {
        let mut cluster = Cluster::new("retake", 2).await;
        let [primary, other] = cluster.members.as_mut_slice() else {
            panic!("two members");
        };
        let mut app = primary.place.app("first").await.unwrap();
        app.make_table().await.unwrap();
        let mut holder = primary.place.root().await;
        let held = tokio::spawn(async move { holder.insert_for(40).await });
        let mut root = primary.place.root().await;
        root.until_somebody_is("User sleep").await;
        let mut record = cluster.record.revised();
        record.handing_to = Some(other.place.member.clone());
        primary.assign(Some(&record), Role::Retire).await;
        root.until_somebody_is("Waiting for global read lock").await;
        let mut record = record.revised();
        record.handing_to = None;
        let began = Instant::now();
        primary.assign(Some(&record), Role::Primary { wait_for: 1 }).await;
        primary.settled().await;
        let mut app = primary.place.app("first").await.unwrap();
        app.insert().await.unwrap();
        println!("written to again after {:?}", began.elapsed());
        assert!(!held.is_finished(), "only when the statement had ended");
        let log = primary.place.log();
        assert!(!log.contains("Lock wait timeout"), "only when a step had failed");
        held.abort();
    });
}

/// Everybody is told at once, as a controller does.
async fn open(cluster: &mut Cluster) -> Duration {
    let record = Some(&cluster.record);
    let [primary, one, other] = cluster.members.as_mut_slice() else {
        panic!("three members");
    };
    let source = primary.at();
    let replica = || Role::Replica {
        source: source.clone(),
    };
    let began = Instant::now();
    tokio::join!(
        primary.assign(record, Role::Primary { wait_for: 1 }),
        one.assign(record, replica()),
        other.assign(record, replica()),
    );
    let promised = began.elapsed();
    let is_open = primary.until("being open", |report| {
        report.server.as_ref().is_some_and(|server| server.is_open)
    });
    is_open.await;
    println!(
        "{}: promised after {promised:?}, open after {:?}",
        primary.place.member,
        began.elapsed()
    );
    began.elapsed()
}
