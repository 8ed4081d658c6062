//! What was seen, asked in the words of the rules.
//! Must not take silence for an answer: every question about a member needs an open connection.

use std::collections::BTreeSet;

use crate::assignment::{Assignment, Place, Role, Server};
use crate::gtid::{GtidSet, Source, Uuid};
use crate::observed::{Member, Observed, Pod, Spec, Timestamp};
use crate::record::{Record, Voter};
use crate::report::{Process, Report, ServerSeen};

/// mysqld's own port in every Pod.
pub(super) const PORT: u16 = 3306;
/// A replica that lacks more transactions would hold up every commit until it has them.
const BACKLOG_LIMIT: u128 = 1_000;
/// A stream without even a heartbeat for so long brings nothing, whatever its receiver says.
const STREAM_LIMIT_MS: u64 = 4_000;
/// Facts older than this say nothing of now.
const FACTS_LIMIT_MS: u64 = 5_000;

#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) spec: &'a Spec,
    pub(super) seen: &'a Observed,
    pub(super) record: &'a Record,
    pub(super) now: Timestamp,
}

/// A member whose mysqld answers, over a connection that is open.
#[derive(Clone, Copy)]
pub(super) struct Running<'a> {
    pub(super) member: &'a Member,
    pub(super) report: &'a Report,
    pub(super) server: &'a ServerSeen,
}

/// All that it has, applied or not.
pub(super) fn everything(server: &ServerSeen) -> GtidSet {
    server.executed.union(&server.received)
}

/// What somebody wrote to a replica.
pub(super) fn errant(scene: &Scene<'_>, at: Running<'_>) -> GtidSet {
    let all = everything(at.server);
    scene.record.errant(at.server.incarnation, &all)
}

/// How many transactions of the other it has not even received.
pub(super) fn lacks(of: Running<'_>, at: Running<'_>) -> u128 {
    of.server.executed.subtract(&everything(at.server)).count()
}

/// It has what the primary had at a moment after it attached to it.
pub(super) fn has_reached_goal(at: Running<'_>) -> bool {
    let goal = at.member.goal.as_ref();
    goal.is_some_and(|goal| goal.is_subset(&everything(at.server)))
}

/// It would acknowledge a commit of this moment soon.
pub(super) fn is_near(primary: Running<'_>, at: Running<'_>) -> bool {
    lacks(primary, at) <= BACKLOG_LIMIT
}

/// The report of an open connection.
pub(super) fn connected<'a>(seen: &'a Observed, name: &str) -> Option<(&'a Member, &'a Report)> {
    let member = seen.members.get(name)?;
    let report = member.report.as_ref()?;
    member.is_connected.then_some((member, report))
}

pub(super) fn running<'a>(seen: &'a Observed, name: &str) -> Option<Running<'a>> {
    let (member, report) = connected(seen, name)?;
    let server = report.server.as_ref()?;
    let is_running = report.process == Process::Running && report.server_age_ms <= FACTS_LIMIT_MS;
    is_running.then_some(Running {
        member,
        report,
        server,
    })
}

/// The part of the orders that does not depend on the role.
pub(super) fn server_of(spec: &Spec, name: &str, may_restart: bool) -> Server {
    Server {
        server_id: ordinal(name).saturating_add(1),
        memory_bytes: spec.memory_bytes,
        is_tls_required: spec.is_tls_required,
        parameters: spec.parameters.clone(),
        may_restart,
    }
}

/// The number at the end of a member's name.
pub(super) fn ordinal(name: &str) -> u32 {
    let digits = name.rsplit('-').next().unwrap_or_default();
    digits.parse().unwrap_or(u32::MAX)
}

/// The epoch that a history reaches.
pub(super) fn epoch_of(identity: Uuid, set: &GtidSet) -> u64 {
    set.highest(&Source::from(identity))
}

impl<'a> Scene<'a> {
    pub(super) fn new(spec: &'a Spec, seen: &'a Observed, record: &'a Record, now: Timestamp) -> Self {
        Self {
            spec,
            seen,
            record,
            now,
        }
    }

