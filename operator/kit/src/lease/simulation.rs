//! Candidates around a lease in an imagined world where everything goes wrong.
//! Must not contain rules of its own about who may hold: it runs the ones of decision.rs.
//!
//! Messages are late or lost, processes freeze and die, clocks differ in origin and rate, and
//! strangers touch or delete the lease.

use std::time::Duration;

use proptest::prelude::*;

use super::decision::{Action, Memory, Moment, NOBODY_YET, Record, decide};
use super::timing::Timing;

const TICK_MS: u64 = 20;
const CANDIDATES: usize = 3;
/// Faults end here; what is on its way then has arrived when calm is judged.
const CALM_FROM_MS: u64 = 180_000;
const JUDGED_FROM_MS: u64 = 225_000;
const END_MS: u64 = 290_000;

/// Small, seeded, good enough to mix things up.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.roll() % limit
    }

    /// On average once in so many times.
    fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

#[derive(Clone, Debug)]
enum Request {
    Read,
    Reserve,
    Create,
    /// With us as the holder, or nobody.
    Replace {
        version: String,
        release: bool,
    },
}

#[derive(Debug)]
struct Message {
    arrives_ms: u64,
    from: usize,
    call: u64,
    request: Request,
    sender: String,
}

#[derive(Clone, Debug)]
enum Answer {
    Read(Option<Record>),
    Written(Record),
    Refused,
}

struct Pending {
    call: u64,
    sent_at: Moment,
    answer: Option<(u64, Answer)>,
}

struct Process {
    identity: String,
    memory: Memory,
    origin_ms: u64,
    /// Thousandths of true time.
    rate: u64,
    frozen_until_ms: u64,
    pending: Option<Pending>,
    /// What a token that was handed out says.
    token_until: Option<Moment>,
}

impl Process {
    fn clock(&self, now_ms: u64) -> Moment {
        Duration::from_micros(self.origin_ms * 1000 + now_ms * self.rate)
    }

    fn is_held(&self, now_ms: u64) -> bool {
        self.token_until.is_some_and(|until| self.clock(now_ms) < until)
    }
}

struct World {
    dice: Dice,
    now_ms: u64,
    timing: Timing,
    lease: Option<Record>,
    versions: u64,
    calls: u64,
    births: u64,
    messages: Vec<Message>,
    processes: Vec<Process>,
    terms: usize,
    /// How seldom strangers meddle.
    peace: u64,
}

impl World {
    fn new(seed: u64, rates: [u64; 2]) -> Self {
        let mut world = Self {
            dice: Dice(seed),
            now_ms: 0,
            timing: Timing::ten_seconds(),
            lease: None,
            versions: 0,
            calls: 0,
            births: 0,
            messages: Vec::new(),
            processes: Vec::new(),
            terms: 0,
            peace: if seed.is_multiple_of(2) { 6_000 } else { 900 },
        };
        for at in 0..CANDIDATES {
            // The ends of the range, and something between.
            let between = rates[0] + world.dice.below(rates[1] - rates[0] + 1);
            let rate = [rates[0], rates[1], between][at % 3];
            let process = world.born(rate);
            world.processes.push(process);
        }
        world
    }

    fn born(&mut self, rate: u64) -> Process {
        self.births += 1;
        Process {
            identity: format!("candidate-{}", self.births),
            memory: Memory::default(),
            origin_ms: self.dice.below(1_000_000_000),
            rate,
            frozen_until_ms: 0,
            pending: None,
            token_until: None,
        }
    }

    fn is_calm(&self) -> bool {
        self.now_ms >= CALM_FROM_MS
    }

    fn delay_ms(&mut self) -> u64 {
        if !self.is_calm() && self.dice.once_in(12) {
            return self.dice.below(20_000);
        }
        self.dice.below(60)
    }

    fn holders(&self) -> Vec<&str> {
        let held = self
            .processes
            .iter()
            .filter(|process| process.is_held(self.now_ms));
        held.map(|process| process.identity.as_str()).collect()
    }

    fn tick(&mut self) {
        self.now_ms += TICK_MS;
        if !self.is_calm() {
            self.misfortune();
        }
        self.serve();
        for at in 0..self.processes.len() {
            if self.processes[at].frozen_until_ms <= self.now_ms {
                self.run(at);
            }
        }
    }

    /// Each about once in so many ticks of 20 ms, over all candidates.
    fn misfortune(&mut self) {
        let at = self.dice.below(CANDIDATES as u64) as usize;
        if self.dice.once_in(400) {
            self.processes[at].frozen_until_ms = self.now_ms + self.dice.below(15_000);
        }
        if self.dice.once_in(800) {
            self.restart(at);
        }
        if self.dice.once_in(800) && self.processes[at].is_held(self.now_ms) {
            // Released: the token ends first, the lease is written after, the process exits.
            let version = self.processes[at].memory.version().map(str::to_owned);
            self.processes[at].token_until = None;
            if let Some(version) = version {
                self.send(
                    at,
                    Request::Replace {
                        version,
                        release: true,
                    },
                );
            }
            self.restart(at);
        }
        if self.dice.once_in(self.peace) {
            self.lease = None;
        }
        if self.dice.once_in(self.peace / 3)
            && let Some(lease) = &mut self.lease
        {
            // An annotation: another version, nothing else.
            self.versions += 1;
            lease.version = self.versions.to_string();
        }
    }

    fn restart(&mut self, at: usize) {
        self.processes[at] = self.born(self.processes[at].rate);
    }

