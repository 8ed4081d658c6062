//! Stories of what the operator takes: rights, memory, calls while nothing happens; and what it lets be seen.
//! Must not judge by what the operator says of itself: the API server's own log and every other log are read.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ground::cgroup;
use ground::faults::pod;
use ground::ground::Ground;
use ground::machine;

use super::switchover::Asked;
use crate::audit::{self, Call};
use crate::cluster::Cluster;
use crate::operator;
use crate::stage::{Stage, claim, wait_until};

/// How long nothing may be written, in the story; the bench measures longer.
const IDLE: Duration = Duration::from_secs(60);
const QUIET_WITHIN: Duration = Duration::from_secs(120);
const MANY: u8 = 20;

/// Of the operator's rights, those that no run here can use, each with its reason.
const UNUSED: &[(&str, &str)] = &[
    (
        "update mysqlclusters/finalizers",
        "asked for only where OwnerReferencesPermissionEnforcement is on",
    ),
    ("patch events", "an Event is told again only if it comes again"),
    (
        "create leases",
        "the Lease comes with the chart; only one that was deleted is made",
    ),
];

/// Server-side apply of what is not there yet is a patch that asks for `create`.
const APPLIED: &[&str] = &[
    "networkpolicies",
    "persistentvolumeclaims",
    "poddisruptionbudgets",
    "secrets",
    "serviceaccounts",
    "services",
];

/// Twenty clusters at once come up, need little of the controller, and cause no writes.
pub(super) fn twenty(stage: &Stage) -> Result<String> {
    operator::installed(stage)?;
    stage.delete_namespace("twenty")?;
    stage.namespace("twenty")?;
    let names: Vec<String> = (0..MANY).map(|n| format!("c{n}")).collect();
    let cluster = |name| Cluster {
        namespace: "twenty",
        name,
        instances: 1,
        memory: "512Mi",
        size: "1Gi",
        ..Cluster::default()
    };
    cluster(&names[0]).apply(stage)?;
    cluster(&names[0]).wait_healthy(stage)?;
    let one = controller_kib(stage)?;
    let begun = Instant::now();
    let manifests: Vec<String> = names.iter().map(|name| cluster(name).manifest(stage)).collect();
    stage.apply(&manifests.join("---\n"))?;
    for name in &names {
        cluster(name).wait_healthy(stage)?;
    }
    let took = begun.elapsed();
    let all = controller_kib(stage)?;
    let idle = idle(stage, IDLE)?;
    claim(
        idle.writes.is_empty(),
        format!("nothing is written: {:?}", told(&idle.writes)),
    )?;
    stage
        .k("delete mysqlclusters --all -n twenty --wait=true --timeout=300s")
        .run()?;
    stage.delete_namespace("twenty")?;
    Ok(format!(
        "20 clusters Healthy in {:.0} s; controller {:.1} MiB with 1, {:.1} MiB with 20; idle {} s: 0 writes but \
         {} of the lease, {} reads",
        took.as_secs_f64(),
        one as f64 / 1024.0,
        all as f64 / 1024.0,
        idle.lasted.as_secs(),
        idle.leases,
        idle.reads,
    ))
}

/// What the operator did at the API server while nothing happened.
pub struct Idle {
    /// How long it was watched.
    pub lasted: Duration,
    /// Writes but to the lease.
    pub writes: Vec<Call>,
    /// Writes to the lease.
    pub leases: usize,
    /// Everything else.
    pub reads: usize,
}

/// Waits until ten seconds were quiet, then watches for so long.
pub fn idle(stage: &Stage, lasted: Duration) -> Result<Idle> {
    let is_quiet = |since: &str| -> Result<bool> {
        let calls = audit::calls(stage)?;
        Ok(!calls
            .iter()
            .any(|call| call.at.as_str() > since && is_counted(call)))
    };
    wait_until("ten seconds without a write", QUIET_WITHIN, || {
        let since = audit::now()?;
        std::thread::sleep(Duration::from_secs(10));
        is_quiet(&since)
    })?;
    let since = audit::now()?;
    // The measure itself: how much happens in this time.
    std::thread::sleep(lasted);
    let calls: Vec<Call> = audit::calls(stage)?
        .into_iter()
        .filter(|call| call.at > since)
        .collect();
    let (writes, others): (Vec<_>, Vec<_>) = calls.into_iter().partition(is_counted);
    let leases = others.iter().filter(|call| call.is_write()).count();
    claim(leases > 0, "the audit log shows the lease")?;
    Ok(Idle {
        lasted,
        writes,
        leases,
        reads: others.len() - leases,
    })
}

