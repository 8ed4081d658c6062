//! Frames with a length, JSON within, on an encrypted stream.
//! Must not know what the messages mean.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

/// A frame that takes longer to be taken than this goes to nobody who listens.
const WRITE_TIMEOUT: Duration = Duration::from_secs(3);

/// Silence is noticed far earlier by whoever waits for messages; this is for what nobody waits on.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
const KEEPALIVE_PERIOD: Duration = Duration::from_secs(2);
const KEEPALIVE_PROBES_LIMIT: u32 = 3;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("failed to set up the socket")]
    Socket(#[source] std::io::Error),
    #[error("failed to read a frame")]
    Read(#[source] std::io::Error),
    #[error("failed to read further: the peer closed the connection")]
    Closed,
    #[error("failed to understand a message")]
    Malformed(#[source] serde_json::Error),
    #[error("failed to write a message as JSON")]
    Encode(#[source] serde_json::Error),
    #[error("failed to write a frame")]
    Write(#[source] std::io::Error),
    #[error("failed to write a frame within {} ms", WRITE_TIMEOUT.as_millis())]
    Stalled,
}

/// Small messages leave at once, and a dead peer is found out.
pub(crate) fn set_up(stream: &TcpStream) -> Result<(), Error> {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_PERIOD)
        .with_retries(KEEPALIVE_PROBES_LIMIT);
    let socket = SockRef::from(stream);
    let done = stream
        .set_nodelay(true)
        .and_then(|()| socket.set_tcp_keepalive(&keepalive));
    done.map_err(Error::Socket)
}

pub(crate) struct Reader<S>(FramedRead<ReadHalf<S>, LengthDelimitedCodec>);

pub(crate) struct Writer<S>(FramedWrite<WriteHalf<S>, LengthDelimitedCodec>);

/// Both directions of a stream, each with the longest frame it may carry.
pub(crate) fn split<S: AsyncRead + AsyncWrite>(
    stream: S,
    read_limit_bytes: usize,
    write_limit_bytes: usize,
) -> (Reader<S>, Writer<S>) {
    let frames = |limit| {
        LengthDelimitedCodec::builder()
            .max_frame_length(limit)
            .new_codec()
    };
    let (read, write) = tokio::io::split(stream);
    (
        Reader(FramedRead::new(read, frames(read_limit_bytes))),
        Writer(FramedWrite::new(write, frames(write_limit_bytes))),
    )
}

impl<S: AsyncRead> Reader<S> {
    /// Dropped before it resolves, it has lost nothing.
    pub(crate) async fn next<M: DeserializeOwned>(&mut self) -> Result<M, Error> {
        let frame = self.0.next().await.ok_or(Error::Closed)?.map_err(Error::Read)?;
        serde_json::from_slice(&frame).map_err(Error::Malformed)
    }
}

impl<S: AsyncWrite> Writer<S> {
    /// Must run to its end: half a frame is none.
    pub(crate) async fn send<M: Serialize>(&mut self, message: &M) -> Result<(), Error> {
        let frame = serde_json::to_vec(message).map_err(Error::Encode)?;
        let sent = timeout(WRITE_TIMEOUT, self.0.send(frame.as_slice())).await;
        sent.map_err(|_| Error::Stalled)?.map_err(Error::Write)
    }
}
