//! A TCP proxy in front of the API server that can be cut.
//! Must not look into what it passes on.

use std::net::SocketAddr;

use kube::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Up,
    /// Connections stand and nothing comes through: a lost network.
    Silent,
    /// Connections are closed: a server that is gone.
    Closed,
}

pub(crate) struct Proxy {
    pub(crate) config: Config,
    line: watch::Sender<Line>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Before the server of `config`, whose certificate is still asked for.
    pub(crate) async fn before(config: &Config) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        let host = config.cluster_url.host().unwrap().to_owned();
        let port = config.cluster_url.port_u16().unwrap_or(443);
        let server = tokio::net::lookup_host((host.as_str(), port))
            .await
            .unwrap()
            .next()
            .unwrap();
        let (line, state) = watch::channel(Line::Up);
        let task = tokio::spawn(serve(listener, server, state));
        let mut config = config.clone();
        config.cluster_url = format!("https://{here}").parse().unwrap();
        config.tls_server_name.get_or_insert(host);
        Self { config, line, task }
    }

    pub(crate) fn turn(&self, line: Line) {
        self.line.send_replace(line);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, server: SocketAddr, state: watch::Receiver<Line>) {
    while let Ok((here, _)) = listener.accept().await {
        let mut state = state.clone();
        tokio::spawn(async move {
            let passing = {
                let state = state.clone();
                async move {
                    let there = TcpStream::connect(server).await.ok()?;
                    let (mut here_reads, mut here_writes) = here.into_split();
                    let (mut there_reads, mut there_writes) = there.into_split();
                    tokio::join!(
                        pass(&mut here_reads, &mut there_writes, state.clone()),
                        pass(&mut there_reads, &mut here_writes, state),
                    );
                    Some(())
                }
            };
            // Closing drops both ends.
            tokio::select! {
                _ = passing => {}
                _ = state.wait_for(|line| *line == Line::Closed) => {}
            }
        });
    }
}

async fn pass(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    mut state: watch::Receiver<Line>,
) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if state.wait_for(|line| *line == Line::Up).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
