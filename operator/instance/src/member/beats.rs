//! The primary's own writes: the transaction that begins an epoch, and heartbeats. They prove that
//! commits are acknowledged. Must not run on a session that anybody else needs: they may wait for ever.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sql::settings::{Setting, Settings, Value};
use sql::status::{self, SemiSyncSource};
use sql::users::Job;
use sql::{Deadline, Session, epoch};
use tokio::sync::{mpsc, watch};
use topology::gtid::Uuid;
use topology::report::Proof;

use super::sessions::{self, Sessions};

const PERIOD: Duration = Duration::from_millis(500);
/// Given up, a write waits on in the server; a new one would wait behind it.
const WRITE_LIMIT: Duration = Duration::from_secs(3_600);
const LOOK_LIMIT: Duration = Duration::from_secs(5);
/// Between two looks for replicas.
const ATTACHED_PERIOD: Duration = Duration::from_millis(100);
/// A write that waits so long is nudged, again and again.
const NUDGE_PERIOD: Duration = Duration::from_secs(1);
/// Nudges that may wait in the server at once.
const NUDGES_LIMIT: u8 = 16;

/// What writes should prove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Goal {
    pub(crate) identity: Uuid,
    pub(crate) proof: Proof,
    /// The epoch's transaction is in the data: only an ordinary write proves anything.
    pub(crate) is_epoch_begun: bool,
}

/// What can be seen of the writes from outside.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pulse(Arc<Mutex<State>>);

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct State {
    /// Of the write that has not returned, or has not enough replicas to begin with.
    pub(crate) began: Option<Instant>,
    last: Duration,
}

