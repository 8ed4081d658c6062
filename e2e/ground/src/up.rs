//! Makes a proving ground, or finishes or grows one.
//! Must not leave a machine that the next `up` or `down` cannot clean.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cache::{self, Key};
use crate::ground::{Ground, Lock, Record};
use crate::images::{self, Built};
use crate::progress::Progress;
use crate::shell::cmd;
use crate::spec::{Paths, Spec, Unit, checkout};
use crate::{cgroup, control_plane, down, faults, machine, network, node, preflight};

const API_READY_WITHIN: Duration = Duration::from_secs(120);
const NODES_READY_WITHIN: Duration = Duration::from_secs(180);

/// Every name under which the one binary is called.
const PROGRAMS: &[&str] = &[
    "coredns",
    "csi-controller",
    "csi-node",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
    "netpol",
    "pki",
];

/// What goes into the binary; the manifests beside it do not.
const KUBE_INPUTS: &[&str] = &[
    "e2e/ground/kube/*.go",
    "e2e/ground/kube/go.*",
    "e2e/ground/kube/internal",
    "e2e/ground/kube/build.sh",
];

/// Gives a running ground that is as asked.
pub fn up(spec: &Spec, progress: &Progress) -> Result<Ground> {
    preflight::check_root()?;
    let _lock = Lock::take(&spec.name)?;
    match Ground::open_any(&spec.name)? {
        Some(ground) if ground.record.complete && ground.spec().net != spec.net => bail!(
            "the ground {:?} is up with the range {}: take it down first, or use another --name",
            spec.name,
            ground.spec().range()
        ),
        Some(ground) if ground.record.complete => return grow(ground, spec, progress),
        _ => {}
    }
    progress.phase("packages", || {
        let installed = preflight::install_missing()?;
        Ok((
            (),
            if installed.is_empty() {
                "all there".to_owned()
            } else {
                installed.join(" ")
            },
        ))
    })?;
    progress.phase("clean what an earlier run left", || {
        Ok((down::sweep(&spec.name)?, String::new()))
    })?;
    preflight::check(spec)?;
    // Whatever this command starts is found and ended with the ground, even if this process is killed.
    let builder = format!("{}/builder/system", spec.cgroup());
    cgroup::create(&builder)?;
    cgroup::join(&builder)?;
    cache::sweep_partial()?;
    let (kube, record) = build(spec, progress)?;
    let mut ground = Ground {
        record,
        paths: Paths::of(&spec.name),
    };
    ground.save()?;
    lay_out(&ground, &kube)?;
    progress.phase("network", || Ok((wire(spec)?, spec.range())))?;
    progress.phase("control plane", || start_control_plane(&ground))?;
    progress.phase("system objects", || Ok((apply_system(&ground)?, String::new())))?;
    progress.phase("nodes started", || Ok((start_nodes(&ground, 1)?, String::new())))?;
    progress.phase("nodes Ready", || {
        Ok((wait_nodes(&ground)?, format!("{}", spec.nodes)))
    })?;
    ground.record.complete = true;
    ground.save()?;
    Ok(ground)
}

/// Builds the Kubernetes binary and the images, or finds them in the cache.
fn build(spec: &Spec, progress: &Progress) -> Result<(std::path::PathBuf, Record)> {
    let image = |name: &str, make: fn() -> Result<Built>| {
        progress.phase(&format!("image {name}"), || {
            let built = make()?;
            let note = built.note();
            Ok((built, note))
        })
    };
    // The packages come over the network while the compiler has the processor.
    let (kube, mysql) = std::thread::scope(|scope| {
        let mysql = scope.spawn(|| image("mysql", images::mysql));
        let kube = progress.phase("kubernetes binary", kubernetes_binary);
        (kube, mysql.join())
    });
    let mysql = mysql.map_err(|_| anyhow::anyhow!("the build of the MySQL image panicked"))??;
    let kube = kube?;
    let pause = image("pause", images::pause)?;
    let operator = image("holdfast", images::operator)?;
    let (checker, checker_program) = progress.phase("image checker", || {
        let (built, program) = images::checker()?;
        let note = built.note();
        Ok(((built, program), note))
    })?;
    let template = progress.phase("images unpacked once", || {
        let (path, fresh) = images::template(&[pause, mysql], &[operator, checker])?;
        Ok((path, told(fresh).to_owned()))
    })?;
    let record = Record {
        spec: spec.clone(),
        complete: false,
        template,
        checker: checker_program,
    };
    Ok((kube, record))
}

