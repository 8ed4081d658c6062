//! Switchovers whose cluster is not there: somebody has to say so.
//! Must not touch those of a cluster that is looked after.

use std::sync::Arc;
use std::time::Duration;

use crds::switchover::Switchover;
use jiff::Timestamp;
use kit::apply;
use kit::backoff::Policy;
use kit::client::Class;
use tokio::time::sleep;

use super::progress;
use crate::cache::Key;
use crate::cluster_loop::jitter;
use crate::context::Context;
use crate::exact::CALL_TIMEOUT;
use crate::says;

const TRIES_LIMIT: u32 = 8;
const RETRY: Policy = Policy {
    first: Duration::from_secs(1),
    limit: Duration::from_secs(60),
};

/// Those that are not told yet.
pub(crate) fn untold(context: &Context, key: &Key) -> Vec<Arc<Switchover>> {
    let all = context.caches.switchovers.of(key).into_values();
    let all = all.filter(|asked| asked.metadata.deletion_timestamp.is_none());
    all.filter(|asked| asked.status.as_ref() != Some(&progress::orphaned(asked, Timestamp::now())))
        .collect()
}

/// Tells each, unless its cluster is there by now; given up after a while, until something changes.
pub(crate) async fn tell(context: Arc<Context>, key: Key) {
    for tried in 1..=TRIES_LIMIT {
        let mut is_done = true;
        for asked in untold(&context, &key) {
            if context.caches.clusters.get(&key, &key.name).is_some() {
                return;
            }
            let status = progress::orphaned(&asked, Timestamp::now());
            let client = context.clients.prompt.client();
            let written = apply::status(client, &*asked, &status, CALL_TIMEOUT).await;
            if let Err(error) = written
                && !matches!(error.class(), Some(Class::Conflict | Class::NotFound))
            {
                is_done = false;
                tracing::warn!(
                    error = says::chain(&error),
                    "a Switchover without a cluster is not told so yet"
                );
            }
        }
        if is_done {
            return;
        }
        sleep(RETRY.delay(tried, jitter())).await;
    }
}
