//! An epoch that is claimed: everybody holds still, then the longest history is chosen.
//! Must not compare what was read before everybody who counts held still.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::scene::{Running, Scene, epoch_of, everything};
use super::{by_hand, view};
use crate::assignment::Role;
use crate::decision::{ClusterState, Decision, Plan, Reason, Refusal};
use crate::gtid::GtidSet;
use crate::record::Record;

pub(super) fn decide(scene: &Scene<'_>) -> Decision {
    let exist = scene.existing();
    let reachable = exist.iter().filter(|name| scene.connected(name).is_some());
    let hold = |name: &String| (name.clone(), scene.order(name, Role::Hold, true));
    let mut decision = Decision {
        state: match scene.seen.had_primary {
            true => ClusterState::FailingOver,
            false => ClusterState::Adopting,
        },
        plan: Plan {
            assign: reachable.map(hold).collect(),
            exist,
            ..Plan::default()
        },
        members: view::members(scene),
        because: Vec::new(),
        refused: Vec::new(),
        wake: None,
    };
    let still: Vec<(&str, Running<'_>)> = still(scene);
    // Who does not answer may never do: enough hold still without it, or it is waited for below.
    let waiting: BTreeSet<String> = counting(scene)
        .filter(|name| answers(scene, name))
        .filter(|name| still.iter().all(|(other, _)| other != name))
        .map(str::to_owned)
        .collect();
    let need = scene.quorum();
    if still.len() < need {
        if let Some((record, reason)) = named(scene) {
            decision.plan.record = Some(record);
            decision.because.push(reason);
            return decision;
        }
        too_few(scene, &still, &mut decision);
        return decision;
    }
    if !waiting.is_empty() {
        decision.because.push(Reason::WaitingFor { members: waiting });
        return decision;
    }
    match choose(scene, &still) {
        Ok((record, reason)) => {
            decision.plan.record = Some(record);
            decision.because.push(reason);
        }
        Err(refusal) => match named(scene) {
            Some((record, reason)) => {
                decision.plan.record = Some(record);
                decision.because.push(reason);
            }
            None => {
                decision.state = ClusterState::Blocked;
                decision.refused.push(refusal);
                decision.refused.extend(advice(scene));
            }
        },
    }
    decision
}

/// Who holds still does not know everything: others are waited for, or nobody is left to wait for.
fn too_few(scene: &Scene<'_>, still: &[(&str, Running<'_>)], decision: &mut Decision) {
    let need = scene.quorum();
    let seen = still.iter().map(|(name, _)| (*name).to_owned()).collect();
    // Whose agent is not there either is not waited for without a word.
    let hoped_for = counting(scene).filter(|name| scene.connected(name).is_some());
    let is_lost = hoped_for.count() < need && !is_named_there(scene, still);
    match is_lost {
        true => {
            let need = u16::try_from(need).unwrap_or(u16::MAX);
            decision.state = ClusterState::Blocked;
            decision.refused.push(Refusal::QuorumLost {
                seen,
                missing: others(scene, still),
                need,
            });
            decision.refused.extend(advice(scene));
        }
        false => decision.because.push(Reason::WaitingFor {
            members: others(scene, still),
        }),
    }
}

/// It counts, and its mysqld said something of late: one that hangs is not waited for.
fn answers(scene: &Scene<'_>, name: &str) -> bool {
    scene.counted(name).is_some_and(|at| at.report.answers())
}

fn others(scene: &Scene<'_>, still: &[(&str, Running<'_>)]) -> BTreeSet<String> {
    let is_other = |name: &&String| still.iter().all(|(other, _)| other != name);
    scene.record.voters.keys().filter(is_other).cloned().collect()
}

/// Those whose data count and who answer, or may yet. Who has no room is left out if the others are
/// enough: it could not be opened, and what only it has was never acknowledged. So is a primary that its replicas
/// could not reach.
fn counting<'a>(scene: &'a Scene<'_>) -> impl Iterator<Item = &'a str> {
    let voters = scene.record.voters.keys();
    let is_spare = |name: &str| scene.cannot_write(name) || scene.record.left_out.contains(name);
    let others = voters.filter(|name| scene.counted(name).is_some() && !is_spare(name));
    let can_spare = others.count() >= scene.quorum();
    let recorded = scene
        .record
        .voters
        .iter()
        .filter(|(_, voter)| voter.incarnation.is_some());
    let may_count = |name: &&String| scene.running(name).is_none() || scene.counted(name).is_some();
    recorded
        .map(|(name, _)| name)
        .filter(may_count)
        .map(String::as_str)
        .filter(move |name| !(can_spare && is_spare(name)))
}

/// Those who count and follow nobody, in this term: what they have is all that they will have.
fn still<'a>(scene: &'a Scene<'_>) -> Vec<(&'a str, Running<'a>)> {
    let still = counting(scene).filter_map(|name| Some((name, holding(scene, name)?)));
    still.collect()
}

fn holding<'a>(scene: &'a Scene<'_>, name: &str) -> Option<Running<'a>> {
    let at = scene.counted(name)?;
    let order = at.report.assignment.as_ref()?;
    let holds = order.term() == scene.record.term && order.role == Role::Hold && at.report.is_settled;
    holds.then_some(at)
}

