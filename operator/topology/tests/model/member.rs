//! A member: its volume, its mysqld, and the agent that obeys the newest order on the volume.
//! Must not look at another member, but for what replication and a clone hand over.

use crate::bounds::{Fault, MEMBERS_LIMIT};
use crate::log::{Log, Tx};
use crate::pool::{KnownOrder, Pool, Proved, Snap, SnapServer, Task, gtids};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Member {
    /// On the volume.
    pub(crate) incarnation: u8,
    pub(crate) log: Log,
    /// So much of it is executed. The rest is a relay log, or on a primary what waits for acknowledgements.
    pub(crate) executed: u8,
    /// On the volume: the promise.
    pub(crate) order: Option<u16>,
    /// Of the agent: it outlives mysqld.
    pub(crate) proved: Option<Proved>,
    pub(crate) is_up: bool,
    pub(crate) run: Run,
}

/// What a run of mysqld, and the agent's work on it, has come to. An end of mysqld ends it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Run {
    pub(crate) follows: Option<u8>,
    /// As source: commits wait for so many.
    pub(crate) waits_for: Option<u8>,
    pub(crate) is_open: bool,
    /// The agent's own write, and where it is in the log.
    proof: Option<(Proved, u8)>,
    is_proved: bool,
    /// As source: how far each member has acknowledged, or its acknowledgement is on the way.
    pub(crate) acknowledged: [u8; MEMBERS_LIMIT],
}

impl Member {
    pub(crate) fn is_running(&self) -> bool {
        self.is_up && self.order.is_some()
    }

    pub(crate) fn is_source(&self) -> bool {
        self.run.waits_for.is_some()
    }

    fn has_waiters(&self) -> bool {
        self.is_source() && self.executed < self.log.len()
    }

    /// What its binary log holds.
    pub(crate) fn binlog(&self) -> &[Tx] {
        match self.is_source() {
            true => self.log.all(),
            false => &self.log.all()[..usize::from(self.executed)],
        }
    }

    /// Everything that is executed at an open server is seen by its clients.
    pub(crate) fn shown_to_clients(&self) -> &[Tx] {
        match self.run.is_open {
            true => &self.log.all()[..usize::from(self.executed)],
            false => &[],
        }
    }

    /// mysqld ends. What waits in the binary log will be committed by crash recovery.
    pub(crate) fn crash(&mut self, fault: Fault) {
        if self.is_source() {
            self.executed = self.log.len();
        }
        self.is_up = false;
        self.run = Run::default();
        if fault == Fault::ForgottenPromise {
            self.order = None;
        }
    }

    pub(crate) fn restart(&mut self, pool: &Pool, fault: Fault) {
        self.is_up = true;
        self.obey(pool, fault);
    }

    /// Another volume, which is empty.
    pub(crate) fn lose_volume(&mut self, incarnation: u8) {
        *self = Self {
            incarnation,
            log: Log::default(),
            executed: 0,
            order: None,
            proved: None,
            is_up: true,
            run: Run::default(),
        };
    }

    /// The agent's judgement of an order, as `instance::promise` has it.
    pub(crate) fn takes(&self, number: u16, pool: &Pool, fault: Fault) -> bool {
        let known = pool.order(number);
        if self.order == Some(number) {
            return false;
        }
        let is_known_epoch = !self.is_running() || self.log.epoch() <= known.term.epoch;
        let Some(kept) = self.order.map(|kept| pool.order(kept)) else {
            return is_known_epoch;
        };
        if fault == Fault::TermIgnored {
            return true;
        }
        let is_other_record = kept.term == known.term && kept.record != known.record;
        known.term >= kept.term && !is_other_record && is_known_epoch
    }

    pub(crate) fn take(&mut self, number: u16, pool: &Pool, fault: Fault) {
        self.order = Some(number);
        if self.is_up {
            self.obey(pool, fault);
        }
    }

