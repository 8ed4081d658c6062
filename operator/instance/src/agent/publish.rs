//! The report: everything that is known, put together anew whenever something happened.
//! Must not hold a secret or a judgement.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_api::server::Sampled;
use sql::clone::Stage;
use sql::status::{Channel, Facts, Plugin, Receiver};
use topology::assignment::{Assignment, Role};
use topology::report::{
    Beat, Drift, Follows, Process, Proof, Removed, Report, ServerSeen, Trouble, TroubleKind,
};

use super::Agent;
use super::job::Job;
use super::run::{End, Run};
use crate::member::hearing::Ear;
use crate::member::rules::Wrong;
use crate::member::sampling::Seen;
use crate::member::sessions;
use crate::member::steps::{self, Step};
use crate::mysqld::error_log::told;
use crate::mysqld::start;

/// A commit that waits longer is told of.
const WAIT_LIMIT: Duration = Duration::from_secs(2);
const SAMPLE_LIMIT: Duration = Duration::from_secs(4);
const AGENT: &str = env!("CARGO_PKG_VERSION");

/// What is remembered only to be told.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) app: u64,
    pub(crate) certificates: u64,
    pub(crate) was_settled: bool,
    pub(crate) have_accounts_failed: bool,
    pub(crate) removed: Option<Removed>,
    proved: Option<Proof>,
    drift: BTreeMap<String, Drift>,
    start: Option<Trouble>,
    job: Option<Trouble>,
    beat: Option<String>,
    failed_starts: u32,
    end: Option<End>,
    /// Of the stream from the source.
    ear: Ear,
    /// From whom it is to come.
    source: String,
    /// The newest heartbeat in the data, and since when.
    beaten: Option<(Instant, u64)>,
    replication: Option<String>,
    /// The source was reached, or somebody in its place, and answered the last try to connect with an error.
    is_refused: bool,
}

impl Told {
    pub(crate) fn start(&mut self, error: &start::Error) {
        let what = chain(error);
        let kind = error.kind();
        tracing::warn!(?kind, what, "mysqld cannot be started");
        self.start = Some(trouble(kind, &what));
    }

    pub(crate) fn forget_start(&mut self) {
        self.start = None;
    }

    pub(crate) fn forget_job(&mut self) {
        self.job = None;
    }

    pub(crate) fn trouble(&mut self, kind: TroubleKind, what: String) {
        self.job = Some(trouble(kind, &what));
    }

    /// mysqld answers.
    pub(crate) fn start_over(&mut self) {
        self.was_settled = false;
        self.failed_starts = 0;
        self.end = None;
        self.job = None;
        self.beat = None;
        self.ear = Ear::default();
        self.is_refused = false;
        self.replication = None;
    }

    pub(crate) fn begin_anew(&mut self) {
        self.was_settled = false;
        self.job = None;
        self.beat = None;
        self.replication = None;
    }

    pub(crate) fn ended(&mut self, end: End) {
        self.failed_starts = match end.had_answered {
            true => 0,
            false => self.failed_starts.saturating_add(1),
        };
        self.end = Some(end);
    }

    pub(crate) fn failed_starts(&self) -> u32 {
        self.failed_starts
    }

    pub(crate) fn proved(&mut self, proof: Proof) {
        self.beat = None;
        self.proved = Some(proof);
    }

    pub(crate) fn beat_failed(&mut self, error: &sessions::Error) {
        self.beat = Some(chain(error));
    }

    pub(crate) fn put_back(&mut self, wrong: &[Wrong]) {
        for one in wrong {
            let entry = self.drift.entry(one.setting.name().to_owned());
            let drift = entry.or_insert_with(|| Drift {
                found: String::new(),
                put_back: String::new(),
                times: 0,
            });
            drift.found = one.found.to_string();
            drift.put_back = one.wanted.to_string();
            drift.times = drift.times.saturating_add(1);
        }
    }