fn is_counted(call: &Call) -> bool {
    call.is_write() && call.resource != "leases"
}

fn told(calls: &[Call]) -> Vec<String> {
    calls.iter().map(Call::told).collect()
}

/// The resident memory of the controller that leads.
pub fn controller_kib(stage: &Stage) -> Result<u64> {
    let leader = operator::leader(stage)?.context("nobody leads")?;
    let ground = stage.ground()?;
    let pod = pod::find(ground, operator::NAMESPACE, &leader)?;
    let pids = pod::processes(ground, &pod, Some("holdfast"))?;
    let pid = pids.first().context("the leader has no process")?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("failed to read its memory")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line
        .and_then(|line| line.split_whitespace().next())
        .context("no VmRSS")?;
    kib.parse().context("VmRSS is no number")
}

/// An object with a cluster's labels and owner that the cluster does not need.
fn orphan(object: &serde_json::Value, kind: &str, api: &str, spec: &str) -> String {
    let text = |path: &str| object["metadata"][path].as_str().unwrap_or_default().to_owned();
    let (name, namespace, uid) = (text("name"), text("namespace"), text("uid"));
    format!(
        "apiVersion: {api}\nkind: {kind}\nmetadata:\n  name: {name}-left-over\n  namespace: {namespace}\n  labels:\n    \
         app.kubernetes.io/name: mysql\n    app.kubernetes.io/managed-by: holdfast\n    mysql.holdfast.dev/cluster: {name}\n  \
         ownerReferences:\n  - {{apiVersion: mysql.holdfast.dev/v1alpha1, kind: MySQLCluster, name: {name}, uid: {uid}, \
         controller: true}}\n{spec}"
    )
}

const ORPHANS: [(&str, &str, &str); 4] = [
    ("Service", "v1", "spec: {ports: [{port: 1}]}\n"),
    ("ServiceAccount", "v1", ""),
    ("PodDisruptionBudget", "policy/v1", "spec: {maxUnavailable: 1}\n"),
    (
        "NetworkPolicy",
        "networking.k8s.io/v1",
        "spec: {podSelector: {matchLabels: {nobody: here}}}\n",
    ),
];

/// What is left over goes, what is removed by hand comes back, and both soon; every right is used, none is missing.
pub(super) fn rights(stage: &Stage) -> Result<String> {
    operator::installed(stage)?;
    let mut cluster = Cluster {
        namespace: "rights",
        more: "  deletionPolicy: Delete\n",
        ..Cluster::default()
    };
    cluster.healthy(stage)?;
    let gone = orphans_go(stage, &cluster)?;
    let back = service_comes_back(stage, &cluster)?;
    Asked::create(stage, &cluster, "rehearsal", ", dryRun: true")?.wait("Ready")?;
    cluster.instances = 1;
    cluster.apply(stage)?;
    cluster.wait_healthy(stage)?;
    cluster.remove(stage)?;
    // A watch is written down when it ends.
    for pod in operator::pods(stage)? {
        stage
            .k(&format!(
                "delete pod {pod} -n {} --grace-period=1",
                operator::NAMESPACE
            ))
            .run()?;
    }
    operator::ready(stage)?;
    let (calls, granted, unused) = compared(stage)?;
    Ok(format!(
        "{calls} calls, {granted} rights granted, {unused} without use here, each with a reason; left-overs gone in \
         {:.1} s, a deleted Service back in {:.1} s",
        gone.as_secs_f64(),
        back.as_secs_f64(),
    ))
}

