//! Condition types and reasons are API: a change of any must be seen by whoever reviews it.
//! Must not judge when a condition holds.

#![cfg(test)]

use std::collections::BTreeSet;
use std::fmt::Write;

use crds::conditions::{ConditionType, Reason};

#[test]
fn types_and_reasons_are_these() {
    let mut text = String::new();
    for condition in ConditionType::ALL {
        let presence = if condition.only_while_true() {
            "only while true"
        } else {
            "always"
        };
        writeln!(text, "{condition} ({presence})").unwrap();
        for reason in condition.reasons() {
            writeln!(text, "  {reason}").unwrap();
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn every_reason_belongs_to_a_condition_and_fits_its_schema() {
    let used: BTreeSet<_> = ConditionType::ALL
        .iter()
        .flat_map(|condition| condition.reasons())
        .collect();
    assert_eq!(used.len(), Reason::ALL.len());
    let words = Reason::ALL.iter().map(|reason| reason.as_str());
    for word in words.chain(ConditionType::ALL.iter().map(|condition| condition.as_str())) {
        let camel = word.starts_with(|c: char| c.is_ascii_uppercase())
            && word.chars().all(|c| c.is_ascii_alphabetic());
        assert!(camel && word.len() <= 64, "{word}");
    }
}
