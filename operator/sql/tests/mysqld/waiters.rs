//! Owns the proof of what releases a waiting commit, and of what offline mode does to replicas.
//! It must not take a counter for the number of clients that wait.

use std::time::{Duration, Instant};

use sql::settings::Setting;
use sql::status::Receiver;
use sql::{Deadline, Session, epoch, replication, roles, settings, status};
use tokio::time::sleep;

use crate::pair::{PASSWORD, Pair, agent, channel, replication_keys, wait_for};
use crate::server::{Client, within};

pub(crate) async fn waiters(pair: &mut Pair) {
    // The job has the right; here, what happens without it. While there are replicas to acknowledge.
    let mut root = Client::root(&pair.primary).await;
    root.run("REVOKE CONNECTION_ADMIN ON *.* FROM holdfast_replication@'%'")
        .await
        .unwrap();
    pair.stop_receiver().await;
    let waiter = pair.waiter().await;
    let clients = roles::clients(&mut pair.first, within(5)).await.unwrap();
    let waiting: Vec<_> = clients.iter().filter(|client| client.is_waiter()).collect();
    assert_eq!(waiting.len(), 1, "{clients:?}");
    // KILL ends the client's connection, with an error; the server's thread waits on.
    assert!(
        roles::kill_client(&mut pair.first, waiting[0].id, within(5))
            .await
            .unwrap()
    );
    let ended = tokio::time::timeout(Duration::from_secs(5), waiter)
        .await
        .unwrap()
        .unwrap();
    assert!(ended.is_err());
    let counters = status::semi_sync_source(&mut pair.first, within(5))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(counters.waiters, 1);
    let waiter = pair.waiter().await;
    sleep(Duration::from_millis(300)).await;
    // Two commits wait; the counter knows of the one that leads, the other one's state is not that
    // of a waiter.
    let clients = roles::clients(&mut pair.first, within(5)).await.unwrap();
    assert_eq!(
        clients.iter().filter(|client| client.is_waiter()).count(),
        1,
        "{clients:?}"
    );
    assert_eq!(
        clients.iter().filter(|client| client.is_queued()).count(),
        1,
        "{clients:?}"
    );
    let counters = status::semi_sync_source(&mut pair.first, within(5))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(counters.waiters, 1);
    read_only_and_offline(pair, waiter).await;
}

async fn read_only_and_offline(pair: &mut Pair, waiter: tokio::task::JoinHandle<mysql_async::Result<()>>) {
    // Read-only waits behind it; the server gives up with us and nothing switches later.
    let mut other = agent(&pair.primary).await;
    let began = Instant::now();
    let error =
        roles::set_super_read_only(&mut other, true, Deadline::after(Duration::from_millis(1_500))).await;
    println!(
        "super_read_only behind a waiter: {:?} after {:?}",
        error,
        began.elapsed()
    );
    assert_eq!(error.unwrap_err().code(), Some(roles::LOCK_TIMEOUT));
    let seen = settings::read(&mut pair.first, within(5)).await.unwrap();
    assert_eq!(
        (seen.flag(Setting::ReadOnly), seen.flag(Setting::SuperReadOnly)),
        (Some(false), Some(false))
    );
    nobody_is_left_closing(&mut pair.first, agent(&pair.primary).await).await;
    // Offline mode returns at once, and the waiter gets an error, never an OK.
    let began = Instant::now();
    roles::set_offline(&mut pair.first, true, within(2))
        .await
        .unwrap();
    println!("offline_mode with a waiter: {:?}", began.elapsed());
    let ended = tokio::time::timeout(Duration::from_secs(5), waiter)
        .await
        .unwrap()
        .unwrap();
    assert!(ended.is_err());
    // Nobody else comes in, the agent does.
    let refused = Client::tcp(&pair.primary, "app", PASSWORD, true).await;
    assert_eq!(crate::server::code(refused), 3032);
    let mut again = agent(&pair.primary).await;
    let facts = status::read(&mut again, within(5)).await.unwrap();
    assert_eq!(facts.semi_sync_source.unwrap().unacked_transactions, 0);
    offline_and_replicas(pair, &mut again).await;
}

/// Whoever gives up and goes leaves a statement that waits on, and all writes behind it.
async fn nobody_is_left_closing(session: &mut Session, mut closer: Session) {
    let closing = tokio::spawn(async move {
        roles::set_super_read_only(&mut closer, true, within(60))
            .await
            .err()
    });
    until_closing(session, true).await;
    closing.abort();
    assert!(closing.await.unwrap_err().is_cancelled());
    assert_eq!(
        roles::end_abandoned_read_only(session, within(5)).await.unwrap(),
        1
    );
    until_closing(session, false).await;
    let seen = settings::read(session, within(5)).await.unwrap();
    assert_eq!(seen.flag(Setting::SuperReadOnly), Some(false));
}

async fn until_closing(session: &mut Session, is_wanted: bool) {
    let waits = |client: &roles::Client| client.state.as_deref() == Some("Waiting for global read lock");
    let began = Instant::now();
    while roles::clients(session, within(5))
        .await
        .unwrap()
        .iter()
        .any(waits)
        != is_wanted
    {
        assert!(began.elapsed() < Duration::from_secs(20), "not yet: {is_wanted}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// A replica whose user may not administer connections loses its source when that goes offline, and
/// cannot come back: whatever is written then waits for ever.
async fn offline_and_replicas(pair: &mut Pair, primary: &mut Session) {
    replication::start_receiver(&mut pair.second, &replication_keys(), within(10))
        .await
        .unwrap();
    let facts = wait_for(&mut pair.second, "refusal", |facts| {
        channel(facts).receiver_failure.is_some()
    })
    .await;
    assert_eq!(channel(&facts).receiver_failure.as_ref().unwrap().code, 3032);
    online_again(pair, primary).await;
    roles::set_offline(primary, true, within(5)).await.unwrap();
    wait_for(&mut pair.second, "end of the receiver", |facts| {
        channel(facts).receiver == Receiver::Connecting
    })
    .await;
    let mut writer = agent(&pair.primary).await;
    let written = epoch::beat(&mut writer, 9, within(2)).await;
    assert!(matches!(written, Err(sql::Error::Timeout { .. })), "{written:?}");
    online_again(pair, primary).await;
    // With the right to administer connections, as the job has it, the replica stays.
    let mut root = Client::root(&pair.primary).await;
    root.run("GRANT CONNECTION_ADMIN ON *.* TO holdfast_replication@'%'")
        .await
        .unwrap();
    pair.stop_receiver().await;
    pair.start_receiver().await;
    roles::set_offline(primary, true, within(5)).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    epoch::beat(primary, 9, within(5)).await.unwrap();
    let facts = status::read(&mut pair.second, within(5)).await.unwrap();
    assert_eq!(channel(&facts).receiver, Receiver::On);
    let counters = status::semi_sync_source(primary, within(5))
        .await
        .unwrap()
        .unwrap();
    assert!(counters.is_on && counters.unacked_transactions == 0 && counters.off_times == 0);
}

async fn online_again(pair: &mut Pair, primary: &mut Session) {
    roles::set_offline(primary, false, within(5)).await.unwrap();
    wait_for(&mut pair.second, "receiver", |facts| {
        channel(facts).receiver == Receiver::On && facts.semi_sync_replica == Some(true)
    })
    .await;
    wait_for(primary, "acknowledgement", |facts| {
        facts
            .semi_sync_source
            .as_ref()
            .is_some_and(|source| source.waiters == 0)
    })
    .await;
}
