//! From what the member is to what it should be: the next steps, as a function of both.
//! Must not do IO or keep anything; a step that was taken is seen in the next facts.

use std::time::Duration;

use sql::settings::Setting;
use sql::status::{Channel, Facts, Receiver};
use topology::assignment::{Assignment, Place, Role};
use topology::gtid::Uuid;

use super::cloning::Left;
use super::rules::{self, Wrong};

/// Access denied: the password of the receiver was changed under it.
const ACCESS_DENIED: u32 = 1045;
/// A replica that only restarts is back by then, and what waits goes on.
const COPY_PATIENCE: Duration = Duration::from_secs(20);
/// Where nobody reads or writes, nothing is lost by a start.
const COPY_PATIENCE_CLOSED: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Settings that somebody changed.
    PutBack(Vec<Wrong>),
    /// No clients, no writes: within a second, or mysqld is killed.
    Close,
    /// The same, and nothing is killed for what holds it up.
    Retire,
    /// For a server without waiters that nobody writes to.
    StopWaiting,
    StopReceiver,
    /// Of a server without any source.
    Define(Place),
    /// Of a stopped receiver; the applier goes on.
    Change(Place),
    StartReceiver,
    StartApplier,
    StopApplier,
    /// Until everything that was received is applied, for a while.
    AwaitApplied,
    /// Deletes the relay log, of which nothing is left to apply.
    ForgetSource,
    /// Commits wait for so many replicas.
    WaitFor(u16),
    /// Read-only for everybody but the agent: for the write that proves.
    AllowOwnWrites,
    /// Clients may connect and write.
    Open,
    /// Clients may connect.
    LetIn,
    /// Tables and accounts.
    Found,
    /// Accounts as they should be, the application's too.
    Accounts,
    Clone {
        donor: Place,
        instead_of: Uuid,
    },
    /// The donor's replication is forgotten, then the mark of the clone.
    FinishClone,
    /// The mark of a clone that changed nothing.
    ForgetClone,
    /// The files of the certificates have changed.
    ReloadTls,
    /// What cannot be done while mysqld runs.
    End(Ending),
}

impl Step {
    /// Nothing that the assignment asks for: it neither waits for these nor keeps anything waiting.
    pub(crate) fn is_upkeep(&self) -> bool {
        matches!(self, Step::Accounts | Step::ReloadTls)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Commits wait on a server that is no primary any more: nobody may be told that they succeeded.
    Kill,
    /// Commits wait for a replica whose copy waits for these commits.
    Unblock,
    /// A clone is complete: mysqld starts anew under a new identity.
    Renew,
    /// A clone ruined the data: new ones are made.
    GiveUp,
}

/// What there is to go by.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) assignment: &'a Assignment,
    pub(crate) facts: &'a Facts,
    pub(crate) left: Left,
    pub(crate) is_founded: bool,
    /// A commit of this run of mysqld was acknowledged as this epoch and this assignment ask.
    pub(crate) is_proved: bool,
    pub(crate) are_accounts_right: bool,
    /// mysqld has the certificates that are in the files.
    pub(crate) are_certificates_right: bool,
    /// Under these orders another server was seen at the address of the source.
    pub(crate) has_stranger: bool,
    /// Clients were let in a moment ago: their first writes share the disk.
    pub(crate) is_just_open: bool,
    /// For how long somebody's copy from here has waited for commits to end.
    pub(crate) copy_waited: Option<Duration>,
}

