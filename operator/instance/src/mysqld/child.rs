//! Child processes: started, signalled, and reaped, also those that were left to us as PID 1.
//! Must not signal a process that has been reaped: its number may be another one's.

use std::collections::HashMap;
use std::io::{self, Read};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Of what a short command prints.
const OUTPUT_LIMIT_BYTES: u64 = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to listen for ends of children")]
    Listen(#[source] io::Error),
    #[error("failed to start it")]
    Start(#[source] io::Error),
    #[error("failed to read what it printed")]
    Read(#[source] io::Error),
    #[error("failed to end within {0:?}")]
    Late(Duration),
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Code(i32),
    Signal(i32),
}

impl Exit {
    pub(crate) fn is_success(self) -> bool {
        self == Exit::Code(0)
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exit code {code}"),
            Exit::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

type Living = Arc<Mutex<HashMap<i32, watch::Sender<Option<Exit>>>>>;

/// The only one who waits for children. All of it runs on one thread: between a start and its entry
/// in the list, nobody reaps.
#[derive(Clone)]
pub(crate) struct Reaper {
    living: Living,
}

impl Reaper {
    pub(crate) fn start() -> Result<Self, Error> {
        let mut ends = signal(SignalKind::child()).map_err(Error::Listen)?;
        let living = Living::default();
        let list = living.clone();
        tokio::spawn(async move {
            while ends.recv().await.is_some() {
                reap(&list);
            }
        });
        Ok(Self { living })
    }

    pub(crate) fn spawn(&self, command: &mut Command) -> Result<Child, Error> {
        let started = command.spawn().map_err(Error::Start)?;
        let pid = i32::try_from(started.id()).unwrap_or(i32::MAX);
        let (sender, ended) = watch::channel(None);
        lock(&self.living).insert(pid, sender);
        Ok(Child {
            pid,
            ended,
            living: self.living.clone(),
        })
    }
}

fn lock(living: &Living) -> std::sync::MutexGuard<'_, HashMap<i32, watch::Sender<Option<Exit>>>> {
    living.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Everybody who has ended so far; one signal may stand for several.
fn reap(living: &Living) {
    loop {
        let (pid, exit) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => (pid, Exit::Code(code)),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, Exit::Signal(signal as i32)),
            Ok(WaitStatus::StillAlive) => return,
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(_) => return,
        };
        match lock(living).remove(&pid.as_raw()) {
            Some(sender) => drop(sender.send(Some(exit))),
            None => tracing::debug!(pid = pid.as_raw(), "reaped a process that was left to us"),
        }
    }
}

/// One that was started here.
#[derive(Clone)]
pub(crate) struct Child {
    pid: i32,
    ended: watch::Receiver<Option<Exit>>,
    living: Living,
}

impl Child {
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Nothing happens to one that has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        if lock(&self.living).contains_key(&self.pid)
            && let Err(error) = kill(Pid::from_raw(self.pid), signal)
        {
            tracing::warn!(pid = self.pid, %signal, %error, "a signal could not be sent");
        }
    }

    /// Ends what one of its threads waits for in the kernel, with the signal that mysqld itself uses for that.
    /// Nothing is sent but to a thread of this process that catches it.
    pub(crate) fn wake(&self, thread: i32) -> bool {
        let living = lock(&self.living);
        if !living.contains_key(&self.pid) {
            return false;
        }
        let status = format!("/proc/{}/task/{thread}/status", self.pid);
        let status = std::fs::read_to_string(status).unwrap_or_default();
        // A thread's own number: the system tries that thread first.
        catches(&status, Signal::SIGALRM) && kill(Pid::from_raw(thread), Signal::SIGALRM).is_ok()
    }

    pub(crate) async fn ended(&self) -> Exit {
        let mut ended = self.ended.clone();
        let exit = ended.wait_for(Option::is_some).await.map(|exit| *exit);
        match exit {
            Ok(exit) => exit.unwrap_or(Exit::Code(-1)),
            // The list is gone only with the process.
            Err(_) => std::future::pending().await,
        }
    }
}

/// proc(5): masks in hexadecimal, the lowest bit for signal 1.
fn catches(status: &str, signal: Signal) -> bool {
    let bit = 1_u64 << (signal as i32 - 1);
    let is_in = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let mask = line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        mask.map(|mask| mask & bit != 0)
    };
    is_in("SigCgt:") == Some(true) && is_in("SigBlk:") == Some(false)
}

