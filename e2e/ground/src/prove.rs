//! Runs every check of the repository in order and counts: `cargo prove`, what CI runs.
//! Must not hold a check of its own: each is a command that also works alone.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::shell::{Cmd, cmd};
use crate::spec::{Paths, cache_root, checkout};
use crate::{cache, images, preflight};

/// The proving ground of the proofs; a developer's own is left alone.
const GROUND: &str = "prove";
const NET: &str = "10.96.0.0/16";
const DENY_VERSION: &str = "0.20.2";

/// Test targets that need a mysqld, and run only by name.
const WITH_MYSQLD: &[&str] = &["checker", "sql"];
/// Test targets that need an API server, and run only by name.
const WITH_API_SERVER: &[&str] = &["kit"];
/// The test target that needs helm, and runs only by name.
const WITH_HELM: (&str, &str) = ("e2e", "charts");
/// The test target that needs mysqlds and the program itself, and runs only by name.
const WITH_PROGRAM: (&str, &str) = ("instance", "member");
/// The test target that needs an API server, nodes that take no Pods, and no other operator; only by name.
const WITH_IDLE_NODES: (&str, &str) = ("controllers", "api_server");

/// How many checks went which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// Reads a line of a test runner: cargo's, Go's, or that of the stories.
    fn of_line(line: &str) -> Self {
        let number = |before: &str| -> u64 {
            let words: Vec<&str> = line
                .split([' ', ';', ',', '.'])
                .filter(|word| !word.is_empty())
                .collect();
            let at = words.iter().position(|word| *word == before);
            at.and_then(|at| at.checked_sub(1))
                .and_then(|at| words[at].parse().ok())
                .unwrap_or(0)
        };
        if line.starts_with("test result:") || line.starts_with("stories:") {
            let skipped = number("ignored") + number("skipped");
            return Self {
                passed: number("passed"),
                failed: number("failed"),
                skipped,
            };
        }
        let one = |prefix: &str| u64::from(line.starts_with(prefix));
        Self {
            passed: one("--- PASS"),
            failed: one("--- FAIL"),
            skipped: one("--- SKIP"),
        }
    }
}

/// A run of all checks.
struct Proof {
    counts: Counts,
    times: Vec<(String, f64, bool)>,
}

impl Proof {
    /// Runs one step, shows its output as it comes, and counts what it reports; a step that reports
    /// nothing counts as one check, and one that fails without saying so as one failure.
    fn step(&mut self, name: &str, command: Result<Command>) {
        println!("\n== {name}");
        let begun = Instant::now();
        let result = command.and_then(stream);
        let (ok, mut counts) = match result {
            Ok(outcome) => outcome,
            Err(error) => {
                println!("failed to run: {error:#}");
                (false, Counts::default())
            }
        };
        if ok && counts == Counts::default() {
            counts.passed = 1;
        }
        if !ok && counts.failed == 0 {
            counts.failed = 1;
        }
        self.counts.add(counts);
        self.times
            .push((name.to_owned(), begun.elapsed().as_secs_f64(), ok));
    }
}

fn stream(mut command: Command) -> Result<(bool, Counts)> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .context("failed to start")?;
    let mut counts = Counts::default();
    let stdout = child.stdout.take().context("no output")?;
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        println!("{line}");
        counts.add(Counts::of_line(&line));
    }
    Ok((child.wait()?.success(), counts))
}

