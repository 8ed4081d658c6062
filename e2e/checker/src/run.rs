//! Owns one run: its clients, its history, its beginning and end.
//! It must not judge what the clients saw.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::client::{Client, Common, Role, Tally};
use crate::event::{Event, FORMAT, Start};
use crate::history::{self, Recorder};
use crate::judge::{MAX_CLIENTS, MAX_REGISTERS};
use crate::sql::{self, Reaper, Session, Target};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to start: {0}")]
    Config(&'static str),
    #[error("failed to make the registers within {0:?}; were the tables made with `setup`?")]
    Registers(Duration, #[source] sql::Error),
    #[error("failed to record; the run was stopped")]
    History(#[from] history::Error),
    #[error("failed to run a client to its end")]
    Client(#[from] tokio::task::JoinError),
}

/// A sign of life in the history, so that a pause of the checker can be told from one of the service.
const TICK: Duration = Duration::from_millis(100);
/// How long the service may take to accept the registers.
const READY_PATIENCE: Duration = Duration::from_secs(60);
/// Clients that only read do it this often.
const READ_PACE: Duration = Duration::from_millis(5);

pub struct Config {
    pub target: Target,
    /// Another Service whose reads may be old.
    pub replicas: Option<Target>,
    pub clients: u32,
    /// This many clients only read the primary, and as many the replicas, if given.
    pub read_clients: u32,
    pub registers: u32,
    pub history: PathBuf,
    /// For each call to the server.
    pub deadline: Duration,
    pub connect_deadline: Duration,
    /// Attempts per second of all writers together.
    pub max_rate: Option<u32>,
}

/// What was done, for people; the history is what counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    pub run: u64,
    pub tally: Tally,
}

/// Runs until `stop` is ready.
pub async fn run(config: Config, stop: impl Future<Output = ()>) -> Result<Summary, Error> {
    check(&config)?;
    let recorder = Recorder::create(&config.history)?;
    let (run, wall_ms) = mark();
    let registers = config.registers;
    recorder.record(&Event::Start(Start {
        format: FORMAT,
        run,
        wall_ms,
        registers,
    }))?;
    let common = Arc::new(Common {
        recorder,
        run,
        registers,
        deadline: config.deadline,
        connect_deadline: config.connect_deadline,
        reaper: Reaper::start(),
    });
    make_registers(&config, &common).await?;
    common.recorder.record(&Event::Ready)?;

    let (stopper, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    for client in clients(&config, &common) {
        tasks.spawn(client.work(stopped.clone()));
    }
    let ticker = tokio::spawn(tick(common.clone()));
    let mut tally = Tally::default();
    tokio::pin!(stop);
    let early = tokio::select! {
        () = &mut stop => None,
        // A client ends by itself only when it cannot record any more.
        ended = tasks.join_next() => ended,
    };
    let stopping = common.recorder.record(&Event::Stop);
    stopper.send_replace(true);
    let mut results: Vec<_> = early.into_iter().collect();
    while let Some(ended) = tasks.join_next().await {
        results.push(ended);
    }
    ticker.abort();
    stopping?;
    for ended in results {
        let part = ended??;
        tally.acknowledged += part.acknowledged;
        tally.failed += part.failed;
        tally.unknown += part.unknown;
        tally.reads += part.reads;
    }
    common.recorder.record(&Event::End)?;
    Ok(Summary { run, tally })
}

fn check(config: &Config) -> Result<(), Error> {
    let all = u64::from(config.clients) + 2 * u64::from(config.read_clients);
    if config.clients == 0 {
        return Err(Error::Config("a run needs at least one client"));
    }
    if usize::try_from(all).map_or(true, |all| all > MAX_CLIENTS) {
        return Err(Error::Config("more clients than a history can hold"));
    }
    if config.registers > MAX_REGISTERS {
        return Err(Error::Config("more registers than a history can hold"));
    }
    if config.read_clients > 0 && config.registers == 0 {
        return Err(Error::Config("clients that only read need registers"));
    }
    Ok(())
}

/// The mark of this run's rows: the time and the process, mixed; and the wall clock once.
fn mark() -> (u64, u64) {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    let wall_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let nanos = u64::from(since.subsec_nanos()) ^ (u64::from(std::process::id()) << 32);
    // 53 bits: tools that read JSON numbers as floats keep it whole.
    let run = (wall_ms.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ nanos.wrapping_mul(0xBF58_476D_1CE4_E5B9)) >> 11;
    (run.max(1), wall_ms)
}

/// Retried whole: the statement does nothing the second time.
async fn make_registers(config: &Config, common: &Common) -> Result<(), Error> {
    let began = Instant::now();
    loop {
        let made = async {
            let target = &config.target;
            let mut session =
                Session::connect(target, common.connect_deadline, common.deadline, &common.reaper).await?;
            session.make_registers(common.run, common.registers).await
        };
        match made.await {
            Ok(()) => return Ok(()),
            Err(error) if began.elapsed() > READY_PATIENCE => {
                return Err(Error::Registers(READY_PATIENCE, error));
            }
            Err(_) => sleep(TICK).await,
        }
    }
}

fn clients(config: &Config, common: &Arc<Common>) -> Vec<Client> {
    let pace = config.max_rate.map_or(Duration::ZERO, |rate| {
        Duration::from_secs_f64(f64::from(config.clients) / f64::from(rate.max(1)))
    });
    let mut all = vec![(Role::Writer, pace, &config.target, config.clients)];
    all.push((Role::Reader, READ_PACE, &config.target, config.read_clients));
    let replicas = config.replicas.as_ref();
    all.extend(replicas.map(|replicas| (Role::ReplicaReader, READ_PACE, replicas, config.read_clients)));
    // Spread over the pace: whoever looks for a gap finds none where nothing happens.
    let each = all.into_iter().flat_map(|(role, pace, target, clients)| {
        (0..clients).map(move |at| (role, pace, target, pace * at / clients))
    });
    (1u32..)
        .zip(each)
        .map(|(id, (role, pace, target, begins_after))| Client {
            common: common.clone(),
            target: target.clone(),
            role,
            id,
            pace,
            begins_after,
        })
        .collect()
}

async fn tick(common: Arc<Common>) {
    let mut beat = interval(TICK);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        // A history that cannot be written ends the clients, and they end the run.
        if common.recorder.record(&Event::Tick).is_err() {
            return;
        }
    }
}
