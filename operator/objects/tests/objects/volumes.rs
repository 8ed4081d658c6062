//! A member's volume: made anew, grown, and taken over.
//! Must not let a taken-over volume pass for a new one.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use objects::volume::{made_for, volume_claim};

use crate::samples;

fn size(claim: &PersistentVolumeClaim) -> String {
    let requests = claim
        .spec
        .as_ref()
        .unwrap()
        .resources
        .as_ref()
        .unwrap()
        .requests
        .as_ref();
    requests.unwrap()["storage"].0.clone()
}

fn class(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.spec.as_ref().unwrap().storage_class_name.as_deref()
}

#[test]
fn a_new_volume_is_made_for_this_cluster() {
    let cluster = samples::cluster(samples::EVERYTHING);
    let claim = volume_claim(&cluster, "orders-0", None);
    assert_eq!(made_for(&claim), Some(&*cluster.uid));
    assert_eq!((&*size(&claim), class(&claim)), ("1536Gi", Some("fast")));
}

#[test]
fn a_volume_grows_and_never_shrinks() {
    let small = samples::cluster(samples::MINIMAL);
    let large = samples::cluster("{version: '9.7', storage: {size: 20Gi}}");
    let was = volume_claim(&small, "orders-0", None);
    let is = volume_claim(&large, "orders-0", Some(&was));
    assert_eq!(size(&is), "20Gi");
    assert_eq!(size(&volume_claim(&small, "orders-0", Some(&is))), "20Gi");
}

#[test]
fn a_volume_taken_over_still_says_whose_it_was() {
    let before = objects::Cluster {
        uid: "before".into(),
        ..samples::cluster(samples::EVERYTHING)
    };
    let old = volume_claim(&before, "orders-0", None);
    let now = samples::cluster("{version: '9.7', storage: {size: 10Gi, storageClassName: other}}");
    let taken = volume_claim(&now, "orders-0", Some(&old));
    assert_eq!(made_for(&taken), Some("before"));
    assert_eq!(class(&taken), Some("fast"), "the class of a volume cannot change");
    let mut silent = old;
    silent.metadata.annotations = None;
    assert_eq!(made_for(&volume_claim(&now, "orders-0", Some(&silent))), None);
}

#[test]
fn the_class_that_the_server_filled_in_stays() {
    let cluster = samples::cluster(samples::MINIMAL);
    let mut live = volume_claim(&cluster, "orders-0", None);
    assert_eq!(class(&live), None);
    live.spec.get_or_insert_default().storage_class_name = Some("standard".into());
    assert_eq!(
        class(&volume_claim(&cluster, "orders-0", Some(&live))),
        Some("standard")
    );
}
