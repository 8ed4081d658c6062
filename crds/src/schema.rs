//! What the derived schemas lack: bounds of foreign types, the first status, no nulls.
//! Must not hold rules of one kind: those stand beside their fields.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
    ValidationRule,
};
use kube_core::{Message, Rule};
use schemars::generate::SchemaGenerator;
use schemars::{JsonSchema, Schema, json_schema};
use serde_json::{Value, json};

/// Bounds for the insides of Kubernetes' own types, which state none: far above any use.
const FOREIGN_STRING: i64 = 1024;
const FOREIGN_ITEMS: i64 = 32;

/// A derived definition, made fit for use, with the rules on the whole object.
pub(crate) fn finished(
    mut definition: CustomResourceDefinition,
    rules: Vec<Rule>,
) -> CustomResourceDefinition {
    let rules: Vec<_> = rules.into_iter().map(validation).collect();
    for version in &mut definition.spec.versions {
        let Some(root) = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut())
        else {
            continue;
        };
        without_nulls(root);
        root.x_kubernetes_validations = Some(rules.clone()).filter(|rules| !rules.is_empty());
        if let Some(status) = root
            .properties
            .as_mut()
            .and_then(|fields| fields.get_mut("status"))
        {
            // Without it an object that no operator has seen yet counts as ready (kstatus).
            status.default = Some(JSON(json!({ "observedGeneration": -1 })));
        }
    }
    definition
}

fn validation(rule: Rule) -> ValidationRule {
    let (message, message_expression) = match rule.message {
        Some(Message::Message(text)) => (Some(text), None),
        Some(Message::Expression(text)) => (None, Some(text)),
        None => (None, None),
    };
    ValidationRule {
        rule: rule.rule,
        message,
        message_expression,
        field_path: rule.field_path,
        optional_old_self: rule.optional_old_self,
        ..ValidationRule::default()
    }
}

/// `nullable` would keep a null that a person wrote; without it the server drops the null and
/// applies the default, and `has()` in a rule means what it says.
fn without_nulls(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    for field in schema
        .properties
        .iter_mut()
        .flat_map(|fields| fields.values_mut())
    {
        without_nulls(field);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        without_nulls(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        without_nulls(values);
    }
}

/// The schema of one of Kubernetes' own types, every string, list and map in it bounded.
pub(crate) fn bounded<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = T::json_schema(generator);
    if let Some(fields) = schema.as_object_mut() {
        for value in fields.values_mut() {
            bound_all(value, generator);
        }
    }
    schema
}

fn bound_all(value: &mut Value, generator: &mut SchemaGenerator) {
    inline(value, generator);
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| bound_all(value, generator)),
        Value::Object(fields) => {
            fields.values_mut().for_each(|value| bound_all(value, generator));
            let is = |kind: &str| fields.get("type").is_some_and(|found| *found == kind);
            if is("string") && !fields.contains_key("enum") {
                fields.entry("maxLength").or_insert(json!(FOREIGN_STRING));
            } else if is("array") {
                fields.entry("maxItems").or_insert(json!(FOREIGN_ITEMS));
                fields.entry("x-kubernetes-list-type").or_insert(json!("atomic"));
            } else if is("object") && fields.contains_key("additionalProperties") {
                fields.entry("maxProperties").or_insert(json!(FOREIGN_ITEMS));
            } else if is("integer") {
                fields.entry("minimum").or_insert(json!(i32::MIN));
                fields.entry("maximum").or_insert(json!(i32::MAX));
            }
        }
        _ => {}
    }
}

/// Replaces a reference by what it refers to.
fn inline(value: &mut Value, generator: &mut SchemaGenerator) {
    let Some(name) = value
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|path| path.rsplit('/').next())
    else {
        return;
    };
    if let Some(found) = generator.definitions().get(name) {
        *value = found.clone();
    }
}

/// `metav1.Condition` as Kubernetes bounds it.
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "What holds now, one entry a type; see the reference for types and reasons.",
        "type": "array",
        "maxItems": 16,
        "items": {
            "description": "One condition: a type, whether it holds, and why.",
            "type": "object",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": {
                    "description": "What is said: Ready, PrimaryAvailable, Redundant, Reconciling, Stalled or Suspended.",
                    "type": "string",
                    "maxLength": 64,
                    "pattern": "^[A-Z][A-Za-z]*$",
                },
                "status": {
                    "description": "True, False, or Unknown while it cannot be told.",
                    "type": "string",
                    "enum": ["True", "False", "Unknown"],
                },
                "reason": {
                    "description": "One word for programs: why the status is what it is.",
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 64,
                    "pattern": "^[A-Z][A-Za-z]*$",
                },
                "message": {
                    "description": "A sentence for people: what was seen, and what to do if something is to be done.",
                    "type": "string",
                    "maxLength": 32768,
                },
                "lastTransitionTime": {
                    "description": "When the status last changed.",
                    "type": "string",
                    "format": "date-time",
                },
                "observedGeneration": {
                    "description": "The metadata.generation that this was said about; an older one is out of date.",
                    "type": "integer",
                    "format": "int64",
                    "minimum": 0,
                },
            },
        },
    })
}
