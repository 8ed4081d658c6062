//! How a receiver and an applier are stopped, also where mysqld alone would take long over it.
//! Must not stop what nobody asked it to stop, nor lose anything that was received.

use std::pin::pin;
use std::time::Duration;

use sql::replication;
use sql::users::Job;
use sql::{Deadline, Session};
use tokio::time::{sleep, timeout};

use super::sessions::{Error, Sessions};
use crate::mysqld::child::Child;

const LIMIT: Duration = Duration::from_secs(10);
/// An applier that holds a part of a transaction takes a minute to stop; its workers can be killed.
const APPLIER_LIMIT: Duration = Duration::from_millis(300);
/// A receiver that waits for its source stops in a few milliseconds.
const RECEIVER_LIMIT: Duration = Duration::from_millis(50);
const WAKE_PERIOD: Duration = Duration::from_millis(50);
/// After two seconds mysqld does it by itself.
const WAKES_LIMIT: u32 = 40;

/// mysqld ends the wait of a receiver that is connecting with a signal. The client library takes the first such
/// interruption for an accident and waits on, and mysqld sends the second two seconds later: for so long a
/// failover would wait with nothing else to do. So it is sent here.
pub(crate) async fn stop_receiver(
    sessions: &Sessions,
    mysqld: &Child,
    session: &mut Session,
) -> Result<(), Error> {
    let mut stopping = pin!(replication::stop_receiver(session, Deadline::after(LIMIT)));
    if let Ok(ended) = timeout(RECEIVER_LIMIT, &mut stopping).await {
        return Ok(ended?);
    }
    tokio::select! {
        ended = &mut stopping => return Ok(ended?),
        woken = wake(sessions, mysqld) => if let Err(error) = woken {
            tracing::warn!(%error, "a receiver that is connecting could not be woken: it takes two seconds to stop");
        },
    }
    Ok(stopping.await?)
}

async fn wake(sessions: &Sessions, mysqld: &Child) -> Result<(), Error> {
    let mut session = sessions.login(Job::Agent).await?;
    for _ in 0..WAKES_LIMIT {
        let threads = replication::connecting_receivers(&mut session, Deadline::after(LIMIT)).await?;
        for thread in threads {
            let is_woken = mysqld.wake(thread);
            tracing::debug!(thread, is_woken, "a receiver is connecting while it is stopped");
        }
        sleep(WAKE_PERIOD).await;
    }
    Ok(())
}

/// Its workers are ended if they hold it up: what they had not committed is applied again from the relay log.
pub(crate) async fn stop_applier(sessions: &Sessions, session: &mut Session) -> Result<(), Error> {
    match replication::stop_applier(session, Deadline::after(APPLIER_LIMIT)).await {
        Err(sql::Error::Timeout { .. }) => {}
        ended => return Ok(ended?),
    }
    *session = sessions.login(Job::Agent).await?;
    let killed = replication::kill_workers(session, Deadline::after(LIMIT)).await?;
    tracing::info!(
        killed,
        "the applier held a part of a transaction: its workers were ended"
    );
    Ok(replication::stop_applier(session, Deadline::after(LIMIT)).await?)
}

/// Before mysqld is asked to end: it would wait a minute for the rest of a transaction whose receiver it has
/// ended itself.
pub(crate) async fn stop_replication(sessions: &Sessions, mysqld: &Child) -> Result<(), Error> {
    let mut session = sessions.take().await?;
    stop_receiver(sessions, mysqld, &mut session).await?;
    stop_applier(sessions, &mut session).await?;
    sessions.keep(session).await;
    Ok(())
}
