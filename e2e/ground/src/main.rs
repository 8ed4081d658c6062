//! The command line of the proving ground.
//! Must not do the work: every command is one call into the library.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};

use ground::commands::{self, FaultCommand, PodArgs};
use ground::ground::{Ground, names};
use ground::progress::Progress;
use ground::spec::{Spec, Unit};
use ground::{down, faults, images, init, logs, network, preflight, prove, status, up};

#[derive(Parser)]
#[command(
    name = "cargo ground",
    about = "A real Kubernetes of several nodes on this machine, and faults for it"
)]
struct Cli {
    /// Which proving ground; several can stand side by side.
    #[arg(long, global = true, default_value = "main")]
    name: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what is needed and leave a running Kubernetes.
    Up {
        /// How many nodes; more than now adds some.
        #[arg(long, default_value_t = 3)]
        nodes: u8,
        /// Its own private /16.
        #[arg(long, default_value = "10.97.0.0/16")]
        net: String,
    },
    /// Take it down and leave nothing behind.
    Down,
    /// Say whether it is well, what runs and what it uses.
    Status,
    /// The names of all proving grounds on this machine.
    List,
    /// kubectl with the right kubeconfig.
    #[command(trailing_var_arg = true, disable_help_flag = true)]
    Kubectl {
        #[arg(allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// A shell, or one command, outside all nodes but with Services and kubectl.
    #[command(trailing_var_arg = true)]
    Shell {
        #[arg(allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// List the logs, or show one.
    Logs {
        unit: Option<String>,
        log: Option<String>,
        #[arg(short, long)]
        follow: bool,
    },
    /// Build the operator's image again and give it to all nodes.
    Load,
    /// Make a fault; it stays until it is healed.
    #[command(subcommand)]
    Fault(FaultCommand),
    /// The faults in force.
    Faults,
    /// End faults.
    Heal {
        ids: Vec<String>,
        #[arg(long)]
        all: bool,
    },
    /// Send a signal to a pod's processes (KILL, TERM …).
    Signal {
        signal: String,
        #[command(flatten)]
        pod: PodArgs,
        /// Only processes of this name.
        #[arg(long)]
        process: Option<String>,
    },
    /// Run every check of the repository, on a proving ground of its own.
    Prove,
    /// Whatever is left on this machine of a proving ground; nothing after `down`.
    Remains,
    #[command(hide = true)]
    Init { boot: PathBuf },
    #[command(hide = true)]
    Delay { delay_ms: u64 },
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
        Command::Up { nodes, net } => bring_up(&Spec::new(&name, &net, nodes)?)?,
        Command::Down => down::down(&name)?,
        Command::List => names().iter().for_each(|name| println!("{name}")),
        Command::Remains => return remains(&name),
        Command::Init { boot } => init::run(&boot)?,
        Command::Delay { delay_ms } => faults::delay::run(Duration::from_millis(delay_ms))?,
        Command::Prove => {
            return Ok(if prove::prove()? {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
        other => {
            preflight::check_root()?;
            return with_ground(&Ground::open(&name)?, other);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn bring_up(spec: &Spec) -> Result<()> {
    let progress = Progress::start();
    let ground = up::up(spec, &progress)?;
    println!("{}\n\n{}", progress.table(), status::page(&ground)?);
    Ok(())
}

fn remains(name: &str) -> Result<ExitCode> {
    let left = down::remains(name)?;
    left.iter().for_each(|line| println!("{line}"));
    Ok(if left.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn with_ground(ground: &Ground, command: Command) -> Result<ExitCode> {
    match command {
        Command::Status => print!("{}", status::page(ground)?),
        Command::Kubectl { args } => return code(ground.kubectl(args).attached()?),
        Command::Shell { command } => return shell(ground, command),
        Command::Logs {
            unit: Some(unit),
            log: Some(log),
            follow,
        } => {
            return code(logs::show(ground, Unit::parse(&unit)?, &log, follow)?);
        }
        Command::Logs { unit, .. } => logs::list(ground)?
            .iter()
            .filter(|row| {
                unit.as_ref()
                    .is_none_or(|unit| row.split(' ').next() == Some(unit))
            })
            .for_each(|row| println!("{row}")),
        Command::Load => println!("{}", images::load(ground)?),
        Command::Fault(fault) => println!("{}", fault.fault(ground)?.inject(ground)?.keep().id()),
        Command::Faults => faults::active(ground)?
            .iter()
            .for_each(|fault| println!("{}", fault.id())),
        Command::Heal { all: true, .. } => println!("{} healed", faults::heal_all(ground)?),
        Command::Heal { ids, all: false } if ids.is_empty() => bail!("say which, or --all"),
        Command::Heal { ids, all: false } => commands::heal(ground, &ids)?,
        Command::Signal { signal, pod, process } => {
            println!(
                "{} processes",
                commands::signal(ground, &pod, process.as_deref(), &signal)?
            );
        }
        // These need no ground that is up.
        Command::Up { .. } | Command::Down | Command::List | Command::Remains => {}
        Command::Prove | Command::Init { .. } | Command::Delay { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Becomes the shell, so that its signals and exit code are its own.
fn shell(ground: &Ground, command: Vec<String>) -> Result<ExitCode> {
    let program = std::env::var("SHELL").unwrap_or_else(|_| "/bin/sh".to_owned());
    let argv = if command.is_empty() {
        vec![program]
    } else {
        command
    };
    let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut shell = network::enter(ground.spec(), Unit::Client, &argv)
        .env("KUBECONFIG", ground.paths.kubeconfig())
        .env("PATH", format!("{}:{path}", ground.paths.bin().display()))
        .into_inner();
    shell.stdin(std::process::Stdio::inherit());
    Err(shell.exec().into())
}

fn code(code: i32) -> Result<ExitCode> {
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}
