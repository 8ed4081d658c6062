//! The volume of a member.
//! Must not take a volume for what it is not: whom it was made for, its size and its class stay.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::cluster::Cluster;
use crate::names::{self, ANNOTATION_CLUSTER_UID};
use crate::quantity;

/// `known` is the claim that is there already, if one is: it may be that of a cluster of the same
/// name before, whose data are taken over. It still says so then, and it never shrinks.
pub fn volume_claim(
    cluster: &Cluster,
    member: &str,
    known: Option<&PersistentVolumeClaim>,
) -> PersistentVolumeClaim {
    let made_for = match known {
        Some(known) => made_for(known),
        None => Some(&*cluster.uid),
    };
    let mut metadata = cluster.metadata(member);
    metadata.labels = Some(names::member_labels(&cluster.name, member));
    metadata.annotations =
        made_for.map(|uid| BTreeMap::from([(ANNOTATION_CLUSTER_UID.to_owned(), uid.to_owned())]));
    let known = known.and_then(|known| known.spec.as_ref());
    let bytes = known
        .and_then(requested_bytes)
        .unwrap_or_default()
        .max(cluster.sizes.storage_bytes);
    let class = match known {
        Some(known) => known.storage_class_name.clone(),
        None => cluster.storage_class.clone(),
    };
    PersistentVolumeClaim {
        metadata,
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".into()]),
            storage_class_name: class,
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([(
                    "storage".into(),
                    Quantity(quantity::bytes_text(bytes)),
                )])),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}

/// The uid of the cluster object that a claim was made for; `None` if it does not say.
pub fn made_for(claim: &PersistentVolumeClaim) -> Option<&str> {
    let annotations = claim.metadata.annotations.as_ref()?;
    annotations.get(ANNOTATION_CLUSTER_UID).map(String::as_str)
}

fn requested_bytes(spec: &PersistentVolumeClaimSpec) -> Option<u64> {
    let requests = spec.resources.as_ref()?.requests.as_ref()?;
    quantity::bytes(&requests.get("storage")?.0).ok()
}
