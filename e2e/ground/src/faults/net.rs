//! Faults of the network: packets of a unit dropped, by peer and direction, lost by chance, or slowed.
//! Must not touch the rules of kube-proxy: it has a table of its own in the unit's namespace.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::{Fault, active};
use crate::ground::Ground;
use crate::network::enter;
use crate::spec::{Spec, Unit};

const TABLE: &str = "ground_faults";
/// Longer, and every connection is as good as cut.
const DELAY_MAX_MS: u32 = 10_000;

/// Which packets, as seen from the unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum Direction {
    /// Arriving and leaving.
    Both,
    /// Arriving only.
    In,
    /// Leaving only.
    Out,
}

/// What happens to a unit's packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetFault {
    /// Dropped: from and to everybody (`all`), the API server (`api`), or named units.
    Cut {
        unit: String,
        from: Vec<String>,
        direction: Direction,
    },
    /// As `Cut`, but for one TCP port only, and also between pods of the unit itself.
    Port {
        unit: String,
        port: u16,
        from: Vec<String>,
        direction: Direction,
    },
    /// This share of packets is dropped, each way.
    Loss { unit: String, percent: u8 },
    /// What leaves is held to this rate and queues up to this long, then is dropped.
    Slow {
        unit: String,
        kbit_per_second: u32,
        queue_ms: u32,
    },
    /// What leaves waits this long.
    Delay { unit: String, delay_ms: u32 },
}

impl NetFault {
    /// Checks what was asked for.
    pub fn check(&self, spec: &Spec) -> Result<()> {
        let unit = self.unit()?;
        if !spec.units().contains(&unit) {
            bail!(
                "{} is not part of this ground, which has {} nodes",
                unit.name(),
                spec.nodes
            );
        }
        match self {
            Self::Cut { from, .. } | Self::Port { from, .. } if from.is_empty() => {
                bail!("say from whom: all, api, client, node1 …")
            }
            Self::Port { port: 0, .. } => bail!("port 0 is nobody's"),
            Self::Cut { from, .. } | Self::Port { from, .. } => {
                from.iter().try_for_each(|peer| addresses(spec, peer).map(drop))
            }
            Self::Loss { percent, .. } if !(1..=100).contains(percent) => bail!("use 1 to 100 percent"),
            Self::Slow {
                kbit_per_second: 0, ..
            } => bail!("a rate of nothing is a cut: use that"),
            Self::Delay { delay_ms, .. } if !(1..=DELAY_MAX_MS).contains(delay_ms) => {
                bail!("use 1 to {DELAY_MAX_MS} ms")
            }
            Self::Loss { .. } | Self::Slow { .. } | Self::Delay { .. } => Ok(()),
        }
    }

    pub(super) fn unit(&self) -> Result<Unit> {
        let (Self::Cut { unit, .. }
        | Self::Port { unit, .. }
        | Self::Loss { unit, .. }
        | Self::Slow { unit, .. }
        | Self::Delay { unit, .. }) = self;
        Unit::parse(unit)
    }

    pub(super) fn id(&self) -> String {
        match self {
            Self::Cut {
                unit,
                from,
                direction,
            } => {
                format!(
                    "cut-{unit}-{}-{}",
                    from.join("+"),
                    format!("{direction:?}").to_lowercase()
                )
            }
            Self::Port {
                unit,
                port,
                from,
                direction,
            } => {
                format!(
                    "port-{unit}-{port}-{}-{}",
                    from.join("+"),
                    format!("{direction:?}").to_lowercase()
                )
            }
            Self::Loss { unit, .. } => format!("loss-{unit}"),
            Self::Slow { unit, .. } => format!("slow-{unit}"),
            Self::Delay { unit, .. } => format!("delay-{unit}"),
        }
    }
}

/// Makes the unit's packets fare as all its network faults on record say.
pub fn sync(ground: &Ground, unit: Unit) -> Result<()> {
    let spec = ground.spec();
    let faults: Vec<NetFault> = active(ground)?
        .into_iter()
        .filter_map(|fault| match fault {
            Fault::Net(net) if net.unit().is_ok_and(|own| own == unit) => Some(net),
            _ => None,
        })
        .collect();
    for fault in &faults {
        fault.check(spec)?;
    }
    enter(spec, unit, &["nft", "-f", "-"]).input(&rules(spec, &faults)?)?;
    let _ = enter(spec, unit, &["tc", "qdisc", "del", "dev", "eth0", "root"]).run();
    for fault in &faults {
        if let NetFault::Slow {
            kbit_per_second,
            queue_ms,
            ..
        } = fault
        {
            let (rate, latency) = (format!("{kbit_per_second}kbit"), format!("{queue_ms}ms"));
            let line = [
                "tc", "qdisc", "replace", "dev", "eth0", "root", "tbf", "rate", &rate, "burst", "8kb",
                "latency", &latency,
            ];
            enter(spec, unit, &line).run()?;
        }
    }
    let delay_ms = faults.iter().find_map(|fault| match fault {
        NetFault::Delay { delay_ms, .. } => Some(*delay_ms),
        _ => None,
    });
    super::delay::set(ground, unit, delay_ms)
}

