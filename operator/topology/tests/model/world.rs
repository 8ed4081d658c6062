//! The model as the checker explores it: the beginning, what may happen next, what must hold.
//! Must not know why a step is right.

use std::sync::{Mutex, MutexGuard};

use stateright::{Model, Property};
use topology::assignment::{Assignment, Place, Role};
use topology::gtid::GtidSet;
use topology::record::{Record, Voter};
use topology::term::Term;

use crate::bounds::{Bounds, EPOCHS_LIMIT, Fault, HISTORY_LIMIT};
use crate::elector::{Elector, Outcome};
use crate::log::{Log, Tx};
use crate::member::{Member, Run};
use crate::pool::{Pool, host, identity, incarnation, name, server_of};
use crate::state::{Action, Late, State};
use crate::views::views;

pub(crate) const KEPT: &str = "what was acknowledged or read is on the primary";
pub(crate) const ONE_WRITER: &str = "one member acknowledges in an epoch";
pub(crate) const ONE_HISTORY: &str = "the primary's history is that of every epoch before";
pub(crate) const CHECKED: &str = "every plan passes its check";
pub(crate) const THRIFTY: &str = "nobody with data copies anew what it could be sent";
pub(crate) const HEALTHY: &str =
    "with a quorum and nothing left to do, the primary is open and nobody has diverged";
pub(crate) const ONE_FAILOVER: &str = "a failover finishes";
pub(crate) const TWO_FAILOVERS: &str = "a second failover finishes";
pub(crate) const WRITTEN_AFTER: &str = "a write is acknowledged after the second";

pub(crate) struct World {
    pub(crate) bounds: Bounds,
    pub(crate) fault: Fault,
    minds: Mutex<Minds>,
}

struct Minds {
    pool: Pool,
    elector: Elector,
}

impl World {
    pub(crate) fn new(bounds: Bounds, fault: Fault, is_checked: bool) -> Self {
        Self {
            bounds,
            fault,
            minds: Mutex::new(Minds {
                pool: Pool::new(),
                elector: Elector::new(&bounds, fault, is_checked),
            }),
        }
    }

