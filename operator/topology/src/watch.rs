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
    /// All that an incarnation was ever seen to have executed: it never has less, if its volume keeps what it was given.
    /// Whoever connects again is asked whether it still has that.
    had: BTreeMap<String, (Uuid, GtidSet)>,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    incarnation: Option<Uuid>,
    /// Of its orders: what was seen under another primary is not compared with this one.
    epoch: u64,
    /// To be compared with a report of the primary that heard a later ping.
    held: Option<(GtidSet, u64)>,
    surplus: Option<GtidSet>,
    ahead: Option<GtidSet>,
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
        if let Some(server) = &report.server {
            remember(&mut self.had, &report.member, server);
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
                seen.ahead = ahead(&set, report, server);
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
            member.ahead = known.and_then(|known| known.ahead.clone());
            member.goal = known.and_then(|known| known.attached.as_ref()?.goal.clone());
            let server = member.report.as_ref().and_then(|report| report.server.as_ref());
            member.forgot = server.zip(self.had.get(name)).and_then(forgot);
        }
    }
}

fn remember(had: &mut BTreeMap<String, (Uuid, GtidSet)>, member: &str, server: &ServerSeen) {
    match had.get_mut(member) {
        Some((incarnation, set)) if *incarnation == server.incarnation => {
            if !server.executed.is_subset(set) {
                *set = set.union(&server.executed);
            }
        }
        _ => drop(had.insert(member.to_owned(), (server.incarnation, server.executed.clone()))),
    }
}

fn forgot((server, (incarnation, had)): (&ServerSeen, &(Uuid, GtidSet))) -> Option<GtidSet> {
    let missing = had.subtract(&server.executed).subtract(&server.received);
    (*incarnation == server.incarnation && !missing.is_empty()).then_some(missing)
}

/// What a member has and the primary has not. A new primary may still apply what it received. A commit that
/// waits for acknowledgements is in the primary's binary log and on its replicas, and not in what it says it
/// executed: what it wrote itself is no surplus, nor is the transaction of its epoch.
fn surplus(set: &GtidSet, primary: &ServerSeen, record: &Record) -> GtidSet {
    let all = primary.executed.union(&primary.received);
    let rest = set
        .subtract(&all)
        .without(|source| source.uuid == primary.incarnation);
    let epoch = Source::from(record.identity);
    let mut own = GtidSet::new();
    if let Ok(begun) = Gtid::new(epoch, record.term.epoch) {
        own.insert(begun);
    }
    rest.subtract(&own)
}

