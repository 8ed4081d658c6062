//! The digest of a Pod: what changes it and what does not.
//! Must not be re-pinned lightly: another digest replaces every member of every cluster.

use k8s_openapi::api::core::v1::Pod;
use objects::cluster::Cluster;
use objects::pod::{pod, template_hash, template_of};

use crate::samples;

fn made(spec: &str) -> Pod {
    pod(&samples::cluster(spec), "orders-0", &samples::inputs())
}

fn hash(spec: &str) -> String {
    template_hash(&made(spec))
}

#[test]
fn the_digest_is_the_same_for_ever() {
    assert_eq!(hash(samples::MINIMAL), "65174e9f3197c58d");
    assert_eq!(
        template_of(&made(samples::MINIMAL)),
        Some(&*hash(samples::MINIMAL))
    );
}

#[test]
fn the_role_and_the_digest_itself_do_not_count() {
    let mut live = made(samples::MINIMAL);
    let wanted = template_hash(&live);
    let labels = live.metadata.labels.get_or_insert_default();
    labels.insert(objects::names::LABEL_ROLE.into(), "primary".into());
    live.metadata.annotations = None;
    assert_eq!(template_hash(&live), wanted);
}

#[test]
fn what_makes_no_other_pod_makes_no_other_digest() {
    let wanted = hash(samples::MINIMAL);
    for same in [
        "{version: '9.7', instances: 5, storage: {size: 20Gi}}",
        "{version: '9.7', storage: {size: 10Gi}, resources: {limits: {memory: 1024Mi}}}",
        "{version: '9.7', storage: {size: 10Gi}, resources: {requests: {cpu: '0.1', memory: 1Gi}}}",
        "{version: '9.7', storage: {size: 10Gi}, mysql: {parameters: {max_connections: '5'}}}",
        "{version: '9.7', storage: {size: 10Gi}, service: {primary: {port: 1}}, tls: {mode: Optional}}",
        "{version: '9.7', storage: {size: 10Gi}, suspend: true, deletionPolicy: Delete}",
        "{version: '9.7', storage: {size: 10Gi}, failover: {policy: Manual}, placement: {}}",
        "{image: 'mysql:9.7', storage: {size: 10Gi}}",
    ] {
        assert_eq!(hash(same), wanted, "{same}");
    }
}

#[test]
fn what_makes_another_pod_makes_another_digest() {
    let mut seen = vec![hash(samples::MINIMAL)];
    for other in [
        "{version: '9.7.4', storage: {size: 10Gi}}",
        "{image: 'mysql/server:9.7', storage: {size: 10Gi}}",
        "{version: '9.7', storage: {size: 10Gi}, imagePullSecrets: [{name: a}]}",
        "{version: '9.7', storage: {size: 10Gi}, resources: {limits: {memory: 2Gi}}}",
        "{version: '9.7', storage: {size: 10Gi}, resources: {requests: {memory: 512Mi}, limits: {memory: 1Gi}}}",
        "{version: '9.7', storage: {size: 10Gi}, resources: {requests: {cpu: '1'}}}",
        "{version: '9.7', storage: {size: 10Gi}, resources: {requests: {cpu: '1'}, limits: {cpu: '1'}}}",
        "{version: '9.7', storage: {size: 10Gi}, placement: {nodeSelector: {a: b}}}",
        "{version: '9.7', storage: {size: 10Gi}, placement: {topologyKey: zone}}",
        "{version: '9.7', storage: {size: 10Gi}, placement: {tolerations: [{operator: Exists}]}}",
        "{version: '9.7', storage: {size: 10Gi}, placement: {tolerations: [{key: a, operator: Exists}]}}",
    ] {
        let found = hash(other);
        assert!(!seen.contains(&found), "{other}");
        seen.push(found);
    }
    let mut inputs = samples::inputs();
    inputs.images.operator = "registry.example.com/holdfast:0.2.0".into();
    let newer = template_hash(&pod(&samples::cluster(samples::MINIMAL), "orders-0", &inputs));
    assert!(!seen.contains(&newer), "a new operator replaces members");
}

#[test]
fn the_digest_of_a_pod_that_went_over_the_wire_is_the_same() {
    let cluster = Cluster::read(&samples::object_named("orders", samples::EVERYTHING)).unwrap();
    let sent = pod(&cluster, "orders-0", &samples::inputs());
    let text = serde_json::to_string(&sent).unwrap();
    let read: Pod = serde_json::from_str(&text).unwrap();
    assert_eq!(template_hash(&read), template_hash(&sent));
}
