//! A cluster without a record: founded where nothing ever was, taken over where volumes hold data.
//! Must not found a cluster beside data that somebody may have been promised.

use std::collections::{BTreeMap, BTreeSet};

use super::scene::{connected, everything, ordinal, running, server_of};
use super::{restarts, view};
use crate::assignment::{Assignment, Role};
use crate::decision::{ClusterState, Decision, Plan, Reason, Refusal};
use crate::gtid::Uuid;
use crate::observed::{Observed, Spec, Timestamp};
use crate::record::{Record, Voter};
use crate::term::Term;

pub(super) fn decide(spec: &Spec, seen: &Observed, now: Timestamp) -> Decision {
    let remembered = remembered(seen);
    let wanted = spec.members();
    let voters = remembered
        .values()
        .flat_map(|record| record.voters.keys().cloned());
    // A volume of an earlier, larger cluster may hold what the others lack.
    let volumes = seen.members.iter().filter(|(_, member)| member.volume.is_some());
    let volumes = volumes.map(|(name, _)| name.clone());
    let exist: BTreeSet<String> = wanted.iter().cloned().chain(voters).chain(volumes).collect();
    let mut decision = Decision {
        state: ClusterState::Creating,
        members: view::before_the_record(seen, &exist, now),
        plan: Plan {
            assign: holds(spec, seen, &exist),
            replace: restarts::stuck(seen, &exist),
            exist,
            ..Plan::default()
        },
        because: Vec::new(),
        refused: Vec::new(),
        wake: None,
    };
    let found = match is_adoption(seen) {
        true => {
            decision.state = ClusterState::Adopting;
            adopt(seen, &remembered, &decision.plan.exist)
        }
        false => found(spec, seen, &wanted),
    };
    match found {
        Ok((record, reason)) => {
            decision.plan.record = Some(record);
            decision.because.push(reason);
        }
        Err(Obstacle::Waiting(members)) => decision.because.push(Reason::WaitingFor { members }),
        Err(Obstacle::Refused(refusal)) => {
            decision.state = ClusterState::Blocked;
            decision.refused.push(refusal);
        }
    }
    decision
}

enum Obstacle {
    Waiting(BTreeSet<String>),
    Refused(Refusal),
}

/// The records that members keep with their newest assignment.
fn remembered(seen: &Observed) -> BTreeMap<&str, &Record> {
    let all = seen.members.keys().filter_map(|name| {
        let (_, report) = connected(seen, name)?;
        Some((name.as_str(), report.assignment.as_ref()?.record.as_ref()?))
    });
    all.collect()
}

/// Somebody has data, or was told of a record.
fn is_adoption(seen: &Observed) -> bool {
    let has_data = |name: &String| running(seen, name).is_some_and(|at| !everything(at.server).is_empty());
    !remembered(seen).is_empty() || seen.members.keys().any(has_data)
}

/// Those without a record are told to make their volume ready and wait.
fn holds(spec: &Spec, seen: &Observed, exist: &BTreeSet<String>) -> BTreeMap<String, Assignment> {
    let blank = exist.iter().filter(|name| {
        connected(seen, name).is_some_and(|(_, report)| {
            let order = report.assignment.as_ref();
            order.is_none_or(|order| order.record.is_none())
        })
    });
    let hold = |name: &String| Assignment {
        member: name.clone(),
        record: None,
        role: Role::Hold,
        server: server_of(spec, name, true),
    };
    blank.map(|name| (name.clone(), hold(name))).collect()
}

/// Nothing was ever acknowledged: enough members are seen to be empty, and the volumes of the others
/// were made for this very cluster.
fn found(spec: &Spec, seen: &Observed, wanted: &BTreeSet<String>) -> Result<(Record, Reason), Obstacle> {
    if seen.had_primary {
        return Err(Obstacle::Refused(Refusal::RecordLost));
    }
    let empty: BTreeMap<&String, Uuid> = wanted
        .iter()
        .filter_map(|name| Some((name, running(seen, name)?.server.incarnation)))
        .collect();
    let missing: BTreeSet<String> = wanted
        .iter()
        .filter(|name| !empty.contains_key(name))
        .cloned()
        .collect();
    let is_foreign = |name: &String| {
        let volume = seen.members.get(name).and_then(|member| member.volume.as_ref());
        volume.is_some_and(|volume| !volume.is_of_this_cluster)
    };
    let unwanted_volumes = seen
        .members
        .keys()
        .filter(|name| !wanted.contains(*name) && is_foreign(name));
    let unknown: BTreeSet<String> = missing
        .iter()
        .filter(|name| is_foreign(name))
        .chain(unwanted_volumes)
        .cloned()
        .collect();
    if !unknown.is_empty() {
        return Err(Obstacle::Waiting(unknown));
    }
    let need = usize::from(spec.instances.saturating_sub(spec.sync_replicas));
    let founder = empty.keys().min_by_key(|name| ordinal(name));
    let (Some(founder), Some(identity), true) = (founder, seen.new_identity, empty.len() >= need) else {
        return Err(Obstacle::Waiting(missing));
    };
    let voter = |name: &String| Voter {
        incarnation: empty.get(name).filter(|_| name == *founder).copied(),
        leaving: None,
    };
    let record = Record {
        voters: wanted.iter().map(|name| (name.clone(), voter(name))).collect(),
        ..Record::of(identity, Term::new(0, 1), (*founder).clone())
    };
    let primary = record.primary.clone();
    Ok((record, Reason::Founding { primary }))
}

/// The record is gone and the data are there. All who may have acknowledged must be seen: the copies
/// of the record that members keep may be old, so the quorum they speak of proves nothing.
fn adopt(
    seen: &Observed,
    remembered: &BTreeMap<&str, &Record>,
    exist: &BTreeSet<String>,
) -> Result<(Record, Reason), Obstacle> {
    let identities: BTreeSet<Uuid> = remembered.values().map(|record| record.identity).collect();
    let stranger = |name: &&String| {
        let has_data = running(seen, name).is_some_and(|at| !everything(at.server).is_empty());
        has_data && !remembered.contains_key(name.as_str())
    };
    let strangers: BTreeSet<String> = exist.iter().filter(stranger).cloned().collect();
    let Some(newest) = remembered.values().max_by_key(|record| record.term) else {
        return Err(Obstacle::Refused(Refusal::MixedVolumes { members: strangers }));
    };
    if identities.len() > 1 {
        let members = remembered.keys().map(|name| (*name).to_owned()).collect();
        return Err(Obstacle::Refused(Refusal::MixedVolumes { members }));
    }
    let missing: BTreeSet<String> = exist
        .iter()
        .filter(|name| running(seen, name).is_none())
        .cloned()
        .collect();
    if !missing.is_empty() {
        return Err(Obstacle::Waiting(missing));
    }
    Ok(claim(newest, remembered))
}

/// The next epoch is claimed, so that everybody holds still before histories are compared.
fn claim(newest: &Record, remembered: &BTreeMap<&str, &Record>) -> (Record, Reason) {
    let records = || remembered.values();
    let revision = records().map(|record| record.term.revision).max().unwrap_or(0) + 1;
    let epoch = records().map(|record| record.term.epoch).max().unwrap_or(0) + 1;
    let record = Record {
        term: Term { epoch, revision },
        is_choosing: true,
        handing_to: None,
        by_hand: None,
        cut: None,
        failovers: 0,
        left_out: BTreeSet::new(),
        ..newest.clone()
    };
    let primary = record.primary.clone();
    (record, Reason::Adopting { primary, epoch })
}

#[cfg(test)]
mod tests;
