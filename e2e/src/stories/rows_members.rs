//! Stories of rows of docs/failures.md: who sees whom, and who is believed, under load.
//! Must not heal before what the row expects has been seen.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ground::cgroup;
use ground::faults::net::Direction;
use ground::faults::{Fault, Injected, NetFault};
use ground::machine;
use ground::spec::Unit;
use serde_json::Value;

use super::endurance::under_load;
use crate::cluster::{self, Cluster, Login, is_said};
use crate::load::Load;
use crate::operator;
use crate::stage::{Stage, claim, wait_until};

const AGENT_PORT: u16 = 9306;
pub(super) const REPLICATION_PORT: u16 = 33_062;
/// Longer than a failover takes, and than a commit waits before the agent says so.
const WATCHED: Duration = Duration::from_secs(15);
const ACKNOWLEDGEMENTS_LOST: Duration = Duration::from_secs(4);
const LOSS_PERCENT: u8 = 5;
const SUSPENDED: Duration = Duration::from_secs(20);
const WITHIN: Duration = Duration::from_secs(120);
/// Processes come and go while a node is being suspended.
const SUSPEND_TRIES: u32 = 10;

/// Whether the status says all of these.
pub(super) fn says(object: &Value, words: &[&str]) -> bool {
    let text = object["status"].to_string();
    words.iter().all(|word| text.contains(word))
}

/// What the server said, without the command line.
pub(super) fn refusal(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    let said = text.rfind("ERROR ").and_then(|at| text.get(at..));
    said.unwrap_or(&text).trim().to_owned()
}

/// The nodes of all members but this one.
fn nodes_of_others(stage: &Stage, cluster: &Cluster<'_>, member: &str) -> Result<Vec<String>> {
    let others = cluster.members().filter(|name| name != member);
    others.map(|name| cluster.node(stage, &name)).collect()
}

pub(super) fn port_cut(unit: &str, port: u16, from: &str, direction: Direction) -> Fault {
    Fault::Net(NetFault::Port {
        unit: unit.to_owned(),
        port,
        from: vec![from.to_owned()],
        direction,
    })
}

/// Row 24, then row 23: an operator that sees no member, and one that has no API server.
pub(super) fn operator_blind(stage: &Stage) -> Result<String> {
    let cluster = Cluster {
        namespace: "operator-blind",
        ..Cluster::default()
    };
    under_load(stage, &cluster, |load| {
        let alone = sees_nobody(stage, &cluster, load)?;
        let late = without_api_server(stage, &cluster, load)?;
        Ok(format!("{alone}; {late}"))
    })
}

fn sees_nobody(stage: &Stage, cluster: &Cluster<'_>, load: &Load<'_>) -> Result<String> {
    let before = (cluster.primary(stage)?, cluster.epoch(stage)?);
    let node = operator::leads_on(stage)?;
    let fault = port_cut(&node, AGENT_PORT, "all", Direction::Both).inject(stage.ground()?)?;
    let words = [
        "Blocked",
        "seen: nobody, missing: orders-0, orders-1, orders-2",
        "its agent cannot be reached; whether it runs is not known",
    ];
    let told = cluster.wait(stage, "the operator says that it sees nobody", |object| {
        says(object, &words)
    })?;
    load.acknowledges(400)?;
    let object = cluster.get(stage)?;
    claim(
        says(&object, &words),
        format!("it still does: {}", object["status"]),
    )?;
    fault.heal()?;
    cluster.wait_healthy(stage)?;
    let after = (cluster.primary(stage)?, cluster.epoch(stage)?);
    claim(
        before == after,
        format!("nobody took over: {before:?}, then {after:?}"),
    )?;
    Ok(format!(
        "port {AGENT_PORT} cut on the operator's node {node}: Blocked, seen: nobody, after {:.0} s; writes went on, \
         no failover",
        told.as_secs_f64()
    ))
}

