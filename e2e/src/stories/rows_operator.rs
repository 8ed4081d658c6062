//! Stories of a failover whose operator is killed, doubled or stopped on the way, and of who restarts meanwhile.
//! Must not hurry the failover past the moment that is meant: gates hold it still.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ground::faults::{Fault, pod};
use ground::shell::cmd;
use jiff::Timestamp;
use kit::lease::Timing;

use super::endurance::under_load;
use super::rows_writes::{SOME, at, recorded_epoch, replicas};
use crate::cluster::{self, Cluster, member_of};
use crate::gate::Gate;
use crate::operator;
use crate::stage::{Stage, claim, wait_until};

const REPLICATION: u16 = 33_062;
const AGENT: u16 = 9306;
/// Of the API server, as Pods see it.
const API: u16 = 443;
/// A lease runs out, a standby takes it, and everybody is asked.
const STEP_WITHIN: Duration = Duration::from_secs(60);
const ASKED_WITHIN: Duration = Duration::from_secs(5);
/// What a controller prints when it begins to lead, and when it learns that it does not any more.
const LEADS: &str = "\"message\":\"leading\"";
const LEADS_NO_MORE: &str = "\"message\":\"waits to lead again\"";
const STOPPED_FOR: Duration = Duration::from_secs(60);

/// A failover from this epoch is held where the next primary is not chosen yet.
fn hold_choice<'a>(stage: &'a Stage, cluster: &Cluster<'_>, epoch: u64) -> Result<Gate<'a>> {
    let is_choice = " && !record.contains('isChoosing')";
    Gate::of_epoch(stage, cluster.namespace, epoch + 1, is_choice)
}

/// Waits until the record says that this epoch is claimed, and whether its primary is chosen.
fn recorded(stage: &Stage, cluster: &Cluster<'_>, epoch: u64, is_choosing: bool) -> Result<()> {
    let what = match is_choosing {
        true => format!("epoch {epoch} is claimed"),
        false => format!("the primary of epoch {epoch} is chosen"),
    };
    let waited = wait_until(&what, STEP_WITHIN, || {
        let record = cluster.record(stage)?.context("there is no record")?;
        let is_epoch = record["term"]["epoch"].as_u64() == Some(epoch);
        Ok(is_epoch && record["isChoosing"].as_bool().unwrap_or_default() == is_choosing)
    });
    waited.map(drop).with_context(|| cluster.told(stage))
}

/// Waits until all these obey this epoch, as the status says.
fn hold_still(stage: &Stage, cluster: &Cluster<'_>, members: &[String], epoch: u64) -> Result<()> {
    cluster
        .wait(
            stage,
            &format!("{members:?} hold still in epoch {epoch}"),
            |object| {
                let obeys = |member: &String| member_of(object, member)["epoch"].as_u64() == Some(epoch);
                members.iter().all(obeys)
            },
        )
        .map(drop)
}

