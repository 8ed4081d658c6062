//! The one binary: reads its arguments and runs the subcommand they name.
//! Must not hold logic: a subcommand is one call.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::{Parser, Subcommand};
use holdfast::definitions;

/// MySQL clusters on Kubernetes that never lose an acknowledged write.
#[derive(Parser)]
#[command(name = "holdfast", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the custom resource definitions: holdfast crds | kubectl apply --server-side -f -
    Crds {
        /// Write one file a kind into this folder instead
        #[arg(long, value_name = "DIR")]
        write: Option<PathBuf>,
    },
    /// Print the version
    Version,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Crds { write: Some(folder) } => definitions::write(&folder).map_err(Into::into),
        Command::Crds { write: None } => print(&definitions::stream()?),
        Command::Version => print(concat!(env!("CARGO_PKG_VERSION"), "\n")),
    }
}

/// A closed pipe, as behind `| head`, is an error of the reader and worth its message, not a panic.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("failed to print")
}
