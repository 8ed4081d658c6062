//! What the first record of a cluster may never hold.
//! Must not share a line with `decide`, nor trust its reasons.

use super::{Found, server};
use crate::observed::Observed;
use crate::record::Record;

pub(super) fn record(seen: &Observed, next: &Record, found: &mut Found) {
    let data = seen
        .members
        .keys()
        .filter_map(|name| server(seen, name))
        .any(|(_, report, server)| {
            let is_told = report
                .assignment
                .as_ref()
                .is_some_and(|order| order.record.is_some());
            is_told || !server.executed.is_empty() || !server.received.is_empty()
        });
    match next.term.epoch {
        0 => {
            found.unless(!data, "a cluster is founded beside data");
            found.unless(!seen.had_primary, "a cluster is founded where there was one");
            found.unless(
                next.acknowledged_by == 0 && next.wait_for == 0,
                "acknowledgements before epoch 1",
            );
            founding(next, found);
        }
        epoch => {
            found.unless(data, "a cluster is taken over from nothing");
            let told = seen
                .members
                .values()
                .filter_map(|member| member.report.as_ref()?.assignment.as_ref()?.record.as_ref());
            for record in told {
                found.unless(record.identity == next.identity, "two identities are mixed");
                found.unless(
                    record.term.epoch < epoch && record.term.revision < next.term.revision,
                    format!(
                        "term {} is not above {} that a member knows",
                        next.term, record.term
                    ),
                );
            }
            found.unless(
                next.is_choosing,
                "a primary is chosen before everybody holds still",
            );
            taking_over(seen, next, found);
        }
    }
    found.unless(next.voters.contains_key(&next.primary), "the primary is no voter");
}

/// Nobody but the founder is counted, and nothing has happened.
fn founding(next: &Record, found: &mut Found) {
    let expected = Record {
        voters: next.voters.clone(),
        acknowledged_by: next.acknowledged_by,
        wait_for: next.wait_for,
        ..Record::of(next.identity, next.term, next.primary.clone())
    };
    let mut others = next.voters.iter().filter(|(name, _)| **name != next.primary);
    let is_uncounted = others.all(|(_, voter)| voter.incarnation.is_none());
    let is_blank = *next == expected && next.voters.values().all(|voter| voter.leaving.is_none());
    found.unless(is_blank && is_uncounted, "a cluster is founded with a past");
}

/// The newest record that somebody remembers, and what was decided in it is forgotten.
fn taking_over(seen: &Observed, next: &Record, found: &mut Found) {
    let reports = seen.members.values().filter_map(|member| member.report.as_ref());
    let told = reports.filter_map(|report| report.assignment.as_ref()?.record.as_ref());
    let expected = told.max_by_key(|record| record.term).map(|newest| Record {
        term: next.term,
        is_choosing: next.is_choosing,
        left_out: Default::default(),
        handing_to: None,
        cut: None,
        failovers: 0,
        by_hand: None,
        ..newest.clone()
    });
    found.unless(
        expected.as_ref() == Some(next),
        "a cluster is taken over as nobody remembers it",
    );
}
