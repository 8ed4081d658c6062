//! Who is not let in, and what ends a connection.
//! Must not mistake another failure for the one that is meant: each test shows the same with the one
//! thing put right.

use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, Other, ServerAuth};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::support::*;
use crate::CONTROLLER_NAME;
use crate::client::What;
use crate::message::{FRAME_LIMIT_BYTES, FromAgent, ORDER_LIMIT_BYTES, ToAgent, VERSION};
use crate::tls::{ClientTls, ServerTls};

async fn why_lost(address: std::net::SocketAddr, tls: ClientTls) -> String {
    match Controller::open(address, tls).event().await {
        What::Lost { why } => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn only_the_controllers_own_certificate_is_let_in() {
    let (authority, other) = (Authority::new(), Authority::new());
    let agent = Agent::start(&authority).await;
    for (leaf, alert) in [
        (other.leaf(CONTROLLER_NAME, ClientAuth), "DecryptError"),
        (
            authority.leaf(CONTROLLER_NAME, ServerAuth),
            "UnsupportedCertificate",
        ),
        (authority.leaf(SERVER_NAME, ClientAuth), "BadCertificate"),
        (authority.leaf("mysql.holdfast.dev", ClientAuth), "BadCertificate"),
        (
            authority.leaf(CONTROLLER_NAME, Other(vec![1, 3, 6, 1])),
            "UnsupportedCertificate",
        ),
        (authority.leaf("db-0", ServerAuth), "UnsupportedCertificate"),
    ] {
        let why = why_lost(agent.address, authority.trusting(&leaf)).await;
        assert!(why.contains(&format!("alert: {alert}")), "{why}");
    }
    Controller::open(agent.address, authority.controller())
        .connected()
        .await;
}

#[tokio::test]
async fn nobody_comes_in_without_a_certificate() {
    let authority = Authority::new();
    let agent = Agent::start(&authority).await;
    let mut roots = RootCertStore::empty();
    let pem = CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap();
    roots.add(pem).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut tls = authority.controller();
    tls.config = std::sync::Arc::new(config);
    let why = why_lost(agent.address, tls).await;
    assert!(why.contains("CertificateRequired"), "{why}");
}

#[tokio::test]
async fn a_controller_turns_away_from_a_server_that_is_not_the_clusters() {
    let (authority, other) = (Authority::new(), Authority::new());
    let anywhere = "127.0.0.1:0".parse().unwrap();
    for (leaf, cause) in [
        (other.server(), "BadSignature"),
        (
            authority.leaf("other-members.shop.svc", ServerAuth),
            "not valid for name",
        ),
        (
            authority.leaf(SERVER_NAME, ClientAuth),
            "does not allow extended key usage",
        ),
    ] {
        let agent = Agent::start_at(anywhere, &authority, &leaf).await;
        let why = why_lost(agent.address, authority.controller()).await;
        assert!(
            why.contains("failed to agree on encryption") && why.contains(cause),
            "{cause}: {why}"
        );
    }
}

#[tokio::test]
async fn frames_that_are_too_long_or_not_understood_end_the_connection() {
    let authority = Authority::new();
    let agent = Agent::start(&authority).await;
    let before = "x".repeat(ORDER_LIMIT_BYTES - 2);
    let too_long = "x".repeat(ORDER_LIMIT_BYTES - 1);
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for text in [before, too_long, nested, String::new()] {
        let mut hand = Hand::welcome(agent.address, authority.controller()).await;
        // A refusal may come before all is written.
        let _ = hand.writer.send(&text).await;
        hand.closed().await;
    }
    for message in [ToAgent::Hello { version: VERSION }] {
        let mut hand = Hand::welcome(agent.address, authority.controller()).await;
        hand.writer.send(&message).await.unwrap();
        hand.closed().await;
    }
    // No hello first.
    let mut hand = Hand::connect(agent.address, authority.controller()).await;
    hand.writer.send(&ping(1)).await.unwrap();
    hand.closed().await;
    let mut controller = Controller::open(agent.address, authority.controller());
    controller.connected().await;
    controller.report().await;
}

#[tokio::test]
async fn a_controller_survives_an_agent_that_talks_nonsense() {
    let authority = Authority::new();
    let hand = HandAgent::start(&authority).await;
    let mut controller = Controller::open(hand.address, authority.controller());
    let mut peer = hand.accept(VERSION).await;
    controller.connected().await;
    peer.writer.send(&"nonsense").await.unwrap();
    assert!(controller.lost().await.contains("failed to understand"));

    let mut peer = hand.accept(VERSION).await;
    controller.connected().await;
    let _ = peer.writer.send(&"x".repeat(FRAME_LIMIT_BYTES)).await;
    let why = controller.lost().await;
    assert!(why.contains("failed to read a frame"), "{why}");

    let mut peer = hand.accept(VERSION).await;
    controller.connected().await;
    let mut report = Box::new(report());
    report.member = "db-1".to_owned();
    peer.writer.send(&FromAgent::Report { report }).await.unwrap();
    assert!(controller.lost().await.contains("db-1 answers"));

    let mut peer = hand.accept(VERSION).await;
    controller.connected().await;
    let agent = "1.2.3".to_owned();
    peer.writer
        .send(&FromAgent::Hello {
            version: VERSION,
            agent,
        })
        .await
        .unwrap();
    assert!(controller.lost().await.contains("hello out of turn"));

    let _peer = hand.accept(VERSION).await;
    controller.connected().await;
}

#[tokio::test]
async fn versions_more_than_one_apart_do_not_talk() {
    let authority = Authority::new();
    let agent = Agent::start(&authority).await;
    for (version, is_let_in) in [
        (VERSION - 1, true),
        (VERSION, true),
        (VERSION + 1, true),
        (VERSION + 2, false),
    ] {
        let mut hand = Hand::connect(agent.address, authority.controller()).await;
        hand.writer.send(&ToAgent::Hello { version }).await.unwrap();
        assert!(matches!(
            hand.next().await,
            FromAgent::Hello { version: VERSION, .. }
        ));
        let next = within("more, or the end", hand.reader.next::<FromAgent>()).await;
        assert_eq!(next.is_ok(), is_let_in, "{version}: {next:?}");
    }

    let hand = HandAgent::start(&authority).await;
    let mut controller = Controller::open(hand.address, authority.controller());
    let _peer = hand.accept(VERSION + 2).await;
    assert!(controller.lost().await.contains("failed to understand version 3"));
    let _peer = hand.accept(VERSION + 1).await;
    controller.connected().await;
}

#[tokio::test]
async fn more_than_one_authority_can_be_trusted() {
    let (old, new) = (Authority::new(), Authority::new());
    let agent = Agent::start(&old).await;
    let both = format!("{}{}", old.pem, new.pem);
    let leaf = old.leaf(CONTROLLER_NAME, ClientAuth);
    let tls = leaf.trusting(&both);
    Controller::open(agent.address, tls).connected().await;
}

#[tokio::test]
async fn files_that_are_missing_or_unfit_are_errors() {
    let folder = Folder::new();
    let read = || {
        ServerTls::read(folder.path())
            .err()
            .map(|error| error.to_string())
    };
    assert_eq!(read().unwrap(), "failed to read ca.crt");
    let authority = Authority::new();
    folder.put(&authority, &authority.server());
    assert_eq!(read(), None);
    for (name, text) in [("ca.crt", ""), ("tls.crt", "nonsense"), ("tls.key", "nonsense")] {
        folder.put(&authority, &authority.server());
        std::fs::write(folder.path().join(name), text).unwrap();
        assert!(read().unwrap().contains(name));
    }
    // The certificate and the key of two.
    folder.put(&authority, &authority.server());
    let key = authority.server().key().to_owned();
    std::fs::write(folder.path().join("tls.key"), key).unwrap();
    assert_eq!(read().unwrap(), "failed to use certificate, key or authority");
}
