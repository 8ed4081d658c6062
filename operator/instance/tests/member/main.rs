//! Owns the proof of the agent against real mysqlds: the shipped program, PID 1 of its own namespace.
//! It must not pass where there is no mysqld.
#![cfg(test)]

#[path = "../../../sql/tests/support/client.rs"]
mod client;
mod cloning;
mod controller;

mod ending;
mod files;
mod founding;
mod freezing;
mod place;
mod recovery;
mod rejoin;
mod settings;
mod takeover;

use std::sync::{Mutex, PoisonError};

/// Two cores: one test at a time.
static ONE: Mutex<()> = Mutex::new(());

fn block_on<F: Future>(future: F) -> F::Output {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    tokio::runtime::Runtime::new().unwrap().block_on(future)
}
