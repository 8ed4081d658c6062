//! One TCP port cut for a pod, in its own network: from everybody, or from named addresses.
//! Must not touch the rules of its node: whatever else the pod sends and gets goes on.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{Fault, pod};
use crate::ground::Ground;
use crate::shell::{Cmd, cmd};
use crate::spec::Unit;

/// A port of a pod that hears and says nothing, whichever end of the connection it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// The node.
    pub unit: String,
    /// The pod's UID.
    pub uid: String,
    /// The pod, for people.
    pub pod: String,
    /// Its own port, or that of the other end.
    pub port: u16,
    /// Whom it is cut from; nobody named is everybody.
    pub from: Vec<Ipv4Addr>,
}

impl Fault {
    /// A port of a running pod, cut from these addresses, or from everybody.
    pub fn port(
        ground: &Ground,
        namespace: &str,
        name: &str,
        port: u16,
        from: Vec<Ipv4Addr>,
    ) -> Result<Self> {
        let found = pod::find(ground, namespace, name)?;
        Ok(Self::Port(Port {
            unit: found.unit.name(),
            uid: found.uid,
            pod: format!("{namespace}-{name}"),
            port,
            from,
        }))
    }
}

impl Port {
    pub(super) fn id(&self) -> String {
        let from: Vec<String> = self.from.iter().map(Ipv4Addr::to_string).collect();
        let words = [format!("port-{}-{}", self.pod, self.port)];
        words.into_iter().chain(from).collect::<Vec<_>>().join("-")
    }

    pub(super) fn apply(&self, ground: &Ground) -> Result<()> {
        let inside = self.inside(ground)?;
        let inside = inside.with_context(|| format!("{} does not run on {}", self.pod, self.unit))?;
        inside.input(&self.rules()).map(drop)
    }

    /// A pod that was started anew since has a network without the rules.
    pub(super) fn undo(&self, ground: &Ground) -> Result<()> {
        match self.inside(ground)? {
            Some(inside) => inside.input(&self.none()).map(drop),
            None => Ok(()),
        }
    }

    /// nft in the pod's network, if it runs; the process that holds its namespaces open is always there.
    fn inside(&self, ground: &Ground) -> Result<Option<Cmd>> {
        let pod = pod::Pod {
            unit: Unit::parse(&self.unit)?,
            uid: self.uid.clone(),
        };
        let pids = pod::processes(ground, &pod, Some("pause"))?;
        Ok(pids
            .first()
            .map(|pid| cmd("nsenter", [format!("--net=/proc/{pid}/ns/net")]).args(["--", "nft", "-f", "-"])))
    }

    /// Each fault has a table of its own.
    fn table(&self) -> String {
        let id = self.id();
        id.chars()
            .map(|letter| {
                if letter.is_ascii_alphanumeric() {
                    letter
                } else {
                    '_'
                }
            })
            .collect()
    }

    fn none(&self) -> String {
        let table = self.table();
        format!("add table inet {table}\ndelete table inet {table}\n")
    }

    fn rules(&self) -> String {
        let from: Vec<String> = self.from.iter().map(Ipv4Addr::to_string).collect();
        let peer = |end: &str| match from.is_empty() {
            true => String::new(),
            false => format!("ip {end} {{ {} }} ", from.join(", ")),
        };
        let drops = |end: &str| {
            let port = self.port;
            let peer = peer(end);
            format!("{peer}tcp dport {port} counter drop\n{peer}tcp sport {port} counter drop")
        };
        format!(
            "{}table inet {} {{\n\
             chain arriving {{ type filter hook input priority -400; policy accept;\n{}\n}}\n\
             chain leaving {{ type filter hook output priority 400; policy accept;\n{}\n}}\n}}\n",
            self.none(),
            self.table(),
            drops("saddr"),
            drops("daddr"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(from: &[[u8; 4]]) -> Port {
        Port {
            unit: "node1".to_owned(),
            uid: "0c1d".to_owned(),
            pod: "shop-orders-0".to_owned(),
            port: 3306,
            from: from.iter().map(|bytes| Ipv4Addr::from(*bytes)).collect(),
        }
    }

    #[test]
    fn a_port_is_cut_at_both_ends_from_the_named_alone() {
        let text = port(&[[10, 97, 101, 5], [10, 97, 102, 7]]).rules();
        for rule in [
            "ip saddr { 10.97.101.5, 10.97.102.7 } tcp dport 3306 counter drop",
            "ip daddr { 10.97.101.5, 10.97.102.7 } tcp sport 3306 counter drop",
        ] {
            assert!(text.contains(rule), "{text}");
        }
        let text = port(&[]).rules();
        assert!(
            text.contains("\ntcp dport 3306 counter drop") && !text.contains("addr"),
            "{text}"
        );
    }

    #[test]
    fn each_fault_has_a_table_of_its_own() {
        let (one, other) = (port(&[[10, 97, 101, 5]]), port(&[]));
        assert_eq!(one.table(), "port_shop_orders_0_3306_10_97_101_5");
        assert_ne!(one.table(), other.table());
        assert!(
            one.none()
                .ends_with("delete table inet port_shop_orders_0_3306_10_97_101_5\n")
        );
    }
}
