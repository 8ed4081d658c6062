//! Owns the command line: setup, run, dump, judge, and their exit codes.
//! It must not decide anything the library decides.

use std::error::Error as StdError;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use checker::history::Reader;
use checker::judge::Judge;
use checker::run::{Config, run};
use checker::sql::{Password, Target, Tls, setup};
use checker::verdict::{Kind, Verdict};
use checker::{members, rows};
use clap::{Args, Parser, Subcommand, ValueEnum};
use tokio::signal::unix::{Signal, SignalKind, signal};

type Failure = Box<dyn StdError + Send + Sync>;

const NOT_JUDGED: u8 = 2;
const POLL: Duration = Duration::from_millis(100);

/// Records every attempted write of a run, and judges what the database kept.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make the database and its tables where they are missing.
    Setup {
        #[command(flatten)]
        server: Server,
    },
    /// Write and read through a Service until told to stop.
    Run(Box<RunArgs>),
    /// Write what the database holds to a file, for a judge without a database.
    Dump {
        #[command(flatten)]
        server: Server,
        #[arg(long)]
        rows_file: PathBuf,
    },
    /// Compare a history with what is left. Exit code: 0 clean, 1 anomalies, 2 could not judge.
    Judge(Box<JudgeArgs>),
}

#[derive(Args)]
struct Server {
    #[arg(long)]
    host: String,
    #[arg(long, default_value_t = 3306)]
    port: u16,
    #[command(flatten)]
    login: Login,
}

#[derive(Args)]
struct Login {
    #[arg(long)]
    user: Option<String>,
    /// Holds the password; without it, CHECKER_PASSWORD does.
    #[arg(long)]
    password_file: Option<PathBuf>,
    /// off, insecure (encrypted, to whoever answers), or ca FILE.
    #[arg(long, num_args = 1..=2, value_names = ["MODE", "FILE"], default_value = "off")]
    tls: Vec<String>,
    #[arg(long, default_value = "checker")]
    database: String,
    #[arg(long, default_value_t = 2_000)]
    timeout_ms: u64,
}

#[derive(Args)]
struct RunArgs {
    #[command(flatten)]
    server: Server,
    #[arg(long, default_value_t = 8)]
    clients: u32,
    /// How long, such as 500ms, 30s, 5m. Without it: until the file appears, SIGTERM or SIGINT.
    #[arg(long, value_parser = duration)]
    duration: Option<Duration>,
    /// Stop once this file exists.
    #[arg(long)]
    until_file: Option<PathBuf>,
    /// A new file; an existing one is refused.
    #[arg(long)]
    history: PathBuf,
    #[arg(long, default_value_t = 8)]
    registers: u32,
    /// Clients that only read: this many on the primary, and as many on the replicas, if given.
    #[arg(long, default_value_t = 0)]
    read_clients: u32,
    /// The replicas Service.
    #[arg(long)]
    read_host: Option<String>,
    #[arg(long)]
    read_port: Option<u16>,
    #[arg(long, default_value_t = 1_000)]
    connect_timeout_ms: u64,
    /// Attempts per second of all writers together.
    #[arg(long)]
    max_rate: Option<u32>,
}

#[derive(Args)]
struct JudgeArgs {
    #[arg(long)]
    history: PathBuf,
    /// The database after everything healed.
    #[arg(long)]
    host: Option<String>,
    #[arg(long, default_value_t = 3306)]
    port: u16,
    #[command(flatten)]
    login: Login,
    /// A dump instead of a database.
    #[arg(long, conflicts_with_all = ["host", "per_member"])]
    rows_file: Option<PathBuf>,
    /// host:port of every member, to compare them with each other too.
    #[arg(long, value_delimiter = ',')]
    per_member: Vec<String>,
    /// How long members may take to become equal.
    #[arg(long, value_parser = duration, default_value = "30s")]
    converge: Duration,
    /// Kinds of findings that do not count for the exit code, such as stale-read.
    #[arg(long, value_delimiter = ',', value_parser = kind)]
    tolerate: Vec<Kind>,
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Text,
    Json,
}

fn kind(name: &str) -> Result<Kind, String> {
    Kind::from_name(name).ok_or_else(|| {
        let names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        format!("one of {}", names.join(", "))
    })
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|end: char| end.is_ascii_alphabetic());
    let number: f64 = digits
        .parse()
        .map_err(|_| "a number and its unit: 500ms, 30s, 5m, 1h".to_owned())?;
    let unit = match &text[digits.len()..] {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return Err("a unit: ms, s, m or h".to_owned()),
    };
    Duration::try_from_secs_f64(number * unit).map_err(|error| error.to_string())
}

impl Login {
    fn target(&self, host: &str, port: u16) -> Result<Target, Failure> {
        let password = match &self.password_file {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| format!("failed to read password file {}: {error}", path.display()))?;
                text.trim_end_matches(['\r', '\n']).to_owned()
            }
            None => std::env::var("CHECKER_PASSWORD")
                .map_err(|_| "failed to find a password: set CHECKER_PASSWORD or give --password-file")?,
        };
        let tls: Vec<&str> = self.tls.iter().map(String::as_str).collect();
        let tls = match tls.as_slice() {
            ["off"] => Tls::Off,
            ["insecure"] => Tls::Insecure,
            ["ca", file] => Tls::Ca(PathBuf::from(file)),
            _ => return Err("failed to understand --tls: off, insecure, or ca FILE".into()),
        };
        Ok(Target {
            host: host.to_owned(),
            port,
            user: self.user.clone().ok_or("failed to log in without --user")?,
            password: Password::new(password),
            tls,
            database: self.database.clone(),
        })
    }

    fn deadline(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// A table scan may take a while before its first row.
    fn patient_deadline(&self) -> Duration {
        self.deadline().max(Duration::from_secs(60))
    }
}

