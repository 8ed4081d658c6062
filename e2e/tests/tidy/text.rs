//! Rules on plain text: length, whitespace, words.
//! Must not parse a language.

use std::sync::LazyLock;

use regex::Regex;

use crate::files::{File, Finding};

const LINES_LIMIT: usize = 500;

pub(crate) fn too_long(file: &File) -> Vec<Finding> {
    if !file.ends_with(&[".rs", ".go", ".sh", ".md"]) || file.is_generated() {
        return Vec::new();
    }
    let lines = if file.ends_with(&[".md"]) {
        prose_lines(&file.text)
    } else {
        file.text.lines().count()
    };
    if lines <= LINES_LIMIT {
        return Vec::new();
    }
    vec![file.finding(lines, format!("{lines} lines, the limit is {LINES_LIMIT}"))]
}

/// Blocks of code in prose may be as long as what they show.
fn prose_lines(text: &str) -> usize {
    let mut in_code = false;
    let prose = text.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        !in_code && !is_fence
    });
    prose.count()
}

pub(crate) fn untidy_lines(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    // What a snapshot or a list of a server's options holds is what the program said.
    if file.is_generated() {
        return findings;
    }
    for (at, line) in file.text.lines().enumerate() {
        if line.ends_with([' ', '\t', '\r']) {
            findings.push(file.finding(at + 1, "whitespace at the end"));
        }
        if file.ends_with(&[".rs"]) && line.contains('\t') {
            findings.push(file.finding(at + 1, "a tab"));
        }
    }
    if !file.text.is_empty() && !file.text.ends_with('\n') {
        findings.push(file.finding(0, "no newline at the end"));
    }
    findings
}

/// Where the words that MySQL gave up must still be written, since a server of some version has them.
const OLD_WORDS_ALLOWED: &[(&str, &str)] = &[
    ("crds/src/parameters.rs", "refuses the old names of options"),
    ("crds/tests/", "old names of options, refused or listed"),
    ("crds/yaml/", "the same, generated"),
    ("docs/", "explains which statements which version removed"),
    ("e2e/checker/tests/", "starts servers and reads what they print"),
    (
        "e2e/ground/kube/internal/pki/",
        "a group of Kubernetes is called so",
    ),
    ("e2e/ground/src/control_plane.rs", "the same group"),
    ("e2e/ground/src/network.rs", "an option of `ip link`"),
    ("e2e/tests/tidy/", "this rule, and statements of old servers"),
    ("operator/sql/", "the table of versions"),
];

pub(crate) fn wrong_words(file: &File) -> Vec<Finding> {
    static OLD: LazyLock<Regex> =
        LazyLock::new(|| Regex::new("(?i)(^|[^a-z])(master|slave)s?($|[^a-z])").unwrap());
    if OLD_WORDS_ALLOWED
        .iter()
        .any(|(path, _)| file.path.starts_with(path))
        || file.is_generated()
    {
        return Vec::new();
    }
    let lines = file
        .text
        .lines()
        .enumerate()
        .filter(|(_, line)| OLD.is_match(line));
    lines
        .map(|(at, _)| file.finding(at + 1, "say primary or replica"))
        .collect()
}

/// A folder that exists on one machine only, in front of something in it.
pub(crate) fn machine_paths(file: &File) -> Vec<Finding> {
    static HERE: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(concat!(
            "(^|[^A-Za-z0-9_.}/-])/(wo",
            "rk|ro",
            "ot|ho",
            "me/[a-z]+)/"
        ))
        .unwrap()
    });
    let lines = file
        .text
        .lines()
        .enumerate()
        .filter(|(_, line)| HERE.is_match(line));
    lines
        .map(|(at, _)| file.finding(at + 1, "a path of one machine"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::found;

    #[test]
    fn a_file_over_the_limit_is_found() {
        let long = "line\n".repeat(501);
        assert_eq!(
            found(too_long, "a.rs", &long),
            ["a.rs:501: 501 lines, the limit is 500"]
        );
        assert_eq!(found(too_long, "a.go", &long).len(), 1);
        assert_eq!(found(too_long, "a.md", &long).len(), 1);
        assert!(found(too_long, "a.rs", &"line\n".repeat(500)).is_empty());
        assert!(found(too_long, "Cargo.lock", &long).is_empty());
        assert!(found(too_long, "a.md", &format!("# a\n```\n{long}```\n")).is_empty());
    }

    #[test]
    fn untidy_lines_are_found() {
        assert_eq!(
            found(untidy_lines, "a.md", "a \nb\n"),
            ["a.md:1: whitespace at the end"]
        );
        assert_eq!(
            found(untidy_lines, "a.yaml", "a\nb\t\n"),
            ["a.yaml:2: whitespace at the end"]
        );
        assert_eq!(found(untidy_lines, "a.rs", "\tb\n"), ["a.rs:1: a tab"]);
        assert!(found(untidy_lines, "a.go", "\tb\n").is_empty());
        assert_eq!(
            found(untidy_lines, "a.rs", "a"),
            ["a.rs:0: no newline at the end"]
        );
        // `lines` takes a carriage return away with the newline.
        assert_eq!(
            found(untidy_lines, "a.rs", "a\r\r\n"),
            ["a.rs:1: whitespace at the end"]
        );
    }

    #[test]
    fn old_words_are_found() {
        assert_eq!(
            found(wrong_words, "a.md", "the Master\n"),
            ["a.md:1: say primary or replica"]
        );
        assert_eq!(
            found(wrong_words, "a.rs", "\nlet slave_count = 1;\n"),
            ["a.rs:2: say primary or replica"]
        );
        assert!(found(wrong_words, "a.md", "to have mastered the remastering\n").is_empty());
        assert!(found(wrong_words, "operator/sql/src/version.rs", "SHOW SLAVE STATUS\n").is_empty());
    }

    #[test]
    fn paths_of_a_machine_are_found() {
        for line in [
            concat!("cd /wo", "rk/x"),
            concat!("see \"/ro", "ot/x\""),
            concat!("/ho", "me/ann/x"),
        ] {
            assert_eq!(
                found(machine_paths, "a.sh", line),
                ["a.sh:1: a path of one machine"],
                "{line}"
            );
        }
        for line in [
            "target/work/x",
            "https://example.com/work/x",
            "${dir}/root/x",
            "/var/lib/x",
            "/rootfs/x",
        ] {
            assert!(found(machine_paths, "a.sh", line).is_empty(), "{line}");
        }
    }
}
