//! A primary that is given up because its replicas do not reach it: who may be left out of the choice.
//! Must not share a line with `decide`, nor trust its reasons.

use super::{Found, counts, record, server};
use crate::observed::{Member, Observed};
use crate::record::Record;
use crate::report::{Process, Report, ServerSeen};

/// All but those who say themselves that they cannot reach the primary, and these are enough.
pub(super) fn claim(seen: &Observed, before: &Record, next: &Record, found: &mut Found) {
    let is_out = |name: &String| next.left_out.contains(name);
    found.unless(
        is_out(&before.primary),
        "others are left out, and the primary is not",
    );
    let (out, others): (Vec<&String>, Vec<&String>) = before.voters.keys().partition(|name| is_out(name));
    found.unless(
        out.len() == next.left_out.len(),
        "somebody is left out who is no voter",
    );
    for name in &others {
        let says_so = server(seen, name).is_some_and(|(_, _, server)| {
            let follows = server.follows.as_ref();
            let is_away = follows.is_some_and(|follows| follows.is_unreached && !follows.is_receiving);
            is_away && counts(seen, before, name)
        });
        found.unless(
            says_so,
            format!("{name} does not say that it cannot reach the primary"),
        );
    }
    let is_enough = others.len() >= record::quorum(before) && others.len() > usize::from(before.wait_for);
    found.unless(
        is_enough && before.wait_for > 0,
        "a primary is given up that enough may still reach",
    );
}

/// Of those who hold still, one that was left out is chosen only where the others are too few.
pub(super) fn choice(
    before: &Record,
    next: &Record,
    still: &[(&Member, &Report, &ServerSeen)],
    found: &mut Found,
) {
    let is_well = |report: &Report| report.process == Process::Running && report.server_age_ms == 0;
    let others = still.iter().filter(|(_, report, _)| {
        let is_out = before.left_out.contains(&report.member);
        !is_out && is_well(report) && record::writes(report)
    });
    found.unless(
        !before.left_out.contains(&next.primary) || others.count() < record::quorum(before),
        "one that is left out is chosen, and the others are enough",
    );
}
