//! Leadership: a Lease of Kubernetes, taken, renewed, released, and the token that proves it.
//! Must not decide (lease/decision.rs does), and must not survive its loss: whoever lost it begins anew.
//!
//! The token saves effort, it does not fence: a process may be frozen between asking `is_held`
//! and acting on it, and a virtual machine may be stopped together with its clocks. What must not
//! happen twice carries an epoch that the other side checks.
//!
//! A first start waits for `duration` once, as for a leader that nobody can see, unless the Lease
//! was installed beforehand without a holder.

mod decision;
#[cfg(test)]
mod simulation;
mod timing;
mod token;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, PostParams};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::client::{self, Class, FIELD_MANAGER, Prompt};
use decision::{Action, Memory, Moment, NOBODY_YET, Record, decide};

pub use decision::Loss;
pub use timing::{Error as TimingError, Timing};
pub use token::{Leadership, Witness};

/// Against annotations that someone writes just then; it runs out by itself otherwise.
const RELEASE_ATTEMPTS: usize = 3;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to release the lease: {tokens} tokens are in use, so it will run out instead")]
    InUse { tokens: usize },
    #[error("failed to release the lease")]
    Lost(#[source] Loss),
    #[error("failed to release the lease")]
    Call(#[source] client::Error),
}

/// Who holds. Never the same for two processes, nor for one process before and after a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity(String);

impl Identity {
    /// `name` is for people: the name of the Pod.
    pub fn unique(name: &str) -> Self {
        // The keys of a hasher are random; a crate for one random number is not worth its line.
        let random = RandomState::new().build_hasher().finish();
        Self(format!("{name}_{random:016x}"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Someone who wants to lead.
pub struct Candidate {
    api: Api<Lease>,
    name: String,
    identity: Identity,
    timing: Timing,
    /// Moments are counted from here.
    origin: Instant,
    memory: Memory,
    /// The object that `memory` knows the version of.
    lease: Option<Lease>,
    last_failure: Option<Class>,
}

impl Candidate {
    pub fn new(client: &Prompt, namespace: &str, name: &str, identity: Identity, timing: Timing) -> Self {
        Self {
            api: Api::namespaced(client.client().clone(), namespace),
            name: name.to_owned(),
            identity,
            timing,
            origin: Instant::now(),
            memory: Memory::default(),
            lease: None,
            last_failure: None,
        }
    }

    /// Waits as long as others lead. May be dropped at any point.
    pub async fn acquire(mut self) -> (Leadership, Keeper) {
        loop {
            self.step().await;
            if let Some(until) = self.memory.held_until().filter(|until| self.now() < *until) {
                tracing::info!(lease = self.name, identity = self.identity.as_str(), "leading");
                let token = Leadership::new(self.origin, until);
                let keeper = Keeper::start(self, token.clone());
                return (token, keeper);
            }
        }
    }

    fn now(&self) -> Moment {
        self.origin.elapsed()
    }

    /// One action, to its end. The loss, if that is what was decided.
    async fn step(&mut self) -> Option<Loss> {
        let me = self.identity.as_str();
        match decide(me, &self.timing, &self.memory, self.now()) {
            Action::Wait { until } => tokio::time::sleep_until(self.origin + until).await,
            Action::Lose(loss) => return Some(loss),
            Action::Read => self.read().await,
            Action::Reserve => self.reserve().await,
            Action::Create => {
                let lease = self.held(Lease::default());
                self.write(self.api.clone().create(&by_us(), &lease)).await;
            }
            Action::Take { version } | Action::Renew { version } => {
                let known = self.lease.clone().filter(|lease| version_of(lease) == version);
                let Some(known) = known else {
                    // Cannot be, as both are set together; reading again makes it good.
                    self.memory.failed(&self.timing, self.now());
                    return None;
                };
                let (api, name) = (self.api.clone(), self.name.clone());
                let lease = self.held(known);
                self.write(api.replace(&name, &by_us(), &lease)).await;
            }
        }
        None
    }

    async fn read(&mut self) {
        let answer = client::call(self.timing.call_timeout(), self.api.get_opt(&self.name)).await;
        self.saw(answer);
    }

    async fn reserve(&mut self) {
        let mut lease = self.held(Lease::default());
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = Some(NOBODY_YET.to_owned());
        }
        let made = client::call(self.timing.call_timeout(), self.api.create(&by_us(), &lease)).await;
        self.saw(made.map(Some));
    }

    fn saw(&mut self, answer: Result<Option<Lease>, client::Error>) {
        match answer {
            Ok(lease) => {
                self.last_failure = None;
                self.memory.saw(lease.as_ref().map(record_of), self.now());
                self.lease = lease;
            }
            Err(error) => self.failed(&error),
        }
    }

    async fn write(&mut self, write: impl Future<Output = kube::Result<Lease>>) {
        let sent_at = self.now();
        match client::call(self.timing.call_timeout(), write).await {
            Ok(lease) => {
                self.last_failure = None;
                let now = self.now();
                self.memory.wrote(&self.timing, record_of(&lease), sent_at, now);
                self.lease = Some(lease);
            }
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&mut self, error: &client::Error) {
        // Once for each kind: an API server that is away would fill the log.
        if self.last_failure != Some(error.class()) {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::warn!(lease = self.name, %error, cause, "failed to reach the lease");
        }
        self.last_failure = Some(error.class());
        self.memory.failed(&self.timing, self.now());
    }

    /// The lease in our name.
    fn held(&self, mut lease: Lease) -> Lease {
        let before = lease.spec.take().unwrap_or_default();
        let time = later_than(before.renew_time.as_ref());
        let was_ours = before.holder_identity.as_deref() == Some(self.identity.as_str());
        let is_new = lease.metadata.resource_version.is_none();
        let transitions = before.lease_transitions.unwrap_or(0);
        lease.metadata.name = Some(self.name.clone());
        lease.spec = Some(LeaseSpec {
            acquire_time: if was_ours {
                before.acquire_time
            } else {
                Some(time.clone())
            },
            holder_identity: Some(self.identity.0.clone()),
            lease_duration_seconds: i32::try_from(self.timing.duration().as_secs()).ok(),
            lease_transitions: Some(transitions.saturating_add(i32::from(!was_ours && !is_new))),
            renew_time: Some(time),
            ..before
        });
        lease
    }

    /// Says that nobody holds it. Our token has ended already.
    async fn release(self) -> Result<(), client::Error> {
        let params = by_us();
        let mut last = None;
        for _ in 0..RELEASE_ATTEMPTS {
            // A renewal may have been cut off: what the lease says now is not known.
            let read = client::call(self.timing.call_timeout(), self.api.get_opt(&self.name)).await?;
            let Some(mut lease) = read.filter(|lease| record_of(lease).holder == self.identity.0) else {
                return Ok(());
            };
            if let Some(spec) = &mut lease.spec {
                spec.holder_identity = None;
                spec.renew_time = Some(later_than(spec.renew_time.as_ref()));
            }
            let write = self.api.replace(&self.name, &params, &lease);
            match client::call(self.timing.call_timeout(), write).await {
                Ok(_) => return Ok(()),
                Err(error) if error.class() == Class::Conflict => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        last.map_or(Ok(()), Err)
    }
}

/// The renewal, in a task of its own. Dropping it ends the leadership at once, without a release.
pub struct Keeper {
    task: JoinHandle<Loss>,
    token: Leadership,
    release: Option<oneshot::Sender<Answer>>,
    loss: Option<Loss>,
}

/// The keeper's and its task's.
const OWN_TOKENS: usize = 2;

impl Keeper {
    fn start(candidate: Candidate, token: Leadership) -> Self {
        let (release, released) = oneshot::channel();
        let task = tokio::spawn(keep(candidate, Ending(token.clone()), released));
        Self {
            task,
            token,
            release: Some(release),
            loss: None,
        }
    }

    /// Resolves when leadership is lost, for good. May be dropped and called again.
    pub async fn lost(&mut self) -> Loss {
        if self.loss.is_none() {
            let loss = (&mut self.task).await;
            self.loss = Some(loss.unwrap_or(Loss::KeeperEnded));
        }
        self.loss.clone().unwrap_or(Loss::KeeperEnded)
    }

    /// Lets the next one lead at once. For when all that needs leadership has ended: while a token
    /// is left elsewhere, someone may still act on it, and the lease is left to run out.
    pub async fn release(mut self, token: Leadership) -> Result<(), Error> {
        drop(token);
        self.token.end();
        let tokens = self.token.copies().saturating_sub(OWN_TOKENS);
        if tokens > 0 && !self.task.is_finished() {
            return Err(Error::InUse { tokens });
        }
        let (answer, answered) = oneshot::channel();
        let release = self.release.take();
        if release.is_some_and(|release| release.send(answer).is_ok())
            && let Ok(outcome) = answered.await
        {
            return outcome.map_err(Error::Call);
        }
        Err(Error::Lost(self.lost().await))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.token.end();
        self.task.abort();
    }
}

/// However the task ends, the tokens do not outlive it.
struct Ending(Leadership);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Where the outcome of a release is to be told.
type Answer = oneshot::Sender<Result<(), client::Error>>;

async fn keep(mut candidate: Candidate, token: Ending, mut released: oneshot::Receiver<Answer>) -> Loss {
    loop {
        let loss = tokio::select! {
            asked = &mut released => {
                let Ok(answer) = asked else { return Loss::KeeperEnded };
                let outcome = candidate.release().await;
                // Whoever asked may have stopped waiting.
                let _ = answer.send(outcome);
                return Loss::Released;
            }
            loss = candidate.step() => loss,
        };
        if let Some(loss) = loss {
            tracing::warn!(lease = candidate.name, %loss, "leading no more");
            return loss;
        }
        if let Some(until) = candidate.memory.held_until() {
            token.0.extend(until);
        }
    }
}

fn by_us() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

fn version_of(lease: &Lease) -> &str {
    lease.metadata.resource_version.as_deref().unwrap_or_default()
}

fn record_of(lease: &Lease) -> Record {
    let spec = lease.spec.as_ref();
    let seconds = spec.and_then(|spec| spec.lease_duration_seconds);
    Record {
        version: version_of(lease).to_owned(),
        holder: spec
            .and_then(|spec| spec.holder_identity.clone())
            .unwrap_or_default(),
        duration: seconds
            .and_then(|s| u64::try_from(s).ok())
            .map(Duration::from_secs),
    }
}

/// The wall clock, for people, but always later than before: a replace that changes nothing is
/// not stored, and the others would not see it.
fn later_than(before: Option<&MicroTime>) -> MicroTime {
    let now = Timestamp::now();
    let least = before.map_or(i64::MIN, |time| time.0.as_microsecond().saturating_add(1));
    let time = Timestamp::from_microsecond(now.as_microsecond().max(least));
    MicroTime(time.unwrap_or(now))
}

#[cfg(test)]
mod tests {
    use kube::Config;

    use super::*;
    use crate::client::Clients;

    fn candidate(identity: &Identity) -> Candidate {
        let nowhere = Config::new(http::Uri::from_static("http://127.0.0.1:1"));
        let clients = Clients::new(&nowhere).unwrap();
        Candidate::new(
            &clients.prompt,
            "ns",
            "leader",
            identity.clone(),
            Timing::default(),
        )
    }

    fn stored(mut lease: Lease, version: &str) -> Lease {
        lease.metadata.resource_version = Some(version.to_owned());
        lease
    }

    #[tokio::test]
    async fn the_lease_tells_how_it_changed_hands() {
        let (one, two) = (Identity::unique("pod"), Identity::unique("pod"));
        assert_ne!(one, two);
        assert!(one.as_str().starts_with("pod_") && one.as_str().len() == 20);
        let (first, second) = (candidate(&one), candidate(&two));
        let made = stored(first.held(Lease::default()), "1");
        assert_eq!(record_of(&made).holder, one.as_str());
        assert_eq!(record_of(&made).duration, Some(Timing::default().duration()));
        let renewed = stored(first.held(made.clone()), "2");
        let taken = second.held(renewed.clone()).spec.unwrap();
        let [made, renewed] = [made, renewed].map(|lease| lease.spec.unwrap());
        let transitions = [&made, &renewed, &taken].map(|spec| spec.lease_transitions.unwrap());
        assert_eq!(transitions, [0, 0, 1]);
        assert_eq!(made.acquire_time, renewed.acquire_time);
        assert!(taken.acquire_time > renewed.acquire_time);
        assert!(made.renew_time < renewed.renew_time && renewed.renew_time < taken.renew_time);
    }

    #[test]
    fn a_renewal_is_later_than_any_clock_wrote() {
        let ahead = MicroTime("2999-01-01T00:00:00Z".parse().unwrap());
        let next = later_than(Some(&ahead));
        assert_eq!(next.0.to_string(), "2999-01-01T00:00:00.000001Z");
        assert!(later_than(Some(&next)) > next);
        let end = MicroTime(Timestamp::MAX);
        assert!(later_than(Some(&end)) < end);
    }

    #[test]
    fn what_makes_no_sense_in_a_lease_is_not_believed() {
        let spec = |seconds| LeaseSpec {
            lease_duration_seconds: seconds,
            ..LeaseSpec::default()
        };
        for (seconds, duration) in [
            (None, None),
            (Some(-1), None),
            (Some(7), Some(Duration::from_secs(7))),
        ] {
            let lease = Lease {
                spec: Some(spec(seconds)),
                ..Lease::default()
            };
            assert_eq!(record_of(&lease).duration, duration);
        }
        assert_eq!(record_of(&Lease::default()).holder, "");
    }

    /// A process without an API server does not spin, and never believes that it leads.
    #[tokio::test(start_paused = true)]
    async fn without_a_server_it_goes_on_trying() {
        let waiting = candidate(&Identity::unique("pod")).acquire();
        let outcome = tokio::time::timeout(Duration::from_secs(60), waiting).await;
        assert!(outcome.is_err());
    }
}
