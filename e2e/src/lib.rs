//! Stories told on a real Kubernetes: each makes a claim of the README true or fails.
//! Must not hold what other programs could need: faults are the ground's, the judge is the checker's.

pub mod audit;
pub mod cluster;
pub mod figures;
pub mod fixtures;
pub mod gate;
pub mod harm;
pub mod install;
pub mod load;
pub mod operator;
pub mod pair;
mod reading;
pub mod stage;
pub mod stories;
