//! What members say, folded into what is known of them.
//! Must not decide: it says only whether a decision is urgent.

use std::collections::BTreeMap;

use agent_api::client::{Event, What};
use topology::observed::{Backlog, Timestamp};
use topology::report::{Process, Report, ServerSeen};
use topology::watch::Watch;

use crate::observe::Heard;
use crate::paperwork::Notice;

/// What is to be done about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effect {
    /// Something that decisions turn on changed.
    pub(crate) is_urgent: bool,
    /// What was on its way arrived, or will not.
    pub(crate) is_answered: bool,
    /// The member knows of a later record than we do.
    pub(crate) is_outdated: bool,
}

#[derive(Default)]
pub(crate) struct Hearing {
    pub(crate) heard: BTreeMap<String, Heard>,
    pub(crate) watch: Watch,
    pub(crate) notices: Vec<Notice>,
}

impl Hearing {
    pub(crate) fn take(&mut self, event: Event, now: Timestamp) -> Effect {
        let member = event.member;
        match event.what {
            What::Connected { agent } => {
                tracing::info!(member, agent, "connected");
                Effect::default()
            }
            What::Report { report, last_ping } => self.reported(&member, report, last_ping, now),
            What::Promised { term } => {
                tracing::debug!(member, %term, "promised");
                Effect {
                    is_answered: true,
                    ..Effect::default()
                }
            }
            What::Refused { term, promised, why } => {
                tracing::warn!(member, %term, %promised, why, "an assignment was refused");
                Effect {
                    is_urgent: promised > term,
                    is_answered: true,
                    is_outdated: promised > term,
                }
            }
            What::Lost { why } => {
                tracing::info!(member, why, "connection lost");
                self.lost(&member);
                Effect {
                    is_urgent: true,
                    ..Effect::default()
                }
            }
        }
    }

    /// Nothing that comes later is of the connection that was.
    pub(crate) fn lost(&mut self, member: &str) {
        self.watch.lost(member);
        if let Some(heard) = self.heard.get_mut(member) {
            heard.is_connected = false;
            heard.backlog = None;
        }
    }

    /// The Pod, and whatever was known of it, is gone for good.
    pub(crate) fn keep_only(&mut self, is_known: impl Fn(&str) -> bool) {
        self.heard.retain(|name, _| is_known(name));
    }

    fn reported(&mut self, member: &str, report: Box<Report>, last_ping: u64, now: Timestamp) -> Effect {
        if report.member != member {
            tracing::error!(
                member,
                other = report.member,
                "a report of another member is ignored"
            );
            return Effect::default();
        }
        self.watch.heard(&report, last_ping);
        let before = self.heard.get(member).filter(|heard| heard.is_connected);
        let is_urgent = before.is_none_or(|before| is_news(&before.report, &report));
        if let Some(before) = self.heard.get(member) {
            self.notices.extend(restored(&before.report, &report));
        }
        let backlog = self.heard.get(member).and_then(|before| before.backlog);
        let heard = Heard {
            backlog: Backlog::next(backlog, &report, now),
            report,
            at: now,
            is_connected: true,
        };
        self.heard.insert(member.to_owned(), heard);
        Effect {
            is_urgent,
            ..Effect::default()
        }
    }
}

/// Safety settings that somebody changed, and that were put back.
fn restored(before: &Report, now: &Report) -> Vec<Notice> {
    let risen = now.drift.iter().filter(|(name, drift)| {
        let times = before.drift.get(*name).map_or(0, |drift| drift.times);
        drift.times > times
    });
    risen
        .map(|(name, drift)| Notice {
            is_warning: true,
            reason: "SettingRestored",
            action: format!("Restore {name}").into(),
            note: format!(
                "{}: somebody set {name} to {}; it was put back to {}, since acknowledged writes depend on it",
                now.member, drift.found, drift.put_back
            ),
        })
        .collect()
}

