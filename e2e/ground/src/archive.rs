//! Writes a container image of one layer as a docker archive.
//! Must not know what is in the layer.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use crate::cache::{sha256, sha256_file};

/// How an image starts.
pub struct Image<'a> {
    /// Its name and tag.
    pub name: &'a str,
    /// The program and its first arguments.
    pub entrypoint: &'a [&'a str],
    /// `uid:gid`.
    pub user: &'a str,
}

/// Writes the archive at `out` from a layer that is a plain tar file.
pub fn write(image: &Image<'_>, layer: &Path, out: &Path) -> Result<()> {
    let diff_id = sha256_file(layer)?;
    let config = config(image, &diff_id).to_string();
    let config_name = format!("{}.json", sha256(config.as_bytes()));
    let layer_name = format!("{diff_id}.tar");
    let manifest =
        json!([{"Config": config_name, "RepoTags": [image.name], "Layers": [layer_name]}]).to_string();
    let file = File::create(out).with_context(|| format!("failed to create {}", out.display()))?;
    let mut archive = Builder::new(file);
    append(&mut archive, "manifest.json", manifest.as_bytes())?;
    append(&mut archive, &config_name, config.as_bytes())?;
    archive
        .append_path_with_name(layer, &layer_name)
        .context("failed to add the layer")?;
    archive.finish().context("failed to finish the image archive")
}

/// Writes a layer that holds one program.
pub fn layer_of_program(program: &Path, name: &str, out: &Path) -> Result<()> {
    let content = std::fs::read(program).with_context(|| format!("failed to read {}", program.display()))?;
    let mut layer = Builder::new(File::create(out)?);
    let mut header = header(content.len() as u64, 0o755);
    header.set_entry_type(EntryType::Regular);
    layer.append_data(&mut header, name, content.as_slice())?;
    layer.finish().context("failed to finish the layer")
}

fn config(image: &Image<'_>, diff_id: &str) -> Value {
    json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "User": image.user,
            "Entrypoint": image.entrypoint,
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{diff_id}")]},
    })
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn append(archive: &mut Builder<File>, name: &str, content: &[u8]) -> Result<()> {
    archive
        .append_data(&mut header(content.len() as u64, 0o644), name, content)
        .with_context(|| format!("failed to add {name}"))
}

fn header(size: u64, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_size(size);
    header.set_mode(mode);
    header.set_mtime(0);
    header
}
