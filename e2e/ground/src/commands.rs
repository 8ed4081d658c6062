//! The commands that make and end faults, as a person types them.
//! Must not do more than turn words into faults.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use nix::sys::signal::Signal;

use crate::faults::net::Direction;
use crate::faults::{self, Disk, DiskFault, Fault, NetFault, pod};
use crate::ground::Ground;
use crate::spec::Unit;

/// A pod.
#[derive(Args, Clone, Debug)]
pub struct PodArgs {
    /// The pod's namespace.
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// The pod's name.
    pod: String,
}

/// A volume of a pod.
#[derive(Args, Clone, Debug)]
pub struct DiskArgs {
    #[command(flatten)]
    pod: PodArgs,
    /// Which volume, if the pod has several.
    #[arg(long)]
    volume: Option<String>,
}

/// Every fault that can be typed.
#[derive(Subcommand, Clone, Debug)]
pub enum FaultCommand {
    /// Drop a node's packets: from everybody, the API server, or named units.
    Cut {
        unit: String,
        /// all, api, client, node1 …; several with commas.
        #[arg(long, value_delimiter = ',', default_value = "all")]
        from: Vec<String>,
        /// As seen from the node.
        #[arg(long, value_enum, default_value = "both")]
        direction: Direction,
    },
    /// Drop a node's packets of one TCP port only.
    Port {
        unit: String,
        port: u16,
        /// all, api, client, node1 …; several with commas.
        #[arg(long, value_delimiter = ',', default_value = "all")]
        from: Vec<String>,
        /// As seen from the node.
        #[arg(long, value_enum, default_value = "both")]
        direction: Direction,
    },
    /// Drop a share of a node's packets, each way.
    Loss { unit: String, percent: u8 },
    /// Hold what leaves a node to a rate; what queues longer is dropped.
    Slow {
        unit: String,
        kbit_per_second: u32,
        #[arg(long, default_value_t = 1000)]
        queue_ms: u32,
    },
    /// Hold every packet that leaves a node for a time.
    Delay { unit: String, delay_ms: u32 },
    /// Cut a node's power: all its processes end, its disk stays.
    NodeDown { unit: String },
    /// Stop the API server.
    ApiDown,
    /// Stop one process of a unit and keep it stopped.
    ProcessDown { unit: String, process: String },
    /// Freeze processes of a pod (SIGSTOP).
    Pause {
        #[command(flatten)]
        pod: PodArgs,
        /// Only processes of this name.
        #[arg(long)]
        process: Option<String>,
    },
    /// Drop what a pod sends and gets on one TCP port, at whichever end the port is.
    PodPort {
        #[command(flatten)]
        pod: PodArgs,
        port: u16,
        /// Addresses of other pods; several with commas; without it from everybody.
        #[arg(long, value_delimiter = ',')]
        from: Vec<Ipv4Addr>,
    },
    /// Fill a pod's volume to the last byte.
    DiskFull(DiskArgs),
    /// Make a pod's volume read-only by an error of its file system.
    DiskReadOnly(DiskArgs),
    /// Make every write to a pod's volume hang.
    DiskFrozen(DiskArgs),
    /// Hold a pod's volume to a rate.
    DiskSlow {
        #[command(flatten)]
        disk: DiskArgs,
        #[arg(long)]
        bytes_per_second: u64,
    },
    /// Drop what was never synced to a pod's volume, as a power cut does.
    DiskPowerLost(DiskArgs),
}

