//! Stories of rows of docs/failures.md where no choice is safe, and a person makes it with the words of the status.
//! Must not ask for anything that the status does not say.

use std::time::Duration;

use anyhow::{Context, Result};
use checker::verdict::Kind;
use ground::faults::Injected;
use serde_json::Value;

use super::care::inside;
use super::endurance::under_load;
use super::rows_power::{Uneven, power_cut};
use super::rows_writes::{SOME, at, recorded_epoch, removed, replicas, says};
use super::switchover::Asked;
use crate::cluster::{self, Cluster, condition};
use crate::gate::Gate;
use crate::load::{self, Load};
use crate::operator;
use crate::stage::{Stage, claim, wait_until};

const STILL: Duration = Duration::from_secs(5);
const EQUAL_WITHIN: Duration = Duration::from_secs(30);
/// A server that is no member, and its first number.
const ELSEWHERE: &str = "05050505-0505-0505-0505-050505050505";
const FAR_AHEAD: u64 = 800_001;

/// What the status offers to a person: the epoch, and whom to name with what that loses.
struct Offer {
    epoch: u64,
    choices: Vec<(String, String)>,
}

impl Offer {
    fn of(object: &Value) -> Option<Self> {
        let message = condition(object, "Stalled")?["message"].as_str()?;
        let (_, words) = message.split_once("create a Switchover with force: true, acceptLossInEpoch: ")?;
        let (epoch, words) = words.split_once(" and target: ")?;
        let choices = words.split(", or with target: ");
        let choices = choices.map(|choice| choice.split_once(", which loses "));
        let choices: Option<Vec<_>> = choices.collect();
        let owned = |(target, loss): (&str, &str)| (target.to_owned(), loss.to_owned());
        Some(Self {
            epoch: epoch.parse().ok()?,
            choices: choices?.into_iter().map(owned).collect(),
        })
    }

    /// Waits until a person is asked, for this reason.
    fn wait(stage: &Stage, cluster: &Cluster<'_>, reason: &str) -> Result<Self> {
        let is_asked = |object: &Value| says(object, &["Blocked", reason]) && Self::of(object).is_some();
        cluster.wait(stage, &format!("Blocked, {reason}, with the way out"), is_asked)?;
        Self::of(&cluster.get(stage)?).with_context(|| cluster.told(stage))
    }

    /// Asks for this one as offered.
    fn take<'a>(&self, stage: &'a Stage, cluster: &'a Cluster<'_>, target: &str) -> Result<Asked<'a>> {
        let spec = format!(
            ", force: true, acceptLossInEpoch: {}, target: {target}",
            self.epoch
        );
        Asked::create(stage, cluster, "by-hand", &spec)
    }
}

/// Each copy of the data has another.
pub(super) fn identity(stage: &Stage, cluster: &Cluster<'_>, member: &str) -> Result<String> {
    inside(stage, cluster, member, "SELECT @@GLOBAL.server_uuid")
}

fn identities(stage: &Stage, cluster: &Cluster<'_>) -> Result<Vec<String>> {
    let members = cluster.members();
    members.map(|member| identity(stage, cluster, &member)).collect()
}

/// Whose data are others than before.
fn anew(stage: &Stage, cluster: &Cluster<'_>, before: &[String]) -> Result<Vec<String>> {
    let now = identities(stage, cluster)?;
    let pairs = now.iter().zip(before).enumerate();
    let changed = pairs.filter(|(_, (now, before))| now != before);
    Ok(changed.map(|(n, _)| format!("{}-{n}", cluster.name)).collect())
}

/// The Switchover and the cluster say who was named, and what that lost.
fn is_kept(
    stage: &Stage,
    cluster: &Cluster<'_>,
    asked: &Asked<'_>,
    (target, loss): (&str, &str),
) -> Result<()> {
    let done = asked.wait("Ready")?;
    claim(
        done["status"]["to"] == *target && done["status"].to_string().contains(loss),
        format!("it says who leads, and what that lost: {}", done["status"]),
    )?;
    cluster.is_told(stage, "DecidedByHand", &[target])?;
    let object = cluster.get(stage)?;
    let last = &object["status"]["promotions"][0];
    claim(
        last["reason"] == "ChosenByHand" && last["to"] == *target,
        format!("the last promotion is {target}'s, by hand: {last}"),
    )
}

