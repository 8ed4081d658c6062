//! Owns the decision whether a broken attempt surely failed or may have been committed.
//! It must not guess: what is not proven to be without effect is unknown.

use crate::event::{Outcome, Stage};

/// What the client saw instead of an answer of success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// An error packet of the server.
    Server { code: u16 },
    /// Nothing came within the deadline.
    Timeout,
    /// The connection ended, or spoke nonsense.
    Lost,
}

/// When the server sends a code, seen from the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Raised before the commit touches the binary log, by a COMMIT too; rolled back.
    Nothing,
    /// Raised while a statement runs, before its commit; from a COMMIT it would be a riddle.
    BeforeCommit,
    /// Can be raised after the transaction reached the binary log or the engine.
    Perhaps,
}

/// The known codes of MySQL 8.4 to 9.x, each with the reason for its class.
/// A code that is not listed counts as `Perhaps`.
pub const CODES: &[(u16, Effect, &str)] = &[
    (
        1213,
        Effect::Nothing,
        "deadlock: the whole transaction was rolled back",
    ),
    (
        1290,
        Effect::Nothing,
        "read-only: checked before the statement and again before the commit is prepared",
    ),
    (
        1792,
        Effect::Nothing,
        "read-only transaction: refused before the statement",
    ),
    (
        1836,
        Effect::Nothing,
        "read-only mode: refused before the statement",
    ),
    (
        3101,
        Effect::Nothing,
        "a plugin made the server roll back before the binary log",
    ),
    (1040, Effect::BeforeCommit, "too many connections: not admitted"),
    (
        1203,
        Effect::BeforeCommit,
        "too many connections of this user: not admitted",
    ),
    (
        1226,
        Effect::BeforeCommit,
        "a limit of the user: refused before the statement",
    ),
    (1044, Effect::BeforeCommit, "no right to the database"),
    (1045, Effect::BeforeCommit, "access denied"),
    (1046, Effect::BeforeCommit, "no database selected"),
    (1049, Effect::BeforeCommit, "unknown database"),
    (1054, Effect::BeforeCommit, "unknown column: found while parsing"),
    (
        1062,
        Effect::BeforeCommit,
        "duplicate key: the statement was undone",
    ),
    (1064, Effect::BeforeCommit, "syntax: found while parsing"),
    (1114, Effect::BeforeCommit, "table full: the statement was undone"),
    (1142, Effect::BeforeCommit, "no right to the table"),
    (1146, Effect::BeforeCommit, "no such table"),
    (
        1197,
        Effect::BeforeCommit,
        "the transaction outgrew its binary log cache before its commit",
    ),
    (
        1205,
        Effect::BeforeCommit,
        "lock wait timeout: the statement was undone",
    ),
    (
        1223,
        Effect::BeforeCommit,
        "a read lock of this session: refused before the statement",
    ),
    (
        1364,
        Effect::BeforeCommit,
        "field without default: the statement was undone",
    ),
    (
        1406,
        Effect::BeforeCommit,
        "data too long: the statement was undone",
    ),
    (
        3024,
        Effect::BeforeCommit,
        "execution time exceeded: only reads are stopped so",
    ),
    (
        3098,
        Effect::BeforeCommit,
        "the table is refused before the statement",
    ),
    (
        3572,
        Effect::BeforeCommit,
        "lock not available at once: the statement was undone",
    ),
    (
        1021,
        Effect::Perhaps,
        "disk full: the server may wait, retry and go on",
    ),
    (
        1026,
        Effect::Perhaps,
        "error while writing a file, the binary log among them",
    ),
    (
        1030,
        Effect::Perhaps,
        "an error of the engine, its commit included",
    ),
    (
        1053,
        Effect::Perhaps,
        "shutdown in progress: can interrupt a commit that already lies in the binary log",
    ),
    (1105, Effect::Perhaps, "an error without a name"),
    (1152, Effect::Perhaps, "aborted connection"),
    (1158, Effect::Perhaps, "network error while reading"),
    (1159, Effect::Perhaps, "network timeout while reading"),
    (1160, Effect::Perhaps, "network error while writing"),
    (1161, Effect::Perhaps, "network timeout while writing"),
    (
        1180,
        Effect::Perhaps,
        "error during COMMIT: raised before and after the binary log",
    ),
    (1184, Effect::Perhaps, "aborted connection"),
    (
        1317,
        Effect::Perhaps,
        "killed query: may have been waiting for a replica's acknowledgement",
    ),
    (
        1598,
        Effect::Perhaps,
        "binary log not writable: what the engine does depends on binlog_error_action",
    ),
    (
        3032,
        Effect::Perhaps,
        "offline mode: also ends sessions whose commit waits for a replica",
    ),
    (
        3100,
        Effect::Perhaps,
        "error of a replication hook: there are hooks before and after the binary log",
    ),
    (3169, Effect::Perhaps, "killed session"),
    (
        4031,
        Effect::Perhaps,
        "idle connection closed: the error may cross the statement on its way",
    ),
];

