//! Owns the story of two servers: seeded by clone, replicating with acknowledgements over TLS.
//! It must not judge speed, and must not go on with a state that it did not see.

use std::time::{Duration, Instant};

use sql::clone::{Donor, Ended, Phase};
use sql::replication::Source;
use sql::settings::{Change, Setting, Value};
use sql::status::{Channel, Facts, Receiver};
use sql::users::{Binlog, Job, User};
use sql::{Deadline, Secret, Session, clone, epoch, replication, roles, settings, status, users};
use tokio::time::sleep;
use topology::gtid::{GtidSet, Uuid};

use crate::server::{Authority, Client, Server, credentials, within};
use crate::{block_on, waiters};

pub(crate) const PASSWORD: &str = "not-a-secret-either";
const IDENTITY: &str = "eeeeeeee-eeee-eeee-eeee-eeeeeeeeeeee";

pub(crate) async fn agent(server: &Server) -> Session {
    let keys = credentials("holdfast_agent", PASSWORD);
    Session::connect(&server.socket(), &keys, within(20))
        .await
        .unwrap()
}

/// The operator's users and tables, and a table of an application's.
pub(crate) async fn furnish(server: &mut Server) {
    let mut root = server.ready().await;
    epoch::make_tables(&mut root, Binlog::Off, within(20))
        .await
        .unwrap();
    for job in Job::ALL {
        let user = User::of_job(job);
        let secret = Secret::new(PASSWORD);
        users::ensure(&mut root, &user, &secret, Binlog::Off, within(20))
            .await
            .unwrap();
    }
    users::ensure_database(&mut root, "app", within(20))
        .await
        .unwrap();
    let user = User::of_application("app", &["app"]).unwrap();
    let secret = Secret::new(PASSWORD);
    users::ensure(&mut root, &user, &secret, Binlog::On, within(20))
        .await
        .unwrap();
    let mut app = app(server).await;
    let sql = "CREATE TABLE app.t (id BIGINT AUTO_INCREMENT PRIMARY KEY, text LONGTEXT)";
    app.run(sql).await.unwrap();
}

pub(crate) async fn app(server: &Server) -> Client {
    Client::tcp(server, "app", PASSWORD, true).await.unwrap()
}

/// Replaces the data of the second server by the first one's.
pub(crate) async fn seed(from: &Server, to: &mut Server) {
    let mut root = to.ready().await;
    let donor = Donor {
        host: "127.0.0.1".into(),
        port: from.port,
    };
    let file = to.authority_file();
    clone::allow(&mut root, std::slice::from_ref(&donor), Some(&file), within(10))
        .await
        .unwrap();
    let wrong = clone::clone_from(
        &mut root,
        &donor,
        &credentials("holdfast_clone", "wrong"),
        within(30),
    )
    .await;
    let wrong = wrong.unwrap_err();
    assert_eq!(wrong.code(), Some(3862), "{wrong}");
    let keys = credentials("holdfast_clone", PASSWORD);
    let ended = clone::clone_from(&mut root, &donor, &keys, within(90))
        .await
        .unwrap();
    assert_eq!(ended, Ended::Cloned);
    to.ended().await;
    to.spawn();
    to.ready().await;
    let mut agent = agent(to).await;
    let state = clone::state(&mut agent, within(10)).await.unwrap().unwrap();
    assert_eq!((state.phase, state.code), (Phase::Completed, 0), "{state:?}");
    assert!(state.source.ends_with(&from.port.to_string()), "{state:?}");
    let stages = clone::progress(&mut agent, within(10)).await.unwrap();
    assert!(
        stages.len() >= 7 && stages.iter().all(|stage| stage.phase == Phase::Completed),
        "{stages:?}"
    );
}

fn source(server: &Server, replica: &Server) -> Source {
    Source {
        host: "127.0.0.1".into(),
        port: server.port,
        authority_file: replica.authority_file(),
    }
}

pub(crate) fn replication_keys() -> sql::connect::Credentials {
    credentials("holdfast_replication", PASSWORD)
}

pub(crate) async fn attach(primary: &Server, replica: &Server) {
    let mut agent = agent(replica).await;
    replication::acknowledge(&mut agent, true, within(10))
        .await
        .unwrap();
    replication::define_source(&mut agent, &source(primary, replica), within(10))
        .await
        .unwrap();
    replication::start_applier(&mut agent, within(10)).await.unwrap();
    replication::start_receiver(&mut agent, &replication_keys(), within(10))
        .await
        .unwrap();
    wait_for(&mut agent, "a receiver", |facts| {
        facts.semi_sync_replica == Some(true)
    })
    .await;
}