    /// What can only be told by comparing with the round before.
    pub(crate) fn follow(&mut self, seen: &Seen) {
        match steps::channel(&seen.facts) {
            None => self.ear = Ear::default(),
            Some(channel) => {
                // Nobody is silent for longer than it has been asked.
                let is_another = self.source != channel.source_host;
                let is_asked_anew = is_another || channel.receiver == Receiver::Off;
                if is_asked_anew {
                    self.source.clone_from(&channel.source_host);
                    self.is_refused = false;
                }
                if is_asked_anew {
                    self.ear = Ear::default();
                }
                self.ear.listen(channel, seen.at);
                match (channel.receiver, &channel.receiver_failure) {
                    (Receiver::On, _) => self.is_refused = false,
                    (_, Some(failure)) => self.is_refused = !is_on_the_way(failure.code),
                    _ => {}
                }
                // Between two tries the server forgets why it failed.
                match failure(channel) {
                    Some(why) => self.replication = Some(why),
                    None if channel.receiver == Receiver::On && channel.is_applier_on => {
                        self.replication = None
                    }
                    None => {}
                }
            }
        }
        let number = seen.heartbeat.as_ref().map(|beat| beat.beat);
        self.beaten = match (number, self.beaten) {
            (Some(new), Some((since, old))) if new == old => Some((since, old)),
            (Some(new), _) => Some((seen.at, new)),
            (None, _) => None,
        };
    }

    /// Behind the primary: by its clock and ours, and never less than the time without news.
    fn lag_ms(&self, seen: &Seen) -> Option<u64> {
        steps::channel(&seen.facts)?;
        let beat = seen.heartbeat.as_ref()?;
        let by_clocks = beat.read_at_us.saturating_sub(beat.written_at_us) / 1_000;
        let by_clocks = u64::try_from(by_clocks).unwrap_or(0);
        let since = self
            .beaten
            .map(|(since, _)| milliseconds(seen.at.saturating_duration_since(since)));
        Some(by_clocks.max(since.unwrap_or(0)))
    }

    fn follows(&self, facts: &Facts) -> Option<Follows> {
        let channel = steps::channel(facts)?;
        let is_receiving = channel.receiver == Receiver::On;
        Some(Follows {
            host: channel.source_host.clone(),
            port: channel.source_port,
            is_receiving,
            is_applying: channel.is_applier_on,
            acknowledges: is_receiving && facts.semi_sync_replica == Some(true),
            is_unreached: channel.receiver == Receiver::Connecting && !self.is_refused,
            silence_ms: milliseconds(self.ear.silence(Instant::now())),
            failure: self.replication.as_deref().map(told),
        })
    }
}

/// Manual, "Client Error Message Reference": no connection came about, or it broke. A server that refuses sends one of
/// its own errors, and was reached.
fn is_on_the_way(code: u32) -> bool {
    matches!(code, 2002 | 2003 | 2005 | 2006 | 2013 | 2055)
}

fn failure(channel: &Channel) -> Option<String> {
    let workers = channel
        .workers
        .iter()
        .filter_map(|worker| worker.failure.as_ref());
    let mut all = channel
        .receiver_failure
        .iter()
        .chain(channel.applier_failure.iter())
        .chain(workers);
    all.next()
        .map(|failure| format!("error {}: {}", failure.code, without_count(&failure.message)))
}

/// The server counts its tries in the message, which would make it news each second.
fn without_count(message: &str) -> String {
    let Some((before, rest)) = message.split_once(" This was attempt ") else {
        return message.to_owned();
    };
    match rest.split_once("between attempts.") {
        Some((_, after)) => format!("{before}{after}"),
        None => before.to_owned(),
    }
}

pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn trouble(kind: TroubleKind, what: &str) -> Trouble {
    Trouble {
        kind,
        what: told(what),
    }
}

/// An error and its causes in a line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// Of all stages together.
pub(crate) fn percent(stages: &[Stage]) -> u8 {
    let wanted: u64 = stages.iter().map(|stage| stage.estimated_bytes).sum();
    let done: u64 = stages
        .iter()
        .map(|stage| stage.copied_bytes.min(stage.estimated_bytes))
        .sum();
    let percent = done.saturating_mul(100).checked_div(wanted).unwrap_or(0);
    u8::try_from(percent.min(100)).unwrap_or(100)
}