    pub(super) fn primary(&self) -> &'a str {
        &self.record.primary
    }

    pub(super) fn running(&self, name: &str) -> Option<Running<'a>> {
        running(self.seen, name)
    }

    pub(super) fn connected(&self, name: &str) -> Option<(&'a Member, &'a Report)> {
        connected(self.seen, name)
    }

    fn pod(&self, name: &str) -> Option<&'a Pod> {
        self.seen.members.get(name)?.pod.as_ref()
    }

    pub(super) fn is_ending(&self, name: &str) -> bool {
        self.pod(name).is_some_and(|pod| pod.is_terminating)
    }

    /// A node that takes both away costs twice: another operator leads before another primary can.
    pub(super) fn is_beside_operator(&self, name: &str) -> bool {
        let node = self.pod(name).and_then(|pod| pod.node.as_ref());
        node.is_some() && node == self.seen.operator_node.as_ref()
    }

    /// It answers, and its volume takes nothing more.
    pub(super) fn cannot_write(&self, name: &str) -> bool {
        self.connected(name)
            .is_some_and(|(_, report)| report.cannot_write())
    }

    pub(super) fn voter(&self, name: &str) -> Option<&'a Voter> {
        self.record.voters.get(name)
    }

    /// Its mysqld answers, and it is the incarnation that the record counts on, with all that it had.
    pub(super) fn counted(&self, name: &str) -> Option<Running<'a>> {
        self.running(name)
            .filter(|running| self.record.counts(name, running.server.incarnation))
            .filter(|running| self.is_whole(*running))
    }

    /// It has all that it ever had, as far as that can be told: its volume was not set back.
    pub(super) fn is_whole(&self, at: Running<'_>) -> bool {
        at.member.forgot.is_none() && !self.record.has_hole(&everything(at.server))
    }

    /// The primary, if it answers and has its data.
    pub(super) fn living_primary(&self) -> Option<Running<'a>> {
        self.counted(self.primary())
    }

    /// So many voters with their data must be seen to know everything that was acknowledged.
    pub(super) fn quorum(&self) -> usize {
        let acknowledged_by = usize::from(self.record.acknowledged_by);
        self.record.voters.len().saturating_sub(acknowledged_by)
    }

    /// Where others reach the primary.
    pub(super) fn primary_place(&self) -> Option<Place> {
        self.place(self.primary())
    }

    /// Where it can be reached for some time to come.
    pub(super) fn place(&self, name: &str) -> Option<Place> {
        let pod = self.seen.members.get(name)?.pod.as_ref()?;
        let host = self.address(name)?.to_owned();
        (!pod.is_terminating).then(|| Place {
            member: name.to_owned(),
            host,
            port: pod.replication_port.unwrap_or(PORT),
        })
    }

    /// The same now: a Pod that is ending still serves.
    pub(super) fn address(&self, name: &str) -> Option<&'a str> {
        self.seen.members.get(name)?.pod.as_ref()?.ip.as_deref()
    }

    pub(super) fn is_wanted(&self, name: &str) -> bool {
        let mut wanted = (0..self.spec.instances).map(|n| format!("{}-{n}", self.spec.name));
        wanted.any(|wanted| wanted == name)
    }

    /// Wanted ones, and voters that are not struck out yet.
    pub(super) fn existing(&self) -> BTreeSet<String> {
        let voters = self.record.voters.keys().cloned();
        self.spec.members().into_iter().chain(voters).collect()
    }

    /// Replicas that count and receive from the primary now. One without room acknowledges nothing.
    pub(super) fn receiving(&self) -> BTreeSet<&'a str> {
        let voters = self.record.voters.iter();
        let voters = voters.filter(|(name, voter)| *name != self.primary() && voter.leaving.is_none());
        voters
            .map(|(name, _)| name.as_str())
            .filter(|name| {
                let follows = self
                    .counted(name)
                    .is_some_and(|running| self.follows_primary(running));
                follows && !self.cannot_write(name)
            })
            .collect()
    }

    pub(super) fn follows_primary(&self, running: Running<'_>) -> bool {
        let Some(address) = self.address(self.primary()) else {
            return false;
        };
        let follows = running.server.follows.as_ref();
        follows.is_some_and(|follows| {
            let is_heard = follows.silence_ms <= STREAM_LIMIT_MS;
            follows.is_receiving && is_heard && follows.host == address
        })
    }

    /// The order for a member in this term.
    pub(super) fn order(&self, name: &str, role: Role, may_restart: bool) -> Assignment {
        Assignment {
            member: name.to_owned(),
            record: Some(self.record.clone()),
            role,
            server: server_of(self.spec, name, may_restart),
        }
    }
}
