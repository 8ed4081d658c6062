//! Stories of rows of docs/failures.md: work that is in the way when the primary changes.
//! Must not call work large by its size: it is waited for until it is seen to be under way.

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::care::inside;
use super::endurance::under_load;
use super::rows_members::says;
use super::rows_writes::at;
use super::switchover::Asked;
use crate::cluster::{self, Cluster, Login, condition, is_said};
use crate::harm::Harm;
use crate::load::Load;
use crate::stage::{Stage, claim, wait_until};

/// Rows of the table that is changed: each change is seconds of work for every member.
const ROWS: u32 = 400_000;
const UNDER_WAY_WITHIN: Duration = Duration::from_secs(60);
const MOVED_WITHIN: Duration = Duration::from_secs(60);
/// Statements of a client that is to be cut off.
const HELD_S: u32 = 60;
/// A reader that holds up a replica: longer than a deadline and a budget together.
const LOCKED_S: u32 = 8;
const ATTEMPTS: u32 = 5;

fn wide(stage: &Stage, cluster: &Cluster<'_>) -> Result<()> {
    let made = "CREATE TABLE wide (id INT PRIMARY KEY AUTO_INCREMENT, body CHAR(100) NOT NULL)";
    cluster.query(stage, "primary", made)?;
    cluster.query(stage, "primary", &filled(ROWS, "REPEAT(CHAR(64 + i % 26), 100)"))?;
    cluster.wait_healthy(stage).map(drop)
}

/// Writes so many rows in one statement; `i` numbers them.
fn filled(rows: u32, body: &str) -> String {
    format!(
        "SET SESSION cte_max_recursion_depth = {rows}; INSERT INTO wide (body) WITH RECURSIVE n (i) AS (SELECT 1 \
         UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) SELECT {body} FROM n"
    )
}

/// Which columns the table has, and what is in it, as a member sees them.
fn seen(stage: &Stage, cluster: &Cluster<'_>, member: &str) -> Result<String> {
    let login = at(stage, cluster, member)?;
    let columns = "SELECT GROUP_CONCAT(COLUMN_NAME ORDER BY ORDINAL_POSITION) FROM information_schema.COLUMNS WHERE TABLE_NAME = \
                   'wide' AND TABLE_SCHEMA = DATABASE(); CHECKSUM TABLE wide; SELECT COUNT(*) FROM wide";
    cluster::query(stage, &login, columns)
}

/// Every member has these columns and the same rows.
fn all_have(stage: &Stage, cluster: &Cluster<'_>, columns: &str) -> Result<()> {
    let first = seen(stage, cluster, &format!("{}-0", cluster.name))?;
    claim(
        first.starts_with(columns) && first.ends_with(&ROWS.to_string()),
        format!("the table has {columns} and {ROWS} rows: {first}"),
    )?;
    for n in 1..cluster.instances {
        let other = seen(stage, cluster, &format!("{}-{n}", cluster.name))?;
        claim(other == first, format!("all have the same: {first}, {other}"))?;
    }
    Ok(())
}

/// Whether a client of the same user, on the same server, is at work at this.
fn is_under_way(stage: &Stage, login: &Login, like: &str) -> Result<bool> {
    let list = format!(
        "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE '{like}' AND INFO NOT LIKE '%PROCESSLIST%'"
    );
    Ok(cluster::query(stage, login, &list)? == "1")
}

/// Rows 42, 30 and 36, in this order, on one table.
pub(super) fn schema_change(stage: &Stage) -> Result<String> {
    let cluster = Cluster {
        namespace: "schema-change",
        size: "4Gi",
        ..Cluster::default()
    };
    under_load(stage, &cluster, |load| {
        wide(stage, &cluster)?;
        let undone = killed_in_the_middle(stage, &cluster, load)?;
        let waited = opens_when_applied(stage, &cluster, load)?;
        let second = chosen_killed(stage, &cluster, load)?;
        Ok(format!("{undone}; {waited}; {second}"))
    })
}

