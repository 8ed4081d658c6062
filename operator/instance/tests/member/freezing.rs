//! Owns the proof that a replica is frozen soon while its receiver connects in vain, and that it comes back.
//! It must not pass where the receiver was not connecting.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpSocket};
use topology::assignment::{Place as At, Role};

use crate::block_on;
use crate::controller::Cluster;

/// mysqld by itself never needs less than two seconds.
const FREEZE_LIMIT: Duration = Duration::from_millis(1_500);
const FILLERS_LIMIT: usize = 16;
const CONNECT_LIMIT: Duration = Duration::from_millis(200);

/// An address where a source could be, and nobody answers.
struct Hole {
    listener: TcpListener,
    fillers: Vec<TcpStream>,
}

impl Hole {
    /// Takes connections and never says a word, as a server that is frozen.
    fn mute() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        Self {
            listener: socket.listen(1).unwrap(),
            fillers: Vec::new(),
        }
    }

    /// Has no room for another connection: nothing comes back, as from a node without power.
    fn silent() -> Self {
        let mut hole = Self::mute();
        for _ in 0..FILLERS_LIMIT {
            match TcpStream::connect_timeout(&hole.address(), CONNECT_LIMIT) {
                Ok(filler) => hole.fillers.push(filler),
                Err(_) => return hole,
            }
        }
        panic!("it still takes connections");
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    fn at(&self, member: &str) -> At {
        At {
            member: member.to_owned(),
            host: "127.0.0.1".into(),
            port: self.address().port(),
        }
    }
}

#[test]
fn a_replica_whose_receiver_connects_in_vain_is_frozen_soon_and_comes_back() {
    block_on(async {
        let mut cluster = Cluster::new("hole", 2).await;
        let (primary, source) = (cluster.members[0].place.member.clone(), cluster.members[0].at());
        for (what, hole) in [("says nothing", Hole::mute()), ("is not there", Hole::silent())] {
            for _ in 0..3 {
                let replica = &mut cluster.members[1];
                cluster.record = cluster.record.revised();
                let record = cluster.record.clone();
                let source = hole.at(&primary);
                replica.assign(Some(&record), Role::Replica { source }).await;
                let port = hole.address().port();
                let connecting = replica.until("a receiver that connects", |report| {
                    let server = report.server.as_ref();
                    let follows = server.and_then(|server| server.follows.as_ref());
                    follows.is_some_and(|follows| follows.port == port && !follows.is_receiving)
                });
                connecting.await;
                let began = Instant::now();
                replica.assign(Some(&record.revised()), Role::Hold).await;
                cluster.record = record.revised();
                replica.settled().await;
                let took = began.elapsed();
                println!("the source {what}: frozen after {took:?}");
                assert!(took < FREEZE_LIMIT, "{took:?}");
            }
        }
        // It follows the source that is there, and acknowledges.
        cluster.record = cluster.record.revised();
        let record = cluster.record.clone();
        let replica = &mut cluster.members[1];
        replica.assign(Some(&record), Role::Replica { source }).await;
        replica.settled().await;
        let mut app = cluster.members[0].place.app("first").await.unwrap();
        app.make_table().await.unwrap();
        app.insert().await.unwrap();
    });
}
