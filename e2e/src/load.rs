//! The workload checker against a cluster's Service, from outside all nodes.
//! Must not judge by itself: the checker's verdict is read, never made.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use checker::event::{Event, Outcome};
use checker::history::Reader;
use checker::verdict::{Kind, Verdict};
use nix::sys::signal::Signal;

use crate::cluster::{Cluster, Login};
use crate::stage::{Stage, claim, wait_until};

/// Long enough for a busy machine; short enough to be there when somebody opens.
const CONNECT_WITHIN: Duration = Duration::from_millis(500);
/// A machine that all members share is not to be the limit: replicas would lag for minutes.
const PER_SECOND: u32 = 100;
const WITHIN: Duration = Duration::from_secs(120);
/// All clients are at work by then.
const BEGUN_LINES: usize = 200;
const SET_UP_WITHIN: Duration = Duration::from_secs(20);
/// What was on its way when something broke may still be answered.
const STILL_WITHIN: Duration = Duration::from_secs(5);
const STILL_POLL: Duration = Duration::from_millis(200);

/// A checker at work.
pub struct Load<'a> {
    stage: &'a Stage,
    cluster: &'a Cluster<'a>,
    login: Login,
    history: PathBuf,
    child: Child,
}

impl<'a> Load<'a> {
    /// Begins to write through the primary's Service.
    pub fn start(stage: &'a Stage, cluster: &'a Cluster<'a>) -> Result<Self> {
        Self::at_most(stage, cluster, Some(PER_SECOND))
    }

    /// The same, with so many writes a second, or what the machine can do.
    pub fn at_most(stage: &'a Stage, cluster: &'a Cluster<'a>, per_second: Option<u32>) -> Result<Self> {
        Self::trying(stage, cluster, per_second, CONNECT_WITHIN)
    }

    /// The same, by clients that give a connection up after so long and try again.
    pub fn trying(
        stage: &'a Stage,
        cluster: &'a Cluster<'a>,
        per_second: Option<u32>,
        connect_within: Duration,
    ) -> Result<Self> {
        let limit = per_second.map(|per_second| per_second.to_string());
        let login = cluster.login(stage, "primary")?;
        let file = format!("holdfast-{}-{}.jsonl", cluster.namespace, std::process::id());
        let history = std::env::temp_dir().join(file);
        ground::cache::remove(&history)?;
        set_up(|| program(stage, &login, "setup", &[]))?;
        let path = history.display().to_string();
        let connect_within = connect_within.as_millis().to_string();
        let mut args = vec![
            "--clients",
            "8",
            "--history",
            &path,
            "--timeout-ms",
            "1000",
            "--connect-timeout-ms",
            &connect_within,
        ];
        args.extend(limit.iter().flat_map(|limit| ["--max-rate", limit]));
        let child = program(stage, &login, "run", &args)?.detached(&history.with_extension("log"))?;
        let load = Self {
            stage,
            cluster,
            login,
            history,
            child,
        };
        load.wait_lines(BEGUN_LINES)?;
        Ok(load)
    }

    /// Lines of the history so far.
    pub fn lines(&self) -> Result<usize> {
        Ok(std::fs::read_to_string(&self.history)?.lines().count())
    }

    /// Acknowledged writes so far.
    pub fn acknowledged(&self) -> Result<usize> {
        let text = std::fs::read_to_string(&self.history)?;
        // What a writer reads in between is answered too, also while commits wait.
        let is_write = |line: &&str| line.contains("\"ok\"") && !line.contains("\"statement\"");
        Ok(text.lines().filter(is_write).count())
    }

    /// Watches that nobody is told that a write is done, from the next moment on in which none is for a while.
    pub fn stands_still(&self, watched: Duration) -> Result<()> {
        let (mut seen, mut since) = (self.acknowledged()?, Instant::now());
        let begun = since;
        while since.elapsed() < watched {
            std::thread::sleep(STILL_POLL);
            let now = self.acknowledged()?;
            if now > seen {
                claim(
                    begun.elapsed() < STILL_WITHIN,
                    format!("no write is acknowledged: {}", self.cluster.told(self.stage)),
                )?;
                (seen, since) = (now, Instant::now());
            }
        }
        Ok(())
    }

