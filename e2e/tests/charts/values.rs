//! The values of the operator's chart: each described and in the schema, wrong ones refused.
//! Must not look at what they render to.

use std::collections::BTreeSet;

use e2e::install::values;
use serde_json::Value;

use crate::{CHARTS, helm, read};

/// The paths of all values that a schema knows, as deep as it names keys.
fn known(schema: &Value, path: &str, documented: &BTreeSet<String>, found: &mut BTreeSet<String>) {
    for (key, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        // What Helm adds is nobody's to set.
        if path == "global" {
            continue;
        }
        if field["properties"].is_object() && !documented.contains(&path) {
            known(field, &path, documented, found);
        } else {
            found.insert(path);
        }
    }
}

/// Places of a schema that are objects and would take any key.
fn open(schema: &Value, path: &str, found: &mut Vec<String>) {
    if schema["properties"].is_object() && schema["additionalProperties"] != false {
        found.push(path.to_owned());
    }
    for (key, field) in schema["properties"].as_object().into_iter().flatten() {
        open(field, &format!("{path}.{key}"), found);
    }
    if schema["items"].is_object() {
        open(&schema["items"], &format!("{path}[]"), found);
    }
}

#[test]
fn every_value_is_described_and_in_the_schema() {
    for chart in CHARTS {
        let documented = values(&read(&format!("charts/{chart}/values.yaml")));
        let documented: BTreeSet<String> = documented.into_iter().map(|value| value.path).collect();
        let schema: Value =
            serde_json::from_str(&read(&format!("charts/{chart}/values.schema.json"))).unwrap();
        let mut found = BTreeSet::new();
        known(&schema, "", &documented, &mut found);
        assert_eq!(documented, found, "{chart}");
        let mut wide = Vec::new();
        open(&schema, "", &mut wide);
        assert_eq!(wide, [""; 0], "{chart}");
    }
}

/// A value that is new must also be tried as something else than its default.
#[test]
fn every_value_is_tried() {
    let all: Value = serde_yaml::from_str(&read("charts/holdfast/ci/all-values.yaml")).unwrap();
    for value in values(&read("charts/holdfast/values.yaml")) {
        let pointer = format!("/{}", value.path.replace('.', "/"));
        assert!(all.pointer(&pointer).is_some(), "{}", value.path);
    }
}

#[test]
fn wrong_values_are_refused() {
    for (set, named) in [
        ("replica=3", "replica"),
        ("image.name=x", "name"),
        ("mysql.tag=9.7", "tag"),
        ("replicas=-1", "replicas"),
        ("replicas=two", "replicas"),
        ("image.digest=sha256:0123", "digest"),
        ("image.tag=a/b", "tag"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("image.registry=https://holdfast.dev", "registry"),
        ("imageRegistry=mirror.example.com/", "imageRegistry"),
        ("mysql.repository=mysql:9.7", "repository"),
        ("watchNamespaces={Orders}", "watchNamespaces"),
        ("watchNamespaces={a,a}", "watchNamespaces"),
        ("logLevel=loud", "logLevel"),
        ("certificateLifetime=long", "certificateLifetime"),
        ("imagePullSecrets={mirror}", "imagePullSecrets"),
        ("networkPolicy.apiServerPorts={0}", "apiServerPorts"),
        ("resources.cpu=1", "cpu"),
        ("fullnameOverride=9lives", "fullnameOverride"),
    ] {
        let error = helm().template("holdfast", &["--set", set]).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("schema") && text.contains(named), "{set}: {text}");
    }
}

#[test]
fn values_that_helm_adds_are_taken() {
    for chart in CHARTS {
        helm().template(chart, &["--set", "global.any=thing"]).unwrap();
    }
}

#[test]
fn a_kubernetes_that_is_too_old_is_refused() {
    for chart in CHARTS {
        let error = helm().template(chart, &["--kube-version", "1.31.9"]).unwrap_err();
        assert!(format!("{error:#}").contains("kubeVersion"));
        helm().template(chart, &["--kube-version", "1.32.0"]).unwrap();
    }
}
