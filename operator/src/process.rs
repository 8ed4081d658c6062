//! What subcommands begin with: logs, the TLS provider, a runtime.
//! Must not be run twice in a process.

use std::io;

use kit::telemetry;
use rustls::crypto::aws_lc_rs;
use tokio::runtime::{Builder, Runtime};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to begin a log")]
    Telemetry(#[from] telemetry::Error),
    #[error("failed to install the TLS provider: there is one already")]
    Provider,
    #[error("failed to start a runtime")]
    Runtime(#[source] io::Error),
}

/// First of all: whoever speaks TLS later finds its provider, and whoever fails a log.
pub fn prepare() -> Result<(), Error> {
    telemetry::init(&telemetry::filter())?;
    provider()
}

fn provider() -> Result<(), Error> {
    let provider = aws_lc_rs::default_provider();
    provider.install_default().map_err(|_| Error::Provider)
}

/// For a subcommand that prints to a person and ends: no log, one thread.
pub fn begin_quietly() -> Result<Runtime, Error> {
    provider()?;
    Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)
}

/// The same, and a runtime.
pub fn begin() -> Result<Runtime, Error> {
    prepare()?;
    Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)
}