fn orphans_go(stage: &Stage, cluster: &Cluster<'_>) -> Result<Duration> {
    let object = cluster.get(stage)?;
    for (kind, api, spec) in ORPHANS {
        stage.apply(&orphan(&object, kind, api, spec))?;
    }
    let begun = Instant::now();
    for (kind, _, _) in ORPHANS {
        wait_until(
            &format!("the {kind} that is left over goes"),
            Duration::from_secs(30),
            || {
                let list = stage.get(&format!(
                    "{kind} -n {} -l mysql.holdfast.dev/cluster",
                    cluster.namespace
                ))?;
                Ok(!list.to_string().contains("left-over"))
            },
        )?;
    }
    Ok(begun.elapsed())
}

fn service_comes_back(stage: &Stage, cluster: &Cluster<'_>) -> Result<Duration> {
    stage
        .k(&format!(
            "delete service {}-primary -n {}",
            cluster.name, cluster.namespace
        ))
        .run()?;
    wait_until(
        "the Service is back and leads to the primary",
        Duration::from_secs(30),
        || Ok(cluster.query(stage, "primary", "SELECT 1").is_ok()),
    )
}

/// How many calls there were, rights are granted, and of these no call used: only those with a reason.
fn compared(stage: &Stage) -> Result<(usize, usize, usize)> {
    let calls = audit::calls(stage)?;
    // An API server that has just started knows no roles for a moment: the same call is allowed at other times.
    let (refused, allowed): (Vec<&Call>, Vec<&Call>) = calls.iter().partition(|call| call.is_forbidden);
    let allowed: BTreeSet<String> = allowed.into_iter().map(Call::told).collect();
    let refused = refused.into_iter().map(Call::told);
    let refused: BTreeSet<String> = refused.filter(|call| !allowed.contains(call)).collect();
    claim(
        refused.is_empty(),
        format!("nothing is refused for want of a right: {refused:?}"),
    )?;
    let (granted, used) = (audit::granted(stage)?, audit::used(&calls));
    claim(granted.len() > 30, "the roles are read")?;
    let idle: Vec<String> = granted
        .difference(&used)
        .filter(|(_, resource, verb)| verb != "create" || !APPLIED.contains(&resource.as_str()))
        .map(|(_, resource, verb)| format!("{verb} {resource}"))
        .filter(|right| !UNUSED.iter().any(|(known, _)| known == right))
        .collect();
    claim(idle.is_empty(), format!("every right is used: not so {idle:?}"))?;
    Ok((calls.len(), granted.len(), granted.difference(&used).count()))
}

/// A secret, and where it comes from, for people.
struct Canary {
    from: String,
    value: String,
}

/// Every value of a cluster's Secrets that must be seen nowhere else, plain and as Secrets hold it.
fn canaries(stage: &Stage, cluster: &Cluster<'_>) -> Result<Vec<Canary>> {
    let list = stage.get(&format!("secrets -n {}", cluster.namespace))?;
    let mut found = Vec::new();
    for secret in list["items"].as_array().context("no list of Secrets")? {
        let name = secret["metadata"]["name"].as_str().unwrap_or_default();
        for (key, value) in secret["data"].as_object().into_iter().flatten() {
            let is_public =
                ["ca.crt", "tls.crt", "username", "database", "host", "port"].contains(&key.as_str());
            let encoded = value.as_str().unwrap_or_default();
            if is_public || encoded.is_empty() {
                continue;
            }
            let line = format!("printf %s {encoded} | base64 -d");
            let plain = ground::shell::cmd("sh", ["-c", &line]).output()?;
            // Of a key in PEM, the line in its middle.
            let lines: Vec<&str> = plain.lines().filter(|line| !line.starts_with("---")).collect();
            let middle = lines
                .get(lines.len() / 2)
                .context("a Secret has an empty value")?;
            for value in [(*middle).to_owned(), encoded.chars().take(60).collect()] {
                found.push(Canary {
                    from: format!("{name}/{key}"),
                    value,
                });
            }
        }
    }
    Ok(found)
}