/// How an attempt ended that broke at `stage` with `failure`, and why we say so.
pub fn classify(stage: Stage, failure: Failure) -> (Outcome, &'static str) {
    match stage {
        Stage::Connect => (Outcome::Failed, "no session: nothing of the attempt was sent"),
        // The caller never sends COMMIT after this, so the server rolls back at the latest
        // when the connection closes.
        Stage::Statement => (Outcome::Failed, "COMMIT was never sent"),
        Stage::Autocommit | Stage::Commit => match failure {
            Failure::Timeout => (
                Outcome::Unknown,
                "no answer in time: it may be committed, now or later",
            ),
            Failure::Lost => (Outcome::Unknown, "connection lost with the commit under way"),
            Failure::Server { code } => classify_code(stage, code),
        },
    }
}

fn classify_code(stage: Stage, code: u16) -> (Outcome, &'static str) {
    let known = CODES.iter().find(|(known, _, _)| *known == code);
    match known {
        Some((_, Effect::Nothing, why)) => (Outcome::Failed, why),
        Some((_, Effect::BeforeCommit, why)) if stage == Stage::Autocommit => (Outcome::Failed, why),
        Some((_, _, why)) => (Outcome::Unknown, why),
        None => (Outcome::Unknown, "a code we know nothing about"),
    }
}

/// Whether the session may go on after a rolled-back attempt. Everything else is answered
/// with a new connection: a read-only server is perhaps no longer the primary.
pub fn keeps_session(failure: Failure) -> bool {
    matches!(
        failure,
        Failure::Server {
            code: 1205 | 1213 | 3572
        }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(stage: Stage, code: u16) -> Outcome {
        classify(stage, Failure::Server { code }).0
    }

    #[test]
    fn before_commit_is_sent_everything_failed() {
        for stage in [Stage::Connect, Stage::Statement] {
            for failure in [Failure::Timeout, Failure::Lost, Failure::Server { code: 1053 }] {
                assert_eq!(classify(stage, failure).0, Outcome::Failed);
            }
        }
    }

    #[test]
    fn a_silent_or_broken_commit_is_unknown() {
        for stage in [Stage::Commit, Stage::Autocommit] {
            assert_eq!(classify(stage, Failure::Timeout).0, Outcome::Unknown);
            assert_eq!(classify(stage, Failure::Lost).0, Outcome::Unknown);
        }
    }

    #[test]
    fn read_only_and_rollback_codes_fail_even_a_commit() {
        for code in [1290, 1792, 1836, 1213, 3101] {
            assert_eq!(at(Stage::Commit, code), Outcome::Failed, "{code}");
            assert_eq!(at(Stage::Autocommit, code), Outcome::Failed, "{code}");
        }
    }

    #[test]
    fn doubtful_codes_are_unknown() {
        for code in [1053, 1180, 1317, 3032, 3100, 1598, 4031, 1, 65535] {
            assert_eq!(at(Stage::Commit, code), Outcome::Unknown, "{code}");
            assert_eq!(at(Stage::Autocommit, code), Outcome::Unknown, "{code}");
        }
    }

    #[test]
    fn a_statement_error_fails_autocommit_but_leaves_a_commit_unknown() {
        for code in [1205, 1062, 1114, 1146] {
            assert_eq!(at(Stage::Autocommit, code), Outcome::Failed, "{code}");
            assert_eq!(at(Stage::Commit, code), Outcome::Unknown, "{code}");
        }
    }

    #[test]
    fn each_code_is_listed_once() {
        let mut codes: Vec<u16> = CODES.iter().map(|(code, _, _)| *code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), CODES.len());
    }
}
