//! Which server parameters users may set, and why they may not set the others.
//! Must not know what the operator sets instead: only the name and the reason are here.
//!
//! mysqld takes any unambiguous beginning of an option's name, dashes for underscores, and the
//! prefixes `loose-`, `skip-`, `enable-`, `disable-` and `maximum-` (manual, "Program Option
//! Modifiers" and "Specifying Program Options"). So a key has one spelling here, lower case with
//! underscores, and is refused if it *begins* a refused name, unless it is a whole name itself.

use kube_core::{Message, Rule};

/// Parameters refused for one reason.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What to tell the person who tried.
    pub reason: &'static str,
    /// Whole names. A key that begins one of them is refused.
    pub names: &'static [&'static str],
    /// Beginnings. A key that begins with one, or begins one, is refused.
    pub families: &'static [&'static str],
}

/// Whole names that begin a refused one, or look like a family of refused ones, but are harmless.
pub const HARMLESS: &[&str] = &[
    "enable_cascade_triggers",
    "enable_secondary_engine_statistics",
    "general_log",
    "lc_messages",
    "slow_query_log",
];

/// Fixed when a data directory is made: may be chosen with the cluster, never changed.
pub const FIXED_AT_CREATION: &[&str] = &["innodb_page_size", "lower_case_table_names"];

pub const SPELLING: Refusal = Refusal {
    reason: "modifiers of names are not taken: write the plain name and its value",
    names: &[],
    families: &["disable_", "enable_", "loose_", "maximum_", "skip_"],
};

pub const DURABILITY: Refusal = Refusal {
    reason: "an acknowledged write must survive a crash, so the operator sets what is flushed and checked",
    names: &[
        "binlog_checksum",
        "binlog_encryption",
        "binlog_error_action",
        "binlog_order_commits",
        "innodb_checksum_algorithm",
        "innodb_doublewrite",
        "innodb_fast_shutdown",
        "innodb_flush_log_at_timeout",
        "innodb_flush_log_at_trx_commit",
        "innodb_flush_method",
        "innodb_force_load_corrupted",
        "innodb_force_recovery",
        "innodb_log_checksums",
        "innodb_read_only",
        "sync_binlog",
        "sync_relay_log",
        "sync_relay_log_info",
        "tc_heuristic_recover",
    ],
    families: &["log_tc"],
};

pub const REPLICATION: Refusal = Refusal {
    reason: "the operator sets replication: another value could lose or silently change acknowledged writes",
    names: &[
        "binlog_direct_non_transactional_updates",
        "binlog_do_db",
        "binlog_format",
        "binlog_gtid_simple_recovery",
        "binlog_ignore_db",
        "enforce_gtid_consistency",
        "gtid_mode",
        "innodb_replication_delay",
        "log_bin",
        "log_bin_index",
        "log_replica_updates",
        "log_slave_updates",
        "master_retry_count",
        "max_binlog_dump_events",
        "relay_log",
        "relay_log_index",
        "relay_log_purge",
        "relay_log_recovery",
        "relay_log_space_limit",
        "server_id",
        "server_id_bits",
        "server_uuid",
        "sporadic_binlog_dump_fail",
        "sync_master_info",
        "sync_source_info",
    ],
    families: &[
        "clone_",
        "group_replication_",
        "ndb",
        "relay_log_info",
        "replica_allow_higher_version",
        "replica_exec_mode",
        "replica_net_timeout",
        "replica_parallel_type",
        "replica_preserve_commit_order",
        "replica_skip_errors",
        "replicate_",
        "replication_",
        "report_",
        "rpl_semi_sync_",
        "slave_exec_mode",
        "slave_net_timeout",
        "slave_parallel_type",
        "slave_preserve_commit_order",
        "slave_skip_errors",
    ],
};

pub const ROLE: Refusal = Refusal {
    reason: "who may write is decided by the operator alone",
    names: &[
        "init_file",
        "init_replica",
        "init_slave",
        "offline_mode",
        "persisted_globals_load",
        "read_only",
        "super_read_only",
        "transaction_read_only",
    ],
    families: &[],
};

pub const CONNECTIONS: Refusal = Refusal {
    reason: "addresses, ports and certificates belong to the operator: use spec.service and spec.tls",
    names: &[
        "auto_generate_certs",
        "bind_address",
        "create_admin_listener_thread",
        "port",
        "require_secure_transport",
        "socket",
    ],
    families: &[
        "admin_",
        "caching_sha2_password_",
        "mysqlx",
        "sha256_password_",
        "ssl_",
        "tls_",
    ],
};

