//! The subcommand `controller`: its options, and the process around it.
//! Must not hold logic of the controller: that is the crate's.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use controllers::Options;
use objects::bundle::{Controller, Images, Inputs, MYSQL_REPOSITORY};

use crate::process;

const OPERATOR_IMAGE: &str = concat!("holdfast.dev/holdfast:", env!("CARGO_PKG_VERSION"));

/// What the network policies of clusters know its Pods by.
const LABEL: (&str, &str) = ("app.kubernetes.io/name", "holdfast");

/// Where it looks for a Lease outside of Kubernetes.
const DEFAULT_NAMESPACE: &str = "default";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Process(#[from] process::Error),
    #[error("the controller failed")]
    Run(#[from] controllers::Error),
}

#[derive(Args, Clone, Debug)]
pub struct ControllerOptions {
    /// Look after clusters in this namespace only; may be given several times
    #[arg(long = "namespace", value_name = "NAMESPACE")]
    namespaces: Vec<String>,
    /// This program's own image: members copy the program from it
    #[arg(long, value_name = "IMAGE", default_value = OPERATOR_IMAGE)]
    operator_image: String,
    /// Where the stock MySQL images are, without a tag
    #[arg(long, value_name = "REPOSITORY", default_value = MYSQL_REPOSITORY)]
    mysql_repository: String,
    /// How long servers' certificates are good; they are renewed after two thirds of it
    #[arg(long, value_name = "DURATION", default_value = "90d", value_parser = lifetime)]
    certificate_lifetime: Duration,
    /// Where probes and metrics are served
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:8080")]
    listen: SocketAddr,
    /// Where the last look at each cluster is answered; reached by port-forward
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
    looks: SocketAddr,
    /// Outside of Kubernetes: how to reach it
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
    /// The namespace of this Pod, where the Lease is
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE")]
    own_namespace: Option<String>,
    /// The name of this Pod
    #[arg(long, value_name = "NAME", env = "POD_NAME", default_value = "holdfast")]
    own_name: String,
    /// The node of this Pod: of equals, a primary on another one is chosen
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    own_node: Option<String>,
}

impl ControllerOptions {
    fn read(self) -> Options {
        let labels = BTreeMap::from([(LABEL.0.to_owned(), LABEL.1.to_owned())]);
        let controller = self
            .own_namespace
            .clone()
            .map(|namespace| Controller { namespace, labels });
        Options {
            kubeconfig: self.kubeconfig,
            namespaces: self.namespaces,
            own_namespace: self.own_namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned()),
            own_name: self.own_name,
            own_node: self.own_node,
            listen: self.listen,
            looks: self.looks,
            certificate_lifetime: self.certificate_lifetime,
            inputs: Inputs {
                images: Images {
                    mysql_repository: self.mysql_repository,
                    operator: self.operator_image,
                },
                controller,
                voters: 0,
            },
        }
    }
}

/// Runs until it is asked to end, or does not lead any more.
pub fn run(options: ControllerOptions) -> Result<(), Error> {
    let runtime = process::begin()?;
    runtime.block_on(controllers::run(options.read()))?;
    Ok(())
}

/// Such as 90d, 36h or 20m. Less than a quarter of an hour could not be renewed in time.
fn lifetime(text: &str) -> Result<Duration, String> {
    let unit = text.chars().last().unwrap_or_default();
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return Err("give a whole number with s, m, h or d, such as 90d".to_owned()),
    };
    let number = text.trim_end_matches(unit).parse::<u32>();
    let number = number.map_err(|_| "give a whole number with s, m, h or d, such as 90d".to_owned())?;
    let lifetime = Duration::from_secs(u64::from(number) * seconds);
    if lifetime < SHORTEST || lifetime > LONGEST {
        return Err("give something between 1m and 3650d".to_owned());
    }
    Ok(lifetime)
}

/// A node takes up to a minute and a half to bring a Secret to its Pods: under five minutes is for trying.
const SHORTEST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_numbers_with_a_unit() {
        assert_eq!(lifetime("90d").unwrap(), Duration::from_secs(90 * 86400));
        assert_eq!(lifetime("36h").unwrap(), Duration::from_secs(36 * 3600));
        for wrong in ["", "90", "d", "1s", "9999d", "-1d", "ninety d"] {
            assert!(lifetime(wrong).is_err(), "{wrong}");
        }
    }
}
