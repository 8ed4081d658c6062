//! The agent's end: lets controllers in, hands them reports, hands on their orders.
//! Must not let a slow or dead peer hold up the agent or another peer.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use topology::assignment::Assignment;
use topology::report::Report;
use topology::term::Term;

use crate::chain;
use crate::tls::{Files, ServerTls};

mod connection;
mod heard;

/// One works and others come and go; each costs a stream's buffers.
const CONNECTIONS_LIMIT: usize = 4;
/// Strangers can begin these: the oldest goes when there are more. A controller needs milliseconds.
const HANDSHAKES_LIMIT: usize = 8;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// How often files are compared, with and without any that are fit.
const FILES_PERIOD: Duration = Duration::from_secs(10);
const FILES_MISSING_PERIOD: Duration = Duration::from_millis(500);
/// When the system has no more descriptors, say, before it is asked again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Orders what happens in this process: a ping was received before or after a sampling began.
#[derive(Debug)]
pub struct Clock {
    ticks: AtomicU64,
    led: Mutex<Instant>,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            ticks: AtomicU64::default(),
            led: Mutex::new(Instant::now()),
        }
    }
}

impl Clock {
    /// Each call gets a higher number.
    pub fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// How long no controller that leads was heard, or since the start.
    pub fn silence(&self) -> Duration {
        self.led.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    fn pinged(&self, leads: bool) -> u64 {
        if leads {
            *self.led.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
        self.tick()
    }
}

/// A report and when its sampling began.
#[derive(Debug)]
pub struct Sampled {
    /// `heard` is filled in for each connection.
    pub report: Report,
    /// `Clock::tick()` before the first of the report's facts was asked for.
    pub started: u64,
}

/// What a controller asks. Keep it on the volume, then answer.
#[derive(Debug)]
pub struct Order {
    pub assignment: Box<Assignment>,
    /// The term that was promised. Dropped without an answer: the connection is closed.
    pub answer: oneshot::Sender<Result<Term, Refused>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub promised: Term,
    /// A line for a person, without secrets.
    pub why: String,
}

/// What connections share with the agent. They wait for `orders` to have room, each with the newest
/// that its peer asked for: what was replaced before it got in is not answered.
#[derive(Clone, Debug)]
pub struct Shared {
    pub clock: Arc<Clock>,
    pub reports: watch::Receiver<Arc<Sampled>>,
    pub orders: mpsc::Sender<Order>,
}

/// Serves until dropped. `folder` holds `ca.crt`, `tls.crt` and `tls.key`; while they are missing
/// or wrong nobody is let in. `agent` is the program's version.
pub async fn serve(listener: TcpListener, folder: &Path, agent: &str, shared: Shared) -> Infallible {
    let mut certificates = Certificates::new(folder);
    let mut door = Door {
        agent: agent.to_owned(),
        shared,
        handshakes: JoinSet::new(),
        oldest: VecDeque::new(),
        connections: JoinSet::new(),
    };
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => door.knock(stream, peer, certificates.tls.clone()),
                Err(error) => {
                    tracing::warn!(why = chain(&error), "failed to accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(peer) = door.handshakes.join_next() => {
                if let Ok(Some(peer)) = peer {
                    door.enter(peer);
                }
            }
            Some(_) = door.connections.join_next() => {}
            () = sleep_until(certificates.due) => certificates.check(),
        }
    }
}

/// Everybody who is in or wants in. Dropped: all connections end.
struct Door {
    agent: String,
    shared: Shared,
    handshakes: JoinSet<Option<connection::Peer>>,
    oldest: VecDeque<AbortHandle>,
    connections: JoinSet<()>,
}

impl Door {
    fn knock(&mut self, stream: TcpStream, peer: SocketAddr, tls: Option<ServerTls>) {
        let Some(tls) = tls else {
            tracing::info!(%peer, "turned away: there are no certificates yet");
            return;
        };
        self.oldest.retain(|handshake| !handshake.is_finished());
        if self.oldest.len() >= HANDSHAKES_LIMIT
            && let Some(handshake) = self.oldest.pop_front()
        {
            handshake.abort();
        }
        let agent = self.agent.clone();
        let handshake = self.handshakes.spawn(async move {
            let why = match timeout(
                HANDSHAKE_TIMEOUT,
                connection::shake_hands(stream, peer, tls, agent),
            )
            .await
            {
                Ok(Ok(peer)) => return Some(peer),
                Ok(Err(error)) => chain(&error),
                Err(_) => "too slow".to_owned(),
            };
            tracing::info!(%peer, why, "turned away");
            None
        });
        self.oldest.push_back(handshake);
    }

    fn enter(&mut self, peer: connection::Peer) {
        if self.connections.len() >= CONNECTIONS_LIMIT {
            tracing::warn!(peer = %peer.address, limit = CONNECTIONS_LIMIT, "turned away: too many are here");
            return;
        }
        self.connections.spawn(connection::run(peer, self.shared.clone()));
    }
}

/// The newest fit files.
struct Certificates {
    folder: PathBuf,
    files: Option<Files>,
    tls: Option<ServerTls>,
    due: Instant,
}

impl Certificates {
    fn new(folder: &Path) -> Self {
        let mut certificates = Self {
            folder: folder.to_owned(),
            files: None,
            tls: None,
            due: Instant::now(),
        };
        certificates.check();
        certificates
    }

    /// Files that are unfit, half written say, leave the ones before in use and are tried again.
    fn check(&mut self) {
        let read = Files::read(&self.folder).and_then(|files| {
            if self.files.as_ref() == Some(&files) {
                return Ok(None);
            }
            let tls = files.server()?;
            Ok(Some((files, tls)))
        });
        match read {
            Ok(None) => {}
            Ok(Some((files, tls))) => {
                tracing::info!("certificates of the stream loaded");
                (self.files, self.tls) = (Some(files), Some(tls));
            }
            Err(error) => tracing::warn!(why = chain(&error), "certificates of the stream are unfit"),
        }
        let period = if self.tls.is_some() {
            FILES_PERIOD
        } else {
            FILES_MISSING_PERIOD
        };
        self.due = Instant::now() + period;
    }
}

#[cfg(test)]
mod tests {
    use super::Certificates;
    use crate::tests::support::{Authority, Folder};

    #[tokio::test]
    async fn files_are_used_once_they_are_fit_and_again_when_they_change() {
        let folder = Folder::new();
        let mut certificates = Certificates::new(folder.path());
        assert!(certificates.tls.is_none());
        let authority = Authority::new();
        folder.put(&authority, &authority.server());
        let mut loaded = || {
            certificates.check();
            std::sync::Arc::clone(&certificates.tls.as_ref().unwrap().0)
        };
        let first = loaded();
        assert!(std::sync::Arc::ptr_eq(&first, &loaded()));
        // Half written: the ones before stay.
        std::fs::write(folder.path().join("tls.key"), "nonsense").unwrap();
        assert!(std::sync::Arc::ptr_eq(&first, &loaded()));
        folder.put(&authority, &authority.server());
        let second = loaded();
        assert!(!std::sync::Arc::ptr_eq(&first, &second));
        std::fs::remove_file(folder.path().join("ca.crt")).unwrap();
        assert!(std::sync::Arc::ptr_eq(&second, &loaded()));
    }
}
