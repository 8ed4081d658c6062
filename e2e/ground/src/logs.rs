//! Finds and shows the logs of units and pods, from disk, whether or not anything runs.
//! Must not interpret them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::ground::Ground;
use crate::shell::cmd;
use crate::spec::Unit;

/// Every log of a ground as `UNIT NAME`, those of pods as `UNIT pods/…`.
pub fn list(ground: &Ground) -> Result<Vec<String>> {
    let mut rows = Vec::new();
    for unit in ground.spec().units() {
        let root = ground.paths.logs(unit);
        for file in files(&root)? {
            let name = file.strip_prefix(&root).unwrap_or(&file).with_extension("");
            rows.push(format!("{} {}", unit.name(), name.display()));
        }
    }
    Ok(rows)
}

/// Shows one log on the terminal, and goes on as it grows if asked.
pub fn show(ground: &Ground, unit: Unit, name: &str, follow: bool) -> Result<i32> {
    let file = ground.paths.logs(unit).join(format!("{name}.log"));
    if !file.exists() {
        bail!(
            "{} has no log {name:?}: `cargo ground logs` lists all",
            unit.name()
        );
    }
    let options: &[&str] = if follow {
        &["--lines=50", "--follow=name"]
    } else {
        &["--lines=+1"]
    };
    cmd("tail", options).args([file]).attached()
}

fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry?.path();
            // Under log/containers the kubelet keeps links to what is under log/pods.
            if path.is_dir() && !path.ends_with("containers") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "log") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
