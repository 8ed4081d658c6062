//! What a change of the record may never do.
//! Must not share a line with `decide`, nor trust its reasons.

use super::{Found, by_hand, counts, cut_off, server};
use crate::assignment::Role;
use crate::gtid::{Gtid, GtidSet, Source, Uuid};
use crate::observed::{Observed, Spec};
use crate::record::{Leaving, Record};
use crate::report::{Process, Report, TroubleKind};

/// More need not be counted.
const FAILOVERS_LIMIT: u16 = 8;

pub(super) fn change(spec: &Spec, seen: &Observed, before: &Record, next: &Record, found: &mut Found) {
    found.unless(next.identity == before.identity, "the identity changes");
    found.unless(
        next.term.revision == before.term.revision + 1,
        "the revision does not rise by one",
    );
    found.unless(
        next.acknowledged_by <= next.wait_for,
        "fewer are waited for than are counted on",
    );
    found.unless(next.voters.contains_key(&next.primary), "the primary is no voter");
    failovers(before, next, found);
    if before.is_choosing {
        return choice(spec, seen, before, next, found);
    }
    if next.is_choosing {
        return claim(spec, seen, before, next, found);
    }
    if let Some(to) = before
        .handing_to
        .as_deref()
        .filter(|_| next.term.epoch != before.term.epoch)
    {
        return handover(seen, before, next, to, found);
    }
    if before.handing_to != next.handing_to {
        return handing(seen, before, next, found);
    }
    found.unless(
        next.by_hand == before.by_hand || next.term.epoch != before.term.epoch,
        "what a person decided is changed",
    );
    found.unless(
        next.left_out == before.left_out,
        "somebody is left out, and nothing is chosen",
    );
    let may_move = next.primary == before.primary || before.term.epoch == 0;
    found.unless(may_move, "the primary moves");
    let proved = server(seen, &before.primary).is_some_and(|(_, report, server)| {
        let is_counted = before.counts(&before.primary, server.incarnation);
        is_counted
            && report
                .proved
                .is_some_and(|proof| proof.term == before.term && proof.wait_for >= before.wait_for)
    });
    match (before.term.epoch, next.term.epoch) {
        (0, 0) => found.unless(next.wait_for == 0, "acknowledgements before epoch 1"),
        (0, 1) => return first_epoch(seen, before, next, found),
        (same, also) => found.unless(same == also, "the epoch changes"),
    }
    found.unless(
        next.cut == before.cut,
        "what an epoch began with changes while it lasts",
    );
    found.unless(
        next.acknowledged_by <= before.acknowledged_by || (proved && next.acknowledged_by <= before.wait_for),
        "more replicas are counted on than a commit was proved with",
    );
    voters(seen, before, next, proved, found);
}

/// The founder is done, it begins with all that this one has, and enough count.
fn first_epoch(seen: &Observed, before: &Record, next: &Record, found: &mut Found) {
    let founder = server(seen, &before.primary);
    let is_founded = founder.is_some_and(|(_, report, _)| report.is_founded);
    found.unless(is_founded, "the first primary is not founded");
    let counted = before.voters.iter().filter(|(name, voter)| {
        let now = server(seen, name).map(|(_, _, server)| server.incarnation);
        voter.incarnation.is_some() && now == voter.incarnation
    });
    found.unless(
        counted.count() > usize::from(next.wait_for),
        "too few members are counted to open",
    );
    found.unless(
        next.acknowledged_by == next.wait_for,
        "the first epoch counts on fewer than it waits for",
    );
    found.unless(next.voters == before.voters, "voters change with the epoch");
    let is_all = founder.is_none_or(|(_, _, server)| next.cut.as_ref() == Some(&server.executed));
    found.unless(is_all, "the first epoch does not begin with what the founder has");
}

/// Each claim is counted, and nothing else is. One is forgotten at a time, and nothing else happens with that.
fn failovers(before: &Record, next: &Record, found: &mut Found) {
    if next.is_choosing && !before.is_choosing {
        let is_counted = next.failovers == before.failovers.saturating_add(1).min(FAILOVERS_LIMIT);
        return found.unless(is_counted, "a failover is not counted");
    }
    let expected = Record {
        term: next.term,
        failovers: before.failovers.saturating_sub(1),
        ..before.clone()
    };
    let is_forgotten = before.term.epoch == next.term.epoch && *next == expected;
    found.unless(
        next.failovers == before.failovers || is_forgotten,
        "failovers are counted where there was none, or forgotten with something else",
    );
}

