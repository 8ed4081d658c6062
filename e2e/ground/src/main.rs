//! The command line of the proving ground.
//! Must not do the work: every command is one call into the library.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use ground::progress::Progress;
use ground::spec::Spec;
use ground::{down, init, up};

#[derive(Parser)]
#[command(about = "A real Kubernetes of several nodes on this machine, and faults for it")]
struct Cli {
    /// Which proving ground; several can stand side by side.
    #[arg(long, global = true, default_value = "main")]
    name: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Installs what is needed and leaves a running Kubernetes.
    Up {
        /// How many nodes.
        #[arg(long, default_value_t = 3)]
        nodes: u8,
        /// Its own private /16.
        #[arg(long, default_value = "10.97.0.0/16")]
        net: String,
    },
    /// Takes it down and leaves nothing behind.
    Down,
    #[command(hide = true)]
    Init { boot: PathBuf },
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    let name = cli.name;
    match cli.command {
        Command::Up { nodes, net } => {
            let progress = Progress::start();
            up::up(&Spec::new(&name, &net, nodes)?, &progress)?;
            println!("{}", progress.table());
        }
        Command::Down => down::down(&name)?,
        Command::Init { boot } => init::run(&boot)?,
    }
    Ok(ExitCode::SUCCESS)
}
