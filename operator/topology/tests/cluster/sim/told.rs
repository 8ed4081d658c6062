//! What a pretended agent says of its member.
//! Must not say what it could not see.

use super::*;

/// What a member is like that changes nothing of what it does.
#[derive(Clone, Default)]
pub(crate) struct Told {
    pub(crate) version: Option<String>,
    pub(crate) lag_ms: u64,
    /// Why it cannot receive.
    pub(crate) failure: Option<String>,
    pub(crate) trouble: Option<Trouble>,
    /// So many transactions of the longest series are received, and not applied.
    pub(crate) unapplied: u64,
}

/// What it would say it has not applied.
fn unapplied(all: &GtidSet, count: u64) -> GtidSet {
    let mut set = GtidSet::new();
    let Some(longest) = all.sources().max_by_key(|source| all.highest(source)) else {
        return set;
    };
    let highest = all.highest(longest);
    for number in highest.saturating_sub(count) + 1..=highest {
        set.insert(gtid(longest.uuid, number));
    }
    set
}

pub(super) fn report(name: &str, node: &Node, (is_receiving, is_unreached): (bool, bool)) -> Report {
    let server = &node.server;
    let unapplied = unapplied(&server.executed, node.told.unapplied);
    let seen = server
        .incarnation
        .filter(|_| node.down == 0)
        .map(|incarnation| ServerSeen {
            incarnation,
            version: node.told.version.clone().unwrap_or_else(|| "9.7.4".into()),
            executed: server.executed.subtract(&unapplied),
            purged: server.purged.clone(),
            received: server.received.union(&unapplied),
            is_open: server.is_open,
            has_waiters: false,
            acknowledging: 0,
            waits_for: server.wait_for,
            follows: server.follows.as_ref().map(|source| Follows {
                host: source.host.clone(),
                port: source.port,
                is_receiving: is_receiving && node.told.failure.is_none(),
                is_applying: true,
                acknowledges: true,
                is_unreached: is_unreached && !is_receiving,
                // Nobody else is silent for longer than it has been followed.
                silence_ms: node
                    .silence_ms
                    .min(node.following.as_ref().map_or(0, |(_, ms)| *ms)),
                failure: node.told.failure.clone(),
            }),
            lag_ms: Some(node.told.lag_ms),
            beat: Some(Beat { epoch: 0, number: 0 }),
        });
    let is_settled = match node.order.as_ref().map(|order| &order.role) {
        Some(Role::Hold) => server.follows.is_none(),
        Some(Role::Primary { .. }) => server.is_open,
        Some(Role::Retire) => !server.is_open && server.follows.is_none(),
        _ => true,
    };
    Report {
        member: name.to_owned(),
        heard: node.heard,
        agent: "0.1.0".into(),
        assignment: node.order.clone(),
        is_settled,
        proved: server.proved,
        is_founded: server.is_founded,
        process: match (&server.incarnation, server.clone_percent) {
            _ if node.down > 0 => Process::Ended { restarts: 1 },
            (None, _) => Process::Unassigned,
            (_, Some(percent)) => Process::Cloning { percent },
            _ => Process::Running,
        },
        server: seen,
        server_age_ms: node.hung_ms.unwrap_or(0),
        disk: None,
        write_age_ms: node.stalled_ms.unwrap_or(0),
        drift: BTreeMap::new(),
        awaiting_restart: BTreeSet::new(),
        removed: None,
        troubles: (node.is_full.then(no_room).into_iter())
            .chain(node.told.trouble.clone())
            .collect(),
    }
}

fn no_room() -> Trouble {
    Trouble {
        kind: TroubleKind::DiskFull,
        what: "its volume is full".into(),
    }
}