fn without_api_server(stage: &Stage, cluster: &Cluster<'_>, load: &Load<'_>) -> Result<String> {
    let ground = stage.ground()?;
    let (before, epoch) = (cluster.primary(stage)?, cluster.epoch(stage)?);
    let unit = cluster.node(stage, &before)?;
    let api = Fault::api_down().inject(ground)?;
    let power = Fault::UnitDown { unit: unit.clone() }.inject(ground)?;
    load.stands_still(WATCHED)?;
    api.heal()?;
    let opened = cluster.wait(stage, "another takes over and opens", |object| {
        let primary = &object["status"]["primary"];
        primary["epoch"].as_u64() > Some(epoch) && object["status"]["state"] == "Degraded"
    })?;
    // Nodes ask an API server that was away ever more slowly, and learn later who leads.
    let routed = load.acknowledges(100)?;
    let (after, now) = (cluster.primary(stage)?, cluster.epoch(stage)?);
    claim(
        before != after && now == epoch + 1,
        format!(
            "one failover, after the API server\'s return: {}",
            cluster.told(stage)
        ),
    )?;
    power.heal()?;
    Ok(format!(
        "no API server and {unit} without power: nothing acknowledged for {} s; {after} took over from {before} \
         {:.0} s after its return, and 100 writes were acknowledged {:.0} s later",
        WATCHED.as_secs(),
        opened.as_secs_f64(),
        routed.as_secs_f64()
    ))
}

/// Row 35, then row 37: acknowledgements that do not arrive, and a chosen primary whom nobody can follow.
pub(super) fn acknowledgements_lost(stage: &Stage) -> Result<String> {
    let cluster = Cluster {
        namespace: "acks-lost",
        ..Cluster::default()
    };
    under_load(stage, &cluster, |load| {
        let late = lost_on_the_way(stage, &cluster, load)?;
        let closed = chosen_alone(stage, &cluster, load)?;
        Ok(format!("{late}; {closed}"))
    })
}

fn lost_on_the_way(stage: &Stage, cluster: &Cluster<'_>, load: &Load<'_>) -> Result<String> {
    let ground = stage.ground()?;
    let (primary, epoch) = (cluster.primary(stage)?, cluster.epoch(stage)?);
    let own = cluster.node(stage, &primary)?;
    let others = nodes_of_others(stage, cluster, &primary)?;
    let cuts = others.iter().map(|unit| {
        // What they send to the primary\'s port is lost; what it sends arrives.
        port_cut(unit, REPLICATION_PORT, &own, Direction::Out).inject(ground)
    });
    let cuts = cuts.collect::<Result<Vec<_>>>()?;
    load.stands_still(ACKNOWLEDGEMENTS_LOST)?;
    cuts.into_iter().try_for_each(Injected::heal)?;
    let took = load.acknowledges(100)?;
    let losses = others.iter().map(|unit| {
        let unit = unit.clone();
        let percent = LOSS_PERCENT;
        Fault::Net(NetFault::Loss { unit, percent }).inject(ground)
    });
    let losses = losses.collect::<Result<Vec<_>>>()?;
    load.acknowledges(400)?;
    losses.into_iter().try_for_each(Injected::heal)?;
    cluster.wait_healthy(stage)?;
    let now = (cluster.primary(stage)?, cluster.epoch(stage)?);
    claim(
        now == (primary.clone(), epoch),
        format!("{primary} stays primary: {}", cluster.told(stage)),
    )?;
    Ok(format!(
        "acknowledgements of both replicas lost for {} s: none done, then 100 in {:.1} s; {LOSS_PERCENT} % of \
         packets lost each way: 400 more; no failover",
        ACKNOWLEDGEMENTS_LOST.as_secs(),
        took.as_secs_f64()
    ))
}

/// The two that are left reach the operator and not each other: one is chosen, and nobody follows it.
fn chosen_alone(stage: &Stage, cluster: &Cluster<'_>, load: &Load<'_>) -> Result<String> {
    let ground = stage.ground()?;
    let (before, epoch) = (cluster.primary(stage)?, cluster.epoch(stage)?);
    let own = cluster.node(stage, &before)?;
    let others = nodes_of_others(stage, cluster, &before)?;
    let [one, other] = others.as_slice() else {
        anyhow::bail!("three members have two others each: {others:?}");
    };
    let cut = port_cut(one, REPLICATION_PORT, other, Direction::Both).inject(ground)?;
    let power = Fault::UnitDown { unit: own }.inject(ground)?;
    let words = ["AwaitingReplicas", "0 replicas follow, 1 must acknowledge"];
    let is_closed = |object: &Value| {
        let primary = &object["status"]["primary"];
        let is_other = primary["epoch"] == epoch + 1 && primary["name"] != *before;
        is_other && says(object, &words) && !is_said(object, "PrimaryAvailable", "True")
    };
    cluster.wait(stage, "another is chosen, and closed", is_closed)?;
    load.stands_still(WATCHED)?;
    let object = cluster.get(stage)?;
    claim(
        is_closed(&object),
        format!("it stays closed: {}", object["status"]),
    )?;
    cut.heal()?;
    load.acknowledges(100)?;
    let after = cluster.primary(stage)?;
    power.heal()?;
    Ok(format!(
        "{after} was chosen after {before} and stayed closed for {} s while {one} and {other} did not reach each other",
        WATCHED.as_secs()
    ))
}

