//! Setting conditions so that they change exactly when something changed.
//! Must not know which conditions there are, or read a clock.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The API allows 32 KiB; people read a paragraph.
const MESSAGE_LIMIT_BYTES: usize = 1024;
/// Of the API.
const REASON_LIMIT_BYTES: usize = 1024;
const TYPE_LIMIT_BYTES: usize = 316;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("failed to set a condition: {0:?} is no type of one")]
    Type(String),
    #[error("failed to set the condition {type_}: {reason:?} is no reason, which is one word")]
    Reason { type_: String, reason: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    True,
    False,
    Unknown,
}

impl Status {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// What is to be said now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding<'a> {
    pub type_: &'a str,
    pub status: Status,
    pub reason: &'a str,
    pub message: &'a str,
    /// The `metadata.generation` that was looked at.
    pub observed_generation: Option<i64>,
}

/// Whether the list changed. The time of the transition moves only when the status does.
pub fn set(list: &mut Vec<Condition>, finding: &Finding<'_>, now: Timestamp) -> Result<bool, Error> {
    check(finding)?;
    let existing = list.iter_mut().find(|condition| condition.type_ == finding.type_);
    let kept = existing
        .as_ref()
        .filter(|condition| condition.status == finding.status.as_str());
    let time = kept.map(|condition| condition.last_transition_time.clone());
    let wanted = Condition {
        last_transition_time: time.unwrap_or_else(|| Time(whole_seconds(now))),
        message: crate::cut(finding.message, MESSAGE_LIMIT_BYTES),
        observed_generation: finding.observed_generation,
        reason: finding.reason.to_owned(),
        status: finding.status.as_str().to_owned(),
        type_: finding.type_.to_owned(),
    };
    match existing {
        Some(existing) if *existing == wanted => return Ok(false),
        Some(existing) => *existing = wanted,
        None => list.push(wanted),
    }
    Ok(true)
}

/// For conditions that are left out while they do not hold. Whether it was there.
pub fn remove(list: &mut Vec<Condition>, type_: &str) -> bool {
    let before = list.len();
    list.retain(|condition| condition.type_ != type_);
    list.len() != before
}

pub fn get<'a>(list: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    list.iter().find(|condition| condition.type_ == type_)
}