/// Row 32: when the primary is gone, and before anybody is asked, each of two equal replicas gets a transaction that
/// nobody else has.
pub(super) fn histories_differ(stage: &Stage) -> Result<String> {
    let cluster = Cluster {
        namespace: "two-histories",
        ..Cluster::default()
    };
    under_load(stage, &cluster, |load| {
        let (primary, epoch) = (cluster.primary(stage)?, cluster.epoch(stage)?);
        let before = identities(stage, &cluster)?;
        let (gone, wanted) = forked(stage, &cluster, load, (&primary, epoch))?;
        let offer = Offer::wait(stage, &cluster, "HistoryDiverged")?;
        load.stands_still(STILL)?;
        claim(
            offer.epoch == epoch + 1 && recorded_epoch(stage, &cluster)? == offer.epoch,
            "the epoch is claimed, and nobody is chosen in it",
        )?;
        claim(
            offer.choices == wanted,
            format!(
                "each can be named, and loses what the other got: {:?}",
                offer.choices
            ),
        )?;
        let (target, loss) = wanted.last().context("nobody can be named")?;
        let asked = offer.take(stage, &cluster, target)?;
        is_closed(stage, &cluster, (target, epoch + 1))?;
        // Only the other one can acknowledge, and it is to be copied first.
        let took = load.acknowledges(SOME)?;
        gone.heal()?;
        is_kept(stage, &cluster, &asked, (target, loss))?;
        cluster.wait_healthy(stage)?;
        is_one_history(stage, &cluster, (&primary, target), &before)?;
        Ok(format!(
            "{primary} without power and two histories: nobody took over; {target} named: {loss}; writes \
             {:.0} s later, the other copied anew",
            took.as_secs_f64()
        ))
    })
}

/// The primary's node loses power, and no epoch can be claimed until each replica has got what only it has. Gives whom
/// to name, and what that loses.
fn forked(
    stage: &Stage,
    cluster: &Cluster<'_>,
    load: &Load<'_>,
    (primary, epoch): (&str, u64),
) -> Result<(Injected, Vec<(String, String)>)> {
    let database = cluster.login(stage, "primary")?.database;
    let node = cluster.node(stage, primary)?;
    let replicas = replicas(stage, cluster)?;
    let gate = Gate::of_epoch(stage, cluster.namespace, epoch + 1, "")?;
    let gone = load.while_still(|| gone_with_equals(stage, cluster, (primary, &node)))?;
    let mut numbers = Vec::new();
    for (replica, number) in replicas.iter().zip(FAR_AHEAD..) {
        let table = table_of(replica);
        let statement = format!(
            "SET GLOBAL super_read_only = 0; SET GLOBAL read_only = 0; SET gtid_next = \"{ELSEWHERE}:{number}\"; \
             CREATE TABLE {database}.{table} (id INT PRIMARY KEY)"
        );
        inside(stage, cluster, replica, &statement)?;
        numbers.push(number);
    }
    gate.open()?;
    let losses = numbers
        .iter()
        .rev()
        .map(|number| format!("whatever only {primary} had, and 1 transaction ({ELSEWHERE}:{number})"));
    Ok((gone, replicas.into_iter().zip(losses).collect()))
}

/// Waits until everybody has the same, and then the primary's node loses power.
pub(super) fn gone_with_equals(
    stage: &Stage,
    cluster: &Cluster<'_>,
    (primary, node): (&str, &str),
) -> Result<Injected> {
    let has = |member: &str| -> Result<String> {
        let login = at(stage, cluster, member)?;
        cluster::query(stage, &login, "SELECT @@GLOBAL.gtid_executed")
    };
    let replicas = replicas(stage, cluster)?;
    wait_until("everybody has the same", EQUAL_WITHIN, || {
        let all = has(primary)?;
        let equal: Result<Vec<bool>> = replicas.iter().map(|replica| Ok(has(replica)? == all)).collect();
        Ok(equal?.iter().all(|equal| *equal))
    })?;
    power_cut(stage, node.to_owned())
}

/// Waits until this one leads in this epoch, and says that nobody acknowledges.
fn is_closed(stage: &Stage, cluster: &Cluster<'_>, (target, epoch): (&str, u64)) -> Result<()> {
    let words = ["AwaitingReplicas", "0 replicas follow, 1 must acknowledge"];
    let is = |object: &Value| {
        let leads = &object["status"]["primary"];
        leads["name"] == *target && leads["epoch"] == epoch && says(object, &words)
    };
    let what = format!("{target} is chosen, and closed");
    cluster.wait(stage, &what, is).map(drop)
}

fn table_of(member: &str) -> String {
    format!("only_{}", member.replace('-', "_"))
}

