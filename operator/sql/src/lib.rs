//! All SQL of the operator: facts about one server, and statements that change it.
//! Must not judge what a fact means for a cluster, and must not wait without a deadline.

pub mod clone;
pub mod connect;
pub mod epoch;
mod error;
pub mod parameters;
pub mod quote;
pub mod replication;
pub mod roles;
mod row;
pub mod settings;
pub mod status;
pub mod tls;
pub mod users;
pub mod version;

pub use connect::{Deadline, Secret, Session};
pub use error::Error;