    fn minds(&self) -> MutexGuard<'_, Minds> {
        self.minds.lock().expect("a mind")
    }

    fn numbers(&self) -> std::ops::Range<u8> {
        0..self.bounds.members
    }

    /// What goes on by itself: nothing here needs bad luck.
    fn progress(&self, state: &State, actions: &mut Vec<Action>) {
        let Minds { pool, .. } = &*self.minds();
        for to in self.numbers() {
            let replica = &state.members[usize::from(to)];
            if !replica.is_up {
                actions.push(Action::Restart(to));
            }
            if replica.committable() > replica.executed && replica.is_source() {
                actions.push(Action::Commit(to));
            }
            if let Some(from) = replica.run.follows.filter(|_| replica.is_running()) {
                let source = &state.members[usize::from(from)];
                let is_news = replica.lacks(source).is_some()
                    || source.is_source()
                        && source.run.acknowledged[usize::from(to)] < replica.has_of(source);
                if source.is_running() && is_news {
                    actions.push(Action::Ship { from, to });
                }
            }
            self.copies(state, to, pool, actions);
        }
    }

    fn copies(&self, state: &State, to: u8, pool: &Pool, actions: &mut Vec<Action>) {
        let member = &state.members[usize::from(to)];
        let Some(donor) = member.copies_from(pool) else {
            return;
        };
        let donor = &state.members[usize::from(donor)];
        if donor.is_running() {
            actions.push(Action::Copy {
                member: to,
                is_whole: true,
            });
            if !donor.is_source() && donor.executed < donor.log.len() {
                actions.push(Action::Copy {
                    member: to,
                    is_whole: false,
                });
            }
        }
    }

    /// What clients and bad luck do.
    fn trouble(&self, state: &State, actions: &mut Vec<Action>) {
        let primary = self.minds().pool.record(state.record).primary;
        for number in self.numbers() {
            let member = &state.members[usize::from(number)];
            if member.run.is_open && state.begun.len() < self.bounds.writes {
                actions.push(Action::Write(number));
            }
            let may_crash = !self.bounds.are_replicas_spared || number == primary;
            if member.is_running() && may_crash && state.crashes < self.bounds.crashes {
                actions.push(Action::Crash(number));
            }
            if state.losses < self.bounds.losses {
                actions.push(Action::LoseVolume(number));
            }
            if state.late.len() < usize::from(self.bounds.late) {
                actions.push(Action::KeepReport(number));
            }
        }
        if state.late.len() < usize::from(self.bounds.late) {
            actions.push(Action::KeepRecord);
        }
        for (at, late) in state.late.iter().enumerate() {
            let at = u8::try_from(at).expect("few");
            if matches!(late, Late::Order(_)) {
                actions.push(Action::Arrive(at));
            }
            actions.push(Action::Forget(at));
        }
    }

    /// Every step that an elector may take, whatever it sees of what there is to see.
    fn elections(&self, state: &State, may_be_cut_off: bool) -> Vec<Outcome> {
        let mut minds = self.minds();
        let Minds { pool, elector } = &mut *minds;
        let mut all = Vec::new();
        for view in views(state, pool, self.bounds.is_all_seen, may_be_cut_off) {
            for outcome in elector.outcomes(view, pool) {
                if !all.contains(outcome) {
                    all.push(*outcome);
                }
            }
        }
        all
    }

    fn is_allowed(&self, state: &State, outcome: Outcome) -> Option<Action> {
        let Minds { pool, .. } = &*self.minds();
        match outcome {
            Outcome::Refused => Some(Action::Refuse),
            Outcome::Record { from, to } => {
                let (before, next) = (pool.record(from), pool.record(to));
                let is_claim = next.record.is_choosing && !before.record.is_choosing;
                let is_alarm = is_claim && state.is_alarm(before.primary, before.primary_incarnation);
                let is_within = next.record.term.epoch <= u64::from(self.bounds.epochs)
                    && (!is_alarm || state.alarms < self.bounds.alarms);
                (from == state.record && is_within).then_some(Action::Record(to))
            }
            Outcome::Order(order) => {
                let member = &state.members[usize::from(pool.order(order).member)];
                member
                    .takes(order, pool, self.fault)
                    .then_some(Action::Order(order))
            }
        }
    }

    /// The record's primary, if it has been chosen and has its data.
    fn primary<'a>(&self, state: &'a State) -> Option<&'a Member> {
        let minds = self.minds();
        let known = minds.pool.record(state.record);
        let primary = &state.members[usize::from(known.primary)];
        let is_chosen = !known.record.is_choosing;
        (is_chosen && Some(primary.incarnation) == known.primary_incarnation).then_some(primary)
    }

    fn is_kept(&self, state: &State) -> bool {
        self.primary(state)
            .is_none_or(|primary| state.promised().all(|tx| primary.log.contains(tx)))
    }

    fn has_one_history(&self, state: &State) -> bool {
        let is_right = |member: &Member| {
            (2..=EPOCHS_LIMIT).all(|epoch| {
                let mut history = state.history[epoch].all().to_vec();
                history.sort_unstable();
                let before = member.log.before(Tx::epoch(epoch as u64));
                before.is_none_or(|before| before == history)
            })
        };
        let mut open = state.members.iter().filter(|member| member.run.is_open);
        self.primary(state).is_none_or(is_right) && open.all(is_right)
    }

    fn is_healthy_at_rest(&self, state: &State) -> bool {
        let mut actions = Vec::new();
        self.progress(state, &mut actions);
        if !actions.is_empty() || !state.late.is_empty() || !self.has_quorum(state) {
            return true;
        }
        let outcomes = self.elections(state, false);
        let is_at_rest = outcomes.iter().all(|outcome| {
            let is_left = self.is_allowed(state, *outcome).is_some();
            !is_left && !self.is_claim(*outcome)
        });
        if !is_at_rest {
            return true;
        }
        let primary = self.primary(state);
        primary.is_some_and(|primary| {
            let mut members = state.members.iter();
            primary.run.is_open && members.all(|member| member.log.is_within(&primary.log))
        })
    }

    /// Enough members have the data that were counted on; otherwise nothing is safe, and it is said.
    fn has_quorum(&self, state: &State) -> bool {
        let minds = self.minds();
        let record = &minds.pool.record(state.record).record;
        let members = self.numbers().zip(&state.members);
        let counted = members
            .filter(|(number, member)| record.counts(&name(*number), incarnation(member.incarnation)))
            .count();
        counted + usize::from(record.acknowledged_by) >= record.voters.len()
    }

    /// Claims that only the bounds forbid are something left to do.
    fn is_claim(&self, outcome: Outcome) -> bool {
        let minds = self.minds();
        match outcome {
            Outcome::Record { to, .. } => minds.pool.record(to).record.is_choosing,
            _ => false,
        }
    }

    fn is_open_in(&self, state: &State, epoch: u64) -> bool {
        let minds = self.minds();
        self.numbers().any(|number| {
            state.members[usize::from(number)].run.is_open && state.epoch_of(number, &minds.pool) == epoch
        })
    }
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut minds = self.minds();
        vec![beginning(&self.bounds, &mut minds.pool)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.is_refused {
            return;
        }
        self.progress(state, actions);
        self.trouble(state, actions);
        let may_post = state.late.len() < usize::from(self.bounds.late);
        let may_be_cut_off = state.alarms < self.bounds.alarms;
        for outcome in self.elections(state, may_be_cut_off) {
            let Some(action) = self.is_allowed(state, outcome) else {
                continue;
            };
            actions.push(action);
            if let (Action::Order(order), true) = (action, may_post) {
                actions.push(Action::Post(order));
            }
        }
    }

    fn within_boundary(&self, state: &State) -> bool {
        state
            .members
            .iter()
            .all(|member| member.log.len() <= HISTORY_LIMIT)
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        state.step(action, &self.bounds, self.fault, &self.minds().pool);
        (state != *before).then_some(state)
    }

    fn format_action(&self, action: &Action) -> String {
        let minds = self.minds();
        match action {
            Action::Record(to) => {
                let record = &minds.pool.record(*to).record;
                let what = match record.is_choosing {
                    true => "claimed, before it",
                    false => "written, primary",
                };
                format!("{} {what} {}", record.term, record.primary)
            }
            Action::Order(order) | Action::Post(order) => {
                let known = minds.pool.order(*order);
                let how = match action {
                    Action::Post(_) => "posted",
                    _ => "obeyed",
                };
                format!(
                    "{how}: {} of {} for member {}",
                    known.order.role.name(),
                    known.term,
                    known.member
                )
            }
            other => format!("{other:?}"),
        }
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(KEPT, |world: &World, state| world.is_kept(state)),
            Property::always(ONE_WRITER, |_, state: &State| {
                state
                    .acknowledging
                    .iter()
                    .all(|members| members.count_ones() <= 1)
            }),
            Property::always(ONE_HISTORY, |world: &World, state| world.has_one_history(state)),
            Property::always(CHECKED, |_, state: &State| !state.is_refused),
            Property::always(THRIFTY, |_, state: &State| !state.is_wasteful),
            Property::always(HEALTHY, |world: &World, state| world.is_healthy_at_rest(state)),
            Property::sometimes(ONE_FAILOVER, |world: &World, state| world.is_open_in(state, 2)),
            Property::sometimes(TWO_FAILOVERS, |world: &World, state| world.is_open_in(state, 3)),
            Property::sometimes(WRITTEN_AFTER, |_, state: &State| state.acknowledging[3] != 0),
        ]
    }
}