fn told(fresh: bool) -> &'static str {
    if fresh { "built" } else { "cached" }
}

fn kubernetes_binary() -> Result<(std::path::PathBuf, String)> {
    let checkout = checkout()?;
    let version = cmd("go", ["version"]).output()?;
    let key = Key::new("kube")
        .text(&version)
        .tree(&checkout, KUBE_INPUTS)?
        .finish();
    let script = checkout.join("e2e/ground/kube/build.sh");
    let (path, fresh) = cache::get("kube", &key, |out| {
        cmd(&script, [out]).logged(&images::log_file("kube")?)
    })?;
    let megabytes = fs::metadata(&path)?.len() / 1_000_000;
    Ok((path, format!("{megabytes} MB, {}", told(fresh))))
}

/// The ground's folder: the programs under their names, certificates, the audit policy.
fn lay_out(ground: &Ground, kube: &Path) -> Result<()> {
    let bin = ground.paths.bin();
    fs::create_dir_all(&bin)?;
    link_or_copy(kube, &bin.join("ground-kube"))?;
    for name in PROGRAMS {
        let link = bin.join(name);
        cache::remove(&link)?;
        std::os::unix::fs::symlink("ground-kube", &link)?;
    }
    let copy = ground.paths.program("ground");
    cache::remove(&copy)?;
    // The file behind this process, even if a build has replaced it since.
    fs::copy("/proc/self/exe", &copy).context("failed to copy this program")?;
    for unit in ground.spec().units() {
        fs::create_dir_all(ground.paths.volumes(unit))?;
    }
    fs::write(
        ground.paths.unit(Unit::Control).join("audit-policy.yaml"),
        control_plane::AUDIT_POLICY,
    )?;
    issue_certificates(ground)
}

fn link_or_copy(from: &Path, to: &Path) -> Result<()> {
    cache::remove(to)?;
    if fs::hard_link(from, to).is_err() {
        fs::copy(from, to).with_context(|| format!("failed to copy {}", from.display()))?;
    }
    Ok(())
}

fn issue_certificates(ground: &Ground) -> Result<()> {
    let spec = ground.spec();
    let nodes: Vec<String> = spec
        .node_units()
        .map(|unit| format!("{}={}", unit.name(), spec.unit_address(unit)))
        .collect();
    cmd(ground.paths.program("pki"), ["--dir"])
        .args([ground.paths.pki()])
        .args(["--api-ip", &spec.api().to_string()])
        .args(["--service-ip", &spec.kubernetes_service().to_string()])
        .args(["--nodes", &nodes.join(",")])
        .run()
}

fn wire(spec: &Spec) -> Result<()> {
    network::create_bridge(spec)?;
    spec.units()
        .into_iter()
        .try_for_each(|unit| network::create_unit(spec, unit))
}

