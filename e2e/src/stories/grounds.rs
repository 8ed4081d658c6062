//! Stories of proving grounds as such: two at once, one killed while it is made, one that cannot stand.
//! Must not touch the ground that the other stories play on.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use ground::shell::{Cmd, cmd, words};

use super::platform::TRIO;
use crate::stage::{Stage, claim};

const OTHER: &str = "other";
const OTHER_NET: &str = "10.98.0.0/16";

/// The program of the ground, as a user runs it, about another ground.
fn program(stage: &Stage, args: &[&str]) -> Result<Cmd> {
    let program = stage.ground()?.paths.program("ground");
    Ok(cmd(program, ["--name", OTHER]).args(args))
}

fn up(stage: &Stage, nodes: &str) -> Result<Cmd> {
    program(stage, &["up", "--nodes", nodes, "--net", OTHER_NET])
}

/// Everything on the machine that a ground could leave: compared before and after.
fn machine() -> Result<BTreeSet<String>> {
    let mut seen = BTreeSet::new();
    let mut add = |kind: &str, text: &str| {
        seen.extend(text.lines().map(|line| format!("{kind} {}", line.trim())));
    };
    add(
        "mount",
        &words("findmnt --raw --noheadings --output TARGET").output()?,
    );
    add("interface", &words("ip -o -br link show type bridge").output()?);
    add("interface", &words("ip -o -br link show type veth").output()?);
    add("namespace", &words("ip netns list").output()?);
    add("route", &words("ip -4 route show table all").output()?);
    add("rules", &words("nft list tables").output()?);
    add(
        "loop",
        &words("losetup --list --noheadings --raw --output BACK-FILE").output()?,
    );
    add(
        "group",
        &words("find /sys/fs/cgroup -type d -name hf-*").output()?,
    );
    let folders = [
        "/var/lib", "/var/log", "/run", "/etc", "/tmp", "/opt", "/srv", "/mnt",
    ];
    for folder in folders {
        add("file", &cmd("find", [folder, "-maxdepth", "1"]).output()?);
    }
    add(
        "state",
        &cmd(
            "find",
            [
                ground::spec::state_root().as_os_str(),
                "-maxdepth".as_ref(),
                "1".as_ref(),
            ],
        )
        .output()?,
    );
    add("program", &programs()?);
    Ok(seen)
}

/// The programs that run, by their files: PIDs change, and shells come and go.
fn programs() -> Result<String> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir("/proc")? {
        if let Ok(program) = std::fs::read_link(entry?.path().join("exe")) {
            let name = program.display().to_string();
            if name.contains(ground::spec::state_root().to_string_lossy().as_ref())
                || name.contains("containerd")
            {
                names.insert(name);
            }
        }
    }
    Ok(names.into_iter().collect::<Vec<_>>().join("\n"))
}

fn compare(before: &BTreeSet<String>, after: &BTreeSet<String>) -> Result<()> {
    // Other programs of the machine come and go in /tmp and /run; only what has our marks counts there.
    let ours = |line: &&String| {
        let loose = ["file /tmp/", "file /run/"]
            .iter()
            .any(|prefix| line.starts_with(prefix));
        !loose
            || ["holdfast", "hf-", "ground", "mmdebstrap", "buildah"]
                .iter()
                .any(|mark| line.contains(mark))
    };
    let left: Vec<_> = after.difference(before).filter(ours).collect();
    claim(left.is_empty(), format!("nothing is left: {left:?}"))
}

pub(super) fn side_by_side(stage: &Stage) -> Result<String> {
    TRIO.ready(stage)?;
    program(stage, &["down"])?.run()?;
    let before = machine()?;
    let begun = Instant::now();
    up(stage, "1")?.run()?;
    let took = begun.elapsed();
    let nodes = program(stage, &["kubectl", "get", "nodes", "-o", "name"])?.output()?;
    claim(
        nodes.trim() == "node/node1",
        format!("it has its own node: {nodes}"),
    )?;
    let again = Instant::now();
    up(stage, "2")?.run()?;
    let nodes = program(stage, &["kubectl", "get", "nodes", "-o", "name"])?.output()?;
    claim(
        nodes.lines().count() == 2,
        format!("a second node was added: {nodes}"),
    )?;
    let grown = again.elapsed();
    TRIO.wait_ready(stage)?;
    let less = up(stage, "1")?.run().err().context("it gave a node back")?;
    claim(
        less.to_string().contains("down first"),
        format!("it says what to do instead: {less:#}"),
    )?;
    let begun = Instant::now();
    program(stage, &["down"])?.run()?;
    let down = begun.elapsed();
    claim(
        program(stage, &["remains"])?.output()?.is_empty(),
        "it knows of nothing left",
    )?;
    compare(&before, &machine()?)?;
    TRIO.wait_ready(stage)?;
    Ok(format!(
        "up in {:.1} s warm, a node more in {:.1} s, down in {:.1} s, nothing left; the first never noticed",
        took.as_secs_f64(),
        grown.as_secs_f64(),
        down.as_secs_f64()
    ))
}

