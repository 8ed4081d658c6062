//! Things built once and kept under the hash of what went in.
//! Must not know how anything is built; a half-built thing is never found here.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest as _, Sha256};

use crate::shell::words;
use crate::spec::cache_root;

/// Hashes what goes into a build.
#[derive(Default)]
pub struct Key(Sha256);

impl Key {
    /// A key that starts with what is being built.
    pub fn new(what: &str) -> Self {
        Self::default().text(what)
    }

    /// Adds a text.
    pub fn text(mut self, text: &str) -> Self {
        self.0.update((text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
        self
    }

    /// Adds a file's content.
    pub fn file(mut self, path: &Path) -> Result<Self> {
        let content = fs::read(path).with_context(|| format!("failed to read {}", path.display()))?;
        self.0.update((content.len() as u64).to_le_bytes());
        self.0.update(&content);
        Ok(self)
    }

    /// Adds every file below these paths that git knows or would add.
    pub fn tree(mut self, checkout: &Path, below: &[&str]) -> Result<Self> {
        let listed = words("git ls-files --cached --others --exclude-standard --")
            .args(below)
            .dir(checkout)
            .output()
            .context("failed to list the files of the checkout")?;
        let mut names: Vec<&str> = listed.lines().collect();
        names.sort_unstable();
        for name in names {
            let path = checkout.join(name);
            if path.is_file() {
                self = self.text(name).file(&path)?;
            }
        }
        Ok(self)
    }

    /// The key, short enough for a file name.
    pub fn finish(self) -> String {
        hex(&self.0.finalize())[..16].to_owned()
    }
}

/// The place `KIND/KEY`; built by `make` at a temporary path first, unless it is there.
///
/// Gives the place and whether it had to be built.
pub fn get(kind: &str, key: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<(PathBuf, bool)> {
    let place = cache_root().join(kind).join(key);
    if place.exists() {
        return Ok((place, false));
    }
    let partial = cache_root()
        .join("partial")
        .join(format!("{kind}-{key}-{}", std::process::id()));
    fs::create_dir_all(place.parent().context("a place has a parent")?)?;
    fs::create_dir_all(partial.parent().context("a place has a parent")?)?;
    remove(&partial)?;
    make(&partial).with_context(|| format!("failed to build {kind}"))?;
    match fs::rename(&partial, &place) {
        Ok(()) => {}
        // Another ground built the same thing meanwhile: both are equal.
        Err(_) if place.exists() => remove(&partial)?,
        Err(error) => return Err(error).with_context(|| format!("failed to keep {}", place.display())),
    }
    Ok((place, true))
}

/// Drops what killed runs left half-built.
pub fn sweep_partial() -> Result<()> {
    let Ok(entries) = fs::read_dir(cache_root().join("partial")) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry?.path();
        let owner = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.rsplit('-').next());
        let alive = owner.is_some_and(|pid| Path::new("/proc").join(pid).exists());
        if !alive {
            // A killed build may have mounted parts of the machine in there.
            crate::down::unmount_below(&path)?;
            remove(&path)?;
        }
    }
    Ok(())
}

/// Removes a file or a folder, if it is there.
pub fn remove(path: &Path) -> Result<()> {
    let result = if path.is_dir() && !path.is_symlink() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("failed to remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// The SHA-256 of a file, as image manifests write it.
pub fn sha256_file(path: &Path) -> Result<String> {
    let mut file = fs::File::open(path).with_context(|| format!("failed to open {}", path.display()))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(&buffer[..read]);
    }
}

/// The SHA-256 of bytes.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_depends_on_every_input_and_its_borders() {
        let key = |parts: &[&str]| {
            parts
                .iter()
                .fold(Key::new("x"), |key, part| key.text(part))
                .finish()
        };
        assert_eq!(key(&["ab", "c"]), key(&["ab", "c"]));
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_ne!(key(&["ab"]), key(&["ab", ""]));
    }
}
