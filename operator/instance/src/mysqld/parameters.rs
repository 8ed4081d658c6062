//! The user's parameters: tried by mysqld before they are used, and the last good ones kept.
//! Must not let a parameter that mysqld refuses keep a member down that ran without it.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::child::{self, Reaper};
use super::config::{self, Input};
use super::error_log::first_error;
use super::program::Program;
use crate::options::{Paths, text};
use crate::volume;

pub(crate) type Parameters = BTreeMap<String, String>;

const ACCEPTED_LIMIT_BYTES: u64 = 1 << 20;
const VALIDATE_LIMIT: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("failed to keep the configuration")]
    Volume(#[from] volume::Error),
    #[error("failed to have the configuration checked")]
    Check(#[from] child::Error),
    #[error("failed to write the parameters as text")]
    Text(#[source] serde_json::Error),
    /// In mysqld's own words.
    #[error("{0}")]
    Refused(String),
}

impl From<config::Error> for Error {
    fn from(error: config::Error) -> Self {
        Error::Refused(error.to_string())
    }
}

/// Those that mysqld accepted last on this volume.
pub(crate) fn accepted(paths: &Paths) -> Option<Parameters> {
    let bytes = volume::read(&paths.accepted, ACCEPTED_LIMIT_BYTES).ok()??;
    serde_json::from_slice(&bytes).ok()
}

/// Has mysqld read the file with these parameters; if it likes them they are kept as the last good.
pub(crate) async fn accept(
    input: &Input<'_>,
    parameters: &Parameters,
    program: &Program,
    reaper: &Reaper,
) -> Result<(), Error> {
    let paths = input.paths;
    let file = config::render(input, parameters)?;
    volume::write(&paths.candidate, file.as_bytes())?;
    let mut command = Command::new(&program.path);
    command
        .arg(format!("--defaults-file={}", text(&paths.candidate)))
        .arg("--validate-config")
        .stdin(Stdio::null());
    let ended = child::output(command, reaper, VALIDATE_LIMIT).await?;
    if !ended.exit.is_success() {
        let why = first_error(&ended.text).unwrap_or_else(|| ended.exit.to_string());
        return Err(Error::Refused(why));
    }
    let text = serde_json::to_vec_pretty(parameters).map_err(Error::Text)?;
    volume::write(&paths.accepted, &text)?;
    Ok(())
}

/// Writes the file that mysqld is started with.
pub(crate) fn write(input: &Input<'_>, parameters: &Parameters) -> Result<(), Error> {
    let file = config::render(input, parameters)?;
    Ok(volume::write(&input.paths.config, file.as_bytes())?)
}

/// Which differ, and what each is now; `None` is mysqld's own default.
pub(crate) fn changed(old: &Parameters, new: &Parameters) -> BTreeMap<String, Option<String>> {
    let gone = old.keys().filter(|name| !new.contains_key(*name));
    let gone = gone.map(|name| (name.clone(), None));
    let other = new.iter().filter(|(name, value)| old.get(*name) != Some(*value));
    let other = other.map(|(name, value)| (name.clone(), Some(value.clone())));
    gone.chain(other).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_named_with_its_new_value() {
        let of = |pairs: &[(&str, &str)]| -> Parameters {
            let pairs = pairs.iter();
            pairs.map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
        };
        let old = of(&[("a", "1"), ("b", "2"), ("c", "3")]);
        let new = of(&[("a", "1"), ("b", "9"), ("d", "4")]);
        let changed = changed(&old, &new);
        let wanted: BTreeMap<String, Option<String>> = [
            ("b".to_owned(), Some("9".to_owned())),
            ("c".to_owned(), None),
            ("d".to_owned(), Some("4".to_owned())),
        ]
        .into();
        assert_eq!(changed, wanted);
    }
}
