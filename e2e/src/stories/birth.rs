//! Stories of a cluster's beginning: from the manifest to the first write, through interruptions.
//! Must not wait for time to pass: every wait is for something seen.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ground::faults::Fault;

use crate::cluster::{Cluster, condition, is_said};
use crate::gate::Gate;
use crate::load::{self, Load};
use crate::operator;
use crate::stage::{Stage, claim, wait_until};

/// A record that every gate refuses.
const PROBE: &str = r#"{"epoch":1}"#;
const OUTAGE: Duration = Duration::from_secs(120);

/// Applied, Ready, and a row written and read through both Services.
pub(super) fn from_one_manifest(stage: &Stage) -> Result<String> {
    operator::installed(stage)?;
    let cluster = Cluster {
        namespace: "born",
        ..Cluster::default()
    };
    let begun = cluster.create(stage)?;
    wait_until("the first acknowledged write", Duration::from_secs(120), || {
        let made = "CREATE TABLE IF NOT EXISTS first (id INT PRIMARY KEY); REPLACE INTO first VALUES (1)";
        Ok(cluster.query(stage, "primary", made).is_ok())
    })
    .with_context(|| cluster.told(stage))?;
    let written = begun.elapsed();
    cluster.wait_healthy(stage)?;
    let ready = begun.elapsed();
    wait_until("the row on the replicas", Duration::from_secs(10), || {
        Ok(cluster.query(stage, "replicas", "SELECT id FROM first")? == "1")
    })?;
    let object = cluster.get(stage)?;
    claim(
        is_said(&object, "Redundant", "True"),
        format!("a node may be lost now: {}", object["status"]),
    )?;
    let primary = cluster.primary(stage)?;
    let settings = cluster.query(
        stage,
        "primary",
        "SELECT CONCAT_WS(' ', @@rpl_semi_sync_source_wait_point, @@rpl_semi_sync_source_wait_for_replica_count, \
         @@sync_binlog, @@innodb_flush_log_at_trx_commit, @@gtid_mode)",
    )?;
    claim(
        settings == "AFTER_SYNC 1 1 1 ON",
        format!("lossless settings: {settings}"),
    )?;
    // Until it has a replica the Service leads to the primary, and nodes follow up to a second after it is changed.
    wait_until(
        "a replica behind the Service, that refuses writes",
        Duration::from_secs(10),
        || {
            let answer = cluster.query(stage, "replicas", "REPLACE INTO first VALUES (2)");
            Ok(answer.is_err_and(|error| format!("{error:#}").contains("read-only")))
        },
    )?;
    cluster.remove(stage)?;
    Ok(format!(
        "first write after {:.1} s, Ready after {:.1} s, primary {primary}",
        written.as_secs_f64(),
        ready.as_secs_f64()
    ))
}

/// The controller's processes are killed every few seconds until the cluster is Healthy.
pub(super) fn controller_killed(stage: &Stage) -> Result<String> {
    operator::installed(stage)?;
    let cluster = Cluster {
        namespace: "interrupted",
        ..Cluster::default()
    };
    let begun = cluster.create(stage)?;
    let mut kills = 0;
    let mut last = Instant::now();
    wait_until("Healthy in spite of it", Duration::from_secs(240), || {
        if last.elapsed() > Duration::from_secs(5) && kills < 8 {
            kills += kill_controllers(stage)?;
            last = Instant::now();
        }
        let object = cluster.get(stage)?;
        Ok(object["status"]["state"] == "Healthy" && kills >= 8)
    })
    .with_context(|| cluster.told(stage))?;
    cluster.wait_healthy(stage)?;
    let verdict = Load::start(stage, &cluster)?.judge()?;
    let told = load::clean(&verdict)?;
    cluster.remove(stage)?;
    Ok(format!(
        "{kills} kills, Healthy after {:.1} s; {told}",
        begun.elapsed().as_secs_f64()
    ))
}

/// The term's epoch and the primary in the record, if there is one.
fn recorded(stage: &Stage, cluster: &Cluster<'_>) -> Result<Option<(u64, String)>> {
    let Some(record) = cluster.record(stage)? else {
        return Ok(None);
    };
    let epoch = record["term"]["epoch"].as_u64().context("it has no epoch")?;
    let primary = record["primary"].as_str().context("it has no primary")?;
    Ok(Some((epoch, primary.to_owned())))
}

/// In a new namespace, where records that match the expression are refused from here on: the birth stands still at a
/// known moment.
fn gate<'a>(stage: &'a Stage, cluster: &Cluster<'_>, matching: &str) -> Result<Gate<'a>> {
    stage.delete_namespace(cluster.namespace)?;
    stage.namespace(cluster.namespace)?;
    Gate::of_records(
        stage,
        cluster.namespace,
        &format!("record.matches('{matching}')"),
        PROBE,
    )
}