/// Runs everything; true when all of it passed.
pub fn prove() -> Result<bool> {
    preflight::check_root()?;
    let checkout = checkout()?;
    // Asked now: building the tests replaces this program's file.
    let own = std::env::current_exe().context("failed to find this program")?;
    let mut proof = Proof {
        counts: Counts::default(),
        times: Vec::new(),
    };
    let cargo = |line: &str| -> Result<Command> {
        Ok(cmd("cargo", line.split_whitespace()).dir(&checkout).into_inner())
    };
    proof.step(
        "packages",
        preflight::install_missing().map(|_| cmd("true", [""; 0]).into_inner()),
    );
    proof.step("format", cargo("fmt --all --check"));
    proof.step(
        "clippy",
        cargo("clippy --workspace --all-targets --locked -- --deny warnings"),
    );
    // What runs only by name is checked only by name.
    let named = WITH_MYSQLD.iter().map(|package| (package, "mysqld"));
    let named = named.chain(WITH_API_SERVER.iter().map(|package| (package, "api_server")));
    let single = [WITH_HELM, WITH_PROGRAM, WITH_IDLE_NODES];
    let single = single.iter().map(|(package, test)| (package, *test));
    for (package, test) in named.chain(single) {
        let line = format!("clippy --package {package} --test {test} --locked -- --deny warnings");
        proof.step(&format!("clippy of {package}'s {test} tests"), cargo(&line));
    }
    proof.step(
        "unit and tidy tests",
        cargo("test --workspace --locked --no-fail-fast"),
    );
    proof.step("licences, sources, bans", deny(&checkout));
    go_steps(&mut proof, &checkout);
    let charts = named_test(&checkout, WITH_HELM.0, WITH_HELM.1);
    proof.step("charts and manifests", Ok(charts.into_inner()));
    for package in WITH_MYSQLD {
        proof.step(
            &format!("{package} against mysqld"),
            mysqld_tests(&checkout, package),
        );
    }
    proof.step("the agent with mysqld", agent_tests(&checkout));
    ground_steps(&mut proof, &checkout, &own)?;
    Ok(report(&proof))
}