/// Row 42: a definition and a large transaction under way when mysqld is killed are nowhere afterwards.
fn killed_in_the_middle(stage: &Stage, cluster: &Cluster<'_>, load: &Load<'_>) -> Result<String> {
    let (before, epoch) = (cluster.primary(stage)?, cluster.epoch(stage)?);
    let login = cluster.login(stage, "primary")?;
    let change = "ALTER TABLE wide ADD COLUMN early INT NOT NULL DEFAULT 1, ALGORITHM=COPY";
    let large = format!("CREATE TABLE wider AS SELECT * FROM wide; SELECT SLEEP({HELD_S})");
    let answers = std::thread::scope(|scope| -> Result<_> {
        let large = scope.spawn(|| cluster::query(stage, &login, &large));
        wait_until("a large transaction is under way", UNDER_WAY_WITHIN, || {
            is_under_way(stage, &login, "CREATE TABLE wider%")
        })?;
        let change = scope.spawn(|| cluster::query(stage, &login, change));
        wait_until("the schema change is under way", UNDER_WAY_WITHIN, || {
            is_under_way(stage, &login, "ALTER TABLE wide%")
        })?;
        stage.kill(cluster.namespace, &before, "mysqld")?;
        Ok([large, change].map(|client| client.join().is_ok_and(|answer| answer.is_ok())))
    })?;
    claim(
        answers == [false, false],
        "neither client was told that it is done",
    )?;
    moved(stage, cluster, epoch)?;
    load.acknowledges(100)?;
    let after = cluster.primary(stage)?;
    cluster.wait_healthy(stage)?;
    all_have(stage, cluster, "id,body")?;
    let left = cluster.query(stage, "primary", "SHOW TABLES LIKE 'wider'")?;
    claim(
        left.is_empty(),
        format!("nothing of the large transaction: {left}"),
    )?;
    Ok(format!(
        "{before} killed in a schema change and a large transaction: {after} has nothing of either"
    ))
}

fn moved(stage: &Stage, cluster: &Cluster<'_>, epoch: u64) -> Result<()> {
    let what = "another epoch";
    let moved = wait_until(what, MOVED_WITHIN, || Ok(cluster.epoch(stage)? > epoch));
    moved.map(drop).with_context(|| cluster.told(stage))
}

/// A change that is done on the primary and only received by the replicas, and then the primary is killed; gives
/// the chosen one, which is closed, and when that was seen.
fn chosen_with_work(
    stage: &Stage,
    cluster: &Cluster<'_>,
    change: &str,
) -> Result<(String, String, u64, Instant)> {
    let (before, epoch) = (cluster.primary(stage)?, cluster.epoch(stage)?);
    cluster.query(stage, "primary", change)?;
    stage.kill(cluster.namespace, &before, "mysqld")?;
    let is_opening = |object: &Value| {
        let primary = &object["status"]["primary"];
        let is_other = primary["epoch"] == epoch + 1 && primary["name"] != *before;
        let opening = format!("in epoch {}", epoch + 1);
        is_other && says(object, &["Opening", &opening]) && !is_said(object, "PrimaryAvailable", "True")
    };
    cluster.wait(stage, "another is chosen, and applies what it has", is_opening)?;
    Ok((before, cluster.primary(stage)?, epoch + 1, Instant::now()))
}

