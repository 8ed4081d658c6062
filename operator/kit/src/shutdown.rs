//! The one place that hears SIGTERM and SIGINT.
//! Must not end anything itself.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to listen for {name}")]
    Listen {
        name: &'static str,
        #[source]
        source: std::io::Error,
    },
}

/// Whether the process was asked to end. Clones hear the same.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// From here on the two signals no longer end the process by themselves.
    pub fn listen() -> Result<Self, Error> {
        let listen = |kind, name| signal(kind).map_err(|source| Error::Listen { name, source });
        let mut terminate = listen(SignalKind::terminate(), "SIGTERM")?;
        let mut interrupt = listen(SignalKind::interrupt(), "SIGINT")?;
        let (trigger, shutdown) = Self::manual();
        tokio::spawn(async move {
            // The second one, too, must find someone listening; it says nothing new.
            loop {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                tracing::info!(signal = name, "asked to end");
                trigger.fire();
            }
        });
        Ok(shutdown)
    }

    /// Without signals: for parts that are ended by others, and for tests.
    pub fn manual() -> (Trigger, Self) {
        let (sender, receiver) = watch::channel(false);
        (Trigger(sender), Self(receiver))
    }

    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Resolves when the process is to end, at once if it was asked before. May be dropped and
    /// called again.
    pub async fn requested(&mut self) {
        if self.0.wait_for(|requested| *requested).await.is_err() {
            // Nobody is left to ask.
            std::future::pending::<()>().await;
        }
    }
}

/// Asks.
#[derive(Debug)]
pub struct Trigger(watch::Sender<bool>);

impl Trigger {
    pub fn fire(&self) {
        self.0.send_replace(true);
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, id};
    use std::time::Duration;

    use super::*;

    fn raise(name: &str) {
        let sent = Command::new("kill")
            .args(["-s", name, &id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    // One test, since a signal reaches the whole process.
    #[tokio::test]
    async fn signals_reach_all_who_listen() {
        for name in ["TERM", "INT"] {
            let mut shutdown = Shutdown::listen().unwrap();
            let mut other = shutdown.clone();
            assert!(!shutdown.is_requested());
            raise(name);
            let both = async {
                shutdown.requested().await;
                other.requested().await;
            };
            tokio::time::timeout(Duration::from_secs(10), both).await.unwrap();
            assert!(shutdown.is_requested() && other.is_requested());
            // Once more hurts nobody.
            raise(name);
            shutdown.requested().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_can_be_asked_without_a_signal() {
        let (trigger, mut shutdown) = Shutdown::manual();
        let waited = tokio::time::timeout(Duration::from_secs(1), shutdown.requested()).await;
        assert!(waited.is_err() && !shutdown.is_requested());
        trigger.fire();
        trigger.fire();
        shutdown.requested().await;
        drop(trigger);
        shutdown.requested().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_trigger_that_is_gone_asks_nothing() {
        let (trigger, mut shutdown) = Shutdown::manual();
        drop(trigger);
        let waited = tokio::time::timeout(Duration::from_secs(1), shutdown.requested()).await;
        assert!(waited.is_err());
    }
}