/// What a short command printed, both ways, and how it ended.
pub(crate) struct Output {
    pub(crate) exit: Exit,
    pub(crate) text: String,
}

pub(crate) async fn output(mut command: Command, reaper: &Reaper, limit: Duration) -> Result<Output, Error> {
    let (reader, writer) = io::pipe().map_err(Error::Read)?;
    command
        .stdout(writer.try_clone().map_err(Error::Read)?)
        .stderr(writer);
    let child = reaper.spawn(&mut command)?;
    // It holds the writing ends: without this the reader never sees the end.
    drop(command);
    let reading = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        let mut reader = reader;
        let read = (&mut reader).take(OUTPUT_LIMIT_BYTES).read_to_end(&mut bytes);
        // What is beyond the limit is read too, or the child would wait for ever.
        read.and_then(|_| io::copy(&mut reader, &mut io::sink()))
            .map(|_| String::from_utf8_lossy(&bytes).into_owned())
    });
    let Ok(exit) = tokio::time::timeout(limit, child.ended()).await else {
        child.signal(Signal::SIGKILL);
        return Err(Error::Late(limit));
    };
    let text = match tokio::time::timeout(limit, reading).await {
        Ok(Ok(text)) => text.map_err(Error::Read)?,
        Ok(Err(_)) | Err(_) => return Err(Error::Late(limit)),
    };
    Ok(Output { exit, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Set in the process that the test starts for itself.
    const ALONE: &str = "HOLDFAST_REAPER_ALONE";

    #[test]
    fn only_a_signal_that_is_caught_and_not_blocked_is_sent() {
        let status = |blocked: &str, caught: &str| {
            format!("Name:\tmysqld\nSigBlk:\t{blocked}\nSigIgn:\t0000000000001006\nSigCgt:\t{caught}\n")
        };
        let (free, caught) = ("0000000000084a07", "00000001000024e8");
        assert!(catches(&status(free, caught), Signal::SIGALRM));
        assert!(!catches(&status(free, "00000001000004e8"), Signal::SIGALRM));
        assert!(!catches(&status("0000000000086a07", caught), Signal::SIGALRM));
        assert!(!catches(&status(free, "?"), Signal::SIGALRM) && !catches("", Signal::SIGALRM));
    }

    // In a process of its own: a reaper also takes the children of the tests beside it.
    #[test]
    fn children_are_heard_signalled_and_reaped() {
        if std::env::var_os(ALONE).is_some() {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            return runtime.unwrap().block_on(reap_alone());
        }
        let ended = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "mysqld::child::tests::children_are_heard_signalled_and_reaped",
            ])
            .env(ALONE, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success() && text.contains("1 passed"), "{text}");
    }

    async fn reap_alone() {
        let reaper = Reaper::start().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo err >&2; exit 3"]);
        let ended = output(command, &reaper, Duration::from_secs(20)).await.unwrap();
        assert_eq!((ended.exit, ended.text.as_str()), (Exit::Code(3), "out\nerr\n"));
        assert!(!ended.exit.is_success());

        let mut command = Command::new("sleep");
        command.arg("60");
        let child = reaper.spawn(&mut command).unwrap();
        // It does not catch it, and would die of it; the other is no thread of this child.
        assert!(!child.wake(child.pid()) && !child.wake(1));
        child.signal(Signal::SIGKILL);
        assert_eq!(child.ended().await, Exit::Signal(9));
        assert!(!child.wake(child.pid()));
        assert!(lock(&reaper.living).is_empty());
        child.signal(Signal::SIGKILL);

        let mut command = Command::new("sleep");
        command.arg("60");
        let late = output(command, &reaper, Duration::from_millis(50)).await;
        assert!(matches!(late, Err(Error::Late(_))));
        assert!(matches!(
            reaper.spawn(&mut Command::new("/nowhere")),
            Err(Error::Start(_))
        ));
    }
}
