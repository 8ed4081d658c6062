//! How a server is taken from its clients: they are ended, it becomes read-only, nobody is released.
//! Must not wait longer than a second for what a waiting commit holds: then mysqld must be killed.

use std::time::Duration;

use sql::{Deadline, Error, Session, roles, status};

/// For becoming read-only: a commit that waits for an acknowledgement holds it up.
const READ_ONLY_LIMIT: Duration = Duration::from_secs(1);
/// For ending all clients.
const CLIENTS_LIMIT: Duration = Duration::from_secs(2);
/// Users of ours are never ended: they hold no writes of anybody's.
const OURS: &str = "holdfast_";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// Read-only for everybody, and no commit waits.
    Fully,
    /// A commit waits, or something else holds: only a kill ends it without a lie to a client.
    NotInTime,
}

pub(crate) async fn close(session: &mut Session) -> Result<Closed, Error> {
    match try_to_close(session).await {
        // It hangs, and with it somebody's commit perhaps.
        Err(Error::Timeout { .. }) => Ok(Closed::NotInTime),
        closed => closed,
    }
}

async fn try_to_close(session: &mut Session) -> Result<Closed, Error> {
    let deadline = Deadline::after(CLIENTS_LIMIT);
    // Ends those who hold no right of ours, and admits none; replicas stay.
    roles::set_offline(session, true, deadline).await?;
    end_clients(session, deadline).await?;
    let deadline = Deadline::after(READ_ONLY_LIMIT);
    match roles::set_super_read_only(session, true, deadline).await {
        Ok(()) => {}
        Err(error) if error.code() == Some(roles::LOCK_TIMEOUT) => return Ok(Closed::NotInTime),
        Err(error) => return Err(error),
    }
    let source = status::semi_sync_source(session, Deadline::after(CLIENTS_LIMIT)).await?;
    match source.is_some_and(|source| source.waiters > 0) {
        true => Ok(Closed::NotInTime),
        false => Ok(Closed::Fully),
    }
}

/// Those whom offline mode spares: people with the right to administer connections.
async fn end_clients(session: &mut Session, deadline: Deadline) -> Result<(), Error> {
    for client in roles::clients(session, deadline).await? {
        let is_ours = client.user.as_deref().is_some_and(|user| user.starts_with(OURS));
        if !is_ours && !client.is_dump() {
            roles::kill_client(session, client.id, deadline).await?;
        }
    }
    Ok(())
}