fn seen(canaries: &[Canary], text: &[u8], place: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let found = canaries.iter().filter(|canary| text.contains(&canary.value));
    found
        .map(|canary| format!("{} in {place}", canary.from))
        .collect()
}

fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("failed to list {}", folder.display()))? {
        let path = entry?.path();
        match fs::symlink_metadata(&path) {
            Ok(kind) if kind.is_dir() => files(&path, found)?,
            Ok(kind) if kind.is_file() => found.push(path),
            _ => {}
        }
    }
    Ok(())
}

/// Every log of the ground, and what every process in a Pod was started with.
fn on_the_machine(ground: &Ground, look: &mut impl FnMut(&[u8], &str)) -> Result<()> {
    let mut logs = Vec::new();
    files(ground.paths.root(), &mut logs)?;
    for path in logs
        .iter()
        .filter(|path| path.components().any(|part| part.as_os_str() == "log"))
    {
        // A log may go with its Pod.
        look(&fs::read(path).unwrap_or_default(), &path.display().to_string());
    }
    for unit in ground.spec().node_units() {
        for pid in cgroup::processes(&format!("{}/pods", machine::group(ground.spec(), unit)))? {
            for file in ["cmdline", "environ"] {
                let path = format!("/proc/{pid}/{file}");
                look(&fs::read(&path).unwrap_or_default(), &path);
            }
        }
    }
    Ok(())
}

/// As Prometheus would read them, but from inside: the API server is no Pod, and kept out.
fn metrics(stage: &Stage, cluster: &Cluster<'_>, member: &str) -> Result<String> {
    let ask = "exec 3<>/dev/tcp/127.0.0.1/9307 && printf 'GET /metrics HTTP/1.1\\r\\nhost: here\\r\\n\\r\\n' >&3 && cat <&3";
    let text = cluster.inside(stage, member, &["bash", "-c", ask])?;
    claim(text.contains("# TYPE"), format!("these are metrics: {text}"))?;
    Ok(text)
}

/// No password and no key in any log, argument, environment, metric or object but Secrets.
pub(super) fn canary(stage: &Stage) -> Result<String> {
    operator::installed(stage)?;
    let cluster = Cluster {
        namespace: "canary",
        ..Cluster::default()
    };
    cluster.healthy(stage)?;
    let replica = cluster.replica(stage)?;
    stage
        .k(&format!(
            "delete pod {replica} -n {} --wait=true",
            cluster.namespace
        ))
        .run()?;
    stage.kill(cluster.namespace, &cluster.primary(stage)?, "mysqld")?;
    cluster.wait_healthy(stage)?;
    let canaries = canaries(stage, &cluster)?;
    claim(
        canaries.len() >= 14,
        format!("passwords and keys are known: {}", canaries.len()),
    )?;
    let secrets = stage
        .k(&format!("get secrets -n {} -o yaml", cluster.namespace))
        .output()?;
    claim(
        !seen(&canaries, secrets.as_bytes(), "").is_empty(),
        "they are found where they are",
    )?;
    let mut places = 0;
    let mut found = Vec::new();
    let mut look = |text: &[u8], place: &str| {
        places += 1;
        found.extend(seen(&canaries, text, place));
    };
    let ground = stage.ground()?;
    on_the_machine(ground, &mut look)?;
    let kinds = "mysqlclusters,pods,configmaps,events,services,endpointslices,persistentvolumeclaims,networkpolicies,\
                 poddisruptionbudgets,serviceaccounts,leases,deployments";
    let objects = stage
        .k(&format!("get {kinds} -A -o yaml --show-managed-fields"))
        .output()?;
    look(objects.as_bytes(), "an object");
    for n in 0..cluster.instances {
        let member = format!("{}-{n}", cluster.name);
        look(
            metrics(stage, &cluster, &member)?.as_bytes(),
            &format!("metrics of {member}"),
        );
    }
    claim(found.is_empty(), format!("no secret is seen: {found:?}"))?;
    claim(places > 50, format!("there is enough to look at: {places}"))?;
    cluster.remove(stage)?;
    Ok(format!(
        "{} values looked for in {places} places, none found",
        canaries.len()
    ))
}
