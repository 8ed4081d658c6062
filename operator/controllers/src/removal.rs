//! The end of a cluster: Pods first, then what the policy says of the volumes, then the object.
//! Must not remove data that are to be kept, nor anything while a Pod may still use it.

use std::collections::BTreeSet;
use std::sync::Arc;

use crds::cluster::{DeletionPolicy, MySQLCluster};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret};
use kube::ResourceExt;
use objects::names::{LABEL_CLUSTER, selector};
use serde_json::json;
use topology::observed::Observed;

use crate::cluster_loop::ClusterLoop;
use crate::exact::Outcome;
use crate::metrics::Failure;
use crate::paperwork::{Notice, publish};
use crate::pass::{Children, Error, FINALIZER, Fate, subject_of};
use crate::status::{Findings, Subject};
use crate::{problems, says};

impl ClusterLoop {
    pub(crate) async fn bury(
        &mut self,
        object: &Arc<MySQLCluster>,
        children: &Children,
    ) -> Result<Fate, Error> {
        if !object.finalizers().iter().any(|known| known == FINALIZER) {
            return Ok(Fate::Wait(None));
        }
        let subject = Subject {
            removal: Some(waiting(children)),
            ..subject_of(object)
        };
        let findings = Findings {
            subject: &subject,
            decision: None,
            observed: &Observed::default(),
            record: None,
            stalls: &[],
            story: None,
            growing: &[],
        };
        self.hinder_switchovers("the cluster is being removed");
        if !children.pods.is_empty() {
            for pod in children.pods.values() {
                if pod.metadata.deletion_timestamp.is_none() {
                    self.exact.delete(&**pod).await?;
                }
            }
            self.file(object, &findings, None, Vec::new());
            return Ok(Fate::Wait(self.desk.status_due()));
        }
        // As they are now: one that was just made may not be in the cache.
        let selector = selector(&self.key.name);
        let claims = self.exact.list::<PersistentVolumeClaim>(&selector).await?;
        let notice = match object.spec.deletion_policy {
            DeletionPolicy::Retain => retained(&claims),
            DeletionPolicy::Delete => self.delete_data(&claims).await?,
        };
        if let Some(notice) = notice
            && let Err(error) = publish(&self.context, &**object, &[notice]).await
        {
            self.context.metrics.failed(Failure::Report);
            tracing::warn!(error = says::chain(&error), "an Event is lost");
        }
        let mut finalizers = object.finalizers().to_vec();
        finalizers.retain(|known| known != FINALIZER);
        let released = self
            .exact
            .patch_metadata(&**object, json!({ "finalizers": finalizers }))
            .await?;
        match released {
            Outcome::Done(_) => Ok(Fate::Wait(None)),
            Outcome::Overtaken => Ok(Fate::Overtaken),
        }
    }

    /// The volumes, and the passwords that are in their data.
    async fn delete_data(&self, claims: &[PersistentVolumeClaim]) -> Result<Option<Notice>, Error> {
        for claim in claims {
            if claim.metadata.deletion_timestamp.is_none() {
                self.exact.delete(claim).await?;
            }
        }
        let name = format!("{}-internal", self.key.name);
        let secret = self.exact.read::<Secret>(&name).await?;
        let is_ours = |secret: &Secret| secret.labels().get(LABEL_CLUSTER) == Some(&self.key.name);
        if let Some(secret) = secret.filter(is_ours) {
            self.exact.delete(&secret).await?;
        }
        Ok((!claims.is_empty()).then(|| Notice {
            is_warning: false,
            reason: "VolumesDeleted",
            action: "Remove".into(),
            note: format!(
                "deleted with the cluster, as spec.deletionPolicy says: {}",
                names(claims)
            ),
        }))
    }
}

/// Pods that have not ended, and why, where that is known.
fn waiting(children: &Children) -> String {
    let pods = children.pods.iter().map(|(name, pod)| {
        let problem = problems::of_pod(pod, Timestamp::now());
        problem.map_or_else(|| name.clone(), |problem| format!("{name}, which {problem}"))
    });
    let pods: Vec<_> = pods.collect();
    match pods.is_empty() {
        true => "it is being removed".to_owned(),
        false => format!("it is being removed; waiting for the end of {}", pods.join("; ")),
    }
}

fn retained(claims: &[PersistentVolumeClaim]) -> Option<Notice> {
    (!claims.is_empty()).then(|| Notice {
        is_warning: false,
        reason: "VolumesRetained",
        action: "Remove".into(),
        note: format!(
            "kept, with the Secret of their passwords, as spec.deletionPolicy says: {}. A cluster of the same name \
             takes them over. If the data are not needed any more, delete these PersistentVolumeClaims and the Secret",
            names(claims)
        ),
    })
}

fn names(claims: &[PersistentVolumeClaim]) -> String {
    let names: BTreeSet<_> = claims.iter().map(ResourceExt::name_any).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}
