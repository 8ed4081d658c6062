//! The generated folder holds what the types say.
//! Must not refresh it: that is a command of its own.

#![cfg(test)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use holdfast::definitions;

#[test]
fn the_generated_folder_is_fresh() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/yaml");
    let wanted: BTreeMap<String, String> = definitions::files().unwrap().into_iter().collect();
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let entry = entry.unwrap();
        found.insert(
            entry.file_name().into_string().unwrap(),
            fs::read_to_string(entry.path()).unwrap(),
        );
    }
    let names = |files: &BTreeMap<String, String>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        names(&found),
        names(&wanted),
        "crds/yaml holds one file a kind and nothing else"
    );
    let stale: Vec<_> = names(&wanted)
        .into_iter()
        .filter(|name| found[name] != wanted[name])
        .collect();
    assert!(
        stale.is_empty(),
        "stale in crds/yaml: {stale:?}; refresh: cargo run -p holdfast -- crds --write crds/yaml"
    );
}

#[test]
fn another_reader_finds_the_same_definitions() {
    use serde::Deserialize;
    let stream = definitions::stream().unwrap();
    let documents: Vec<_> = serde_yaml::Deserializer::from_str(&stream)
        .map(|document| serde_json::Value::deserialize(document).unwrap())
        .collect();
    let wanted: Vec<_> = crds::definitions()
        .iter()
        .map(|one| serde_json::to_value(one).unwrap())
        .collect();
    assert_eq!(documents.len(), wanted.len());
    for (read, wanted) in documents.iter().zip(&wanted) {
        same(read, wanted, "");
    }
}

/// Equal but for `5` and `5.0`.
fn same(read: &serde_json::Value, wanted: &serde_json::Value, path: &str) {
    use serde_json::Value;
    match (read, wanted) {
        (Value::Object(left), Value::Object(right)) => {
            assert!(left.keys().eq(right.keys()), "{path}");
            left.iter()
                .for_each(|(key, value)| same(value, &right[key], &format!("{path}.{key}")));
        }
        (Value::Array(left), Value::Array(right)) => {
            assert_eq!(left.len(), right.len(), "{path}");
            left.iter()
                .zip(right)
                .for_each(|(left, right)| same(left, right, path));
        }
        (Value::Number(left), Value::Number(right)) => {
            assert!(
                !left.is_f64(),
                "{path}: a float where the server answers with an integer"
            );
            assert_eq!(left.as_f64(), right.as_f64(), "{path}");
        }
        _ => assert_eq!(read, wanted, "{path}"),
    }
}