/// In their order; after them the facts are read again. None: it is as it should be, or somebody
/// else must act first.
pub(crate) fn steps(view: &View<'_>) -> Vec<Step> {
    if let Some(first) = after_clone(view) {
        return first;
    }
    let wrong = rules::wrong(&view.facts.settings);
    let mut steps = Vec::new();
    if !wrong.is_empty() {
        steps.push(Step::PutBack(wrong));
    }
    steps.extend(match &view.assignment.role {
        Role::Hold => hold(view.facts),
        Role::Found | Role::Primary { .. } if !is_the_recorded(view) => diverged(view.facts),
        Role::Found => found(view),
        Role::Retire => retire(view.facts),
        Role::Replica { .. } if is_diverged(view) || view.has_stranger => diverged(view.facts),
        Role::Replica { source } => replica(view.facts, source),
        Role::Primary { wait_for } => primary(view, *wait_for),
        Role::Clone { donor, instead_of } => clone(view.facts, donor, *instead_of),
    });
    if !view.are_certificates_right {
        steps.push(Step::ReloadTls);
    }
    steps
}

/// What a clone left behind comes before everything else.
fn after_clone(view: &View<'_>) -> Option<Vec<Step>> {
    match view.left {
        Left::Nothing => None,
        Left::Untouched => Some(vec![Step::ForgetClone]),
        Left::Copied => Some(vec![Step::End(Ending::Renew)]),
        Left::Renewed => Some(vec![Step::FinishClone]),
        Left::Ruined => match &view.assignment.role {
            // Cloning again mends it, whatever identity it has.
            Role::Clone { donor, .. } => {
                let instead_of = view.facts.server_uuid;
                Some(clone(view.facts, donor, instead_of))
            }
            _ => Some(vec![Step::End(Ending::GiveUp)]),
        },
    }
}

fn flag(facts: &Facts, setting: Setting) -> bool {
    facts.settings.flag(setting) == Some(true)
}

/// The channel of ours; others are nobody's business here.
pub(crate) fn channel(facts: &Facts) -> Option<&Channel> {
    facts.channels.iter().find(|channel| channel.name.is_empty())
}

fn has_waiters(facts: &Facts) -> bool {
    facts
        .semi_sync_source
        .as_ref()
        .is_some_and(|source| source.waiters > 0)
}

fn is_receiving(facts: &Facts) -> bool {
    channel(facts).is_some_and(|channel| channel.receiver != Receiver::Off)
}

/// Closed first: then what is stopped cannot come back through a write.
fn close(facts: &Facts) -> Vec<Step> {
    match flag(facts, Setting::SuperReadOnly) {
        true => Vec::new(),
        false => vec![Step::Close],
    }
}

/// Waiting for acknowledgements stays on: who was a primary releases nobody.
fn hold(facts: &Facts) -> Vec<Step> {
    // The receiver first: a freeze counts from here.
    let mut steps = Vec::new();
    if is_receiving(facts) {
        steps.push(Step::StopReceiver);
    }
    steps.extend(close(facts));
    steps
}

/// Commits go on waiting for those who still follow.
fn retire(facts: &Facts) -> Vec<Step> {
    match is_retired(facts) {
        true => Vec::new(),
        false => vec![Step::Retire],
    }
}

/// Nobody writes any more, and nobody waits.
pub(crate) fn is_retired(facts: &Facts) -> bool {
    flag(facts, Setting::SuperReadOnly) && flag(facts, Setting::OfflineMode) && !has_waiters(facts)
}

/// Who does not lead must not have its applier wait for acknowledgements.
fn no_waiting(facts: &Facts) -> Vec<Step> {
    if !flag(facts, Setting::SemiSyncSource) {
        return Vec::new();
    }
    match has_waiters(facts) {
        true => vec![Step::End(Ending::Kill)],
        false => vec![Step::StopWaiting],
    }
}

fn found(view: &View<'_>) -> Vec<Step> {
    let facts = view.facts;
    if is_receiving(facts) {
        return vec![Step::StopReceiver];
    }
    if view.is_founded {
        let mut steps = close(facts);
        // Those who cannot follow from the beginning clone.
        steps.extend(let_in(facts));
        return steps;
    }
    let mut steps = no_waiting(facts);
    steps.push(Step::Found);
    steps
}

/// mysqld starts offline: nobody shall read what crash recovery brought back before it is proved.
fn let_in(facts: &Facts) -> Option<Step> {
    flag(facts, Setting::OfflineMode).then_some(Step::LetIn)
}

