//! The part of JSON schema that our definitions use, checked on a value.
//! Must not know CEL: kube-cel runs the rules.

use regex::Regex;
use serde_json::{Map, Value};

pub(crate) fn violations(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(schema, value, "", &mut found);
    found
}

fn check(schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let mut complain = |what: &str| found.push(format!("{}: {what}: {value}", path.trim_start_matches('.')));
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        complain("not one of the allowed values");
    }
    let of_type = match schema["type"].as_str() {
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => true,
    };
    if !of_type {
        complain("of the wrong type");
    }
    if let Some(number) = value.as_f64()
        && (schema["minimum"].as_f64().is_some_and(|least| number < least)
            || schema["maximum"].as_f64().is_some_and(|most| number > most))
    {
        complain("out of range");
    }
    let size = match value {
        Value::String(text) => Some((text.chars().count(), "minLength", "maxLength")),
        Value::Array(items) => Some((items.len(), "minItems", "maxItems")),
        Value::Object(fields) => Some((fields.len(), "minProperties", "maxProperties")),
        _ => None,
    };
    if let Some((size, least, most)) = size
        && (schema[least].as_u64().is_some_and(|least| (size as u64) < least)
            || schema[most].as_u64().is_some_and(|most| size as u64 > most))
    {
        complain("too short or too long");
    }
    if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str())
        && !Regex::new(pattern).unwrap().is_match(text)
    {
        complain("does not match its pattern");
    }
    match value {
        Value::Array(items) => items
            .iter()
            .for_each(|item| check(&schema["items"], item, path, found)),
        Value::Object(fields) => check_fields(schema, fields, path, found),
        _ => {}
    }
}

fn check_fields(schema: &Value, fields: &Map<String, Value>, path: &str, found: &mut Vec<String>) {
    for name in schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        if !fields.contains_key(name) {
            found.push(format!("{path}.{name}: missing"));
        }
    }
    for (name, value) in fields {
        let schema = match schema["properties"].get(name) {
            Some(known) => known,
            None => &schema["additionalProperties"],
        };
        check(schema, value, &format!("{path}.{name}"), found);
    }
}