pub(super) fn killed_while_made(stage: &Stage) -> Result<String> {
    program(stage, &["down"])?.run()?;
    let before = machine()?;
    let begun = Instant::now();
    up(stage, "1")?.run()?;
    let mut whole = begun.elapsed();
    program(stage, &["down"])?.run()?;
    let mut killed = 0;
    // Killed at eight moments spread over the time that it takes.
    for eighth in 0..8_u32 {
        let log = std::env::temp_dir().join(format!("holdfast-killed-{}.log", std::process::id()));
        let mut child = up(stage, "1")?.detached(&log)?;
        let waited = whole * (2 * eighth + 1) / 16;
        std::thread::sleep(waited);
        match child.try_wait()? {
            None => killed += 1,
            // The first one was slow, on a busy machine.
            Some(_) => whole = whole.min(waited),
        }
        let _ = child.kill();
        child.wait()?;
        std::fs::remove_file(&log)?;
        if eighth % 2 == 0 {
            up(stage, "1")?.run().context("up after a kill")?;
            let ready = program(
                stage,
                &[
                    "kubectl",
                    "wait",
                    "--for=condition=Ready",
                    "node/node1",
                    "--timeout=60s",
                ],
            )?;
            ready.run()?;
        }
        program(stage, &["down"])?.run().context("down after a kill")?;
        compare(&before, &machine()?)?;
    }
    claim(
        killed >= 5,
        format!("most were killed before they had finished: {killed} of 8"),
    )?;
    Ok(format!(
        "{killed} of 8 killed within {:.1} s; up works after, down leaves nothing",
        whole.as_secs_f64()
    ))
}

pub(super) fn refusals(stage: &Stage) -> Result<String> {
    let mut told = Vec::new();
    let mut refuses = |what: &str, command: Cmd, advice: &str| -> Result<()> {
        let error = command
            .run()
            .err()
            .with_context(|| format!("{what} was accepted"))?;
        let said = format!("{error:#}");
        claim(said.contains(advice), format!("{what}: says {advice:?}: {said}"))?;
        told.push(what.to_owned());
        Ok(())
    };
    let main = stage.ground()?.spec().clone();
    let copy = copy_for_anybody(stage)?;
    let nobody = cmd("setpriv", ["--reuid=65534", "--regid=65534", "--clear-groups"])
        .args([copy.as_os_str()])
        .args(["--name", OTHER, "up"]);
    refuses("a user who is not root", nobody, "run it as root")?;
    let without_go = up(stage, "1")?.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    refuses("a machine without Go", without_go, "install Go")?;
    let taken = program(stage, &["up", "--net", &main.range()])?;
    refuses("a range that is taken", taken, "choose another with --net")?;
    let small = up(stage, "1")?.env("HOLDFAST_GROUND_DISK_MIN_BYTES", "900000000000000000");
    refuses("a disk that is too small", small, "HOLDFAST_GROUND_STATE")?;
    refuses(
        "a public range",
        program(stage, &["up", "--net", "8.8.0.0/16"])?,
        "use a private /16",
    )?;
    refuses("ten nodes", up(stage, "10")?, "use 1 to 9")?;
    let odd = cmd(
        stage.ground()?.paths.program("ground"),
        ["--name", "No/Good", "up"],
    );
    refuses("a name that fits no interface", odd, "lower-case letters")?;
    let moved = cmd(
        stage.ground()?.paths.program("ground"),
        ["--name", &main.name, "up", "--net", "10.99.0.0/16"],
    );
    refuses(
        "another range for a ground that is up",
        moved,
        "take it down first",
    )?;
    refuses(
        "a ground that is not there",
        program(stage, &["status"])?,
        "cargo ground up --name",
    )?;
    std::fs::remove_file(copy)?;
    program(stage, &["down"])?.run()?;
    Ok(format!("{}: {}", told.len(), told.join(", ")))
}

/// Nobody can look into root's folders: the program must lie where everybody can run it.
fn copy_for_anybody(stage: &Stage) -> Result<PathBuf> {
    let copy = std::env::temp_dir().join(format!("holdfast-ground-{}", std::process::id()));
    std::fs::copy(stage.ground()?.paths.program("ground"), &copy)?;
    Ok(copy)
}
