//! What a person's word may do, and only that: in the epoch that it names, for the member that it names.
//! Must not share a line with `decide`, nor trust its reasons.

use std::collections::BTreeSet;

use super::{Found, counts, record};
use crate::gtid::{GtidSet, Source};
use crate::observed::{Member, Observed, Spec};
use crate::record::{ByHand, Record};
use crate::report::{Report, ServerSeen};

/// Somebody asked for this member, by force, and accepts a loss in this very epoch.
fn is_asked(spec: &Spec, epoch: u64, member: &str) -> bool {
    spec.switchover.as_ref().is_some_and(|asked| {
        let is_meant = asked.accepts_loss_in == Some(epoch);
        asked.is_forced && is_meant && asked.target.as_deref() == Some(member)
    })
}

/// Nobody that counts is left out of what may be lost, and the primary is not seen.
pub(super) fn claim(
    spec: &Spec,
    seen: &Observed,
    before: &Record,
    next: &Record,
    named: &ByHand,
    found: &mut Found,
) {
    found.unless(
        next.left_out.is_empty(),
        "somebody is left out of what a person decides",
    );
    found.unless(
        is_asked(spec, before.term.epoch, &named.member),
        format!(
            "an epoch is claimed for {}, and nobody asked for that",
            named.member
        ),
    );
    let is_heard = |name: &String| counts(seen, before, name);
    let unheard: BTreeSet<String> = before
        .voters
        .keys()
        .filter(|name| !is_heard(name))
        .cloned()
        .collect();
    found.unless(
        is_heard(&named.member) && named.member != before.primary,
        format!("{} is named and does not count", named.member),
    );
    found.unless(
        unheard.is_subset(&named.unheard) && !is_heard(&before.primary),
        "more may be lost than was said",
    );
}

/// The same where a person named the primary: others may have what it lacks, if that was said.
pub(super) fn choice(
    spec: &Spec,
    before: &Record,
    next: &Record,
    named: &ByHand,
    still: &[(&Member, &Report, &ServerSeen)],
    found: &mut Found,
) {
    let everything = |server: &ServerSeen| server.executed.union(&server.received);
    let histories = still.iter().map(|(_, report, server)| {
        let all = record::promised(before, &report.member, &everything(server));
        (report.member.as_str(), all)
    });
    let histories: Vec<_> = histories.collect();
    compared(spec, before, next, named, &histories, found);
    let chosen = still.iter().find(|(_, report, _)| report.member == next.primary);
    let is_cut = chosen.is_some_and(|(.., server)| next.cut.as_ref() == Some(&everything(server)));
    found.unless(is_cut, "the cut is not what the named one has");
}

/// `histories`: what each of those who hold still may have promised.
fn compared(
    spec: &Spec,
    before: &Record,
    next: &Record,
    named: &ByHand,
    histories: &[(&str, GtidSet)],
    found: &mut Found,
) {
    let was_claimed_for = before
        .by_hand
        .as_ref()
        .is_some_and(|claimed| claimed.member == named.member);
    found.unless(
        was_claimed_for || is_asked(spec, before.term.epoch, &named.member),
        format!("{} is made primary, and nobody asked for that", named.member),
    );
    found.unless(next.primary == named.member, "another is primary than was named");
    let same_voters = next.voters.iter().all(|(name, voter)| {
        let was = before.voters.get(name);
        was.is_some_and(|was| was.incarnation == voter.incarnation)
    });
    found.unless(same_voters, "who counts changes with the choice");
    let Some((_, own)) = histories.iter().find(|(name, _)| *name == named.member) else {
        return found.say("the named one was not seen to hold still");
    };
    let numbers = Source::from(before.identity);
    let is_newest = histories
        .iter()
        .all(|(_, all)| all.highest(&numbers) <= own.highest(&numbers));
    found.unless(is_newest, "the named one lacks an epoch that another has");
    let of_epoch = histories
        .iter()
        .filter(|(_, all)| all.highest(&numbers) == own.highest(&numbers));
    let given_up = of_epoch
        .clone()
        .fold(GtidSet::new(), |lost, (_, all)| lost.union(&all.subtract(own)));
    let unheard = before
        .voters
        .keys()
        .filter(|name| histories.iter().all(|(other, _)| other != name));
    let is_told =
        given_up.is_subset(&named.given_up.union(own)) && unheard.cloned().eq(named.unheard.iter().cloned());
    found.unless(is_told, "more may be lost than was said");
    // With enough of them a longest history is chosen, if there is one.
    let is_quorum = histories.len() >= record::quorum(before);
    let is_longest = |one: &GtidSet| of_epoch.clone().all(|(_, other)| other.is_subset(one));
    let has_longest = of_epoch.clone().any(|(_, one)| is_longest(one));
    found.unless(
        !is_quorum || !has_longest,
        "a person's word is used where it is not needed",
    );
}
