//! One round of facts after another, on a session of its own: every half second, and when asked.
//! Must not be held up by steps, nor hold them up.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use agent_api::server::Clock;
use sql::epoch::{self, Heartbeat};
use sql::status::{self, Facts};
use sql::users::Job;
use sql::{Deadline, Session, clone};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use super::hearing::Ear;
use super::sessions::{self, Sessions};
use super::steps;

const PERIOD: Duration = Duration::from_millis(500);
/// While mysqld does not answer yet, and while somebody waits for what is seen here.
const SHORT_PERIOD: Duration = Duration::from_millis(25);
/// A source that is there is heard more often than this. What comes next is wanted soon, but not for as long as
/// it is away.
const QUIET: Range<Duration> = Duration::from_millis(700)..Duration::from_secs(3);
const QUIET_PERIOD: Duration = Duration::from_millis(100);
/// A mysqld that takes longer hangs.
const ROUND_LIMIT: Duration = Duration::from_secs(5);

/// One round.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) facts: Facts,
    pub(crate) heartbeat: Option<Heartbeat>,
    /// Of a clone, while one is begun.
    pub(crate) stages: Vec<clone::Stage>,
    /// The clock before the first of it was asked for.
    pub(crate) started: u64,
    pub(crate) at: Instant,
}

/// Of which run of mysqld.
pub(crate) struct Sampled {
    pub(crate) run: u64,
    /// It let the agent in, or said anything.
    pub(crate) has_answered: bool,
    pub(crate) result: Result<Box<Seen>, sessions::Error>,
}

pub(crate) struct Sampler {
    pub(crate) run: u64,
    pub(crate) sessions: Sessions,
    pub(crate) clock: Arc<Clock>,
    pub(crate) nudge: Arc<Notify>,
    /// A clone is begun or was left.
    pub(crate) is_cloning: Arc<AtomicBool>,
    pub(crate) is_hurried: Arc<AtomicBool>,
    pub(crate) results: mpsc::Sender<Sampled>,
}

impl Sampler {
    /// Until dropped.
    pub(crate) async fn run(self) {
        let mut session = None;
        let mut has_answered = false;
        let mut ear = Ear::default();
        loop {
            let was_out = session.is_none();
            let result = self.round(&mut session).await;
            let is_let_in = was_out && session.is_some();
            has_answered |= result.is_ok();
            let mut is_quiet = false;
            match &result {
                Err(_) => session = None,
                Ok(seen) => {
                    if let Some(channel) = steps::channel(&seen.facts) {
                        ear.listen(channel, seen.at);
                        is_quiet = QUIET.contains(&ear.silence(seen.at));
                    }
                }
            }
            let sampled = Sampled {
                run: self.run,
                has_answered: is_let_in || result.as_ref().err().is_none_or(|error| !error.is_silence()),
                result: result.map(Box::new),
            };
            if self.results.send(sampled).await.is_err() {
                return;
            }
            let period = match has_answered && !self.is_hurried.load(Ordering::Relaxed) {
                true if is_quiet => QUIET_PERIOD,
                true => PERIOD,
                false => SHORT_PERIOD,
            };
            // Late is as good as nudged.
            let _ = timeout(period, self.nudge.notified()).await;
        }
    }

    async fn round(&self, session: &mut Option<Session>) -> Result<Seen, sessions::Error> {
        let session = match session {
            Some(session) => session,
            None => session.insert(self.sessions.login(Job::Agent).await?),
        };
        let deadline = Deadline::after(ROUND_LIMIT);
        let started = self.clock.tick();
        let facts = status::read(session, deadline).await?;
        let heartbeat = epoch::read_heartbeat(session, deadline).await?;
        let stages = match self.is_cloning.load(Ordering::Relaxed) {
            true => clone::progress(session, deadline).await?,
            false => Vec::new(),
        };
        Ok(Seen {
            facts,
            heartbeat,
            stages,
            started,
            at: Instant::now(),
        })
    }
}