/// The next epoch, everything else as it was, and a quorum that can be seen without the primary.
fn claim(spec: &Spec, seen: &Observed, before: &Record, next: &Record, found: &mut Found) {
    let expected = Record {
        term: next.term,
        is_choosing: true,
        handing_to: None,
        failovers: next.failovers,
        left_out: next.left_out.clone(),
        by_hand: next.by_hand.clone(),
        ..before.clone()
    };
    found.unless(*next == expected, "a claim changes more than the epoch");
    let is_next = next.term.epoch == before.term.epoch + 1 && before.term.epoch > 0;
    found.unless(is_next, "the claimed epoch is not the next one");
    let others = before.voters.keys().filter(|name| **name != before.primary);
    let counted = others.filter(|name| counts(seen, before, name));
    let (counted, need) = (counted.count(), quorum(before));
    match &next.by_hand {
        Some(named) => by_hand::claim(spec, seen, before, next, named, found),
        None => found.unless(counted >= need, "an epoch is claimed that cannot be decided"),
    }
    found.unless(
        next.by_hand.is_none() || counted < need,
        "a person's word is used where it is not needed",
    );
    let is_fine = server(seen, &before.primary).is_some_and(|(_, report, server)| {
        let is_ours = counts(seen, before, &before.primary);
        let is_running = report.process == Process::Running && report.server_age_ms == 0;
        is_ours && server.is_open && is_running && writes(report)
    });
    let is_cut_off = !next.left_out.is_empty();
    found.unless(!is_fine || is_cut_off, "a primary that serves is given up");
    if is_cut_off {
        cut_off::claim(seen, before, next, found);
    }
}

/// A handover begins or is taken back: nothing else changes.
fn handing(seen: &Observed, before: &Record, next: &Record, found: &mut Found) {
    let expected = Record {
        term: next.term,
        handing_to: next.handing_to.clone(),
        ..before.clone()
    };
    found.unless(*next == expected, "a handover changes more than itself");
    found.unless(
        next.term.epoch == before.term.epoch,
        "a handover begins with an epoch",
    );
    found.unless(before.term.epoch > 0, "a handover before epoch 1");
    if let Some(to) = &next.handing_to {
        let is_fit = counts(seen, before, to) && *to != before.primary && before.handing_to.is_none();
        found.unless(is_fit, format!("{to} is to take over and does not count"));
    }
}

/// The next epoch without a choice: the old primary was seen closed in this term, and the new one has it all.
fn handover(seen: &Observed, before: &Record, next: &Record, to: &str, found: &mut Found) {
    let expected = Record {
        term: next.term,
        primary: to.to_owned(),
        handing_to: None,
        by_hand: None,
        cut: next.cut.clone(),
        ..before.clone()
    };
    found.unless(*next == expected, "a handover changes more than the primary");
    found.unless(
        next.term.epoch == before.term.epoch + 1,
        "a handover does not lead to the next epoch",
    );
    let old = server(seen, &before.primary).filter(|(_, report, server)| {
        let order = report.assignment.as_ref();
        let obeys = order.is_some_and(|order| order.term() == before.term && order.role == Role::Retire);
        let is_closed = !server.is_open && !server.has_waiters && report.is_settled;
        obeys && is_closed && before.counts(&before.primary, server.incarnation)
    });
    let Some((_, _, old)) = old else {
        return found.say(format!(
            "{} was not seen closed before it is followed",
            before.primary
        ));
    };
    found.unless(
        next.cut.as_ref() == Some(&old.executed),
        "the cut is not what the old primary has",
    );
    let new = server(seen, to).filter(|(_, _, server)| before.counts(to, server.incarnation));
    let has_all = new.is_some_and(|(_, _, server)| {
        let all = server.executed.union(&server.received);
        old.executed.is_subset(&all) && all.is_subset(&old.executed)
    });
    found.unless(
        has_all,
        format!("{to} takes over and has not exactly what the old primary has"),
    );
}

pub(super) fn writes(report: &Report) -> bool {
    let refusing = [TroubleKind::DiskFull, TroubleKind::VolumeFails];
    let mut troubles = report.troubles.iter();
    report.write_age_ms == 0 && !troubles.any(|trouble| refusing.contains(&trouble.kind))
}

pub(super) fn quorum(record: &Record) -> usize {
    let acknowledged_by = usize::from(record.acknowledged_by);
    record.voters.len().saturating_sub(acknowledged_by)
}

