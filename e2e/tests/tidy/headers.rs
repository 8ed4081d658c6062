//! Each source file begins by saying what it owns and what it must not do.
//! Must not judge whether that is true.

use crate::files::{File, Finding};

/// Go tests are exempt: they belong to the file they test. Rust tests are files of their own.
pub(crate) fn missing(file: &File) -> Vec<Finding> {
    let lines: Vec<&str> = if file.ends_with(&[".rs"]) {
        file.text
            .lines()
            .map_while(|line| line.strip_prefix("//!"))
            .collect()
    } else if file.ends_with(&[".go"]) && !file.ends_with(&["_test.go"]) {
        let before_package = file.text.lines().take_while(|line| !line.starts_with("package "));
        before_package
            .filter(|line| !line.starts_with("//go:"))
            .filter_map(|line| line.strip_prefix("//"))
            .collect()
    } else {
        return Vec::new();
    };
    let says_more = lines.first().is_some_and(|first| first.trim().len() > 1);
    let limits = lines
        .iter()
        .any(|line| line.to_ascii_lowercase().contains("must not"));
    match (says_more, lines.len() >= 2, limits) {
        (true, true, true) => Vec::new(),
        (true, true, false) => vec![file.finding(1, "the header does not say what the module must not do")],
        _ => vec![file.finding(1, "no header of two lines: what it owns, what it must not do")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::found;

    #[test]
    fn files_without_a_header_are_found() {
        let none = "no header of two lines: what it owns, what it must not do";
        assert_eq!(found(missing, "a.rs", "fn a() {}\n"), [format!("a.rs:1: {none}")]);
        assert_eq!(
            found(missing, "a.rs", "//! Owns a.\nfn a() {}\n"),
            [format!("a.rs:1: {none}")]
        );
        assert_eq!(
            found(missing, "a.rs", "//!\n//! Must not b.\n"),
            [format!("a.rs:1: {none}")]
        );
        assert_eq!(
            found(missing, "a.go", "package a\n// Owns a.\n// Must not b.\n"),
            [format!("a.go:1: {none}")]
        );
        assert_eq!(
            found(missing, "a.go", "//go:build linux\n\n// Owns a.\npackage a\n").len(),
            1
        );
        let unlimited = "a.rs:1: the header does not say what the module must not do";
        assert_eq!(found(missing, "a.rs", "//! Owns a.\n//! And b.\n"), [unlimited]);
    }

    #[test]
    fn headers_and_other_files_pass() {
        assert!(found(missing, "a.rs", "//! Owns a.\n//! Must not b.\n").is_empty());
        assert!(
            found(
                missing,
                "a.go",
                "// Package a owns a.\n// It must not b.\npackage a\n"
            )
            .is_empty()
        );
        assert!(found(missing, "a_test.go", "package a\n").is_empty());
        assert!(found(missing, "a.sh", "true\n").is_empty());
    }
}
