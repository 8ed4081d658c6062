//! Tells what a proving ground is doing, verdict first.
//! Must not change anything.

use std::fmt::Write as _;

use anyhow::Result;

use crate::ground::Ground;
use crate::spec::Unit;
use crate::{cgroup, faults, machine, up};

/// A page for people: is it well, what runs, what it uses, which faults are in force, where the logs are.
pub fn page(ground: &Ground) -> Result<String> {
    let spec = ground.spec();
    let in_force = faults::active(ground)?;
    let ready = up::ready_nodes(ground);
    let verdict = match &ready {
        Ok(count) if *count == usize::from(spec.nodes) && in_force.is_empty() => "well".to_owned(),
        Ok(count) => format!(
            "{count} of {} nodes Ready, {} faults in force",
            spec.nodes,
            in_force.len()
        ),
        Err(_) => "the API server does not answer".to_owned(),
    };
    let mut text = format!("{}: {verdict}\n", spec.name);
    writeln!(text, "api         https://{}:6443", spec.api())?;
    writeln!(text, "kubeconfig  {}", ground.paths.kubeconfig().display())?;
    writeln!(text, "logs        {}/UNIT/log/", ground.paths.root().display())?;
    writeln!(
        text,
        "\n{:<14} {:<12} {:<7} {:>10}  processes",
        "unit", "address", "", "memory"
    )?;
    let mut total = 0;
    for unit in spec.units() {
        let (memory, names) = usage(ground, unit)?;
        total += memory;
        let state = if machine::init_pid(spec, unit)?.is_some() {
            "up"
        } else {
            "DOWN"
        };
        let (name, address) = (unit.name(), spec.unit_address(unit).to_string());
        writeln!(
            text,
            "{name:<14} {address:<12} {state:<7} {:>7} MB  {}",
            memory / 1_000_000,
            names.join(" ")
        )?;
    }
    writeln!(
        text,
        "{:<14} {:<12} {:<7} {:>7} MB",
        "in all",
        "",
        "",
        total / 1_000_000
    )?;
    if !in_force.is_empty() {
        writeln!(
            text,
            "\nfaults in force (`cargo ground heal ID`, or `heal --all`):"
        )?;
        for fault in in_force {
            writeln!(text, "  {}", fault.id())?;
        }
    }
    Ok(text)
}

/// The proportional memory of a unit's own processes and pods, and the names of the former.
fn usage(ground: &Ground, unit: Unit) -> Result<(u64, Vec<String>)> {
    let group = machine::group(ground.spec(), unit);
    let mut names = Vec::new();
    let mut bytes = 0;
    for pid in cgroup::processes(&format!("{group}/system"))? {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let name = name.trim().to_owned();
        if !matches!(name.as_str(), "ground" | "unshare" | "sh") && !names.contains(&name) {
            names.push(name);
        }
    }
    for pid in cgroup::processes(&group)? {
        bytes += proportional_bytes(pid.as_raw());
    }
    Ok((bytes, names))
}

/// Pages shared by several processes count by their share: all programs here are one file.
fn proportional_bytes(pid: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kilobytes = line
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|word| word.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