/// What the primary wrote and has no more. Until it has proved anything since it was started nothing of its own waits
/// for acknowledgements, and what was in its binary log is executed before it answers.
fn ahead(set: &GtidSet, primary: &Report, server: &ServerSeen) -> Option<GtidSet> {
    if primary.proved.is_some() || server.is_open || server.has_waiters {
        return None;
    }
    let own = set
        .subtract(&server.executed)
        .without(|source| source.uuid != server.incarnation);
    (!own.is_empty()).then_some(own)
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
    use crate::observed::Member;
    use crate::report::Proof;
    use crate::term::Term;
    use crate::testing;

    const PRIMARY: &str = "00000000-0000-0000-0000-000000000001";
    const REPLICA: &str = "00000000-0000-0000-0000-000000000002";
    const EPOCHS: &str = "00000000-0000-0000-0000-00000000000e";

    fn set(text: &str) -> GtidSet {
        let text = text.replace("primary", PRIMARY).replace("replica", REPLICA);
        text.replace("epoch", EPOCHS).parse().unwrap()
    }

    fn report(member: &str, incarnation: &str, executed: &str, received: &str, heard: u64) -> Report {
        let record = Record {
            acknowledged_by: 1,
            wait_for: 1,
            ..Record::of(EPOCHS.parse().unwrap(), Term::new(2, 4), "orders-0")
        };
        let blank = testing::empty(0).report.unwrap();
        Report {
            member: member.into(),
            heard,
            assignment: Some(Assignment {
                member: member.into(),
                record: Some(record),
                role: Role::Hold,
                server: Server::default(),
            }),
            is_founded: true,
            server: blank.server.map(|server| ServerSeen {
                incarnation: incarnation.parse().unwrap(),
                executed: set(executed),
                received: set(received),
                ..server
            }),
            ..blank
        }
    }

    /// What a replica is, as a later report of the primary tells.
    fn told(replica: &str, primary: &Report) -> Member {
        let mut watch = Watch::default();
        watch.heard(&report("orders-1", REPLICA, replica, "", 1), 1);
        watch.heard(primary, 2);
        let mut seen = Observed::default();
        seen.members.insert("orders-1".into(), Default::default());
        watch.fill(&mut seen);
        seen.members["orders-1"].clone()
    }

    fn surplus_of(replica: &str, executed: &str, received: &str) -> Option<GtidSet> {
        told(replica, &report("orders-0", PRIMARY, executed, received, 2)).surplus
    }

    #[test]
    fn writes_that_their_own_author_lacks_after_its_start_are_told() {
        let ahead_of = |replica: &str, change: fn(&mut Report)| {
            let mut primary = report("orders-0", PRIMARY, "epoch:1-2,primary:1-4", "", 2);
            change(&mut primary);
            told(replica, &primary).ahead
        };
        let (more, same) = ("epoch:1-2,primary:1-5", "epoch:1-2,primary:1-4");
        assert_eq!(ahead_of(more, |_| ()), Some(set("primary:5")));
        assert_eq!(ahead_of(same, |_| ()), None);
        assert_eq!(ahead_of("epoch:1-2,primary:1-4,replica:1", |_| ()), None);
        // A commit on its way, or one that a report from before knows nothing of.
        let waits = |primary: &mut Report| primary.server.as_mut().unwrap().has_waiters = true;
        let is_open = |primary: &mut Report| primary.server.as_mut().unwrap().is_open = true;
        let has_proved = |primary: &mut Report| {
            let term = Term::new(2, 4);
            primary.proved = Some(Proof { term, wait_for: 1 });
        };
        let is_older = |primary: &mut Report| primary.heard = 1;
        for change in [waits, is_open, has_proved, is_older] {
            assert_eq!(ahead_of(more, change), None);
        }
    }

    #[test]
    fn a_commit_that_waits_is_no_surplus_of_who_received_it() {
        let surplus = surplus_of("epoch:1-2,primary:1-5", "epoch:1,primary:1-4", "");
        assert_eq!(surplus, Some(GtidSet::new()));
    }

    #[test]
    fn what_a_new_primary_still_applies_is_no_surplus_of_others() {
        let surplus = surplus_of("epoch:1,replica:1-5", "epoch:1,replica:1-2", "replica:3-5");
        assert_eq!(surplus, Some(GtidSet::new()));
    }

    #[test]
    fn writes_of_others_and_epochs_that_came_to_nothing_are_surplus() {
        let surplus = surplus_of("epoch:1-2,replica:1-5", "epoch:1-2,replica:1-4", "");
        assert_eq!(surplus, Some(set("replica:5")));
        let surplus = surplus_of("epoch:1-3,primary:1", "epoch:1-2,primary:1", "");
        assert_eq!(surplus, Some(set("epoch:3")));
    }

    /// orders-1 has followed since this ping, and the primary was heard after it.
    fn attached(watch: &mut Watch, change: fn(&mut Report), heard: u64) {
        let mut replica = report("orders-1", REPLICA, "primary:1-3", "", heard);
        replica.server.as_mut().unwrap().follows = Some(testing::following());
        change(&mut replica);
        watch.heard(&replica, heard);
    }

    fn goal(watch: &Watch) -> Option<GtidSet> {
        let mut seen = Observed::default();
        seen.members.insert("orders-1".into(), Default::default());
        watch.fill(&mut seen);
        seen.members["orders-1"].goal.clone()
    }

    #[test]
    fn a_goal_is_of_one_attachment() {
        let primary = |up_to: u64, heard: u64| {
            let executed = format!("primary:1-{up_to}");
            report("orders-0", PRIMARY, &executed, "", heard)
        };
        let begin = || {
            let mut watch = Watch::default();
            attached(&mut watch, |_| (), 1);
            watch.heard(&primary(5, 1), 2);
            assert_eq!(
                goal(&watch),
                None,
                "that was sampled before it attached, for all we know"
            );
            watch.heard(&primary(6, 2), 3);
            watch.heard(&primary(7, 3), 4);
            assert_eq!(goal(&watch), Some(set("primary:1-6")));
            watch
        };
        let mut same = begin();
        attached(&mut same, |_| (), 5);
        assert_eq!(goal(&same), Some(set("primary:1-6")));
        let server =
            |replica: &mut Report| replica.server.as_mut().unwrap().incarnation = EPOCHS.parse().unwrap();
        let host = |replica: &mut Report| {
            let follows = replica.server.as_mut().unwrap().follows.as_mut();
            follows.unwrap().host = "10.9.9.9".into();
        };
        let epoch = |replica: &mut Report| {
            let record = replica.assignment.as_mut().unwrap().record.as_mut();
            record.unwrap().term.epoch = 3;
        };
        let stopped = |replica: &mut Report| {
            let follows = replica.server.as_mut().unwrap().follows.as_mut();
            follows.unwrap().is_receiving = false;
        };
        for (at, change) in [server, host, epoch, stopped].into_iter().enumerate() {
            let mut other = begin();
            attached(&mut other, change, 5);
            assert_eq!(goal(&other), None, "with change {at}");
        }
        let mut lost = begin();
        lost.lost("orders-1");
        assert_eq!(goal(&lost), None);
    }

    #[test]
    fn what_an_incarnation_had_and_has_not_is_told_also_after_it_was_lost() {
        let forgot = |incarnation: &str, executed: &str, received: &str| {
            let mut watch = Watch::default();
            watch.heard(&report("orders-1", REPLICA, "primary:1-4", "primary:5-9", 1), 1);
            watch.heard(&report("orders-1", REPLICA, "primary:1-6", "primary:5-9", 1), 1);
            watch.lost("orders-1");
            let now = report("orders-1", incarnation, executed, received, 1);
            watch.heard(&now, 2);
            let mut seen = Observed::default();
            let member = Member {
                report: Some(now),
                ..Member::default()
            };
            seen.members.insert("orders-1".into(), member);
            watch.fill(&mut seen);
            seen.members["orders-1"].forgot.clone()
        };
        assert_eq!(
            forgot(REPLICA, "primary:1-6", ""),
            None,
            "what it only received may be gone"
        );
        assert_eq!(forgot(REPLICA, "primary:1-8", ""), None);
        assert_eq!(forgot(REPLICA, "primary:1-3", ""), Some(set("primary:4-6")));
        assert_eq!(
            forgot(REPLICA, "primary:1-3", "primary:4-6"),
            None,
            "it got it again"
        );
        assert_eq!(forgot(EPOCHS, "", ""), None, "other data");
    }

    #[test]
    fn other_data_are_remembered_from_their_beginning() {
        let mut watch = Watch::default();
        let mut seen = Observed::default();
        seen.members.insert("orders-1".into(), Member::default());
        for (incarnation, executed, missing) in [
            (REPLICA, "primary:1-9", None),
            (EPOCHS, "primary:1-4", None),
            (EPOCHS, "primary:1-3", Some(set("primary:4"))),
        ] {
            let now = report("orders-1", incarnation, executed, "", 1);
            watch.heard(&now, 1);
            seen.members.get_mut("orders-1").unwrap().report = Some(now);
            watch.fill(&mut seen);
            assert_eq!(seen.members["orders-1"].forgot, missing);
        }
    }
}