pub(crate) async fn wait_for(session: &mut Session, what: &str, is_so: impl Fn(&Facts) -> bool) -> Facts {
    let began = Instant::now();
    loop {
        let facts = status::read(session, within(10)).await.unwrap();
        if is_so(&facts) {
            return facts;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "no {what}: {facts:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn channel(facts: &Facts) -> &Channel {
    assert_eq!(facts.channels.len(), 1);
    &facts.channels[0]
}

pub(crate) struct Pair {
    pub(crate) primary: Server,
    pub(crate) replica: Server,
    /// Agents' sessions with each.
    pub(crate) first: Session,
    pub(crate) second: Session,
}

impl Pair {
    async fn start(name: &str) -> Pair {
        let authority = Authority::new();
        let mut primary = Server::start(&format!("{name}-1"), 1, &authority, &[]);
        let mut replica = Server::start(&format!("{name}-2"), 2, &authority, &["--super-read-only=ON"]);
        furnish(&mut primary).await;
        seed(&primary, &mut replica).await;
        attach(&primary, &replica).await;
        let (mut first, second) = (agent(&primary).await, agent(&replica).await);
        replication::wait_for_replicas(&mut first, 1, within(10))
            .await
            .unwrap();
        Pair {
            primary,
            replica,
            first,
            second,
        }
    }

    pub(crate) async fn stop_receiver(&mut self) {
        replication::stop_receiver(&mut self.second, within(10))
            .await
            .unwrap();
    }

    pub(crate) async fn start_receiver(&mut self) {
        replication::start_receiver(&mut self.second, &replication_keys(), within(10))
            .await
            .unwrap();
        wait_for(&mut self.second, "a receiver", |facts| {
            facts.semi_sync_replica == Some(true)
        })
        .await;
    }

    /// A commit of an application that waits, in a task of its own: its end is its result.
    pub(crate) async fn waiter(&mut self) -> tokio::task::JoinHandle<mysql_async::Result<()>> {
        let mut app = app(&self.primary).await;
        let waiter = tokio::spawn(async move { app.run("INSERT INTO app.t (text) VALUES ('waits')").await });
        let facts = wait_for(&mut self.first, "a waiter", |facts| {
            facts
                .semi_sync_source
                .as_ref()
                .is_some_and(|source| source.waiters > 0)
        });
        facts.await;
        waiter
    }
}

#[test]
fn two_servers() {
    block_on(async {
        let mut pair = Pair::start("pair").await;
        facts_of_both(&mut pair).await;
        barriers(&mut pair).await;
        accounts_stay_with_the_primary(&mut pair).await;
        change_of_settings(&mut pair).await;
        sets_and_threads(&mut pair).await;
        waiters::waiters(&mut pair).await;
    });
}

async fn facts_of_both(pair: &mut Pair) {
    app(&pair.primary)
        .await
        .run("INSERT INTO app.t (text) VALUES ('one')")
        .await
        .unwrap();
    let primary = status::read(&mut pair.first, within(10)).await.unwrap();
    let executed = primary.gtid_executed.clone();
    assert!(
        replication::wait_applied(&mut pair.second, &executed, within(10))
            .await
            .unwrap()
    );
    let replica = status::read(&mut pair.second, within(10)).await.unwrap();
    assert_ne!(primary.server_uuid, replica.server_uuid);
    assert_eq!((primary.server_id, replica.server_id), (1, 2));
    assert_eq!(primary.gtid_executed, replica.gtid_executed);
    assert_eq!(replica.received_or_executed(), replica.gtid_executed);
    assert!(primary.channels.is_empty() && primary.clone.is_none());
    let source = primary.semi_sync_source.unwrap();
    assert!(source.is_on && source.clients == 1 && source.waiters == 0 && source.acked_transactions > 0);
    assert_eq!(source.off_times, 0);
    assert!(!replica.semi_sync_source.as_ref().unwrap().is_on);
    assert_eq!(
        (primary.semi_sync_replica, replica.semi_sync_replica),
        (Some(false), Some(true))
    );
    let seen = channel(&replica);
    assert_eq!(
        (seen.source_host.as_str(), seen.source_port),
        ("127.0.0.1", pair.primary.port)
    );
    assert_eq!(seen.source_uuid, Some(primary.server_uuid));
    assert!(seen.auto_position && !seen.auto_failover && seen.is_applier_on && !seen.is_applying());
    assert_eq!(seen.receiver, Receiver::On);
    assert!(
        seen.received.count() >= 1 && seen.received.is_subset(&executed),
        "{seen:?}"
    );
    assert!(seen.workers.len() == 4 && seen.receiver_failure.is_none() && seen.applier_failure.is_none());
    assert_eq!(replica.settings.flag(Setting::SuperReadOnly), Some(true));
    assert_eq!(
        primary.settings.number(Setting::SemiSyncTimeout),
        Some(u64::from(u32::MAX))
    );
    assert!(primary.binlog.as_ref().unwrap().file.starts_with("binlog."));
    assert!(primary.binlog.unwrap().position > 0 && primary.threads_connected > 0);
    threads_of_both(pair, seen.heartbeats).await;
}

async fn threads_of_both(pair: &mut Pair, beats: u64) {
    // An idle source sends a heartbeat a second.
    let facts = wait_for(&mut pair.second, "heartbeat", |facts| {
        channel(facts).heartbeats > beats + 1
    })
    .await;
    assert!(channel(&facts).news_age.unwrap() < Duration::from_secs(5));
    // The dump thread of the replica, encrypted; no user of a thread of the server itself.
    let clients = roles::clients(&mut pair.first, within(5)).await.unwrap();
    let dumps: Vec<_> = clients.iter().filter(|client| client.is_dump()).collect();
    assert!(
        dumps.len() == 1 && dumps[0].user.as_deref() == Some("holdfast_replication"),
        "{clients:?}"
    );
    assert!(
        roles::clients(&mut pair.second, within(5))
            .await
            .unwrap()
            .is_empty()
    );
    let types = "SELECT CONNECTION_TYPE FROM performance_schema.threads WHERE PROCESSLIST_COMMAND LIKE 'Binlog Dump%'";
    assert_eq!(Client::root(&pair.primary).await.texts(types).await, ["SSL/TLS"]);
    // No password of the source lies in the replica's tables.
    let stored = "SELECT CONCAT(User_name, '/', User_password) FROM mysql.slave_master_info";
    let stored = Client::root(&pair.replica).await.texts(stored).await;
    assert_eq!(stored, ["/"]);
}

async fn barriers(pair: &mut Pair) {
    let identity: Uuid = IDENTITY.parse().unwrap();
    for _ in 0..5 {
        let began = Instant::now();
        epoch::beat(&mut pair.first, 1, within(5)).await.unwrap();
        let beat = began.elapsed();
        status::semi_sync_source(&mut pair.first, within(5))
            .await
            .unwrap();
        let counters = began.elapsed() - beat;
        status::read(&mut pair.first, within(5)).await.unwrap();
        println!(
            "heartbeat {beat:?}, counters {counters:?}, all facts {:?}",
            began.elapsed() - beat - counters
        );
    }
    let began = Instant::now();
    let barrier = epoch::barrier(&mut pair.first, identity, 1, within(5))
        .await
        .unwrap();
    println!("barrier: {:?}", began.elapsed());
    let (before, after) = (barrier.before.unwrap(), barrier.after.unwrap());
    assert!(barrier.is_new && after.is_on);
    assert_eq!(after.acked_transactions, before.acked_transactions + 1);
    assert_eq!(after.unacked_transactions, before.unacked_transactions);
    let sets = status::read_sets(&mut pair.second, within(5)).await.unwrap();
    assert_eq!(epoch::highest(identity, &sets.received), 1);
    let gtid: GtidSet = format!("{IDENTITY}:1").parse().unwrap();
    assert!(
        replication::wait_applied(&mut pair.second, &gtid, within(5))
            .await
            .unwrap()
    );
    assert_eq!(
        epoch::rows(&mut pair.second, within(5)).await.unwrap()[0].number,
        1
    );
    let again = epoch::barrier(&mut pair.first, identity, 1, within(5))
        .await
        .unwrap();
    assert!(!again.is_new);
    assert_eq!(
        again.after.unwrap().acked_transactions,
        again.before.unwrap().acked_transactions + 1
    );
    // Without an acker it does not return, and neither does a second attempt.
    pair.stop_receiver().await;
    for _ in 0..2 {
        let mut session = agent(&pair.primary).await;
        let deadline = Deadline::after(Duration::from_millis(500));
        let error = epoch::barrier(&mut session, identity, 2, deadline)
            .await
            .unwrap_err();
        assert!(matches!(error, sql::Error::Timeout { .. }), "{error:?}");
    }
    pair.start_receiver().await;
    let mut session = agent(&pair.primary).await;
    let late = epoch::barrier(&mut session, identity, 2, within(10))
        .await
        .unwrap();
    assert!(!late.is_new && late.after.unwrap().unacked_transactions == 0);
    let beat = epoch::read_heartbeat(&mut pair.first, within(5))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(beat.epoch, 2);
}

/// A replica refuses account statements even with its binary log off: they replicate, or nothing.
async fn accounts_stay_with_the_primary(pair: &mut Pair) {
    let user = User::of_application("later", &["app"]).unwrap();
    let secret = Secret::new("x");
    let mut root = pair.replica.root().await.unwrap();
    let error = users::ensure(&mut root, &user, &secret, Binlog::Off, within(5))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some(1290), "{error:?}");
    let mut root = pair.primary.root().await.unwrap();
    users::ensure(&mut root, &user, &secret, Binlog::On, within(5))
        .await
        .unwrap();
    let sets = status::read_sets(&mut pair.first, within(5)).await.unwrap();
    assert!(
        replication::wait_applied(&mut pair.second, &sets.executed, within(5))
            .await
            .unwrap()
    );
    assert!(Client::tcp(&pair.replica, "later", "x", true).await.is_ok());
}

async fn change_of_settings(pair: &mut Pair) {
    let first = &mut pair.first;
    let values = [
        (Setting::SyncBinlog, Value::Number(100)),
        (Setting::SenderObserveCommitOnly, Value::Flag(true)),
        (Setting::SemiSyncWaitPoint, Value::Word("AFTER_COMMIT".into())),
    ];
    let before = settings::read(first, within(5)).await.unwrap();
    assert_eq!(
        before.iter().count(),
        Setting::ALL.len(),
        "all plugins are loaded"
    );
    settings::set(first, &values, within(5)).await.unwrap();
    let after = settings::read(first, within(5)).await.unwrap();
    for (setting, value) in &values {
        assert_eq!(after.get(*setting), Some(value));
    }
    // What the table calls changeable can be set to what it is, and the rest cannot.
    let mut root = Client::root(&pair.primary).await;
    for (setting, value) in before.iter() {
        if setting.change() == Change::Restart {
            let code = root
                .code(&format!("SET GLOBAL {} = {value}", setting.name()))
                .await;
            assert_eq!(code, 1238, "{setting:?}");
        }
    }
    let back: Vec<_> = before
        .iter()
        .filter(|(setting, _)| setting.change() == Change::Running)
        .map(|(setting, value)| (setting, value.clone()))
        .collect();
    settings::set(first, &back, within(5)).await.unwrap();
    assert_eq!(settings::read(first, within(5)).await.unwrap(), before);
}

async fn sets_and_threads(pair: &mut Pair) {
    // What never comes: the answer is there before the deadline.
    let never: GtidSet = "99999999-9999-9999-9999-999999999999:1".parse().unwrap();
    let began = Instant::now();
    let deadline = Deadline::after(Duration::from_millis(600));
    assert!(
        !replication::wait_applied(&mut pair.second, &never, deadline)
            .await
            .unwrap()
    );
    assert!(began.elapsed() < Duration::from_millis(600));
    // The receiver alone is moved: the applier runs on.
    let source = source(&pair.primary, &pair.replica);
    let began = Instant::now();
    pair.stop_receiver().await;
    replication::change_source(&mut pair.second, &source, within(5))
        .await
        .unwrap();
    pair.start_receiver().await;
    println!("receiver moved and attached: {:?}", began.elapsed());
    let error = replication::define_source(&mut pair.second, &source, within(5))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some(3081), "both threads run");
    // A killed applier says so, and starts again.
    let killed = replication::kill_workers(&mut pair.second, within(5))
        .await
        .unwrap();
    let facts = wait_for(&mut pair.second, "end of the applier", |facts| {
        !channel(facts).is_applier_on
    })
    .await;
    println!("killed {killed} workers: {:?}", channel(&facts).applier_failure);
    replication::start_applier(&mut pair.second, within(5))
        .await
        .unwrap();
    wait_for(&mut pair.second, "applier", |facts| channel(facts).is_applier_on).await;
    replication::stop_applier(&mut pair.second, within(5))
        .await
        .unwrap();
    replication::start_applier(&mut pair.second, within(5))
        .await
        .unwrap();
}
