//! What a proving ground is: its name, its addresses, its nodes, where its files lie.
//! Must not touch the machine; everything else derives from these values.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// Interface names hold 15 bytes; `hf-NAME-nN` must fit.
const NAME_MAX_BYTES: usize = 8;
/// Nine nodes are more than two cores can carry, and keep the names short.
pub const NODES_MAX: u8 = 9;

/// The choices a person makes for one proving ground.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Lower-case letters and digits, at most eight.
    pub name: String,
    /// The first two bytes of its own /16.
    pub net: [u8; 2],
    /// How many nodes run pods.
    pub nodes: u8,
}

impl Spec {
    /// Checks a name, a /16 and a number of nodes.
    pub fn new(name: &str, net: &str, nodes: u8) -> Result<Self> {
        let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if name.is_empty() || name.len() > NAME_MAX_BYTES || !name.chars().all(fine) {
            bail!("--name {name:?}: use one to {NAME_MAX_BYTES} lower-case letters and digits");
        }
        if nodes == 0 || nodes > NODES_MAX {
            bail!("--nodes {nodes}: use 1 to {NODES_MAX}");
        }
        Ok(Self {
            name: name.to_owned(),
            net: parse_net(net)?,
            nodes,
        })
    }

    fn address(&self, third: u8, fourth: u8) -> Ipv4Addr {
        Ipv4Addr::new(self.net[0], self.net[1], third, fourth)
    }

    /// The machine's own address on the bridge.
    pub fn gateway(&self) -> Ipv4Addr {
        self.address(0, 1)
    }

    /// Where the API server listens.
    pub fn api(&self) -> Ipv4Addr {
        self.address(0, 2)
    }

    /// Where clients such as the workload checker run, outside every node.
    pub fn client(&self) -> Ipv4Addr {
        self.address(0, 3)
    }

    /// A node's address, counted from one.
    pub fn node(&self, index: u8) -> Ipv4Addr {
        self.address(0, 10 + index)
    }

    /// The range of a node's pods.
    pub fn pod_range(&self, index: u8) -> String {
        format!("{}/24", self.address(100 + index, 0))
    }

    /// The range of all pods.
    pub fn pods(&self) -> String {
        format!("{}/17", self.address(0, 0))
    }

    /// The range of Services.
    pub fn services(&self) -> String {
        format!("{}/20", self.address(240, 0))
    }

    /// The address of the `kubernetes` Service.
    pub fn kubernetes_service(&self) -> Ipv4Addr {
        self.address(240, 1)
    }

    /// The whole range, as one writes it.
    pub fn range(&self) -> String {
        format!("{}.{}.0.0/16", self.net[0], self.net[1])
    }

    /// Every unit that is a network namespace with processes in it.
    pub fn units(&self) -> Vec<Unit> {
        let mut all = vec![Unit::Control, Unit::Client];
        all.extend((1..=self.nodes).map(Unit::Node));
        all
    }

    /// The nodes, in order.
    pub fn node_units(&self) -> impl Iterator<Item = Unit> + use<> {
        (1..=self.nodes).map(Unit::Node)
    }

    /// The address of a unit.
    pub fn unit_address(&self, unit: Unit) -> Ipv4Addr {
        match unit {
            Unit::Control => self.api(),
            Unit::Client => self.client(),
            Unit::Node(index) => self.node(index),
        }
    }

    /// The name of the bridge, and the prefix of every interface.
    pub fn bridge(&self) -> String {
        format!("hf-{}", self.name)
    }

    /// The network namespace of a unit; its end of the cable outside has the same name.
    pub fn netns(&self, unit: Unit) -> String {
        format!("hf-{}-{}", self.name, unit.short())
    }

    /// The control group above all processes of this ground.
    pub fn cgroup(&self) -> String {
        format!("hf-{}", self.name)
    }
}

/// A machine of the proving ground: a network, mount, PID and UTS namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// etcd, API server, controller manager, scheduler, volume provisioner.
    Control,
    /// No node: where clients run that no fault should hit; has Services by kube-proxy.
    Client,
    /// A node, counted from one.
    Node(u8),
}

impl Unit {
    /// The name in folders, logs and Kubernetes.
    pub fn name(self) -> String {
        match self {
            Self::Control => "control-plane".to_owned(),
            Self::Client => "client".to_owned(),
            Self::Node(index) => format!("node{index}"),
        }
    }

    fn short(self) -> String {
        match self {
            Self::Control => "cp".to_owned(),
            Self::Client => "cl".to_owned(),
            Self::Node(index) => format!("n{index}"),
        }
    }