/// Row 33, then row 38: whoever keeps a connection to the old primary is never told that a write is done.
pub(super) fn pinned(stage: &Stage) -> Result<String> {
    let cluster = Cluster {
        namespace: "pinned",
        ..Cluster::default()
    };
    under_load(stage, &cluster, |load| {
        let table = "CREATE TABLE pinned (id INT PRIMARY KEY)";
        cluster.query(stage, "primary", table)?;
        let cut = pinned_while(stage, &cluster, load, 1, cut_but_for_clients)?;
        cluster.wait_healthy(stage)?;
        let suspended = pinned_while(stage, &cluster, load, 3, suspended)?;
        Ok(format!("{cut}; {suspended}"))
    })
}

/// A client that writes once before and once after its primary is replaced, over one connection.
fn pinned_while(
    stage: &Stage,
    cluster: &Cluster<'_>,
    load: &Load<'_>,
    id: u32,
    harm: fn(&Stage, &str) -> Result<(Injected, Duration)>,
) -> Result<String> {
    let before = cluster.primary(stage)?;
    let unit = cluster.node(stage, &before)?;
    let login = cluster.login(stage, "primary")?;
    let (answer, what) = std::thread::scope(|scope| -> Result<_> {
        let client = scope.spawn(|| writes_twice(stage, &login, id));
        let first = format!("SELECT COUNT(*) FROM pinned WHERE id = {id}");
        wait_until("its first write is done", WITHIN, || {
            Ok(cluster.query(stage, "primary", &first)? == "1")
        })?;
        let begun = Instant::now();
        let (fault, lasts) = harm(stage, &unit)?;
        load.acknowledges(100)?;
        let after = cluster.primary(stage)?;
        claim(before != after, format!("another leads than {before}"))?;
        wait_until("it lasts", WITHIN, || Ok(begun.elapsed() >= lasts))?;
        fault.heal()?;
        let answer = client
            .join()
            .map_err(|_| anyhow::anyhow!("the client panicked"))?;
        Ok((answer, format!("{after} took over from {before} on {unit}")))
    })?;
    let error = answer.err().context("the second write was told to be done")?;
    load.acknowledges(100)?;
    cluster.wait_healthy(stage)?;
    let second = format!("SELECT COUNT(*) FROM pinned WHERE id = {}", id + 1);
    let kept = cluster.query(stage, "primary", &second)?;
    claim(kept == "0", format!("and is nowhere: {kept}"))?;
    let error = refusal(&error);
    Ok(format!("{what}; a client that stayed was told: {error}"))
}

/// The second begins when the other primary is open, in whatever state the first one is by then.
fn writes_twice(stage: &Stage, login: &Login, id: u32) -> Result<String> {
    let statement = format!(
        "INSERT INTO pinned VALUES ({id}); SELECT SLEEP(5); INSERT INTO pinned VALUES ({})",
        id + 1
    );
    cluster::query_within(stage, login, &statement, WITHIN)
}

/// The node sees its clients, and nobody else.
fn cut_but_for_clients(stage: &Stage, unit: &str) -> Result<(Injected, Duration)> {
    let ground = stage.ground()?;
    let others = ground
        .spec()
        .node_units()
        .map(Unit::name)
        .filter(|name| name != unit);
    let fault = Fault::Net(NetFault::Cut {
        unit: unit.to_owned(),
        from: others.chain(["api".to_owned()]).collect(),
        direction: Direction::Both,
    });
    Ok((fault.inject(ground)?, WATCHED))
}

/// Every process of the node stands still, its own and those of its Pods, as on a machine that is suspended.
fn suspended(stage: &Stage, unit: &str) -> Result<(Injected, Duration)> {
    let ground = stage.ground()?;
    let group = machine::group(ground.spec(), Unit::parse(unit)?);
    let mut tries = 0;
    loop {
        let pids = cgroup::processes(&group)?
            .iter()
            .map(|pid| pid.as_raw())
            .collect();
        let fault = Fault::Paused {
            unit: unit.to_owned(),
            pids,
        };
        tries += 1;
        match fault.inject(ground) {
            Ok(fault) => return Ok((fault, SUSPENDED)),
            // One of them ended in between; what was stopped goes on before the next try.
            Err(error) if tries >= SUSPEND_TRIES => return Err(error),
            Err(_) => {}
        }
    }
}
