//! Every rule and bound of the kinds, tried without a server on the cases of their files.
//! Must not repeat the rules: it runs those of the generated definition.

#![cfg(test)]

mod schema_check;

use std::collections::BTreeSet;
use std::fmt::Debug;

use kube_core::cel::{ErrorKind, Validator};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Cases {
    kind: String,
    base: Value,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    about: String,
    #[serde(default = "usual_name")]
    name: String,
    #[serde(default)]
    spec: Option<Value>,
    was: Option<Value>,
    refused: Option<String>,
}

fn usual_name() -> String {
    "orders".into()
}

fn all() -> Vec<Cases> {
    [include_str!("rules.yaml"), include_str!("switchover-rules.yaml")]
        .map(|text| serde_yaml::from_str(text).unwrap())
        .into()
}

fn schema(kind: &str) -> Value {
    let definitions = crds::definitions();
    let definition = definitions
        .into_iter()
        .find(|definition| definition.spec.names.kind == kind);
    let version = definition.unwrap().spec.versions.into_iter().next().unwrap();
    serde_json::to_value(version.schema.unwrap().open_api_v3_schema.unwrap()).unwrap()
}

/// RFC 7386.
fn merge(base: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *base = patch.clone();
        return;
    };
    if !base.is_object() {
        *base = json!({});
    }
    let fields = base.as_object_mut().unwrap();
    for (key, value) in patch {
        if value.is_null() {
            fields.remove(key);
        } else {
            merge(fields.entry(key).or_insert(Value::Null), value);
        }
    }
}

impl Cases {
    fn object(&self, name: &str, patch: &Value) -> Value {
        let mut spec = self.base.clone();
        merge(&mut spec, patch);
        json!({
            "apiVersion": "mysql.holdfast.dev/v1alpha1",
            "kind": self.kind,
            "metadata": { "name": name },
            "spec": spec,
        })
    }

    fn asked(&self, case: &Case) -> Value {
        self.object(&case.name, case.spec.as_ref().unwrap_or(&json!({})))
    }

    fn said(&self, schema: &Value, case: &Case) -> Vec<String> {
        let old = case.was.as_ref().map(|was| self.object(&case.name, was));
        verdict(schema, &self.asked(case), old.as_ref())
    }
}

/// What a server would say: bounds first, rules only when those hold.
fn verdict(schema: &Value, object: &Value, old: Option<&Value>) -> Vec<String> {
    let object = kube_core::cel::apply_defaults(schema, object);
    let bounds = schema_check::violations(schema, &object);
    if !bounds.is_empty() {
        return bounds;
    }
    let old = old.map(|old| kube_core::cel::apply_defaults(schema, old));
    match Validator::new().validate(schema, &object, old.as_ref()) {
        Ok(()) => Vec::new(),
        Err(errors) => errors
            .iter()
            .inspect(|error| assert_eq!(error.kind, ErrorKind::ValidationFailure, "{error:?}"))
            .map(|error| format!("{}: {}", error.field_path, error.message))
            .collect(),
    }
}

#[test]
fn every_case_is_accepted_or_refused_as_written() {
    let mut wrong = Vec::new();
    for cases in all() {
        let schema = schema(&cases.kind);
        for case in &cases.cases {
            let said = cases.said(&schema, case).join("; ");
            let right = match &case.refused {
                None => said.is_empty(),
                Some(words) => said.contains(words.as_str()),
            };
            if !right {
                wrong.push(format!("{}: wanted {:?}, got {said:?}", case.about, case.refused));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_cases_tell_themselves_apart() {
    for cases in all() {
        let names: BTreeSet<_> = cases.cases.iter().map(|case| &case.about).collect();
        assert_eq!(names.len(), cases.cases.len());
    }
}

/// A rule that no case trips is a rule that no one has seen refuse anything.
#[test]
fn every_rule_is_tripped_by_a_case() {
    for cases in all() {
        let schema = schema(&cases.kind);
        let refused = cases.cases.iter().filter(|case| case.refused.is_some());
        let said: Vec<String> = refused.flat_map(|case| cases.said(&schema, case)).collect();
        let mut messages = Vec::new();
        collect_messages(&schema, &mut messages);
        assert!(messages.len() > 2, "{}", messages.len());
        for message in messages {
            let tripped = said.iter().any(|said| said.contains(&message));
            assert!(
                tripped || message.starts_with("replication.mode cannot change"),
                "no case for: {message}"
            );
        }
    }
}

fn collect_messages(schema: &Value, messages: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            for rule in fields
                .get("x-kubernetes-validations")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                messages.push(
                    rule["message"]
                        .as_str()
                        .expect("a rule says what to do")
                        .to_owned(),
                );
            }
            fields
                .values()
                .for_each(|value| collect_messages(value, messages));
        }
        Value::Array(values) => values.iter().for_each(|value| collect_messages(value, messages)),
        _ => {}
    }
}

/// The mode has one value today, so no real update can change it: the rule is tried on its own.
#[test]
fn the_replication_mode_cannot_change() {
    let cases = all().remove(0);
    let mut schema = schema(&cases.kind);
    let mode = schema
        .pointer_mut("/properties/spec/properties/replication/properties/mode")
        .unwrap();
    mode.as_object_mut().unwrap().remove("enum");
    let of = |mode: &str| cases.object("orders", &json!({ "replication": { "mode": mode } }));
    assert!(
        verdict(&schema, &of("Async"), Some(&of("SemiSync")))
            .join("")
            .contains("replication.mode cannot change")
    );
}

fn reads_and_writes<K: DeserializeOwned + Serialize + PartialEq + Debug>(cases: &Cases) {
    for case in cases.cases.iter().filter(|case| case.refused.is_none()) {
        let read: K = serde_json::from_value(cases.asked(case)).expect(&case.about);
        let again = serde_json::from_value(serde_json::to_value(&read).unwrap()).unwrap();
        assert_eq!(read, again, "{}", case.about);
    }
}

#[test]
fn what_the_cases_accept_reads_as_the_type_and_back() {
    let all = all();
    reads_and_writes::<crds::cluster::MySQLCluster>(&all[0]);
    reads_and_writes::<crds::switchover::Switchover>(&all[1]);
}
