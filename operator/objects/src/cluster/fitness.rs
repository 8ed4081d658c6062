//! Each field of a spec, checked for what the API's own rules cannot see or did not see once.
//! Must not repair: what cannot be is said, with what to change.
//!
//! Rules of the API are checked again where a wrong value would be unsafe: an object that was stored
//! before a rule was made stays as it is (ratcheting).

use std::collections::BTreeMap;

use crds::cluster::{MySQLClusterSpec, NAME_LIMIT, Placement, ServiceType};
use crds::parameters;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Published, ServerImage, Sizes, Unfit, affinity, refuse, words};
use crate::{names, quantity};

const INSTANCES_LIMIT: u16 = 9;
const OLDEST_SERIES: (u32, u32) = (8, 4);
const TOPOLOGY_KEY: &str = "kubernetes.io/hostname";
/// Annotations that are written by machines for themselves.
const RESERVED: &[&str] = &["mysql.holdfast.dev/", "kubectl.kubernetes.io/"];

pub(super) fn of_metadata(metadata: &ObjectMeta, faults: &mut Vec<Unfit>) {
    let name = metadata.name.as_deref().unwrap_or_default();
    let is_letter_first = name.starts_with(|letter: char| letter.is_ascii_lowercase());
    if name.len() > NAME_LIMIT || !words::is_dns_label(name) || !is_letter_first {
        let what = format!(
            "it must begin with a letter, hold only a-z, 0-9 and dashes, and have at most {NAME_LIMIT} \
             characters: make a new cluster under another name"
        );
        refuse(faults, "metadata.name", what);
    }
    let is_from_server = metadata.namespace.as_deref().is_some_and(words::is_dns_label)
        && metadata.uid.as_deref().is_some_and(|uid| !uid.is_empty());
    if !is_from_server {
        let what = "namespace and uid are missing: the object must come from an API server";
        refuse(faults, "metadata", what);
    }
}

pub(super) fn instances(spec: &MySQLClusterSpec, faults: &mut Vec<Unfit>) -> u16 {
    let wanted = u16::try_from(spec.instances).unwrap_or_default();
    if wanted % 2 == 0 || wanted > INSTANCES_LIMIT {
        let what = format!("it must be odd and at most {INSTANCES_LIMIT}");
        refuse(faults, "spec.instances", what);
    }
    wanted
}

pub(super) fn sync_replicas(spec: &MySQLClusterSpec, instances: u16, faults: &mut Vec<Unfit>) -> u16 {
    let half = instances.saturating_sub(1) / 2;
    let wanted = spec.replication.as_ref().and_then(|wanted| wanted.sync_replicas);
    let Some(wanted) = wanted else { return half };
    match u16::try_from(wanted) {
        Ok(wanted) if wanted >= 1 && wanted <= half => wanted,
        _ => {
            let what = format!("with {instances} instances it must be 1 to {half}: change either");
            refuse(faults, "spec.replication.syncReplicas", what);
            half
        }
    }
}

pub(super) fn image(spec: &MySQLClusterSpec, faults: &mut Vec<Unfit>) -> ServerImage {
    match (&spec.version, &spec.image) {
        (Some(version), None) => {
            if let Some(what) = unfit_version(version) {
                refuse(faults, "spec.version", what);
            }
            ServerImage::Version(version.clone())
        }
        (None, Some(image)) => {
            if !words::is_image(image) {
                refuse(
                    faults,
                    "spec.image",
                    format!("{image} is not the name of an image"),
                );
            }
            ServerImage::Exactly(image.clone())
        }
        (version, _) => {
            refuse(faults, "spec.version", "give either version or image");
            ServerImage::Version(version.clone().unwrap_or_default())
        }
    }
}

fn unfit_version(version: &str) -> Option<String> {
    let parts: Vec<Option<u32>> = version
        .split('.')
        .map(|part| {
            part.parse()
                .ok()
                .filter(|_| part.chars().all(|digit| digit.is_ascii_digit()))
        })
        .collect();
    match parts[..] {
        [Some(major), Some(minor)] | [Some(major), Some(minor), Some(_)]
            if (major, minor) >= OLDEST_SERIES =>
        {
            None
        }
        [Some(_), Some(_)] | [Some(_), Some(_), Some(_)] => {
            Some("8.4 is the oldest version that this operator can run".into())
        }
        _ => Some(format!("{version} is not a version such as 9.7 or 8.4.6")),
    }
}

pub(super) fn image_pull_secrets(spec: &MySQLClusterSpec, faults: &mut Vec<Unfit>) -> Vec<String> {
    let secrets = spec.image_pull_secrets.as_deref().unwrap_or_default();
    let names: Vec<_> = secrets.iter().map(|secret| secret.name.clone()).collect();
    for name in names.iter().filter(|name| !words::is_dns_subdomain(name)) {
        let what = format!("{name} cannot be the name of a Secret");
        refuse(faults, "spec.imagePullSecrets", what);
    }
    names
}

