//! Charts and manifests, rendered by helm: fresh, accepted, restricted, with no right too many.
//! Must not need a Kubernetes: stories install what is rendered here.

#![cfg(test)]

mod alerts;
mod objects;
mod pods;
mod rights;
mod values;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use e2e::install::{Helm, REFRESH, generated};
use ground::images;
use serde_json::Value;

const CHARTS: &[&str] = &["holdfast", "holdfast-crds"];

/// Ways to render the operator's chart.
const WAYS: &[&[&str]] = &[
    &[],
    &["--values", "charts/holdfast/ci/all-values.yaml"],
    &["--values", "charts/holdfast/ci/minimal-values.yaml"],
    &["--values", "charts/holdfast/ci/ground-values.yaml"],
];

fn helm() -> &'static Helm {
    static HELM: OnceLock<Helm> = OnceLock::new();
    HELM.get_or_init(|| Helm::open().unwrap())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The operator's chart as objects.
fn rendered(more: &[&str]) -> Vec<Value> {
    objects::parsed(&helm().template("holdfast", more).unwrap())
}

#[test]
fn helm_finds_nothing_to_complain_of() {
    for chart in CHARTS {
        let path = format!("charts/{chart}");
        helm().run(&["lint", "--strict", &path]).run().unwrap();
    }
    for way in WAYS {
        let lint = ["lint", "--strict", "charts/holdfast"];
        helm().run(&lint).args(*way).run().unwrap();
    }
}

#[test]
fn generated_files_are_fresh() {
    let generated = generated(helm()).unwrap();
    for file in &generated {
        let found = fs::read_to_string(root().join(&file.path)).unwrap_or_default();
        assert!(found == file.text, "{} is stale; refresh: {REFRESH}", file.path);
    }
    // A kind that is no more must not go on being installed.
    let templates = fs::read_dir(root().join("charts/holdfast-crds/templates")).unwrap();
    for entry in templates {
        let path = format!(
            "charts/holdfast-crds/templates/{}",
            entry.unwrap().file_name().to_string_lossy()
        );
        assert!(
            generated.iter().any(|file| file.path == path),
            "{path} is made by nothing"
        );
    }
}

#[test]
fn every_version_is_that_of_the_workspace() {
    for chart in CHARTS {
        let chart: Value = serde_yaml::from_str(&read(&format!("charts/{chart}/Chart.yaml"))).unwrap();
        for field in ["version", "appVersion"] {
            assert_eq!(chart[field], env!("CARGO_PKG_VERSION"), "{field}");
        }
    }
}

#[test]
fn images_are_those_of_the_proving_ground() {
    let ground = objects::parsed(&read("manifests/ground.yaml"));
    let container = &objects::of_kind(&ground, "Deployment")["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], images::OPERATOR);
    let (mysql, _) = images::MYSQL.rsplit_once(':').unwrap();
    for wanted in [
        format!("--operator-image={}", images::OPERATOR),
        format!("--mysql-repository={mysql}"),
    ] {
        let args = container["args"].as_array().unwrap();
        assert!(args.contains(&wanted.clone().into()), "{wanted}");
    }
}

#[test]
fn definitions_outlive_their_release_and_take_annotations() {
    let more = ["--set", "annotations.a=b"];
    let found = objects::parsed(&helm().template("holdfast-crds", &more).unwrap());
    assert_eq!(found.len(), crds::definitions().len());
    for definition in &found {
        let annotations = &definition["metadata"]["annotations"];
        assert_eq!(annotations["helm.sh/resource-policy"], "keep");
        assert_eq!(annotations["a"], "b");
    }
}

#[test]
fn the_sample_is_short_and_has_only_fields_that_exist() {
    let text = read("manifests/sample.yaml");
    assert!(text.lines().count() <= 15);
    let sample: Value = serde_yaml::from_str(&text).unwrap();
    let cluster: crds::cluster::MySQLCluster = serde_json::from_value(sample.clone()).unwrap();
    let known = serde_json::to_value(cluster).unwrap();
    assert_eq!(objects::missing(&sample, &known), [""; 0]);
}