/// A replica whose mysqld ends between its promise and the choice hears nobody by itself: not the old primary
/// either, which is there for it, has writes that wait, and knows of no later epoch.
pub(super) fn replica_restarts_during_the_choice(stage: &Stage) -> Result<String> {
    let cluster = Cluster {
        namespace: "restarts-still",
        ..Cluster::default()
    };
    under_load(stage, &cluster, |load| {
        let ground = stage.ground()?;
        let (epoch, primary) = (cluster.epoch(stage)?, cluster.primary(stage)?);
        let replicas = replicas(stage, &cluster)?;
        let [_, restarted] = replicas.as_slice() else {
            bail!("there are {} replicas", replicas.len());
        };
        let mut addresses = Vec::new();
        for replica in &replicas {
            addresses.push(cluster.address(stage, replica)?.parse()?);
        }
        let gate = hold_choice(stage, &cluster, epoch)?;
        let port = |port, from| Fault::port(ground, cluster.namespace, &primary, port, from)?.inject(ground);
        let unseen = port(AGENT, Vec::new())?;
        let unheard = port(REPLICATION, addresses)?;
        recorded(stage, &cluster, epoch + 1, true)?;
        hold_still(stage, &cluster, &replicas, epoch + 1)?;
        unheard.heal()?;
        let before = load.acknowledged()?;
        let found = pod::find(ground, cluster.namespace, restarted)?;
        let old = pod::processes(ground, &found, Some("mysqld"))?;
        stage.kill(cluster.namespace, restarted, "mysqld")?;
        let login = at(stage, &cluster, restarted)?;
        wait_until("its mysqld is back and answers", STEP_WITHIN, || {
            let now = pod::processes(ground, &found, Some("mysqld"))?;
            let is_new = !now.is_empty() && now.iter().all(|pid| !old.contains(pid));
            Ok(is_new && is_up(stage, &login))
        })?;
        cluster.wait(stage, &format!("{restarted} holds still again"), |object| {
            let because = &member_of(object, restarted)["because"];
            because
                .as_str()
                .is_some_and(|text| text.contains("waits for the primary"))
        })?;
        let streams = streams_from(stage, &cluster, restarted)?;
        claim(streams.is_empty(), format!("{restarted} hears nobody: {streams}"))?;
        claim(
            load.acknowledged()? == before,
            "nothing is acknowledged meanwhile",
        )?;
        gate.open()?;
        load.acknowledges(SOME)?;
        let after = cluster.primary(stage)?;
        claim(after != primary, format!("another leads than {primary}"))?;
        unseen.heal()?;
        Ok(format!(
            "{restarted} restarted while nobody was chosen: no stream, none acknowledged; then {after} took over from \
             {primary}"
        ))
    })
}

/// Whether mysqld answers, be it that it is closed.
fn is_up(stage: &Stage, login: &cluster::Login) -> bool {
    match cluster::query_within(stage, login, "SELECT 1", ASKED_WITHIN) {
        Ok(_) => true,
        Err(error) => format!("{error:#}").contains("offline mode"),
    }
}

/// Connections of a member's Pod to anybody's mysqld, as a replica.
fn streams_from(stage: &Stage, cluster: &Cluster<'_>, member: &str) -> Result<String> {
    let ground = stage.ground()?;
    let found = pod::find(ground, cluster.namespace, member)?;
    let pids = pod::processes(ground, &found, None)?;
    let pid = pids.first().with_context(|| format!("{member} has no process"))?;
    let argv = ["ss", "-Htn", "state", "established", "dport", "=", ":33062"];
    cmd("nsenter", [format!("--net=/proc/{pid}/ns/net"), "--".to_owned()])
        .args(argv)
        .output()
}

/// SIGKILL to the controller that leads; gives the name that its process had.
fn kill_leader(stage: &Stage) -> Result<String> {
    let (holder, leader) = leads(stage, "")?;
    stage.kill(operator::NAMESPACE, &leader, "holdfast")?;
    Ok(holder)
}

/// Waits until another process leads than this; gives its name and its Pod's.
fn leads(stage: &Stage, other_than: &str) -> Result<(String, String)> {
    let mut found = None;
    wait_until("another controller leads", STEP_WITHIN, || {
        let holder = operator::holder(stage)?;
        let pods = operator::pods(stage)?;
        let pod = pods.into_iter().find(|pod| holder.starts_with(pod.as_str()));
        found = pod.filter(|_| holder != other_than).map(|pod| (holder, pod));
        Ok(found.is_some())
    })?;
    found.context("nobody leads")
}

