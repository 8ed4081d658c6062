//! The one binary: reads its arguments and runs the subcommand they name.
//! Must not hold logic: a subcommand is one call.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use controllers::says;
use holdfast::controller::{self, ControllerOptions};
use holdfast::decide::{self, DecideOptions};
use holdfast::instance::{self, InstanceOptions};
use holdfast::status::{self, StatusOptions};
use holdfast::{definitions, output};

/// Of subcommands whose 1 is an answer; clap ends so too.
const FAILED: u8 = 2;

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
    /// Print how a cluster is, why, and what to type next; exit code 0 if it is ready, 1 if not, 2 on errors
    Status(StatusOptions),
    /// Print what is decided about a captured look at a cluster, and why
    Decide(DecideOptions),
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

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    let failed = match command {
        Command::Status(_) | Command::Decide(_) => ExitCode::from(FAILED),
        _ => ExitCode::FAILURE,
    };
    run(command).unwrap_or_else(|error| {
        eprintln!("Error: {}", says::chain(error.as_ref()));
        failed
    })
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Controller(options) => controller::run(*options)?,
        Command::Instance(options) => instance::run(*options)?,
        Command::Status(options) => return Ok(status::run(&options)?),
        Command::Decide(options) => return Ok(decide::run(&options)?),
        Command::Copy { folder } => instance::copy(&folder)?,
        Command::Crds { write: Some(folder) } => definitions::write(&folder)?,
        Command::Crds { write: None } => output::print(&definitions::stream()?)?,
        Command::Version => output::print(concat!(env!("CARGO_PKG_VERSION"), "\n"))?,
    }
    Ok(ExitCode::SUCCESS)
}
