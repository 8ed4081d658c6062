//! The settings that durability rests on: their names, their types, reading and setting them.
//! Must not say which value is right: that depends on the role, and is a judgement.

use std::collections::BTreeMap;
use std::fmt;

use crate::row::{Row, flag};
use crate::{Deadline, Error, Session, quote};

/// How the server writes the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Flag,
    Number,
    Word,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    Flag(bool),
    Number(u64),
    /// In capitals, as `ROW` and `AFTER_SYNC`.
    Word(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Flag(true) => f.write_str("ON"),
            Value::Flag(false) => f.write_str("OFF"),
            Value::Number(number) => write!(f, "{number}"),
            Value::Word(word) => f.write_str(word),
        }
    }
}

macro_rules! settings {
    ($($variant:ident $name:literal $kind:ident $change:ident,)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Setting { $($variant,)* }

        impl Setting {
            pub const ALL: &[Setting] = &[$(Setting::$variant,)*];

            /// The name of the global variable.
            pub fn name(self) -> &'static str {
                match self { $(Setting::$variant => $name,)* }
            }

            pub fn kind(self) -> Kind {
                match self { $(Setting::$variant => Kind::$kind,)* }
            }

            /// Whether it can be set while the server runs.
            pub fn change(self) -> Change {
                match self { $(Setting::$variant => Change::$change,)* }
            }
        }
    };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Running,
    /// In the file only.
    Restart,
    /// Through `roles`, with the waiting that belongs to it.
    Role,
}

settings! {
    SemiSyncSource "rpl_semi_sync_source_enabled" Flag Running,
    SemiSyncReplica "rpl_semi_sync_replica_enabled" Flag Running,
    SemiSyncWaitPoint "rpl_semi_sync_source_wait_point" Word Running,
    SemiSyncTimeout "rpl_semi_sync_source_timeout" Number Running,
    SemiSyncWaitNoReplica "rpl_semi_sync_source_wait_no_replica" Flag Running,
    SemiSyncWaitCount "rpl_semi_sync_source_wait_for_replica_count" Number Running,
    SyncBinlog "sync_binlog" Number Running,
    FlushLogAtCommit "innodb_flush_log_at_trx_commit" Number Running,
    Doublewrite "innodb_doublewrite" Word Running,
    BinlogFormat "binlog_format" Word Running,
    LogBin "log_bin" Flag Restart,
    GtidMode "gtid_mode" Word Running,
    EnforceGtid "enforce_gtid_consistency" Word Running,
    ReadOnly "read_only" Flag Role,
    SuperReadOnly "super_read_only" Flag Role,
    OfflineMode "offline_mode" Flag Role,
    SkipReplicaStart "skip_replica_start" Flag Restart,
    LogReplicaUpdates "log_replica_updates" Flag Restart,
    PreserveCommitOrder "replica_preserve_commit_order" Flag Running,
    ParallelWorkers "replica_parallel_workers" Number Running,
    RelayLogRecovery "relay_log_recovery" Flag Restart,
    SyncRelayLog "sync_relay_log" Number Running,
    ReplicaNetTimeout "replica_net_timeout" Number Running,
    SenderObserveCommitOnly "replication_sender_observe_commit_only" Flag Running,
    SkipNameResolve "skip_name_resolve" Flag Restart,
}

impl Setting {
    pub fn named(name: &str) -> Option<Setting> {
        Setting::ALL
            .iter()
            .copied()
            .find(|setting| setting.name().eq_ignore_ascii_case(name))
    }

    /// `None`: the server's text is not of this kind.
    fn value(self, text: &str) -> Option<Value> {
        match self.kind() {
            Kind::Flag => flag(text).map(Value::Flag),
            Kind::Number => text.parse().ok().map(Value::Number),
            Kind::Word => Some(Value::Word(text.to_ascii_uppercase())),
        }
    }

    fn accepts(self, value: &Value) -> bool {
        matches!(
            (self.kind(), value),
            (Kind::Flag, Value::Flag(_)) | (Kind::Number, Value::Number(_)) | (Kind::Word, Value::Word(_))
        )
    }
}

/// What one server has. A setting that is not in it does not exist there: its plugin is not loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings(BTreeMap<Setting, Value>);

impl Settings {
    pub fn get(&self, setting: Setting) -> Option<&Value> {
        self.0.get(&setting)
    }

    pub fn flag(&self, setting: Setting) -> Option<bool> {
        match self.get(setting) {
            Some(Value::Flag(flag)) => Some(*flag),
            _ => None,
        }
    }

    pub fn number(&self, setting: Setting) -> Option<u64> {
        match self.get(setting) {
            Some(Value::Number(number)) => Some(*number),
            _ => None,
        }
    }

