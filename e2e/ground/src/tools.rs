//! Programs of others that checks call, built from Go modules or taken from packages of Debian, and kept.
//! Must not call them for anything.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

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

/// promtool, of Debian's package of Prometheus, which is unpacked and not installed: that would run a server.
pub fn promtool() -> Result<PathBuf> {
    const PACKAGE: &str = "prometheus";
    let release = fs::read_to_string("/etc/os-release").context("failed to read which system this is")?;
    let key = Key::new("promtool").text(&release).finish();
    let (path, _) = cache::get("promtool", &key, |out| {
        fs::create_dir_all(out)?;
        let download = |log: &str| {
            cmd("apt-get", ["download", PACKAGE])
                .dir(out)
                .logged(&log_file(log)?)
        };
        if download("promtool").is_err() {
            // What is known of packages may be old, or nothing.
            cmd("apt-get", ["update"]).logged(&log_file("packages")?)?;
            download("promtool")?;
        }
        let package = package_in(out)?;
        let place = out.to_path_buf();
        cmd(
            "dpkg-deb",
            ["--extract".as_ref(), package.as_os_str(), place.as_os_str()],
        )
        .run()?;
        fs::remove_file(&package).context("failed to remove the package")
    })?;
    Ok(path.join("usr/bin/promtool"))
}

fn package_in(folder: &Path) -> Result<PathBuf> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            return Ok(path);
        }
    }
    anyhow::bail!("apt-get downloaded no package")
}