pub const PROCESS: Refusal = Refusal {
    reason: "files, memory detection, plugins and the process itself belong to the operator",
    names: &[
        "basedir",
        "chroot",
        "console",
        "container_aware",
        "core_file",
        "daemonize",
        "datadir",
        "early_plugin_load",
        "gdb",
        "general_log_file",
        "help",
        "innodb_buffer_pool_filename",
        "innodb_data_file_path",
        "innodb_data_home_dir",
        "innodb_dedicated_server",
        "innodb_directories",
        "innodb_doublewrite_dir",
        "innodb_log_group_home_dir",
        "innodb_redo_log_archive_dirs",
        "innodb_temp_data_file_path",
        "innodb_temp_tablespaces_dir",
        "innodb_tmpdir",
        "innodb_undo_directory",
        "lc_messages_dir",
        "log_error",
        "log_error_services",
        "pid_file",
        "replica_load_tmpdir",
        "secure_file_priv",
        "server_memory",
        "slave_load_tmpdir",
        "slow_query_log_file",
        "tmpdir",
        "upgrade",
        "user",
        "validate_config",
        "validate_user_plugins",
        "verbose",
        "version",
    ],
    families: &["defaults_", "initialize", "keyring_", "plugin_"],
};

pub const REFUSALS: &[&Refusal] = &[
    &SPELLING,
    &DURABILITY,
    &REPLICATION,
    &ROLE,
    &CONNECTIONS,
    &PROCESS,
];

/// Why `key` is refused; `None` if it may be set.
pub fn refusal_of(key: &str) -> Option<&'static Refusal> {
    REFUSALS.iter().copied().find(|refusal| refusal.applies_to(key))
}

impl Refusal {
    fn applies_to(&self, key: &str) -> bool {
        !HARMLESS.contains(&key)
            && (self.names.iter().any(|name| name.starts_with(key))
                || self
                    .families
                    .iter()
                    .any(|family| family.starts_with(key) || key.starts_with(family)))
    }

    /// `applies_to` as CEL over a variable `key`.
    fn condition(&self) -> String {
        let mut either = Vec::new();
        if !self.names.is_empty() {
            either.push(format!(
                "{}.exists(name, name.startsWith(key))",
                cel_list(self.names)
            ));
        }
        if !self.families.is_empty() {
            let families = cel_list(self.families);
            either.push(format!(
                "{families}.exists(family, family.startsWith(key) || key.startsWith(family))"
            ));
        }
        format!("!(key in {}) && ({})", cel_list(HARMLESS), either.join(" || "))
    }

    /// The rule for a map of parameters. Its message is fixed text: one that names the keys at fault
    /// is over the server's cost limit, since the length of a key has no bound in a schema.
    pub(crate) fn rule(&self) -> Rule {
        let families = self.families.iter().map(|family| format!("{family}*"));
        let refused: Vec<_> = self
            .names
            .iter()
            .map(|name| (*name).to_owned())
            .chain(families)
            .collect();
        Rule::new(format!("!self.exists(key, {})", self.condition())).message(Message::Message(format!(
            "{}. Refused for that: {}",
            self.reason,
            refused.join(", ")
        )))
    }
}

/// The rule that keeps what is fixed at creation. For the spec, since the maps on the way may be absent.
pub(crate) fn fixed_rule() -> Rule {
    let value_in = |object: &str| {
        format!(
            "(has({object}.mysql) && has({object}.mysql.parameters) && key in {object}.mysql.parameters \
             ? {object}.mysql.parameters[key] : '')"
        )
    };
    let fixed = cel_list(FIXED_AT_CREATION);
    Rule::new(format!(
        "{fixed}.all(key, {} == {})",
        value_in("self"),
        value_in("oldSelf")
    ))
    .message(Message::Message(format!(
        "{} cannot change once the data directory is made",
        FIXED_AT_CREATION.join(" and ")
    )))
    .field_path(".mysql.parameters")
}

/// The rule against abbreviations of what is fixed at creation: `fixed_rule` compares whole names.
pub(crate) fn unabbreviated_rule() -> Rule {
    let fixed = cel_list(FIXED_AT_CREATION);
    Rule::new(format!(
        "!self.exists(key, !(key in {fixed}) && {fixed}.exists(name, name.startsWith(key)))"
    ))
    .message(Message::Message(format!(
        "write {} in full",
        FIXED_AT_CREATION.join(" and ")
    )))
}

fn cel_list(names: &[&str]) -> String {
    format!("['{}']", names.join("','"))
}
