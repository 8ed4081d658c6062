//! Owns the proof of this crate against real mysqlds: what they answer, and how long it takes.
//! It must not pass where there is no mysqld.
#![cfg(test)]

mod deadlines;
mod gtid;
mod heal;
mod pair;
mod server;
mod users;
mod waiters;

use std::sync::{Mutex, PoisonError};

/// Two cores: one test at a time.
static ONE: Mutex<()> = Mutex::new(());

fn block_on<F: Future>(future: F) -> F::Output {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    tokio::runtime::Runtime::new().unwrap().block_on(future)
}
