//! Faults in force on a ground: written down before they are made, undone one by one or all at once.
//! Must not judge what a fault does to a workload.

pub mod delay;
pub mod disk;
pub mod net;
pub mod pod;
pub mod port;

use std::fs;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::ground::Ground;
use crate::spec::Unit;
use crate::{machine, up};

pub use disk::{Disk, DiskFault};
pub use net::NetFault;
pub use port::Port;

/// A fault that stays until it is undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// Packets of a unit are dropped or held back.
    Net(NetFault),
    /// A unit lost its power: all its processes are gone, its disk is kept.
    UnitDown { unit: String },
    /// One of a unit's own processes is stopped and stays so.
    ProcessDown { unit: String, process: String },
    /// Processes of a pod are frozen by SIGSTOP.
    Paused { unit: String, pids: Vec<i32> },
    /// One TCP port of a pod is cut, in the pod's own network.
    Port(Port),
    /// A volume misbehaves.
    Disk { disk: Disk, fault: DiskFault },
}

impl Fault {
    /// A short name for the record, the same for the same fault.
    pub fn id(&self) -> String {
        match self {
            Self::Net(net) => net.id(),
            Self::UnitDown { unit } => format!("down-{unit}"),
            Self::ProcessDown { unit, process } => format!("process-{unit}-{process}"),
            Self::Paused { unit, pids } => {
                format!("paused-{unit}-{}", pids.first().copied().unwrap_or_default())
            }
            Self::Port(port) => port.id(),
            Self::Disk { disk, fault } => format!("{}-{}", fault.id(), disk.handle),
        }
    }

    /// Makes the fault; it is on record from before its first effect.
    pub fn inject(self, ground: &Ground) -> Result<Injected> {
        fs::create_dir_all(ground.paths.faults())?;
        let record = ground.paths.faults().join(format!("{}.json", self.id()));
        if record.exists() {
            bail!(
                "the fault {} is in force already: `cargo ground heal {}` ends it",
                self.id(),
                self.id()
            );
        }
        fs::write(&record, serde_json::to_vec_pretty(&self)?)?;
        let injected = Injected {
            ground: ground.clone(),
            fault: self,
            healed: false,
        };
        injected
            .apply()
            .with_context(|| format!("failed to inject {}", injected.fault.id()))?;
        Ok(injected)
    }

    /// Ends the fault and takes it off the record; harmless if it is not in force.
    pub fn heal(&self, ground: &Ground) -> Result<()> {
        self.undo(ground)
            .with_context(|| format!("failed to undo {}", self.id()))?;
        let record = ground.paths.faults().join(format!("{}.json", self.id()));
        crate::cache::remove(&record)?;
        match self {
            // What is dropped derives from the records: this one has just gone.
            Self::Net(net) => net::sync(ground, net.unit()?),
            _ => Ok(()),
        }
    }

    fn undo(&self, ground: &Ground) -> Result<()> {
        match self {
            Self::Net(_) => Ok(()),
            Self::UnitDown { unit } => {
                let unit = Unit::parse(unit)?;
                if machine::init_pid(ground.spec(), unit)?.is_none() {
                    up::revive(ground, unit)?;
                }
                Ok(())
            }
            Self::ProcessDown { unit, process } => {
                crate::cache::remove(&ground.paths.holds(Unit::parse(unit)?).join(process))
            }
            Self::Paused { unit, pids } => pod::resume(ground, Unit::parse(unit)?, pids),
            Self::Port(port) => port.undo(ground),
            Self::Disk { disk, fault } => fault.undo(ground, disk),
        }
    }
}

/// A fault in force; dropping it undoes it, so that a failing test leaves none.
pub struct Injected {
    ground: Ground,
    fault: Fault,
    healed: bool,
}

impl Injected {
    fn apply(&self) -> Result<()> {
        let ground = &self.ground;
        match &self.fault {
            Fault::Net(net) => net::sync(ground, net.unit()?),
            Fault::UnitDown { unit } => machine::kill(ground.spec(), Unit::parse(unit)?),
            Fault::ProcessDown { unit, process } => hold(ground, Unit::parse(unit)?, process),
            Fault::Paused { pids, .. } => pod::pause(pids),
            Fault::Port(port) => port.apply(ground),
            Fault::Disk { disk, fault } => fault.apply(ground, disk),
        }
    }

    /// Ends the fault and tells if that failed, which dropping cannot.
    pub fn heal(mut self) -> Result<()> {
        self.healed = true;
        self.fault.heal(&self.ground)
    }

    /// Leaves the fault in force after this value is gone.
    pub fn keep(mut self) -> Fault {
        self.healed = true;
        self.fault.clone()
    }
}

impl Drop for Injected {
    fn drop(&mut self) {
        if !self.healed
            && let Err(error) = self.fault.heal(&self.ground)
        {
            eprintln!("failed to undo {}: {error:#}", self.fault.id());
        }
    }
}

/// Every fault on record.
pub fn active(ground: &Ground) -> Result<Vec<Fault>> {
    let Ok(entries) = fs::read_dir(ground.paths.faults()) else {
        return Ok(Vec::new());
    };
    let mut faults = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let text = fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
        faults.push(
            serde_json::from_slice(&text).with_context(|| format!("failed to parse {}", path.display()))?,
        );
    }
    faults.sort_by_key(Fault::id);
    Ok(faults)
}

/// Ends every fault on record: first the units, for disks and processes live on them.
pub fn heal_all(ground: &Ground) -> Result<usize> {
    let mut faults = active(ground)?;
    faults.sort_by_key(|fault| !matches!(fault, Fault::UnitDown { .. } | Fault::ProcessDown { .. }));
    for fault in &faults {
        fault.heal(ground)?;
    }
    Ok(faults.len())
}

/// Keeps one of the unit's own processes down; PID 1 of the unit looks for the file before a restart.
fn hold(ground: &Ground, unit: Unit, process: &str) -> Result<()> {
    if process.contains('/') {
        bail!("{process:?} is no process of {}", unit.name());
    }
    fs::write(ground.paths.holds(unit).join(process), "")?;
    let Some(pid) = machine::process_pid(ground.spec(), unit, process)? else {
        bail!("{} has no process {process:?} running", unit.name());
    };
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL)
        .with_context(|| format!("failed to kill {process}"))
}
