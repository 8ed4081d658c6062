//! Version numbers of servers, and the one table of what differs between versions.
//! Must not be asked whether an upgrade is allowed, and must not send a statement.

use std::fmt;
use std::str::FromStr;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    #[error("failed to read {text:?} as a version of MySQL")]
    Text { text: String },
    #[error("failed to accept {text:?}: MariaDB is another server")]
    OtherServer { text: String },
}

/// Compared as numbers: after 9.7 come calendar versions, 26.7 and 26.10.
/// What a distribution appends is kept and does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub number: Number,
    /// `-0ubuntu0.24.04.1`, `-log`, with its separator.
    pub suffix: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number {
    pub major: u16,
    pub minor: u16,
    pub patch: u16,
}

impl Number {
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self { major, minor, patch }
    }
}

/// The oldest version this crate speaks to.
pub const OLDEST: Number = Number::new(8, 4, 0);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.number, self.suffix)
    }
}

impl FromStr for Version {
    type Err = Error;

    /// `@@version`: three numbers, then what a distribution appends. A pre-release of a calendar
    /// version may come with two numbers: the third is 0 then.
    fn from_str(text: &str) -> Result<Self, Error> {
        let error = || Error::Text { text: text.into() };
        if text.to_ascii_lowercase().contains("mariadb") {
            return Err(Error::OtherServer { text: text.into() });
        }
        let end = text
            .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
            .unwrap_or(text.len());
        let (numbers, suffix) = text.split_at(end);
        let is_word = suffix.starts_with(|letter: char| letter.is_alphanumeric());
        if is_word || suffix.len() > 200 {
            return Err(error());
        }
        let mut parts = numbers.split('.').map(|part| {
            let has_digits = (1..=5).contains(&part.len());
            part.parse::<u16>().ok().filter(|_| has_digits)
        });
        let mut next = |is_needed: bool| match parts.next() {
            Some(part) => part.ok_or_else(error),
            None if is_needed => Err(error()),
            None => Ok(0),
        };
        let number = Number::new(next(true)?, next(true)?, next(false)?);
        if parts.next().is_some() {
            return Err(error());
        }
        Ok(Self {
            number,
            suffix: suffix.into(),
        })
    }
}

/// What a version says or has in another way than the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// `replica_allow_higher_version_source`: a newer source is refused unless allowed.
    RefusesNewerSource,
    /// A clone from the long-term version before is allowed.
    ClonesFromLastLongTerm,
    /// `mysql_native_password` is gone, and with it every account that uses it.
    NoNativePassword,
    /// GTID mode and its enforcement are on by default.
    GtidByDefault,
    /// `SOURCE_RETRY_COUNT` is 10 where it was a day's worth: never rely on the default.
    FewRetriesByDefault,
    /// Tagged GTIDs.
    TaggedGtids,
}

/// The table: since which version it is so.
pub const DIFFERENCES: &[(Difference, Number)] = &[
    (Difference::TaggedGtids, Number::new(8, 3, 0)),
    (Difference::FewRetriesByDefault, Number::new(8, 4, 0)),
    (Difference::NoNativePassword, Number::new(9, 0, 0)),
    (Difference::GtidByDefault, Number::new(9, 7, 0)),
    (Difference::RefusesNewerSource, Number::new(9, 7, 0)),
    (Difference::ClonesFromLastLongTerm, Number::new(9, 7, 1)),
];

/// Variables that a server does not know any more: in a my.cnf they keep it from starting.
/// The version is the first one without.
pub const REMOVED_VARIABLES: &[(&str, Number)] = &[
    ("log_bin_use_v1_row_events", Number::new(8, 3, 0)),
    ("master_info_repository", Number::new(8, 3, 0)),
    ("relay_log_info_file", Number::new(8, 3, 0)),
    ("relay_log_info_repository", Number::new(8, 3, 0)),
    ("slave_rows_search_algorithms", Number::new(8, 3, 0)),
    ("transaction_write_set_extraction", Number::new(8, 3, 0)),
    ("avoid_temporal_upgrade", Number::new(8, 4, 0)),
    ("binlog_transaction_dependency_tracking", Number::new(8, 4, 0)),
    ("default_authentication_plugin", Number::new(8, 4, 0)),
    ("expire_logs_days", Number::new(8, 4, 0)),
    ("have_openssl", Number::new(8, 4, 0)),
    ("have_ssl", Number::new(8, 4, 0)),
    ("new", Number::new(8, 4, 0)),
    ("old", Number::new(8, 4, 0)),
    ("show_old_temporals", Number::new(8, 4, 0)),
    // Seen to be gone in 9.7.4; 8.4 has them, deprecated.
    ("innodb_log_file_size", Number::new(9, 7, 0)),
    ("innodb_log_files_in_group", Number::new(9, 7, 0)),
    ("innodb_undo_tablespaces", Number::new(9, 7, 0)),
    ("replica_parallel_type", Number::new(9, 7, 0)),
    ("slave_parallel_type", Number::new(9, 7, 0)),
];

