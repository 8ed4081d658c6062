//! A primary that a person names where no choice is safe: who can be named, and what that would lose.
//! Must not apply to another situation than the one that was looked at, nor lose what it does not name.

use std::collections::BTreeSet;

use super::choosing::History;
use super::scene::{Running, Scene};
use super::{cooldown, failover};
use crate::decision::{Cause, Reason, Refusal};
use crate::gtid::GtidSet;
use crate::record::{ByHand, Record};

/// Each is a sentence for people; more of them would have been written to by hand.
const CHOICES_LIMIT: usize = 3;

/// Who was named for the situation of this very epoch: now, or when it was claimed.
pub(super) fn named<'a>(scene: &Scene<'a>) -> Option<&'a str> {
    let asked = scene.spec.switchover.as_ref().filter(|asked| {
        let is_meant = asked.accepts_loss_in == Some(scene.record.term.epoch);
        asked.is_forced && is_meant
    });
    let claimed_for = scene
        .record
        .by_hand
        .as_ref()
        .map(|claimed| claimed.member.as_str());
    asked.and_then(|asked| asked.target.as_deref()).or(claimed_for)
}

/// Its agent is there, and what it has may be seen at any moment.
fn is_awaited(scene: &Scene<'_>, name: &str) -> bool {
    let recorded = scene.voter(name).and_then(|voter| voter.incarnation);
    recorded.is_some() && scene.connected(name).is_some() && scene.running(name).is_none()
}

/// Who can be named, of those that are seen: nobody that lacks what another of them has, unless their histories
/// differ. None at all while somebody is awaited who may know more.
pub(super) fn choices(scene: &Scene<'_>, seen: &[(&str, Running<'_>)]) -> Vec<ByHand> {
    let voters = scene.record.voters.keys();
    let is_unheard = |name: &&String| seen.iter().all(|(other, _)| other != name);
    let unheard: BTreeSet<String> = voters.filter(is_unheard).cloned().collect();
    if unheard.iter().any(|name| is_awaited(scene, name)) {
        return Vec::new();
    }
    let histories = seen
        .iter()
        .map(|(name, at)| History::new(scene.record, name, *at));
    let histories: Vec<History<'_>> = histories.collect();
    let epoch = histories.iter().map(|history| history.epoch).max().unwrap_or(0);
    let newest = || histories.iter().filter(|history| history.epoch == epoch);
    let all = newest().fold(GtidSet::new(), |all, history| all.union(&history.counting));
    let is_less = |one: &GtidSet, other: &GtidSet| one.is_subset(other) && !other.is_subset(one);
    let longest = newest().filter(|one| newest().all(|other| !is_less(&one.counting, &other.counting)));
    let able = longest.filter(|one| !scene.cannot_write(one.name));
    let choices = able.map(|history| ByHand {
        member: history.name.to_owned(),
        unheard: unheard.clone(),
        given_up: all.subtract(&history.all),
    });
    choices.take(CHOICES_LIMIT).collect()
}

/// Those of the voters that are seen with their data.
fn counted<'a>(scene: &'a Scene<'_>) -> Vec<(&'a str, Running<'a>)> {
    let names = scene.record.voters.keys();
    let counted = names.filter_map(|name| Some((name.as_str(), scene.counted(name)?)));
    counted.collect()
}

/// The primary is lost, and too few are seen to choose another.
fn lost(scene: &Scene<'_>, refused: &[Refusal]) -> Option<Cause> {
    let is_blocked = refused.iter().any(|refusal| {
        matches!(
            refusal,
            Refusal::QuorumLost { .. } | Refusal::PrimaryDataLost { .. }
        )
    });
    let is_any = is_blocked && scene.record.acknowledged_by > 0;
    failover::cause(scene).filter(|_| is_any)
}

/// The claim of the next epoch for who was named.
pub(super) fn claim(scene: &Scene<'_>, refused: &[Refusal]) -> Option<(Record, Vec<Reason>)> {
    let cause = lost(scene, refused)?;
    let name = named(scene)?;
    let mut choices = choices(scene, &counted(scene)).into_iter();
    let named = choices.find(|choice| choice.member == name)?;
    let mut record = scene.record.next_epoch();
    record.is_choosing = true;
    record.handing_to = None;
    record.left_out.clear();
    // It holds the next one back as any other does, and is not held back itself: somebody asked for it.
    record.failovers = cooldown::with_one_more(scene.record);
    record.by_hand = Some(named.clone());
    let from = scene.primary().to_owned();
    let by_hand = Reason::ByHand {
        epoch: record.term.epoch,
        named,
        is_done: false,
    };
    Some((record, vec![Reason::FailingOver { from, cause }, by_hand]))
}

/// What a person can do where nothing is claimed.
pub(super) fn advice(scene: &Scene<'_>, refused: &[Refusal]) -> Option<Refusal> {
    lost(scene, refused)?;
    left_to_people(scene, &counted(scene))
}

pub(super) fn left_to_people(scene: &Scene<'_>, seen: &[(&str, Running<'_>)]) -> Option<Refusal> {
    let choices = choices(scene, seen);
    let epoch = scene.record.term.epoch;
    (!choices.is_empty()).then_some(Refusal::LeftToPeople { epoch, choices })
}
