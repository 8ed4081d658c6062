//! Specs made at random from the API's own schema: whatever it lets through is read without a panic.
//! Must not know the fields: new ones are tried as they come.

use std::collections::BTreeMap;

use objects::cluster::Cluster;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::string::string_regex;
use serde_json::{Map, Value, json};

use crate::{restricted, samples};

fn spec_schema() -> Value {
    let definition = serde_json::to_value(crds::definitions().remove(0)).unwrap();
    let version = &definition["spec"]["versions"][0];
    version["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
}

/// Any value that the schema, without its rules, takes.
fn any_of(schema: &Value) -> BoxedStrategy<Value> {
    if let Some(allowed) = schema["enum"].as_array() {
        return select(allowed.clone()).boxed();
    }
    match schema["type"].as_str() {
        Some("string") => text(schema),
        Some("boolean") => any::<bool>().prop_map(Value::from).boxed(),
        Some("integer") => {
            let bound =
                |key: &str, otherwise: i64| schema[key].as_f64().map_or(otherwise, |bound| bound as i64);
            (bound("minimum", -9)..=bound("maximum", 9))
                .prop_map(Value::from)
                .boxed()
        }
        Some("array") => prop::collection::vec(any_of(&schema["items"]), 0..3)
            .prop_map(Value::from)
            .boxed(),
        Some("object") if schema["additionalProperties"].is_object() => {
            let values = any_of(&schema["additionalProperties"]);
            prop::collection::btree_map(key(), values, 0..3)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect()))
                .boxed()
        }
        Some("object") => object(schema),
        other => panic!("a type that is not known here: {other:?}"),
    }
}

fn text(schema: &Value) -> BoxedStrategy<Value> {
    let most = schema["maxLength"].as_u64().unwrap_or(u64::MAX) as usize;
    let least = schema["minLength"].as_u64().unwrap_or(0) as usize;
    let made = match schema["pattern"].as_str() {
        Some(pattern) => {
            let inner = pattern.trim_start_matches('^').trim_end_matches('$');
            string_regex(inner).unwrap().boxed()
        }
        None => prop_oneof![key(), "\\PC{0,20}", Just(String::new())].boxed(),
    };
    made.prop_filter("of the wrong length", move |text| {
        (least..=most).contains(&text.chars().count())
    })
    .prop_map(Value::from)
    .boxed()
}

/// Keys that mean something somewhere, and any other.
fn key() -> BoxedStrategy<String> {
    prop_oneof![
        select(vec![
            "a".to_owned(),
            "example.com/a".into(),
            "kubernetes.io/hostname".into(),
            "innodb_buffer_pool_size".into(),
            "max_connections".into(),
        ]),
        "[a-z_.]{1,12}",
        "\\PC{0,8}",
    ]
    .boxed()
}

fn object(schema: &Value) -> BoxedStrategy<Value> {
    let required: Vec<_> = schema["required"].as_array().into_iter().flatten().collect();
    let nothing = Map::new();
    let fields = schema["properties"].as_object().unwrap_or(&nothing);
    let mut strategy = Just(Map::new()).boxed();
    for (name, field) in fields {
        let (name, value) = (name.clone(), any_of(field));
        let value = if required.contains(&&json!(name)) {
            value.prop_map(Some).boxed()
        } else {
            prop::option::weighted(0.4, value).boxed()
        };
        strategy = (strategy, value)
            .prop_map(move |(mut made, value)| {
                made.extend(value.map(|value| (name.clone(), value)));
                made
            })
            .boxed();
    }
    strategy.prop_map(Value::Object).boxed()
}

/// The smallest spec with any one section of it replaced.
fn one_section() -> BoxedStrategy<Value> {
    let schema = spec_schema();
    let sections: BTreeMap<String, Value> = schema["properties"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, field)| (name.clone(), field.clone()))
        .collect();
    let each = sections.into_iter().map(|(name, field)| {
        any_of(&field)
            .prop_map(move |value| {
                let mut spec: Value = serde_yaml::from_str(samples::MINIMAL).unwrap();
                spec[&name] = value;
                if name == "image" {
                    spec.as_object_mut().unwrap().remove("version");
                }
                spec
            })
            .boxed()
    });
    proptest::strategy::Union::new(each).boxed()
}

/// Whether it could be read; then everything that is made of it must be sound.
fn is_read(spec: &Value) -> bool {
    let object = samples::object("orders", spec);
    match Cluster::read(&object) {
        Ok(cluster) => {
            assert_eq!(cluster.spec().members().len(), usize::from(cluster.instances));
            assert!(cluster.instances > 2 * cluster.sync_replicas);
            assert!(cluster.sizes.memory_bytes >= 512 << 20);
            let all = samples::everything(&cluster);
            let pods = all.iter().filter(|(key, _)| key.starts_with("Pod/"));
            for (_, pod) in pods {
                assert_eq!(restricted::faults(&pod["spec"]), [""; 0]);
            }
            true
        }
        Err(faults) => {
            assert!(!faults.is_empty());
            let is_told = |fault: &objects::Unfit| !fault.what.is_empty() && fault.field.starts_with("spec.");
            assert!(faults.iter().all(is_told), "{faults:?}");
            false
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn any_spec_is_read_or_refused(spec in any_of(&spec_schema())) {
        is_read(&spec);
    }
}

#[test]
fn any_section_is_read_or_refused_and_most_are_read() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = one_section();
    let mut count = 0;
    for _ in 0..512 {
        let tree = strategy.new_tree(&mut runner).unwrap();
        count += usize::from(is_read(&proptest::strategy::ValueTree::current(&tree)));
    }
    assert!(
        count > 100,
        "only {count} of 512 were read: the others were refused for nothing?"
    );
}
