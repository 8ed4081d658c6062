//! Stories of rows of docs/failures.md: primaries that die shortly after one another.
//! Must not wait until a pause between failovers is over before the next one dies.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ground::faults::Fault;
use jiff::Timestamp;
use serde_json::Value;

use super::endurance::under_load;
use crate::cluster::Cluster;
use crate::load::Load;
use crate::stage::{Stage, claim, wait_until};

const DEATHS_AT_LEAST: usize = 10;
/// So many failovers wait for nothing; with each further one the pause after it doubles.
const FREE: u64 = 3;
const FIRST_PAUSE_S: i64 = 10;
/// So many are counted when the primary goes for longer than the pause.
const BEFORE_THE_LAST: u64 = 5;
/// Status tells times in whole seconds.
const TOLERANCE_S: i64 = 2;
const FEW: usize = 50;
const WITHIN: Duration = Duration::from_secs(120);

/// How many failovers the status says came shortly before, and within how many seconds the next one may begin.
type Held = (u64, u64);

fn held_back(object: &Value) -> Option<Held> {
    let text = object["status"].to_string();
    let (count, rest) = text.split_once(" failovers came shortly before")?;
    let (_, within) = rest.split_once("so the next one begins within ")?;
    let count = count.rsplit(' ').next()?.parse().ok()?;
    let within = within.split(' ').next()?.parse().ok()?;
    (object["status"]["state"] == "PrimaryUnavailable").then_some((count, within))
}

/// The pause after the last of so many failovers.
fn pause_s(failovers: u64) -> i64 {
    match failovers.checked_sub(FREE) {
        None => 0,
        Some(more) => FIRST_PAUSE_S << more,
    }
}

/// One cluster whose primaries die.
struct Dying<'a> {
    stage: &'a Stage,
    cluster: &'a Cluster<'a>,
    load: &'a Load<'a>,
    first: u64,
    deaths: usize,
    told: Vec<String>,
    held: BTreeSet<Held>,
}

impl Dying<'_> {
    fn failovers(&self) -> Result<u64> {
        Ok(self.cluster.epoch(self.stage)? - self.first)
    }

    /// mysqld of the primary is killed: another takes over, or it is held back and the killed one goes on.
    fn dies(&mut self) -> Result<()> {
        let (stage, cluster, load) = (self.stage, self.cluster, self.load);
        let (before, count) = (cluster.primary(stage)?, self.failovers()?);
        let begun = Instant::now();
        stage.kill(cluster.namespace, &before, "mysqld")?;
        self.deaths += 1;
        let wanted = load.acknowledged()? + FEW;
        let mut held = BTreeSet::new();
        wait_until(&format!("{FEW} more acknowledged writes"), WITHIN, || {
            held.extend(held_back(&cluster.get(stage)?));
            Ok(load.acknowledged()? >= wanted)
        })
        .with_context(|| cluster.told(stage))?;
        let wrote = begun.elapsed().as_secs();
        cluster.wait_healthy(stage)?;
        let (after, now) = (cluster.primary(stage)?, self.failovers()?);
        claim(
            held.iter().all(|(said, _)| *said == count) && (held.is_empty() || count >= FREE),
            format!("{count} failovers came before: said {held:?}"),
        )?;
        let is_moved = now == count + 1 && after != before;
        let stayed = now == count && after == before && !held.is_empty();
        claim(
            is_moved || (stayed && count >= FREE),
            format!("{before} died after {count} failovers: {now}, {after}, said {held:?}"),
        )?;
        self.told.push(match is_moved {
            true => format!("{after} in {wrote} s"),
            false => format!("held back, {before} itself in {wrote} s"),
        });
        self.held.extend(held);
        Ok(())
    }

    /// The primary does not come back: another takes over when the pause is over, and not before.
    fn stays_away(&mut self) -> Result<()> {
        let (stage, cluster, load) = (self.stage, self.cluster, self.load);
        let (before, count) = (cluster.primary(stage)?, self.failovers()?);
        let unit = cluster.node(stage, &before)?;
        let begun = Instant::now();
        let power = Fault::UnitDown { unit }.inject(stage.ground()?)?;
        self.deaths += 1;
        let said = cluster.wait(stage, "status says that the next failover waits", |object| {
            held_back(object).is_some_and(|(said, _)| said == count)
        })?;
        self.held.extend(held_back(&cluster.get(stage)?));
        cluster.wait(stage, "another leads", |object| {
            object["status"]["primary"]["name"] != *before
        })?;
        load.acknowledges(FEW)?;
        let (after, wrote) = (cluster.primary(stage)?, begun.elapsed());
        power.heal()?;
        cluster.wait_healthy(stage)?;
        claim(self.failovers()? == count + 1, "one failover")?;
        self.told.push(format!(
            "{before} without power: held back after {:.0} s, {after} in {:.0} s",
            said.as_secs_f64(),
            wrote.as_secs_f64()
        ));
        Ok(())
    }

    /// Each failover came after the pause of those before it, as status lists them. The gaps in seconds.
    fn gaps(&self) -> Result<Vec<i64>> {
        let object = self.cluster.get(self.stage)?;
        let list = object["status"]["promotions"].as_array();
        let failovers = list.context("no promotions")?.iter().rev();
        let failovers = failovers.filter(|one| one["kind"] == "Failover");
        let chosen = failovers.map(chosen_at).collect::<Result<Vec<_>>>()?;
        claim(
            chosen.len() as u64 == self.failovers()?,
            format!("status lists each of them: {}", object["status"]["promotions"]),
        )?;
        let later = chosen.iter().skip(1).zip(&chosen);
        let gaps = later.map(|(next, one)| next.duration_since(*one).as_secs());
        let gaps = gaps.collect::<Vec<_>>();
        for (count, gap) in (1..).zip(&gaps) {
            let pause = pause_s(count);
            claim(
                gap + TOLERANCE_S >= pause,
                format!("after {count} failovers the next waits {pause} s: {gaps:?}"),
            )?;
        }
        Ok(gaps)
    }
}

/// When a primary was chosen: status tells of its first write.
fn chosen_at(promotion: &Value) -> Result<Timestamp> {
    let wrote = promotion["time"].as_str().context("it has no time")?;
    let wrote: Timestamp = wrote.parse()?;
    let barrier = promotion["phasesMs"]["barrier"].as_u64().unwrap_or_default();
    Ok(wrote - Duration::from_millis(barrier))
}

/// Row 47: three failovers wait for nothing, each later one waits longer; whoever comes back before goes on.
pub(super) fn ten_deaths(stage: &Stage) -> Result<String> {
    let cluster = Cluster {
        namespace: "often",
        ..Cluster::default()
    };
    under_load(stage, &cluster, |load| {
        let mut dying = Dying {
            stage,
            cluster: &cluster,
            load,
            first: cluster.epoch(stage)?,
            deaths: 0,
            told: Vec::new(),
            held: BTreeSet::new(),
        };
        // Whoever is killed when the pause is over is succeeded, so that this comes to an end.
        while dying.failovers()? < BEFORE_THE_LAST {
            dying.dies()?;
        }
        dying.stays_away()?;
        while dying.deaths < DEATHS_AT_LEAST {
            dying.dies()?;
        }
        let gaps = dying.gaps()?;
        let counts: BTreeSet<u64> = dying.held.iter().map(|(count, _)| *count).collect();
        claim(
            counts.len() >= 2,
            format!("it was said after several counts: {:?}", dying.held),
        )?;
        Ok(format!(
            "{}; failovers {gaps:?} s apart; said (failovers before, within s): {:?}",
            dying.told.join(", "),
            dying.held
        ))
    })
}
