//! The record of a cluster as a ConfigMap, and back.
//! Must not mend a record: what cannot be read is an error, never an empty one.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use serde::Deserialize;
use serde_json::Value;
use topology::record::Record;

use crate::cluster::Cluster;

pub const KEY: &str = "record";
/// What a ConfigMap may hold, less some room for its metadata.
pub const SIZE_LIMIT_BYTES: usize = 1_000_000;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to read the record: the ConfigMap has no key {KEY}")]
    Missing,
    #[error("failed to read the record")]
    Unreadable(#[source] serde_json::Error),
    #[error("failed to read the record: a newer program wrote {0}, and this one would forget it")]
    Newer(String),
    #[error("failed to write the record")]
    Unwritable(#[source] serde_json::Error),
    #[error("failed to write the record: it has {0} bytes, the limit is {SIZE_LIMIT_BYTES}")]
    TooLarge(usize),
}

/// Owned by the cluster. Written by compare-and-swap: the version that it replaces is for the writer
/// to set.
pub fn record(cluster: &Cluster, record: &Record) -> Result<ConfigMap, Error> {
    let text = serde_json::to_string(record).map_err(Error::Unwritable)?;
    if text.len() > SIZE_LIMIT_BYTES {
        return Err(Error::TooLarge(text.len()));
    }
    let mut metadata = cluster.metadata(cluster.record_name());
    metadata.owner_references = Some(vec![cluster.owner()]);
    Ok(ConfigMap {
        metadata,
        data: Some(BTreeMap::from([(KEY.to_owned(), text)])),
        ..ConfigMap::default()
    })
}

/// What this program does not know would be lost when it writes the record again: such a record is
/// left to the newer program that wrote it.
pub fn read_record(map: &ConfigMap) -> Result<Record, Error> {
    let text = map.data.as_ref().and_then(|data| data.get(KEY));
    let found: Value = serde_json::from_str(text.ok_or(Error::Missing)?).map_err(Error::Unreadable)?;
    let record = Record::deserialize(&found).map_err(Error::Unreadable)?;
    let kept = serde_json::to_value(&record).map_err(Error::Unwritable)?;
    match forgotten(&found, &kept) {
        Some(path) => Err(Error::Newer(path)),
        None => Ok(record),
    }
}

/// The first field that is not kept. One that was written as its default may be left out.
fn forgotten(found: &Value, kept: &Value) -> Option<String> {
    let (Value::Object(found), Value::Object(kept)) = (found, kept) else {
        return None;
    };
    let is_default = |value: &Value| matches!(value, Value::Null | Value::Bool(false));
    found
        .iter()
        .filter(|(_, value)| !is_default(value))
        .find_map(|(key, value)| match kept.get(key) {
            Some(kept) => forgotten(value, kept).map(|path| format!("{key}.{path}")),
            None => Some(key.clone()),
        })
}
