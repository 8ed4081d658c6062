//! Objects in manifests: read, found, and checked to have only fields that Kubernetes knows.
//! Must not judge what the fields say.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde::Deserialize;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{WAYS, read, rendered};

/// All documents of a manifest, less those that are empty.
pub(crate) fn parsed(text: &str) -> Vec<Value> {
    let documents = serde_yaml::Deserializer::from_str(text);
    let values = documents.map(|document| Value::deserialize(document).unwrap());
    values.filter(|value| !value.is_null()).collect()
}

/// The one object of a kind.
pub(crate) fn of_kind<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let found: Vec<_> = objects.iter().filter(|object| object["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "{kind}");
    found[0]
}

/// The paths at which `within` lacks something or says something else.
pub(crate) fn missing(value: &Value, within: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare(value, within, "", &mut found);
    found
}

fn compare(value: &Value, within: &Value, path: &str, found: &mut Vec<String>) {
    match (value, within) {
        (Value::Object(fields), Value::Object(others)) => {
            for (key, field) in fields {
                let path = format!("{path}.{key}");
                match others.get(key).filter(|_| !field.is_null()) {
                    Some(other) => compare(field, other, &path, found),
                    None => found.push(path),
                }
            }
        }
        (Value::Array(items), Value::Array(others)) if items.len() == others.len() => {
            for (at, (item, other)) in items.iter().zip(others).enumerate() {
                compare(item, other, &format!("{path}[{at}]"), found);
            }
        }
        // The bounds of definitions are floats to the type and integers to people.
        (Value::Number(one), Value::Number(other)) if one.as_f64() == other.as_f64() => {}
        _ if value == within => {}
        _ => found.push(path.to_owned()),
    }
}

fn through<K: Serialize + DeserializeOwned>(object: &Value) -> Value {
    let typed: K = serde_json::from_value(object.clone()).unwrap();
    serde_json::to_value(typed).unwrap()
}

/// What the types of Kubernetes keep of an object.
fn as_known(object: &Value) -> Value {
    match object["kind"].as_str().unwrap() {
        "ClusterRole" => through::<ClusterRole>(object),
        "ClusterRoleBinding" => through::<ClusterRoleBinding>(object),
        "CustomResourceDefinition" => through::<CustomResourceDefinition>(object),
        "Deployment" => through::<Deployment>(object),
        "Lease" => through::<Lease>(object),
        "Namespace" => through::<Namespace>(object),
        "NetworkPolicy" => through::<NetworkPolicy>(object),
        "PodDisruptionBudget" => through::<PodDisruptionBudget>(object),
        "Role" => through::<Role>(object),
        "RoleBinding" => through::<RoleBinding>(object),
        "Service" => through::<Service>(object),
        "ServiceAccount" => through::<ServiceAccount>(object),
        // Of the Prometheus operator, which has no types here.
        "PodMonitor" | "PrometheusRule" => object.clone(),
        kind => panic!("a kind that nobody expects: {kind}"),
    }
}

/// Unknown fields, and required ones that are not there.
fn faults(object: &Value) -> Vec<String> {
    let known = as_known(object);
    let mut found = missing(object, &known);
    found.extend(missing(&known, object));
    found
}

#[test]
fn every_object_has_the_fields_of_its_kind_and_no_others() {
    let manifests = ["manifests/install.yaml", "manifests/ground.yaml"].map(|path| parsed(&read(path)));
    let charts = WAYS.iter().map(|way| rendered(way));
    for object in manifests.into_iter().chain(charts).flatten() {
        let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
        assert_eq!(faults(&object), [""; 0], "{name}");
    }
}

#[test]
fn a_field_that_is_wrong_is_found() {
    let good = of_kind(&rendered(&[]), "Deployment").clone();
    assert_eq!(faults(&good), [""; 0]);
    for (field, value, path) in [
        ("replcas", Value::from(2), ".spec.replcas"),
        ("paused", Value::Null, ".spec.paused"),
        ("selector", Value::Null, ".spec.selector"),
    ] {
        let mut bad = good.clone();
        bad["spec"][field] = value;
        assert!(faults(&bad).contains(&path.to_owned()), "{path}");
    }
}

#[test]
fn every_object_but_those_of_all_namespaces_names_its_own() {
    for way in WAYS {
        for object in rendered(way) {
            let is_wide = object["kind"].as_str().unwrap().starts_with("Cluster");
            assert_eq!(object["metadata"]["namespace"].is_null(), is_wide, "{object}");
        }
    }
}

#[test]
fn a_lease_without_a_holder_comes_with_it() {
    for way in WAYS {
        let objects = rendered(way);
        let lease = of_kind(&objects, "Lease");
        assert_eq!(lease["metadata"]["name"], "holdfast-controller");
        assert!(lease["spec"].is_null());
    }
}

#[test]
fn whatever_selects_pods_selects_those_of_the_deployment() {
    for way in WAYS {
        let objects = rendered(way);
        let labels = &of_kind(&objects, "Deployment")["spec"]["template"]["metadata"]["labels"];
        let mut selectors = 0;
        for object in &objects {
            let spec = &object["spec"];
            let selector = match object["kind"].as_str().unwrap() {
                "Deployment" | "PodDisruptionBudget" => &spec["selector"]["matchLabels"],
                "NetworkPolicy" => &spec["podSelector"]["matchLabels"],
                "Service" => &spec["selector"],
                _ => continue,
            };
            assert_eq!(selector["app.kubernetes.io/name"], "holdfast");
            assert_eq!(missing(selector, labels), [""; 0], "{object}");
            selectors += 1;
        }
        assert!(selectors >= 2);
    }
}

#[test]
fn the_namespace_of_the_manifest_is_restricted() {
    let objects = parsed(&read("manifests/install.yaml"));
    let namespace = of_kind(&objects, "Namespace");
    let enforced = &namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"];
    assert_eq!(enforced, "restricted");
    assert!(objects.iter().all(|object| {
        let of = &object["metadata"]["namespace"];
        of.is_null() || *of == namespace["metadata"]["name"]
    }));
}
