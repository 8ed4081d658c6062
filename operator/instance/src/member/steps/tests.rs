//! Which steps follow from which facts.
//! Must not need mysqld.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sql::settings::{Settings, Value};
use sql::status::{Failure, Plugin, SemiSyncSource};
use topology::assignment::Server;
use topology::gtid::GtidSet;
use topology::record::{Record, Voter};
use topology::term::Term;

use super::*;

mod primary;

const ME: &str = "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa";
const OTHER: &str = "bbbbbbbb-bbbb-bbbb-bbbb-bbbbbbbbbbbb";

/// A server and what it should be, in words.
struct Case {
    assignment: Assignment,
    facts: Facts,
    left: Left,
    is_founded: bool,
    is_proved: bool,
    has_stranger: bool,
    is_just_open: bool,
    copy_waited: Option<Duration>,
}

fn place(member: &str) -> Place {
    Place {
        member: member.into(),
        host: format!("{member}.example"),
        port: 3306,
    }
}

/// As mysqld starts: closed, following nobody.
fn just_started(role: Role) -> Case {
    let mut settings: BTreeMap<Setting, Value> = rules::right().into_iter().collect();
    settings.insert(Setting::SuperReadOnly, Value::Flag(true));
    settings.insert(Setting::ReadOnly, Value::Flag(true));
    settings.insert(Setting::OfflineMode, Value::Flag(true));
    settings.insert(Setting::SemiSyncSource, Value::Flag(false));
    settings.insert(Setting::SemiSyncWaitCount, Value::Number(1));
    let facts = Facts {
        server_uuid: ME.parse().unwrap(),
        server_id: 1,
        version: "9.7.4".parse().unwrap(),
        uptime: Duration::ZERO,
        gtid_executed: set(&format!("{ME}:1-9")),
        gtid_purged: GtidSet::new(),
        settings: settings.into_iter().collect(),
        semi_sync_source: Some(source(0)),
        semi_sync_replica: Some(true),
        plugins: BTreeSet::from(Plugin::ALL),
        channels: Vec::new(),
        binlog: None,
        clone: None,
        threads_connected: 0,
        threads_running: 0,
    };
    let record = Record {
        acknowledged_by: 1,
        wait_for: 1,
        ..Record::of(OTHER.parse().unwrap(), Term::new(1, 1), "db-0")
    };
    Case {
        assignment: Assignment {
            member: "db-0".into(),
            record: Some(record),
            role,
            server: Server::default(),
        },
        facts,
        left: Left::Nothing,
        is_founded: false,
        is_proved: false,
        has_stranger: false,
        is_just_open: false,
        copy_waited: None,
    }
}

fn set(text: &str) -> GtidSet {
    text.parse().unwrap()
}

fn source(waiters: u64) -> SemiSyncSource {
    SemiSyncSource {
        is_on: true,
        clients: 1,
        waiters,
        acked_transactions: 0,
        unacked_transactions: 0,
        off_times: 0,
    }
}

impl Case {
    fn with(mut self, setting: Setting, value: Value) -> Self {
        let rest = self
            .facts
            .settings
            .iter()
            .map(|(known, value)| (known, value.clone()));
        let rest: Settings = rest.chain([(setting, value)]).collect();
        self.facts.settings = rest;
        self
    }

    fn flag(self, setting: Setting, is_on: bool) -> Self {
        self.with(setting, Value::Flag(is_on))
    }

    fn waiting(mut self, waiters: u64) -> Self {
        self.facts.semi_sync_source = Some(source(waiters));
        self.flag(Setting::SemiSyncSource, true)
    }

    fn open(self) -> Self {
        self.flag(Setting::SuperReadOnly, false)
            .flag(Setting::ReadOnly, false)
            .online()
    }

    fn online(self) -> Self {
        self.flag(Setting::OfflineMode, false)
    }

    fn proved(mut self) -> Self {
        self.is_proved = true;
        self
    }

    fn following(mut self, member: &str, receiver: Receiver) -> Self {
        self.facts.channels = vec![Channel {
            name: String::new(),
            source_host: format!("{member}.example"),
            source_port: 3306,
            auto_position: true,
            auto_failover: false,
            source_uuid: None,
            receiver,
            receiver_failure: None,
            heartbeats: 1,
            news_age: None,
            received: set(&format!("{ME}:1-9")),
            receiving: None,
            is_applier_on: true,
            applier_failure: None,
            workers: Vec::new(),
        }];
        self
    }

    fn channel(mut self, change: impl FnOnce(&mut Channel)) -> Self {
        change(&mut self.facts.channels[0]);
        self
    }

    fn left(mut self, left: Left) -> Self {
        self.left = left;
        self
    }

