//! my.cnf: what safety asks for, sizes that follow the memory, and what the user chose.
//! Must not let a user's parameter touch what safety asks for, or become a line of its own.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use topology::assignment::Server;

use super::program::LIBRARIES;
use crate::options::{Paths, text};

const MIB: u64 = 1 << 20;
/// mysqld reads lines of 4,096 bytes; the rest of a longer one would be another line.
const VALUE_LIMIT_BYTES: usize = 1_500;
const NAME_LIMIT_BYTES: usize = 64;
/// Prefixes that turn one option's name into another's.
const MODIFIERS: [&str; 5] = ["disable_", "enable_", "loose_", "maximum_", "skip_"];
/// Never the user's, though this file does not name them.
const RESERVED: [&str; 11] = [
    "create_admin_listener_thread",
    // ROW by default, and deprecated: naming it is an error some day.
    "binlog_format",
    "log_error",
    "user",
    "basedir",
    "chroot",
    "init_file",
    "initialize",
    "daemonize",
    "early_plugin_load",
    "innodb_force_recovery",
];
/// Whole names that look modified.
const HARMLESS: [&str; 2] = ["enable_cascade_triggers", "enable_secondary_engine_statistics"];

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("{name:?} is not the name of a parameter")]
    Name { name: String },
    #[error("the value of {name} has a control character or more than {VALUE_LIMIT_BYTES} bytes")]
    Value { name: String },
    #[error("{name} belongs to the operator")]
    Refused { name: String },
}

/// What the file is made from.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    pub(crate) paths: &'a Paths,
    pub(crate) address: Option<IpAddr>,
    pub(crate) port: u16,
    pub(crate) replication: Option<SocketAddr>,
    /// The member's name.
    pub(crate) member: &'a str,
    pub(crate) plugins: &'a Path,
    pub(crate) server: &'a Server,
}

/// Options the user may choose otherwise.
fn chosen(memory_bytes: u64) -> Vec<(&'static str, String)> {
    let pool = pool_bytes(memory_bytes);
    let is_small = memory_bytes < 2_048 * MIB;
    let redo = match memory_bytes / MIB {
        ..2_048 => 128,
        2_048..8_192 => 512,
        _ => 2_048,
    };
    let mut options = vec![
        // A transaction is one event after its number, where it is four or more otherwise: a replica syncs its relay
        // log after each event, and acknowledges after the last.
        ("binlog_transaction_compression", "ON".to_owned()),
        ("innodb_buffer_pool_size", pool.to_string()),
        ("innodb_redo_log_capacity", (redo * MIB).to_string()),
        ("innodb_log_buffer_size", (16 * MIB).to_string()),
        // The default follows the memory of the machine, not the container's.
        (
            "temptable_max_ram",
            (memory_bytes / 16).clamp(16 * MIB, 1_024 * MIB).to_string(),
        ),
        // What a replica has read of a large transaction and not applied yet. A larger event still goes alone. With the
        // default, and 768 MiB, mysqld was killed for want of memory again and again over one transaction of 300 MB.
        (
            "replica_pending_jobs_size_max",
            (memory_bytes / 32).clamp(16 * MIB, 128 * MIB).to_string(),
        ),
    ];
    if is_small {
        // Together some 150 MiB less, of which half is never looked at.
        options.extend([
            ("table_open_cache", "1000".to_owned()),
            ("performance_schema_instrument", "memory/%=OFF".to_owned()),
            ("performance_schema_max_table_instances", "1000".to_owned()),
            ("performance_schema_max_table_handles", "1000".to_owned()),
            ("performance_schema_digests_size", "1000".to_owned()),
            ("performance_schema_max_digest_length", "256".to_owned()),
            ("performance_schema_max_sql_text_length", "256".to_owned()),
            ("performance_schema_error_size", "0".to_owned()),
            (
                "performance_schema_events_statements_history_long_size",
                "0".to_owned(),
            ),
            (
                "performance_schema_events_stages_history_long_size",
                "0".to_owned(),
            ),
            (
                "performance_schema_events_waits_history_long_size",
                "0".to_owned(),
            ),
            (
                "performance_schema_events_transactions_history_long_size",
                "0".to_owned(),
            ),
        ]);
    }
    options
}

/// The rest of mysqld needs some 350 MiB while it applies a large transaction, and more with every connection.
fn pool_bytes(memory_bytes: u64) -> u64 {
    if memory_bytes == 0 {
        return 128 * MIB;
    }
    let rest = (memory_bytes / 100 * 35).clamp(448 * MIB, 4_096 * MIB);
    let pool = memory_bytes.saturating_sub(rest) / (16 * MIB) * (16 * MIB);
    pool.max(64 * MIB)
}

