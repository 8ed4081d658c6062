//! All writes of Kubernetes objects: applied, their status, removed.
//! Must not know what the objects are for, and must not write when nothing would change.
//!
//! Objects are applied by the server under one name, by force: what we set is ours. What is not
//! ours at all, because someone else owns or made it, is refused.

mod compare;
mod owner;
mod quantity;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, Preconditions, PropagationPolicy};
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::client::{self, Class, FIELD_MANAGER};
use compare::{difference, mark, without_nulls};
use owner::Standing;

pub use owner::Owner;

const PAGE_LIMIT: u32 = 500;
const PAGES_LIMIT: usize = 100;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to apply {kind} {name}: there is one already, {whose}")]
    Foreign {
        kind: String,
        name: String,
        whose: String,
    },
    #[error("failed to apply {kind} {name}: {what}")]
    Unfit {
        kind: String,
        name: String,
        what: &'static str,
    },
    #[error("failed to write {kind} {name} as JSON")]
    Json {
        kind: String,
        name: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("failed to {verb} {kind} {name}")]
    Call {
        verb: &'static str,
        kind: String,
        name: String,
        #[source]
        source: client::Error,
    },
}

impl Error {
    /// Of the call, if it was one that failed.
    pub fn class(&self) -> Option<Class> {
        match self {
            Self::Call { source, .. } => Some(source.class()),
            Self::Foreign { .. } | Self::Unfit { .. } | Self::Json { .. } => None,
        }
    }
}

/// Objects that can be applied: those in namespaces. What is cluster-wide cannot be owned.
pub trait Object:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Serialize + DeserializeOwned
{
}

impl<K> Object for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
{
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Goes when its owner goes.
    OfOwner,
    /// Stays, with its labels, for the next owner of that name: data.
    BeyondOwner,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Created,
    Updated,
    Unchanged,
    /// It is being deleted and was left alone: apply again when it is gone.
    Terminating,
}

#[derive(Clone)]
pub struct Applied<K> {
    pub object: K,
    pub change: Change,
}

/// Without the object, which may be a Secret.
impl<K> Debug for Applied<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Applied")
            .field("change", &self.change)
            .finish_non_exhaustive()
    }
}

/// Writes on behalf of one owner.
#[derive(Clone)]
pub struct Applier {
    client: Client,
    owner: Owner,
    mark_annotation: String,
    call_timeout: Duration,
}

impl Applier {
    /// `mark_annotation` is the key under which it is noted which fields were applied.
    pub fn new(client: Client, owner: Owner, mark_annotation: &str, call_timeout: Duration) -> Self {
        Self {
            client,
            owner,
            mark_annotation: mark_annotation.to_owned(),
            call_timeout,
        }
    }

    /// `known` is the object as it was last seen, from a cache or an earlier apply; without it,
    /// it is read. A `known` that is out of date costs a write too many, or leaves one to the
    /// next time, when the cache has caught up.
    pub async fn apply<K: Object>(
        &self,
        wanted: K,
        known: Option<&K>,
        lifetime: Lifetime,
    ) -> Result<Applied<K>, Error> {
        let name = wanted.name_any();
        let mut wanted = self.finished(wanted, lifetime)?;
        let live = match known {
            Some(known) => Some(known.clone()),
            None => {
                self.call::<K, _>("read", &name, self.api::<K>().get_opt(&name))
                    .await?
            }
        };
        let Some(live) = live else {
            // Not by force: what appeared since we looked may be someone else's.
            let object: K = self.patch(&name, &wanted, false).await?;
            return Ok(Applied {
                object,
                change: Change::Created,
            });
        };
        self.refuse_foreign(&live)?;
        if live.meta().deletion_timestamp.is_some() {
            return Ok(Applied {
                object: live,
                change: Change::Terminating,
            });
        }
        let Some(path) = difference(&json_of(&live)?, &wanted) else {
            return Ok(Applied {
                object: live,
                change: Change::Unchanged,
            });
        };
        // The one whose owner was looked at, not its successor.
        wanted["metadata"]["uid"] = json!(live.uid());
        let object: K = self.patch(&name, &wanted, true).await?;
        let is_same = object.resource_version() == live.resource_version();
        if is_same {
            tracing::debug!(kind = %K::kind(&()), name, path, "applied in vain: written otherwise there");
        }
        let change = if is_same {
            Change::Unchanged
        } else {
            Change::Updated
        };
        Ok(Applied { object, change })
    }

    /// Removes what has our labels and our owner and is not among `keep`. Returns the names.
    pub async fn remove_orphans<K: Object>(&self, keep: &BTreeSet<String>) -> Result<Vec<String>, Error> {
        let mut removed = Vec::new();
        let mut params = ListParams::default()
            .labels(&self.owner.selector())
            .limit(PAGE_LIMIT);
        for _ in 0..PAGES_LIMIT {
            let api = self.api::<K>();
            let page = self.call::<K, _>("list", "objects", api.list(&params)).await?;
            for object in page.items {
                let is_ours = self.owner.standing(object.meta()) == Standing::Ours;
                let name = object.name_any();
                if !is_ours || keep.contains(&name) || object.meta().deletion_timestamp.is_some() {
                    continue;
                }
                if self.delete(&object).await? {
                    removed.push(name);
                }
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => break,
            }
        }
        Ok(removed)
    }