/// The whole table, replaced at once. It looks at packets before any rewriting on their way in, and after
/// it on their way out: the addresses are those of real pods and nodes, never of Services.
fn rules(spec: &Spec, faults: &[NetFault]) -> Result<String> {
    let (mut arriving, mut leaving) = (Vec::new(), Vec::new());
    for fault in faults {
        match fault {
            NetFault::Cut { from, direction, .. } => {
                for peer in from {
                    let set = addresses(spec, peer)?;
                    let (source, target) = match set {
                        Some(set) => (format!(" ip saddr {{ {set} }}"), format!(" ip daddr {{ {set} }}")),
                        None => (String::new(), String::new()),
                    };
                    if *direction != Direction::Out {
                        arriving.push(format!("iifname eth0{source} counter drop"));
                    }
                    if *direction != Direction::In {
                        leaving.push(format!("oifname eth0{target} counter drop"));
                    }
                }
            }
            NetFault::Port {
                port,
                from,
                direction,
                ..
            } => {
                for peer in from {
                    let set = addresses(spec, peer)?;
                    let of = |side: &str| {
                        set.as_ref()
                            .map_or_else(String::new, |set| format!("ip {side} {{ {set} }} "))
                    };
                    // Both ends of a connection: whoever asked, and whoever answers.
                    for end in ["dport", "sport"] {
                        if *direction != Direction::Out {
                            arriving.push(format!("{}tcp {end} {port} counter drop", of("saddr")));
                        }
                        if *direction != Direction::In {
                            leaving.push(format!("{}tcp {end} {port} counter drop", of("daddr")));
                        }
                    }
                }
            }
            NetFault::Loss { percent, .. } => {
                let chance = format!("numgen random mod 100 < {percent} counter drop");
                arriving.push(format!("iifname eth0 {chance}"));
                leaving.push(format!("oifname eth0 {chance}"));
            }
            NetFault::Slow { .. } | NetFault::Delay { .. } => {}
        }
    }
    let mut text = format!("add table inet {TABLE}\ndelete table inet {TABLE}\n");
    if !arriving.is_empty() || !leaving.is_empty() {
        text.push_str(&format!(
            "table inet {TABLE} {{\n\
             chain arriving {{ type filter hook prerouting priority -400; policy accept;\n{}\n}}\n\
             chain leaving {{ type filter hook postrouting priority 400; policy accept;\n{}\n}}\n}}\n",
            arriving.join("\n"),
            leaving.join("\n")
        ));
    }
    Ok(text)
}

/// The addresses behind a peer's name; everybody has none to list.
fn addresses(spec: &Spec, peer: &str) -> Result<Option<String>> {
    match peer {
        "all" => Ok(None),
        "api" => Ok(Some(spec.api().to_string())),
        name => match Unit::parse(name)? {
            unit if !spec.units().contains(&unit) => bail!("{name} is not part of this ground"),
            Unit::Node(index) => Ok(Some(format!("{}, {}", spec.node(index), spec.pod_range(index)))),
            unit => Ok(Some(spec.unit_address(unit).to_string())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(from: &[&str], direction: Direction) -> NetFault {
        let from = from.iter().map(|peer| (*peer).to_owned()).collect();
        NetFault::Cut {
            unit: "node1".to_owned(),
            from,
            direction,
        }
    }

    #[test]
    fn a_cut_names_real_addresses_in_its_direction_only() {
        let spec = Spec::new("main", "10.97.0.0/16", 3).unwrap();
        let text = rules(&spec, &[cut(&["node2"], Direction::In)]).unwrap();
        assert!(
            text.contains("iifname eth0 ip saddr { 10.97.0.12, 10.97.102.0/24 } counter drop"),
            "{text}"
        );
        assert!(!text.contains("oifname"), "{text}");
        let text = rules(&spec, &[cut(&["all"], Direction::Both)]).unwrap();
        assert!(text.contains("oifname eth0 counter drop"), "{text}");
    }

    #[test]
    fn a_port_is_cut_for_who_asks_and_for_who_answers() {
        let spec = Spec::new("main", "10.97.0.0/16", 3).unwrap();
        let port = |from: &str, direction| NetFault::Port {
            unit: "node1".to_owned(),
            port: 3306,
            from: vec![from.to_owned()],
            direction,
        };
        let text = rules(&spec, &[port("node2", Direction::Out)]).unwrap();
        for end in ["dport", "sport"] {
            let line = format!("ip daddr {{ 10.97.0.12, 10.97.102.0/24 }} tcp {end} 3306 counter drop");
            assert!(text.contains(&line), "{text}");
        }
        assert!(!text.contains("saddr"), "{text}");
        let text = rules(&spec, &[port("all", Direction::Both)]).unwrap();
        assert!(text.contains("\ntcp dport 3306 counter drop"), "{text}");
        assert_eq!(port("all", Direction::In).id(), "port-node1-3306-all-in");
    }

    #[test]
    fn without_faults_the_table_is_gone() {
        let spec = Spec::new("main", "10.97.0.0/16", 3).unwrap();
        assert!(!rules(&spec, &[]).unwrap().contains("chain"));
    }

    #[test]
    fn what_cannot_be_cut_is_refused() {
        let spec = Spec::new("main", "10.97.0.0/16", 3).unwrap();
        assert!(cut(&[], Direction::Both).check(&spec).is_err());
        assert!(cut(&["node7"], Direction::Both).check(&spec).is_err());
        assert!(cut(&["elsewhere"], Direction::Both).check(&spec).is_err());
        assert!(
            NetFault::Loss {
                unit: "node1".to_owned(),
                percent: 0
            }
            .check(&spec)
            .is_err()
        );
    }
}
