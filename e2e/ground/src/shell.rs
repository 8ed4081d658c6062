//! Running other programs, with errors that say what was run and what it printed.
//! Must not know what any of these programs are for.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// Only the end of a long error output helps; more would bury it.
const ERROR_TAIL_BYTES: usize = 2_000;

/// A program and its arguments, ready to run.
pub struct Cmd {
    inner: Command,
}

/// A program with its arguments: `cmd("ip", ["link", "show"])`.
pub fn cmd<S: AsRef<std::ffi::OsStr>>(
    program: impl AsRef<std::ffi::OsStr>,
    args: impl IntoIterator<Item = S>,
) -> Cmd {
    let mut inner = Command::new(program);
    inner.args(args).stdin(Stdio::null());
    Cmd { inner }
}

/// The same from one line, split at spaces: only for words of our own.
pub fn words(line: &str) -> Cmd {
    let mut parts = line.split_whitespace();
    let program = parts.next().unwrap_or("true").to_owned();
    cmd(program, parts)
}

impl fmt::Display for Cmd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner.get_program().to_string_lossy())?;
        for arg in self.inner.get_args() {
            write!(f, " {}", arg.to_string_lossy())?;
        }
        Ok(())
    }
}

impl Cmd {
    /// More arguments.
    pub fn args<S: AsRef<std::ffi::OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.inner.args(args);
        self
    }

    /// One more variable in its environment.
    pub fn env(mut self, key: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.inner.env(key, value);
        self
    }

    /// The folder it runs in.
    pub fn dir(mut self, dir: &Path) -> Self {
        self.inner.current_dir(dir);
        self
    }

    /// Runs to the end and gives what it printed; a failing exit is an error.
    pub fn output(mut self) -> Result<String> {
        let shown = self.to_string();
        let out = self
            .inner
            .output()
            .with_context(|| format!("failed to start `{shown}`"))?;
        check(&shown, &out)?;
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }

    /// Runs to the end; a failing exit is an error.
    pub fn run(self) -> Result<()> {
        self.output().map(drop)
    }

    /// Runs to the end; says only whether it went well.
    pub fn ok(mut self) -> bool {
        self.inner.output().is_ok_and(|out| out.status.success())
    }

    /// Runs with this text as its standard input.
    pub fn input(mut self, text: &str) -> Result<String> {
        use std::io::Write as _;
        let shown = self.to_string();
        self.inner
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = self
            .inner
            .spawn()
            .with_context(|| format!("failed to start `{shown}`"))?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin
                .write_all(text.as_bytes())
                .with_context(|| format!("failed to write to `{shown}`"))?;
        }
        let out = child
            .wait_with_output()
            .with_context(|| format!("failed to wait for `{shown}`"))?;
        check(&shown, &out)?;
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }

    /// Runs with its output going to a log file; the error names the file and shows its end.
    pub fn logged(mut self, log: &Path) -> Result<()> {
        let shown = self.to_string();
        let file = File::create(log).with_context(|| format!("failed to create {}", log.display()))?;
        let copy = file.try_clone()?;
        let status = self
            .inner
            .stdout(Stdio::from(file))
            .stderr(Stdio::from(copy))
            .status()
            .with_context(|| format!("failed to start `{shown}`"))?;
        if !status.success() {
            let text = std::fs::read(log).unwrap_or_default();
            bail!(
                "`{shown}` ended with {status}; the end of {}:\n{}",
                log.display(),
                tail(&text)
            );
        }
        Ok(())
    }

    /// Runs in the foreground on the caller's terminal and gives its exit code.
    pub fn attached(mut self) -> Result<i32> {
        let shown = self.to_string();
        let status = self
            .inner
            .stdin(Stdio::inherit())
            .status()
            .with_context(|| format!("failed to start `{shown}`"))?;
        Ok(status.code().unwrap_or(1))
    }

    /// Starts it and does not wait; its output goes to the file.
    pub fn detached(mut self, log: &Path) -> Result<std::process::Child> {
        let shown = self.to_string();
        let file = File::options().create(true).append(true).open(log)?;
        let copy = file.try_clone()?;
        self.inner
            .stdout(Stdio::from(file))
            .stderr(Stdio::from(copy))
            .spawn()
            .with_context(|| format!("failed to start `{shown}`"))
    }

    /// The plain `Command`, for callers that stream.
    pub fn into_inner(self) -> Command {
        self.inner
    }
}

fn check(shown: &str, out: &Output) -> Result<()> {
    if out.status.success() {
        return Ok(());
    }
    let text = if out.stderr.is_empty() {
        &out.stdout
    } else {
        &out.stderr
    };
    bail!("`{shown}` ended with {}: {}", out.status, tail(text));
}

fn tail(text: &[u8]) -> String {
    let from = text.len().saturating_sub(ERROR_TAIL_BYTES);
    String::from_utf8_lossy(&text[from..]).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_command_and_shows_what_it_said() {
        let error = cmd("sh", ["-c", "echo no such node >&2; exit 3"])
            .run()
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("sh -c") && error.contains("no such node"),
            "{error}"
        );
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = words("holdfast-no-such-program now")
            .run()
            .unwrap_err()
            .to_string();
        assert!(error.contains("holdfast-no-such-program"), "{error}");
    }

    #[test]
    fn input_reaches_the_program() {
        assert_eq!(words("cat").input("hello").unwrap(), "hello");
    }
}