    fn steps(&self) -> Vec<Step> {
        steps(&View {
            assignment: &self.assignment,
            facts: &self.facts,
            left: self.left,
            is_founded: self.is_founded,
            is_proved: self.is_proved,
            are_accounts_right: true,
            are_certificates_right: true,
            has_stranger: self.has_stranger,
            is_just_open: self.is_just_open,
            copy_waited: self.copy_waited,
        })
    }

    fn gives(&self, wanted: &[Step]) {
        assert_eq!(self.steps(), wanted);
    }
}

fn replica() -> Role {
    Role::Replica {
        source: place("db-1"),
    }
}

const PRIMARY: Role = Role::Primary { wait_for: 1 };

#[test]
fn who_holds_follows_nobody_and_releases_nobody() {
    just_started(Role::Hold).gives(&[]);
    let following = just_started(Role::Hold).following("db-1", Receiver::On);
    following.gives(&[Step::StopReceiver]);
    let connecting = just_started(Role::Hold).following("db-1", Receiver::Connecting);
    connecting.gives(&[Step::StopReceiver]);
    // An old primary: semi-sync stays on, with waiters or without.
    just_started(Role::Hold).open().waiting(3).gives(&[Step::Close]);
    just_started(Role::Hold).waiting(3).gives(&[]);
}

#[test]
fn a_founder_is_writable_only_while_it_founds() {
    just_started(Role::Found).gives(&[Step::Found]);
    let mut founded = just_started(Role::Found);
    founded.is_founded = true;
    founded.gives(&[Step::LetIn]);
    founded.online().gives(&[]);
    let mut left_open = just_started(Role::Found).flag(Setting::SuperReadOnly, false);
    left_open.gives(&[Step::Found]);
    left_open.is_founded = true;
    left_open.gives(&[Step::Close, Step::LetIn]);
    just_started(Role::Found)
        .waiting(0)
        .gives(&[Step::StopWaiting, Step::Found]);
}

#[test]
fn a_new_replica_defines_its_source_and_starts_both() {
    let wanted = [
        Step::Define(place("db-1")),
        Step::StartReceiver,
        Step::StartApplier,
    ];
    just_started(replica()).gives(&wanted);
    // After a restart of mysqld both are stopped, and what was received is kept.
    let restarted = just_started(replica()).following("db-1", Receiver::Off);
    restarted
        .channel(|channel| channel.is_applier_on = false)
        .gives(&[Step::StartReceiver, Step::StartApplier]);
}

#[test]
fn another_source_needs_no_stop_of_the_applier() {
    let elsewhere = just_started(replica()).following("db-2", Receiver::On);
    elsewhere.gives(&[
        Step::StopReceiver,
        Step::Change(place("db-1")),
        Step::StartReceiver,
    ]);
    let stopped = just_started(replica()).following("db-2", Receiver::Off);
    stopped.gives(&[Step::Change(place("db-1")), Step::StartReceiver]);
    let online = just_started(replica()).following("db-1", Receiver::On).online();
    online.gives(&[]);
}

#[test]
fn readers_are_let_in_when_a_replica_follows() {
    let connected = just_started(replica()).following("db-1", Receiver::On);
    connected.gives(&[Step::LetIn]);
    just_started(replica())
        .following("db-1", Receiver::Connecting)
        .gives(&[]);
    // An interruption later shuts nobody out.
    just_started(replica())
        .following("db-1", Receiver::Connecting)
        .online()
        .gives(&[]);
}

#[test]
fn a_receiver_that_does_not_acknowledge_connects_anew() {
    let mut case = just_started(replica()).following("db-1", Receiver::On);
    case.facts.semi_sync_replica = Some(false);
    case.gives(&[Step::StopReceiver, Step::StartReceiver]);
    // The server tries again by itself, except with a password that is wrong.
    let connecting = |code| {
        let case = just_started(replica()).following("db-1", Receiver::Connecting);
        case.channel(|channel| {
            let message = String::new();
            channel.receiver_failure = Some(Failure { code, message });
        })
    };
    connecting(2003).gives(&[]);
    connecting(1045).gives(&[Step::StopReceiver, Step::StartReceiver]);
}

#[test]
fn an_old_primary_is_closed_before_it_follows() {
    just_started(replica()).open().waiting(2).gives(&[Step::Close]);
    let closed = just_started(replica()).waiting(2);
    assert_eq!(closed.steps()[0], Step::End(Ending::Kill));
    assert_eq!(just_started(replica()).waiting(0).steps()[0], Step::StopWaiting);
}

