//! The controller's end: one stream to a member that is kept open for as long as it is wanted.
//! Must not judge a report, or what silence means.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use topology::assignment::Assignment;
use topology::report::Report;
use topology::term::Term;

use crate::latest::Latest;
use crate::tls::ClientTls;

mod backoff;
mod stream;

/// What happened on a link. Events of one link come in order.
#[derive(Debug)]
pub struct Event {
    pub member: String,
    pub what: What,
}

#[derive(Debug)]
pub enum What {
    /// Both said hello. `agent` is the version of the member's program.
    Connected {
        agent: String,
    },
    /// Dropped while the channel of events is full: the next one comes within 500 ms.
    Report {
        report: Box<Report>,
        /// `last_ping()` when it was received: whatever report, of whatever member, heard a later one
        /// began to be sampled after this one came.
        last_ping: u64,
    },
    Promised {
        term: Term,
    },
    Refused {
        term: Term,
        promised: Term,
        why: String,
    },
    /// The connection broke, or could not be made; the latter is said once for each reason in a row.
    Lost {
        why: String,
    },
}

/// Whether this controller leads, by the clock: asked for each ping.
pub type Leads = Arc<dyn Fn() -> bool + Send + Sync>;

static PINGS: AtomicU64 = AtomicU64::new(0);

/// The number of the ping sent last, by any link of this process. Numbers rise over all links and
/// connections, so a report of any member with `heard > last_ping()` began to be sampled after this call.
pub fn last_ping() -> u64 {
    PINGS.load(Ordering::SeqCst)
}

fn next_ping() -> u64 {
    PINGS.fetch_add(1, Ordering::SeqCst) + 1
}

/// Keeps one stream open for ever, and asks who answers to be this member. Dropped: closes it.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    newest: Arc<Latest<Box<Assignment>>>,
    task: AbortHandle,
}

impl Link {
    /// Must be called within a tokio runtime. A new value of `tls` is used from the next connection on.
    /// Ends by itself when nobody listens to `events` any more.
    pub fn open(
        member: String,
        address: SocketAddr,
        tls: watch::Receiver<ClientTls>,
        leads: Leads,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let newest = Arc::new(Latest::new());
        let stream = stream::Stream {
            member,
            address,
            tls,
            leads,
            events,
            newest: Arc::clone(&newest),
        };
        Self {
            address,
            newest,
            task: tokio::spawn(stream.keep()).abort_handle(),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// See the function of this name.
    pub fn last_ping(&self) -> u64 {
        last_ping()
    }

    /// Is sent once, when the stream can take it; a newer one replaces it until then. It may be lost
    /// with the connection, and only the newest is sure to be answered: compare `Report::assignment`.
    pub fn assign(&self, assignment: Box<Assignment>) {
        self.newest.put(assignment);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}