    /// Everything that the agent does by itself towards its order.
    fn obey(&mut self, pool: &Pool, fault: Fault) {
        let Some(order) = self.order.map(|order| pool.order(order)) else {
            return;
        };
        match order.task {
            Task::Hold if fault == Fault::ReadBeforeFreezing && self.run.follows.is_some() => {}
            Task::Hold | Task::Clone { .. } => self.stop(fault),
            Task::Replica { source } => {
                self.stop(fault);
                let record = &pool.record(order.record).record;
                if record.beyond_cut(&gtids(self.log.all())).is_empty() {
                    self.run.follows = Some(source);
                }
            }
            Task::Primary { wait_for } => self.lead(order, wait_for, fault),
        }
    }

    /// No clients, no writes. Where commits wait, mysqld is killed and comes back: they are committed then.
    fn stop(&mut self, fault: Fault) {
        if self.has_waiters() {
            let order = self.order;
            self.crash(fault);
            (self.is_up, self.order) = (true, order);
        }
        self.run = Run::default();
    }

    fn lead(&mut self, order: &KnownOrder, wait_for: u8, fault: Fault) {
        if !self.is_source() {
            match fault {
                Fault::RelayLogDropped => self.log.truncate(self.executed),
                _ => self.executed = self.log.len(),
            }
        }
        self.run.follows = None;
        if self.run.waits_for != Some(wait_for) {
            self.run.waits_for = Some(wait_for);
            self.run.is_proved = false;
        }
        let goal = Proved {
            epoch: u8::try_from(order.term.epoch).expect("a small number"),
            revision: u8::try_from(order.term.revision).expect("a small number"),
            wait_for,
        };
        let is_proved = self.run.is_proved && self.proved == Some(goal);
        if !is_proved && self.run.proof.is_none_or(|(begun, _)| begun != goal) {
            let epoch = Tx::epoch(order.term.epoch);
            let tx = match self.log.contains(epoch) {
                true => self.log.next_of(self.incarnation),
                false => epoch,
            };
            self.log.push(tx);
            self.run.proof = Some((goal, self.log.len()));
        }
        self.run.is_open |= fault == Fault::NoBarrier;
    }

    /// How far enough replicas have acknowledged.
    pub(crate) fn committable(&self) -> u8 {
        let Some(wait_for) = self.run.waits_for.filter(|_| self.is_up) else {
            return self.executed;
        };
        if wait_for == 0 {
            return self.log.len();
        }
        let mut acknowledged = self.run.acknowledged;
        acknowledged.sort_unstable_by_key(|at| std::cmp::Reverse(*at));
        acknowledged[usize::from(wait_for) - 1].max(self.executed)
    }

    /// Commits return; the agent's own among them opens the server.
    pub(crate) fn commit(&mut self) {
        self.executed = self.committable();
        if let Some((proved, at)) = self.run.proof
            && at <= self.executed
        {
            self.run.proof = None;
            self.run.is_proved = true;
            self.run.is_open = true;
            self.proved = Some(proved);
        }
    }

    /// The donor of a clone that is not made yet.
    pub(crate) fn copies_from(&self, pool: &Pool) -> Option<u8> {
        match pool.order(self.order.filter(|_| self.is_up)?).task {
            Task::Clone { donor, instead_of } if instead_of == self.incarnation => Some(donor),
            _ => None,
        }
    }

    /// What it lacks first of a source's binary log.
    pub(crate) fn lacks(&self, source: &Member) -> Option<Tx> {
        let mut missing = source.binlog().iter().filter(|tx| !self.log.contains(**tx));
        missing.next().copied()
    }

    /// How far it has a source's binary log, from its beginning.
    pub(crate) fn has_of(&self, source: &Member) -> u8 {
        let had = source.binlog().iter().take_while(|tx| self.log.contains(**tx));
        u8::try_from(had.count()).expect("a short log")
    }

    pub(crate) fn report(&self, member: u8, members: &[Member]) -> Snap {
        let shown = match self.is_source() {
            true => self.executed,
            false => self.log.len(),
        };
        let server = self.is_running().then(|| SnapServer {
            incarnation: self.incarnation,
            log: self.log.prefix(shown),
            executed: self.executed,
            is_open: self.run.is_open,
            waits_for: self.run.waits_for,
            follows: self.run.follows,
            is_receiving: self
                .run
                .follows
                .is_some_and(|source| members[usize::from(source)].is_running()),
        });
        Snap {
            member,
            order: self.order,
            is_settled: self.is_up,
            proved: self.proved,
            server,
        }
    }
}
