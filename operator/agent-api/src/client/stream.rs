//! The task behind a link: connect, exchange, and again.
//! Must not end but with its link, or with who listens to it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use topology::assignment::Assignment;

use super::{Event, Leads, What, backoff, last_ping, next_ping};
use crate::chain;
use crate::latest::Latest;
use crate::message::{FRAME_LIMIT_BYTES, FromAgent, ORDER_LIMIT_BYTES, ToAgent, VERSION, is_understood};
use crate::tls::ClientTls;
use crate::wire;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const PING_PERIOD: Duration = Duration::from_millis(500);
/// Reports come every 500 ms. It costs nothing but a new connection if this is too short once.
const SILENCE_LIMIT: Duration = Duration::from_secs(1);
/// A connection that lived so long was none of a row of failures.
const STEADY: Duration = Duration::from_secs(5);

type Reader = wire::Reader<TlsStream<TcpStream>>;
type Writer = wire::Writer<TlsStream<TcpStream>>;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("failed to connect within {} ms", CONNECT_TIMEOUT.as_millis())]
    Timeout,
    #[error("failed to connect")]
    Connect(#[source] std::io::Error),
    #[error("failed to agree on encryption")]
    Tls(#[source] std::io::Error),
    #[error(transparent)]
    Wire(#[from] wire::Error),
    #[error("failed to understand version {theirs}: this is {VERSION}")]
    Version { theirs: u32 },
    #[error("failed to follow the agent: it said {what} out of turn")]
    OutOfTurn { what: &'static str },
    #[error("failed to hear anything for {} ms", SILENCE_LIMIT.as_millis())]
    Silence,
    #[error("failed to find the member there: {found} answers")]
    OtherMember { found: String },
    #[error("failed to find anybody who listens")]
    NobodyListens,
}

pub(super) struct Stream {
    pub(super) member: String,
    pub(super) address: SocketAddr,
    pub(super) tls: watch::Receiver<ClientTls>,
    pub(super) leads: Leads,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) newest: Arc<Latest<Box<Assignment>>>,
}

impl Stream {
    /// Until nobody listens.
    pub(super) async fn keep(self) {
        let mut failures = 0;
        let mut said = None;
        loop {
            let begun = Instant::now();
            let Err(error) = self.once(&mut said).await;
            if matches!(error, Error::NobodyListens) {
                return;
            }
            let why = chain(&error);
            if said.as_ref() != Some(&why) {
                said = Some(why.clone());
                if self.tell(What::Lost { why }).await.is_err() {
                    return;
                }
            }
            failures = if begun.elapsed() < STEADY { failures + 1 } else { 1 };
            sleep(backoff::delay(failures, backoff::jitter())).await;
        }
    }

    /// One connection. Forgets what was said of those before when it is made.
    async fn once(&self, said: &mut Option<String>) -> Result<Infallible, Error> {
        let connected = timeout(CONNECT_TIMEOUT, self.connect()).await;
        let (agent, reader, writer) = connected.map_err(|_| Error::Timeout)??;
        *said = None;
        self.tell(What::Connected { agent }).await?;
        tokio::select! {
            ended = self.listen(reader) => ended,
            ended = self.speak(writer) => ended,
        }
    }

    async fn connect(&self) -> Result<(String, Reader, Writer), Error> {
        let tls = self.tls.borrow().clone();
        let stream = TcpStream::connect(self.address).await.map_err(Error::Connect)?;
        wire::set_up(&stream)?;
        let connector = TlsConnector::from(tls.config);
        let stream = connector
            .connect(tls.server_name, stream)
            .await
            .map_err(Error::Tls)?;
        let (mut reader, mut writer) = wire::split(stream, FRAME_LIMIT_BYTES, ORDER_LIMIT_BYTES);
        // Whether the agent took our certificate shows in its hello.
        writer.send(&ToAgent::Hello { version: VERSION }).await?;
        match reader.next().await? {
            FromAgent::Hello { version, agent } if is_understood(version) => Ok((agent, reader, writer)),
            FromAgent::Hello { version, .. } => Err(Error::Version { theirs: version }),
            other => Err(out_of_turn(&other)),
        }
    }

    async fn listen(&self, mut reader: Reader) -> Result<Infallible, Error> {
        loop {
            let message = timeout(SILENCE_LIMIT, reader.next())
                .await
                .map_err(|_| Error::Silence)??;
            let what = match message {
                FromAgent::Report { report } if report.member != self.member => {
                    return Err(Error::OtherMember { found: report.member });
                }
                FromAgent::Report { report } => What::Report {
                    report,
                    last_ping: last_ping(),
                },
                FromAgent::Promised { term } => What::Promised { term },
                FromAgent::Refused { term, promised, why } => What::Refused { term, promised, why },
                FromAgent::Hello { .. } => return Err(out_of_turn(&message)),
            };
            self.tell(what).await?;
        }
    }

    async fn speak(&self, mut writer: Writer) -> Result<Infallible, Error> {
        let mut period = interval(PING_PERIOD);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let message = tokio::select! {
                _ = period.tick() => ToAgent::Ping { number: next_ping(), leads: (self.leads)() },
                assignment = self.newest.take() => ToAgent::Assign { assignment },
            };
            writer.send(&message).await?;
        }
    }

    async fn tell(&self, what: What) -> Result<(), Error> {
        let event = Event {
            member: self.member.clone(),
            what,
        };
        if matches!(event.what, What::Report { .. }) {
            return match self.events.try_send(event) {
                Ok(()) | Err(TrySendError::Full(_)) => Ok(()),
                Err(TrySendError::Closed(_)) => Err(Error::NobodyListens),
            };
        }
        self.events.send(event).await.map_err(|_| Error::NobodyListens)
    }
}

fn out_of_turn(message: &FromAgent) -> Error {
    let what = match message {
        FromAgent::Hello { .. } => "hello",
        FromAgent::Report { .. } => "a report",
        FromAgent::Promised { .. } => "a promise",
        FromAgent::Refused { .. } => "a refusal",
    };
    Error::OutOfTurn { what }
}
