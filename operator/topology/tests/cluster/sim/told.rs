//! What a pretended agent says of its member.
//! Must not say what it could not see.

use super::*;

pub(super) fn report(name: &str, node: &Node, is_receiving: bool) -> Report {
    let server = &node.server;
    let seen = server
        .incarnation
        .filter(|_| node.down == 0)
        .map(|incarnation| ServerSeen {
            incarnation,
            version: "9.7.4".into(),
            executed: server.executed.clone(),
            purged: GtidSet::new(),
            received: server.received.clone(),
            is_open: server.is_open,
            has_waiters: false,
            acknowledging: 0,
            waits_for: server.wait_for,
            follows: server.follows.as_ref().map(|source| Follows {
                host: source.host.clone(),
                port: source.port,
                is_receiving,
                is_applying: true,
                acknowledges: true,
                silence_ms: 0,
                failure: None,
            }),
            lag_ms: Some(0),
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
        server_age_ms: 0,
        disk: None,
        drift: BTreeMap::new(),
        awaiting_restart: BTreeSet::new(),
        removed: None,
        troubles: node.is_full.then(no_room).into_iter().collect(),
    }
}
