//! Story of what an acknowledgement of a replica is worth when the power goes.
//! Must not judge by itself: the checker's verdict is read, never made.

use std::time::Duration;

use anyhow::{Context, Result};
use checker::verdict::{Kind, Verdict};
use ground::faults::{Disk, DiskFault, Fault, Injected};
use ground::probe::Place;
use ground::spec::Unit;
use nix::sys::signal::Signal;

use crate::load;
use crate::pair::{Pair, REPLICA};
use crate::stage::{Stage, claim, wait_until};

/// Lines of history before the power goes: nothing of the last seconds was written back by then.
const LINES_BEFORE: usize = 2_000;
const WITHIN: Duration = Duration::from_secs(120);

/// Source and replica lose what was not synced, at once; the replica alone goes on, with its relay log.
pub(super) fn both_lose_power(stage: &Stage) -> Result<String> {
    let mut lines = Vec::new();
    for (namespace, events, loses) in [("relay-written", 10_000, true), ("relay-synced", 1, false)] {
        let pair = Pair::made(stage, namespace, events)?;
        let verdict = cut(stage, &pair)?;
        let lost = verdict.found(Kind::LostWrite).is_some();
        claim(
            lost == loses,
            format!("sync_relay_log={events}, losses are expected: {loses}\n{verdict}"),
        )?;
        lines.push(format!("sync_relay_log={events}: {}", load::told(&verdict)));
        pair.servers.remove(stage)?;
    }
    Ok(lines.join("; "))
}

fn cut(stage: &Stage, pair: &Pair<'_>) -> Result<Verdict> {
    let ground = stage.ground()?;
    let file = format!("holdfast-{}-{}.jsonl", pair.servers.namespace, std::process::id());
    let history = std::env::temp_dir().join(file);
    ground::cache::remove(&history)?;
    let source = pair.login(stage, 0)?;
    load::set_up(|| load::program(stage, &source, "setup", &[]))?;
    // Its tables are there in any case: what is acknowledged from now on is only in the relay log.
    pair.apply_all(stage)?;
    let path = history.display().to_string();
    let args = ["--history", &path, "--clients", "8", "--timeout-ms", "1000"];
    let mut writing =
        load::program(stage, &source, "run", &args)?.detached(&history.with_extension("log"))?;
    let cut = || -> Result<Vec<Injected>> {
        wait_until("enough is written", WITHIN, || {
            Ok(std::fs::read_to_string(&history)?.lines().count() > LINES_BEFORE)
        })?;
        [REPLICA, 0]
            .iter()
            .map(|index| power_lost(stage, pair, *index))
            .collect()
    };
    let faults = cut();
    // It must end before anybody serves again: a source that starts alone waits for nobody.
    let pid = nix::unistd::Pid::from_raw(i32::try_from(writing.id())?);
    nix::sys::signal::kill(pid, Signal::SIGTERM).context("failed to stop the checker")?;
    writing.wait()?;
    for fault in faults? {
        fault.heal()?;
    }
    let address = pair.servers.place(stage, REPLICA)?.1;
    let client = Place::unit(ground, Unit::Client);
    wait_until("the replica answers", WITHIN, || {
        client.is_greeted(address, Duration::from_secs(1))
    })?;
    wait_until("its relay log is applied", WITHIN, || {
        pair.apply_all(stage).map(|()| true)
    })?;
    let judged = ["--history", &path, "-o", "json"];
    let verdict = load::judged(stage, &pair.login(stage, REPLICA)?, &judged);
    ground::cache::remove(&history)?;
    ground::cache::remove(&history.with_extension("log"))?;
    verdict
}

fn power_lost(stage: &Stage, pair: &Pair<'_>, index: u8) -> Result<Injected> {
    let ground = stage.ground()?;
    let disk = Disk::of_pod(ground, pair.servers.namespace, &pair.servers.pod(index), None)?;
    let fault = DiskFault::PowerLost;
    Fault::Disk { disk, fault }.inject(ground)
}