/// A primary's data are named in the record: others, or none, are never opened in their place, also where no
/// controller is there to see that the volume is another one.
fn is_the_recorded(view: &View<'_>) -> bool {
    let record = view.assignment.record.as_ref();
    let voter = record.and_then(|record| record.voters.get(&view.assignment.member));
    let recorded = voter.and_then(|voter| voter.incarnation);
    recorded.is_none_or(|recorded| recorded == view.facts.server_uuid)
}

/// It holds what nobody was promised: once it has followed, nobody can tell. The order may have been given
/// before that was written, so it is looked at here again.
fn is_diverged(view: &View<'_>) -> bool {
    let record = view.assignment.record.as_ref();
    let all = view.facts.received_or_executed();
    record.is_some_and(|record| !record.beyond_cut(&all).is_empty())
}

/// Who answers at the source's address, if it is not who the record says: it was copied anew since these orders
/// were given, and is a replica of a later primary perhaps. What it lacks of ours was never compared, and with
/// what it sends nobody could tell any more.
pub(crate) fn stranger(assignment: &Assignment, facts: &Facts) -> Option<Uuid> {
    let Role::Replica { source } = &assignment.role else {
        return None;
    };
    let voter = assignment.record.as_ref()?.voters.get(&source.member)?;
    let recorded = voter.incarnation?;
    let channel = channel(facts)?;
    let is_there = channel.receiver == Receiver::On
        && channel.source_host == source.host
        && channel.source_port == source.port;
    // While it is not connected, the server tells who it was before.
    let found = channel.source_uuid.filter(|_| is_there)?;
    (found != recorded).then_some(found)
}

/// Closed, and following nobody, until it is told to copy.
fn diverged(facts: &Facts) -> Vec<Step> {
    let mut steps = hold(facts);
    if steps.is_empty() {
        steps.extend(no_waiting(facts));
    }
    steps
}

fn replica(facts: &Facts, source: &Place) -> Vec<Step> {
    let closing = close(facts);
    if !closing.is_empty() {
        return closing;
    }
    // First, though it takes mysqld a second: whoever receives by then takes the disk, or the network, from the first
    // commits of the next primary.
    let mut steps = no_waiting(facts);
    let Some(channel) = channel(facts) else {
        steps.extend([
            Step::Define(source.clone()),
            Step::StartReceiver,
            Step::StartApplier,
        ]);
        return steps;
    };
    let is_right = channel.source_host == source.host && channel.source_port == source.port;
    // Asked for when the connection was made; what it was then holds until the next.
    let acknowledges = facts.semi_sync_replica == Some(true);
    let is_stale = match channel.receiver {
        Receiver::Off => false,
        Receiver::On => !acknowledges,
        Receiver::Connecting => {
            let failure = channel.receiver_failure.as_ref();
            failure.is_some_and(|failure| failure.code == ACCESS_DENIED)
        }
    };
    if !is_right {
        if channel.receiver != Receiver::Off {
            steps.push(Step::StopReceiver);
        }
        steps.extend([Step::Change(source.clone()), Step::StartReceiver]);
    } else if is_stale {
        steps.extend([Step::StopReceiver, Step::StartReceiver]);
    } else if channel.receiver == Receiver::Off {
        steps.push(Step::StartReceiver);
    }
    if !channel.is_applier_on {
        steps.push(Step::StartApplier);
    }
    if steps.is_empty() && channel.receiver == Receiver::On {
        steps.extend(let_in(facts));
    }
    steps
}