/// Enough who count hold still in the claimed term, and none of these has what the chosen one lacks:
/// whoever is beyond them may have more, and nobody was promised that.
fn choice(spec: &Spec, seen: &Observed, before: &Record, next: &Record, found: &mut Found) {
    let is_same_epoch = next.term.epoch == before.term.epoch && !next.is_choosing;
    found.unless(is_same_epoch, "the claimed epoch changes");
    found.unless(
        next.left_out.is_empty(),
        "somebody is left out of a choice that is made",
    );
    let is_same_count = (next.acknowledged_by, next.wait_for) == (before.acknowledged_by, before.wait_for);
    found.unless(is_same_count, "acknowledgements change with the choice");
    same_voters(before, next, found);
    let still = before
        .voters
        .keys()
        .filter_map(|name| server(seen, name))
        .filter(|(_, report, _)| {
            let order = report.assignment.as_ref();
            let holds = order.is_some_and(|order| order.term() == before.term && order.role == Role::Hold);
            holds && report.is_settled && counts(seen, before, &report.member)
        });
    let still: Vec<_> = still.collect();
    let need = quorum(before);
    if let Some(named) = &next.by_hand {
        return by_hand::choice(spec, before, next, named, &still, found);
    }
    found.unless(
        still.len() >= need,
        format!("{} members hold still, {need} must", still.len()),
    );
    let Some((_, _, chosen)) = still.iter().find(|(_, report, _)| report.member == next.primary) else {
        return found.say("the chosen one was not seen to hold still");
    };
    let numbers = Source::from(before.identity);
    let chosen = chosen.executed.union(&chosen.received);
    found.unless(
        next.cut.as_ref() == Some(&chosen),
        "the cut is not what the chosen one has",
    );
    let most = promised(before, &next.primary, &chosen);
    let (mut covered, mut full) = (0, 0);
    for (_, report, server) in &still {
        let all = promised(before, &report.member, &server.executed.union(&server.received));
        let is_older = all.highest(&numbers) < most.highest(&numbers);
        let is_covered = is_older || all.is_subset(&most) || ended_before(before, &all, &most);
        let is_spared = !writes(report) || before.left_out.contains(&report.member);
        covered += usize::from(is_covered);
        full += usize::from(is_spared && !is_covered);
        let name = &report.member;
        found.unless(
            is_covered || is_spared,
            format!("{name} has what the chosen one lacks"),
        );
    }
    found.unless(
        full == 0 || covered >= need,
        "too few are compared without those who are left out",
    );
    cut_off::choice(before, next, &still, found);
    nobody_new(before, next, found);
}

fn same_voters(before: &Record, next: &Record, found: &mut Found) {
    found.unless(
        next.voters.keys().eq(before.voters.keys()),
        "voters change with the choice",
    );
    // Whoever was seen to be silent may have been told otherwise since.
    found.unless(
        next.voters.values().all(|voter| voter.leaving.is_none()),
        "a removal goes on through a choice",
    );
    found.unless(next.handing_to.is_none(), "a handover begins with the choice");
}

fn nobody_new(before: &Record, next: &Record, found: &mut Found) {
    for (name, voter) in &next.voters {
        let was = before.voters.get(name).and_then(|voter| voter.incarnation);
        let is_known = voter.incarnation.is_none() || voter.incarnation == was;
        found.unless(is_known, format!("{name} is counted by the choice"));
    }
}

/// Of who has not seen the last epoch begin, only what it began with may have been promised; and of what a member
/// numbered itself that did not lead the last epoch.
pub(super) fn promised(before: &Record, name: &str, all: &GtidSet) -> GtidSet {
    let numbers = Source::from(before.identity);
    let last = before.term.epoch - 1;
    let begun = Gtid::new(numbers, last).is_ok_and(|gtid| all.contains(&gtid));
    let of = |name: &str| before.voters.get(name).and_then(|voter| voter.incarnation);
    let incarnation = of(name);
    let is_known = incarnation.is_some() && of(&before.primary).is_some();
    match &before.cut {
        Some(cut) if !begun => all.intersect(cut),
        Some(cut) if name != before.primary && is_known => {
            let others = all.clone().without(|source| Some(source.uuid) == incarnation);
            others.union(&all.intersect(cut))
        }
        _ => all.clone(),
    }
}

