//! Whether applying an object would change anything, told from the object that is there.
//! Must not do IO, and must never say "nothing" when something would change.
//!
//! A server-side apply sets the fields that are in it and removes those that were in the last one
//! and are no more. So nothing changes if all fields are there with their values, and the last
//! apply had the same fields. The first is compared; for the second an annotation keeps a mark of
//! which fields there were. The mark is made from paths, without values: values are compared
//! already, and a digest of a password must not stand in an annotation.
//!
//! Reading our part of `managedFields` would do without an annotation, but needs the schema of
//! every list to be read; a digest of all values would not see what others changed. Lists are
//! compared whole, so that an element put in by others looks like a difference. An error to that
//! side costs a request which the server, finding nothing to change, answers without a new version.
//!
//! Quantities are the exception: for `1024Mi` where it keeps `1Gi` the server makes a new version
//! each time, for ever. They are compared as amounts.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::quantity;

/// A mark of which fields there are.
pub(super) fn mark(object: &Value) -> String {
    let mut digest = Sha256::new();
    trace(object, &mut digest);
    let bytes = digest.finalize();
    bytes[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Keys come with their length and levels with brackets, so that no two shapes read the same.
fn trace(value: &Value, digest: &mut Sha256) {
    match value {
        Value::Object(fields) => {
            let mut keys: Vec<_> = fields.iter().collect();
            keys.sort_by_key(|(key, _)| *key);
            digest.update("{");
            for (key, value) in keys {
                digest.update(format!("{}:{key}", key.len()));
                trace(value, digest);
            }
            digest.update("}");
        }
        Value::Array(elements) => {
            digest.update("[");
            elements.iter().for_each(|element| trace(element, digest));
            digest.update("]");
        }
        _ => digest.update("."),
    }
}

/// Where `live` first lacks something of `wanted`; never a value.
pub(super) fn difference(live: &Value, wanted: &Value) -> Option<String> {
    difference_below("", live, wanted)
}

/// `parent` is the key that both stand at.
fn difference_below(parent: &str, live: &Value, wanted: &Value) -> Option<String> {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => wanted.iter().find_map(|(key, wanted)| {
            let below = match (live.get(key), wanted) {
                (Some(Value::String(live)), Value::String(wanted))
                    if quantity::is_one(parent, key) && quantity::is_same(live, wanted) =>
                {
                    return None;
                }
                (Some(live), wanted) => difference_below(key, live, wanted)?,
                (None, _) => String::new(),
            };
            Some(format!(".{key}{below}"))
        }),
        (Value::Array(live), Value::Array(wanted)) if live.len() == wanted.len() => {
            let mut pairs = live.iter().zip(wanted).enumerate();
            pairs.find_map(|(at, (live, wanted))| {
                Some(format!("[{at}]{}", difference_below(parent, live, wanted)?))
            })
        }
        _ => (live != wanted).then(String::new),
    }
}

/// Fields without a value: Rust's `None`, which to an apply would mean a field that is ours.
pub(super) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let set = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(set.map(|(key, value)| (key, without_nulls(value))).collect())
        }
        Value::Array(elements) => Value::Array(elements.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn found(live: &Value, wanted: &Value) -> String {
        difference(live, wanted).unwrap_or_else(|| "nothing".to_owned())
    }

    #[test]
    fn what_the_server_adds_is_no_difference() {
        let wanted = json!({ "spec": { "ports": [{ "port": 3306, "name": "mysql" }], "type": "ClusterIP" } });
        let live = json!({
            "metadata": { "uid": "1" },
            "spec": {
                "type": "ClusterIP",
                "clusterIP": "10.0.0.7",
                "ports": [{ "name": "mysql", "port": 3306, "protocol": "TCP", "targetPort": 3306 }],
            },
            "status": {},
        });
        assert_eq!(found(&live, &wanted), "nothing");
    }

    #[test]
    fn differences_are_found_and_named_without_values() {
        let wanted = json!({ "data": { "password": "abc" }, "list": [{ "a": 1 }, { "b": {} }] });
        for (live, path) in [
            (
                json!({ "data": { "password": "abd" }, "list": [{ "a": 1 }, { "b": {} }] }),
                ".data.password",
            ),
            (
                json!({ "data": {}, "list": [{ "a": 1 }, { "b": {} }] }),
                ".data.password",
            ),
            (json!({ "list": [{ "a": 1 }, { "b": {} }] }), ".data"),
            (
                json!({ "data": { "password": "abc" }, "list": [{ "a": 1 }] }),
                ".list",
            ),
            (
                json!({ "data": { "password": "abc" }, "list": [{ "a": 1 }, { "b": {} }, 3] }),
                ".list",
            ),
            (
                json!({ "data": { "password": "abc" }, "list": [{ "a": 1 }, {}] }),
                ".list[1].b",
            ),
            (
                json!({ "data": { "password": "abc" }, "list": [{ "a": "1" }, { "b": {} }] }),
                ".list[0].a",
            ),
            (json!({ "data": { "password": "abc" }, "list": {} }), ".list"),
            (json!(null), ""),
        ] {
            assert_eq!(found(&live, &wanted), path, "{live}");
        }
    }

    #[test]
    fn quantities_are_compared_as_amounts_where_they_are_quantities() {
        let of = |cpu: &str, memory: &str, data: &str| {
            let resources = json!({ "requests": { "cpu": cpu }, "limits": { "memory": memory } });
            json!({ "spec": { "containers": [{ "resources": resources }] }, "data": { "limits": data } })
        };
        let wanted = of("1000m", "1024Mi", "1000m");
        assert_eq!(found(&of("1", "1Gi", "1000m"), &wanted), "nothing");
        assert_eq!(found(&of("1", "1Gi", "1"), &wanted), ".data.limits");
        let path = ".spec.containers[0].resources.limits.memory";
        assert_eq!(found(&of("1", "1G", "1000m"), &wanted), path);
    }

    #[test]
    fn marks_tell_fields_apart_and_nothing_else() {
        let one = mark(&json!({ "a": 1, "b": { "c": ["x"] } }));
        assert_eq!(one.len(), 32);
        assert_eq!(one, mark(&json!({ "b": { "c": ["secret"] }, "a": true })));
        for other in [
            json!({ "a": 1, "b": { "c": ["x", "y"] } }),
            json!({ "a": 1, "b": { "c": [] } }),
            json!({ "a": 1, "b": { "d": ["x"] } }),
            json!({ "a": 1, "b": {}, "c": ["x"] }),
            json!({ "b": { "c": ["x"] } }),
            json!({ "a": {}, "b": { "c": ["x"] } }),
        ] {
            assert_ne!(one, mark(&other), "{other}");
        }
        assert_ne!(
            mark(&json!({ "a": { "b": 1 } })),
            mark(&json!({ "a": 1, "b": 1 }))
        );
        assert_ne!(mark(&json!({ "a.1:b": 1 })), mark(&json!({ "a": 1, "b": 1 })));
    }

    #[test]
    fn fields_without_a_value_are_none() {
        let value = json!({ "a": null, "b": [{ "c": null, "d": 1 }], "e": {} });
        assert_eq!(without_nulls(value), json!({ "b": [{ "d": 1 }], "e": {} }));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<bool>().prop_map(Value::from), (0..3).prop_map(Value::from)];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a-c]", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// What a server that merges maps and replaces lists would make of it.
    fn applied(live: Value, wanted: &Value) -> Value {
        match (live, wanted) {
            (Value::Object(mut live), Value::Object(wanted)) => {
                for (key, wanted) in wanted {
                    let below = live.remove(key).unwrap_or(Value::Null);
                    live.insert(key.clone(), applied(below, wanted));
                }
                Value::Object(live)
            }
            (Value::Array(live), Value::Array(wanted)) if live.len() == wanted.len() => {
                let pairs = live.into_iter().zip(wanted);
                pairs.map(|(live, wanted)| applied(live, wanted)).collect()
            }
            (_, wanted) => wanted.clone(),
        }
    }

    proptest! {
        #[test]
        fn no_difference_means_that_nothing_would_change(live in any_json(), wanted in any_json()) {
            let after = applied(live.clone(), &wanted);
            prop_assert_eq!(difference(&live, &wanted).is_none(), after == live);
            prop_assert_eq!(difference(&after, &wanted), None);
        }
    }
}