/// After each step of one failover its controller is killed; in the next failover two lead at once.
pub(super) fn killed_at_every_step(stage: &Stage) -> Result<String> {
    let cluster = Cluster {
        namespace: "steps",
        ..Cluster::default()
    };
    operator::installed(stage)?;
    operator::anew(stage)?;
    let told = under_load(stage, &cluster, |load| {
        let (epoch, primary) = (cluster.epoch(stage)?, cluster.primary(stage)?);
        let replicas = replicas(stage, &cluster)?;
        let choice = hold_choice(stage, &cluster, epoch)?;
        let exposure = Gate::of_endpoints(stage, cluster.namespace, cluster.name)?;
        let mut killed = BTreeSet::new();
        stage.kill(cluster.namespace, &primary, "mysqld")?;
        recorded(stage, &cluster, epoch + 1, true)?;
        killed.insert(kill_leader(stage)?);
        hold_still(stage, &cluster, &replicas, epoch + 1)?;
        killed.insert(kill_leader_other_than(stage, &killed)?);
        choice.open()?;
        recorded(stage, &cluster, epoch + 1, false)?;
        killed.insert(kill_leader_other_than(stage, &killed)?);
        let chosen = opened(stage, &cluster)?;
        killed.insert(kill_leader_other_than(stage, &killed)?);
        exposure.open()?;
        load.acknowledges(1)?;
        killed.insert(kill_leader_other_than(stage, &killed)?);
        load.acknowledges(SOME)?;
        cluster.wait_healthy(stage)?;
        let after = cluster.epoch(stage)?;
        claim(
            cluster.primary(stage)? == chosen && after == epoch + 1,
            format!("one failover, to {chosen}: {}", cluster.told(stage)),
        )?;
        // A standby that waits to be started again could not lead beside the other.
        operator::anew(stage)?;
        cluster.wait_healthy(stage)?;
        let both = two_lead(stage, &cluster)?;
        load.acknowledges(SOME)?;
        Ok(format!(
            "{primary} lost, {} controllers killed one after the other: {chosen} was opened once, in epoch {after}; {both}",
            killed.len()
        ))
    })?;
    operator::anew(stage)?;
    Ok(told)
}

/// Once one that is not yet among the killed leads, it is killed too.
fn kill_leader_other_than(stage: &Stage, killed: &BTreeSet<String>) -> Result<String> {
    wait_until("a controller that was not killed leads", STEP_WITHIN, || {
        let (holder, _) = leads(stage, "")?;
        Ok(!killed.contains(&holder))
    })?;
    kill_leader(stage)
}

/// Waits until the primary of the record is open, whoever reaches it; gives its name.
fn opened(stage: &Stage, cluster: &Cluster<'_>) -> Result<String> {
    let record = cluster.record(stage)?.context("there is no record")?;
    let chosen = record["primary"]
        .as_str()
        .context("it has no primary")?
        .to_owned();
    let login = at(stage, cluster, &chosen)?;
    wait_until(&format!("{chosen} is open"), STEP_WITHIN, || {
        let asked = "SELECT @@GLOBAL.super_read_only";
        Ok(cluster::query_within(stage, &login, asked, ASKED_WITHIN)? == "0")
    })
    .with_context(|| cluster.told(stage))?;
    Ok(chosen)
}

/// In the middle of a failover the API server is out of the leader's reach, and its lease is given away by hand:
/// it believes in it for a moment more, while another leads.
fn two_lead(stage: &Stage, cluster: &Cluster<'_>) -> Result<String> {
    let ground = stage.ground()?;
    let (epoch, primary) = (cluster.epoch(stage)?, cluster.primary(stage)?);
    let choice = hold_choice(stage, cluster, epoch)?;
    stage.kill(cluster.namespace, &primary, "mysqld")?;
    recorded(stage, cluster, epoch + 1, true)?;
    let (holder, old) = leads(stage, "")?;
    let cut = Fault::port(ground, operator::NAMESPACE, &old, API, Vec::new())?.inject(ground)?;
    let renewed = operator::renewed(stage)?;
    stage
        .k(&format!(
            "patch lease holdfast-controller -n {} --type=merge -p {{\"spec\":{{\"holderIdentity\":\"\"}}}}",
            operator::NAMESPACE
        ))
        .run()?;
    let (_, new) = leads(stage, &holder)?;
    choice.open()?;
    recorded(stage, cluster, epoch + 1, false)?;
    let chosen = opened(stage, cluster)?;
    let began = said_at(stage, &new, LEADS).context("the new leader says nothing")?;
    let until = renewed + Timing::default().renew_deadline();
    claim(
        began.parse::<Timestamp>()? < until,
        format!("{new} led from {began}, before {old} stopped to believe that it does, at {until}"),
    )?;
    cut.heal()?;
    wait_until("the old leader says that it leads no more", STEP_WITHIN, || {
        Ok(said_at(stage, &old, LEADS_NO_MORE).is_some_and(|said| said > began))
    })?;
    cluster.wait_healthy(stage)?;
    claim(
        recorded_epoch(stage, cluster)? == epoch + 1 && cluster.primary(stage)? == chosen,
        format!("one failover, to {chosen}: {}", cluster.told(stage)),
    )?;
    Ok(format!(
        "{new} led from {began}, {old} until {until}: {primary} lost, {chosen} alone was opened"
    ))
}