#[test]
fn who_has_what_nobody_was_promised_does_not_follow() {
    let cut = |text: &str| {
        let mut case = just_started(replica());
        case.facts.gtid_executed = set(&format!("{ME}:1-9"));
        case.assignment.record.as_mut().unwrap().cut = Some(set(text));
        case
    };
    let right = cut(&format!("{ME}:1-9"));
    assert!(right.steps().contains(&Step::StartReceiver));
    cut(&format!("{ME}:1-8")).gives(&[]);
    let following = cut(&format!("{ME}:1-8")).following("db-1", Receiver::On);
    following.gives(&[Step::StopReceiver]);
    // It was compared before it followed, and has this epoch's transaction since.
    let mut begun = cut(&format!("{ME}:1-8"));
    begun.facts.gtid_executed = set(&format!("{ME}:1-9,{OTHER}:1"));
    assert!(begun.steps().contains(&Step::StartReceiver));
}

#[test]
fn another_server_at_the_address_of_the_source_is_not_followed() {
    let third = "cccccccc-cccc-cccc-cccc-cccccccccccc";
    let from = |uuid: &str, receiver| {
        let case = just_started(replica()).following("db-1", receiver);
        let mut case = case.channel(|channel| channel.source_uuid = uuid.parse().ok());
        let voter = Voter {
            incarnation: OTHER.parse().ok(),
            leaving: None,
        };
        let record = case.assignment.record.as_mut().unwrap();
        record.voters.insert("db-1".into(), voter);
        case
    };
    let found = |case: &Case| stranger(&case.assignment, &case.facts);
    assert_eq!(found(&from(OTHER, Receiver::On)), None);
    assert_eq!(found(&from(third, Receiver::On)), third.parse().ok());
    // Of a connection that is gone: who is there now is not known.
    assert_eq!(found(&from(third, Receiver::Connecting)), None);
    assert_eq!(found(&from(third, Receiver::Off)), None);
    let elsewhere = from(third, Receiver::On).channel(|channel| channel.source_port = 1);
    assert_eq!(found(&elsewhere), None);
    let mut unknown = from(third, Receiver::On);
    unknown.assignment.record.as_mut().unwrap().voters.clear();
    assert_eq!(found(&unknown), None);
    // It stays stopped, also when that cannot be seen any more.
    let mut seen = from(third, Receiver::On);
    seen.has_stranger = true;
    seen.gives(&[Step::StopReceiver]);
    let mut stopped = from(third, Receiver::Off);
    stopped.has_stranger = true;
    stopped.gives(&[]);
}

#[test]
fn changed_settings_come_first_and_prove_nothing() {
    let case = just_started(PRIMARY)
        .waiting(0)
        .open()
        .with(Setting::SyncBinlog, Value::Number(0));
    assert!(matches!(case.steps().as_slice(), [Step::PutBack(wrong)] if wrong.len() == 1));
    assert!(!may_prove(&case.facts, 1));
}

#[test]
fn a_clone_is_begun_on_a_closed_server_that_follows_nobody() {
    let role = || Role::Clone {
        donor: place("db-1"),
        instead_of: ME.parse().unwrap(),
    };
    let clone = || Step::Clone {
        donor: place("db-1"),
        instead_of: ME.parse().unwrap(),
    };
    just_started(role()).gives(&[clone()]);
    just_started(role())
        .following("db-1", Receiver::On)
        .gives(&[Step::StopReceiver]);
    let applying = just_started(role()).following("db-1", Receiver::Off);
    applying.gives(&[Step::StopApplier, clone()]);
    just_started(role())
        .open()
        .waiting(1)
        .gives(&[Step::Close, Step::End(Ending::Kill)]);
    let done = Role::Clone {
        donor: place("db-1"),
        instead_of: OTHER.parse().unwrap(),
    };
    just_started(done).gives(&[]);
}

#[test]
fn what_a_clone_left_comes_before_every_role() {
    for role in [Role::Hold, replica(), PRIMARY] {
        let of = |left| just_started(role.clone()).left(left).steps();
        assert_eq!(of(Left::Untouched), [Step::ForgetClone]);
        assert_eq!(of(Left::Copied), [Step::End(Ending::Renew)]);
        assert_eq!(of(Left::Renewed), [Step::FinishClone]);
        assert_eq!(of(Left::Ruined), [Step::End(Ending::GiveUp)]);
    }
    // Ruined once, whatever its identity is now: the same order mends it.
    let role = Role::Clone {
        donor: place("db-1"),
        instead_of: OTHER.parse().unwrap(),
    };
    let again = Step::Clone {
        donor: place("db-1"),
        instead_of: ME.parse().unwrap(),
    };
    just_started(role).left(Left::Ruined).gives(&[again]);
}
