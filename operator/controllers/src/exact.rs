//! Writes that hold only for the very object that was looked at: made, replaced, removed.
//! Must not be used for what may be applied again and again: that is kit::apply's.
//!
//! All go through the prompt client: none is tried twice, each has a deadline.

use std::time::Duration;

use kit::client::{self, Class, FIELD_MANAGER, Prompt};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use serde_json::{Value, json};

/// A write that takes longer has failed, and what was decided then is no longer what is so.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(4);

const LIST_LIMIT: u32 = 500;

#[derive(Debug, thiserror::Error)]
#[error("failed to {verb} {kind} {name}")]
pub(crate) struct Error {
    pub(crate) verb: &'static str,
    pub(crate) kind: String,
    pub(crate) name: String,
    #[source]
    pub(crate) source: client::Error,
}

impl Error {
    pub(crate) fn class(&self) -> Class {
        self.source.class()
    }
}

/// What became of a write that had a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome<T> {
    Done(T),
    /// Somebody was first: look again.
    Overtaken,
}

impl<T> Outcome<T> {
    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Outcome::Done(_))
    }
}

/// Where objects of one namespace are written.
#[derive(Clone)]
pub(crate) struct Exact {
    client: Prompt,
    namespace: String,
}

impl Exact {
    pub(crate) fn new(client: Prompt, namespace: &str) -> Self {
        Self {
            client,
            namespace: namespace.to_owned(),
        }
    }

    pub(crate) async fn read<K: kit::apply::Object>(&self, name: &str) -> Result<Option<K>, Error> {
        let api = self.api::<K>();
        self.call::<K, _>("read", name, api.get_opt(name)).await
    }

    /// All with these labels, up to a limit far above what one cluster has.
    pub(crate) async fn list<K: kit::apply::Object>(&self, selector: &str) -> Result<Vec<K>, Error> {
        let api = self.api::<K>();
        let params = ListParams::default().labels(selector).limit(LIST_LIMIT);
        let page = self.call::<K, _>("list", selector, api.list(&params)).await?;
        Ok(page.items)
    }

    /// Not there before.
    pub(crate) async fn create<K: kit::apply::Object>(&self, object: &K) -> Result<Outcome<K>, Error> {
        let (api, params) = (self.api::<K>(), by_us());
        let made = self
            .call::<K, _>("create", &object.name_any(), api.create(&params, object))
            .await;
        done_unless(made, &[Class::AlreadyExists])
    }

    /// The object carries the version that it replaces.
    pub(crate) async fn replace<K: kit::apply::Object>(&self, object: &K) -> Result<Outcome<K>, Error> {
        let (api, params, name) = (self.api::<K>(), by_us(), object.name_any());
        let replaced = self
            .call::<K, _>("replace", &name, api.replace(&name, &params, object))
            .await;
        done_unless(replaced, &[Class::Conflict, Class::NotFound])
    }

    /// Gracefully: whoever runs it ends it first, and says so. Only as it was seen.
    pub(crate) async fn delete<K: kit::apply::Object>(&self, object: &K) -> Result<Outcome<()>, Error> {
        let (api, name) = (self.api::<K>(), object.name_any());
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: object.uid(),
                resource_version: object.resource_version(),
            }),
            ..DeleteParams::default()
        };
        let deleted = self
            .call::<K, _>("delete", &name, api.delete(&name, &params))
            .await;
        match done_unless(deleted, &[Class::Conflict, Class::NotFound])? {
            Outcome::Done(_) => Ok(Outcome::Done(())),
            Outcome::Overtaken => Ok(Outcome::Overtaken),
        }
    }

    /// Some metadata, and nothing else, of the object as it was seen.
    pub(crate) async fn patch_metadata<K: kit::apply::Object>(
        &self,
        object: &K,
        mut metadata: Value,
    ) -> Result<Outcome<K>, Error> {
        let (api, name) = (self.api::<K>(), object.name_any());
        metadata["uid"] = json!(object.uid());
        metadata["resourceVersion"] = json!(object.resource_version());
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patched = self
            .call::<K, _>("patch", &name, api.patch(&name, &params, &patch))
            .await;
        done_unless(patched, &[Class::Conflict, Class::NotFound])
    }

    fn api<K: kit::apply::Object>(&self) -> Api<K> {
        Api::namespaced(self.client.client().clone(), &self.namespace)
    }

    async fn call<K: kit::apply::Object, T>(
        &self,
        verb: &'static str,
        name: &str,
        future: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Error> {
        let outcome = client::call(CALL_TIMEOUT, future).await;
        let kind = K::kind(&());
        if outcome.is_ok() && matches!(verb, "create" | "delete") {
            tracing::info!(%kind, object = name, "{verb}d");
        }
        outcome.map_err(|source| Error {
            verb,
            kind: kind.into_owned(),
            name: name.to_owned(),
            source,
        })
    }
}

fn by_us() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

fn done_unless<T>(outcome: Result<T, Error>, overtaken: &[Class]) -> Result<Outcome<T>, Error> {
    match outcome {
        Ok(done) => Ok(Outcome::Done(done)),
        Err(error) if overtaken.contains(&error.class()) => Ok(Outcome::Overtaken),
        Err(error) => Err(error),
    }
}
