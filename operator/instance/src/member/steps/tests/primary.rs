//! Which steps lead a primary to its first write, and after it.
//! Must not need mysqld.

use super::*;

#[test]
fn a_primary_opens_step_by_step() {
    just_started(PRIMARY).gives(&[Step::WaitFor(1), Step::AllowOwnWrites]);
    let waiting = just_started(PRIMARY).waiting(0);
    assert!(!may_prove(&waiting.facts, 1));
    waiting.gives(&[Step::AllowOwnWrites]);
    let may_write = just_started(PRIMARY)
        .waiting(0)
        .flag(Setting::SuperReadOnly, false);
    assert!(may_prove(&may_write.facts, 1));
    may_write.gives(&[]);
    let proved = just_started(PRIMARY)
        .waiting(0)
        .flag(Setting::SuperReadOnly, false)
        .proved();
    proved.gives(&[Step::Open]);
    let open = just_started(PRIMARY).waiting(0).open().proved();
    open.gives(&[]);
    assert!(is_open(&open.facts));
}

#[test]
fn other_data_than_the_recorded_never_open() {
    for role in [PRIMARY, Role::Found] {
        let of = |incarnation: &str| {
            let mut case = just_started(role.clone());
            let voter = Voter {
                incarnation: Some(incarnation.parse().unwrap()),
                ..Voter::default()
            };
            let record = case.assignment.record.as_mut().unwrap();
            record.voters = BTreeMap::from([("db-0".to_owned(), voter)]);
            case
        };
        assert!(!of(ME).steps().is_empty());
        of(OTHER).gives(&[]);
        of(OTHER).open().proved().gives(&[Step::Close]);
    }
}

#[test]
fn nothing_opens_without_a_proof() {
    let unproved = just_started(PRIMARY)
        .waiting(0)
        .flag(Setting::SuperReadOnly, false);
    assert!(!unproved.steps().contains(&Step::Open));
    let unprotected = just_started(PRIMARY).flag(Setting::SuperReadOnly, false).proved();
    unprotected.gives(&[Step::WaitFor(1)]);
}

#[test]
fn a_promoted_replica_applies_what_it_received_first() {
    let opening = [Step::WaitFor(1), Step::AllowOwnWrites];
    let with = |first: &[Step]| [first, &[Step::AwaitApplied, Step::StopApplier], &opening].concat();
    let following = |receiver| just_started(PRIMARY).following("db-1", receiver);
    following(Receiver::On).gives(&with(&[Step::StopReceiver]));
    following(Receiver::Off).gives(&with(&[]));
    let idle = || following(Receiver::Off).channel(|channel| channel.is_applier_on = false);
    let behind = idle().channel(|channel| channel.received = set(&format!("{ME}:1-10")));
    behind.gives(&with(&[Step::StartApplier]));
    // The relay log is deleted once clients are served.
    idle().gives(&opening);
    let mut opened = idle().waiting(0).open().proved();
    assert!(may_prove(&opened.facts, 1) && !may_prove(&behind.waiting(0).open().facts, 1));
    opened.gives(&[Step::ForgetSource]);
    opened.is_just_open = true;
    opened.gives(&[]);
}

#[test]
fn a_primary_whose_commits_wait_for_a_copy_of_itself_starts_anew() {
    let is_ended = |clients, waited, is_offline| {
        let mut case = just_started(PRIMARY).waiting(1).open();
        case.copy_waited = waited;
        case.facts.semi_sync_source.as_mut().unwrap().clients = clients;
        case.flag(Setting::OfflineMode, is_offline).steps() == [Step::End(Ending::Unblock)]
    };
    let [open, closed] = [COPY_PATIENCE, COPY_PATIENCE_CLOSED].map(Some);
    assert!(is_ended(0, open, false) && is_ended(0, closed, true));
    assert!(!is_ended(0, closed, false) && !is_ended(1, open, false));
}

#[test]
fn a_primary_alone_waits_for_nobody() {
    let alone = Role::Primary { wait_for: 0 };
    just_started(alone.clone()).gives(&[Step::AllowOwnWrites]);
    just_started(alone)
        .waiting(0)
        .gives(&[Step::StopWaiting, Step::AllowOwnWrites]);
}

#[test]
fn an_open_primary_stays_open_while_it_waits_for_more() {
    let open = just_started(Role::Primary { wait_for: 2 }).waiting(0).open();
    open.gives(&[Step::WaitFor(2)]);
    let more = open.with(Setting::SemiSyncWaitCount, Value::Number(2));
    more.gives(&[]);
    assert!(is_open(&more.facts) && may_prove(&more.facts, 2));
}