impl Pulse {
    pub(crate) fn state(&self) -> State {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

pub(crate) enum Beat {
    /// As the one before.
    Committed(Duration),
    /// A commit begun after all this was in force has been acknowledged so.
    Proved(Proof),
    Failed(sessions::Error),
    /// It was committed, and the rules were not in force all the time.
    Unproved,
}

/// What came of one write.
enum Written {
    /// Acknowledged as the goal asks.
    Proof,
    NoProof,
    /// The goal is another one, and none was begun.
    Nothing,
}

pub(crate) struct Beats {
    pub(crate) run: u64,
    pub(crate) sessions: Sessions,
    pub(crate) goal: watch::Receiver<Option<Goal>>,
    pub(crate) pulse: Pulse,
    pub(crate) results: mpsc::Sender<(u64, Beat)>,
}

impl Beats {
    /// Until dropped.
    pub(crate) async fn run(mut self) {
        let mut session = None;
        let mut proved: Option<(Uuid, Proof)> = None;
        loop {
            let Some(goal) = self.goal.borrow_and_update().clone() else {
                // Closing it ends a write that waits: its client, not its commit.
                session = None;
                proved = None;
                self.pulse.set(|state| *state = State::default());
                if self.goal.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let is_proved = proved == Some((goal.identity, goal.proof));
            let mut ended = self.goal.clone();
            let written = tokio::select! {
                written = self.write(&mut session, &goal, is_proved) => Some(written),
                _ = ended.wait_for(Option::is_none) => None,
            };
            let beat = match written {
                None => {
                    session = None;
                    proved = None;
                    continue;
                }
                Some(Ok(Written::Nothing)) if self.goal.has_changed().is_err() => return,
                Some(Ok(Written::Nothing)) => continue,
                Some(Ok(Written::Proof)) if is_proved => Beat::Committed(self.pulse.state().last),
                Some(Ok(Written::Proof)) => {
                    proved = Some((goal.identity, goal.proof));
                    Beat::Proved(goal.proof)
                }
                Some(Ok(Written::NoProof)) => {
                    proved = None;
                    Beat::Unproved
                }
                Some(Err(error)) => {
                    session = None;
                    proved = None;
                    self.pulse.set(|state| state.began = None);
                    Beat::Failed(error)
                }
            };
            if self.results.send((self.run, beat)).await.is_err() {
                return;
            }
            let _ = tokio::time::timeout(PERIOD, self.goal.changed()).await;
        }
    }

    /// Where enough replicas are attached and still nothing moves, a fresh write moves it: each waits in a
    /// session of its own, and is given up without taking it back.
    async fn nudge(&self, goal: &Goal, nudges: &mut u8) {
        let tried = async {
            let mut session = self.sessions.login(Job::Agent).await?;
            let (_, source) = status::semi_sync(&mut session, Deadline::after(NUDGE_PERIOD)).await?;
            let is_stuck = source.is_some_and(|source| source.clients >= u64::from(goal.proof.wait_for));
            if is_stuck && *nudges < NUDGES_LIMIT {
                *nudges += 1;
                tracing::warn!(
                    nudges = *nudges,
                    "a commit waits though replicas are attached: nudged"
                );
                let epoch = goal.proof.term.epoch;
                epoch::nudge(&mut session, *nudges, epoch, Deadline::after(NUDGE_PERIOD)).await?;
            }
            Ok::<(), sessions::Error>(())
        };
        // It is the write before that counts, and its own failure that is told.
        let _ = tried.await;
    }

    /// Whether it proves what it should; a later one of the same goal proves it again.
    async fn write(
        &self,
        session: &mut Option<Session>,
        goal: &Goal,
        is_proved: bool,
    ) -> Result<Written, sessions::Error> {
        let session = match session {
            Some(session) => session,
            None => session.insert(self.sessions.login(Job::Agent).await?),
        };
        let began = Instant::now();
        self.pulse.set(|state| state.began = Some(began));
        // A failover does not wait for the followers before it begins to write: most often they come meanwhile.
        if goal.is_epoch_begun && !is_proved && !self.is_attended(session, goal.proof.wait_for).await? {
            return Ok(Written::Nothing);
        }
        let before = match is_proved {
            true => None,
            false => Some(status::semi_sync(session, Deadline::after(LOOK_LIMIT)).await?),
        };
        let mut nudges = 0;
        {
            let mut writing = std::pin::pin!(commit(session, goal, is_proved));
            loop {
                tokio::select! {
                    written = &mut writing => break written?,
                    () = tokio::time::sleep(NUDGE_PERIOD) => self.nudge(goal, &mut nudges).await,
                }
            }
        }
        self.pulse.set(|state| {
            *state = State {
                began: None,
                last: began.elapsed(),
            };
        });
        let Some(before) = before else {
            return Ok(Written::Proof);
        };
        let after = status::semi_sync(session, Deadline::after(LOOK_LIMIT)).await?;
        match is_proof(goal.proof.wait_for, &before, &after) {
            true => Ok(Written::Proof),
            false => Ok(Written::NoProof),
        }
    }

    /// Waits for enough replicas to be there. Before that a commit would only wait, and nothing can take it back: nobody
    /// could be copied from here until then, and perhaps nobody can follow without. False: the goal has changed.
    async fn is_attended(&self, session: &mut Session, wait_for: u16) -> Result<bool, sessions::Error> {
        let mut goal = self.goal.clone();
        loop {
            let (_, source) = status::semi_sync(session, Deadline::after(LOOK_LIMIT)).await?;
            if source.map_or(0, |source| source.clients) >= u64::from(wait_for) {
                return Ok(true);
            }
            if tokio::time::timeout(ATTACHED_PERIOD, goal.changed())
                .await
                .is_ok()
            {
                return Ok(false);
            }
        }
    }
}

/// The settings that decide what a commit waits for, and what came of those before.
type Look = (Settings, Option<SemiSyncSource>);

async fn commit(session: &mut Session, goal: &Goal, is_proved: bool) -> Result<(), sql::Error> {
    let deadline = Deadline::after(WRITE_LIMIT);
    let epoch = goal.proof.term.epoch;
    match goal.is_epoch_begun || is_proved {
        true => epoch::beat(session, epoch, deadline).await,
        false => epoch::begin(session, goal.identity, epoch, deadline)
            .await
            .map(|_| ()),
    }
}

/// Whether a commit between the two looks waited for so many replicas.
fn is_proof(wait_for: u16, before: &Look, after: &Look) -> bool {
    if wait_for == 0 {
        return true;
    }
    let holds = |(settings, source): &Look| {
        settings.flag(Setting::SemiSyncSource) == Some(true)
            && settings.get(Setting::SemiSyncWaitPoint) == Some(&Value::Word("AFTER_SYNC".into()))
            && settings.number(Setting::SemiSyncWaitCount) >= Some(u64::from(wait_for))
            && source.as_ref().is_some_and(|source| source.is_on)
    };
    // What was committed without an acknowledgement, or a fall back in between, would be counted.
    let counted = |(_, source): &Look| {
        let source = source.as_ref();
        source.map(|source| (source.unacked_transactions, source.off_times))
    };
    holds(before) && holds(after) && counted(before) == counted(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(count: u64, unacked: u64, is_on: bool) -> Look {
        let settings = [
            (Setting::SemiSyncSource, Value::Flag(true)),
            (Setting::SemiSyncWaitPoint, Value::Word("AFTER_SYNC".into())),
            (Setting::SemiSyncWaitCount, Value::Number(count)),
        ];
        let source = SemiSyncSource {
            is_on,
            clients: 2,
            waiters: 0,
            acked_transactions: 5,
            unacked_transactions: unacked,
            off_times: 0,
        };
        (settings.into_iter().collect(), Some(source))
    }

    #[test]
    fn only_a_commit_under_the_rules_is_a_proof() {
        let good = look(1, 0, true);
        assert!(is_proof(1, &good, &good));
        assert!(is_proof(1, &look(2, 0, true), &good));
        assert!(!is_proof(2, &look(2, 0, true), &good));
        assert!(!is_proof(1, &good, &look(1, 1, true)));
        assert!(!is_proof(1, &look(1, 0, false), &good));
        assert!(!is_proof(1, &good, &(Settings::default(), None)));
        assert!(is_proof(
            0,
            &(Settings::default(), None),
            &(Settings::default(), None)
        ));
    }
}