/// Epoch 1 is open, everybody follows and is counted.
fn beginning(bounds: &Bounds, pool: &mut Pool) -> State {
    let record = first_record(bounds);
    let wait_for = record.wait_for;
    let mut log = Log::default();
    log.push(Tx::epoch(1));
    let mut state = State {
        members: Vec::new(),
        record: pool.name_record(&record),
        late: Vec::new(),
        begun: Log::default(),
        promised: 0,
        acknowledging: [0; EPOCHS_LIMIT + 1],
        history: [Log::default(); EPOCHS_LIMIT + 1],
        crashes: 0,
        losses: 0,
        alarms: 0,
        incarnations: bounds.members,
        is_refused: false,
        is_wasteful: false,
    };
    for member in 0..bounds.members {
        let role = match member {
            0 => Role::Primary { wait_for },
            _ => Role::Replica {
                source: Place {
                    member: name(0),
                    host: host(0),
                    port: 3306,
                },
            },
        };
        let order = Assignment {
            member: name(member),
            record: Some(record.clone()),
            role,
            server: server_of(member),
        };
        state.members.push(Member {
            incarnation: member,
            log,
            executed: 1,
            order: None,
            proved: None,
            is_up: true,
            run: Run::default(),
        });
        let order = pool.name_order(&order);
        state.member(member).take(order, pool, Fault::None);
    }
    for replica in 1..bounds.members {
        state.ship(0, replica, true);
    }
    state.member(0).commit();
    state
}

fn first_record(bounds: &Bounds) -> Record {
    let wait_for = u16::from(bounds.sync_replicas);
    let voters = (0..bounds.members).map(|member| {
        let voter = Voter {
            incarnation: Some(incarnation(member)),
            leaving: None,
        };
        (name(member), voter)
    });
    Record {
        voters: voters.collect(),
        acknowledged_by: wait_for,
        wait_for,
        cut: Some(GtidSet::new()),
        ..Record::of(identity(), Term::new(1, 1), name(0))
    }
}
