//! Peers that are slow, silent or many.
//! Must not take long: limits that are minutes elsewhere are seconds here.

use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::sleep;
use topology::report::{Trouble, TroubleKind};

use super::support::*;
use crate::message::{FromAgent, ToAgent, VERSION};
use crate::wire;

#[tokio::test]
async fn a_peer_that_does_not_read_holds_up_nobody_and_is_dropped() {
    let authority = Authority::new();
    let agent = Agent::start(&authority).await;
    let mut stalled = Hand::welcome(agent.address, authority.controller()).await;
    let mut controller = Controller::open(agent.address, authority.controller());
    controller.connected().await;
    // More than the buffers between the two hold; pings keep it from being taken for silent.
    for age in 1..=40 {
        agent.sample(|report| {
            report.server_age_ms = age;
            let what = "x".repeat(2 << 20);
            report.troubles = vec![Trouble {
                kind: TroubleKind::Other,
                what,
            }];
        });
        let begun = Instant::now();
        while controller.report().await.0.server_age_ms != age {}
        // Writing to the other is given up after 3 s.
        assert!(
            begun.elapsed() < Duration::from_millis(2500),
            "{:?}",
            begun.elapsed()
        );
        // Refused once it was dropped.
        let _ = stalled.writer.send(&ping(age)).await;
        sleep(Duration::from_millis(100)).await;
    }
    let told = async {
        let mut told = 0;
        while let Ok(FromAgent::Report { report }) = stalled.reader.next().await {
            told = report.server_age_ms;
        }
        told
    };
    let told = within("the stalled one to be dropped", told).await;
    assert!(told < 40, "{told}");
}

#[tokio::test]
async fn a_controller_that_sends_no_ping_is_dropped() {
    let authority = Authority::new();
    let mut agent = Agent::start(&authority).await;
    let mut silent = Hand::welcome(agent.address, authority.controller()).await;
    let begun = Instant::now();
    // Anything else does not count.
    let assign = ToAgent::Assign {
        assignment: assignment(1),
    };
    silent.writer.send(&assign).await.unwrap();
    agent.order().await.answer.send(Ok(term(1))).unwrap();
    silent.closed().await;
    let took = begun.elapsed();
    assert!(
        took > Duration::from_secs(9) && took < Duration::from_secs(12),
        "{took:?}"
    );
}

#[tokio::test]
async fn an_agent_that_falls_silent_is_left_and_tried_again() {
    let authority = Authority::new();
    let hand = HandAgent::start(&authority).await;
    let mut controller = Controller::open(hand.address, authority.controller());
    let peer = hand.accept(VERSION).await;
    controller.connected().await;
    let begun = Instant::now();
    assert!(controller.lost().await.contains("1000 ms"));
    assert!(begun.elapsed() > Duration::from_millis(900));
    let _again = hand.accept(VERSION).await;
    controller.connected().await;
    drop(peer);
}

#[tokio::test]
async fn a_place_that_does_not_answer_is_said_once_and_tried_for_ever() {
    let authority = Authority::new();
    let address = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let mut controller = Controller::open(address, authority.controller());
    assert!(controller.lost().await.contains("failed to connect"));
    sleep(Duration::from_secs(2)).await;
    assert!(controller.events.try_recv().is_err());
    let _agent = Agent::start_at(address, &authority, &authority.server()).await;
    controller.connected().await;
}

#[tokio::test]
async fn there_is_room_for_four_and_for_another_when_one_leaves() {
    let authority = Authority::new();
    let agent = Agent::start(&authority).await;
    let mut inside = Vec::new();
    for _ in 0..4 {
        let mut hand = Hand::welcome(agent.address, authority.controller()).await;
        hand.report().await;
        inside.push(hand);
    }
    let mut fifth = Hand::welcome(agent.address, authority.controller()).await;
    assert!(matches!(
        fifth.closed().await,
        wire::Error::Closed | wire::Error::Read(_)
    ));
    inside.pop();
    let mut controller = Controller::open(agent.address, authority.controller());
    controller.connected().await;
    within("a report", async {
        while !matches!(controller.event().await, crate::client::What::Report { .. }) {}
    })
    .await;
}

#[tokio::test]
async fn strangers_who_say_nothing_keep_no_controller_out() {
    let authority = Authority::new();
    let agent = Agent::start(&authority).await;
    let mut strangers = Vec::new();
    for _ in 0..100 {
        strangers.push(TcpStream::connect(agent.address).await.unwrap());
    }
    let begun = Instant::now();
    let mut controller = Controller::open(agent.address, authority.controller());
    controller.connected().await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    for mut stranger in strangers {
        let mut rest = [0; 16];
        let read = within("the stranger's end", stranger.read(&mut rest)).await;
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    }
    controller.report().await;
}
