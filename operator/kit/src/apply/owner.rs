//! Whose an object is: what we may write to and what we must leave alone.
//! Must not do IO.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;

/// The object on whose behalf others are made, and the labels that they all have.
#[derive(Clone, Debug)]
pub struct Owner {
    reference: OwnerReference,
    namespace: String,
    labels: BTreeMap<String, String>,
}

/// What an object is to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Ours,
    /// Nobody's, with our labels: left behind by an owner that is gone, and kept for the next.
    Left,
    Foreign {
        whose: String,
    },
}

impl Owner {
    /// None if the object does not come from the API server, which gives it a uid. `labels` tell
    /// what is its from what is another's, and must not be empty.
    pub fn of<K: Resource<DynamicType = ()>>(object: &K, labels: BTreeMap<String, String>) -> Option<Self> {
        if labels.is_empty() {
            return None;
        }
        Some(Self {
            reference: object.controller_owner_ref(&())?,
            namespace: object.meta().namespace.clone()?,
            labels,
        })
    }

    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(super) fn reference(&self) -> OwnerReference {
        OwnerReference {
            // The owner stays, while being deleted in the foreground, until this is gone.
            block_owner_deletion: Some(true),
            ..self.reference.clone()
        }
    }

    pub(super) fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }

    pub(super) fn selector(&self) -> String {
        let pairs: Vec<_> = self
            .labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        pairs.join(",")
    }

    pub(super) fn standing(&self, object: &ObjectMeta) -> Standing {
        let owners = object.owner_references.as_deref().unwrap_or_default();
        let controller = owners.iter().find(|owner| owner.controller == Some(true));
        let other = controller.or(owners.first());
        if let Some(other) = other {
            let is_ours = match controller {
                Some(controller) => controller.uid == self.reference.uid,
                None => owners.iter().any(|owner| owner.uid == self.reference.uid),
            };
            if is_ours {
                return Standing::Ours;
            }
            let whose = format!("owned by {} {}", other.kind, other.name);
            return Standing::Foreign { whose };
        }
        let labels = object.labels.clone().unwrap_or_default();
        if self
            .labels
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
        {
            return Standing::Left;
        }
        Standing::Foreign {
            whose: "made by someone else".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn owner() -> Owner {
        let object = ConfigMap {
            metadata: ObjectMeta {
                name: Some("orders".into()),
                namespace: Some("shop".into()),
                uid: Some("uid-1".into()),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        };
        Owner::of(&object, labels(&[("app", "mysql"), ("instance", "orders")])).unwrap()
    }

    fn owned_by(owners: &[(&str, Option<bool>)]) -> ObjectMeta {
        let owners = owners.iter().map(|(uid, controller)| OwnerReference {
            kind: "Thing".into(),
            name: format!("of-{uid}"),
            uid: (*uid).to_owned(),
            controller: *controller,
            ..OwnerReference::default()
        });
        ObjectMeta {
            labels: Some(labels(&[("app", "mysql"), ("instance", "orders"), ("more", "x")])),
            owner_references: Some(owners.collect()),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn the_controller_says_whose_it_is() {
        let owner = owner();
        for (owners, ours) in [
            (&[("uid-1", Some(true))][..], true),
            (&[("uid-2", None), ("uid-1", Some(true))], true),
            (&[("uid-2", None), ("uid-1", None)], true),
            (&[("uid-1", None), ("uid-2", Some(true))], false),
            (&[("uid-2", Some(false))], false),
            (&[("uid-2", Some(true))], false),
        ] {
            let standing = owner.standing(&owned_by(owners));
            assert_eq!(standing == Standing::Ours, ours, "{owners:?}: {standing:?}");
        }
        let foreign = owner.standing(&owned_by(&[("uid-2", Some(true))]));
        let whose = "owned by Thing of-uid-2".to_owned();
        assert_eq!(foreign, Standing::Foreign { whose });
    }

    #[test]
    fn what_is_nobodys_is_told_by_its_labels() {
        let owner = owner();
        assert_eq!(owner.standing(&owned_by(&[])), Standing::Left);
        let mut other = owned_by(&[]);
        other.labels = Some(labels(&[("app", "mysql")]));
        assert!(matches!(owner.standing(&other), Standing::Foreign { .. }));
        assert!(matches!(
            owner.standing(&ObjectMeta::default()),
            Standing::Foreign { .. }
        ));
    }

    #[test]
    fn an_owner_has_a_uid_and_labels() {
        assert!(Owner::of(&ConfigMap::default(), labels(&[("a", "b")])).is_none());
        assert_eq!(owner().selector(), "app=mysql,instance=orders");
        assert_eq!(owner().reference().controller, Some(true));
    }
}