impl Server {
    fn target(&self) -> Result<Target, Failure> {
        self.login.target(&self.host, self.port)
    }
}

fn main() -> ExitCode {
    // Before anything else: another provider in the process would make rustls panic later.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = Cli::parse();
    let done = tokio::runtime::Runtime::new()
        .map_err(Failure::from)
        .and_then(|runtime| runtime.block_on(execute(cli.command)));
    done.unwrap_or_else(|error| {
        eprintln!("{}", chain(error.as_ref()));
        ExitCode::from(NOT_JUDGED)
    })
}

fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

async fn execute(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Setup { server } => {
            setup(
                &server.target()?,
                server.login.deadline().max(Duration::from_secs(30)),
            )
            .await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Run(args) => record(*args).await,
        Command::Dump { server, rows_file } => dump(&server, &rows_file).await,
        Command::Judge(args) => judge(*args).await,
    }
}

async fn record(args: RunArgs) -> Result<ExitCode, Failure> {
    let target = args.server.target()?;
    let read_port = args.read_port.unwrap_or(target.port);
    if args.max_rate == Some(0) {
        return Err("failed to run at no rate at all: --max-rate is at least 1".into());
    }
    let config = Config {
        replicas: args.read_host.as_ref().map(|host| target.at(host, read_port)),
        target,
        clients: args.clients,
        read_clients: args.read_clients,
        registers: args.registers,
        history: args.history,
        deadline: args.server.login.deadline(),
        connect_deadline: Duration::from_millis(args.connect_timeout_ms),
        max_rate: args.max_rate,
    };
    let signals = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let done = run(config, until(args.duration, args.until_file, signals)).await?;
    let tally = done.tally;
    println!(
        "run {}: {} writes acknowledged, {} failed, {} unknown, {} reads",
        done.run, tally.acknowledged, tally.failed, tally.unknown, tally.reads
    );
    Ok(ExitCode::SUCCESS)
}

async fn until(limit: Option<Duration>, file: Option<PathBuf>, signals: (Signal, Signal)) {
    let (mut terminate, mut interrupt) = signals;
    let over = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    let appeared = async {
        let Some(file) = file else {
            return std::future::pending().await;
        };
        while !file.exists() {
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::select! {
        () = over => {}
        () = appeared => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

async fn dump(server: &Server, path: &Path) -> Result<ExitCode, Failure> {
    let file = File::create(path).map_err(|error| format!("failed to make {}: {error}", path.display()))?;
    let mut writer = rows::Writer::new(BufWriter::new(file));
    members::read(
        &server.target()?,
        server.login.patient_deadline(),
        None,
        |piece| {
            let written = writer.write(&piece).map_err(members::Error::from);
            async move { written }
        },
    )
    .await?;
    println!("{} rows and registers", writer.finish()?);
    Ok(ExitCode::SUCCESS)
}

async fn judge(args: JudgeArgs) -> Result<ExitCode, Failure> {
    let mut reader = Reader::open(&args.history)?;
    let mut judge = Judge::read(&mut reader)?;
    if reader.torn() {
        judge.note("the last line of the history is torn and was left out".to_owned());
    }
    match &args.rows_file {
        Some(path) => {
            for piece in rows::Reader::open(path)? {
                judge.piece(&piece?);
            }
        }
        None => ask(&args, &mut judge).await?,
    }
    let verdict = judge.finish()?;
    show(&verdict, &args)?;
    Ok(if verdict.is_clean_but_for(&args.tolerate) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

/// Brings the rows of a database, and the differences of its members.
async fn ask(args: &JudgeArgs, judge: &mut Judge) -> Result<(), Failure> {
    let mut each = Vec::new();
    for member in &args.per_member {
        let (host, port) = member
            .rsplit_once(':')
            .ok_or("failed to understand --per-member: host:port,…")?;
        let port = port
            .parse()
            .map_err(|_| format!("failed to understand the port of {member}"))?;
        each.push(args.login.target(host, port)?);
    }
    let target = match (&args.host, each.first()) {
        (Some(host), _) => args.login.target(host, args.port)?,
        (None, Some(first)) => first.clone(),
        (None, None) => {
            return Err("failed to judge against nothing: --host, --per-member or --rows-file".into());
        }
    };
    let deadline = args.login.patient_deadline();
    if each.len() == 1 {
        return Err("failed to compare one member with itself: --per-member needs at least two".into());
    }
    // First, so that the rows below are those of members that had their time to settle.
    for example in members::compare(&each, deadline, args.converge).await? {
        judge.add(Kind::MembersDiffer, example);
    }
    let run = judge.run();
    let others = members::count_others(&target, deadline, run).await?;
    members::read(&target, deadline, Some(run), |piece| {
        judge.piece(&piece);
        std::future::ready(Ok(()))
    })
    .await?;
    judge.add_rows_of_other_runs(others);
    if !each.is_empty() {
        judge.note(format!("{} members were compared, row by row", each.len()));
    }
    Ok(())
}

fn show(verdict: &Verdict, args: &JudgeArgs) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match args.output {
        Output::Text => write!(out, "{verdict}")?,
        Output::Json => {
            serde_json::to_writer_pretty(&mut out, verdict)?;
            writeln!(out)?;
        }
    }
    Ok(())
}