/// What a person chooses from: everybody who holds still, also who could be spared. Nothing as long as they decide
/// it themselves, or somebody who answers is still on the way to them.
fn left_open<'a>(scene: &'a Scene<'_>) -> Option<Vec<(&'a str, Running<'a>)>> {
    let names = scene.record.voters.keys();
    let seen = names.filter(|name| answers(scene, name) || holding(scene, name).is_some());
    let still: Option<Vec<_>> = seen
        .map(|name| Some((name.as_str(), holding(scene, name)?)))
        .collect();
    let still = still?;
    let is_decided = still.len() >= scene.quorum() && choose(scene, &still).is_ok();
    (!is_decided).then_some(still)
}

fn advice(scene: &Scene<'_>) -> Option<Refusal> {
    by_hand::left_to_people(scene, &left_open(scene)?)
}

/// It has a transaction that the primary wrote in the last epoch, and the other has not. These come to
/// everybody in one order: whatever else the other has is not of that epoch, but of an earlier primary that
/// nobody was promised, and came along with a replica that was not compared before it followed. Where nobody has
/// anything of that epoch nothing beyond its cut counts, and nobody leads.
fn leads(scene: &Scene<'_>, set: &GtidSet, other: &GtidSet) -> bool {
    let primary = scene.voter(scene.primary()).and_then(|voter| voter.incarnation);
    let Some(cut) = &scene.record.cut else {
        return false;
    };
    let more = set.subtract(other).subtract(cut);
    more.sources().any(|source| Some(source.uuid) == primary)
}

/// What a version is compatible as: an older series cannot follow a newer one. What cannot be read is the newest.
fn series(version: &str) -> (u32, u32) {
    let mut parts = version.split('.').map(str::parse);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor),
        _ => (u32::MAX, u32::MAX),
    }
}

/// What one of those who hold still has, and how much of it somebody may have been promised.
pub(super) struct History<'a> {
    pub(super) name: &'a str,
    pub(super) epoch: u64,
    pub(super) all: GtidSet,
    pub(super) counting: GtidSet,
    series: (u32, u32),
}

impl<'a> History<'a> {
    /// Whoever has nothing of the last epoch may hold what its cut left out, or what came along through others
    /// that were copied anew since, and a replica what somebody wrote to it: it makes no history longer.
    pub(super) fn new(record: &Record, name: &'a str, at: Running<'_>) -> Self {
        let all = everything(at.server);
        let counting = all.subtract(&record.unpromised(at.server.incarnation, &all));
        Self {
            name,
            epoch: epoch_of(record.identity, &counting),
            all,
            counting,
            series: series(&at.server.version),
        }
    }

    fn is_clean(&self) -> bool {
        self.all == self.counting
    }
}

/// Who is primary of the claimed epoch, and with what it begins.
fn chosen(scene: &Scene<'_>, name: &str, all: &GtidSet) -> Record {
    let mut record = scene.record.revised();
    record.is_choosing = false;
    record.left_out.clear();
    record.by_hand = None;
    name.clone_into(&mut record.primary);
    record.cut = Some(all.clone());
    for voter in record.voters.values_mut() {
        voter.leaving = None;
    }
    record
}

/// Who was named has not been seen to hold still yet, and will be.
fn is_named_there(scene: &Scene<'_>, still: &[(&str, Running<'_>)]) -> bool {
    let named = by_hand::named(scene).filter(|name| answers(scene, name));
    named.is_some_and(|name| still.iter().all(|(other, _)| *other != name))
}

/// Where no choice is safe: who was named by a person, if it holds still and could be.
fn named(scene: &Scene<'_>) -> Option<(Record, Reason)> {
    let name = by_hand::named(scene)?;
    let still = left_open(scene)?;
    let mut choices = by_hand::choices(scene, &still).into_iter();
    let named = choices.find(|choice| choice.member == name)?;
    let (_, at) = still.iter().find(|(other, _)| *other == name)?;
    let mut record = chosen(scene, name, &everything(at.server));
    record.by_hand = Some(named.clone());
    let epoch = record.term.epoch;
    let reason = Reason::ByHand {
        epoch,
        named,
        is_done: true,
    };
    Some((record, reason))
}

/// The longest history of the highest epoch; if several are equal one without anything that nobody was
/// promised, of these one of the oldest series, so that the others can follow it, then the primary before, and then
/// one on another node than the operator's.
fn choose(scene: &Scene<'_>, still: &[(&str, Running<'_>)]) -> Result<(Record, Reason), Refusal> {
    let histories = still.iter();
    let all: Vec<History<'_>> = histories
        .map(|(name, at)| History::new(scene.record, name, *at))
        .collect();
    let epoch = all.iter().map(|history| history.epoch).max().unwrap_or(0);
    let newest = || all.iter().filter(|other| other.epoch == epoch);
    let covers = |set: &GtidSet, other: &GtidSet| {
        other.is_subset(set) || (leads(scene, set, other) && !leads(scene, other, set))
    };
    let is_best = |one: &&History<'_>| newest().all(|other| covers(&one.counting, &other.counting));
    let best = newest().filter(is_best).max_by_key(|one| {
        (
            one.is_clean(),
            Reverse(one.series),
            one.name == scene.primary(),
            !scene.is_beside_operator(one.name),
            Reverse(one.name),
        )
    });
    let Some(best) = best else {
        let mut names = newest().map(|history| history.name.to_owned());
        return Err(Refusal::HistoryDiverged {
            one: names.next().unwrap_or_default(),
            other: names.next().unwrap_or_default(),
        });
    };
    let record = chosen(scene, best.name, &best.all);
    let reason = Reason::Opening {
        primary: record.primary.clone(),
        epoch: record.term.epoch,
    };
    Ok((record, reason))
}

#[cfg(test)]
mod tests;