/// The primary's own transactions come to everybody in one order: who lacks one of them that the chosen has,
/// and has none that the chosen lacks, has nothing else of that epoch either.
fn ended_before(before: &Record, all: &GtidSet, chosen: &GtidSet) -> bool {
    let (Some(cut), Some(primary)) = (&before.cut, before.voters.get(&before.primary)) else {
        return false;
    };
    let numbers = Source::from(before.identity);
    let of_epoch = |set: GtidSet| {
        let beyond = set.subtract(cut);
        beyond
            .sources()
            .any(|source| Some(source.uuid) == primary.incarnation)
    };
    let is_last = chosen.highest(&numbers) + 1 == before.term.epoch;
    is_last && of_epoch(chosen.subtract(all)) && !of_epoch(all.subtract(chosen))
}

fn voters(seen: &Observed, before: &Record, next: &Record, is_proved: bool, found: &mut Found) {
    let is_refounded = is_refounded(before, next);
    if is_refounded {
        refounded(seen, next, found);
    }
    for (name, voter) in &before.voters {
        let Some(after) = next.voters.get(name) else {
            let is_silent = voter.leaving == Some(Leaving::Silent);
            found.unless(
                is_silent && is_proved,
                format!("{name} is struck out while its acknowledgements may count"),
            );
            continue;
        };
        if after.leaving != voter.leaving {
            let is_onward = match (voter.leaving, after.leaving) {
                (None, Some(Leaving::Asked)) => true,
                (Some(Leaving::Asked), Some(Leaving::Silent)) => is_quiet(seen, before, name),
                _ => false,
            };
            found.unless(
                is_onward,
                format!("{name} is taken for silent, and was not seen to be"),
            );
            found.unless(*name != before.primary, "the primary is removed");
        }
        if after.incarnation != voter.incarnation && !is_refounded {
            let has_all = after
                .incarnation
                .is_some_and(|incarnation| holds_all(seen, before, name, incarnation));
            found.unless(
                has_all,
                format!("{name} is counted, and was not seen to hold everything"),
            );
        }
    }
    let new = next
        .voters
        .iter()
        .filter(|(name, _)| !before.voters.contains_key(*name));
    for (name, voter) in new {
        found.unless(
            voter.incarnation.is_none(),
            format!("{name} is counted as it is added"),
        );
    }
}

/// In epoch 0 another member founds, or the same with another volume.
fn is_refounded(before: &Record, next: &Record) -> bool {
    let founder = |record: &Record| {
        let voter = record.voters.get(&record.primary);
        (record.primary.clone(), voter.and_then(|voter| voter.incarnation))
    };
    before.term.epoch == 0 && founder(before) != founder(next)
}

/// Everybody begins again: nobody but the founder is counted, with the data that it is seen with.
fn refounded(seen: &Observed, next: &Record, found: &mut Found) {
    let founder = server(seen, &next.primary).map(|(_, _, server)| server.incarnation);
    found.unless(founder.is_some(), "the founder was not seen");
    for (name, voter) in &next.voters {
        let expected = founder.filter(|_| *name == next.primary);
        found.unless(
            voter.incarnation == expected,
            format!("{name} is counted as the cluster is founded anew"),
        );
    }
}

fn is_quiet(seen: &Observed, before: &Record, name: &str) -> bool {
    let never_ran = seen.members.get(name).is_some_and(|member| {
        member.pod.as_ref().is_some_and(|pod| pod.node.is_none()) && before.voters[name].incarnation.is_none()
    });
    let obeys = server(seen, name).is_some_and(|(_, report, server)| {
        let order = report.assignment.as_ref();
        report.is_settled
            && order.is_some_and(|order| order.term() == before.term && order.role == Role::Hold)
            && !server
                .follows
                .as_ref()
                .is_some_and(|follows| follows.is_receiving)
    });
    never_ran || obeys
}

/// What the primary had after this incarnation attached is all there.
fn holds_all(seen: &Observed, before: &Record, name: &str, incarnation: Uuid) -> bool {
    let (Some((member, _, server)), Some((_, _, primary))) =
        (server(seen, name), server(seen, &before.primary))
    else {
        return false;
    };
    let all = server.executed.union(&server.received);
    let has_all = member.goal.as_ref().is_some_and(|goal| goal.is_subset(&all));
    let is_following = server
        .follows
        .as_ref()
        .is_some_and(|follows| follows.is_receiving);
    server.incarnation == incarnation
        && member.forgot.is_none()
        && before.counts(&before.primary, primary.incarnation)
        && is_following
        && has_all
}
