//! The controller as a process: waits to lead, looks after clusters while it does, and waits again.
//! Must not decide anything about a cluster.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kit::client::{self, Clients};
use kit::events::Events;
use kit::http::{self, Answer};
use kit::lease::{Candidate, Identity, Keeper, Leadership, Loss, Timing};
use kit::shutdown::{self, Shutdown};
use objects::Inputs;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::captures::Captures;
use crate::context::Context;
use crate::dispatch::{Changes, Dispatcher};
use crate::metrics::Metrics;
use crate::watches::{self, Scope};

/// Of the Lease, and of us in Events.
const NAME: &str = "holdfast-controller";

/// Loops end at once, and the lease is given back; whoever waits for that has not longer.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the metric learns whether we lead.
const LEADING_PERIOD: Duration = Duration::from_millis(500);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to prepare for the end")]
    Shutdown(#[from] shutdown::Error),
    #[error("failed to make a client of the API server")]
    Client(#[from] client::Error),
    #[error("failed to listen on {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("failed to leave all to the next leader within {END_TIMEOUT:?}")]
    Lost(#[source] Loss),
    #[error("failed to go on: a watch ended")]
    WatchEnded,
}

/// What the controller is told at its start.
#[derive(Clone, Debug)]
pub struct Options {
    pub kubeconfig: Option<PathBuf>,
    /// Where clusters are looked after; nothing: everywhere.
    pub namespaces: Vec<String>,
    /// Where the Lease is: the controller's own.
    pub own_namespace: String,
    /// The Pod's name, for people.
    pub own_name: String,
    /// The node that it runs on.
    pub own_node: Option<String>,
    pub listen: SocketAddr,
    /// Where looks at clusters are answered: only to those whom Kubernetes lets into the Pod.
    pub looks: SocketAddr,
    pub certificate_lifetime: Duration,
    pub inputs: Inputs,
}

/// Until it is asked to end.
pub async fn run(options: Options) -> Result<(), Error> {
    let shutdown = Shutdown::listen()?;
    let config = client::config(options.kubeconfig.as_deref()).await?;
    let clients = Clients::new(&config)?;
    let mut registry = kit::metrics::registry();
    let metrics = Metrics::new(&mut registry);
    let captures = Captures::default();
    let looks = captures.clone();
    let servers = [
        serve(options.listen, move |path| answer(path, &registry)).await?,
        serve(options.looks, move |path| looks.answer(path)).await?,
    ];
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        "the controller waits to lead"
    );
    let candidate = {
        let (client, namespace, name) = (
            clients.prompt.clone(),
            options.own_namespace.clone(),
            options.own_name.clone(),
        );
        // Never the same twice: what the one before began is not the next one's.
        move || {
            Candidate::new(
                &client,
                &namespace,
                NAME,
                Identity::unique(&name),
                Timing::default(),
            )
        }
    };
    let events = Events::new(clients.patient.clone(), NAME, &options.own_name);
    let context = Context::new(
        clients,
        events,
        metrics,
        captures,
        options.inputs,
        options.certificate_lifetime,
        options.own_node,
    );
    let ended = follow_and_lead(
        Arc::new(context),
        Scope::of(&options.namespaces),
        candidate,
        shutdown,
    )
    .await;
    for server in servers {
        server.abort();
    }
    ended
}

/// Watches from the beginning: who takes over knows at once what there is.
async fn follow_and_lead(
    context: Arc<Context>,
    scope: Scope,
    candidate: impl Fn() -> Candidate,
    mut shutdown: Shutdown,
) -> Result<(), Error> {
    let changes = Arc::new(Changes::default());
    let mut watching = watches::start(&context, &changes, &scope);
    loop {
        let (leadership, mut keeper) = tokio::select! {
            lead = candidate().acquire() => lead,
            () = shutdown.requested() => return Ok(()),
            Some(_) = watching.join_next() => return Err(Error::WatchEnded),
        };
        context.captures.lead(true);
        let mut dispatcher = Dispatcher::new(context.clone(), leadership.clone());
        let ended = tokio::select! {
            loss = keeper.lost() => Ended::Lost(loss),
            () = shutdown.requested() => Ended::Asked,
            Some(_) = watching.join_next() => return Err(Error::WatchEnded),
            never = tell_whether_leading(&context, &leadership) => match never {},
            never = async {
                watches::listed(&context, &scope).await;
                tracing::info!("all is listed");
                dispatcher.run(&changes).await
            } => match never {},
        };
        context.metrics.is_leading.set(0);
        context.captures.lead(false);
        match ended {
            Ended::Asked => {
                tracing::info!("ending");
                drop(watching);
                give_back(dispatcher, keeper, leadership).await;
                return Ok(());
            }
            Ended::Lost(loss) => {
                tracing::warn!(%loss, "waits to lead again");
                let left = tokio::time::timeout(END_TIMEOUT, dispatcher.end()).await;
                left.map_err(|_| Error::Lost(loss))?;
            }
        }
    }
}

enum Ended {
    /// The process is to end.
    Asked,
    /// Somebody else leads, or may.
    Lost(Loss),
}

/// For ever: a leader that is late with its renewal does nothing, and says so.
async fn tell_whether_leading(context: &Context, leadership: &Leadership) -> Infallible {
    loop {
        context.metrics.is_leading.set(i64::from(leadership.is_held()));
        tokio::time::sleep(LEADING_PERIOD).await;
    }
}

async fn give_back(dispatcher: Dispatcher, keeper: Keeper, leadership: Leadership) {
    let handed_over = tokio::time::timeout(END_TIMEOUT, async {
        dispatcher.end().await;
        keeper.release(leadership).await
    });
    match handed_over.await {
        Ok(Ok(())) => tracing::info!("the lease is given back"),
        Ok(Err(error)) => tracing::warn!(%error, "the lease runs out by itself"),
        Err(_) => tracing::warn!("the lease runs out by itself"),
    }
}

async fn serve(
    address: SocketAddr,
    answer: impl Fn(&str) -> Answer + Send + Sync + 'static,
) -> Result<JoinHandle<()>, Error> {
    let mut listening = TcpListener::bind(address).await;
    if listening.is_err() && address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        // A kernel without IPv6.
        listening = TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await;
    }
    let listener = listening.map_err(|source| Error::Listen { address, source })?;
    Ok(tokio::spawn(async move {
        http::serve(listener, answer).await;
    }))
}

/// Ready without leading: a standby is one that is ready to lead.
fn answer(path: &str, registry: &Registry) -> Answer {
    match path {
        "/livez" | "/readyz" => Answer::text(200, "ok\n"),
        "/metrics" => kit::metrics::answer(registry),
        _ => Answer::not_found(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_and_metrics_are_answered_and_nothing_else() {
        let registry = kit::metrics::registry();
        let asked = |path: &str| answer(path, &registry);
        for path in ["/livez", "/readyz", "/metrics"] {
            assert_eq!(asked(path).status, 200, "{path}");
        }
        for path in ["/", "/clusters/shop/orders", "/debug"] {
            assert_eq!(asked(path), Answer::not_found(), "{path}");
        }
    }
}
