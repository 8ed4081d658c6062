//! The files of the repository, and findings about them.
//! Must not judge.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A text file. Its path is relative to the repository, with slashes.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.into(),
            text: text.into(),
        }
    }

    pub(crate) fn ends_with(&self, suffixes: &[&str]) -> bool {
        suffixes.iter().any(|suffix| self.path.ends_with(suffix))
    }

    /// Written by a program or copied from one: no person keeps it tidy.
    pub(crate) fn is_generated(&self) -> bool {
        self.path.starts_with("crds/yaml/")
            || self.path.starts_with("charts/holdfast-crds/templates/")
            || ["manifests/install.yaml", "manifests/ground.yaml"].contains(&self.path.as_str())
            || self.path == "crds/tests/mysqld-9.7.4-options.txt"
            || self.ends_with(&["Cargo.lock", "go.sum", ".snap"])
    }

    /// The first finding is on line 1; line 0 means the file as a whole.
    pub(crate) fn finding(&self, line: usize, what: impl Into<String>) -> Finding {
        Finding {
            path: self.path.clone(),
            line,
            what: what.into(),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All text files that git tracks or would track.
pub(crate) fn repository() -> &'static [File] {
    static FILES: OnceLock<Vec<File>> = OnceLock::new();
    FILES.get_or_init(|| {
        let listed = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root())
            .output()
            .unwrap();
        assert!(
            listed.status.success(),
            "{}",
            String::from_utf8_lossy(&listed.stderr)
        );
        let paths = String::from_utf8(listed.stdout).unwrap();
        let mut files = Vec::new();
        for path in paths.split('\0').filter(|path| !path.is_empty()) {
            // Listed but gone: removed in the work tree and not yet in the index.
            let Ok(bytes) = std::fs::read(root().join(path)) else {
                continue;
            };
            if let Ok(text) = String::from_utf8(bytes) {
                files.push(File::new(path, &text));
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files.dedup_by(|a, b| a.path == b.path);
        files
    })
}

/// What a rule finds in one bad example.
#[cfg(test)]
pub(crate) fn found(rule: impl Fn(&File) -> Vec<Finding>, path: &str, text: &str) -> Vec<String> {
    rule(&File::new(path, text))
        .iter()
        .map(Finding::to_string)
        .collect()
}