/// Before anything is known.
pub(crate) fn first(member: &str, assignment: Option<&Assignment>, started: u64) -> Sampled {
    let report = Report {
        member: member.to_owned(),
        heard: 0,
        agent: AGENT.to_owned(),
        assignment: assignment.cloned(),
        is_settled: false,
        proved: None,
        is_founded: false,
        process: Process::Unassigned,
        server: None,
        server_age_ms: 0,
        disk: None,
        write_age_ms: 0,
        drift: BTreeMap::new(),
        awaiting_restart: Default::default(),
        removed: None,
        troubles: Vec::new(),
    };
    Sampled { report, started }
}

impl Agent {
    pub(crate) fn publish(&mut self) {
        let is_settled = self.is_settled();
        self.told.was_settled |= is_settled;
        let run = self.run.as_ref();
        let seen = run.and_then(|run| run.seen.as_deref());
        let report = Report {
            member: self.setup.options.member.clone(),
            heard: 0,
            agent: AGENT.to_owned(),
            assignment: self.promise.assignment().cloned(),
            is_settled,
            proved: self.told.proved,
            // Told with facts that were read after it: the first epoch begins with what they say.
            is_founded: run.is_some_and(|run| run.is_founded && run.fresh().is_some()),
            process: self.process(),
            server: seen.map(|seen| self.server_seen(seen)),
            server_age_ms: seen.map_or(0, |seen| milliseconds(seen.at.elapsed())),
            disk: self.disk,
            write_age_ms: self.write_age_ms(),
            drift: self.told.drift.clone(),
            awaiting_restart: run.map(|run| run.in_force.awaiting.clone()).unwrap_or_default(),
            removed: self.told.removed.clone(),
            troubles: self.troubles(),
        };
        self.metrics.set(&report, self.waited());
        // Without a server there is nothing that could be older than this moment.
        let started = seen.map_or_else(|| self.clock.tick(), |seen| seen.started);
        self.reports.send_replace(Arc::new(Sampled { report, started }));
    }

    fn server_seen(&self, seen: &Seen) -> ServerSeen {
        let facts = &seen.facts;
        let source = facts.semi_sync_source.as_ref();
        let count = facts.settings.number(sql::settings::Setting::SemiSyncWaitCount);
        let received = facts.channels.iter().map(|channel| &channel.received);
        ServerSeen {
            incarnation: facts.server_uuid,
            version: facts.version.to_string(),
            executed: facts.gtid_executed.clone(),
            purged: facts.gtid_purged.clone(),
            received: received.fold(Default::default(), |all: topology::gtid::GtidSet, set| {
                all.union(set)
            }),
            is_open: steps::is_open(facts),
            has_waiters: source.is_some_and(|source| source.waiters > 0),
            acknowledging: source.map_or(0, |source| u16::try_from(source.clients).unwrap_or(u16::MAX)),
            waits_for: source
                .filter(|source| source.is_on)
                .and_then(|_| u16::try_from(count?).ok()),
            follows: self.told.follows(facts),
            lag_ms: self.told.lag_ms(seen),
            beat: seen.heartbeat.as_ref().map(|beat| Beat {
                epoch: beat.epoch,
                number: beat.beat,
            }),
        }
    }

