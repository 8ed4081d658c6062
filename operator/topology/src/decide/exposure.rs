//! Where the Services lead.
//! Must not lead writes anywhere but to the open primary of this epoch, nor drop what it cannot see.

use std::collections::BTreeSet;

use super::scene::{Running, Scene};
use crate::observed::{Endpoint, Exposed, Member};

/// Who was not heard of for so long serves nobody.
const SILENCE_LIMIT_MS: u64 = 10_000;

/// `None`: as they are.
pub(super) fn next(scene: &Scene<'_>) -> Option<Exposed> {
    let primary = primary(scene);
    let mut replicas = replicas(scene);
    if replicas.is_empty() && scene.spec.reads_fall_back {
        replicas.extend(primary.clone());
    }
    let next = Exposed { primary, replicas };
    (next != scene.seen.exposed).then_some(next)
}

fn primary(scene: &Scene<'_>) -> Option<Endpoint> {
    let here = of_primary(scene);
    if is_open(scene) {
        return here;
    }
    // Closed for a moment, or out of sight: the Service stays as it is, if it led to this Pod. The one before
    // stays while it is seen to be closed, and for a while if it is not seen, when it can acknowledge nothing:
    // a node takes a change of Services at once, and then none for a second, so there is to be one.
    let before = scene.seen.exposed.primary.as_ref();
    let stays = |before: &&Endpoint| {
        let is_there = scene.address(&before.member) == Some(&*before.ip);
        here.as_ref() == Some(*before)
            || (is_there && (is_shut_or_unseen(scene, before) || is_just_chosen(scene)))
    };
    before.filter(stays).cloned()
}

/// A Pod that is ending takes writes until another is primary.
fn of_primary(scene: &Scene<'_>) -> Option<Endpoint> {
    scene.address(scene.primary()).map(|ip| Endpoint {
        member: scene.primary().to_owned(),
        ip: ip.to_owned(),
    })
}

/// Nobody can read or write there, or it was heard of a moment ago.
fn is_shut_or_unseen(scene: &Scene<'_>, endpoint: &Endpoint) -> bool {
    let member = scene.seen.members.get(&endpoint.member);
    member.is_some_and(|member| match scene.connected(&endpoint.member) {
        Some((_, report)) => report.server.as_ref().is_none_or(|server| !server.is_open),
        None => !member.is_connected && !is_silent(scene, member),
    })
}

/// So many have promised this epoch that nobody of those before acknowledges anything, and what is read there is the
/// newest until another is open. If that takes long, to be refused is better than to wait there.
fn is_just_chosen(scene: &Scene<'_>) -> bool {
    let voters = scene.record.voters.keys();
    let orders = voters.filter_map(|name| scene.connected(name)?.1.assignment.as_ref());
    let promised = orders.filter(|order| order.term().epoch >= scene.record.term.epoch);
    let since = scene.seen.failed_over_at.unwrap_or_default();
    promised.count() >= scene.quorum() && scene.now.saturating_sub(since) <= SILENCE_LIMIT_MS
}

/// For longer than anybody looks, and than the last failover is over: neither leaves time to hear of all.
fn is_silent(scene: &Scene<'_>, member: &Member) -> bool {
    let since = scene
        .seen
        .failed_over_at
        .unwrap_or_default()
        .max(member.reported_at);
    scene.now.saturating_sub(since) > SILENCE_LIMIT_MS
}

fn is_open(scene: &Scene<'_>) -> bool {
    let primary = scene.living_primary();
    primary.is_some_and(|at| is_ours_and_open(scene, at))
}

fn is_ours_and_open(scene: &Scene<'_>, at: Running<'_>) -> bool {
    let order = at.report.assignment.as_ref();
    at.server.is_open && order.is_some_and(|order| order.term().epoch == scene.record.term.epoch)
}

fn replicas(scene: &Scene<'_>) -> BTreeSet<Endpoint> {
    let names = scene.record.voters.keys().filter(|name| *name != scene.primary());
    let others = names.filter_map(|name| replica(scene, name));
    // Until it is open the next primary stays among them, for the same reason.
    let stays = |next: &Endpoint| !is_open(scene) && scene.seen.exposed.replicas.contains(next);
    others.chain(of_primary(scene).filter(stays)).collect()
}

fn replica(scene: &Scene<'_>, name: &str) -> Option<Endpoint> {
    let place = scene.place(name)?;
    let here = Endpoint {
        member: place.member,
        ip: place.host,
    };
    // Still where writes are led: it comes in with the change that leads them to the next.
    if scene.seen.exposed.primary.as_ref() == Some(&here) && !is_open(scene) {
        return None;
    }
    let was_exposed = scene.seen.exposed.replicas.contains(&here);
    let voter = scene.voter(name)?;
    if voter.leaving.is_some() {
        return None;
    }
    let member = scene.seen.members.get(name)?;
    if !member.is_connected {
        return (was_exposed && !is_silent(scene, member)).then_some(here);
    }
    let stays = was_exposed && is_between(scene, name);
    (stays || serves_reads(scene, name, was_exposed)).then_some(here)
}

