//! The agent: PID 1 of a member's Pod, beside mysqld.
//! Must not decide about the cluster, nor need the controller to keep mysqld running.

mod agent;
mod copy;
mod member;
mod metrics;
mod mysqld;
mod options;
mod probes;
mod promise;
mod rejoin;
mod secrets;
mod volume;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use agent_api::server::{self, Clock, Shared};
use kit::shutdown::{self, Shutdown};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

pub use copy::{Error as CopyError, copy};
pub use options::Options;

use agent::Agent;
use metrics::Metrics;
use mysqld::child::{self, Reaper};
use mysqld::start::Setup;
use options::Paths;

/// Orders that wait to be kept; a controller sends one and waits for its answer.
const ORDERS_LIMIT: usize = 8;
const AGENT: &str = env!("CARGO_PKG_VERSION");

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to make a runtime")]
    Runtime(#[source] io::Error),
    #[error("failed to hear signals")]
    Signals(#[from] shutdown::Error),
    #[error("failed to watch over processes")]
    Children(#[from] child::Error),
    #[error("failed to listen on port {port}")]
    Listen {
        port: u16,
        #[source]
        source: io::Error,
    },
}

/// Until SIGTERM or SIGINT; mysqld has ended when it returns. Logs and TLS are set up by the caller.
pub fn run(options: Options) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    let ended = runtime.block_on(serve(options));
    // A thread that waits for a disk must not keep the process.
    runtime.shutdown_background();
    ended
}

async fn serve(options: Options) -> Result<(), Error> {
    let shutdown = Shutdown::listen()?;
    let reaper = Reaper::start()?;
    let stream = listen(&options, options.agent_port).await?;
    let probes = listen(&options, options.http_port).await?;
    let options = Arc::new(options);
    let paths = Arc::new(Paths::new(&options));
    let setup = Setup {
        options: options.clone(),
        paths: paths.clone(),
        reaper,
        is_initialising: Arc::default(),
        is_outdated: Arc::default(),
    };
    let clock = Arc::new(Clock::default());
    let (orders, orders_in) = mpsc::channel(ORDERS_LIMIT);
    let metrics = Arc::new(Metrics::new());
    let (agent, inbox, reports) = Agent::new(setup, clock.clone(), metrics.clone(), orders_in);
    let shared = Shared {
        clock,
        reports: reports.clone(),
        orders,
    };
    tokio::spawn(async move { server::serve(stream, &paths.tls, AGENT, shared).await });
    tokio::spawn(kit::http::serve(probes, probes::handler(reports, metrics)));
    tracing::info!(member = options.member, version = AGENT, "the agent begins");
    agent.run(inbox, shutdown).await;
    Ok(())
}

/// On every address, of both families where there are two.
async fn listen(options: &Options, port: u16) -> Result<TcpListener, Error> {
    let everywhere = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port);
    let fallback = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
    let failed = |source| Error::Listen { port, source };
    if let Some(address) = options.address {
        return TcpListener::bind(SocketAddr::new(address, port))
            .await
            .map_err(failed);
    }
    match TcpListener::bind(everywhere).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(fallback).await.map_err(failed),
    }
}