/// A member's node loses its power at a moment of the birth. The two others take writes without it, and
/// when it is back there is one history.
fn node_lost(
    stage: &Stage,
    cluster: &Cluster<'_>,
    gate: Gate<'_>,
    member: &str,
    begun: Instant,
) -> Result<String> {
    let ground = stage.ground()?;
    let unit = cluster.node(stage, member)?;
    let fault = Fault::UnitDown { unit: unit.clone() }.inject(ground)?;
    let seen = recorded(stage, cluster)?;
    let at = begun.elapsed();
    gate.open()?;
    let open = cluster.wait(stage, "two of three take writes", |object| {
        let is_open = is_said(object, "PrimaryAvailable", "True");
        is_open && object["status"]["primary"]["name"] != member
    })?;
    let load = Load::at_most(stage, cluster, Some(200))?;
    cluster.wait(
        stage,
        &format!("status says that {member} is missing"),
        |object| {
            let ready = condition(object, "Ready");
            ready.is_some_and(|ready| {
                let message = ready["message"].as_str().unwrap_or_default();
                ready["status"] == "False" && message.contains("2/3 ready") && message.contains(member)
            })
        },
    )?;
    let primary = cluster.primary(stage)?;
    fault.heal()?;
    let back = cluster.wait_healthy(stage)?;
    claim(
        cluster.primary(stage)? == primary,
        format!("{primary} stays primary: {}", cluster.told(stage)),
    )?;
    let told = load::clean(&load.judge()?)?;
    cluster.remove(stage)?;
    let record = match seen {
        None => "no record".to_owned(),
        Some((epoch, primary)) => format!("record of epoch {epoch}, primary {primary}"),
    };
    Ok(format!(
        "power cut of {unit} with {member} after {:.1} s ({record}); {primary} open {:.0} s later; Healthy {:.0} s \
         after the node's return; {told}",
        at.as_secs_f64(),
        open.as_secs_f64(),
        back.as_secs_f64()
    ))
}

/// Before there is a record: nothing is known yet, and the first of the members is gone.
pub(super) fn node_lost_before_the_record(stage: &Stage) -> Result<String> {
    operator::installed(stage)?;
    let cluster = Cluster {
        namespace: "born-early",
        ..Cluster::default()
    };
    let gate = gate(stage, &cluster, ".*")?;
    cluster.apply(stage)?;
    let begun = Instant::now();
    wait_until("every Pod has a node", Duration::from_secs(60), || {
        Ok((0..3).all(|n| cluster.node(stage, &format!("orders-{n}")).is_ok()))
    })?;
    node_lost(stage, &cluster, gate, "orders-0", begun)
}

/// The first primary was told to found the cluster, and its node is gone with what it made.
pub(super) fn node_lost_after_found(stage: &Stage) -> Result<String> {
    operator::installed(stage)?;
    let cluster = Cluster {
        namespace: "born-late",
        ..Cluster::default()
    };
    let gate = gate(stage, &cluster, "\"epoch\":[1-9]")?;
    cluster.apply(stage)?;
    let begun = Instant::now();
    let founder = founder(stage, &cluster)?;
    node_lost(stage, &cluster, gate, &founder, begun)
}

/// The API server is away for two minutes, from the moment at which a founder is recorded.
pub(super) fn api_down(stage: &Stage) -> Result<String> {
    operator::installed(stage)?;
    let cluster = Cluster {
        namespace: "born-blind",
        ..Cluster::default()
    };
    let begun = cluster.create(stage)?;
    founder(stage, &cluster)?;
    let at = begun.elapsed();
    let fault = Fault::api_down().inject(stage.ground()?)?;
    // The fault itself: nothing can be seen while it lasts.
    std::thread::sleep(OUTAGE);
    fault.heal()?;
    let back = cluster.wait_healthy(stage)?;
    let told = load::clean(&Load::start(stage, &cluster)?.judge()?)?;
    cluster.remove(stage)?;
    Ok(format!(
        "the API server away {:.1} s after the manifest, for {} s; Healthy {:.0} s after its return; {told}",
        at.as_secs_f64(),
        OUTAGE.as_secs(),
        back.as_secs_f64()
    ))
}

/// Waits for the record of a founder; gives its name.
fn founder(stage: &Stage, cluster: &Cluster<'_>) -> Result<String> {
    let mut founder = None;
    wait_until("the record of a founder", Duration::from_secs(120), || {
        founder = recorded(stage, cluster)?;
        Ok(founder.is_some())
    })?;
    founder.map(|(_, name)| name).context("there is no founder")
}

/// SIGKILL to every controller; gives how many there were.
pub(super) fn kill_controllers(stage: &Stage) -> Result<usize> {
    stage.ground()?;
    // One that is just starting has no process yet.
    let is_killed = |pod: &String| stage.kill(operator::NAMESPACE, pod, "holdfast").is_ok();
    Ok(operator::pods(stage)?.iter().filter(|pod| is_killed(pod)).count())
}

/// A cluster of the same name in another namespace is another cluster.
pub(super) fn two_of_a_name(stage: &Stage) -> Result<String> {
    operator::installed(stage)?;
    let one = Cluster {
        namespace: "twin-a",
        instances: 1,
        ..Cluster::default()
    };
    let other = Cluster {
        namespace: "twin-b",
        ..one.clone()
    };
    one.create(stage)?;
    other.create(stage)?;
    one.wait_healthy(stage)?;
    other.wait_healthy(stage)?;
    let table = "CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1)";
    one.query(stage, "primary", table)?;
    let elsewhere = other.query(stage, "primary", "SHOW TABLES")?;
    claim(
        elsewhere.is_empty(),
        format!("nothing of it in the other: {elsewhere}"),
    )?;
    let mut login = one.login(stage, "primary")?;
    login.host = other.login(stage, "primary")?.host;
    let refused = crate::cluster::query(stage, &login, "SELECT 1");
    claim(refused.is_err(), "one's password does not open the other")?;
    one.remove(stage)?;
    other.wait_healthy(stage)?;
    other.remove(stage)?;
    Ok("two clusters named orders, each with its own data and passwords".into())
}
