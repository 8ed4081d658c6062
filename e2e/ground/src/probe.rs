//! Looks at the network from a chosen place: a unit's namespace, or a pod's.
//! Must not change anything there.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns};

use crate::faults::pod;
use crate::ground::Ground;
use crate::spec::Unit;

/// A place to look from or to listen at.
#[derive(Clone, Debug)]
pub struct Place(PathBuf);

impl Place {
    /// A unit: a node's own network, the control plane, the client.
    pub fn unit(ground: &Ground, unit: Unit) -> Self {
        Self(Path::new("/run/netns").join(ground.spec().netns(unit)))
    }

    /// A running pod, by any of its processes.
    pub fn pod(ground: &Ground, namespace: &str, name: &str) -> Result<Self> {
        let found = pod::find(ground, namespace, name)?;
        let pids = pod::processes(ground, &found, None)?;
        let pid = pids
            .first()
            .with_context(|| format!("pod {name} has no process"))?;
        Ok(Self(PathBuf::from(format!("/proc/{pid}/ns/net"))))
    }

    /// Runs this in the namespace, on a thread that ends with it.
    fn within<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let file = File::open(&self.0).with_context(|| format!("failed to open {}", self.0.display()))?;
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                setns(file, CloneFlags::CLONE_NEWNET).context("failed to enter the network namespace")?;
                work()
            });
            thread.join().map_err(|_| anyhow::anyhow!("a probe panicked"))?
        })
    }

    /// Whether a TCP connection to there comes about in time.
    pub fn connects(&self, to: SocketAddr, within: Duration) -> Result<bool> {
        self.within(|| Ok(TcpStream::connect_timeout(&to, within).is_ok()))
    }

    /// Takes TCP connections from now on, for as long as this is held, and says nothing to them.
    pub fn listen(&self, at: SocketAddr) -> Result<TcpListener> {
        self.within(|| TcpListener::bind(at).with_context(|| format!("failed to listen at {at}")))
    }

    /// Opens a TCP connection from here to a listener of its own at `to`, and keeps it open.
    pub fn converse(&self, to: &Place, at: SocketAddr, within: Duration) -> Result<Conversation> {
        let listener = to.listen(at)?;
        let near = self.within(|| Ok(TcpStream::connect_timeout(&at, within)?))?;
        let (far, _) = listener.accept()?;
        for end in [&near, &far] {
            end.set_read_timeout(Some(within))?;
            end.set_nodelay(true)?;
        }
        Ok(Conversation { near, far })
    }

    /// How long a TCP connection to a listener at `to` takes: one round trip.
    pub fn round_trip(&self, to: &Place, at: SocketAddr, within: Duration) -> Result<Duration> {
        let _listener = to.within(|| Ok(TcpListener::bind(at)?))?;
        self.within(|| {
            let begun = Instant::now();
            TcpStream::connect_timeout(&at, within)?;
            Ok(begun.elapsed())
        })
    }

    /// Whether a server there says something within the time, as MySQL does to everyone who comes.
    pub fn is_greeted(&self, by: SocketAddr, within: Duration) -> Result<bool> {
        self.within(|| {
            let Ok(mut stream) = TcpStream::connect_timeout(&by, within) else {
                return Ok(false);
            };
            stream.set_read_timeout(Some(within))?;
            let mut first = [0; 5];
            Ok(stream.read_exact(&mut first).is_ok())
        })
    }

    /// How many of `count` datagrams sent from here arrive at `to`, which listens at `at`.
    pub fn datagrams_arriving(&self, to: &Place, at: SocketAddr, count: u32) -> Result<u32> {
        let receiver = to.within(|| Ok(UdpSocket::bind(at)?))?;
        receiver.set_read_timeout(Some(Duration::from_millis(500)))?;
        let sender = self.within(|| Ok(UdpSocket::bind("0.0.0.0:0")?))?;
        std::thread::scope(|scope| {
            // Read while sending: a socket's buffer holds a few hundred datagrams.
            let reader = scope.spawn(move || {
                let mut buffer = [0; 4];
                (0..count)
                    .take_while(|_| receiver.recv(&mut buffer).is_ok())
                    .count()
            });
            for number in 0..count {
                // Refused by a rule of its own side counts as not arriving.
                let _ = sender.send_to(&number.to_be_bytes(), at);
                if number % 16 == 15 {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            let arrived = reader.join().map_err(|_| anyhow::anyhow!("a probe panicked"))?;
            Ok(u32::try_from(arrived)?)
        })
    }

    /// How long it takes to send this many bytes from here to a listener at `to`.
    pub fn transfer(&self, to: &Place, at: SocketAddr, bytes: usize, within: Duration) -> Result<Duration> {
        let listener = to.within(|| Ok(TcpListener::bind(at)?))?;
        std::thread::scope(|scope| {
            let reader = scope.spawn(move || -> Result<usize> {
                let (mut stream, _) = listener.accept()?;
                stream.set_read_timeout(Some(within))?;
                let mut content = Vec::new();
                Ok(stream.read_to_end(&mut content)?)
            });
            let begun = Instant::now();
            let mut stream = self.within(|| Ok(TcpStream::connect_timeout(&at, within)?))?;
            stream.write_all(&vec![7; bytes])?;
            drop(stream);
            let read = reader.join().map_err(|_| anyhow::anyhow!("a probe panicked"))??;
            if read != bytes {
                bail!("{read} of {bytes} bytes arrived");
            }
            Ok(begun.elapsed())
        })
    }
}

/// A TCP connection between two places, open.
#[derive(Debug)]
pub struct Conversation {
    near: TcpStream,
    far: TcpStream,
}

impl Conversation {
    /// Whether a word still comes through each way, in the time that was given at its beginning.
    pub fn goes_on(&mut self) -> bool {
        let mut word = [0; 4];
        let there = self
            .near
            .write_all(b"well")
            .and_then(|()| self.far.read_exact(&mut word));
        let back = there.and_then(|()| self.far.write_all(b"well"));
        back.and_then(|()| self.near.read_exact(&mut word)).is_ok()
    }
}