    /// Removes this one object, if it is ours, and not another that has its name by now. Whether
    /// it was there.
    pub async fn remove<K: Object>(&self, object: &K) -> Result<bool, Error> {
        self.refuse_foreign(object)?;
        self.delete(object).await
    }

    async fn delete<K: Object>(&self, object: &K) -> Result<bool, Error> {
        let name = object.name_any();
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: Some(Preconditions {
                uid: object.uid(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        let deleted = self
            .call::<K, _>("delete", &name, self.api::<K>().delete(&name, &params))
            .await;
        match deleted {
            Ok(_) => Ok(true),
            // Gone, or another object by now.
            Err(error) if matches!(error.class(), Some(Class::NotFound | Class::Conflict)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn refuse_foreign<K: Object>(&self, live: &K) -> Result<(), Error> {
        match self.owner.standing(live.meta()) {
            Standing::Ours | Standing::Left => Ok(()),
            Standing::Foreign { whose } => Err(Error::Foreign {
                kind: K::kind(&()).into_owned(),
                name: live.name_any(),
                whose,
            }),
        }
    }

    /// The object as it goes over the wire: with its owner, our labels and the mark.
    fn finished<K: Object>(&self, mut wanted: K, lifetime: Lifetime) -> Result<Value, Error> {
        let unfit = |what| Error::Unfit {
            kind: K::kind(&()).into_owned(),
            name: wanted.name_any(),
            what,
        };
        if wanted.meta().name.is_none() {
            return Err(unfit("it has no name"));
        }
        if wanted
            .namespace()
            .is_some_and(|namespace| namespace != self.owner.namespace())
        {
            return Err(unfit("its namespace is not that of its owner"));
        }
        let ObjectMeta {
            name,
            labels,
            annotations,
            finalizers,
            ..
        } = std::mem::take(wanted.meta_mut());
        let mut labels = labels.unwrap_or_default();
        labels.extend(self.owner.labels().clone());
        *wanted.meta_mut() = ObjectMeta {
            name,
            namespace: Some(self.owner.namespace().to_owned()),
            labels: Some(labels),
            annotations,
            finalizers,
            owner_references: match lifetime {
                Lifetime::OfOwner => Some(vec![self.owner.reference()]),
                Lifetime::BeyondOwner => None,
            },
            ..ObjectMeta::default()
        };
        let mut value = json_of(&wanted)?;
        if let Value::Object(fields) = &mut value {
            fields.remove("status");
        }
        let mark = mark(&value);
        value["metadata"]["annotations"][&self.mark_annotation] = json!(mark);
        Ok(value)
    }

    async fn patch<K: Object>(&self, name: &str, wanted: &Value, by_force: bool) -> Result<K, Error> {
        let params = PatchParams {
            force: by_force,
            ..PatchParams::apply(FIELD_MANAGER)
        };
        let api = self.api::<K>();
        self.call::<K, _>("apply", name, api.patch(name, &params, &Patch::Apply(wanted)))
            .await
    }

    fn api<K: Object>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), self.owner.namespace())
    }

    async fn call<K: Object, T>(
        &self,
        verb: &'static str,
        name: &str,
        future: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Error> {
        named::<K, T>(verb, name, client::call(self.call_timeout, future).await)
    }
}

/// Writes the whole status of an object, unless it is there already. `seen` is the object that
/// the status is about: if it has changed since, the write fails with `Conflict`.
pub async fn status<K: Object>(
    client: &Client,
    seen: &K,
    status: &impl Serialize,
    call_timeout: Duration,
) -> Result<Applied<K>, Error> {
    let name = seen.name_any();
    let in_json = |source| Error::Json {
        kind: K::kind(&()).into_owned(),
        name: name.clone(),
        source,
    };
    let wanted = without_nulls(serde_json::to_value(status).map_err(in_json)?);
    // We alone write it, so that what is there and not wanted is a difference as well.
    if json_of(seen)?.get("status") == Some(&wanted) {
        return Ok(Applied {
            object: seen.clone(),
            change: Change::Unchanged,
        });
    }
    let metadata = json!({
        "name": name,
        "uid": seen.uid(),
        "resourceVersion": seen.resource_version(),
    });
    let body = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": metadata,
        "status": wanted,
    });
    let api = Api::<K>::namespaced(client.clone(), &seen.namespace().unwrap_or_default());
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let patch = Patch::Apply(&body);
    let written = client::call(call_timeout, api.patch_status(&name, &params, &patch)).await;
    let object = named::<K, K>("write the status of", &name, written)?;
    let is_same = object.resource_version() == seen.resource_version();
    let change = if is_same {
        Change::Unchanged
    } else {
        Change::Updated
    };
    Ok(Applied { object, change })
}

fn named<K: Object, T>(
    verb: &'static str,
    name: &str,
    outcome: Result<T, client::Error>,
) -> Result<T, Error> {
    outcome.map_err(|source| Error::Call {
        verb,
        kind: K::kind(&()).into_owned(),
        name: name.to_owned(),
        source,
    })
}

fn json_of<K: Object>(object: &K) -> Result<Value, Error> {
    let value = serde_json::to_value(object).map_err(|source| Error::Json {
        kind: K::kind(&()).into_owned(),
        name: object.name_any(),
        source,
    });
    Ok(without_nulls(value?))
}