/// Row 30: it opens when it has applied what it received, and not before.
fn opens_when_applied(stage: &Stage, cluster: &Cluster<'_>, load: &Load<'_>) -> Result<String> {
    let change = "ALTER TABLE wide ADD COLUMN late INT NOT NULL DEFAULT 7, ALGORITHM=COPY";
    let (before, chosen, epoch, since) = chosen_with_work(stage, cluster, change)?;
    let written = load.acknowledged()?;
    let closed_ms = Cell::new(0);
    cluster.wait(stage, "it opens", |object| {
        let is_open = is_said(object, "PrimaryAvailable", "True");
        if !is_open && load.acknowledged().is_ok_and(|now| now == written) {
            closed_ms.set(since.elapsed().as_millis());
        }
        is_open
    })?;
    let closed_ms = closed_ms.get();
    claim(closed_ms > 0, "nothing was acknowledged while it was closed")?;
    claim(
        seen(stage, cluster, &chosen)?.starts_with("id,body,late"),
        "it is open with all that it received",
    )?;
    load.acknowledges(100)?;
    cluster.wait_healthy(stage)?;
    let now = (cluster.primary(stage)?, cluster.epoch(stage)?);
    claim(
        now == (chosen.clone(), epoch),
        format!("{chosen} leads: {}", cluster.told(stage)),
    )?;
    all_have(stage, cluster, "id,body,late")?;
    Ok(format!(
        "{before} killed after a schema change: {chosen} Opening, and nothing acknowledged, for {closed_ms} ms more"
    ))
}

/// Row 36: the chosen one is killed before it is open; what was acknowledged before is kept by whoever comes next.
fn chosen_killed(stage: &Stage, cluster: &Cluster<'_>, load: &Load<'_>) -> Result<String> {
    let change = "ALTER TABLE wide DROP COLUMN late, ALGORITHM=COPY";
    let (before, chosen, epoch, _) = chosen_with_work(stage, cluster, change)?;
    stage.kill(cluster.namespace, &chosen, "mysqld")?;
    let object = cluster.get(stage)?;
    claim(
        !is_said(&object, "PrimaryAvailable", "True"),
        format!("it was not open yet: {}", object["status"]),
    )?;
    load.acknowledges(100)?;
    cluster.wait_healthy(stage)?;
    let (after, now) = (cluster.primary(stage)?, cluster.epoch(stage)?);
    claim(
        now >= epoch && before != after,
        format!("no way back: {}", cluster.told(stage)),
    )?;
    all_have(stage, cluster, "id,body")?;
    Ok(format!(
        "{before} killed, then {chosen}, chosen in epoch {epoch} and Opening: {after} leads in epoch {now}"
    ))
}

/// Row 45: a statement that takes longer to roll back than the budget has keeps its primary, and so does a next primary
/// that takes longer to apply what is committed; a transaction that only stays open does not.
pub(super) fn long_transaction(stage: &Stage) -> Result<String> {
    let cluster = Cluster {
        namespace: "long-transaction",
        size: "4Gi",
        ..Cluster::default()
    };
    under_load(stage, &cluster, |load| {
        wide(stage, &cluster)?;
        let running = taken_back(stage, &cluster, load)?;
        let open = open_for_long(stage, &cluster, load)?;
        let late = applies_late(stage, &cluster, load)?;
        all_have(stage, &cluster, "id,body")?;
        Ok(format!("{running}; {open}; {late}"))
    })
}

/// Asked for while a client is at work at something: what the Switchover says, and whether the client was told that
/// all is done.
fn asked_during(
    (stage, client, statement): (&Stage, &Login, &str),
    is_time: impl Fn() -> Result<bool>,
    ask: impl FnOnce() -> Result<Value>,
) -> Result<(Value, bool)> {
    std::thread::scope(|scope| {
        let client = scope.spawn(|| cluster::query(stage, client, statement));
        wait_until("the client is at work", UNDER_WAY_WITHIN, || {
            Ok(client.is_finished() || is_time()?)
        })?;
        if client.is_finished() {
            bail!("the client ended before it was seen at work: {:?}", client.join());
        }
        let object = ask()?;
        Ok((object, client.join().is_ok_and(|answer| answer.is_ok())))
    })
}