    fn send(&mut self, at: usize, request: Request) {
        let delay_ms = self.delay_ms();
        let process = &mut self.processes[at];
        self.calls += 1;
        process.pending = Some(Pending {
            call: self.calls,
            sent_at: process.clock(self.now_ms),
            answer: None,
        });
        let is_lost = self.now_ms < CALM_FROM_MS && self.dice.once_in(15);
        if !is_lost {
            self.messages.push(Message {
                arrives_ms: self.now_ms + delay_ms,
                from: at,
                call: self.calls,
                request,
                sender: self.processes[at].identity.clone(),
            });
        }
    }

    /// The API server: one object, one writer at a time, versions compared.
    fn serve(&mut self) {
        let now_ms = self.now_ms;
        let (mut due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.messages)
            .into_iter()
            .partition(|m| m.arrives_ms <= now_ms);
        self.messages = later;
        due.sort_by_key(|message| message.arrives_ms);
        for message in due {
            let answer = self.answer(&message);
            let delay_ms = self.delay_ms();
            let is_lost = !self.is_calm() && self.dice.once_in(15);
            let pending = self.processes[message.from].pending.as_mut();
            if let Some(pending) = pending.filter(|pending| pending.call == message.call && !is_lost) {
                pending.answer = Some((now_ms + delay_ms, answer));
            }
        }
    }

    fn answer(&mut self, message: &Message) -> Answer {
        let holder = match (&message.request, &self.lease) {
            (Request::Read, lease) => return Answer::Read(lease.clone()),
            (Request::Reserve, None) => NOBODY_YET.to_owned(),
            (Request::Create, None) => message.sender.clone(),
            (Request::Replace { version, release }, Some(lease)) if *version == lease.version => {
                if *release {
                    String::new()
                } else {
                    message.sender.clone()
                }
            }
            _ => return Answer::Refused,
        };
        self.versions += 1;
        let record = Record {
            version: self.versions.to_string(),
            holder,
            duration: Some(self.timing.duration()),
        };
        self.lease = Some(record.clone());
        match message.request {
            Request::Reserve => Answer::Read(Some(record)),
            _ => Answer::Written(record),
        }
    }

    fn run(&mut self, at: usize) {
        let (timing, now_ms) = (self.timing, self.now_ms);
        let process = &mut self.processes[at];
        let now = process.clock(now_ms);
        if let Some(pending) = process.pending.take() {
            match pending.answer {
                Some((arrives_ms, answer)) if arrives_ms <= now_ms => match answer {
                    Answer::Read(record) => process.memory.saw(record, now),
                    Answer::Written(record) => process.memory.wrote(&timing, record, pending.sent_at, now),
                    Answer::Refused => process.memory.failed(&timing, now),
                },
                _ if now >= pending.sent_at + timing.call_timeout() => process.memory.failed(&timing, now),
                _ => {
                    process.pending = Some(pending);
                    return;
                }
            }
        }
        if process.token_until.is_none() && process.memory.is_held(now) {
            self.terms += 1;
        }
        process.token_until = process.memory.held_until();
        match decide(&process.identity, &timing, &process.memory, now) {
            Action::Wait { until } => assert!(until > now, "waits for {until:?} at {now:?}"),
            Action::Lose(_) => self.restart(at),
            Action::Read => self.send(at, Request::Read),
            Action::Reserve => self.send(at, Request::Reserve),
            Action::Create => self.send(at, Request::Create),
            Action::Take { version } | Action::Renew { version } => {
                self.send(
                    at,
                    Request::Replace {
                        version,
                        release: false,
                    },
                );
            }
        }
    }
}

/// Two fifths of difference are what `duration / renew_deadline` allows for.
const HONEST_RATES: [u64; 2] = [840, 1160];

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn never_two_at_once_and_always_one_again(seed in any::<u64>()) {
        let mut world = World::new(seed, HONEST_RATES);
        let mut without_ms = 0;
        while world.now_ms < END_MS {
            world.tick();
            let holders = world.holders();
            prop_assert!(holders.len() <= 1, "at {} ms: {holders:?}", world.now_ms);
            without_ms = if holders.is_empty() { without_ms + TICK_MS } else { 0 };
            prop_assert!(world.now_ms < JUDGED_FROM_MS || without_ms == 0, "nobody at {} ms", world.now_ms);
        }
        prop_assert!(world.terms > 0);
    }

    #[test]
    fn a_dead_holder_is_replaced_within_its_lease(seed in any::<u64>()) {
        let mut world = World::new(seed, HONEST_RATES);
        while world.now_ms < JUDGED_FROM_MS {
            world.tick();
        }
        let held = world.processes.iter().position(|process| process.is_held(world.now_ms));
        // It does not come back: two are left.
        world.processes.remove(held.unwrap());
        world.messages.clear();
        let died_ms = world.now_ms;
        world.processes.iter_mut().for_each(|process| process.pending = None);
        while world.holders().is_empty() {
            world.tick();
            // By the slower clock: the lease, one look before it was seen, one call that was cut.
            prop_assert!(world.now_ms - died_ms < 16_000);
        }
    }
}

#[test]
fn terms_come_and_go_in_these_worlds() {
    let mut terms = 0;
    for seed in 0..20 {
        let mut world = World::new(seed, HONEST_RATES);
        while world.now_ms < END_MS {
            world.tick();
        }
        terms += world.terms;
    }
    assert!(terms > 60, "{terms} terms in 20 worlds prove little");
}

/// Shows that the simulation can find two holders at all, and that the bound on the rates of
/// clocks is a bound.
#[test]
fn clocks_that_run_too_differently_make_two_holders() {
    let found = (0..400).any(|seed| {
        let mut world = World::new(seed, [600, 1500]);
        let mut most = 0;
        while world.now_ms < CALM_FROM_MS {
            world.tick();
            most = most.max(world.holders().len());
        }
        most > 1
    });
    assert!(found);
}
