//! How much of what a member gets: processors, memory, storage.
//! Must not spell: amounts are whole numbers until an object is made of them.

use crds::cluster::{MySQLClusterSpec, Quantities};

use super::{Unfit, refuse};
use crate::quantity;

const CPU_MILLIS: u64 = 100;
const MEMORY_BYTES: u64 = 1 << 30;
const MEMORY_LEAST_BYTES: u64 = 512 << 20;
const STORAGE_LEAST_BYTES: u64 = 1 << 30;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    pub cpu_request_millis: u64,
    /// Absent unless asked for: it slows commits and failovers down.
    pub cpu_limit_millis: Option<u64>,
    pub memory_request_bytes: u64,
    /// The limit, which there always is: the buffer pool follows it.
    pub memory_bytes: u64,
    pub storage_bytes: u64,
}

pub(super) fn read(spec: &MySQLClusterSpec, faults: &mut Vec<Unfit>) -> Sizes {
    let resources = spec.resources.clone().unwrap_or_default();
    let requests = resources.requests.unwrap_or_default();
    let limits = resources.limits.unwrap_or_default();
    let (cpu_request, memory_request) = both(&requests, "spec.resources.requests", faults);
    let (cpu_limit, memory_limit) = both(&limits, "spec.resources.limits", faults);
    // What is not asked for follows its limit, as in any Pod.
    let cpu_request_millis = cpu_request.or(cpu_limit).unwrap_or(CPU_MILLIS);
    let memory_bytes = memory_limit.or(memory_request).unwrap_or(MEMORY_BYTES);
    let memory_request_bytes = memory_request.unwrap_or(memory_bytes);
    if cpu_limit.is_some_and(|limit| limit < cpu_request_millis) {
        let what = "it must not be below requests.cpu";
        refuse(faults, "spec.resources.limits.cpu", what);
    }
    if cpu_limit == Some(0) {
        refuse(
            faults,
            "spec.resources.limits.cpu",
            "it must be above 0, or left out",
        );
    }
    if memory_bytes < memory_request_bytes {
        let what = "it must not be below requests.memory";
        refuse(faults, "spec.resources.limits.memory", what);
    }
    if memory_bytes < MEMORY_LEAST_BYTES {
        let what = "it must be at least 512Mi: mysqld with its agent does not live on less";
        refuse(faults, "spec.resources.limits.memory", what);
    }
    let field = "spec.storage.size";
    let storage_bytes = amount(Some(&spec.storage.size), field, quantity::bytes, faults).unwrap_or_default();
    if storage_bytes < STORAGE_LEAST_BYTES && !faults.iter().any(|fault| fault.field == field) {
        refuse(faults, field, "it must be at least 1Gi");
    }
    Sizes {
        cpu_request_millis,
        cpu_limit_millis: cpu_limit,
        memory_request_bytes,
        memory_bytes,
        storage_bytes,
    }
}

fn both(wanted: &Quantities, field: &str, faults: &mut Vec<Unfit>) -> (Option<u64>, Option<u64>) {
    let cpu = amount(
        wanted.cpu.as_ref(),
        &format!("{field}.cpu"),
        quantity::millis,
        faults,
    );
    let memory = amount(
        wanted.memory.as_ref(),
        &format!("{field}.memory"),
        quantity::bytes,
        faults,
    );
    (cpu, memory)
}

fn amount(
    text: Option<&String>,
    field: &str,
    read: fn(&str) -> Result<u64, quantity::Error>,
    faults: &mut Vec<Unfit>,
) -> Option<u64> {
    let text = text?;
    match read(text) {
        Ok(amount) => Some(amount),
        Err(quantity::Error::TooLarge) => {
            refuse(
                faults,
                field,
                format!("{text} is more than any machine has: lower it"),
            );
            None
        }
        Err(quantity::Error::NotOne) => {
            let what = format!("{text} is not a quantity: write a number with a unit");
            refuse(faults, field, what);
            None
        }
    }
}
