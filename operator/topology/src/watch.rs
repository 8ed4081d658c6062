//! The order of events that no clock gives: what was sampled after what, by counted pings.
//! Must not guess: after a lost connection everything is unknown until it is seen again.

use std::collections::BTreeMap;

use crate::gtid::{GtidSet, Uuid};
use crate::observed::Observed;
use crate::report::Report;

/// Fed with every report, in the order of their arrival.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    members: BTreeMap<String, Seen>,
}

#[derive(Clone, Debug)]
struct Seen {
    reported_at_ping: u64,
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
        let seen = self.members.entry(report.member.clone()).or_insert(Seen {
            reported_at_ping: ping,
            attached: None,
        });
        seen.reported_at_ping = ping;
        seen.attached = match (seen.attached.take(), attached) {
            (Some(before), Some(now)) if before.is_same_as(&now) => Some(before),
            (_, now) => now,
        };
        self.set_goals(report);
    }

    /// A report of the primary that is younger than an attachment says what is to be caught up with.
    fn set_goals(&mut self, report: &Report) {
        let record = report.assignment.as_ref().and_then(|order| order.record.as_ref());
        let Some((record, server)) = record.zip(report.server.as_ref()) else {
            return;
        };
        if record.primary != report.member {
            return;
        }
        for (name, seen) in &mut self.members {
            if let Some(attached) = seen.attached.as_mut().filter(|_| *name != report.member)
                && attached.goal.is_none()
                && attached.epoch == record.term.epoch
                && report.heard > attached.ping
            {
                attached.goal = Some(server.executed.clone());
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
            member.reported_at_ping = known.map_or(u64::MAX, |known| known.reported_at_ping);
            member.goal = known.and_then(|known| known.attached.as_ref()?.goal.clone());
        }
    }
}

impl Attached {
    fn is_same_as(&self, other: &Attached) -> bool {
        (self.incarnation, &self.host, self.epoch) == (other.incarnation, &other.host, other.epoch)
    }
}

fn attached(report: &Report, ping: u64) -> Option<Attached> {
    let server = report.server.as_ref()?;
    let follows = server.follows.as_ref()?;
    follows.is_receiving.then(|| Attached {
        incarnation: server.incarnation,
        host: follows.host.clone(),
        epoch: report.assignment.as_ref().map_or(0, |order| order.term().epoch),
        ping,
        goal: None,
    })
}
