//! The order of events that no clock gives: what was sampled after what, by counted pings.
//! Must not guess: after a lost connection everything is unknown until it is seen again.

use std::collections::BTreeMap;

use crate::gtid::{Gtid, GtidSet, Source, Uuid};
use crate::observed::Observed;
use crate::record::Record;
use crate::report::{Report, ServerSeen};

/// Fed with every report, in the order of their arrival.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    members: BTreeMap<String, Seen>,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    incarnation: Option<Uuid>,
    /// Of its orders: what was seen under another primary is not compared with this one.
    epoch: u64,
    /// To be compared with a report of the primary that heard a later ping.
    held: Option<(GtidSet, u64)>,
    surplus: Option<GtidSet>,
    attached: Option<Attached>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Attached {
    incarnation: Uuid,
    host: String,
    epoch: u64,
    ping: u64,
    goal: Option<GtidSet>,
}

impl Watch {
    /// `ping` is the number of the ping sent last to anybody.
    pub fn heard(&mut self, report: &Report, ping: u64) {
        let attached = attached(report, ping);
        let seen = self.members.entry(report.member.clone()).or_default();
        let incarnation = report.server.as_ref().map(|server| server.incarnation);
        let epoch = epoch(report);
        if (seen.incarnation, seen.epoch) != (incarnation, epoch) {
            *seen = Seen {
                incarnation,
                epoch,
                ..Seen::default()
            };
        }
        if let Some(server) = report.server.as_ref().filter(|_| seen.held.is_none()) {
            seen.held = Some((server.executed.union(&server.received), ping));
        }
        seen.attached = match (seen.attached.take(), attached) {
            (Some(before), Some(now)) if before.is_same_as(&now) => Some(before),
            (_, now) => now,
        };
        self.compare(report);
    }

    /// A report of the primary that is younger than what another was seen to have, or than its
    /// attachment, says what that one has too much, or has to catch up with.
    fn compare(&mut self, report: &Report) {
        let record = report.assignment.as_ref().and_then(|order| order.record.as_ref());
        let Some((record, server)) = record.zip(report.server.as_ref()) else {
            return;
        };
        // While it is being chosen, the record names the one before.
        if record.primary != report.member || record.is_choosing {
            return;
        }
        let others = self
            .members
            .iter_mut()
            .filter(|(name, seen)| **name != report.member && seen.epoch == record.term.epoch);
        for (_, seen) in others {
            if let Some((set, _)) = seen.held.take_if(|(_, ping)| report.heard > *ping) {
                seen.surplus = Some(surplus(&set, server, record));
            }
            if let Some(attached) = seen.attached.as_mut()
                && attached.goal.is_none()
                && report.heard > attached.ping
            {
                attached.goal = Some(server.executed.union(&server.received));
            }
        }
    }

    pub fn lost(&mut self, member: &str) {
        self.members.remove(member);
    }

    /// Writes what is known into the observation. What is not known can prove nothing.
    pub fn fill(&self, seen: &mut Observed) {
        for (name, member) in &mut seen.members {
            let known = self.members.get(name);
            member.surplus = known.and_then(|known| known.surplus.clone());
            member.goal = known.and_then(|known| known.attached.as_ref()?.goal.clone());
        }
    }
}

/// What the primary wrote itself is in its binary log before it is sent, and in `executed` only when it is
/// acknowledged, which may take any time: it is never too much. Nor is the transaction of its epoch.
fn surplus(set: &GtidSet, primary: &ServerSeen, record: &Record) -> GtidSet {
    // A new primary opens only when all that it received is applied: that belongs to it already.
    let rest = set.subtract(&primary.executed.union(&primary.received));
    let rest = rest.without(|source| source.uuid == primary.incarnation);
    let of_epochs = Source {
        uuid: record.identity,
        tag: None,
    };
    let Ok(begun) = Gtid::new(of_epochs, record.term.epoch) else {
        return rest;
    };
    let mut epoch = GtidSet::new();
    epoch.insert(begun);
    rest.subtract(&epoch)
}

impl Attached {
    fn is_same_as(&self, other: &Attached) -> bool {
        (self.incarnation, &self.host, self.epoch) == (other.incarnation, &other.host, other.epoch)
    }
}

fn epoch(report: &Report) -> u64 {
    report.assignment.as_ref().map_or(0, |order| order.term().epoch)
}

fn attached(report: &Report, ping: u64) -> Option<Attached> {
    let server = report.server.as_ref()?;
    let follows = server.follows.as_ref()?;
    follows.is_receiving.then(|| Attached {
        incarnation: server.incarnation,
        host: follows.host.clone(),
        epoch: epoch(report),
        ping,
        goal: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assignment::{Assignment, Role, Server};
    use crate::record::Voter;
    use crate::report::Process;
    use crate::term::Term;

    const IDENTITY: Uuid = Uuid::from_bytes([9; 16]);
    const PRIMARY: Uuid = Uuid::from_bytes([1; 16]);
    const REPLICA: Uuid = Uuid::from_bytes([2; 16]);

    fn report(member: &str, incarnation: Uuid, executed: &str, heard: u64) -> Report {
        let record = Record {
            identity: IDENTITY,
            term: Term {
                epoch: 2,
                revision: 5,
            },
            primary: "db-0".into(),
            is_choosing: false,
            voters: [("db-0".to_owned(), Voter::default())].into(),
            acknowledged_by: 1,
            wait_for: 1,
            handing_to: None,
            cut: None,
        };
        let assignment = Assignment {
            member: member.into(),
            record: Some(record),
            role: Role::Hold,
            server: Server::default(),
        };
        Report {
            member: member.into(),
            heard,
            agent: "0.1.0".into(),
            assignment: Some(assignment),
            is_settled: true,
            proved: None,
            is_founded: false,
            process: Process::Running,
            server: Some(ServerSeen {
                incarnation,
                version: "9.7.4".into(),
                executed: executed.parse().unwrap(),
                purged: GtidSet::new(),
                received: GtidSet::new(),
                is_open: true,
                has_waiters: false,
                acknowledging: 0,
                waits_for: None,
                follows: None,
                lag_ms: None,
                beat: None,
            }),
            server_age_ms: 0,
            disk: None,
            drift: Default::default(),
            awaiting_restart: Default::default(),
            troubles: Vec::new(),
        }
    }

    /// What a replica with these has too much beside a primary that has committed ten of its own.
    fn surplus_of(set: &str) -> String {
        let mut watch = Watch::default();
        watch.heard(&report("db-1", REPLICA, set, 1), 3);
        watch.heard(&report("db-0", PRIMARY, &format!("{PRIMARY}:1-10"), 4), 4);
        let mut seen = Observed::default();
        seen.members.insert("db-1".into(), Default::default());
        watch.fill(&mut seen);
        seen.members["db-1"].surplus.clone().unwrap().to_string()
    }

    #[test]
    fn what_the_primary_has_sent_and_not_committed_yet_is_not_too_much() {
        assert_eq!(surplus_of(&format!("{PRIMARY}:1-12")), "");
        assert_eq!(surplus_of(&format!("{IDENTITY}:2,{PRIMARY}:1-10")), "");
    }

    #[test]
    fn what_anybody_else_wrote_is_too_much() {
        assert_eq!(
            surplus_of(&format!("{PRIMARY}:1-9,{REPLICA}:1")),
            format!("{REPLICA}:1")
        );
        assert_eq!(surplus_of(&format!("{IDENTITY}:1-3")), format!("{IDENTITY}:1:3"));
    }
}
