//! Holds every packet that leaves a unit for a fixed time: the kernel queues them to a process of ours.
//! Must not drop any; if the process ends, the kernel lets packets pass.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nfq::{Message, Queue, Verdict};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cgroup;
use crate::ground::Ground;
use crate::machine;
use crate::network::enter;
use crate::shell::cmd;
use crate::spec::Unit;

const QUEUE: u16 = 77;
/// More than a link of this machine carries in the longest delay that makes sense.
const PACKETS_MAX: u32 = 65_535;
/// Headers are enough to find a packet again; its content stays in the kernel.
const COPIED_BYTES: u16 = 64;
const TICK: Duration = Duration::from_micros(500);
const BOUND_WITHIN: Duration = Duration::from_secs(5);

/// The process itself, inside a unit's network: takes packets, gives each back when its time has come.
pub fn run(delay: Duration) -> Result<()> {
    let mut queue = Queue::open().context("failed to open the packet queue")?;
    queue.bind(QUEUE).context("failed to bind the packet queue")?;
    queue.set_copy_range(QUEUE, COPIED_BYTES)?;
    queue.set_queue_max_len(QUEUE, PACKETS_MAX)?;
    queue.set_recv_gso(QUEUE, true)?;
    queue.set_nonblocking(true);
    let mut held: VecDeque<(Instant, Message)> = VecDeque::new();
    loop {
        match queue.recv() {
            Ok(message) => {
                held.push_back((Instant::now() + delay, message));
                continue;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("failed to read the packet queue"),
        }
        while held.front().is_some_and(|(due, _)| *due <= Instant::now()) {
            let Some((_, mut message)) = held.pop_front() else {
                break;
            };
            message.set_verdict(Verdict::Accept);
            queue.verdict(message).context("failed to give a packet back")?;
        }
        std::thread::sleep(TICK);
    }
}

/// Makes the unit's packets wait this long, or not at all.
pub(super) fn set(ground: &Ground, unit: Unit, delay_ms: Option<u32>) -> Result<()> {
    let rule = [
        "POSTROUTING",
        "-o",
        "eth0",
        "-j",
        "NFQUEUE",
        "--queue-num",
        "77",
        "--queue-bypass",
    ];
    let iptables = |action: &str| {
        // The nftables of this kernel cannot queue; the older tables can.
        enter(
            ground.spec(),
            unit,
            &["iptables-legacy", "-w", "-t", "mangle", action],
        )
        .args(rule)
    };
    while iptables("-D").ok() {}
    stop(ground, unit)?;
    if let Some(delay_ms) = delay_ms {
        start(ground, unit, delay_ms)?;
        iptables("-A").run()?;
    }
    Ok(())
}

fn start(ground: &Ground, unit: Unit, delay_ms: u32) -> Result<()> {
    let spec = ground.spec();
    let script = format!(
        "{} && exec nsenter --net=/run/netns/{} {} delay {delay_ms}",
        cgroup::join_script(&format!("{}/system", machine::group(spec, unit)))?,
        spec.netns(unit),
        ground.paths.program("ground").display(),
    );
    cmd("setsid", ["sh", "-c", &script]).detached(&ground.paths.logs(unit).join("delay.log"))?;
    let begun = Instant::now();
    while !is_bound(ground, unit)? {
        if begun.elapsed() > BOUND_WITHIN {
            bail!(
                "packets cannot be held: see `cargo ground logs {} delay`",
                unit.name()
            );
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn is_bound(ground: &Ground, unit: Unit) -> Result<bool> {
    let queues = enter(
        ground.spec(),
        unit,
        &["cat", "/proc/net/netfilter/nfnetlink_queue"],
    )
    .output()?;
    Ok(queues
        .lines()
        .any(|line| line.split_whitespace().next() == Some("77")))
}

fn stop(ground: &Ground, unit: Unit) -> Result<()> {
    for pid in processes(ground, unit)? {
        let _ = kill(pid, Signal::SIGKILL);
    }
    Ok(())
}

fn processes(ground: &Ground, unit: Unit) -> Result<Vec<Pid>> {
    let system = format!("{}/system", machine::group(ground.spec(), unit));
    let program = ground.paths.program("ground").display().to_string();
    let ours = |pid: &Pid| machine::arguments(*pid).starts_with(&[program.clone(), "delay".to_owned()]);
    Ok(cgroup::processes(&system)?.into_iter().filter(ours).collect())
}
