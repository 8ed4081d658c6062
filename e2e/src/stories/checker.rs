//! Stories of the judge: what it finds on servers that lose writes, and that it finds nothing on others.
//! Must not judge by itself: the checker's verdict is read, never made.

use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use checker::verdict::{Kind, Verdict};
use ground::faults::{Disk, DiskFault, Fault, pod};
use ground::ground::Ground;
use ground::probe::Place;
use ground::spec::Unit;
use nix::sys::signal::Signal;

use crate::fixtures::{PASSWORD, Servers};
use crate::load::{self, told};
use crate::stage::{Stage, claim, wait_until};

/// Every commit is on disk before it is acknowledged.
const FLUSHED: &[&str] = &["--innodb-flush-log-at-trx-commit=1", "--sync-binlog=1"];
/// Commits stay in mysqld's memory for up to a second.
const UNFLUSHED: &[&str] = &["--innodb-flush-log-at-trx-commit=0", "--skip-log-bin"];
/// Commits are written, and synced once a second: they survive the process, not the power.
const WRITTEN: &[&str] = &["--innodb-flush-log-at-trx-commit=2", "--skip-log-bin"];

/// Writes before the fault: enough for the server to be in its stride.
const WRITES_BEFORE: usize = 2_000;
const WITHIN: Duration = Duration::from_secs(120);

/// A checker at work in the client's namespace.
struct Run<'a> {
    stage: &'a Stage,
    servers: &'a Servers<'a>,
    history: PathBuf,
    child: Child,
}

impl<'a> Run<'a> {
    fn start(stage: &'a Stage, servers: &'a Servers<'a>) -> Result<Self> {
        let history = std::env::temp_dir().join(format!(
            "holdfast-{}-{}.jsonl",
            servers.namespace,
            std::process::id()
        ));
        ground::cache::remove(&history)?;
        let address = servers.service(stage)?.ip().to_string();
        load::set_up(|| program(stage, &["setup", "--host", &address, "--user", "checker"]))?;
        let path = history.display().to_string();
        let args = [
            "run",
            "--host",
            &address,
            "--user",
            "checker",
            "--clients",
            "8",
            "--history",
            &path,
        ];
        let log = history.with_extension("log");
        let child = program(stage, &args)?.detached(&log)?;
        Ok(Self {
            stage,
            servers,
            history,
            child,
        })
    }

    fn wait_writes(&self, more_than: usize) -> Result<()> {
        wait_until(&format!("{more_than} lines of history"), WITHIN, || {
            Ok(std::fs::read_to_string(&self.history)?.lines().count() > more_than)
        })
        .map(drop)
    }

    fn lines(&self) -> Result<usize> {
        Ok(std::fs::read_to_string(&self.history)?.lines().count())
    }

    /// Lets it write some more, stops it, and has it judged.
    fn judge(mut self) -> Result<Verdict> {
        self.servers.wait_ready(self.stage)?;
        let so_far = self.lines()?;
        self.wait_writes(so_far + 500)?;
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id())?);
        nix::sys::signal::kill(pid, Signal::SIGTERM).context("failed to stop the checker")?;
        let status = self.child.wait()?;
        claim(status.success(), format!("the checker ended well: {status}"))?;
        let address = self.servers.service(self.stage)?.ip().to_string();
        let path = self.history.display().to_string();
        let argv = [
            "judge",
            "--history",
            &path,
            "--host",
            &address,
            "--user",
            "checker",
            "-o",
            "json",
        ];
        let mut judge = program(self.stage, &argv)?.into_inner();
        let out = judge.output().context("failed to start the judge")?;
        let verdict: Verdict = match serde_json::from_slice(&out.stdout) {
            Ok(verdict) => verdict,
            Err(_) => bail!(
                "the judge could not judge: {}",
                String::from_utf8_lossy(&out.stderr)
            ),
        };
        let agrees = out.status.code() == Some(i32::from(!verdict.is_clean()));
        claim(
            agrees,
            format!(
                "exit code {:?} is that of the verdict {:?}",
                out.status.code(),
                verdict.kinds()
            ),
        )?;
        Ok(verdict)
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.history);
        let _ = std::fs::remove_file(self.history.with_extension("log"));
    }
}

/// The checker, outside all nodes, its password in its environment.
fn program(stage: &Stage, args: &[&str]) -> Result<ground::shell::Cmd> {
    let program = stage.ground()?.record.checker.display().to_string();
    let mut argv = vec![program.as_str()];
    argv.extend(args);
    Ok(stage.client(&argv)?.env("CHECKER_PASSWORD", PASSWORD))
}

/// Does something that ends mysqld while the checker writes; gives the verdict.
fn under_load(
    stage: &Stage,
    servers: &Servers<'_>,
    harm: impl FnOnce(&Ground) -> Result<()>,
) -> Result<Verdict> {
    servers.ready(stage)?;
    let ground = stage.ground()?;
    let run = Run::start(stage, servers)?;
    run.wait_writes(WRITES_BEFORE)?;
    let restarts = servers.restarts(stage, 0)?;
    harm(ground)?;
    wait_until("the container has started again", WITHIN, || {
        Ok(servers.restarts(stage, 0)? > restarts)
    })?;
    let (client, service) = (Place::unit(ground, Unit::Client), servers.service(stage)?);
    wait_until("the Service answers", WITHIN, || {
        client.is_greeted(service, Duration::from_secs(1))
    })?;
    let verdict = run.judge()?;
    servers.remove(stage)?;
    Ok(verdict)
}