/// Options that nobody else sets: failover.md, "Settings", has the reasons.
fn fixed(input: &Input<'_>) -> Vec<(&'static str, String)> {
    let paths = input.paths;
    let on = |is_on: bool| if is_on { "ON" } else { "OFF" }.to_owned();
    let plain = |value: &str| value.to_owned();
    let mut options = vec![
        // The place.
        ("datadir", text(&paths.data)),
        ("socket", text(&paths.socket)),
        ("pid_file", text(&paths.pid_file)),
        ("tmpdir", text(&paths.tmp)),
        ("plugin_dir", text(input.plugins)),
        ("secure_file_priv", plain("NULL")),
        ("port", input.port.to_string()),
        (
            "bind_address",
            input.address.map_or(plain("*"), |address| address.to_string()),
        ),
        ("mysqlx", plain("OFF")),
        ("skip_name_resolve", plain("ON")),
        ("report_host", plain(input.member)),
        ("report_port", input.port.to_string()),
        ("server_id", input.server.server_id.to_string()),
        // What is in this file holds, never what somebody persisted.
        ("persisted_globals_load", plain("OFF")),
        // Encryption.
        ("ssl_ca", text(&paths.authority())),
        ("ssl_cert", text(&paths.tls.join("tls.crt"))),
        ("ssl_key", text(&paths.tls.join("tls.key"))),
        ("tls_version", plain("TLSv1.2,TLSv1.3")),
        ("auto_generate_certs", plain("OFF")),
        ("require_secure_transport", on(input.server.is_tls_required)),
        // Started by nobody but the agent, and closed until it opens it.
        ("super_read_only", plain("ON")),
        ("offline_mode", plain("ON")),
        ("skip_replica_start", plain("ON")),
        // An acknowledged commit is on the disk.
        ("sync_binlog", plain("1")),
        ("innodb_flush_log_at_trx_commit", plain("1")),
        ("innodb_doublewrite", plain("ON")),
        ("log_bin", text(&paths.data.join("binlog"))),
        ("binlog_error_action", plain("ABORT_SERVER")),
        ("gtid_mode", plain("ON")),
        ("enforce_gtid_consistency", plain("ON")),
        ("log_replica_updates", plain("ON")),
        // An acknowledgement promises the relay log.
        ("relay_log", text(&paths.data.join("relay"))),
        ("relay_log_recovery", plain("OFF")),
        ("sync_relay_log", plain("1")),
        ("replica_preserve_commit_order", plain("ON")),
        // Silence is measured elsewhere, and a receiver that tries to connect takes longer to stop: it is to wait
        // for its source until a failover has stopped it.
        ("replica_net_timeout", plain("10")),
        ("replication_sender_observe_commit_only", plain("OFF")),
        ("rpl_semi_sync_source_enabled", plain("OFF")),
        ("rpl_semi_sync_source_timeout", u32::MAX.to_string()),
        ("rpl_semi_sync_source_wait_no_replica", plain("ON")),
        ("rpl_semi_sync_source_wait_point", plain("AFTER_SYNC")),
        ("rpl_semi_sync_replica_enabled", plain("ON")),
        ("clone_ssl_ca", text(&paths.authority())),
    ];
    if let Some(replication) = input.replication {
        // With a thread and connections of its own, which no client uses up.
        options.extend([
            ("admin_address", replication.ip().to_string()),
            ("admin_port", replication.port().to_string()),
            ("create_admin_listener_thread", plain("ON")),
        ]);
    }
    options
}

/// The file. The user's parameters come last.
pub(crate) fn render(input: &Input<'_>, parameters: &BTreeMap<String, String>) -> Result<String, Error> {
    let fixed = fixed(input);
    let mut file =
        String::from("# Written by the agent at every start of mysqld: changes are lost.\n[mysqld]\n");
    let mut line = |name: &str, value: &str| -> Result<(), Error> {
        let value = quoted(value).ok_or_else(|| Error::Value { name: name.into() })?;
        file.push_str(&format!("{name}={value}\n"));
        Ok(())
    };
    for library in LIBRARIES {
        line("plugin_load_add", library)?;
    }
    for (name, value) in &fixed {
        line(name, value)?;
    }
    for (name, value) in chosen(input.server.memory_bytes) {
        if !parameters.keys().any(|chosen| spelled(chosen) == name) {
            line(name, &value)?;
        }
    }
    for (name, value) in parameters {
        let name = checked(name, &fixed)?;
        line(&name, value)?;
    }
    Ok(file)
}

/// What the option is without the user's word; `None` is mysqld's own default.
pub(crate) fn default_of(name: &str, memory_bytes: u64) -> Option<String> {
    let name = spelled(name);
    let mut options = chosen(memory_bytes).into_iter();
    options.find(|(known, _)| *known == name).map(|(_, value)| value)
}

pub(crate) fn spelled(name: &str) -> String {
    name.to_ascii_lowercase().replace('-', "_")
}

/// mysqld takes any unambiguous beginning of a name for the name.
fn checked(name: &str, fixed: &[(&str, String)]) -> Result<String, Error> {
    let spelled = spelled(name);
    let is_name = spelled.len() <= NAME_LIMIT_BYTES
        && spelled.starts_with(|letter: char| letter.is_ascii_lowercase())
        && spelled
            .chars()
            .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "_.".contains(letter));
    if !is_name {
        let name = name.chars().take(NAME_LIMIT_BYTES).collect();
        return Err(Error::Name { name });
    }
    let ours = fixed.iter().map(|(name, _)| *name).chain(RESERVED);
    let is_ours = ours.into_iter().any(|known| known.starts_with(&spelled))
        || ["admin_", "plugin_", "rpl_semi_sync_", "clone_", "replicate_"]
            .iter()
            .any(|family| spelled.starts_with(family));
    let is_modified = MODIFIERS.iter().any(|modifier| spelled.starts_with(modifier));
    match (is_ours || is_modified) && !HARMLESS.contains(&spelled.as_str()) {
        true => Err(Error::Refused { name: spelled }),
        false => Ok(spelled),
    }
}

/// Manual, "Using Option Files": quoted, a `#` and spaces are the value's, and a backslash escapes.
fn quoted(value: &str) -> Option<String> {
    if value.len() > VALUE_LIMIT_BYTES || value.chars().any(char::is_control) {
        return None;
    }
    Some(format!(
        "\"{}\"",
        value.replace('\\', "\\\\").replace('"', "\\\"")
    ))
}

#[cfg(test)]
mod tests;
