//! Where a member may run: what was asked for, and what keeps members apart and on their nodes.
//! Must not depend on the number of members: else scaling would replace all of them.

use crds::cluster::{Toleration, TolerationEffect, TolerationOperator};
use k8s_openapi::api::core::v1::{self, Affinity, PodAffinityTerm};

use crate::bundle::members_selector;
use crate::cluster::Cluster;

/// Taints that Kubernetes gives to a node that it cannot reach. A member is not evicted for them:
/// its data are there, and nobody could start it elsewhere before the node is known to be off.
const LOST: &[&str] = &["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

pub(super) fn tolerations(cluster: &Cluster) -> Vec<v1::Toleration> {
    let wanted = cluster.placement.tolerations.iter().flatten().map(toleration);
    let ours = LOST.iter().map(|key| v1::Toleration {
        key: Some((*key).into()),
        operator: Some("Exists".into()),
        effect: Some("NoExecute".into()),
        ..v1::Toleration::default()
    });
    wanted.chain(ours).collect()
}

fn toleration(wanted: &Toleration) -> v1::Toleration {
    v1::Toleration {
        key: wanted.key.clone(),
        operator: wanted.operator.map(|operator| {
            match operator {
                TolerationOperator::Equal => "Equal",
                TolerationOperator::Exists => "Exists",
            }
            .into()
        }),
        value: wanted.value.clone(),
        effect: wanted.effect.map(|effect| {
            match effect {
                TolerationEffect::NoSchedule => "NoSchedule",
                TolerationEffect::PreferNoSchedule => "PreferNoSchedule",
                TolerationEffect::NoExecute => "NoExecute",
            }
            .into()
        }),
        toleration_seconds: wanted.toleration_seconds,
    }
}

/// What was asked for, and no two members in one place.
pub(super) fn affinity(cluster: &Cluster) -> Affinity {
    let mut affinity = cluster.placement.affinity.clone().unwrap_or_default();
    let apart = affinity.pod_anti_affinity.get_or_insert_default();
    let required = apart
        .required_during_scheduling_ignored_during_execution
        .get_or_insert_default();
    required.push(PodAffinityTerm {
        label_selector: Some(members_selector(cluster)),
        topology_key: cluster.placement.topology_key.clone(),
        ..PodAffinityTerm::default()
    });
    affinity
}