/// Positions, lag and room on the disk change all the time, and decisions look at them anyway twice
/// a second. Everything else is news.
fn is_news(before: &Report, now: &Report) -> bool {
    let of = |report: &Report| {
        (
            report.proved,
            report.is_settled,
            report.is_founded,
            std::mem::discriminant(&report.process),
            restarts(&report.process),
            (report.cannot_write(), report.answers()),
        )
    };
    of(before) != of(now)
        || before.assignment != now.assignment
        || before.awaiting_restart != now.awaiting_restart
        || before.troubles != now.troubles
        || before.drift != now.drift
        || match (&before.server, &now.server) {
            (None, None) => false,
            (Some(before), Some(now)) => is_server_news(before, now),
            _ => true,
        }
}

fn restarts(process: &Process) -> u32 {
    match process {
        Process::Ended { restarts } => *restarts,
        _ => 0,
    }
}

fn is_server_news(before: &ServerSeen, now: &ServerSeen) -> bool {
    let of = |server: &ServerSeen| {
        let follows = server.follows.as_ref().map(|follows| {
            (
                follows.host.clone(),
                follows.port,
                follows.is_receiving,
                follows.is_applying,
                follows.acknowledges,
                (follows.is_silent(), follows.is_long_silent()),
                follows.failure.clone(),
            )
        });
        (
            server.incarnation,
            server.is_open,
            server.has_waiters,
            server.acknowledging,
            server.waits_for,
            server.executed.is_empty(),
            server.lag_ms.is_some(),
            follows,
        )
    };
    of(before) != of(now) || before.version != now.version
}

#[cfg(test)]
mod tests {
    use topology::report::{Drift, Follows};
    use topology::term::Term;

    use super::*;

    fn event(report: Report) -> Event {
        Event {
            member: "orders-1".into(),
            what: What::Report {
                report: Box::new(report),
                last_ping: 5,
            },
        }
    }

    #[test]
    fn the_first_look_at_a_backlog_is_kept_until_something_is_received() {
        let with = |received: &str, is_receiving| {
            let mut report = report();
            let server = report.server.as_mut().unwrap();
            server.received = received
                .replace("primary", "00000000-0000-0000-0000-000000000001")
                .parse()
                .unwrap();
            server.follows.as_mut().unwrap().is_receiving = is_receiving;
            report
        };
        let mut hearing = Hearing::default();
        for (received, is_receiving, now, wanted) in [
            ("primary:1-9", true, 100, None),
            ("primary:1-9", false, 200, Some((200, 9))),
            ("primary:4-9", false, 300, Some((200, 9))),
            ("primary:1-12", false, 400, Some((400, 12))),
            ("", false, 500, None),
        ] {
            hearing.take(event(with(received, is_receiving)), now);
            let first = hearing.heard["orders-1"].backlog;
            let wanted = wanted.map(|(at, transactions)| Backlog { at, transactions });
            assert_eq!(first, wanted, "{received}");
        }
    }

    fn report() -> Report {
        let server = ServerSeen {
            incarnation: topology::gtid::Uuid::from_bytes([1; 16]),
            version: "9.7.0".into(),
            executed: Default::default(),
            purged: Default::default(),
            received: Default::default(),
            is_open: false,
            has_waiters: false,
            acknowledging: 0,
            waits_for: None,
            follows: Some(Follows {
                host: "10.0.0.1".into(),
                port: 3306,
                is_receiving: true,
                is_applying: true,
                acknowledges: true,
                is_unreached: false,
                silence_ms: 10,
                failure: None,
            }),
            lag_ms: Some(4),
            beat: None,
        };
        Report {
            member: "orders-1".into(),
            heard: 1,
            agent: "0.1.0".into(),
            assignment: None,
            is_settled: true,
            proved: None,
            is_founded: false,
            process: Process::Running,
            server: Some(server),
            server_age_ms: 1,
            disk: None,
            write_age_ms: 0,
            drift: BTreeMap::new(),
            awaiting_restart: Default::default(),
            removed: None,
            troubles: Vec::new(),
        }
    }