    pub fn word(&self, setting: Setting) -> Option<&str> {
        match self.get(setting) {
            Some(Value::Word(word)) => Some(word),
            _ => None,
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (Setting, &Value)> {
        self.0.iter().map(|(setting, value)| (*setting, value))
    }

    /// One line of `NAME`, `VALUE`; names that are not ours are passed over.
    pub(crate) fn add(&mut self, name: &str, text: &str) -> Result<(), Error> {
        let Some(setting) = Setting::named(name) else {
            return Ok(());
        };
        let Some(value) = setting.value(text) else {
            return Err(Error::wrong("read the settings", format!("{name} is {text:?}")));
        };
        self.0.insert(setting, value);
        Ok(())
    }
}

impl FromIterator<(Setting, Value)> for Settings {
    fn from_iter<T: IntoIterator<Item = (Setting, Value)>>(values: T) -> Self {
        Self(values.into_iter().collect())
    }
}

/// `'a', 'b'` for an `IN (…)`.
pub(crate) fn names() -> String {
    let names: Vec<String> = Setting::ALL
        .iter()
        .map(|setting| quote::string(setting.name()))
        .collect();
    names.join(", ")
}

/// All of them in one statement. A variable of a plugin that is not loaded is simply not there.
pub async fn read(session: &mut Session, deadline: Deadline) -> Result<Settings, Error> {
    let sql = format!(
        "SELECT VARIABLE_NAME AS name, VARIABLE_VALUE AS value \
         FROM performance_schema.global_variables WHERE VARIABLE_NAME IN ({})",
        names()
    );
    let rows = session.rows("read the settings", &sql, deadline).await?;
    parse(&rows)
}

fn parse(rows: &[Row]) -> Result<Settings, Error> {
    let mut settings = Settings::default();
    for row in rows {
        settings.add(row.text("name")?, row.text("value")?)?;
    }
    Ok(settings)
}

/// Sets several in one statement, in their order. Not persisted: the file and the epoch's record
/// say what holds after a restart, never `mysqld-auto.cnf`.
pub async fn set(
    session: &mut Session,
    values: &[(Setting, Value)],
    deadline: Deadline,
) -> Result<(), Error> {
    let doing = "set the settings";
    let Some(sql) = set_sql(values)? else {
        return Ok(());
    };
    session.run(doing, &sql, deadline).await.map(|_| ())
}

fn set_sql(values: &[(Setting, Value)]) -> Result<Option<String>, Error> {
    let mut parts = Vec::with_capacity(values.len());
    for (setting, value) in values {
        let name = setting.name();
        let refused = |what: &str| Error::Input {
            doing: "set the settings",
            what: format!("{name} {what}"),
        };
        match setting.change() {
            Change::Running => {}
            Change::Restart => return Err(refused("can only be set in the file")),
            Change::Role => return Err(refused("belongs to the role")),
        }
        if !setting.accepts(value) {
            return Err(refused(&format!("cannot be {value}")));
        }
        let text = match value {
            Value::Word(word) => quote::string(word),
            other => other.to_string(),
        };
        parts.push(format!("GLOBAL {name} = {text}"));
    }
    Ok((!parts.is_empty()).then(|| format!("SET {}", parts.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_again() {
        for setting in Setting::ALL {
            assert_eq!(Setting::named(setting.name()), Some(*setting));
            assert_eq!(Setting::named(&setting.name().to_uppercase()), Some(*setting));
        }
        assert_eq!(Setting::named("port"), None);
    }

    #[test]
    fn answers_become_values() {
        let row = |name, value| Row::of(&[("name", Some(name)), ("value", Some(value))]);
        let settings = parse(&[
            row("sync_binlog", "1"),
            row("read_only", "ON"),
            row("binlog_format", "Row"),
            row("port", "3306"),
        ])
        .unwrap();
        assert_eq!(settings.number(Setting::SyncBinlog), Some(1));
        assert_eq!(settings.flag(Setting::ReadOnly), Some(true));
        assert_eq!(settings.word(Setting::BinlogFormat), Some("ROW"));
        assert_eq!(settings.get(Setting::SemiSyncSource), None);
        assert_eq!(settings.flag(Setting::SyncBinlog), None);
        assert_eq!(settings.iter().count(), 3);
        let odd = parse(&[row("sync_binlog", "many")]).unwrap_err();
        assert_eq!(
            odd.to_string(),
            "failed to read the settings: wrong answer: sync_binlog is \"many\""
        );
    }

    #[test]
    fn only_what_may_change_is_set() {
        let sql = set_sql(&[
            (Setting::SyncBinlog, Value::Number(1)),
            (Setting::SemiSyncWaitNoReplica, Value::Flag(true)),
            (Setting::SemiSyncWaitPoint, Value::Word("AFTER_SYNC".into())),
        ]);
        assert_eq!(
            sql.unwrap().unwrap(),
            "SET GLOBAL sync_binlog = 1, GLOBAL rpl_semi_sync_source_wait_no_replica = ON, \
             GLOBAL rpl_semi_sync_source_wait_point = 'AFTER_SYNC'"
        );
        assert_eq!(set_sql(&[]).unwrap(), None);
        for (setting, value) in [
            (Setting::SyncBinlog, Value::Flag(true)),
            (Setting::RelayLogRecovery, Value::Flag(false)),
            (Setting::SuperReadOnly, Value::Flag(false)),
            (Setting::BinlogFormat, Value::Number(1)),
        ] {
            assert!(set_sql(&[(setting, value)]).is_err(), "{setting:?}");
        }
    }
}
