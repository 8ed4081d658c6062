//! A short digest of what a Pod was made from: equal means that it need not be replaced.
//! Must not depend on what others put into a live Pod: the digest is of what we would make.

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::names::{ANNOTATION_TEMPLATE, LABEL_ROLE, PORT_NAME_REPLICATION};

const DIGEST_BYTES: usize = 8;

/// Of the spec, the labels and the annotations, but not the role, which changes, nor the digest
/// itself. The operator's image is part of the spec: a new operator replaces members, one by one.
pub fn template_hash(pod: &Pod) -> String {
    let mut digest = Sha256::new();
    // What cannot be told as JSON has no digest of its own, which no Pod of ours is.
    let spec = serde_json::to_value(&pod.spec).unwrap_or_default();
    trace(&spec, &mut digest);
    for pairs in [&pod.metadata.labels, &pod.metadata.annotations] {
        let pairs = pairs.iter().flatten();
        let kept = pairs.filter(|(key, _)| *key != LABEL_ROLE && *key != ANNOTATION_TEMPLATE);
        for (key, value) in kept {
            word(key, &mut digest);
            word(value, &mut digest);
        }
        digest.update(";");
    }
    let bytes = digest.finalize();
    bytes[..DIGEST_BYTES]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Where others follow its mysqld, if it was made with a port for that.
pub fn replication_port(pod: &Pod) -> Option<u16> {
    let containers = &pod.spec.as_ref()?.containers;
    let mut ports = containers
        .iter()
        .filter_map(|container| container.ports.as_ref())
        .flatten();
    let port = ports.find(|port| port.name.as_deref() == Some(PORT_NAME_REPLICATION))?;
    u16::try_from(port.container_port).ok()
}

/// What a live Pod says that it was made from.
pub fn template_of(pod: &Pod) -> Option<&str> {
    let annotations = pod.metadata.annotations.as_ref()?;
    annotations.get(ANNOTATION_TEMPLATE).map(String::as_str)
}

/// Whatever the order of keys in memory; with lengths, so that no two values read the same.
fn trace(value: &Value, digest: &mut Sha256) {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().filter(|(_, value)| !value.is_null()).collect();
            fields.sort_by_key(|(key, _)| *key);
            digest.update("{");
            for (key, value) in fields {
                word(key, digest);
                trace(value, digest);
            }
            digest.update("}");
        }
        Value::Array(elements) => {
            digest.update("[");
            elements.iter().for_each(|element| trace(element, digest));
            digest.update("]");
        }
        Value::String(text) => word(text, digest),
        other => {
            digest.update("=");
            word(&other.to_string(), digest);
        }
    }
}

fn word(text: &str, digest: &mut Sha256) {
    digest.update(format!("{}:{text}", text.len()));
}
