//! Events of Kubernetes, cut to what the API takes, with an end to every call.
//! Must not decide what is worth an event.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, Recorder, Reporter};

pub use kube::runtime::events::EventType;

use crate::client;

const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Of the API, in bytes.
const NOTE_LIMIT_BYTES: usize = 1024;
/// Of the API, for reason and action.
const WORD_LIMIT_BYTES: usize = 128;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to publish the event {reason}")]
    Publish {
        reason: String,
        #[source]
        source: client::Error,
    },
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note<'a> {
    pub type_: EventType,
    /// One word for programs: why it was done.
    pub reason: &'a str,
    /// One word: what was done.
    pub action: &'a str,
    /// A sentence for people.
    pub note: &'a str,
}

/// One for each controller, cloned: equal events are counted together only within one.
#[derive(Clone)]
pub struct Events(Recorder);

impl Events {
    /// `controller` is the part of us that speaks, `instance` the Pod.
    pub fn new(client: Client, controller: &str, instance: &str) -> Self {
        let reporter = Reporter {
            controller: controller.to_owned(),
            instance: Some(instance.to_owned()),
        };
        Self(Recorder::new(client, reporter))
    }

    pub async fn publish(&self, about: &ObjectReference, note: Note<'_>) -> Result<(), Error> {
        let event = event_of(note);
        let published = client::call(CALL_TIMEOUT, self.0.publish(&event, about)).await;
        published.map_err(|source| Error::Publish {
            reason: event.reason,
            source,
        })
    }
}

fn event_of(note: Note<'_>) -> Event {
    Event {
        type_: note.type_,
        reason: crate::cut(note.reason, WORD_LIMIT_BYTES),
        note: Some(crate::cut(note.note, NOTE_LIMIT_BYTES)),
        action: crate::cut(note.action, WORD_LIMIT_BYTES),
        secondary: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_fit_the_api() {
        let (long, note) = ("ü".repeat(200), "日".repeat(1000));
        let event = event_of(Note {
            type_: EventType::Warning,
            reason: &long,
            action: &long,
            note: &note,
        });
        assert!(event.reason.len() <= 128 && event.action.len() <= 128);
        let cut = event.note.unwrap();
        assert!(cut.len() <= 1024 && cut.len() > 1018 && cut.ends_with("日…"));
    }
}
