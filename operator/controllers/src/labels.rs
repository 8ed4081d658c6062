//! The label of each Pod that says what its member is: for people, and for nothing else.
//! Must not hold up a failover, nor be relied on by anything here.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use objects::names::LABEL_ROLE;
use serde_json::json;
use topology::decision::{MemberRole, MemberView};

use crate::exact::{Error, Exact};

/// A Pod, and what it is to be called.
pub(crate) type Label = (Arc<Pod>, &'static str);

/// Those that are not right.
pub(crate) fn due(pods: &BTreeMap<String, Arc<Pod>>, members: &BTreeMap<String, MemberView>) -> Vec<Label> {
    let all = members.iter().filter_map(|(name, view)| {
        let live = pods.get(name)?;
        let role = match view.role {
            MemberRole::Primary => "primary",
            MemberRole::Replica => "replica",
            MemberRole::None => "none",
        };
        let is_right = live.labels().get(LABEL_ROLE).is_some_and(|said| said == role);
        let is_going = live.metadata.deletion_timestamp.is_some();
        (!is_right && !is_going).then(|| (live.clone(), role))
    });
    all.collect()
}

/// Whether all were written. A Pod that changed meanwhile comes by the watch, and is labelled then.
pub(crate) async fn write(exact: &Exact, labels: &[Label]) -> Result<bool, Error> {
    let mut are_all = true;
    for (pod, role) in labels {
        let metadata = json!({ "labels": { LABEL_ROLE: role } });
        are_all &= exact.patch_metadata(&**pod, metadata).await?.is_done();
    }
    Ok(are_all)
}
