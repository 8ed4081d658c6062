//! What electors may see: the reports of this moment or late ones, of whom they are connected to.
//! Must not ask what follows from it.

use crate::elector::View;
use crate::log::Log;
use crate::pool::{Pool, Snap};
use crate::state::{Late, State};

/// Of each member the report of this moment, or one that is late; of any of them nothing.
/// With `may_be_cut_off` also those in which replicas cannot reach a primary that the elector hears of.
pub(crate) fn views(state: &State, pool: &Pool, is_all_seen: bool, may_be_cut_off: bool) -> Vec<View> {
    let now: Vec<Snap> = (0..)
        .zip(&state.members)
        .map(|(number, member)| member.report(number, &state.members))
        .collect();
    let kept: Vec<Late> = state
        .late
        .iter()
        .filter(|late| !matches!(late, Late::Order(_)))
        .copied()
        .collect();
    let mut views = Vec::new();
    for chosen in 0..1u8 << kept.len() {
        let chosen = kept.iter().enumerate().filter(|(at, _)| chosen & 1 << at != 0);
        let chosen: Vec<Late> = chosen.map(|(_, late)| *late).collect();
        let mut records = chosen.iter().filter_map(|late| match late {
            Late::Record(old) => Some(*old),
            _ => None,
        });
        let record = records.next_back().unwrap_or(state.record);
        let primary = pool.record(record).primary;
        let all = (1u8 << now.len()) - 1;
        for connected in 1..=all {
            if !is_all_seen || connected | 1 << primary == all {
                mixed((record, primary), connected, &now, &chosen, &mut views);
            }
        }
    }
    if may_be_cut_off {
        let is_heard = |view: &&View| !view.is_deaf && !view.is_new;
        let cut_off = views.iter().filter(is_heard).map(|view| View {
            is_deaf: true,
            is_cut_off: true,
            ..view.clone()
        });
        let cut_off: Vec<View> = cut_off.collect();
        views.extend(cut_off);
    }
    views
}

/// The views of an elector with this record, these connections, and these late reports.
fn mixed((record, primary): (u16, u8), connected: u8, now: &[Snap], late: &[Late], views: &mut Vec<View>) {
    let old = |member: u8| {
        late.iter().find_map(|one| match one {
            Late::Report(snap, attached) if snap.member == member => Some((*snap, *attached)),
            _ => None,
        })
    };
    let is_connected = |member: u8| connected & 1 << member != 0;
    let mut heard = Vec::new();
    let others = || {
        now.iter()
            .filter(|snap| snap.member != primary && is_connected(snap.member))
    };
    if is_connected(primary)
        && let Some((snap, attached)) = old(primary)
    {
        // Those who were seen attached before.
        let attached = others().filter(|snap| attached & 1 << snap.member != 0);
        heard.extend(attached.filter_map(before_it));
        heard.push(snap);
    }
    heard.extend(others().filter_map(|snap| Some(old(snap.member)?.0)));
    heard.extend(others().filter(|snap| old(snap.member).is_none()));
    let is_primary_heard = is_connected(primary);
    if is_primary_heard && old(primary).is_none() {
        heard.push(now[usize::from(primary)]);
    }
    let has_surplus = is_primary_heard && has_surplus(&heard, primary);
    let is_received = heard
        .iter()
        .any(|snap| snap.server.is_some_and(|server| server.is_receiving));
    let view = View {
        record,
        heard,
        is_deaf: false,
        is_cut_off: false,
        is_new: false,
    };
    if !is_primary_heard && is_received {
        views.push(View {
            is_deaf: true,
            ..view.clone()
        });
    }
    if has_surplus {
        views.push(View {
            is_new: true,
            ..view.clone()
        });
    }
    views.push(view);
}

/// The report that told of its attachment: what it held then is not known to be too much.
fn before_it(snap: &Snap) -> Option<Snap> {
    let mut server = snap.server?;
    (server.log, server.executed) = (Log::default(), 0);
    Some(Snap {
        server: Some(server),
        ..*snap
    })
}

fn has_surplus(heard: &[Snap], primary: u8) -> bool {
    let executed = heard
        .iter()
        .filter(|snap| snap.member == primary)
        .find_map(|snap| snap.server)
        .map(|server| server.log.prefix(server.executed));
    executed.is_some_and(|executed| {
        let mut servers = heard.iter().filter_map(|snap| snap.server);
        servers.any(|server| !server.log.is_within(&executed))
    })
}
