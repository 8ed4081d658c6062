//! The whole: members, the record, what is late, and what clients were promised.
//! Must not hold a rule of the protocol: members obey, electors decide.

use crate::bounds::{Bounds, EPOCHS_LIMIT, Fault};
use crate::log::{Log, Tx};
use crate::member::Member;
use crate::pool::{Pool, Snap, Task};

/// What an elector, or the network, still has from before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Late {
    /// An order on its way.
    Order(u16),
    /// A report that is taken for the newest, and the members that were attached when it was sampled.
    Report(Snap, u8),
    /// A record that is taken for the newest.
    Record(u16),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) members: Vec<Member>,
    pub(crate) record: u16,
    pub(crate) late: Vec<Late>,
    /// Writes that clients began.
    pub(crate) begun: Log,
    /// A bit each: somebody was told that it succeeded, or could read it.
    pub(crate) promised: u8,
    /// By epoch, a bit each: members that told a client of success.
    pub(crate) acknowledging: [u8; EPOCHS_LIMIT + 1],
    /// By epoch: what its primary had when it began.
    pub(crate) history: [Log; EPOCHS_LIMIT + 1],
    pub(crate) crashes: u8,
    pub(crate) losses: u8,
    pub(crate) alarms: u8,
    pub(crate) incarnations: u8,
    /// The check refused a plan.
    pub(crate) is_refused: bool,
    /// Data were thrown away that the primary had too.
    pub(crate) is_wasteful: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// A client begins a write.
    Write(u8),
    /// One transaction from source to replica, and its acknowledgement on the way back.
    Ship {
        from: u8,
        to: u8,
    },
    /// What enough replicas acknowledged is told to clients.
    Commit(u8),
    Crash(u8),
    Restart(u8),
    LoseVolume(u8),
    /// A clone is made: of all that the donor received, or of what it executed.
    Copy {
        member: u8,
        is_whole: bool,
    },
    /// An elector writes the record.
    Record(u16),
    /// An elector's order arrives at once.
    Order(u16),
    /// It is on its way for a while.
    Post(u16),
    /// An elector goes on with a report that gets old.
    KeepReport(u8),
    /// An elector goes on with a record that gets old.
    KeepRecord,
    /// What was late arrives, or is forgotten.
    Arrive(u8),
    Forget(u8),
    /// An elector's plan is refused.
    Refuse,
}

impl State {
    pub(crate) fn member(&mut self, member: u8) -> &mut Member {
        &mut self.members[usize::from(member)]
    }

    pub(crate) fn epoch_of(&self, member: u8, pool: &Pool) -> u64 {
        let order = self.members[usize::from(member)].order;
        order.map_or(0, |order| pool.order(order).term.epoch)
    }

    fn bit_of(&self, tx: Tx) -> u8 {
        let at = self.begun.all().iter().position(|begun| *begun == tx);
        at.map_or(0, |at| 1 << at)
    }

