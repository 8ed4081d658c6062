//! Cargo manifests: no crate leaves the lints of the workspace, pure crates stay pure.
//! Must not look at versions and licences: cargo-deny does.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;
use toml::Table;

use crate::files::{File, Finding, root};

/// A crate that cannot do IO, and all that it may depend on.
const PURE: &[(&str, &[&str])] = &[
    (
        "crds",
        &[
            "k8s-openapi",
            "kube-core",
            "kube-derive",
            "schemars",
            "serde",
            "serde_json",
        ],
    ),
    ("operator/topology", &["jiff", "serde", "thiserror"]),
    (
        "operator/binlog",
        &["topology", "crc32fast", "ruzstd", "thiserror"],
    ),
    (
        "operator/objects",
        &[
            "crds",
            "topology",
            "jiff",
            "k8s-openapi",
            "kube-core",
            "serde",
            "serde_json",
            "sha2",
            "thiserror",
        ],
    ),
];

/// What no pure crate may reach through anything: runtimes, sockets, clients, randomness.
const IO: &[&str] = &[
    "tokio",
    "async-std",
    "mio",
    "socket2",
    "hyper",
    "kube-client",
    "kube-runtime",
    "mysql_async",
    "reqwest",
    "rand",
];

fn manifests(files: &[File]) -> impl Iterator<Item = (&File, Table)> {
    let all = files.iter().filter(|file| file.path.ends_with("/Cargo.toml"));
    all.map(|file| (file, file.text.parse().unwrap_or_default()))
}

pub(crate) fn without_lints(files: &[File]) -> Vec<Finding> {
    let outside = manifests(files).filter(|(_, manifest)| {
        let lints = manifest.get("lints").and_then(|lints| lints.as_table());
        !lints.is_some_and(|lints| lints.len() == 1 && lints.get("workspace") == Some(&true.into()))
    });
    outside
        .map(|(file, _)| file.finding(0, "wants [lints] workspace = true and nothing else there"))
        .collect()
}

pub(crate) fn impure(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (folder, allowed) in PURE {
        let path = format!("{folder}/Cargo.toml");
        for (file, manifest) in manifests(files).filter(|(file, _)| file.path == path) {
            for name in direct_dependencies(&manifest) {
                if !allowed.contains(&name.as_str()) {
                    findings.push(file.finding(0, format!("{folder} is pure and may not depend on {name}")));
                }
            }
            let banned = files
                .iter()
                .find(|file| file.path == format!("{folder}/clippy.toml"));
            let is_operator = folder.starts_with("operator/");
            for clock in ["std::time::Instant::now", "std::time::SystemTime::now"] {
                if is_operator && !banned.is_some_and(|file| file.text.contains(clock)) {
                    findings.push(file.finding(0, format!("clippy.toml beside it does not ban {clock}")));
                }
            }
        }
    }
    findings
}

/// Of the build too: a build script can do anything. Not those of tests.
fn direct_dependencies(manifest: &Table) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let targets = manifest.get("target").and_then(|targets| targets.as_table());
    let targets = targets
        .into_iter()
        .flat_map(|targets| targets.values())
        .filter_map(|target| target.as_table());
    for table in targets.chain([manifest]) {
        for kind in ["dependencies", "build-dependencies"] {
            let named = table.get(kind).and_then(|names| names.as_table());
            found.extend(named.into_iter().flat_map(|names| names.keys().cloned()));
        }
    }
    found
}

/// The resolved graph of the workspace, as cargo tells it.
pub(crate) fn metadata() -> Value {
    let told = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    serde_json::from_slice(&told.stdout).unwrap()
}