fn taken_back(stage: &Stage, cluster: &Cluster<'_>, load: &Load<'_>) -> Result<String> {
    let before = (cluster.primary(stage)?, cluster.epoch(stage)?);
    // It sleeps at its last row: all others are to be taken out again.
    let rows = 3 * ROWS;
    let held = filled(
        rows,
        &format!("IF(i = {rows}, SLEEP({HELD_S}), REPEAT('x', 100))"),
    );
    let modified = "SELECT IFNULL(MAX(trx_rows_modified), 0) FROM information_schema.INNODB_TRX";
    let is_large = || -> Result<bool> {
        let written: u32 = inside(stage, cluster, &before.0, modified)?.parse()?;
        Ok(written >= rows - 1)
    };
    let login = cluster.login(stage, "primary")?;
    let ask = || Asked::create(stage, cluster, "hasty", ", budgetSeconds: 1")?.wait("Stalled");
    let (object, is_done) = asked_during((stage, &login, &held), is_large, ask)?;
    claim(
        !is_done,
        format!(
            "the client of the long transaction was cut off: {}",
            object["status"]
        ),
    )?;
    let ready = condition(&object, "Ready").cloned().unwrap_or_default();
    claim(
        ready["reason"] == "TakenBack",
        format!("it was taken back: {}", object["status"]),
    )?;
    load.acknowledges(100)?;
    cluster.wait_healthy(stage)?;
    let now = (cluster.primary(stage)?, cluster.epoch(stage)?);
    claim(
        now == before,
        format!("{} takes writes again: {}", before.0, cluster.told(stage)),
    )?;
    Ok(format!(
        "a long statement and a budget of 1 s: TakenBack: {}",
        ready["message"].as_str().unwrap_or_default()
    ))
}

fn open_for_long(stage: &Stage, cluster: &Cluster<'_>, load: &Load<'_>) -> Result<String> {
    let before = cluster.primary(stage)?;
    let held = format!("BEGIN; UPDATE wide SET body = 'changed' WHERE id < 1000; SELECT SLEEP({HELD_S})");
    let login = cluster.login(stage, "primary")?;
    let is_open = || is_under_way(stage, &login, "SELECT SLEEP%");
    let ask = || Asked::create(stage, cluster, "calm", "")?.wait("Ready");
    let (object, is_done) = asked_during((stage, &login, &held), is_open, ask)?;
    claim(!is_done, "the client of the open transaction was cut off")?;
    let after = cluster.primary(stage)?;
    claim(after != before, format!("it is done: {}", object["status"]))?;
    load.acknowledges(100)?;
    cluster.wait_healthy(stage)?;
    Ok(format!(
        "a transaction that stays open: {after} took over in {} ms",
        object["status"]["durationMs"]
    ))
}

/// The next primary has received all and cannot apply it: a reader of its table is in the way for longer than the budget.
fn applies_late(stage: &Stage, cluster: &Cluster<'_>, load: &Load<'_>) -> Result<String> {
    let before = (cluster.primary(stage)?, cluster.epoch(stage)?);
    let target = cluster.replica(stage)?;
    for attempt in 1..=ATTEMPTS {
        let object = asked_while_locked(stage, cluster, &target, attempt)?;
        let ready = condition(&object, "Ready").cloned().unwrap_or_default();
        let now = (cluster.primary(stage)?, cluster.epoch(stage)?);
        claim(now == before, format!("the role stayed: {}", cluster.told(stage)))?;
        load.acknowledges(100)?;
        match ready["reason"].as_str() {
            Some("TakenBack") => {
                cluster.wait_healthy(stage)?;
                return Ok(format!(
                    "a target that applies late and a budget of 1 s: TakenBack: {}",
                    ready["message"].as_str().unwrap_or_default()
                ));
            }
            // It was seen to lag before the handover began.
            Some("DeadlineExceeded") => drop(cluster.wait_healthy(stage)?),
            _ => bail!("it was not taken back: {}", object["status"]),
        }
    }
    bail!("the target was too late to begin with {ATTEMPTS} times")
}