/// It turns to the next primary, or has not heard of it yet: what it serves is as new as before.
fn is_between(scene: &Scene<'_>, name: &str) -> bool {
    let Some(at) = scene.counted(name) else {
        return false;
    };
    let is_late = (at.server.lag_ms).is_some_and(|lag| lag > scene.spec.lag_limit_ms.saturating_mul(2));
    !is_late && (!is_open(scene) || scene.follows_primary(at))
}

/// A replica comes in below the limit and goes out above twice the limit, so that it does not flap.
pub(super) fn serves_reads(scene: &Scene<'_>, name: &str, was_exposed: bool) -> bool {
    let Some(at) = scene.counted(name) else {
        return false;
    };
    let limit = match was_exposed {
        true => scene.spec.lag_limit_ms.saturating_mul(2),
        false => scene.spec.lag_limit_ms,
    };
    let follows = at.server.follows.as_ref();
    follows.is_some_and(|follows| follows.is_applying) && at.server.lag_ms.is_some_and(|lag| lag <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assignment::Role;
    use crate::testing::{Look, name};

    /// orders-0 is out of sight, orders-1 is chosen and not open yet, orders-2 has not heard of it.
    fn between() -> Look {
        let mut look = Look::well();
        let mut record = look.record().next_epoch();
        record.primary = name(1);
        look.record = Some(record);
        look.told(1, Role::Primary { wait_for: 1 });
        look.member(0).is_connected = false;
        look
    }

    fn exposed(look: &Look) -> Exposed {
        look.decide().plan.expose.unwrap_or(look.seen.exposed.clone())
    }

    #[test]
    fn until_the_next_primary_is_open_services_stay_as_they_are() {
        let mut look = between();
        assert_eq!(exposed(&look), look.seen.exposed);
        look.member(0).reported_at = look.now - SILENCE_LIMIT_MS;
        assert_eq!(exposed(&look), look.seen.exposed);
        look.member(0).reported_at -= 1;
        assert_eq!(exposed(&look).primary, None);
        // Nobody has had time to hear of it since the last failover.
        look.seen.failed_over_at = Some(look.now - SILENCE_LIMIT_MS);
        assert_eq!(exposed(&look), look.seen.exposed);
        look.server(1).is_open = true;
        let led = exposed(&look).primary.map(|endpoint| endpoint.member);
        assert_eq!(led, Some(name(1)));
    }

    #[test]
    fn an_old_primary_that_can_acknowledge_nothing_stays_for_a_moment() {
        let mut look = between();
        look.member(0).is_connected = true;
        assert_eq!(exposed(&look).primary, None, "two of three may still follow it");
        look.told(2, Role::Hold);
        look.seen.failed_over_at = Some(look.now - SILENCE_LIMIT_MS);
        assert_eq!(exposed(&look), look.seen.exposed);
        look.seen.failed_over_at = Some(look.now - SILENCE_LIMIT_MS - 1);
        assert_eq!(exposed(&look).primary, None);
        look.seen.failed_over_at = Some(look.now);
        look.member(2).is_connected = false;
        assert_eq!(exposed(&look).primary, None, "what it promised is not known");
    }

    #[test]
    fn who_lags_serves_no_reads_between_two_primaries_either() {
        let mut look = between();
        let limit = 2 * look.spec.lag_limit_ms;
        look.server(2).lag_ms = Some(limit);
        assert_eq!(exposed(&look), look.seen.exposed);
        look.follows(2).is_applying = false;
        assert_eq!(
            exposed(&look),
            look.seen.exposed,
            "it has stopped for the next one"
        );
        look.server(2).lag_ms = Some(limit + 1);
        let readers = exposed(&look)
            .replicas
            .into_iter()
            .map(|endpoint| endpoint.member);
        assert_eq!(readers.collect::<Vec<_>>(), [name(1)]);
    }

    #[test]
    fn who_follows_nobody_serves_no_reads_once_another_is_open() {
        let mut look = between();
        look.server(1).is_open = true;
        look.server(2).follows = None;
        let readers = exposed(&look)
            .replicas
            .into_iter()
            .map(|endpoint| endpoint.member);
        assert_eq!(
            readers.collect::<Vec<_>>(),
            [name(1)],
            "reads fall back to the primary"
        );
    }
}
