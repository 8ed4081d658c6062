//! Owns the proof of the remedy for an applier that holds a part of a transaction.
//! It must not pass where the applier held none.

use std::time::{Duration, Instant};

use sql::replication::{self, Healed, Source};
use sql::status;
use tokio::time::sleep;

use crate::block_on;
use crate::pair::{PASSWORD, agent, app, attach, furnish, seed};
use crate::server::{Authority, Server, credentials, within};

/// The source is killed in the middle of sending: without the remedy, stopping the applier takes a
/// minute.
#[test]
fn a_part_of_a_transaction_is_rolled_back() {
    block_on(async {
        let authority = Authority::new();
        let replica_options = ["--super-read-only=ON"];
        let mut primary = Server::start("heal-1", 1, &authority, &["--max-allowed-packet=128M"]);
        let mut candidate = Server::start("heal-2", 2, &authority, &replica_options);
        let mut sibling = Server::start("heal-3", 3, &authority, &replica_options);
        furnish(&mut primary).await;
        seed(&primary, &mut candidate).await;
        seed(&primary, &mut sibling).await;
        attach(&primary, &candidate).await;
        attach(&primary, &sibling).await;
        // The writer is not answered before the whole has been received.
        let mut session = agent(&primary).await;
        replication::wait_for_replicas(&mut session, 2, within(10))
            .await
            .unwrap();
        let mut session = agent(&candidate).await;
        kill_while_sending(&mut primary, &mut session).await;
        // As a failover does it: the receivers first, everywhere.
        let mut other = agent(&sibling).await;
        for session in [&mut session, &mut other] {
            replication::stop_receiver(session, within(10)).await.unwrap();
        }
        let channels = status::channels(&mut session, within(5)).await.unwrap();
        assert!(
            channels[0].is_applying(),
            "the applier holds nothing: {channels:?}"
        );
        let source = Source {
            host: "127.0.0.1".into(),
            port: sibling.port,
            authority_file: candidate.authority_file(),
        };
        let keys = credentials("holdfast_replication", PASSWORD);
        let began = Instant::now();
        let healed = replication::heal(&mut session, &source, &keys, within(20))
            .await
            .unwrap();
        let took = began.elapsed();
        assert_eq!(healed, Healed::Idle);
        let began = Instant::now();
        replication::stop_applier(&mut session, within(30)).await.unwrap();
        println!("healed in {took:?}, then stopped in {:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(10));
        replication::reset(&mut session, within(10)).await.unwrap();
        let sets = status::read_sets(&mut session, within(5)).await.unwrap();
        assert!(sets.received.is_empty() && !sets.executed.is_empty());
    });
}

async fn kill_while_sending(primary: &mut Server, replica: &mut sql::Session) {
    let mut app = app(primary).await;
    let writer = tokio::spawn(async move {
        // 160 rows of one megabyte, one transaction.
        let rows = "WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 160) \
             SELECT REPEAT('x', 1000000) FROM r";
        app.run(&format!("INSERT INTO app.t (text) {rows}")).await
    });
    let began = Instant::now();
    loop {
        let channels = status::channels(replica, within(5)).await.unwrap();
        if channels[0].receiving.is_some() && channels[0].is_applying() {
            break;
        }
        assert!(!writer.is_finished(), "all was sent before it was seen");
        assert!(began.elapsed() < Duration::from_secs(60), "nothing is sent");
        sleep(Duration::from_millis(1)).await;
    }
    primary.kill();
    assert!(writer.await.unwrap().is_err());
}
