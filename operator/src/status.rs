//! The subcommand `status`: how a cluster is, as the API server alone can tell, also while its Pods are down.
//! Must not write anything, nor ask for more than to see the one object.

mod advice;
mod view;
mod words;

use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use crds::cluster::MySQLCluster;
use futures::StreamExt;
use kit::client::{self, Class, Clients};
use kube::Api;
use kube::runtime::{WatchStreamExt, watcher};

use crate::output::{self, Format};
use crate::process;
pub use view::View;
pub use words::text;

/// To be answered once.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// In a row, at most half a minute apart: an API server that is away for longer is worth a new look.
const FAILURES_LIMIT: u32 = 40;

const NOT_READY: u8 = 1;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Process(#[from] process::Error),
    #[error("failed to make a client of the API server: name a kubeconfig that works, with --kubeconfig")]
    Client(#[source] client::Error),
    #[error(
        "failed to find the MySQLCluster {name} in the namespace {namespace}: see \
         kubectl get mysqlclusters --all-namespaces, and name another with --namespace"
    )]
    NotFound {
        name: String,
        namespace: String,
        #[source]
        source: client::Error,
    },
    #[error("failed to read the MySQLCluster {name} in the namespace {namespace}")]
    Read {
        name: String,
        namespace: String,
        #[source]
        source: client::Error,
    },
    #[error("failed to go on watching: it takes the rights to list and watch mysqlclusters")]
    Watch(#[source] Box<watcher::Error>),
    #[error("the MySQLCluster {name} is gone")]
    Gone { name: String },
    #[error(transparent)]
    Output(#[from] output::Error),
}

#[derive(Args, Clone, Debug)]
pub struct StatusOptions {
    /// The name of the MySQLCluster
    #[arg(value_name = "CLUSTER")]
    cluster: String,
    /// Its namespace, instead of the one that the kubeconfig names
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// How to reach the API server, instead of what kubectl would use
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// As a text, or for programs
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Format::Text)]
    output: Format,
    /// Print it anew whenever it changes, until interrupted
    #[arg(short, long)]
    watch: bool,
}

/// Success if it is ready, 1 if it is not.
pub fn run(options: &StatusOptions) -> Result<ExitCode, Error> {
    let runtime = process::begin_quietly()?;
    runtime.block_on(show(options))
}

async fn show(options: &StatusOptions) -> Result<ExitCode, Error> {
    let config = client::config(options.kubeconfig.as_deref()).await;
    let config = config.map_err(Error::Client)?;
    let clients = Clients::new(&config).map_err(Error::Client)?;
    let namespace = options.namespace.as_ref().unwrap_or(&config.default_namespace);
    let object = read(&clients, namespace, &options.cluster).await?;
    let mut screen = Screen {
        format: options.output,
        last: None,
    };
    let is_ready = screen.show(&object)?;
    if options.watch {
        return watch(&clients, namespace, &options.cluster, &mut screen).await;
    }
    Ok(match is_ready {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(NOT_READY),
    })
}

async fn read(clients: &Clients, namespace: &str, name: &str) -> Result<MySQLCluster, Error> {
    let api: Api<MySQLCluster> = Api::namespaced(clients.prompt.client().clone(), namespace);
    let answer = client::call(ANSWER_TIMEOUT, api.get(name)).await;
    let (name, namespace) = (name.to_owned(), namespace.to_owned());
    answer.map_err(|source| match source.class() {
        Class::NotFound => Error::NotFound {
            name,
            namespace,
            source,
        },
        _ => Error::Read {
            name,
            namespace,
            source,
        },
    })
}

/// Until it is interrupted, the object is gone, or the API server is away for long.
async fn watch(
    clients: &Clients,
    namespace: &str,
    name: &str,
    screen: &mut Screen,
) -> Result<ExitCode, Error> {
    let api: Api<MySQLCluster> = Api::namespaced(clients.patient.clone(), namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = pin!(watcher(api, config).default_backoff());
    let gone = || Error::Gone {
        name: name.to_owned(),
    };
    let (mut failures, mut is_listed) = (0, false);
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init) => is_listed = false,
            Ok(watcher::Event::InitDone) if !is_listed => return Err(gone()),
            Ok(watcher::Event::InitDone) => {}
            Ok(watcher::Event::Delete(_)) => return Err(gone()),
            Ok(watcher::Event::InitApply(object) | watcher::Event::Apply(object)) => {
                (failures, is_listed) = (0, true);
                screen.show(&object)?;
            }
            Err(error) => {
                failures += 1;
                if failures >= FAILURES_LIMIT || is_final(&error) {
                    return Err(Error::Watch(Box::new(error)));
                }
                // A watch that ends is begun anew, and says nothing of the cluster.
                if failures == 2 {
                    eprintln!("the API server does not answer, and is asked again: {error}");
                }
            }
        }
    }
    Err(gone())
}

/// Asking again would be answered the same.
fn is_final(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => matches!(status.code, 401 | 403),
        _ => false,
    }
}

/// What was printed last.
struct Screen {
    format: Format,
    last: Option<String>,
}

impl Screen {
    /// Prints what is new. Whether the cluster is ready.
    fn show(&mut self, object: &MySQLCluster) -> Result<bool, output::Error> {
        let view = View::of(object);
        let text = match self.format {
            Format::Text => words::text(&view),
            Format::Json => output::json(&view)?,
        };
        if self.last.as_ref() != Some(&text) {
            let is_text = self.format == Format::Text;
            if is_text && self.last.is_some() {
                output::print("\n---\n\n")?;
            }
            output::print(&text)?;
            self.last = Some(text);
        }
        Ok(view.is_ready)
    }
}

#[cfg(test)]
mod tests;