    /// While this is done its clients stand still: no write is asked for, and none is on its way for long.
    pub fn while_still<T>(&self, done: impl FnOnce() -> Result<T>) -> Result<T> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id())?);
        nix::sys::signal::kill(pid, Signal::SIGSTOP).context("failed to stop the checker")?;
        let answer = done();
        nix::sys::signal::kill(pid, Signal::SIGCONT).context("failed to continue the checker")?;
        answer
    }

    /// Waits until it has written so much.
    pub fn wait_lines(&self, more_than: usize) -> Result<()> {
        let waited = wait_until(&format!("{more_than} lines of history"), WITHIN, || {
            Ok(self.lines()? > more_than)
        });
        waited.map(drop).with_context(|| self.cluster.told(self.stage))
    }

    /// Waits until it goes on writing.
    pub fn goes_on(&self) -> Result<()> {
        self.wait_lines(self.lines()? + 500)
    }

    /// Waits until so many more writes are acknowledged: lines of history grow by errors, too. How long that took.
    pub fn acknowledges(&self, more: usize) -> Result<Duration> {
        let wanted = self.acknowledged()? + more;
        let waited = wait_until(&format!("{more} more acknowledged writes"), WITHIN, || {
            Ok(self.acknowledged()? >= wanted)
        });
        waited.with_context(|| self.cluster.told(self.stage))
    }

    /// Lets it write some more, stops it, and has it judged, every member too.
    pub fn judge(mut self) -> Result<Verdict> {
        self.wait_lines(self.lines()? + BEGUN_LINES)?;
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id())?);
        nix::sys::signal::kill(pid, Signal::SIGTERM).context("failed to stop the checker")?;
        let status = self.child.wait()?;
        claim(status.success(), format!("the checker ended well: {status}"))?;
        let mut members = Vec::new();
        let seen = self.cluster.get(self.stage)?;
        let seen = seen["status"]["members"]
            .as_array()
            .context("status names no members")?;
        for member in seen.iter().filter_map(|member| member["name"].as_str()) {
            members.push(format!("{}:3306", self.cluster.address(self.stage, member)?));
        }
        let path = self.history.display().to_string();
        let mut args = vec!["--history", &path, "-o", "json"];
        let list = members.join(",");
        if members.len() > 1 {
            args.extend(["--per-member", &list]);
        }
        judged(self.stage, &self.login, &args)
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.history);
        let _ = std::fs::remove_file(self.history.with_extension("log"));
    }
}

/// So many clients write one commit after the other for a while: how long each commit took that was acknowledged.
pub fn commits(stage: &Stage, login: &Login, clients: u32, seconds: u64) -> Result<Vec<Duration>> {
    let file = format!("holdfast-commits-{}.jsonl", std::process::id());
    let history = std::env::temp_dir().join(file);
    ground::cache::remove(&history)?;
    set_up(|| program(stage, login, "setup", &[]))?;
    let (path, clients) = (history.display().to_string(), clients.to_string());
    let lasts = format!("{seconds}s");
    let args = ["--clients", &clients, "--history", &path, "--duration", &lasts];
    program(stage, login, "run", &args)?.run()?;
    let mut begun = HashMap::new();
    let mut took = Vec::new();
    for stamped in Reader::open(&history)? {
        let stamped = stamped?;
        match stamped.event {
            Event::Invoke { id, op } if op.writes() => drop(begun.insert(id, stamped.at_ns)),
            Event::Complete(done) => {
                let begun = begun.remove(&done.id).filter(|_| done.outcome == Outcome::Ok);
                took.extend(begun.map(|at| Duration::from_nanos(stamped.at_ns.saturating_sub(at))));
            }
            _ => {}
        }
    }
    ground::cache::remove(&history)?;
    Ok(took)
}

/// What the checker says of a history.
pub(crate) fn judged(stage: &Stage, login: &Login, args: &[&str]) -> Result<Verdict> {
    let mut judge = program(stage, login, "judge", args)?.into_inner();
    let out = judge.output().context("failed to start the judge")?;
    match serde_json::from_slice(&out.stdout) {
        Ok(verdict) => Ok(verdict),
        Err(_) => bail!(
            "the judge could not judge: {}",
            String::from_utf8_lossy(&out.stderr)
        ),
    }
}

/// Makes the checker's tables: a node may learn of a new Service, or of who it leads to, a moment after others.
pub(crate) fn set_up(program: impl Fn() -> Result<ground::shell::Cmd>) -> Result<()> {
    wait_until("the checker's tables", SET_UP_WITHIN, || {
        program()?.run()?;
        Ok(true)
    })
    .map(drop)
}

/// The checker, its password in its environment.
pub(crate) fn program(
    stage: &Stage,
    login: &Login,
    command: &str,
    args: &[&str],
) -> Result<ground::shell::Cmd> {
    let program = stage.ground()?.record.checker.display().to_string();
    // It ends with who asked for it, also where that is killed: its writes would be among those of the next.
    let mut argv = vec![
        "setpriv",
        "--pdeathsig=KILL",
        program.as_str(),
        command,
        "--host",
        &login.host,
        "--user",
        &login.user,
    ];
    argv.extend(["--database", login.database.as_str(), "--tls", "insecure"]);
    argv.extend(args);
    Ok(stage.client(&argv)?.env("CHECKER_PASSWORD", &login.password))
}

/// A verdict in a line.
pub fn told(verdict: &Verdict) -> String {
    let lost = verdict.found(Kind::LostWrite).map_or(0, |found| found.count);
    format!(
        "{} acknowledged, {lost} lost, {} unknown, longest gap {} ms",
        verdict.counts.acknowledged,
        verdict.counts.unknown,
        verdict.service.longest_gap_ns() / 1_000_000
    )
}

/// Nothing is lost, and every member holds the same.
pub fn clean(verdict: &Verdict) -> Result<String> {
    claim(verdict.is_clean(), format!("nothing is found:\n{verdict}"))?;
    Ok(told(verdict))
}
