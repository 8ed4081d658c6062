//! Stories of writes that wait for acknowledgements, or that nobody else has, when their primary goes.
//! Must not heal before what the status and the writers say was seen.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ground::faults::{Fault, Injected, pod};
use serde_json::Value;

use super::endurance::{five_somewhere, under_load};
use super::switchover::Asked;
use crate::cluster::{self, Cluster, Login, member_of};
use crate::load::{self, Load};
use crate::operator;
use crate::stage::{Stage, claim, wait_until};

const REPLICATION: u16 = 33_062;
const AGENT: u16 = 9306;
pub(super) const MOVED_WITHIN: Duration = Duration::from_secs(60);
/// Longer than mysqld needs to recover and to answer.
const UP_WITHIN: Duration = Duration::from_secs(60);
const ASKED_WITHIN: Duration = Duration::from_secs(5);
/// The writers of a load that a story sees acknowledged before it goes on.
pub(super) const SOME: usize = 300;
const FEW: usize = 100;
/// Five servers on one machine start slowly.
const FIVE_WITHIN: Duration = Duration::from_secs(400);

/// Whether the status holds all these words.
pub(super) fn says(object: &Value, words: &[&str]) -> bool {
    let text = object["status"].to_string();
    words.iter().all(|word| text.contains(word))
}

/// Everybody but the primary.
pub(super) fn replicas(stage: &Stage, cluster: &Cluster<'_>) -> Result<Vec<String>> {
    let primary = cluster.primary(stage)?;
    Ok(cluster.members().filter(|name| *name != primary).collect())
}

/// The way in to one member as the application, wherever Services lead.
pub(super) fn at(stage: &Stage, cluster: &Cluster<'_>, member: &str) -> Result<Login> {
    let mut login = cluster.login(stage, "primary")?;
    login.host = cluster.address(stage, member)?;
    Ok(login)
}

/// The streams between the primary and one replica are cut, and nothing else.
pub(super) fn unheard(
    stage: &Stage,
    cluster: &Cluster<'_>,
    primary: &str,
    replica: &str,
) -> Result<Injected> {
    let from = cluster.address(stage, primary)?.parse()?;
    let ground = stage.ground()?;
    Fault::port(ground, cluster.namespace, replica, REPLICATION, vec![from])?.inject(ground)
}

/// The epoch of the record, which is written before anybody opens in it.
pub(super) fn recorded_epoch(stage: &Stage, cluster: &Cluster<'_>) -> Result<u64> {
    let record = cluster.record(stage)?.context("there is no record")?;
    record["term"]["epoch"]
        .as_u64()
        .context("the record has no epoch")
}

/// Waits until commits wait on the primary, and the status says so.
fn commits_wait(stage: &Stage, cluster: &Cluster<'_>, primary: &str) -> Result<()> {
    cluster.wait(stage, "commits wait for replicas", |object| {
        says(object, &["AwaitingReplicas", "commits wait: 0 replicas follow"])
    })?;
    let login = at(stage, cluster, primary)?;
    let waiting = "SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_source_wait_sessions'";
    wait_until("a commit waits", UP_WITHIN, || {
        let text = cluster::query(stage, &login, waiting)?;
        let count = text.split_whitespace().next_back().context("no such status")?;
        Ok(count != "0")
    })
    .map(drop)
}

/// Until a later epoch is claimed, nothing more is acknowledged: who waited is told nothing, or an error.
fn none_acknowledged_until_claimed(
    stage: &Stage,
    cluster: &Cluster<'_>,
    load: &Load<'_>,
    (epoch, before): (u64, usize),
) -> Result<()> {
    let begun = Instant::now();
    loop {
        let count = load.acknowledged()?;
        if recorded_epoch(stage, cluster)? > epoch {
            return Ok(());
        }
        claim(
            count == before,
            format!("{} commits that waited were acknowledged", count - before),
        )?;
        if begun.elapsed() > MOVED_WITHIN {
            bail!("no later epoch is claimed: {}", cluster.told(stage));
        }
    }
}

/// Waits until a member says what was removed from it, and where its events are; gives the words.
pub(super) fn removed(stage: &Stage, cluster: &Cluster<'_>, member: &str) -> Result<String> {
    cluster.wait(stage, &format!("{member} says what was removed"), |object| {
        member_of(object, member)["removed"].is_string()
    })?;
    cluster.is_told(stage, "TransactionsRemoved", &[member])?;
    let files = cluster.inside(stage, member, &["ls", "/data/holdfast/archive"])?;
    claim(!files.trim().is_empty(), "their events are archived")?;
    let object = cluster.get(stage)?;
    let words = member_of(&object, member)["removed"].as_str().unwrap_or_default();
    Ok(words.to_owned())
}

