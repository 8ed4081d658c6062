//! What kit promises about the Kubernetes API, shown on a real API server.
//! Must not need nodes or controllers, nor leave anything behind but namespaces going away.
//!
//! Runs only when named, with KUBECONFIG set: `cargo test -p kit --test api_server`.

#![cfg(test)]

mod apply;
mod lease;
mod proxy;
mod world;
mod writes;
