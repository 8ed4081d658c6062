//! The server's certificates, when their files have changed.
//! Must not read the files.

use crate::{Deadline, Error, Session};

/// New connections get what is in the files now; if those are no good, what was there stays.
pub async fn reload(session: &mut Session, deadline: Deadline) -> Result<(), Error> {
    session
        .run("reload the certificates", "ALTER INSTANCE RELOAD TLS", deadline)
        .await
        .map(|_| ())
}