    fn with(change: impl Fn(&mut ServerSeen)) -> Report {
        let mut report = report();
        report.server.iter_mut().for_each(change);
        report
    }

    #[test]
    fn positions_and_lag_are_no_news_and_roles_are() {
        let mut hearing = Hearing::default();
        assert!(hearing.take(event(report()), 1).is_urgent);
        assert!(!hearing.take(event(report()), 2).is_urgent);
        let moved = with(|server| {
            server.lag_ms = Some(900);
            server
                .follows
                .iter_mut()
                .for_each(|follows| follows.silence_ms = 99);
        });
        assert!(!hearing.take(event(moved), 3).is_urgent);
        for change in [
            with(|server| server.is_open = true),
            with(|server| {
                server
                    .follows
                    .iter_mut()
                    .for_each(|follows| follows.silence_ms = 1_001)
            }),
            with(|server| {
                server
                    .follows
                    .iter_mut()
                    .for_each(|follows| follows.is_receiving = false)
            }),
            with(|server| server.follows = None),
            Report {
                server: None,
                ..report()
            },
            Report {
                process: Process::Ended { restarts: 1 },
                ..report()
            },
            Report {
                server_age_ms: 2_001,
                ..report()
            },
            Report {
                write_age_ms: 1_501,
                ..report()
            },
        ] {
            hearing.take(event(report()), 4);
            assert!(hearing.take(event(change), 5).is_urgent);
        }
    }

    #[test]
    fn what_was_said_before_a_break_is_not_of_an_open_connection() {
        let mut hearing = Hearing::default();
        hearing.take(event(report()), 1);
        let lost = Event {
            member: "orders-1".into(),
            what: What::Lost { why: "reset".into() },
        };
        assert!(hearing.take(lost, 2).is_urgent);
        assert!(!hearing.heard["orders-1"].is_connected);
        let connected = Event {
            member: "orders-1".into(),
            what: What::Connected {
                agent: "0.1.0".into(),
            },
        };
        hearing.take(connected, 3);
        // Until it says something.
        assert!(!hearing.heard["orders-1"].is_connected);
        assert!(hearing.take(event(report()), 4).is_urgent);
        assert!(hearing.heard["orders-1"].is_connected);
    }

    #[test]
    fn a_report_of_another_member_is_nobodys() {
        let mut hearing = Hearing::default();
        let other = Report {
            member: "orders-2".into(),
            ..report()
        };
        hearing.take(event(other), 1);
        assert!(hearing.heard.is_empty());
    }

    #[test]
    fn a_refusal_by_a_later_term_means_that_our_record_is_old() {
        let mut hearing = Hearing::default();
        let refused = |epoch| Event {
            member: "orders-1".into(),
            what: What::Refused {
                term: Term {
                    epoch: 2,
                    revision: 2,
                },
                promised: Term { epoch, revision: 3 },
                why: "promised a later term".into(),
            },
        };
        assert!(hearing.take(refused(3), 1).is_outdated);
        assert!(!hearing.take(refused(1), 2).is_outdated);
    }

    #[test]
    fn settings_put_back_are_told_once_each_time() {
        let mut hearing = Hearing::default();
        let drifted = |times| {
            let drift = Drift {
                found: "1".into(),
                put_back: "0".into(),
                times,
            };
            Report {
                drift: BTreeMap::from([("super_read_only".to_owned(), drift)]),
                ..report()
            }
        };
        // What was before us is not known to be new.
        hearing.take(event(drifted(2)), 1);
        assert!(hearing.notices.is_empty());
        hearing.take(event(drifted(3)), 2);
        hearing.take(event(drifted(3)), 3);
        assert_eq!(hearing.notices.len(), 1);
        assert!(hearing.notices[0].note.contains("super_read_only"));
    }
}