pub(super) fn of_storage_class(spec: &MySQLClusterSpec, faults: &mut Vec<Unfit>) {
    let Some(class) = &spec.storage.storage_class_name else {
        return;
    };
    if !words::is_dns_subdomain(class) {
        let what = format!("{class} cannot be the name of a StorageClass");
        refuse(faults, "spec.storage.storageClassName", what);
    }
}

pub(super) fn placement(spec: &MySQLClusterSpec, faults: &mut Vec<Unfit>) -> Placement {
    let placement = spec.placement.clone().unwrap_or_else(|| Placement {
        topology_key: TOPOLOGY_KEY.into(),
        node_selector: BTreeMap::new(),
        tolerations: None,
        affinity: None,
    });
    let key = &placement.topology_key;
    if !words::is_qualified_name(key) {
        let what = format!("{key} is not the key of a node label");
        refuse(faults, "spec.placement.topologyKey", what);
    }
    let selected = "spec.placement.nodeSelector";
    if spec.instances > 1 && placement.node_selector.contains_key(key) {
        let what = format!("it must not name {key}: all members would need the one place");
        refuse(faults, selected, what);
    }
    for (key, value) in &placement.node_selector {
        if !words::is_qualified_name(key) || !words::is_label_value(value) {
            refuse(
                faults,
                selected,
                format!("{key}: {value} cannot be a label of a node"),
            );
        }
    }
    for toleration in placement.tolerations.iter().flatten() {
        let is_key = toleration.key.as_deref().is_none_or(words::is_qualified_name);
        let is_value = toleration.value.as_deref().is_none_or(words::is_label_value);
        if !is_key || !is_value {
            let key = toleration.key.as_deref().unwrap_or_default();
            let what = format!("{key} with its value cannot be a taint of a node");
            refuse(faults, "spec.placement.tolerations", what);
        }
    }
    if let Some(wanted) = &placement.affinity {
        affinity::check(wanted, "spec.placement.affinity", faults);
    }
    placement
}

type Wanted = (ServiceType, BTreeMap<String, String>, i32);

pub(super) fn published(field: &str, wanted: Option<Wanted>, faults: &mut Vec<Unfit>) -> Published {
    let port = i32::from(names::PORT_MYSQL);
    let (kind, annotations, port) = wanted.unwrap_or_else(|| (ServiceType::default(), BTreeMap::new(), port));
    let port = u16::try_from(port).unwrap_or_default();
    if port == 0 {
        refuse(faults, format!("{field}.port"), "it must be 1 to 65535");
    }
    for key in annotations.keys() {
        // The API compares keys without regard to case.
        let key = key.to_ascii_lowercase();
        let is_reserved = RESERVED.iter().any(|prefix| key.starts_with(prefix));
        if is_reserved || !words::is_qualified_name(&key) {
            let what = format!("{key} cannot be the key of an annotation here");
            refuse(faults, format!("{field}.annotations"), what);
        }
    }
    Published {
        kind,
        annotations,
        port,
    }
}

pub(super) fn parameters(
    spec: &MySQLClusterSpec,
    sizes: &Sizes,
    faults: &mut Vec<Unfit>,
) -> BTreeMap<String, String> {
    let parameters = spec.mysql.clone().unwrap_or_default().parameters;
    for (key, value) in &parameters {
        let field = format!("spec.mysql.parameters.{key}");
        let is_name = key.chars().all(|letter| {
            letter.is_ascii_lowercase() || letter.is_ascii_digit() || matches!(letter, '_' | '.')
        });
        if !is_name || value.chars().any(char::is_control) {
            refuse(
                faults,
                field,
                "names are lower case with underscores, values one line",
            );
        } else if let Some(refusal) = parameters::refusal_of(key) {
            refuse(faults, field, format!("remove it: {}", refusal.reason));
        } else if key == BUFFER_POOL && mysql_bytes(value).is_some_and(|size| size >= sizes.memory_bytes) {
            let memory = quantity::bytes_text(sizes.memory_bytes);
            let what = format!(
                "{value} does not fit into a member's memory of {memory}: lower it or leave it out, or raise \
                 spec.resources.limits.memory"
            );
            refuse(faults, field, what);
        }
    }
    parameters
}

const BUFFER_POOL: &str = "innodb_buffer_pool_size";

/// As mysqld reads it: a number, in powers of 1024 by one letter. What it cannot read, it refuses
/// itself.
fn mysql_bytes(text: &str) -> Option<u64> {
    let power = text
        .chars()
        .last()
        .and_then(|last| "kmgtpe".find(last.to_ascii_lowercase()));
    let (digits, power) = match power {
        Some(at) => (&text[..text.len() - 1], u32::try_from(at).ok()? + 1),
        None => (text, 0),
    };
    let number: u64 = digits.parse().ok()?;
    Some(number.saturating_mul(1024_u64.checked_pow(power)?))
}
