//! Owns the proof that nothing waits longer than it was told, and that errors have their class.
//! It must not use a server that answers where one that does not is meant.

use std::io::Write;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use sql::connect::{Address, Tls};
use sql::{Deadline, Error, Session, roles, settings, status};

use crate::block_on;
use crate::server::{Authority, Client, Server, credentials, within};

const SHORT: Duration = Duration::from_millis(700);

/// The deadline, and not much more: the machine may be busy.
fn assert_on_time(began: Instant) {
    let took = began.elapsed();
    assert!(
        took >= Duration::from_millis(600) && took < Duration::from_millis(1_500),
        "{took:?}"
    );
}

fn tcp(port: u16, authorities_pem: Vec<u8>, server_name: Option<&str>) -> Address {
    Address::Tcp {
        host: "127.0.0.1".into(),
        port,
        tls: Tls {
            authorities_pem,
            server_name: server_name.map(str::to_owned),
        },
    }
}

async fn failed(address: &Address) -> Error {
    let connected = Session::connect(address, &credentials("somebody", "b"), Deadline::after(SHORT)).await;
    connected.err().unwrap()
}

#[test]
fn without_a_server_there_are_classes_and_deadlines() {
    block_on(async {
        let authority = Authority::new().pem().into_bytes();
        let address =
            |listener: &TcpListener| tcp(listener.local_addr().unwrap().port(), authority.clone(), None);
        // It takes connections, in the kernel, and never says a word.
        let black_hole = TcpListener::bind("127.0.0.1:0").unwrap();
        let began = Instant::now();
        let error = failed(&address(&black_hole)).await;
        assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
        assert_on_time(began);
        // A port that was ours a moment ago.
        let closed = address(&TcpListener::bind("127.0.0.1:0").unwrap());
        let error = failed(&closed).await;
        assert!(matches!(error, Error::Refused { .. }), "{error:?}");
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let other_address = address(&other);
        let speaker = std::thread::spawn(move || {
            let (mut stream, _) = other.accept().unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
            std::thread::sleep(Duration::from_millis(300));
            let (stream, _) = other.accept().unwrap();
            drop(stream);
        });
        let error = failed(&other_address).await;
        let is_wrong = matches!(
            error,
            Error::WrongAnswer { .. } | Error::Timeout { .. } | Error::Lost { .. }
        );
        assert!(is_wrong, "{error:?}");
        let error = failed(&other_address).await;
        assert!(matches!(error, Error::Lost { .. }), "{error:?}");
        speaker.join().unwrap();
        let nowhere = Address::Tcp {
            host: "no-such-host.invalid".into(),
            port: 3306,
            tls: Tls {
                authorities_pem: authority,
                server_name: None,
            },
        };
        let error = failed(&nowhere).await;
        let is_unreachable = matches!(error, Error::Unreachable { .. } | Error::Timeout { .. });
        assert!(is_unreachable, "{error:?}");
    });
}

#[test]
fn a_frozen_server_and_a_false_one() {
    block_on(async {
        let authority = Authority::new();
        let mut server = Server::start("deadlines", 1, &authority, &[]);
        let mut root = server.ready().await;
        // Without any account for this host, the server refuses before TLS, with 1130.
        let mut person = Client::root(&server).await;
        person.run("CREATE USER somebody@'%'").await.unwrap();
        // The certificate must be of our authority and hold the name.
        let stranger = Authority::new().pem().into_bytes();
        let ours = authority.pem().into_bytes();
        for (authority, name, is_good) in [
            (ours.clone(), None, true),
            (ours.clone(), Some("db.example"), true),
            (ours.clone(), Some("other.example"), false),
            (stranger, None, false),
            (Vec::new(), None, false),
        ] {
            let error = failed(&tcp(server.port, authority, name)).await;
            match is_good {
                // Through TLS, and then not let in.
                true => assert_eq!(error.code(), Some(1045), "{name:?} {error:?}"),
                false => assert!(matches!(error, Error::WrongAnswer { .. }), "{name:?} {error:?}"),
            }
        }
        // Frozen: sessions that are there, and new ones, over the socket and over TCP.
        let mut second = server.root().await.unwrap();
        let mut third = server.root().await.unwrap();
        server.signal("STOP");
        for address in [server.socket(), server.tcp()] {
            let began = Instant::now();
            let error = failed(&address).await;
            assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
            assert_on_time(began);
        }
        let began = Instant::now();
        let error = status::read(&mut root, Deadline::after(SHORT)).await.unwrap_err();
        assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
        assert_on_time(began);
        assert!(root.is_closed());
        let error = settings::read(&mut root, within(5)).await.unwrap_err();
        assert!(matches!(error, Error::Closed { .. }), "{error:?}");
        let began = Instant::now();
        let deadline = Deadline::after(SHORT);
        let error = roles::set_super_read_only(&mut second, true, deadline)
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
        assert_on_time(began);
        // A call that its caller gives up closes the session, too: its answer is still to come.
        let given_up = tokio::time::timeout(Duration::from_millis(50), settings::read(&mut third, within(9)));
        assert!(given_up.await.is_err());
        assert!(third.is_closed());
        server.signal("CONT");
        let mut again = server.ready().await;
        status::read(&mut again, within(20)).await.unwrap();
    });
}