/// The operator reaches everybody but the primary, which its replicas and its clients reach.
pub(super) fn cut_from_the_operator(stage: &Stage) -> Result<String> {
    let cluster = Cluster {
        namespace: "unseen",
        ..Cluster::default()
    };
    under_load(stage, &cluster, |load| {
        let (epoch, primary) = (cluster.epoch(stage)?, cluster.primary(stage)?);
        let ground = stage.ground()?;
        let fault = Fault::port(ground, cluster.namespace, &primary, AGENT, Vec::new())?.inject(ground)?;
        let words = [
            "PrimaryUnavailable",
            "it may still serve, so nobody takes over",
            "its agent cannot be reached; whether it runs is not known",
        ];
        let seen = cluster.wait(stage, "status says who is out of reach", |object| {
            says(object, &words)
        })?;
        load.acknowledges(2 * SOME)?;
        claim(
            recorded_epoch(stage, &cluster)? == epoch,
            "no other epoch is claimed",
        )?;
        fault.heal()?;
        cluster.wait_healthy(stage)?;
        claim(
            cluster.epoch(stage)? == epoch && cluster.primary(stage)? == primary,
            format!("{primary} leads as before: {}", cluster.told(stage)),
        )?;
        Ok(format!(
            "{primary} out of the operator's reach, said in full after {:.0} s; {} writes acknowledged meanwhile, \
             epoch {epoch} as before",
            seen.as_secs_f64(),
            2 * SOME
        ))
    })
}

/// A Pod is deleted whose mysqld, asked to end, would answer all who wait with success.
pub(super) fn deleted_while_commits_wait(stage: &Stage) -> Result<String> {
    let cluster = Cluster {
        namespace: "deleted-waiting",
        ..Cluster::default()
    };
    under_load(stage, &cluster, |load| {
        let (primary, after, removed) = lost_while_commits_wait(stage, &cluster, load, |primary| {
            let line = format!("delete pod {primary} -n {} --wait=false", cluster.namespace);
            stage.k(&line).run()
        })?;
        Ok(format!(
            "the Pod of {primary} deleted while commits waited, none acknowledged; {after} took over; {primary}: {removed}"
        ))
    })
}

/// No replica hears the primary, commits wait, and then it is lost: none of them is acknowledged, and another leads.
/// Gives both, and what was removed from the one that was lost.
pub(super) fn lost_while_commits_wait(
    stage: &Stage,
    cluster: &Cluster<'_>,
    load: &Load<'_>,
    lose: impl FnOnce(&str) -> Result<()>,
) -> Result<(String, String, String)> {
    let primary = cluster.primary(stage)?;
    let mut cuts = Vec::new();
    for replica in replicas(stage, cluster)? {
        cuts.push(unheard(stage, cluster, &primary, &replica)?);
    }
    lost_behind(stage, cluster, load, cuts, lose)
}

/// The same, behind cuts that are made.
pub(super) fn lost_behind(
    stage: &Stage,
    cluster: &Cluster<'_>,
    load: &Load<'_>,
    cuts: Vec<Injected>,
    lose: impl FnOnce(&str) -> Result<()>,
) -> Result<(String, String, String)> {
    let (epoch, primary) = (cluster.epoch(stage)?, cluster.primary(stage)?);
    commits_wait(stage, cluster, &primary)?;
    let before = load.acknowledged()?;
    lose(&primary)?;
    none_acknowledged_until_claimed(stage, cluster, load, (epoch, before))?;
    load.acknowledges(SOME)?;
    let after = cluster.primary(stage)?;
    claim(after != primary, format!("another leads than {primary}"))?;
    cuts.into_iter().try_for_each(Injected::heal)?;
    let removed = removed(stage, cluster, &primary)?;
    Ok((primary, after, removed))
}

/// mysqld of the primary is killed with commits that wait: first nobody can take over, then another does.
pub(super) fn nobody_else_has(stage: &Stage) -> Result<String> {
    let cluster = Cluster {
        namespace: "nobody-else",
        ..Cluster::default()
    };
    under_load(stage, &cluster, |load| {
        let closed = read_by_nobody(stage, &cluster, load)?;
        cluster.wait_healthy(stage)?;
        let (primary, after, removed) = lost_while_commits_wait(stage, &cluster, load, |primary| {
            stage.kill(cluster.namespace, primary, "mysqld")
        })?;
        Ok(format!(
            "{closed}; then {after} took over, and {primary}: {removed}"
        ))
    })
}

