//! Which server parameters are refused, against the whole list of options of a real server.
//! Must not need the server: mysqld-9.7.4-options.txt is what `mysqld --verbose --help` listed.

#![cfg(test)]

use std::collections::BTreeSet;

use crds::parameters::{FIXED_AT_CREATION, HARMLESS, REFUSALS, refusal_of};

fn options() -> BTreeSet<&'static str> {
    include_str!("mysqld-9.7.4-options.txt").lines().collect()
}

#[test]
fn what_safety_depends_on_is_refused() {
    for name in [
        "rpl_semi_sync_source_wait_point",
        "rpl_semi_sync_source_timeout",
        "rpl_semi_sync_source_wait_no_replica",
        "rpl_semi_sync_source_wait_for_replica_count",
        "rpl_semi_sync_replica_enabled",
        "rpl_semi_sync_master_enabled",
        "sync_binlog",
        "innodb_flush_log_at_trx_commit",
        "binlog_format",
        "gtid_mode",
        "enforce_gtid_consistency",
        "super_read_only",
        "read_only",
        "skip_replica_start",
        "skip_slave_start",
        "log_replica_updates",
        "replica_preserve_commit_order",
        "relay_log_recovery",
        "sync_relay_log",
        "replica_net_timeout",
        "replication_sender_observe_commit_only",
        "server_id",
        "log_bin",
        "skip_log_bin",
        "disable_log_bin",
        "loose_gtid_mode",
        "datadir",
        "socket",
        "port",
        "skip_name_resolve",
        "ssl_ca",
        "ssl_cert",
        "tls_version",
        "plugin_load",
        "plugin_load_add",
        "init_file",
        "secure_file_priv",
        "mysqlx",
        "mysqlx_port",
        "admin_address",
        "admin_port",
        "innodb_flush_method",
        "innodb_doublewrite",
        "offline_mode",
        "replica_skip_errors",
        "replicate_do_db",
        "binlog_ignore_db",
        "group_replication_group_name",
        "persisted_globals_load",
        "upgrade",
        "",
    ] {
        assert!(refusal_of(name).is_some(), "{name}");
    }
}

#[test]
fn what_people_tune_is_allowed() {
    let options = options();
    for name in [
        "max_connections",
        "innodb_buffer_pool_size",
        "innodb_redo_log_capacity",
        "innodb_io_capacity",
        "innodb_print_all_deadlocks",
        "sql_mode",
        "character_set_server",
        "collation_server",
        "default_time_zone",
        "slow_query_log",
        "long_query_time",
        "max_allowed_packet",
        "binlog_expire_logs_seconds",
        "binlog_transaction_compression",
        "log_bin_trust_function_creators",
        "replica_parallel_workers",
        "sql_require_primary_key",
        "lower_case_table_names",
        "innodb_page_size",
        "performance_schema",
        "event_scheduler",
        "tmp_table_size",
        "transaction_isolation",
    ] {
        assert!(options.contains(name), "no such option: {name}");
        assert!(refusal_of(name).is_none(), "{name}");
    }
}

/// mysqld takes the beginning of a name if only one option begins so. None may lead to a refused one.
#[test]
fn no_abbreviation_of_a_refused_option_is_allowed() {
    let options = options();
    for option in options.iter().filter(|option| refusal_of(option).is_some()) {
        for end in 1..option.len() {
            let short = &option[..end];
            let is_whole_name = options.contains(short);
            let meant = options.iter().filter(|other| other.starts_with(short)).count();
            if !is_whole_name && meant == 1 {
                assert!(refusal_of(short).is_some(), "{short} means {option}");
            }
        }
    }
}

#[test]
fn the_lists_hold_no_waste() {
    let options = options();
    for word in HARMLESS {
        assert!(options.contains(word), "not an option: {word}");
        let begins = REFUSALS
            .iter()
            .flat_map(|refusal| refusal.families.iter().chain(refusal.names));
        let found = begins
            .into_iter()
            .any(|other| other.starts_with(word) || word.starts_with(other));
        assert!(found, "{word} would not be refused anyway");
    }
    assert!(
        FIXED_AT_CREATION
            .iter()
            .all(|name| options.contains(name) && refusal_of(name).is_none())
    );
    for refusal in REFUSALS {
        let mut sorted = refusal.names.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(refusal.names, sorted, "names are sorted, each once");
    }
    let all: Vec<_> = REFUSALS.iter().flat_map(|refusal| refusal.names).collect();
    assert_eq!(
        all.len(),
        all.iter().collect::<BTreeSet<_>>().len(),
        "a name has one reason"
    );
}

/// An allowed option with a name that begins a refused one would be refused by accident.
#[test]
fn no_option_is_refused_by_accident() {
    let accidents = options().into_iter().filter(|option| {
        let meant = |refusal: &crds::parameters::Refusal| {
            refusal.names.contains(option) || refusal.families.iter().any(|family| option.starts_with(family))
        };
        refusal_of(option).is_some() && !REFUSALS.iter().any(|refusal| meant(refusal))
    });
    assert_eq!(
        accidents.collect::<Vec<_>>(),
        [""; 0],
        "refused only because a refused name begins so"
    );
}
