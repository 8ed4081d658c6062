//! Links in prose that lead to files and headings of the repository.
//! Must not follow links to other hosts: a test that needs the net fails for others' reasons.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;

use crate::files::{File, Finding};

static LINK: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)|^\s*\[[^\]]+\]:\s*(\S+)").unwrap());

pub(crate) fn broken(files: &[File]) -> Vec<Finding> {
    let paths: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.ends_with(&[".md"])) {
        for (line, target) in links(&file.text) {
            if let Some(what) = problem(file, &target, files, &paths) {
                findings.push(file.finding(line, what));
            }
        }
    }
    findings
}

fn problem(file: &File, target: &str, files: &[File], paths: &BTreeSet<&str>) -> Option<String> {
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = if path.is_empty() {
        file.path.clone()
    } else {
        resolved(&file.path, path)?
    };
    let folder = format!("{}/", path.trim_end_matches('/'));
    let is_folder = path.is_empty() || paths.iter().any(|known| known.starts_with(&folder));
    if !is_folder && !paths.contains(path.as_str()) {
        return Some(format!("no such file: {target}"));
    }
    if anchor.is_empty() {
        return None;
    }
    let led_to = files
        .iter()
        .find(|known| known.path == path && known.ends_with(&[".md"]))?;
    (!anchors(&led_to.text).contains(anchor)).then(|| format!("no such heading: {target}"))
}

/// Relative to the folder of `from`; `None` if it leads to another host.
fn resolved(from: &str, path: &str) -> Option<String> {
    if path.contains("://") || path.starts_with("mailto:") {
        return None;
    }
    let mut parts: Vec<&str> = if path.starts_with('/') {
        Vec::new()
    } else {
        from.split('/').collect()
    };
    parts.pop();
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." && parts.pop().is_some() {
            continue;
        }
        parts.push(part);
    }
    Some(parts.join("/"))
}

/// Lines outside blocks of code, numbered from 1, without the code inside them.
fn prose(text: &str) -> impl Iterator<Item = (usize, String)> + '_ {
    static CODE: LazyLock<Regex> = LazyLock::new(|| Regex::new("`[^`]*`").unwrap());
    let mut in_code = false;
    text.lines().enumerate().filter_map(move |(at, line)| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        (!in_code && !is_fence).then(|| (at + 1, CODE.replace_all(line, "``").into_owned()))
    })
}

fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, line) in prose(text) {
        for captures in LINK.captures_iter(&line) {
            let target = captures.get(1).or_else(|| captures.get(2));
            found.extend(target.map(|target| (at, target.as_str().to_owned())));
        }
    }
    found
}

/// As hosts of repositories make them: lower case, dashes for spaces, marks dropped, repeats numbered.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut in_code = false;
    for line in text.lines() {
        in_code ^= line.trim_start().starts_with("```");
        let heading = line.trim_start_matches('#');
        if in_code || heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let kept = heading
            .trim()
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let slug: String = kept
            .flat_map(char::to_lowercase)
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let mut unique = slug.clone();
        let mut repeat = 1;
        while !found.insert(unique) {
            unique = format!("{slug}-{repeat}");
            repeat += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let files = [
            File::new("docs/a.md", text),
            File::new(
                "docs/b.md",
                "# The *one* title\n## Again\n## Again\n```\n# no heading\n```\n",
            ),
            File::new("src/lib.rs", ""),
        ];
        broken(&files).iter().map(Finding::to_string).collect()
    }

    #[test]
    fn broken_links_are_found() {
        for (text, what) in [
            ("see [c](c.md)\n", "docs/a.md:1: no such file: c.md"),
            (
                "\n[c](../src/main.rs \"title\")\n",
                "docs/a.md:2: no such file: ../src/main.rs",
            ),
            ("[c]: c.md\n", "docs/a.md:1: no such file: c.md"),
            (
                "[b](b.md#nothing)\n",
                "docs/a.md:1: no such heading: b.md#nothing",
            ),
            (
                "[b](b.md#no-heading)\n",
                "docs/a.md:1: no such heading: b.md#no-heading",
            ),
            ("# A\n[a](#b)\n", "docs/a.md:2: no such heading: #b"),
            ("![picture](a.png)\n", "docs/a.md:1: no such file: a.png"),
        ] {
            assert_eq!(found(text), [what], "{text}");
        }
    }

    #[test]
    fn good_links_pass() {
        for text in [
            "[b](b.md) [b](./b.md#the-one-title) [b](b.md#again-1)\n",
            "[code](../src/lib.rs) [folder](../src) [root](/src/lib.rs)\n",
            "[out](https://example.com/x#y) <mail> [m](mailto:a@example.com)\n",
            "`[not](a.link)`\n```\n[nor](this.one)\n```\n",
            "# A b\n[a](#a-b)\n",
        ] {
            assert_eq!(found(text), [""; 0], "{text}");
        }
    }
}
