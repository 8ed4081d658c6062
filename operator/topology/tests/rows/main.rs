//! The 48 faults of the design as scripts: what happens, and what is decided, in the words of the status.
//! Must not hold a fault in code: they stand in the files beside it.

#![cfg(test)]

#[path = "../cluster/sim.rs"]
mod sim;

mod dice;
mod page;
mod script;
mod stage;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use script::{Script, settle};

/// The faults, a line each, in the wording of the design's table.
const FAULTS: &str = include_str!("faults.list");

/// Scripts may be written anew: nobody else reads them meanwhile.
static ONE: Mutex<()> = Mutex::new(());

fn faults() -> Vec<(u32, &'static str)> {
    let lines = FAULTS.lines().map(|line| line.split_once(' ').unwrap());
    lines.map(|(row, fault)| (row.parse().unwrap(), fault)).collect()
}

#[test]
fn every_script_decides_as_it_says() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut differences = Vec::new();
    for script in script::all() {
        // Where a step fails, this says of which script.
        eprintln!("{}", script.path.display());
        let played = stage::play(&script);
        let now = script.text(&played.cluster, &played.told);
        differences.extend(settle(&script.path, &now));
    }
    let help = "HOLDFAST_ACCEPT=1 writes down what is decided now";
    assert!(differences.is_empty(), "{}\n{help}", differences.join("\n"));
}

#[test]
fn every_row_has_a_script_in_the_words_of_the_table() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let faults: BTreeMap<u32, &str> = faults().into_iter().collect();
    assert!(faults.keys().copied().eq(1..=48), "{faults:?}");
    let scripts = script::all();
    let rows: BTreeSet<u32> = scripts.iter().map(Script::row).collect();
    let missing: Vec<_> = faults.iter().filter(|(row, _)| !rows.contains(row)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    for script in &scripts {
        let path = script.path.display();
        let fault = faults.get(&script.row());
        assert_eq!(fault, Some(&script.one("fault")), "{path}");
        let name = script.path.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with(&format!("{:02}-", script.row())), "{path}");
        assert!(
            script.steps.iter().any(|step| !step.expected.is_empty()),
            "{path}"
        );
    }
}

#[test]
fn stories_and_tests_that_scripts_name_exist() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let stories = std::fs::read_to_string(root.join("e2e/src/stories.rs")).unwrap();
    let folder = root.join("operator/instance/tests/member");
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let tests: String = files.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    for script in script::all() {
        let path = script.path.display();
        for story in script.all("story") {
            assert!(stories.contains(&format!("\"{story}\"")), "{path}: {story}");
        }
        for test in script.all("agent") {
            let name = test.replace(' ', "_");
            assert!(tests.contains(&format!("fn {name}()")), "{path}: {test}");
        }
    }
}

#[test]
fn the_page_of_failures_is_as_the_scripts_say() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let now = page::text(&script::all());
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/failures.md");
    let difference = settle(&path, &now);
    assert!(
        difference.is_none(),
        "{}\nHOLDFAST_ACCEPT=1 writes it",
        difference.unwrap_or_default()
    );
}

#[test]
fn a_difference_shows_what_went_and_what_came() {
    assert_eq!(
        script::difference("a\nb\nc\n", "a\nx\nc\nd\n"),
        "  a\n- b\n+ x\n  c\n+ d\n"
    );
}
