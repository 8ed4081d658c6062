//! A script as text: what it is about, a cluster, steps, and what is decided after each.
//! Must not know what a fault does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a script says before its first step, in this order in the file.
const KEYS: &[&str] = &[
    "row", "fault", "expected", "below", "story", "agent", "gap", "see", "do", "cluster",
];
/// Without these a row of the page would have a hole.
const NEEDED: &[&str] = &["row", "fault", "expected", "see", "do", "cluster"];

pub(crate) struct Script {
    pub(crate) path: PathBuf,
    pub(crate) title: String,
    fields: BTreeMap<&'static str, Vec<String>>,
    pub(crate) steps: Vec<Step>,
}

/// A line that does something, and the lines below it that say what comes of it.
pub(crate) struct Step {
    pub(crate) line: String,
    pub(crate) expected: String,
}

impl Script {
    pub(crate) fn parse(path: &Path, text: &str) -> Self {
        let name = path.display();
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let title = lines.next().unwrap_or_default().to_owned();
        let mut script = Self {
            path: path.to_owned(),
            title,
            fields: BTreeMap::new(),
            steps: Vec::new(),
        };
        for line in lines {
            if let Some(expected) = line.strip_prefix("  ") {
                let step = script.steps.last_mut();
                let step = step.unwrap_or_else(|| panic!("{name}: before the first step: {line}"));
                step.expected.push_str(expected);
                step.expected.push('\n');
            } else if line.starts_with("when ") || line.starts_with("for ") {
                script.steps.push(Step {
                    line: line.to_owned(),
                    expected: String::new(),
                });
            } else {
                let (key, value) = line.split_once(": ").unwrap_or((line, ""));
                let key = KEYS.iter().find(|known| **known == key);
                let key = key.unwrap_or_else(|| panic!("{name}: neither a field nor a step: {line}"));
                assert!(script.steps.is_empty(), "{name}: after the first step: {line}");
                script.fields.entry(key).or_default().push(value.to_owned());
            }
        }
        for key in NEEDED {
            assert!(script.fields.contains_key(key), "{name}: says nothing of {key}");
        }
        script
    }

    /// All lines of one key.
    pub(crate) fn all(&self, key: &str) -> &[String] {
        self.fields.get(key).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn one(&self, key: &str) -> &str {
        self.all(key).first().map_or("", String::as_str)
    }

    pub(crate) fn row(&self) -> u32 {
        let row = self.one("row");
        row.parse()
            .unwrap_or_else(|_| panic!("{}: no row: {row}", self.path.display()))
    }

    /// The script as it would stand in its file, with what is decided now.
    pub(crate) fn text(&self, cluster: &str, told: &[String]) -> String {
        let mut text = format!("{}\n\n", self.title);
        for key in KEYS {
            for value in self.all(key) {
                let value = if *key == "cluster" { cluster } else { value };
                text.push_str(&format!("{key}: {value}\n"));
            }
        }
        for (step, told) in self.steps.iter().zip(told) {
            let is_told = !told.is_empty();
            text.push_str(&format!("\n{}\n", step.line));
            for line in told.lines().filter(|_| is_told) {
                text.push_str(&format!("  {line}\n"));
            }
        }
        text
    }
}

/// All scripts, in the order of their file names.
pub(crate) fn all() -> Vec<Script> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rows");
    let entries = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let is_script = |path: &PathBuf| {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        name.ends_with(".txt") && name.starts_with(|first: char| first.is_ascii_digit())
    };
    let mut paths: Vec<PathBuf> = entries.filter(is_script).collect();
    paths.sort();
    let read = |path: PathBuf| Script::parse(&path, &std::fs::read_to_string(&path).unwrap());
    paths.into_iter().map(read).collect()
}

/// Whether what is found now is to be written down instead of compared.
pub(crate) fn is_accepted() -> bool {
    std::env::var("HOLDFAST_ACCEPT").is_ok_and(|value| value == "1")
}

/// Compares with the file, or writes it; the difference, if there is one.
pub(crate) fn settle(path: &Path, now: &str) -> Option<String> {
    let before = std::fs::read_to_string(path).unwrap_or_default();
    if before == now {
        return None;
    }
    if is_accepted() {
        std::fs::write(path, now).unwrap();
        return None;
    }
    let diff = difference(&before, now);
    Some(format!("{}\n{diff}", path.display()))
}

/// Lines that went, and lines that came, around those that stayed.
pub(crate) fn difference(before: &str, now: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (before.lines().collect(), now.lines().collect());
    // The longest common subsequence of what is left from each pair of lines on.
    let mut common = vec![vec![0_u32; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i][j] = match a[i] == b[j] {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut text) = (0, 0, String::new());
    while i < a.len() || j < b.len() {
        let (sign, line) = if i < a.len() && j < b.len() && a[i] == b[j] {
            (i, j) = (i + 1, j + 1);
            (' ', a[i - 1])
        } else if j == b.len() || (i < a.len() && common[i + 1][j] >= common[i][j + 1]) {
            i += 1;
            ('-', a[i - 1])
        } else {
            j += 1;
            ('+', b[j - 1])
        };
        text.push_str(&format!("{sign} {line}\n"));
    }
    text
}
