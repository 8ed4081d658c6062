//! Who receives from whom, and what comes over.
//! Must not send a part: a source sends all that it has, or nothing.

use super::*;

impl Sim {
    /// mysqld refuses a replica that has more of its source's own transactions than the source, and one that asks
    /// for a part of its binary logs that it lacks.
    pub(super) fn is_refused(&self, name: &str, source: &str) -> bool {
        let server = &self.nodes[name].server;
        let of = &self.nodes[source].server;
        let all = server.executed.union(&server.received);
        let more = all.subtract(&of.executed);
        let is_ahead = more.sources().any(|source| Some(source.uuid) == of.incarnation);
        is_ahead || !of.purged.is_subset(&all)
    }

    pub(super) fn is_quiet(&self, name: &str, source: &str) -> bool {
        self.nodes[source].hung_ms.is_some() || self.nodes[name].deaf_to.contains(source)
    }

    /// Whom it receives from now.
    pub(super) fn source(&self, name: &str) -> Option<&Server> {
        let source = &self.nodes[name].server.follows.as_ref()?.member;
        let of = &self.nodes[source];
        let sends = of.is_up() && !self.is_quiet(name, source) && !self.is_refused(name, source);
        (self.nodes[name].is_up() && sends).then_some(&of.server)
    }

    /// A connection that nobody closed is given up after ten seconds without a heartbeat.
    pub(super) fn is_receiving(&self, name: &str) -> bool {
        let node = &self.nodes[name];
        let source = node.server.follows.as_ref().map(|source| &source.member);
        let is_waiting = source.is_some_and(|source| {
            let is_refused = self.is_refused(name, source);
            self.is_quiet(name, source) && node.silence_ms <= 10_000 && !is_refused
        });
        self.source(name).is_some() || is_waiting
    }

    /// Nobody answers where its source is to be.
    pub(super) fn is_unreached(&self, name: &str) -> bool {
        let source = self.nodes[name].server.follows.as_ref();
        source.is_some_and(|source| {
            let source = &source.member;
            !self.nodes[source].is_up() || self.is_quiet(name, source)
        })
    }

    /// Another server at its source's address than its orders speak of, now or before.
    pub(super) fn stranger(&self, name: &str, order: &Assignment) -> Option<Uuid> {
        let server = &self.nodes[name].server;
        if server.stranger.is_some() {
            return server.stranger;
        }
        let voters = &order.record.as_ref()?.voters;
        let recorded = voters.get(&server.follows.as_ref()?.member)?.incarnation?;
        let found = self.source(name)?.incarnation?;
        (found != recorded).then_some(found)
    }

    pub(super) fn replicate(&mut self, dice: &mut Dice) {
        let names: Vec<String> = self.nodes.keys().cloned().collect();
        for node in self.nodes.values_mut() {
            let source = node.server.follows.clone();
            node.following = source.map(|source| {
                let before = node.following.as_ref().filter(|(before, _)| *before == source);
                let ms = before.map_or(0, |(_, ms)| ms + 500);
                (source, ms)
            });
        }
        for name in &names {
            if self.nodes[name].server.follows.is_none() {
                // Whoever it follows next, it has not been heard yet.
                self.nodes.get_mut(name).expect("a node").silence_ms = 60_000;
                continue;
            }
            let all = self.source(name).map(|source| source.executed.clone());
            let node = self.nodes.get_mut(name).expect("a node");
            node.silence_ms = if all.is_some() { 0 } else { node.silence_ms + 500 };
            let is_able = node.told.failure.is_none() && !node.is_full && node.stalled_ms.is_none();
            let Some(all) = all.filter(|_| is_able && !dice.one_in(3)) else {
                continue;
            };
            let server = &mut self.nodes.get_mut(name).expect("a node").server;
            // mysqld takes nothing that bears its own number.
            let all = all.without(|source| Some(source.uuid) == server.incarnation);
            server.received = server.received.union(&all);
            server.executed = server.executed.union(&all);
        }
        for name in &names {
            let server = self.nodes[name].server.clone();
            let Some(wait_for) = server.wait_for.filter(|_| self.nodes[name].is_up()) else {
                continue;
            };
            let others = names.iter().filter(|other| {
                let follows = self.nodes[*other].server.follows.as_ref();
                follows.is_some_and(|source| source.member == *name) && self.source(other).is_some()
            });
            let sets: Vec<&GtidSet> = others.map(|other| &self.nodes[other].server.received).collect();
            let is_acknowledged =
                |gtid: &Gtid| sets.iter().filter(|set| set.contains(gtid)).count() >= usize::from(wait_for);
            let mut now = server.clone();
            if let Some((proof, gtid)) = &server.proof_begun
                && is_acknowledged(gtid)
            {
                now.proved = Some(*proof);
                now.proof_begun = None;
                // It is the agent that opens: not once it has other orders.
                now.is_open |= self.nodes[name].is_told_to_lead();
            }
            if now.is_open {
                // At least none, one, two, ... of them have it, one set after the other.
                let mut held = vec![GtidSet::new(); usize::from(wait_for) + 1];
                held[0] = now.executed.clone();
                for set in &sets {
                    for by in (1..held.len()).rev() {
                        held[by] = held[by].union(&held[by - 1].intersect(set));
                    }
                }
                self.acknowledged = self.acknowledged.union(&held[usize::from(wait_for)]);
            }
            self.nodes.get_mut(name).expect("a node").server = now;
        }
    }
}
