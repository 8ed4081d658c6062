//! What should happen next to a cluster, and why, as functions of what was seen.
//! Must not do IO, read a clock, draw random numbers or know Kubernetes and SQL.

pub mod assignment;
pub mod calm;
pub mod capture;
pub mod check;

pub mod decide;
pub mod decision;
pub mod gtid;
pub mod observed;
pub mod record;
pub mod report;
pub mod say;
pub mod term;
#[cfg(test)]
mod testing;
pub mod watch;