/// Restarted where it was, the primary shows nobody what no replica has; it opens when one acknowledges it.
fn read_by_nobody(stage: &Stage, cluster: &Cluster<'_>, load: &Load<'_>) -> Result<String> {
    let primary = &cluster.primary(stage)?;
    let ground = stage.ground()?;
    let mut paused = Vec::new();
    for replica in replicas(stage, cluster)? {
        paused.push(Fault::pause(ground, cluster.namespace, &replica, None)?.inject(ground)?);
    }
    commits_wait(stage, cluster, primary)?;
    let before = load.acknowledged()?;
    let login = at(stage, cluster, primary)?;
    let found = pod::find(ground, cluster.namespace, primary)?;
    let old = pod::processes(ground, &found, Some("mysqld"))?;
    stage.kill(cluster.namespace, primary, "mysqld")?;
    wait_until("mysqld is gone", ASKED_WITHIN, || {
        let now = pod::processes(ground, &found, Some("mysqld"))?;
        Ok(now.iter().all(|pid| !old.contains(pid)))
    })?;
    let mut answered = 0;
    let mut ask = || match cluster::query_within(stage, &login, "SELECT 1", ASKED_WITHIN) {
        Ok(_) => {
            answered += 1;
            false
        }
        Err(error) => format!("{error:#}").contains("offline mode"),
    };
    wait_until("it is up, and refuses", UP_WITHIN, || Ok(ask()))?;
    cluster.wait(stage, "status says what it waits for", |object| {
        let because = &member_of(object, primary)["because"];
        because
            .as_str()
            .is_some_and(|text| text.contains("it opens when 1 replica acknowledges"))
    })?;
    claim(ask() && answered == 0, "nobody reads what no replica has")?;
    claim(
        load.acknowledged()? == before,
        "nothing is acknowledged meanwhile",
    )?;
    paused.into_iter().try_for_each(Injected::heal)?;
    load.acknowledges(SOME)?;
    Ok(format!(
        "{primary} killed with commits that waited, replicas away: read by nobody until they were back, when {} leads",
        cluster.primary(stage)?
    ))
}

/// Two primaries of five are lost one after the other; the first, with writes of its own, is asked to lead again.
pub(super) fn two_in_a_row(stage: &Stage) -> Result<String> {
    let cluster = Cluster {
        namespace: "two-in-a-row",
        instances: 5,
        memory: "640Mi",
        more: five_somewhere(stage)?,
        ..Cluster::default()
    };
    operator::installed(stage)?;
    cluster.healthy_within(stage, FIVE_WITHIN)?;
    // Five servers that sync every event are slow on one machine, and it is not haste that is looked at.
    let load = Load::at_most(stage, &cluster, Some(40))?;
    let ground = stage.ground()?;
    let first = cluster.primary(stage)?;
    let mut others = Vec::new();
    for replica in replicas(stage, &cluster)? {
        others.push(cluster.address(stage, &replica)?.parse()?);
    }
    let cut = Fault::port(ground, cluster.namespace, &first, REPLICATION, others)?.inject(ground)?;
    commits_wait(stage, &cluster, &first)?;
    let (second, first_gone) = succeeded(stage, &cluster, &load, &first)?;
    let (third, second_gone) = succeeded(stage, &cluster, &load, &second)?;
    let spec = format!(", target: {first}, deadlineSeconds: 240");
    let asked = Asked::create(stage, &cluster, "back", &spec)?;
    let words = asked.wait_words(&first)?;
    claim(
        cluster.primary(stage)? == third,
        format!("{third} leads until {first} is back"),
    )?;
    cut.heal()?;
    first_gone.heal()?;
    second_gone.heal()?;
    // It has much to apply first, on a machine that all five share.
    cluster.wait(stage, &format!("{first} leads again"), |object| {
        object["status"]["primary"]["name"] == *first
    })?;
    let done = asked.wait("Ready")?;
    let removed = removed(stage, &cluster, &first)?;
    claim(
        done["status"]["to"] == *first && cluster.primary(stage)? == first,
        format!("{first} leads again: {}", done["status"]),
    )?;
    load.acknowledges(FEW)?;
    cluster.wait_healthy(stage)?;
    let told = load::clean(&load.judge()?)?;
    cluster.remove(stage)?;
    Ok(format!(
        "{first}, {second}, {third}; asked for {first}: {words}; it led again when it was cleaned: {removed}; {told}"
    ))
}

/// A primary that stands still as a whole is succeeded by another; gives that, and what is to heal.
fn succeeded(
    stage: &Stage,
    cluster: &Cluster<'_>,
    load: &Load<'_>,
    primary: &str,
) -> Result<(String, Injected)> {
    let ground = stage.ground()?;
    let epoch = cluster.epoch(stage)?;
    let fault = Fault::pause(ground, cluster.namespace, primary, None)?.inject(ground)?;
    wait_until(
        "another epoch",
        MOVED_WITHIN,
        || Ok(cluster.epoch(stage)? > epoch),
    )
    .with_context(|| cluster.told(stage))?;
    load.acknowledges(FEW)?;
    Ok((cluster.primary(stage)?, fault))
}