impl Number {
    pub fn has(self, difference: Difference) -> bool {
        DIFFERENCES
            .iter()
            .any(|(known, since)| *known == difference && self >= *since)
    }

    /// Whether a my.cnf of this version may not name the variable.
    pub fn has_removed(self, variable: &str) -> bool {
        let name = variable.to_ascii_lowercase().replace('-', "_");
        REMOVED_VARIABLES
            .iter()
            .any(|(known, since)| *known == name && self >= *since)
    }

    /// Statements whose words changed in 8.2 and whose old form went away in 8.4.
    pub(crate) fn binary_log_status(self) -> &'static str {
        if self >= Number::new(8, 2, 0) {
            "SHOW BINARY LOG STATUS"
        } else {
            "SHOW MASTER STATUS"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        for (text, major, minor, patch, suffix) in [
            ("8.4.3", 8, 4, 3, ""),
            ("9.7.4", 9, 7, 4, ""),
            ("9.7.4-1~deb14u1", 9, 7, 4, "-1~deb14u1"),
            ("8.4.7-0ubuntu0.25.10.1", 8, 4, 7, "-0ubuntu0.25.10.1"),
            ("8.4.5-5.1", 8, 4, 5, "-5.1"),
            ("8.0.36-28-log", 8, 0, 36, "-28-log"),
            ("26.7.0", 26, 7, 0, ""),
            ("26.10.12-cloud", 26, 10, 12, "-cloud"),
            ("26.7-er", 26, 7, 0, "-er"),
            ("9.7.4+build", 9, 7, 4, "+build"),
        ] {
            let version: Version = text.parse().unwrap();
            assert_eq!(version.number, Number::new(major, minor, patch), "{text}");
            assert_eq!(version.suffix, suffix, "{text}");
        }
        assert_eq!("26.7-er".parse::<Version>().unwrap().to_string(), "26.7.0-er");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "9",
            "9.",
            ".7.4",
            "9..4",
            "a.b.c",
            "9.7.4.1",
            "9.7.x",
            "9.7.4x",
            "99999.1.1",
            "9.000007.1",
            "９.７.４",
            "-9.7.4",
        ] {
            let error = text.parse::<Version>().unwrap_err();
            assert_eq!(error, Error::Text { text: text.into() });
        }
        let other = "5.5.5-10.11.6-MariaDB".parse::<Version>();
        assert!(matches!(other, Err(Error::OtherServer { .. })));
    }

    #[test]
    fn calendar_versions_come_after_all_others() {
        let ordered = [
            "8.0.46", "8.4.0", "8.4.10", "9.7.4", "26.7.0", "26.10.0", "27.1.0",
        ];
        let numbers: Vec<Number> = ordered
            .iter()
            .map(|text| text.parse::<Version>().unwrap().number)
            .collect();
        assert!(numbers.is_sorted());
    }

    #[test]
    fn differences_follow_the_number() {
        let (old, lts, new) = (Number::new(8, 0, 36), Number::new(8, 4, 3), Number::new(26, 7, 0));
        assert_eq!(old.binary_log_status(), "SHOW MASTER STATUS");
        assert_eq!(lts.binary_log_status(), "SHOW BINARY LOG STATUS");
        assert_eq!(new.binary_log_status(), "SHOW BINARY LOG STATUS");
        assert!(!lts.has(Difference::NoNativePassword) && new.has(Difference::NoNativePassword));
        assert!(!old.has(Difference::TaggedGtids) && lts.has(Difference::TaggedGtids));
        for (difference, since) in DIFFERENCES {
            assert!(since.has(*difference));
        }
        assert!(lts.has_removed("Default-Authentication-Plugin"));
        assert!(!lts.has_removed("replica-parallel-type"));
        assert!(new.has_removed("replica_parallel_type"));
        assert!(!new.has_removed("sync_binlog"));
    }

    #[test]
    fn each_removed_variable_is_listed_once() {
        let mut names: Vec<&str> = REMOVED_VARIABLES.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), REMOVED_VARIABLES.len());
    }
}
