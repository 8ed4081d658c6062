//! The one binary: reads its arguments and runs the subcommand they name.
//! Must not hold logic: a subcommand is one call.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::{Parser, Subcommand};
use holdfast::controller::{self, ControllerOptions};
use holdfast::definitions;
use holdfast::instance::{self, InstanceOptions};

/// MySQL clusters on Kubernetes that never lose an acknowledged write.
#[derive(Parser)]
#[command(name = "holdfast", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Look after MySQLClusters: what the operator's own Pods run
    Controller(Box<ControllerOptions>),
    /// Run mysqld as one member of a cluster: what members' Pods run
    Instance(Box<InstanceOptions>),
    /// Copy this program into a folder, as `holdfast`
    Copy {
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
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
        Command::Controller(options) => controller::run(*options).map_err(Into::into),
        Command::Instance(options) => instance::run(*options).map_err(Into::into),
        Command::Copy { folder } => instance::copy(&folder).map_err(Into::into),
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