fn start_control_plane(ground: &Ground) -> Result<((), String)> {
    let spec = ground.spec();
    machine::start(spec, Unit::Control, control_plane::processes(spec))?;
    let begun = Instant::now();
    while !ground
        .kubectl_words("get --raw /readyz --request-timeout=2s")
        .ok()
    {
        if begun.elapsed() > API_READY_WITHIN {
            bail!("the API server is not ready: see `cargo ground logs control-plane kube-apiserver`");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    machine::start(spec, Unit::Client, control_plane::client_processes(spec))?;
    Ok((
        (),
        format!("API server ready after {:.1} s", begun.elapsed().as_secs_f64()),
    ))
}

fn apply_system(ground: &Ground) -> Result<()> {
    let manifest = include_str!("../kube/manifests/system.yaml");
    ground
        .kubectl_words("apply --server-side -f -")
        .input(manifest)
        .map(drop)
}

/// Starts one node, whose files and wires may exist already.
pub fn start_node(ground: &Ground, unit: Unit) -> Result<()> {
    let spec = ground.spec();
    let processes = node::prepare(spec, unit, &ground.record.template)?;
    machine::start(spec, unit, processes)
}

/// Starts the nodes from this index on, side by side.
fn start_nodes(ground: &Ground, from: u8) -> Result<()> {
    machine::allow_watchers()?;
    std::thread::scope(|scope| {
        let starts: Vec<_> = (from..=ground.spec().nodes)
            .map(|index| scope.spawn(move || start_node(ground, Unit::Node(index))))
            .collect();
        for start in starts {
            start
                .join()
                .map_err(|_| anyhow::anyhow!("the start of a node panicked"))??;
        }
        Ok(())
    })
}

fn wait_nodes(ground: &Ground) -> Result<()> {
    let begun = Instant::now();
    loop {
        let ready = ready_nodes(ground).unwrap_or_default();
        if ready >= usize::from(ground.spec().nodes) {
            return Ok(());
        }
        if begun.elapsed() > NODES_READY_WITHIN {
            bail!(
                "only {ready} of {} nodes are Ready: see `cargo ground status` and `cargo ground logs node1 kubelet`",
                ground.spec().nodes
            );
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// How many nodes say that they are Ready.
pub fn ready_nodes(ground: &Ground) -> Result<usize> {
    let path = r#"jsonpath={range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}"#;
    let text = ground
        .kubectl(["get", "nodes", "--request-timeout=3s", "-o", path])
        .output()?;
    Ok(text.lines().filter(|line| *line == "True").count())
}

/// Brings an existing ground to what is asked: dead units started, nodes added.
fn grow(mut ground: Ground, spec: &Spec, progress: &Progress) -> Result<Ground> {
    let had = ground.spec().nodes;
    if spec.nodes < had {
        bail!(
            "the ground {:?} has {had} nodes and gives none back: take it down first",
            spec.name
        );
    }
    for unit in ground.spec().units() {
        if machine::init_pid(ground.spec(), unit)?.is_none() {
            progress.phase(&format!("start {}", unit.name()), || {
                Ok((revive(&ground, unit)?, String::new()))
            })?;
        }
    }
    if spec.nodes > had {
        ground.record.spec.nodes = spec.nodes;
        add_nodes(&ground, had, progress)?;
        ground.save()?;
    }
    progress.phase("nodes Ready", || {
        Ok((wait_nodes(&ground)?, format!("{}", spec.nodes)))
    })?;
    Ok(ground)
}

/// Starts a unit again after its processes were killed.
pub fn revive(ground: &Ground, unit: Unit) -> Result<()> {
    let spec = ground.spec();
    match unit {
        Unit::Control => machine::start(spec, unit, control_plane::processes(spec))?,
        Unit::Client => machine::start(spec, unit, control_plane::client_processes(spec))?,
        Unit::Node(_) => start_node(ground, unit)?,
    }
    // Its cables are as they were, faults and all; the process that delays packets is not.
    faults::net::sync(ground, unit)
}

fn add_nodes(ground: &Ground, had: u8, progress: &Progress) -> Result<()> {
    let spec = ground.spec();
    let fresh: Vec<Unit> = spec
        .node_units()
        .filter(|unit| matches!(unit, Unit::Node(i) if *i > had))
        .collect();
    issue_certificates(ground)?;
    for unit in &fresh {
        fs::create_dir_all(ground.paths.volumes(*unit))?;
        // A killed attempt may have left the wires of this node.
        network::delete_unit(spec, *unit);
        network::create_unit(spec, *unit)?;
        for other in spec.units() {
            if !fresh.contains(&other) {
                network::route_to(spec, other, *unit)?;
            }
        }
    }
    progress.phase("more nodes started", || {
        Ok((start_nodes(ground, had + 1)?, format!("{}", fresh.len())))
    })
}
