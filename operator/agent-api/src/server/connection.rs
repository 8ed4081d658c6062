//! One controller's stream.
//! Must not wait for the peer without a limit.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use topology::assignment::Assignment;

use super::heard::Heard;
use super::{Order, Sampled, Shared};
use crate::chain;
use crate::latest::Latest;
use crate::message::{FRAME_LIMIT_BYTES, FromAgent, ORDER_LIMIT_BYTES, ToAgent, VERSION, is_understood};
use crate::tls::ServerTls;
use crate::wire;

/// A controller that sends no ping for so long is gone, or as good as.
const SILENCE_LIMIT: Duration = Duration::from_secs(10);
/// Reports are sent at once when they are new, and at least so often.
const REPORT_PERIOD: Duration = Duration::from_millis(500);

type Reader = wire::Reader<TlsStream<TcpStream>>;
type Writer = wire::Writer<TlsStream<TcpStream>>;

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("failed to agree on encryption")]
    Tls(#[source] std::io::Error),
    #[error(transparent)]
    Wire(#[from] wire::Error),
    #[error("failed to understand version {theirs}: this is {VERSION}")]
    Version { theirs: u32 },
    #[error("failed to follow the peer: it said {what} out of turn")]
    OutOfTurn { what: &'static str },
    #[error("failed to hear a ping for {} ms", SILENCE_LIMIT.as_millis())]
    Silence,
    #[error("failed to reach the agent behind the stream")]
    AgentGone,
}

/// Somebody who is who they should be.
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    reader: Reader,
    writer: Writer,
}

pub(super) async fn shake_hands(
    stream: TcpStream,
    address: SocketAddr,
    tls: ServerTls,
    agent: String,
) -> Result<Peer, Error> {
    wire::set_up(&stream)?;
    let stream = TlsAcceptor::from(tls.0)
        .accept(stream)
        .await
        .map_err(Error::Tls)?;
    let (mut reader, mut writer) = wire::split(stream, ORDER_LIMIT_BYTES, FRAME_LIMIT_BYTES);
    let hello = FromAgent::Hello {
        version: VERSION,
        agent,
    };
    writer.send(&hello).await?;
    match reader.next().await? {
        ToAgent::Hello { version } if is_understood(version) => Ok(Peer {
            address,
            reader,
            writer,
        }),
        ToAgent::Hello { version } => Err(Error::Version { theirs: version }),
        other => Err(out_of_turn(&other)),
    }
}

pub(super) async fn run(peer: Peer, shared: Shared) {
    let address = peer.address;
    tracing::info!(peer = %address, "a controller is here");
    let heard = Mutex::new(Heard::default());
    let newest = Latest::new();
    let (answers_in, answers) = mpsc::channel(1);
    // None of the three waits for another: pings are heard while a report is being written.
    let ended = tokio::select! {
        ended = listen(peer.reader, &shared, &heard, &newest) => ended,
        ended = speak(peer.writer, shared.clone(), &heard, answers) => ended,
        ended = hand_on(&shared, &newest, answers_in) => ended,
    };
    let Err(error) = ended;
    tracing::info!(peer = %address, why = chain(&error), "a controller is gone");
}

async fn listen(
    mut reader: Reader,
    shared: &Shared,
    heard: &Mutex<Heard>,
    newest: &Latest<Box<Assignment>>,
) -> Result<Infallible, Error> {
    let mut deadline = Instant::now() + SILENCE_LIMIT;
    loop {
        let message = timeout_at(deadline, reader.next())
            .await
            .map_err(|_| Error::Silence)??;
        match message {
            ToAgent::Ping { number, leads } => {
                let received = shared.clock.pinged(leads);
                lock(heard).ping(number, received);
                deadline = Instant::now() + SILENCE_LIMIT;
            }
            ToAgent::Assign { assignment } => newest.put(assignment),
            ToAgent::Hello { .. } => return Err(out_of_turn(&message)),
        }
    }
}

/// One order at a time; of those that come meanwhile, the newest.
async fn hand_on(
    shared: &Shared,
    newest: &Latest<Box<Assignment>>,
    answers: mpsc::Sender<FromAgent>,
) -> Result<Infallible, Error> {
    loop {
        let assignment = newest.take().await;
        let term = assignment.term();
        let (answer, answered) = oneshot::channel();
        let order = Order { assignment, answer };
        shared.orders.send(order).await.map_err(|_| Error::AgentGone)?;
        let message = match answered.await.map_err(|_| Error::AgentGone)? {
            Ok(term) => FromAgent::Promised { term },
            Err(refused) => FromAgent::Refused {
                term,
                promised: refused.promised,
                why: refused.why,
            },
        };
        answers.send(message).await.map_err(|_| Error::AgentGone)?;
    }
}

async fn speak(
    mut writer: Writer,
    mut shared: Shared,
    heard: &Mutex<Heard>,
    mut answers: mpsc::Receiver<FromAgent>,
) -> Result<Infallible, Error> {
    let mut period = interval(REPORT_PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            Some(answer) = answers.recv() => {
                writer.send(&answer).await?;
                continue;
            }
            changed = shared.reports.changed() => {
                changed.map_err(|_| Error::AgentGone)?;
                period.reset();
            }
            _ = period.tick() => {}
        }
        let sampled = Arc::clone(&shared.reports.borrow_and_update());
        writer.send(&report(&sampled, heard)).await?;
    }
}

fn report(sampled: &Sampled, heard: &Mutex<Heard>) -> FromAgent {
    let mut report = Box::new(sampled.report.clone());
    report.heard = lock(heard).before(sampled.started);
    FromAgent::Report { report }
}

fn lock(heard: &Mutex<Heard>) -> std::sync::MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn out_of_turn(message: &ToAgent) -> Error {
    let what = match message {
        ToAgent::Hello { .. } => "hello",
        ToAgent::Ping { .. } => "a ping",
        ToAgent::Assign { .. } => "an assignment",
    };
    Error::OutOfTurn { what }
}