impl FaultCommand {
    /// The fault that was typed, checked against the ground.
    pub fn fault(self, ground: &Ground) -> Result<Fault> {
        let disk = |args: &DiskArgs, fault: DiskFault| -> Result<Fault> {
            let PodArgs { namespace, pod } = &args.pod;
            Ok(Fault::Disk {
                disk: Disk::of_pod(ground, namespace, pod, args.volume.as_deref())?,
                fault,
            })
        };
        if let Some(net) = self.net() {
            net.check(ground.spec())?;
            return Ok(Fault::Net(net));
        }
        match self {
            Self::NodeDown { unit } => Ok(Fault::UnitDown {
                unit: known(ground, &unit)?.name(),
            }),
            Self::ApiDown => Ok(Fault::api_down()),
            Self::ProcessDown { unit, process } => Ok(Fault::ProcessDown {
                unit: known(ground, &unit)?.name(),
                process,
            }),
            Self::Pause {
                pod: PodArgs { namespace, pod },
                process,
            } => Fault::pause(ground, &namespace, &pod, process.as_deref()),
            Self::PodPort {
                pod: PodArgs { namespace, pod },
                port,
                from,
            } => Fault::port(ground, &namespace, &pod, port, from),
            Self::DiskFull(args) => disk(&args, DiskFault::Full),
            Self::DiskReadOnly(args) => disk(&args, DiskFault::ReadOnly),
            Self::DiskFrozen(args) => disk(&args, DiskFault::Frozen),
            Self::DiskSlow {
                disk: args,
                bytes_per_second,
            } => {
                if bytes_per_second == 0 {
                    bail!("a rate of nothing would be a frozen disk: use disk-frozen");
                }
                disk(&args, DiskFault::Slow { bytes_per_second })
            }
            Self::DiskPowerLost(args) => disk(&args, DiskFault::PowerLost),
            Self::Cut { .. }
            | Self::Port { .. }
            | Self::Loss { .. }
            | Self::Slow { .. }
            | Self::Delay { .. } => bail!("a fault of the network is none of one pod"),
        }
    }

    /// A fault of a whole unit's network.
    fn net(&self) -> Option<NetFault> {
        Some(match self.clone() {
            Self::Cut {
                unit,
                from,
                direction,
            } => NetFault::Cut {
                unit,
                from,
                direction,
            },
            Self::Port {
                unit,
                port,
                from,
                direction,
            } => NetFault::Port {
                unit,
                port,
                from,
                direction,
            },
            Self::Loss { unit, percent } => NetFault::Loss { unit, percent },
            Self::Slow {
                unit,
                kbit_per_second,
                queue_ms,
            } => NetFault::Slow {
                unit,
                kbit_per_second,
                queue_ms,
            },
            Self::Delay { unit, delay_ms } => NetFault::Delay { unit, delay_ms },
            _ => return None,
        })
    }
}

fn known(ground: &Ground, name: &str) -> Result<Unit> {
    let unit = Unit::parse(name)?;
    if !ground.spec().units().contains(&unit) {
        bail!(
            "{name} is not part of this ground, which has {} nodes",
            ground.spec().nodes
        );
    }
    Ok(unit)
}

impl Fault {
    /// The API server stopped.
    pub fn api_down() -> Self {
        Self::ProcessDown {
            unit: Unit::Control.name(),
            process: "kube-apiserver".to_owned(),
        }
    }

    /// Processes of a pod frozen.
    pub fn pause(ground: &Ground, namespace: &str, name: &str, process: Option<&str>) -> Result<Self> {
        let found = pod::find(ground, namespace, name)?;
        let pids = pod::processes(ground, &found, process)?;
        if pids.is_empty() {
            bail!("pod {name} has no process {}", process.unwrap_or("at all"));
        }
        Ok(Self::Paused {
            unit: found.unit.name(),
            pids,
        })
    }
}

/// Sends a signal, by its name with or without SIG, to processes of a pod.
pub fn signal(ground: &Ground, args: &PodArgs, process: Option<&str>, name: &str) -> Result<usize> {
    let upper = name.trim_start_matches("SIG").to_uppercase();
    let signal: Signal = format!("SIG{upper}")
        .parse()
        .ok()
        .with_context(|| format!("{name:?} is no signal"))?;
    let found = pod::find(ground, &args.namespace, &args.pod)?;
    pod::signal(ground, &found, process, signal)
}

/// Ends the faults with these ids.
pub fn heal(ground: &Ground, ids: &[String]) -> Result<()> {
    let active = faults::active(ground)?;
    for id in ids {
        let found = active.iter().find(|fault| fault.id() == *id);
        found
            .with_context(|| format!("no fault {id:?} is in force: see `cargo ground faults`"))?
            .heal(ground)?;
    }
    Ok(())
}
