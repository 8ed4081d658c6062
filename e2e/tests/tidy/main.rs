//! What every file of the repository must be like, checked on the repository itself.
//! Must not change files, and must not judge what a compiler or clippy judges already.
//!
//! Each rule is a function over files, and each is shown a bad example beside it: a rule that
//! nothing can break is worth nothing.

#![cfg(test)]

mod files;
mod functions;
mod headers;
mod links;
mod manifests;
mod sql;
mod text;
mod tokens;

use files::{File, Finding, repository};

/// Fails with all findings at once, in the form that editors jump to.
fn assert_none(findings: Vec<Finding>) {
    let lines: Vec<_> = findings.iter().map(Finding::to_string).collect();
    assert!(lines.is_empty(), "\n{}", lines.join("\n"));
}

fn check(rule: impl Fn(&File) -> Vec<Finding>) {
    assert_none(repository().iter().flat_map(rule).collect());
}

#[test]
fn the_repository_is_found() {
    let files = repository();
    for path in [
        "Cargo.toml",
        "crds/src/lib.rs",
        "e2e/tests/tidy/main.rs",
        "operator/src/main.rs",
    ] {
        assert!(files.iter().any(|file| file.path == path), "{path}");
    }
    assert!(files.iter().all(|file| !file.path.starts_with("target/")));
}

#[test]
fn files_are_short() {
    check(text::too_long);
}

#[test]
fn functions_are_short() {
    check(functions::too_long);
}

#[test]
fn lines_end_cleanly() {
    check(text::untidy_lines);
}

#[test]
fn words_are_those_of_the_house() {
    check(text::wrong_words);
}

#[test]
fn no_path_of_a_machine_is_written_down() {
    check(text::machine_paths);
}

#[test]
fn modules_say_what_they_own() {
    check(headers::missing);
}

#[test]
fn sql_stands_in_its_crate() {
    check(sql::misplaced);
}

#[test]
fn nothing_is_put_off_or_switched_off() {
    check(tokens::put_off);
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    assert_none(manifests::without_lints(repository()));
}

#[test]
fn pure_crates_name_only_what_they_may() {
    assert_none(manifests::impure(repository()));
}

#[test]
fn pure_crates_reach_nothing_that_does_io() {
    assert_none(manifests::reaching_io(&manifests::metadata()));
}

#[test]
fn links_lead_somewhere() {
    assert_none(links::broken(repository()));
}

#[test]
fn generated_definitions_are_fresh() {
    let files = repository();
    for (name, wanted) in holdfast::definitions::files().unwrap() {
        let path = format!("crds/yaml/{name}");
        let found = files.iter().find(|file| file.path == path);
        let refresh = "cargo run -p holdfast -- crds --write crds/yaml";
        assert!(
            found.is_some_and(|file| file.text == wanted),
            "{path} is stale; refresh: {refresh}"
        );
    }
}