    fn is_settled(&self) -> bool {
        let Some((run, assignment)) = self.run.as_ref().zip(self.promise.assignment()) else {
            return false;
        };
        let server = &assignment.server;
        let in_force = &run.in_force;
        // Who only has to be still is that with any parameters: a handover may be what a restart waits for.
        let is_still = matches!(assignment.role, Role::Hold | Role::Retire);
        let is_considered = in_force.considered.0 == server.parameters
            && in_force.considered.1 == server.is_tls_required
            && in_force.awaiting.is_empty();
        // Accounts are waited for once; those that cannot be made keep nothing else from being ready.
        let (is_idle, is_done) = match self.told.have_accounts_failed {
            true => (
                self.job.as_ref().is_none_or(Job::is_upkeep),
                self.plan().is_some_and(|steps| steps.iter().all(Step::is_upkeep)),
            ),
            false => (
                self.job.is_none(),
                self.plan().is_some_and(|steps| steps.is_empty()),
            ),
        };
        if !is_idle || !(is_still || is_considered) || !is_done {
            return false;
        }
        let Some(seen) = run.fresh() else {
            return false;
        };
        match &assignment.role {
            Role::Hold => true,
            Role::Found => run.is_founded,
            Role::Retire => steps::is_retired(&seen.facts),
            Role::Clone { instead_of, .. } => seen.facts.server_uuid != *instead_of,
            Role::Replica { .. } => {
                let follows = self.told.follows(&seen.facts);
                follows.is_some_and(|follows| {
                    follows.is_receiving && follows.is_applying && follows.acknowledges
                })
            }
            Role::Primary { wait_for } => {
                let wanted = Proof {
                    term: assignment.term(),
                    wait_for: *wait_for,
                };
                steps::is_open(&seen.facts) && run.proved == Some(wanted)
            }
        }
    }

    fn troubles(&self) -> Vec<Trouble> {
        let mut all: Vec<Trouble> = Vec::new();
        all.extend(self.troubles_of_disk());
        all.extend(
            self.promise
                .damage
                .as_ref()
                .map(|why| trouble(TroubleKind::Other, why)),
        );
        all.extend(self.told.start.clone());
        all.extend(self.told.job.clone());
        all.extend(self.told.end.as_ref().map(End::told));
        if let Some(run) = &self.run {
            self.troubles_of(run, &mut all);
        }
        all.sort();
        all.dedup();
        all
    }

    fn troubles_of(&self, run: &Run, all: &mut Vec<Trouble>) {
        let refused = run.in_force.refused.as_ref();
        all.extend(refused.map(|why| trouble(TroubleKind::ParameterRefused, why)));
        if let Some(why) = run.unseen.as_ref().filter(|_| run.is_refused) {
            all.push(trouble(TroubleKind::CredentialsRefused, why));
        }
        let Some(seen) = &run.seen else {
            return;
        };
        if let Some(why) = run.unseen.as_ref().filter(|_| seen.at.elapsed() > SAMPLE_LIMIT) {
            all.push(trouble(TroubleKind::Unresponsive, why));
        }
        let is_replica = self
            .promise
            .assignment()
            .is_some_and(|assignment| matches!(assignment.role, Role::Replica { .. }));
        if let Some(why) = self.told.replication.as_ref().filter(|_| is_replica) {
            all.push(trouble(TroubleKind::ReplicationBroken, why));
        }
        if let Some(found) = run.stranger {
            let what =
                format!("another server, {found}, is at its source's address: it waits for other orders");
            all.push(trouble(TroubleKind::ReplicationBroken, &what));
        }
        let missing = Plugin::ALL
            .iter()
            .filter(|plugin| !seen.facts.plugins.contains(plugin));
        all.extend(missing.map(|plugin| {
            let what = format!("mysqld runs without its plugin {}", plugin.name());
            trouble(TroubleKind::ImageUnfit, &what)
        }));
        if let Some(waited) = self
            .waited()
            // Without room it waits for that.
            .filter(|waited| *waited > WAIT_LIMIT && self.full_since.is_none())
        {
            let acknowledging = seen
                .facts
                .semi_sync_source
                .as_ref()
                .map_or(0, |source| source.clients);
            let seconds = waited.as_secs();
            let attached = match acknowledging {
                1 => "1 replica is attached".to_owned(),
                _ => format!("{acknowledging} replicas are attached"),
            };
            let what = format!("a commit waits for {seconds} s; {attached}");
            all.push(trouble(TroubleKind::AwaitingAcknowledgements, &what));
        }
        all.extend(
            self.told
                .beat
                .as_ref()
                .map(|why| trouble(TroubleKind::Other, why)),
        );
    }
}