fn kill_mysqld(ground: &Ground, namespace: &str) -> Result<()> {
    let found = pod::find(ground, namespace, "db-0")?;
    pod::signal(ground, &found, Some("mysqld"), Signal::SIGKILL).map(drop)
}

pub(super) fn unflushed_is_caught(stage: &Stage) -> Result<String> {
    let servers = Servers {
        namespace: "unflushed",
        options: UNFLUSHED,
        ..Servers::default()
    };
    let verdict = under_load(stage, &servers, |ground| kill_mysqld(ground, servers.namespace))?;
    claim(
        verdict.found(Kind::LostWrite).is_some(),
        format!("losses are found: {}", told(&verdict)),
    )?;
    Ok(told(&verdict))
}

pub(super) fn flushed_is_clean(stage: &Stage) -> Result<String> {
    let servers = Servers {
        namespace: "flushed",
        options: FLUSHED,
        ..Servers::default()
    };
    let verdict = under_load(stage, &servers, |ground| kill_mysqld(ground, servers.namespace))?;
    claim(verdict.is_clean(), format!("nothing is found:\n{verdict}"))?;
    claim(
        verdict.service.longest_gap_ns() > 100_000_000,
        "the kill is seen as a gap in service",
    )?;
    Ok(told(&verdict))
}

pub(super) fn power_cut(stage: &Stage) -> Result<String> {
    let mut lines = Vec::new();
    for (namespace, options, loses) in [("written", WRITTEN, true), ("synced", FLUSHED, false)] {
        let servers = Servers {
            namespace,
            options,
            ..Servers::default()
        };
        let verdict = under_load(stage, &servers, |ground| {
            let disk = Disk::of_pod(ground, namespace, "db-0", None)?;
            Fault::Disk {
                disk,
                fault: DiskFault::PowerLost,
            }
            .inject(ground)?
            .heal()
        })?;
        let lost = verdict.found(Kind::LostWrite).is_some();
        claim(
            lost == loses,
            format!("{namespace} commits lost: {loses} expected:\n{verdict}"),
        )?;
        claim(
            loses || verdict.is_clean(),
            format!("nothing else is found:\n{verdict}"),
        )?;
        lines.push(format!("{namespace}: {}", told(&verdict)));
    }
    Ok(lines.join("; "))
}

pub(super) fn in_a_pod(stage: &Stage) -> Result<String> {
    let servers = Servers {
        namespace: "judged",
        options: FLUSHED,
        ..Servers::default()
    };
    servers.ready(stage)?;
    stage.apply(
        &CHECKER_POD
            .replace("{image}", &stage.images.checker)
            .replace("{password}", PASSWORD),
    )?;
    wait_until("the judge's container has ended", WITHIN, || {
        let pod = stage.get("pod checker -n judged")?;
        claim(pod["status"]["phase"] != "Failed", "no container fails")?;
        Ok(pod["status"]["phase"] == "Succeeded")
    })?;
    let text = stage.k("logs checker -n judged -c judge").output()?;
    let verdict: Verdict = serde_json::from_str(&text).context("failed to parse the verdict")?;
    claim(
        verdict.is_clean() && verdict.counts.acknowledged > 0,
        format!("clean:\n{verdict}"),
    )?;
    servers.remove(stage)?;
    Ok(told(&verdict))
}

const CHECKER_POD: &str = r#"
apiVersion: v1
kind: Secret
metadata: {name: checker, namespace: judged}
stringData: {password: '{password}'}
---
apiVersion: v1
kind: Pod
metadata: {name: checker, namespace: judged}
spec:
  restartPolicy: Never
  securityContext: {runAsNonRoot: true, runAsUser: 65532, fsGroup: 65532, seccompProfile: {type: RuntimeDefault}}
  initContainers:
  - name: setup
    image: {image}
    args: [setup, --host, db, --user, checker, --password-file, /secret/password]
    securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
    volumeMounts: [{name: secret, mountPath: /secret}]
  - name: run
    image: {image}
    args: [run, --host, db, --user, checker, --password-file, /secret/password, --history, /record/history.jsonl, --duration, 5s]
    securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
    volumeMounts: [{name: secret, mountPath: /secret}, {name: work, mountPath: /record}]
  containers:
  - name: judge
    image: {image}
    args: [judge, --host, db, --user, checker, --password-file, /secret/password, --history, /record/history.jsonl, -o, json]
    securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
    volumeMounts: [{name: secret, mountPath: /secret}, {name: work, mountPath: /record}]
  volumes: [{name: secret, secret: {secretName: checker}}, {name: work, emptyDir: {}}]
"#;
