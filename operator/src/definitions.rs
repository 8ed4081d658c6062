//! The custom resource definitions as YAML, printed or written to files.
//! Must not change them: what is printed is what the crate `crds` defines.

use std::path::{Path, PathBuf};
use std::{fs, io};

use kit::yaml;
use serde_json::Value;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to write the definitions as text")]
    Yaml(#[from] yaml::Error),
    #[error("failed to write the definitions as JSON")]
    Json(#[source] serde_json::Error),
    #[error("failed to write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// Kubernetes' schema type holds its bounds as floats; the server answers with integers, and tools
/// that compare texts would see a difference for ever.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            let whole = number
                .as_f64()
                .filter(|_| number.is_f64())
                .filter(|float| float.fract() == 0.0);
            if let Some(float) = whole {
                *number = (float as i64).into();
            }
        }
        Value::Array(values) => values.iter_mut().for_each(whole_numbers),
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// File names and their contents, one a kind.
pub fn files() -> Result<Vec<(String, String)>, Error> {
    let mut files = Vec::new();
    for definition in crds::definitions() {
        let name = definition.metadata.name.clone().unwrap_or_default();
        let mut value = serde_json::to_value(&definition).map_err(Error::Json)?;
        whole_numbers(&mut value);
        files.push((format!("{name}.yaml"), yaml::to_string(&value)?));
    }
    Ok(files)
}

/// All of them as one stream of documents, for `kubectl apply -f -`.
pub fn stream() -> Result<String, Error> {
    Ok(files()?
        .into_iter()
        .map(|(_, text)| format!("---\n{text}"))
        .collect())
}

/// Refreshes a folder that holds one file a kind.
pub fn write(folder: &Path) -> Result<(), Error> {
    for (name, text) in files()? {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|source| Error::Write { path, source })?;
    }
    Ok(())
}