/// Up to its own first write in one go: nobody takes writes meanwhile, and what can be done later is.
fn primary(view: &View<'_>, wait_for: u16) -> Vec<Step> {
    let facts = view.facts;
    if is_deadlocked(view, wait_for) {
        return vec![Step::End(Ending::Unblock)];
    }
    let mut steps = leave_source(facts);
    if !waits_for(facts, wait_for) {
        steps.push(match wait_for {
            0 => Step::StopWaiting,
            count => Step::WaitFor(count),
        });
    }
    if flag(facts, Setting::SuperReadOnly) {
        steps.push(Step::AllowOwnWrites);
    }
    if !steps.is_empty() {
        return steps;
    }
    if view.is_proved && !is_open(facts) {
        steps.push(Step::Open);
    } else if view.is_proved && channel(facts).is_some() && !view.is_just_open {
        steps.push(Step::ForgetSource);
    } else if view.is_proved && !view.are_accounts_right {
        steps.push(Step::Accounts);
    }
    steps
}

/// A copy ends when no commit waits, these wait for a replica, and there will be none without a copy. mysqld takes no
/// waiting commit back; started anew, closed, it has none: what it wrote of its epoch is in its data by then, and nothing
/// else is written there before enough replicas follow.
fn is_deadlocked(view: &View<'_>, wait_for: u16) -> bool {
    let source = view.facts.semi_sync_source.as_ref();
    let is_short = source.is_some_and(|source| source.waiters > 0 && source.clients < u64::from(wait_for));
    let patience = match is_open(view.facts) {
        true => COPY_PATIENCE,
        false => COPY_PATIENCE_CLOSED,
    };
    is_short && view.copy_waited.is_some_and(|waited| waited >= patience)
}

/// What was received is applied first; while that lasts nothing else is done.
fn leave_source(facts: &Facts) -> Vec<Step> {
    let mut steps = Vec::new();
    let Some(channel) = channel(facts).filter(|_| !has_left_source(facts)) else {
        return steps;
    };
    if channel.receiver != Receiver::Off {
        steps.push(Step::StopReceiver);
    }
    if !channel.is_applier_on {
        steps.push(Step::StartApplier);
    }
    steps.extend([Step::AwaitApplied, Step::StopApplier]);
    steps
}

/// Nothing more is received, and nothing is left to apply but a part of a transaction, which goes with the relay log.
fn has_left_source(facts: &Facts) -> bool {
    channel(facts).is_none_or(|channel| {
        let is_stopped = channel.receiver == Receiver::Off && !channel.is_applier_on;
        is_stopped && channel.received.is_subset(&facts.gtid_executed)
    })
}

/// Whether commits wait for exactly so many.
pub(crate) fn waits_for(facts: &Facts, wait_for: u16) -> bool {
    let is_enabled = flag(facts, Setting::SemiSyncSource);
    match wait_for {
        0 => !is_enabled,
        count => is_enabled && facts.settings.number(Setting::SemiSyncWaitCount) == Some(u64::from(count)),
    }
}

/// Whether a write of the agent's own would prove that commits reach so many replicas.
pub(crate) fn may_prove(facts: &Facts, wait_for: u16) -> bool {
    has_left_source(facts)
        && rules::wrong(&facts.settings).is_empty()
        && waits_for(facts, wait_for)
        && !flag(facts, Setting::SuperReadOnly)
}

pub(crate) fn is_open(facts: &Facts) -> bool {
    let is_off = |setting| facts.settings.flag(setting) == Some(false);
    is_off(Setting::SuperReadOnly) && is_off(Setting::ReadOnly) && is_off(Setting::OfflineMode)
}

/// Nobody may write, not even the agent.
pub(crate) fn is_closed(facts: &Facts) -> bool {
    flag(facts, Setting::SuperReadOnly)
}

fn clone(facts: &Facts, donor: &Place, instead_of: Uuid) -> Vec<Step> {
    let mut steps = hold(facts);
    if facts.server_uuid != instead_of {
        return steps;
    }
    let waiting = no_waiting(facts);
    if !steps.is_empty() || !waiting.is_empty() {
        steps.extend(waiting);
        return steps;
    }
    if channel(facts).is_some_and(|channel| channel.is_applier_on) {
        steps.push(Step::StopApplier);
    }
    steps.push(Step::Clone {
        donor: donor.clone(),
        instead_of,
    });
    steps
}

#[cfg(test)]
mod tests;