pub(crate) fn reaching_io(metadata: &Value) -> Vec<Finding> {
    let list = |value: &'_ Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let packages = list(&metadata["packages"]);
    let names: BTreeMap<String, String> = packages
        .iter()
        .map(|package| (text(&package["id"]), text(&package["name"])))
        .collect();
    let mut edges: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for node in list(&metadata["resolve"]["nodes"]) {
        let normal = |dependency: &&Value| {
            list(&dependency["dep_kinds"])
                .iter()
                .any(|kind| kind["kind"].is_null())
        };
        let dependencies = list(&node["deps"]);
        let reached = dependencies
            .iter()
            .filter(normal)
            .map(|dependency| text(&dependency["pkg"]));
        edges.insert(text(&node["id"]), reached.collect());
    }
    let mut findings = Vec::new();
    for (folder, _) in PURE {
        let manifest = format!("{folder}/Cargo.toml");
        let start = packages
            .iter()
            .find(|package| text(&package["manifest_path"]).ends_with(&manifest));
        let Some(start) = start else { continue };
        let mut seen = BTreeSet::new();
        let mut open = vec![(text(&start["id"]), folder.to_string())];
        while let Some((id, way)) = open.pop() {
            if !seen.insert(id.clone()) {
                continue;
            }
            if IO.contains(&names[&id].as_str()) {
                findings.push(File::new(&manifest, "").finding(0, format!("reaches IO: {way}")));
                continue;
            }
            let next = edges.get(&id).into_iter().flatten();
            open.extend(next.map(|next| (next.clone(), format!("{way} → {}", names[next]))));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(findings: Vec<Finding>) -> Vec<String> {
        findings.iter().map(Finding::to_string).collect()
    }

    #[test]
    fn crates_with_lints_of_their_own_are_found() {
        let wanted = "a/Cargo.toml:0: wants [lints] workspace = true and nothing else there";
        for text in [
            "",
            "[lints.rust]\nunsafe_code = \"allow\"\n",
            "[lints]\nworkspace = false\n",
        ] {
            assert_eq!(
                said(without_lints(&[File::new("a/Cargo.toml", text)])),
                [wanted],
                "{text}"
            );
        }
        assert!(without_lints(&[File::new("a/Cargo.toml", "[lints]\nworkspace = true\n")]).is_empty());
    }

    #[test]
    fn impure_manifests_are_found() {
        let pure = "[dependencies]\nthiserror = \"2\"\n[dev-dependencies]\ntokio = \"1\"\n";
        let clippy = File::new(
            "operator/topology/clippy.toml",
            "std::time::Instant::now std::time::SystemTime::now",
        );
        let with = |more: &str| {
            let manifest = File::new("operator/topology/Cargo.toml", &format!("{pure}{more}"));
            said(impure(&[manifest, File::new(&clippy.path, &clippy.text)]))
        };
        assert_eq!(with(""), [""; 0]);
        for more in [
            "[build-dependencies]\ntokio = \"1\"\n",
            "[target.'cfg(unix)'.dependencies]\ntokio = \"1\"\n",
            "[target.x.build-dependencies.tokio]\nversion = \"1\"\n",
        ] {
            let what =
                "operator/topology/Cargo.toml:0: operator/topology is pure and may not depend on tokio";
            assert_eq!(with(more), [what], "{more}");
        }
        let manifest = File::new("operator/topology/Cargo.toml", pure);
        assert_eq!(said(impure(&[manifest])).len(), 2);
    }

    #[test]
    fn a_way_to_io_is_found() {
        let package = |name: &str, path: &str| json!({ "id": name, "name": name, "manifest_path": path });
        let edge = |to: &str, kind: Value| json!({ "pkg": to, "dep_kinds": [{ "kind": kind }] });
        let graph = |kind: Value| {
            json!({
                "packages": [
                    package("topology", "x/operator/topology/Cargo.toml"), package("a", "a/Cargo.toml"),
                    package("tokio", "b/Cargo.toml"),
                ],
                "resolve": { "nodes": [
                    { "id": "topology", "deps": [edge("a", Value::Null)] },
                    { "id": "a", "deps": [edge("tokio", kind), edge("topology", Value::Null)] },
                    { "id": "tokio", "deps": [] },
                ] },
            })
        };
        let what = "operator/topology/Cargo.toml:0: reaches IO: operator/topology → a → tokio";
        assert_eq!(said(reaching_io(&graph(Value::Null))), [what]);
        assert!(reaching_io(&graph(json!("dev"))).is_empty());
    }
}
