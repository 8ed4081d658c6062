//! What safety asks of a running server's settings, whatever its role, and what differs.
//! Must not ask for less than was asked before: what rises and falls with a role is in `steps`.

use sql::settings::{Setting, Settings, Value};

/// Which value, and whether another one is as good.
fn rules() -> [(Setting, Value); 14] {
    let on = || Value::Flag(true);
    let off = || Value::Flag(false);
    let word = |word: &str| Value::Word(word.into());
    [
        (Setting::SemiSyncWaitPoint, word("AFTER_SYNC")),
        (Setting::SemiSyncTimeout, Value::Number(u64::from(u32::MAX))),
        (Setting::SemiSyncWaitNoReplica, on()),
        (Setting::SemiSyncReplica, on()),
        (Setting::SyncBinlog, Value::Number(1)),
        (Setting::FlushLogAtCommit, Value::Number(1)),
        (Setting::Doublewrite, word("ON")),
        (Setting::BinlogFormat, word("ROW")),
        (Setting::EnforceGtid, word("ON")),
        (Setting::GtidMode, word("ON")),
        (Setting::PreserveCommitOrder, on()),
        (Setting::SyncRelayLog, Value::Number(1)),
        (Setting::ReplicaNetTimeout, Value::Number(10)),
        (Setting::SenderObserveCommitOnly, off()),
    ]
}

/// A setting that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) setting: Setting,
    pub(crate) found: Value,
    pub(crate) wanted: Value,
}

/// A setting that is not there belongs to a plugin that is not loaded; that is told elsewhere.
pub(crate) fn wrong(settings: &Settings) -> Vec<Wrong> {
    let rules = rules().into_iter();
    rules
        .filter_map(|(setting, wanted)| {
            let found = settings.get(setting)?.clone();
            (found != wanted).then_some(Wrong {
                setting,
                found,
                wanted,
            })
        })
        .collect()
}

#[cfg(test)]
pub(crate) fn right() -> Vec<(Setting, Value)> {
    rules().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_found_and_what_is_missing_is_not() {
        let settings: Settings = right().into_iter().collect();
        assert!(wrong(&settings).is_empty());
        let mut values = right();
        values[4].1 = Value::Number(0);
        values.retain(|(setting, _)| *setting != Setting::SemiSyncTimeout);
        let settings: Settings = values.into_iter().collect();
        let wanted = Wrong {
            setting: Setting::SyncBinlog,
            found: Value::Number(0),
            wanted: Value::Number(1),
        };
        assert_eq!(wrong(&settings), [wanted]);
    }
}
