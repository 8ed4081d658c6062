//! A validated cluster as the Kubernetes objects that make it up.
//! Must not do IO, read a clock or draw random numbers: the same input gives the same objects.

pub mod bundle;
pub mod cluster;
pub mod endpoints;
pub mod names;
pub mod pod;
pub mod quantity;
pub mod record;
pub mod secrets;
mod services;
pub mod volume;

pub use bundle::{Bundle, Inputs, bundle};
pub use cluster::{Cluster, Unfit};
pub use endpoints::endpoint_slice;
pub use pod::{pod, replication_port, template_hash, template_of};
pub use secrets::server_names;
pub use volume::volume_claim;
