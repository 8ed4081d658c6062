//! Programs of others that checks call, built from Go modules and kept under the hash of what went in.
//! Must not call them for anything.

use std::path::PathBuf;

use anyhow::Result;

use crate::cache::{self, Key};
use crate::images::log_file;
use crate::shell::cmd;
use crate::spec::checkout;

/// helm, of the version that its go.mod names.
pub fn helm() -> Result<PathBuf> {
    let checkout = checkout()?;
    let version = cmd("go", ["version"]).output()?;
    let key = Key::new("helm")
        .text(&version)
        .tree(&checkout, &["e2e/tools/helm"])?
        .finish();
    let (path, _) = cache::get("helm", &key, |out| {
        cmd(checkout.join("e2e/tools/helm/build.sh"), [out]).logged(&log_file("helm")?)
    })?;
    Ok(path)
}