/// Everybody has what the named one had, and nothing of the other's, which is a copy.
fn is_one_history(
    stage: &Stage,
    cluster: &Cluster<'_>,
    (primary, target): (&str, &str),
    before: &[String],
) -> Result<()> {
    let database = cluster.login(stage, "primary")?.database;
    let tables = format!("SHOW TABLES IN {database} LIKE \"only%\"");
    let mut other = Vec::new();
    for member in cluster.members() {
        let has = inside(stage, cluster, &member, &tables)?;
        claim(
            has == table_of(target),
            format!("{member} has the table of {target} alone: {has}"),
        )?;
        let is_other = member != target && member != primary;
        other.extend(is_other.then_some(member));
    }
    let anew = anew(stage, cluster, before)?;
    claim(anew == other, format!("{other:?} is copied anew: {anew:?}"))
}

/// Row 6: whoever has the last writes is gone, and a person goes on with who lacks them.
pub(super) fn laggard_named(stage: &Stage) -> Result<String> {
    let cluster = Cluster {
        namespace: "laggard-named",
        ..Cluster::default()
    };
    operator::installed(stage)?;
    cluster.healthy(stage)?;
    let load = Load::start(stage, &cluster)?;
    let before = load.acknowledged()?;
    let uneven = Uneven::make(stage, &cluster, &load)?;
    let (what, acknowledged) = named(stage, &cluster, &load, uneven)?;
    cluster.wait_healthy(stage)?;
    let verdict = load.judge()?;
    // A write that is given up was read, and the version that it made is made again.
    let given_up = [
        Kind::LostWrite,
        Kind::LostUpdate,
        Kind::StaleRead,
        Kind::VanishedRead,
    ];
    claim(
        verdict.is_clean_but_for(&given_up),
        format!("nothing but what was given up is missing, and members are equal:\n{verdict}"),
    )?;
    let lost = verdict.found(Kind::LostWrite).map_or(0, |found| found.count);
    let most = u64::try_from(acknowledged - before)?;
    claim(
        lost > 0 && lost <= most,
        format!("of {most} writes since the cut some were given up:\n{verdict}"),
    )?;
    cluster.remove(stage)?;
    Ok(format!(
        "{what}; {lost} given up of {most} since it lagged; {}",
        load::told(&verdict)
    ))
}

/// Both lose power; the laggard is named, and opens when one of them is back and copied. Gives how many writes were
/// acknowledged until then.
fn named(stage: &Stage, cluster: &Cluster<'_>, load: &Load<'_>, uneven: Uneven) -> Result<(String, usize)> {
    let epoch = cluster.epoch(stage)?;
    let (primary, other) = (uneven.primary.clone(), uneven.acknowledger.clone());
    let laggard = uneven.laggard.clone();
    let before = identities(stage, cluster)?;
    let (of_primary, of_other) = (cluster.node(stage, &primary)?, cluster.node(stage, &other)?);
    // In this order no epoch can be claimed in between.
    let other_gone = power_cut(stage, of_other)?;
    let primary_gone = power_cut(stage, of_primary)?;
    uneven.is_blocked(stage, cluster)?;
    uneven.let_go()?;
    let acknowledged = load.acknowledged()?;
    let offer = Offer::wait(stage, cluster, "QuorumLost")?;
    let mut both = [primary.as_str(), other.as_str()];
    both.sort_unstable();
    let loss = format!("whatever only {} had", both.join(", "));
    claim(
        offer.epoch == epoch && offer.choices == [(laggard.clone(), loss.clone())],
        format!(
            "{laggard} alone can be named in epoch {epoch}: {:?} in {}",
            offer.choices, offer.epoch
        ),
    )?;
    let asked = offer.take(stage, cluster, &laggard)?;
    is_closed(stage, cluster, (&laggard, epoch + 1))?;
    load.stands_still(STILL)?;
    claim(
        load.acknowledged()? == acknowledged,
        "nothing is acknowledged until a replica is there",
    )?;
    other_gone.heal()?;
    let took = load.acknowledges(SOME)?;
    is_kept(stage, cluster, &asked, (&laggard, &loss))?;
    primary_gone.heal()?;
    cluster.wait_healthy(stage)?;
    let words = removed(stage, cluster, &primary)?;
    let anew = anew(stage, cluster, &before)?;
    claim(
        anew == both,
        format!("{both:?} have other data than before: {anew:?}"),
    )?;
    let what = format!(
        "{primary} and {other} without power, {laggard} named: {loss}; writes {:.0} s after {other} was back, \
         copied; {primary}: {words}",
        took.as_secs_f64()
    );
    Ok((what, acknowledged))
}