/// When a controller last printed a line with these words, in this process or in the one before it.
fn said_at(stage: &Stage, pod: &str, words: &str) -> Option<String> {
    let mut times = Vec::new();
    for which in ["", " --previous"] {
        let line = format!("logs -n {} {pod} --timestamps{which}", operator::NAMESPACE);
        // There may be no process before, and none yet after.
        let log = stage.k(&line).output().unwrap_or_default();
        let said = log.lines().filter(|line| line.contains(words));
        times.extend(said.filter_map(|line| line.split_whitespace().next().map(str::to_owned)));
    }
    times.into_iter().max()
}

/// Stopped, its node's kubelet too, so that nobody restarts it: it goes on a minute later, and changes nothing.
pub(super) fn stopped_for_a_minute(stage: &Stage) -> Result<String> {
    let cluster = Cluster {
        namespace: "stopped",
        ..Cluster::default()
    };
    operator::installed(stage)?;
    operator::anew(stage)?;
    under_load(stage, &cluster, |load| {
        let ground = stage.ground()?;
        let (epoch, primary) = (cluster.epoch(stage)?, cluster.primary(stage)?);
        let choice = hold_choice(stage, &cluster, epoch)?;
        stage.kill(cluster.namespace, &primary, "mysqld")?;
        recorded(stage, &cluster, epoch + 1, true)?;
        let (holder, old) = leads(stage, "")?;
        let found = pod::find(ground, operator::NAMESPACE, &old)?;
        let processes = || pod::processes(ground, &found, Some("holdfast"));
        let pids = processes()?;
        let kubelet = Fault::ProcessDown {
            unit: found.unit.name(),
            process: "kubelet".to_owned(),
        }
        .inject(ground)?;
        let stopped = Fault::pause(ground, operator::NAMESPACE, &old, None)?.inject(ground)?;
        let begun = Instant::now();
        let (_, new) = leads(stage, &holder)?;
        choice.open()?;
        load.acknowledges(SOME)?;
        let after = cluster.primary(stage)?;
        wait_until("a minute of writes", 2 * STOPPED_FOR, || {
            Ok(begun.elapsed() > STOPPED_FOR)
        })?;
        claim(processes()? == pids, format!("{old} is there, and stands still"))?;
        stopped.heal()?;
        load.acknowledges(SOME)?;
        kubelet.heal()?;
        wait_until("the old leader says that it leads no more", STEP_WITHIN, || {
            Ok(said_at(stage, &old, LEADS_NO_MORE).is_some())
        })?;
        claim(
            recorded_epoch(stage, &cluster)? == epoch + 1 && cluster.primary(stage)? == after,
            format!("{after} leads as before: {}", cluster.told(stage)),
        )?;
        Ok(format!(
            "{old} stopped after epoch {} was claimed, {primary} lost, {new} went on and opened {after}; {old} went on \
             after {STOPPED_FOR:?}, and said that it leads no more",
            epoch + 1
        ))
    })
}
