//! Properties that every kind's schema must have, found by walking it, and the generated folder.
//! Must not try values: rules.rs does.

#![cfg(test)]

use serde_json::{Map, Value};

/// One schema and the path to it.
struct Place<'a> {
    path: String,
    schema: &'a Map<String, Value>,
    in_items: bool,
}

fn definitions() -> Vec<Value> {
    crds::definitions()
        .iter()
        .map(|definition| serde_json::to_value(definition).unwrap())
        .collect()
}

fn places(definition: &Value) -> Vec<Place<'_>> {
    let mut found = Vec::new();
    for version in definition["spec"]["versions"].as_array().unwrap() {
        walk(
            &version["schema"]["openAPIV3Schema"],
            String::new(),
            false,
            &mut found,
        );
    }
    found
}

fn walk<'a>(schema: &'a Value, path: String, in_items: bool, found: &mut Vec<Place<'a>>) {
    let Some(fields) = schema.as_object() else { return };
    found.push(Place {
        path: path.clone(),
        schema: fields,
        in_items,
    });
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        walk(field, format!("{path}.{name}"), in_items, found);
    }
    if schema["items"].is_object() {
        walk(&schema["items"], format!("{path}[]"), true, found);
    }
    if schema["additionalProperties"].is_object() {
        walk(
            &schema["additionalProperties"],
            format!("{path}{{}}"),
            in_items,
            found,
        );
    }
}

/// The paths of all places that `is_wrong` names.
fn wrong(is_wrong: impl Fn(&Place<'_>) -> bool) -> Vec<String> {
    let definitions = definitions();
    let all = definitions.iter().flat_map(places);
    all.filter(is_wrong).map(|place| place.path).collect()
}

fn assert_none(found: Vec<String>, what: &str) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn every_field_says_what_it_is() {
    let silent = wrong(|place| {
        let text = place
            .schema
            .get("description")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let is_item = place.path.ends_with("[]") || place.path.ends_with("{}");
        text.len() < 10 && (!is_item || place.schema.contains_key("properties"))
    });
    assert_none(silent, "fields without a description");
    assert_none(
        wrong(|place| place.schema.contains_key("$ref")),
        "references, which the server refuses",
    );
}

#[test]
fn every_string_list_map_and_number_is_bounded() {
    let unbounded = wrong(|place| {
        let has = |key: &str| place.schema.contains_key(key);
        match place.schema.get("type").and_then(Value::as_str) {
            Some("string") => {
                !has("maxLength") && !has("enum") && place.schema.get("format") != Some(&"date-time".into())
            }
            Some("array") => !has("maxItems"),
            Some("object") => has("additionalProperties") && !has("maxProperties"),
            Some("integer") => !has("minimum") && !has("maximum"),
            Some("number") => true,
            _ => false,
        }
    });
    assert_none(unbounded, "places without a bound");
    let people_set = wrong(|place| {
        let both = ["minimum", "maximum"]
            .iter()
            .all(|bound| place.schema.contains_key(*bound));
        place.path.starts_with(".spec") && place.schema.get("type") == Some(&"integer".into()) && !both
    });
    assert_none(people_set, "integers of a spec without both bounds");
}

#[test]
fn every_list_says_how_it_merges() {
    let silent = wrong(|place| {
        let kind = place.schema.get("x-kubernetes-list-type");
        place.schema.get("type") == Some(&"array".into()) && kind.is_none()
    });
    assert_none(silent, "lists without a list type");
    let keyless = wrong(|place| {
        let is_map = place.schema.get("x-kubernetes-list-type") == Some(&"map".into());
        is_map && !place.schema.contains_key("x-kubernetes-list-map-keys")
    });
    assert_none(keyless, "lists that are maps without a key");
}

#[test]
fn no_default_stands_in_a_list_and_none_is_an_empty_list() {
    let defaults = |place: &Place<'_>| place.schema.contains_key("default");
    assert_none(
        wrong(|place| place.in_items && defaults(place)),
        "defaults in list items",
    );
    let empty = wrong(|place| {
        place
            .schema
            .get("default")
            .is_some_and(|value| value.is_array() || value.is_null())
    });
    assert_none(empty, "defaults that are lists or null");
}

#[test]
fn nothing_is_nullable_or_open() {
    let has = |key: &'static str| move |place: &Place<'_>| place.schema.get(key) == Some(&true.into());
    assert_none(wrong(has("nullable")), "nullable places");
    assert_none(
        wrong(has("x-kubernetes-preserve-unknown-fields")),
        "places that take anything",
    );
}

#[test]
fn an_object_not_seen_yet_does_not_count_as_ready() {
    for definition in definitions() {
        for version in definition["spec"]["versions"].as_array().unwrap() {
            let status = &version["schema"]["openAPIV3Schema"]["properties"]["status"];
            assert_eq!(status["default"], serde_json::json!({ "observedGeneration": -1 }));
            assert_eq!(version["subresources"]["status"], serde_json::json!({}));
            let conditions = &status["properties"]["conditions"];
            assert_eq!(
                conditions["x-kubernetes-list-map-keys"],
                serde_json::json!(["type"])
            );
        }
    }
}

#[test]
fn all_kinds_are_of_one_group_and_category() {
    for definition in definitions() {
        assert_eq!(definition["spec"]["group"], crds::GROUP);
        assert_eq!(definition["spec"]["scope"], "Namespaced");
        assert_eq!(
            definition["spec"]["names"]["categories"],
            serde_json::json!([crds::CATEGORY])
        );
        assert_eq!(definition["spec"]["versions"][0]["name"], "v1alpha1");
    }
}

/// What a person sees in `kubectl get` and selects by.
#[test]
fn columns_and_selectors_are_these() {
    let seen = |definition: &Value| {
        let version = &definition["spec"]["versions"][0];
        let columns = |wide: bool| {
            let all = version["additionalPrinterColumns"].as_array().unwrap().iter();
            let names = all
                .filter(|column| (column["priority"] == 1) == wide)
                .map(|column| column["name"].as_str());
            names.map(Option::unwrap).collect::<Vec<_>>().join(" ")
        };
        let selectable = version["selectableFields"]
            .as_array()
            .unwrap()
            .iter()
            .map(|field| field["jsonPath"].as_str());
        let selectable: Vec<_> = selectable.map(Option::unwrap).collect();
        [columns(false), columns(true), selectable.join(" ")]
    };
    let definitions = definitions();
    assert_eq!(
        seen(&definitions[0]),
        [
            "Ready State Primary Instances Version Age",
            "Epoch Redundant Reason",
            ".spec.version .spec.deletionPolicy .status.state .status.primary.name",
        ]
    );
    assert_eq!(
        definitions[0]["spec"]["versions"][0]["subresources"]["scale"]["specReplicasPath"],
        ".spec.instances"
    );
    assert_eq!(
        seen(&definitions[1]),
        [
            "Cluster State From To Milliseconds Age",
            "Message",
            ".spec.cluster .status.state",
        ]
    );
}