    /// The writes that were promised to somebody.
    pub(crate) fn promised(&self) -> impl Iterator<Item = Tx> + '_ {
        let begun = self.begun.all().iter().enumerate();
        begun
            .filter(|(at, _)| self.promised & 1 << at != 0)
            .map(|(_, tx)| *tx)
    }

    pub(crate) fn step(&mut self, action: Action, bounds: &Bounds, fault: Fault, pool: &Pool) {
        match action {
            Action::Write(member) => {
                let writer = self.member(member);
                let tx = writer.log.next_of(writer.incarnation);
                writer.log.push(tx);
                self.begun.push(tx);
            }
            Action::Ship { from, to } => self.ship(from, to, bounds.is_prompt),
            Action::Commit(member) => self.commit(member, pool),
            Action::Crash(member) => {
                self.crashes += 1;
                self.member(member).crash(fault);
            }
            Action::Restart(member) => self.member(member).restart(pool, fault),
            Action::LoseVolume(member) => {
                self.losses += 1;
                let incarnation = self.new_incarnation(member);
                self.member(member).lose_volume(incarnation);
            }
            Action::Copy { member, is_whole } => self.copy(member, is_whole, pool),
            Action::Record(to) => {
                let (before, next) = (pool.record(self.record), pool.record(to));
                let is_claim = next.record.is_choosing && !before.record.is_choosing;
                if is_claim && self.is_alarm(before.primary, before.primary_incarnation) {
                    self.alarms += 1;
                }
                self.record = to;
            }
            Action::Order(order) => self.deliver(order, pool, fault),
            Action::Post(order) => self.late.push(Late::Order(order)),
            Action::KeepReport(member) => {
                let report = self.members[usize::from(member)].report(member, &self.members);
                let attached = self.attached_to(member);
                self.late.push(Late::Report(report, attached));
            }
            Action::KeepRecord => self.late.push(Late::Record(self.record)),
            Action::Arrive(at) => {
                if let Late::Order(order) = self.late.remove(usize::from(at)) {
                    self.deliver(order, pool, fault);
                }
            }
            Action::Forget(at) => drop(self.late.remove(usize::from(at))),
            Action::Refuse => self.is_refused = true,
        }
        self.follow(pool);
        for member in 0..bounds.members {
            let source = self.member(member);
            if bounds.is_prompt && source.is_source() && source.committable() > source.executed {
                self.commit(member, pool);
                self.follow(pool);
            }
        }
    }

    /// The primary runs with its data and would be given up.
    pub(crate) fn is_alarm(&self, primary: u8, incarnation: Option<u8>) -> bool {
        let primary = &self.members[usize::from(primary)];
        primary.is_running() && Some(primary.incarnation) == incarnation
    }

    fn attached_to(&self, source: u8) -> u8 {
        let members = self.members.iter().enumerate();
        members
            .filter(|(_, member)| member.is_running() && member.run.follows == Some(source))
            .fold(0, |all, (at, _)| all | 1 << at)
    }

    fn deliver(&mut self, order: u16, pool: &Pool, fault: Fault) {
        let member = self.member(pool.order(order).member);
        if member.takes(order, pool, fault) {
            member.take(order, pool, fault);
        }
    }

    fn new_incarnation(&mut self, member: u8) -> u8 {
        let incarnation = self.incarnations;
        self.incarnations += 1;
        // It was another one that was seen attached.
        for late in &mut self.late {
            if let Late::Report(_, attached) = late {
                *attached &= !(1 << member);
            }
        }
        incarnation
    }

    pub(crate) fn ship(&mut self, from: u8, to: u8, is_whole: bool) {
        let source = self.members[usize::from(from)];
        let replica = self.member(to);
        while let Some(tx) = replica.lacks(&source) {
            replica.log.push(tx);
            if !is_whole {
                break;
            }
        }
        let has = replica.has_of(&source);
        if source.is_source() {
            let acknowledged = &mut self.member(from).run.acknowledged[usize::from(to)];
            *acknowledged = has;
        }
    }

    fn commit(&mut self, member: u8, pool: &Pool) {
        let before = self.members[usize::from(member)];
        self.member(member).commit();
        let after = self.members[usize::from(member)];
        let told = &after.log.all()[usize::from(before.executed)..usize::from(after.executed)];
        let told = told.iter().fold(0, |all, tx| all | self.bit_of(*tx));
        if told != 0 {
            let epoch = usize::try_from(self.epoch_of(member, pool)).expect("a small number");
            self.acknowledging[epoch] |= 1 << member;
            self.promised |= told;
        }
    }

    fn copy(&mut self, member: u8, is_whole: bool, pool: &Pool) {
        let Some(order) = self.members[usize::from(member)]
            .order
            .map(|order| pool.order(order))
        else {
            return;
        };
        let Task::Clone { donor, .. } = order.task else {
            return;
        };
        let primary = &self.members[usize::from(pool.record(order.record).primary)];
        // One without data copies those of a primary that has some of its own: mysqld is sent nothing that it wrote itself.
        let log = &self.members[usize::from(member)].log;
        self.is_wasteful |= *log != Log::default() && log.is_within(&primary.log);
        let donor = self.members[usize::from(donor)];
        let log = match is_whole && !donor.is_source() {
            true => donor.log,
            false => donor.log.prefix(donor.executed),
        };
        let incarnation = self.new_incarnation(member);
        let copy = self.member(member);
        (copy.incarnation, copy.log, copy.executed) = (incarnation, log, log.len());
    }

    /// What is told to clients, and where epochs begin.
    fn follow(&mut self, pool: &Pool) {
        for to in 0..self.members.len() {
            let replica = self.members[to];
            if let Some(source) = replica.run.follows {
                // Who attaches anew acknowledges anew.
                let source = self.member(source);
                let has = replica.has_of(source);
                let acknowledged = &mut source.run.acknowledged[to];
                *acknowledged = has.min(*acknowledged);
            }
        }
        for at in 0..self.members.len() {
            let member = self.members[at];
            let shown = member.shown_to_clients().iter();
            self.promised |= shown.fold(0, |all, tx| all | self.bit_of(*tx));
            let epoch = self.epoch_of(u8::try_from(at).expect("a small number"), pool);
            let begins = usize::try_from(epoch).expect("a small number");
            let position = member
                .log
                .all()
                .iter()
                .position(|tx| *tx == Tx::epoch(epoch.max(1)));
            if let (true, Some(position)) = (member.is_source() && self.history[begins].len() == 0, position)
            {
                let position = u8::try_from(position).expect("a short log");
                self.history[begins] = member.log.prefix(position);
            }
        }
        self.late.sort_by_key(|late| match late {
            Late::Order(order) => (0, *order),
            Late::Report(snap, _) => (1, u16::from(snap.member)),
            Late::Record(record) => (2, *record),
        });
    }
}
