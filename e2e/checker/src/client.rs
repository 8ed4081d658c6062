//! Owns one client: its attempts, one after the other, each recorded before it is sent.
//! It must not send anything of an attempt whose invocation is not in the history.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use crate::classify::{Failure, classify, keeps_session};
use crate::event::{Completion, Event, Op, OpId, Outcome, Seen, Stage};
use crate::history::{self, Recorder};
use crate::sql::{Broken, Reaper, Session, Target};

/// After a failed connection: at once, then doubling, so that a long outage costs little
/// and the end of a short one is seen within this time.
const BACKOFF_FIRST: Duration = Duration::from_millis(2);
const BACKOFF_MOST: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Writer,
    Reader,
    ReplicaReader,
}

/// What all clients of a run share.
pub(crate) struct Common {
    pub(crate) recorder: Recorder,
    pub(crate) run: u64,
    pub(crate) registers: u32,
    pub(crate) deadline: Duration,
    pub(crate) connect_deadline: Duration,
    pub(crate) reaper: Reaper,
}

/// What a client has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub acknowledged: u64,
    pub failed: u64,
    pub unknown: u64,
    pub reads: u64,
}

pub(crate) struct Client {
    pub(crate) common: Arc<Common>,
    pub(crate) target: Target,
    pub(crate) role: Role,
    pub(crate) id: u32,
    /// The shortest time from one attempt to the next.
    pub(crate) pace: Duration,
    /// Others of the same pace begin at other times.
    pub(crate) begins_after: Duration,
}

/// A client at work.
struct Work {
    client: Client,
    session: Option<Session>,
    seq: u32,
    dice: u64,
    tally: Tally,
}

impl Client {
    /// Works until `stop` turns true; the attempt under way is finished first.
    pub(crate) async fn work(self, mut stop: watch::Receiver<bool>) -> Result<Tally, history::Error> {
        let pace = self.pace;
        let begins_after = self.begins_after;
        let dice = self.common.run ^ (u64::from(self.id) << 32);
        let mut work = Work {
            client: self,
            session: None,
            seq: 0,
            dice,
            tally: Tally::default(),
        };
        let mut beat = interval_at(Instant::now() + begins_after, pace.max(Duration::from_micros(1)));
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut backoff = Duration::ZERO;
        while !*stop.borrow() && work.seq < u32::MAX {
            // The pace is that of writes: who has no connection tries again as soon as it may.
            let is_paced = work.session.is_some() && !pace.is_zero();
            let wait = async {
                if is_paced {
                    beat.tick().await;
                }
                if !backoff.is_zero() {
                    sleep(backoff).await;
                }
            };
            tokio::select! {
                biased;
                changed = stop.changed() => { if changed.is_err() { break } else { continue } }
                () = wait => {}
            }
            let had_session = work.session.is_some();
            work.attempt().await?;
            backoff = match (work.session.is_some(), had_session) {
                // A session that broke is replaced at once; only failed connections wait.
                (true, _) | (false, true) => Duration::ZERO,
                (false, false) => (backoff * 2).clamp(BACKOFF_FIRST, BACKOFF_MOST),
            };
        }
        Ok(work.tally)
    }
}

impl Work {
    /// SplitMix64: the same run and client draw the same operations.
    fn roll(&mut self) -> u64 {
        self.dice = self.dice.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.dice;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    fn draw(&mut self) -> Op {
        let registers = u64::from(self.client.common.registers);
        let share = self.roll() % 100;
        if registers == 0 {
            return if share < 67 { Op::Insert } else { Op::InsertAuto };
        }
        let register = u32::try_from(self.roll() % registers).unwrap_or(0);
        match (self.client.role, share) {
            (Role::Reader, _) => Op::Read { register },
            (Role::ReplicaReader, _) => Op::ReadReplica { register },
            (Role::Writer, 0..40) => Op::Insert,
            (Role::Writer, 40..60) => Op::InsertAuto,
            (Role::Writer, 60..85) => Op::Update { register },
            (Role::Writer, _) => Op::Read { register },
        }
    }

    async fn attempt(&mut self) -> Result<(), history::Error> {
        self.seq += 1;
        let id = OpId {
            client: self.client.id,
            seq: self.seq,
        };
        let op = self.draw();
        self.client.common.recorder.record(&Event::Invoke { id, op })?;
        let done = match self.execute(id, op).await {
            Ok((stage, seen)) => Completion {
                id,
                outcome: Outcome::Ok,
                stage,
                code: None,
                why: None,
                seen,
            },
            Err(broken) => {
                let (outcome, why) = classify(broken.stage, broken.failure);
                let code = match broken.failure {
                    Failure::Server { code } => Some(code),
                    Failure::Timeout | Failure::Lost => None,
                };
                Completion {
                    id,
                    outcome,
                    stage: broken.stage,
                    code,
                    why: Some(why.into()),
                    seen: broken.seen,
                }
            }
        };
        match (op.writes(), done.outcome) {
            (true, Outcome::Ok) => self.tally.acknowledged += 1,
            (true, Outcome::Failed) => self.tally.failed += 1,
            (true, Outcome::Unknown) => self.tally.unknown += 1,
            (false, _) => self.tally.reads += 1,
        }
        self.client.common.recorder.record(&Event::Complete(done))?;
        Ok(())
    }

    /// A session that broke is dropped here, which closes it before the completion is recorded.
    async fn execute(&mut self, id: OpId, op: Op) -> Result<(Stage, Option<Seen>), Broken> {
        let common = &self.client.common;
        let run = common.run;
        let mut session = match self.session.take() {
            Some(session) => session,
            None => {
                let target = &self.client.target;
                Session::connect(target, common.connect_deadline, common.deadline, &common.reaper)
                    .await
                    .map_err(|error| Broken {
                        stage: Stage::Connect,
                        failure: error.failure(),
                        seen: None,
                    })?
            }
        };
        let result = match op {
            Op::Insert => session.insert(run, id).await.map(|()| (Stage::Commit, None)),
            Op::InsertAuto => session
                .insert_auto(run, id)
                .await
                .map(|()| (Stage::Autocommit, None)),
            Op::Update { register } => session
                .update(run, id, register)
                .await
                .map(|seen| (Stage::Commit, Some(seen))),
            Op::Read { register } | Op::ReadReplica { register } => session
                .read(run, register)
                .await
                .map(|seen| (Stage::Statement, Some(seen))),
        };
        let keep = match &result {
            Ok(_) => true,
            Err(broken) => {
                broken.stage != Stage::Commit
                    && keeps_session(broken.failure)
                    && session.rollback().await.is_ok()
            }
        };
        if keep {
            self.session = Some(session);
        }
        result
    }
}
