//! What a pretended agent makes of its server.
//! Must not look at anything but its orders and that server.

use super::*;

/// Proves a commit, opens by that, and goes on writing.
pub(super) fn lead(server: &mut Server, order: &Assignment, wait_for: u16) {
    let own = server.incarnation.expect("an incarnation");
    server.follows = None;
    server.executed = server.executed.union(&server.received);
    server.wait_for = Some(wait_for);
    let record = order.record.as_ref().expect("a record");
    let proof = Proof {
        term: record.term,
        wait_for,
    };
    if server.proved != Some(proof) && server.proof_begun.as_ref().map(|(begun, _)| *begun) != Some(proof) {
        let epoch = gtid(record.identity, record.term.epoch);
        let gtid = match server.executed.contains(&epoch) {
            true => next(own, &server.executed),
            false => epoch,
        };
        server.executed.insert(gtid.clone());
        server.proof_begun = Some((proof, gtid));
    } else if server.is_open {
        server.executed.insert(next(own, &server.executed));
    }
}

/// Its own transactions are numbered without gaps.
fn next(own: Uuid, executed: &GtidSet) -> Gtid {
    let source = Source { uuid: own, tag: None };
    gtid(own, executed.highest(&source) + 1)
}

/// What the agent looks at before it follows.
pub(super) fn is_beyond(order: &Assignment, server: &Server) -> bool {
    let all = server.executed.union(&server.received);
    let record = order.record.as_ref().expect("a record");
    !record.beyond_cut(&all).is_empty()
}

pub(super) fn stop(server: &mut Server) {
    server.is_open = false;
    server.wait_for = None;
    server.follows = None;
    server.proof_begun = None;
}