/// The API keeps seconds: a fraction would be a difference to what is read back.
fn whole_seconds(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// What the API server would refuse the whole status for.
fn check(finding: &Finding<'_>) -> Result<(), Error> {
    let name = finding.type_.rsplit('/').next().unwrap_or_default();
    if finding.type_.len() > TYPE_LIMIT_BYTES || !is_word(name, "-_.") {
        return Err(Error::Type(crate::cut(finding.type_, 64)));
    }
    let reason = finding.reason;
    let begins = reason.starts_with(|first: char| first.is_ascii_alphabetic());
    if reason.len() > REASON_LIMIT_BYTES || !begins || !is_word(reason, "_,:") {
        return Err(Error::Reason {
            type_: finding.type_.to_owned(),
            reason: crate::cut(reason, 64),
        });
    }
    Ok(())
}

/// Letters and digits, and between them some marks.
fn is_word(text: &str, marks: &str) -> bool {
    let is_plain = |letter: Option<char>| letter.is_some_and(|l| l.is_ascii_alphanumeric());
    let fits = |letter: char| letter.is_ascii_alphanumeric() || marks.contains(letter);
    is_plain(text.chars().next()) && is_plain(text.chars().next_back()) && text.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: &str = "2026-11-21T12:00:00.25Z";
    const LATER: &str = "2026-11-21T12:05:00Z";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn ready(status: Status, reason: &'static str) -> Finding<'static> {
        Finding {
            type_: "Ready",
            status,
            reason,
            message: "as asked",
            observed_generation: Some(3),
        }
    }

    fn since(list: &[Condition]) -> String {
        get(list, "Ready").unwrap().last_transition_time.0.to_string()
    }

    #[test]
    fn saying_the_same_changes_nothing() {
        let mut list = Vec::new();
        assert_eq!(set(&mut list, &ready(Status::True, "Serves"), at(NOON)), Ok(true));
        let before = list.clone();
        assert_eq!(
            set(&mut list, &ready(Status::True, "Serves"), at(LATER)),
            Ok(false)
        );
        assert_eq!(list, before);
        assert_eq!(since(&list), "2026-11-21T12:00:00Z");
    }

    #[test]
    fn what_is_read_back_is_what_was_written() {
        let mut list = Vec::new();
        set(&mut list, &ready(Status::True, "Serves"), at(NOON)).unwrap();
        let text = serde_json::to_string(&list).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Condition>>(&text).unwrap(), list);
    }

    #[test]
    fn only_the_status_moves_the_time() {
        let mut list = Vec::new();
        set(&mut list, &ready(Status::True, "Serves"), at(NOON)).unwrap();
        let mut other = ready(Status::True, "ServesAgain");
        other.message = "as asked, and more";
        other.observed_generation = Some(4);
        assert_eq!(set(&mut list, &other, at(LATER)), Ok(true));
        assert_eq!(since(&list), "2026-11-21T12:00:00Z");
        let condition = get(&list, "Ready").unwrap();
        assert_eq!(condition.reason, "ServesAgain");
        assert_eq!(condition.observed_generation, Some(4));
        set(&mut list, &ready(Status::Unknown, "NotObserved"), at(LATER)).unwrap();
        assert_eq!(since(&list), LATER);
        assert_eq!(list.len(), 1);
    }

    #[test]
    fn conditions_come_and_go_beside_each_other() {
        let mut list = Vec::new();
        set(&mut list, &ready(Status::False, "Creating"), at(NOON)).unwrap();
        let stalled = Finding {
            type_: "Stalled",
            ..ready(Status::True, "SpecRefused")
        };
        set(&mut list, &stalled, at(NOON)).unwrap();
        assert_eq!(list.len(), 2);
        assert!(remove(&mut list, "Stalled"));
        assert!(!remove(&mut list, "Stalled"));
        assert!(get(&list, "Stalled").is_none() && get(&list, "Ready").is_some());
    }

    #[test]
    fn long_messages_are_cut() {
        let mut list = Vec::new();
        let message = "ä".repeat(MESSAGE_LIMIT_BYTES);
        let long = Finding {
            message: &message,
            ..ready(Status::True, "Serves")
        };
        set(&mut list, &long, at(NOON)).unwrap();
        let cut = &list[0].message;
        assert!(
            cut.len() <= MESSAGE_LIMIT_BYTES && cut.ends_with("ä…"),
            "{}",
            cut.len()
        );
        assert_eq!(set(&mut list, &long, at(LATER)), Ok(false));
    }

    #[test]
    fn what_the_api_refuses_is_refused_here() {
        let mut list = Vec::new();
        let long = "R".repeat(REASON_LIMIT_BYTES + 1);
        for reason in ["", "two words", "9Lives", "_x", "ends:", "ü", &long] {
            let finding = Finding {
                reason,
                ..ready(Status::True, "")
            };
            let error = set(&mut list, &finding, at(NOON)).unwrap_err();
            assert!(matches!(error, Error::Reason { .. }), "{error}");
            assert!(error.to_string().len() < 200);
        }
        for type_ in ["", "Is Ready", "example.com/"] {
            let finding = Finding {
                type_,
                ..ready(Status::True, "Serves")
            };
            assert!(
                matches!(set(&mut list, &finding, at(NOON)), Err(Error::Type(_))),
                "{type_}"
            );
        }
        assert!(list.is_empty());
        let finding = Finding {
            type_: "example.com/Is-Ready",
            ..ready(Status::True, "A_b,c:D1")
        };
        assert_eq!(set(&mut list, &finding, at(NOON)), Ok(true));
    }
}