fn go_steps(proof: &mut Proof, checkout: &Path) {
    let dir = checkout.join("e2e/ground/kube");
    let go = |line: &str| -> Result<Command> {
        // The same flags as the build, or all of Kubernetes is compiled a second time.
        Ok(cmd("sh", ["-c", line])
            .dir(&dir)
            .env("CGO_ENABLED", "0")
            .into_inner())
    };
    proof.step(
        "gofmt",
        go(r#"unformatted=$(gofmt -l .); echo "$unformatted"; [ -z "$unformatted" ]"#),
    );
    proof.step("go vet", go("go vet -trimpath ./internal/..."));
    proof.step(
        "go test",
        go("go test -trimpath -v ./internal/... | grep -v '^=== '"),
    );
}

fn deny(checkout: &Path) -> Result<Command> {
    let key = cache::Key::new("cargo-deny").text(DENY_VERSION).finish();
    let (tool, _) = cache::get("cargo-deny", &key, |out| {
        cmd(
            "cargo",
            [
                "install",
                "cargo-deny",
                "--locked",
                "--version",
                DENY_VERSION,
                "--root",
            ],
        )
        .args([out])
        .env("CARGO_TARGET_DIR", cache_root().join("cargo"))
        .logged(&images::log_file("cargo-deny")?)
    })?;
    // No advisories: they come from a server that is not a package registry.
    let args = ["--offline", "check", "bans", "licenses", "sources"];
    Ok(cmd(tool.join("bin/cargo-deny"), args).dir(checkout).into_inner())
}

/// Tests that need a mysqld but no Kubernetes, on the files of the MySQL image.
fn mysqld_tests(checkout: &Path, package: &str) -> Result<Command> {
    let root = images::mysql_root()?;
    let variable = format!("{}_MYSQL_ROOT", package.to_uppercase());
    let test = named_test(checkout, package, "mysqld");
    Ok(test.args(["--test-threads=1"]).env(&variable, &root).into_inner())
}

fn agent_tests(checkout: &Path) -> Result<Command> {
    let (package, test) = WITH_PROGRAM;
    let test = named_test(checkout, package, test);
    Ok(test
        .args(["--test-threads=1"])
        .env("INSTANCE_MYSQL_ROOT", images::mysql_root()?)
        .env("INSTANCE_PROGRAM", images::operator_program()?)
        .into_inner())
}

/// A test target that runs only by name; arguments that follow are the test program's.
fn named_test(checkout: &Path, package: &str, test: &str) -> Cmd {
    cmd(
        "cargo",
        ["test", "--locked", "--package", package, "--test", test, "--"],
    )
    .dir(checkout)
}

fn ground_steps(proof: &mut Proof, checkout: &Path, own: &Path) -> Result<()> {
    let ground = |args: &[&str]| -> Result<Command> {
        Ok(cmd(own, ["--name", GROUND]).args(args).dir(checkout).into_inner())
    };
    // Stands in for whatever a killed run left.
    proof.step("proving ground down, if one is left", ground(&["down"]));
    proof.step("proving ground up", ground(&["up", "--net", NET]));
    let stories = |args: &[&str]| {
        let run = [
            "run",
            "--quiet",
            "--locked",
            "--package",
            "e2e",
            "--bin",
            "stories",
            "--",
        ];
        let path = std::env::var("PATH").unwrap_or_default();
        let bin = Paths::of(GROUND).bin();
        let command = cmd("cargo", run).args(args).dir(checkout);
        Ok(command
            .env("PATH", format!("{path}:{}", bin.display()))
            .into_inner())
    };
    proof.step("stories", stories(&["--name", GROUND, "--short"]));
    for package in WITH_API_SERVER {
        let test = named_test(checkout, package, "api_server");
        let test = test.env("KUBECONFIG", Paths::of(GROUND).kubeconfig());
        proof.step(
            &format!("{package} against the API server"),
            Ok(test.into_inner()),
        );
    }
    // As on somebody's own Kubernetes: what breaks nodes is skipped, and said to be.
    let kubeconfig = Paths::of(GROUND).kubeconfig().display().to_string();
    proof.step(
        "stories elsewhere",
        stories(&["--kubeconfig", &kubeconfig, "Ready", "cut from", "in a pod"]),
    );
    let kubectl = |line: &str| {
        let words: Vec<&str> = ["kubectl"].into_iter().chain(line.split(' ')).collect();
        ground(&words)
    };
    proof.step(
        "the operator removed",
        kubectl("delete namespace holdfast-system --ignore-not-found --timeout=120s"),
    );
    proof.step("nodes that take no Pods", kubectl("cordon -l kubernetes.io/os"));
    let (package, test) = WITH_IDLE_NODES;
    let test = named_test(checkout, package, test);
    let test = test.env("KUBECONFIG", Paths::of(GROUND).kubeconfig());
    proof.step(
        &format!("{package} against the API server"),
        Ok(test.into_inner()),
    );
    proof.step("proving ground down", ground(&["down"]));
    proof.step("nothing left of it", ground(&["remains"]));
    Ok(())
}

fn report(proof: &Proof) -> bool {
    println!();
    for (name, seconds, ok) in &proof.times {
        println!("{seconds:>8.1} s  {}  {name}", if *ok { "ok  " } else { "FAIL" });
    }
    let total: f64 = proof.times.iter().map(|(_, seconds, _)| seconds).sum();
    println!("{total:>8.1} s        in all");
    let Counts {
        passed,
        failed,
        skipped,
    } = proof.counts;
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    failed == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_every_runner_are_counted() {
        let counts = |passed, failed, skipped| Counts {
            passed,
            failed,
            skipped,
        };
        let cargo = "test result: FAILED. 20 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s";
        assert_eq!(Counts::of_line(cargo), counts(20, 2, 1));
        assert_eq!(
            Counts::of_line("stories: 5 passed, 1 failed, 3 skipped"),
            counts(5, 1, 3)
        );
        assert_eq!(Counts::of_line("--- PASS: TestExpand (0.4s)"), counts(1, 0, 0));
        assert_eq!(
            Counts::of_line("    --- PASS: TestExpand/xfs (0.4s)"),
            counts(0, 0, 0)
        );
        assert_eq!(Counts::of_line("nothing to see"), Counts::default());
    }

    #[test]
    fn a_step_that_fails_silently_is_a_failure() {
        let mut proof = Proof {
            counts: Counts::default(),
            times: Vec::new(),
        };
        proof.step("fails", Ok(Command::new("false")));
        proof.step("passes", Ok(Command::new("true")));
        proof.step("is not there", Ok(Command::new("holdfast-no-such-program")));
        assert_eq!(
            proof.counts,
            Counts {
                passed: 1,
                failed: 2,
                skipped: 0
            }
        );
    }
}