/// What a Switchover says that is asked for just after a commit that the target cannot apply.
fn asked_while_locked(stage: &Stage, cluster: &Cluster<'_>, target: &str, attempt: u32) -> Result<Value> {
    let reader = at(stage, cluster, target)?;
    let held = format!("LOCK TABLES wide READ; SELECT SLEEP({LOCKED_S})");
    let is_locked = || is_under_way(stage, &reader, "SELECT SLEEP%");
    let ask = || {
        let change = format!("UPDATE wide SET body = 'late {attempt}' WHERE id = 1");
        cluster.query(stage, "primary", &change)?;
        let spec = format!(", target: {target}, budgetSeconds: 1, deadlineSeconds: 2");
        Asked::create(stage, cluster, &format!("late-{attempt}"), &spec)?.wait("Stalled")
    };
    let (object, is_done) = asked_during((stage, &reader, &held), is_locked, ask)?;
    claim(is_done, format!("the reader of {target} was left alone"))?;
    Ok(object)
}

/// Row 44: the first replica's Pod is being made anew when the primary dies, by its mysqld, then by its node.
pub(super) fn dies_while_rolling(stage: &Stage) -> Result<String> {
    let cluster = Cluster {
        namespace: "rolling",
        ..Cluster::default()
    };
    under_load(stage, &cluster, |load| {
        let killed = dies_at_the_first(stage, &cluster, load, ("800Mi", Harm::Killed))?;
        let power = dies_at_the_first(stage, &cluster, load, ("832Mi", Harm::Power))?;
        Ok(format!("{killed}; {power}"))
    })
}

fn dies_at_the_first(
    stage: &Stage,
    cluster: &Cluster<'_>,
    load: &Load<'_>,
    (memory, harm): (&str, Harm),
) -> Result<String> {
    let members: Vec<String> = cluster.members().collect();
    let pod = |member: &str| stage.get(&format!("pod {member} -n {}", cluster.namespace));
    let olds: Result<Vec<Value>> = members.iter().map(|member| pod(member)).collect();
    let olds = olds?;
    let (before, epoch) = (cluster.primary(stage)?, cluster.epoch(stage)?);
    let changed = Cluster {
        memory,
        ..cluster.clone()
    };
    changed.apply(stage)?;
    let is_there = |member: &str, old: &Value| {
        pod(member).is_ok_and(|now| {
            let is_same = now["metadata"]["uid"] == old["metadata"]["uid"];
            is_same && now["metadata"]["deletionTimestamp"].is_null()
        })
    };
    let mut first = String::new();
    wait_until("the first Pod is being made anew", UNDER_WAY_WITHIN, || {
        let mut pairs = members.iter().zip(&olds);
        let ends = pairs.find(|(member, old)| !is_there(member, old));
        first = ends.map(|(member, _)| member.clone()).unwrap_or_default();
        Ok(!first.is_empty())
    })?;
    let on_their_way = members.iter().zip(&olds).filter(|(member, old)| {
        let is_back =
            |now: &Value| is_said(now, "Ready", "True") && now["metadata"]["deletionTimestamp"].is_null();
        !is_there(member, old) && !pod(member).is_ok_and(|now| is_back(&now))
    });
    let on_their_way: Vec<&String> = on_their_way.map(|(member, _)| member).collect();
    claim(
        on_their_way == [&first] && first != before,
        format!("{first} alone is on its way when {before} dies: {on_their_way:?}"),
    )?;
    let fault = harm.befall(stage, cluster)?;
    let took = load.acknowledges(100)?;
    let after = cluster.primary(stage)?;
    if let Some(fault) = fault {
        claim(after != before, format!("another leads than {before}"))?;
        fault.heal()?;
    }
    changed.wait_healthy(stage)?;
    for (member, old) in members.iter().zip(&olds) {
        let now = pod(member)?;
        let containers = now["spec"]["containers"].as_array().context("no containers")?;
        let is_current = containers
            .iter()
            .any(|container| container["resources"]["limits"]["memory"] == memory);
        claim(
            is_current && now["metadata"]["uid"] != old["metadata"]["uid"],
            format!("the Pod of {member} is of today's spec"),
        )?;
    }
    Ok(format!(
        "{} of {before} while {first} is made anew: {after} leads, 100 writes after {:.0} s, epoch {epoch} to {}, all \
         Pods of today's spec",
        harm.what(),
        took.as_secs_f64(),
        cluster.epoch(stage)?
    ))
}