    /// Reads back what `name` gave.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "control-plane" => Ok(Self::Control),
            "client" => Ok(Self::Client),
            _ => {
                let index = name
                    .strip_prefix("node")
                    .and_then(|digits| digits.parse::<u8>().ok());
                match index {
                    Some(index) if (1..=NODES_MAX).contains(&index) => Ok(Self::Node(index)),
                    _ => bail!(
                        "{name:?} is no machine here: use node1 to node{NODES_MAX}, control-plane or client"
                    ),
                }
            }
        }
    }
}

/// Where one ground keeps its files; gone after `down`.
#[derive(Clone, Debug)]
pub struct Paths {
    root: PathBuf,
}

impl Paths {
    /// The folder of the ground with this name.
    pub fn of(name: &str) -> Self {
        Self {
            root: state_root().join(name),
        }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The record of what this ground is.
    pub fn record(&self) -> PathBuf {
        self.root.join("ground.json")
    }

    /// Certificates and kubeconfigs.
    pub fn pki(&self) -> PathBuf {
        self.root.join("pki")
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.pki().join("admin.conf")
    }

    /// The folder of one unit: logs, holds, and a node's disk.
    pub fn unit(&self, unit: Unit) -> PathBuf {
        self.root.join(unit.name())
    }

    /// The logs of one unit.
    pub fn logs(&self, unit: Unit) -> PathBuf {
        self.unit(unit).join("log")
    }

    /// A file here named after a process keeps that process stopped.
    pub fn holds(&self, unit: Unit) -> PathBuf {
        self.unit(unit).join("hold")
    }

    /// The backing files of a node's volumes.
    pub fn volumes(&self, unit: Unit) -> PathBuf {
        self.unit(unit).join("volumes")
    }

    /// One file per fault that is in force.
    pub fn faults(&self) -> PathBuf {
        self.root.join("faults")
    }

    /// The programs, each a link to the one binary.
    pub fn bin(&self) -> PathBuf {
        self.root.join("bin")
    }

    /// One of the programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin().join(name)
    }
}

/// Where all grounds of this machine live.
pub fn state_root() -> PathBuf {
    std::env::var_os("HOLDFAST_GROUND_STATE")
        .map_or_else(|| PathBuf::from("/var/lib/holdfast-ground"), PathBuf::from)
}

/// Where built things are kept between grounds, each under the hash of its inputs.
pub fn cache_root() -> PathBuf {
    std::env::var_os("HOLDFAST_GROUND_CACHE")
        .map_or_else(|| PathBuf::from("/var/cache/holdfast-ground"), PathBuf::from)
}

/// The checkout this program was built from.
pub fn checkout() -> Result<PathBuf> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .map(Path::to_path_buf)
        .context("failed to find the checkout above this crate")
}

fn parse_net(net: &str) -> Result<[u8; 2]> {
    let wrong = || format!("--net {net:?}: use a private /16, such as 10.97.0.0/16");
    let (address, bits) = net.split_once('/').with_context(wrong)?;
    let address: Ipv4Addr = address.parse().with_context(wrong)?;
    let [a, b, c, d] = address.octets();
    if bits != "16" || c != 0 || d != 0 || !address.is_private() {
        bail!(wrong());
    }
    Ok([a, b])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ground_derives_its_addresses_from_its_net() {
        let spec = Spec::new("main", "10.97.0.0/16", 3).unwrap();
        assert_eq!(spec.node(2).to_string(), "10.97.0.12");
        assert_eq!(spec.pod_range(3), "10.97.103.0/24");
        assert_eq!(spec.services(), "10.97.240.0/20");
        assert_eq!(spec.units().len(), 5);
    }

    #[test]
    fn names_and_nets_that_cannot_work_are_refused() {
        for name in ["", "ninechars", "Upper", "a-b"] {
            assert!(Spec::new(name, "10.97.0.0/16", 3).is_err(), "{name}");
        }
        for net in ["10.97.0.0", "10.97.1.0/16", "8.8.0.0/16", "10.97.0.0/24", "x/16"] {
            assert!(Spec::new("main", net, 3).is_err(), "{net}");
        }
        assert!(Spec::new("main", "10.97.0.0/16", 0).is_err());
        assert!(Spec::new("main", "10.97.0.0/16", 10).is_err());
    }

    #[test]
    fn interface_names_fit_the_kernel() {
        let spec = Spec::new("eightchr", "10.97.0.0/16", 9).unwrap();
        for unit in spec.units() {
            assert!(spec.netns(unit).len() <= 15);
            assert_eq!(Unit::parse(&unit.name()).unwrap(), unit);
        }
    }
}
