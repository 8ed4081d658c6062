//! What goes to and fro between two that trust each other.
//! Must not pass by luck: whatever depends on an order forces it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::support::*;
use crate::client::{self, Link, What};
use crate::message::{FromAgent, ToAgent};
use crate::server::{Refused, Sampled};

#[tokio::test]
async fn reports_come_at_once_when_they_are_new_and_again_when_they_are_not() {
    let authority = Authority::new();
    let agent = Agent::start(&authority).await;
    let mut controller = Controller::open(agent.address, authority.controller());
    match controller.event().await {
        What::Connected { agent } => assert_eq!(agent, "1.2.3"),
        other => panic!("{other:?}"),
    }
    let begun = Instant::now();
    for age in 1..=10 {
        agent.sample(|report| report.server_age_ms = age);
        while controller.report().await.0.server_age_ms != age {}
    }
    // Ten periods would be five seconds.
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    for _ in 0..3 {
        assert_eq!(controller.report().await.0.server_age_ms, 10);
    }
}

#[tokio::test]
async fn a_report_that_was_sampled_before_a_ping_never_claims_it() {
    let authority = Authority::new();
    let mut agent = Agent::start(&authority).await;
    let mut hand = Hand::welcome(agent.address, authority.controller()).await;
    for number in 1..=3 {
        hand.writer.send(&ping(number)).await.unwrap();
        // A sampling after it was received shows it.
        let heard = async {
            loop {
                agent.sample(|_| {});
                let heard = hand.report().await.heard;
                assert!(heard <= number);
                if heard == number {
                    break;
                }
            }
        };
        within("the ping to be heard", heard).await;
    }
    // In a connection of its own: sampled before the ping, told after it.
    let mut other = Hand::welcome(agent.address, authority.controller()).await;
    let started = agent.clock.tick();
    other.writer.send(&ping(50)).await.unwrap();
    let assignment = assignment(1);
    other.writer.send(&ToAgent::Assign { assignment }).await.unwrap();
    // The order has come, so the ping before it has, too.
    let order = agent.order().await;
    let report = report();
    agent.reports.send_replace(Arc::new(Sampled { report, started }));
    for _ in 0..3 {
        assert_eq!(other.report().await.heard, 0);
    }
    agent.sample(|report| report.server_age_ms = 8);
    while other.report().await.heard != 50 {}
    drop(order);
}

#[tokio::test]
async fn only_who_leads_breaks_the_silence_and_anybody_is_answered() {
    let authority = Authority::new();
    let agent = Agent::start(&authority).await;
    let mut hand = Hand::welcome(agent.address, authority.controller()).await;
    let mut number = 0;
    let mut hear = async |leads| {
        number += 1;
        hand.writer.send(&ToAgent::Ping { number, leads }).await.unwrap();
        within("the ping to be heard", async {
            loop {
                agent.sample(|_| {});
                if hand.report().await.heard == number {
                    break;
                }
            }
        })
        .await;
    };
    let begun = Instant::now();
    hear(true).await;
    let before = begun.elapsed();
    sleep(Duration::from_millis(300)).await;
    hear(false).await;
    let since = begun.elapsed() - before;
    assert!(agent.clock.silence() >= since);
    let asked = Instant::now();
    hear(true).await;
    assert!(agent.clock.silence() <= asked.elapsed());
}

#[tokio::test]
async fn a_later_number_proves_a_later_sampling_over_reconnects_and_members() {
    let authority = Authority::new();
    let agent = Agent::start(&authority).await;
    let mut controller = Controller::open(agent.address, authority.controller());
    controller.connected().await;
    for _ in 0..3 {
        let mark = controller.link.last_ping();
        agent.sample(|_| {});
        let proved = async {
            loop {
                let (report, last_ping) = controller.report().await;
                assert!(report.heard <= last_ping);
                if report.heard > mark {
                    break;
                }
                agent.sample(|_| {});
            }
        };
        within("a report younger than the mark", proved).await;
    }
    // Another agent at the same place, another connection: numbers go on.
    let mark = client::last_ping();
    let (address, leaf) = (agent.address, authority.server());
    drop(agent);
    controller.lost().await;
    let agent = within("the port", async {
        loop {
            if tokio::net::TcpListener::bind(address).await.is_ok() {
                break Agent::start_at(address, &authority, &leaf).await;
            }
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    controller.connected().await;
    loop {
        agent.sample(|_| {});
        let (report, _) = controller.report().await;
        assert!(report.heard == 0 || report.heard > mark);
        if report.heard > mark {
            break;
        }
    }
}

#[tokio::test]
async fn orders_are_promised_or_refused() {
    let authority = Authority::new();
    let mut agent = Agent::start(&authority).await;
    let mut controller = Controller::open(agent.address, authority.controller());
    controller.connected().await;
    controller.link.assign(assignment(5));
    let order = agent.order().await;
    assert_eq!(order.assignment, assignment(5));
    order.answer.send(Ok(term(5))).unwrap();
    match controller.other_than_report().await {
        What::Promised { term: promised } => assert_eq!(promised, term(5)),
        other => panic!("{other:?}"),
    }
    controller.link.assign(assignment(4));
    let refused = Refused {
        promised: term(5),
        why: "it is older than what was promised".to_owned(),
    };
    agent.order().await.answer.send(Err(refused.clone())).unwrap();
    match controller.other_than_report().await {
        What::Refused {
            term: asked,
            promised,
            why,
        } => {
            assert_eq!((asked, promised, why), (term(4), term(5), refused.why));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn of_assignments_that_cannot_be_sent_only_the_newest_is() {
    let authority = Authority::new();
    let hand = HandAgent::start(&authority).await;
    let controller = Controller::open(hand.address, authority.controller());
    for revision in 1..=3 {
        controller.link.assign(assignment(revision));
    }
    let mut peer = hand.accept(crate::message::VERSION).await;
    let mut assigned = Vec::new();
    let mut pings = 0;
    while pings < 3 {
        match within("a message", peer.reader.next::<ToAgent>()).await.unwrap() {
            ToAgent::Assign { assignment } => assigned.push(assignment.term()),
            ToAgent::Ping { .. } => pings += 1,
            ToAgent::Hello { .. } => {}
        }
        peer.writer
            .send(&FromAgent::Promised { term: term(0) })
            .await
            .unwrap();
    }
    assert_eq!(assigned, [term(3)]);
}

#[tokio::test]
async fn of_orders_that_come_while_one_is_being_carried_out_only_the_newest_is() {
    let authority = Authority::new();
    let mut agent = Agent::start(&authority).await;
    let mut hand = Hand::welcome(agent.address, authority.controller()).await;
    let mut assign = async |revision| {
        let assignment = assignment(revision);
        hand.writer.send(&ToAgent::Assign { assignment }).await.unwrap();
    };
    assign(1).await;
    let first = agent.order().await;
    for revision in 2..=100 {
        assign(revision).await;
    }
    // A ping after them that was heard: they have come.
    hand.writer.send(&ping(9)).await.unwrap();
    within("the ping", async {
        loop {
            agent.sample(|_| {});
            if hand.report().await.heard == 9 {
                break;
            }
        }
    })
    .await;
    first.answer.send(Ok(term(1))).unwrap();
    let second = agent.order().await;
    assert_eq!(second.assignment.term(), term(100));
    second.answer.send(Ok(term(100))).unwrap();
    let mut promised = Vec::new();
    while promised.len() < 2 {
        if let FromAgent::Promised { term } = hand.next().await {
            promised.push(term);
        }
    }
    assert_eq!(promised, [term(1), term(100)]);
    let more = timeout(Duration::from_millis(300), agent.orders.recv()).await;
    assert!(more.is_err(), "{more:?}");
}

#[tokio::test]
async fn an_agent_that_hangs_over_an_order_still_reports() {
    let authority = Authority::new();
    let mut agent = Agent::start(&authority).await;
    let mut controller = Controller::open(agent.address, authority.controller());
    controller.connected().await;
    controller.link.assign(assignment(1));
    let held = agent.order().await;
    controller.link.assign(assignment(2));
    controller.link.assign(assignment(3));
    let mark = client::last_ping();
    loop {
        agent.sample(|_| {});
        if controller.report().await.0.heard > mark {
            break;
        }
    }
    drop(held);
}

#[tokio::test]
async fn a_link_that_is_dropped_closes_and_one_nobody_listens_to_ends() {
    let authority = Authority::new();
    let hand = HandAgent::start(&authority).await;
    let controller = Controller::open(hand.address, authority.controller());
    let mut peer = hand.accept(crate::message::VERSION).await;
    drop(controller.link);
    within("the end", async {
        while peer.reader.next::<ToAgent>().await.is_ok() {}
    })
    .await;

    let (events_in, mut events) = mpsc::channel(10);
    let (_, tls) = watch::channel(authority.controller());
    let link = Link::open(MEMBER.to_owned(), hand.address, tls, leading(), events_in.clone());
    let mut peer = hand.accept(crate::message::VERSION).await;
    within("an event", events.recv()).await.unwrap();
    drop(events);
    let report = Box::new(report());
    peer.writer.send(&FromAgent::Report { report }).await.unwrap();
    within("the link to end", async {
        while peer.reader.next::<ToAgent>().await.is_ok() {}
    })
    .await;
    // Only ours is left.
    within("the task to end", async {
        while events_in.strong_count() > 1 {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    drop(link);
}

#[tokio::test]
async fn reports_are_dropped_while_nobody_reads_and_the_stream_lives_on() {
    let authority = Authority::new();
    let agent = Agent::start(&authority).await;
    let (events_in, mut events) = mpsc::channel(1);
    let (_, tls) = watch::channel(authority.controller());
    let _link = Link::open(MEMBER.to_owned(), agent.address, tls, leading(), events_in);
    // The channel is full with the first; silence would end the stream.
    for age in 1..=40 {
        agent.sample(|report| report.server_age_ms = age);
        sleep(Duration::from_millis(100)).await;
    }
    let first = within("the first event", events.recv()).await.unwrap();
    assert!(matches!(first.what, What::Connected { .. }));
    match within("a report", events.recv()).await.unwrap().what {
        What::Report { report, .. } => assert_eq!(report.server_age_ms, 40),
        other => panic!("{other:?}"),
    }
}
