//! The file as a whole, the sizes, and what users may not do to it.
//! Must not need mysqld.

use super::*;
use crate::options::Options;

fn render_with(server: &Server) -> Result<String, Error> {
    let options = Options {
        member: "db-0".into(),
        data: "/data".into(),
        tls: "/holdfast/tls".into(),
        passwords: "/holdfast/passwords".into(),
        app: "/holdfast/app".into(),
        address: None,
        mysql_port: 3306,
        replication: None,
        agent_port: 9306,
        http_port: 9307,
    };
    let paths = Paths::new(&options);
    let input = Input {
        paths: &paths,
        address: None,
        port: 3306,
        replication: Some(([10, 244, 1, 7], 33062).into()),
        member: "db-0",
        plugins: Path::new("/usr/lib/mysql/plugin"),
        server,
    };
    render(&input, &server.parameters)
}

fn server(parameters: &[(&str, &str)]) -> Server {
    Server {
        server_id: 7,
        memory_bytes: 512 * MIB,
        is_tls_required: true,
        parameters: parameters
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        may_restart: false,
    }
}

#[test]
fn the_file_of_a_small_member() {
    let text = render_with(&server(&[("max_connections", "500"), ("sql_mode", "ANSI")])).unwrap();
    insta::assert_snapshot!(text);
}

#[test]
fn the_buffer_pool_leaves_room_for_the_rest() {
    for (memory, wanted) in [
        (0, 128),
        (256, 64),
        (512, 64),
        (768, 320),
        (1_024, 576),
        (2_048, 1_328),
        (8_192, 5_312),
        (65_536, 61_440),
    ] {
        assert_eq!(pool_bytes(memory * MIB) / MIB, wanted, "{memory} MiB");
    }
}

#[test]
fn a_size_of_the_users_replaces_ours() {
    let text = render_with(&server(&[("innodb-buffer-pool-size", "96M")])).unwrap();
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("buffer_pool_size"))
        .collect();
    assert_eq!(lines, ["innodb_buffer_pool_size=\"96M\""]);
    assert_eq!(default_of("max_connections", 0), None);
    assert_eq!(
        default_of("innodb-buffer-pool-size", 0).unwrap(),
        (128 * MIB).to_string()
    );
}

#[test]
fn what_safety_needs_is_not_the_users() {
    for name in [
        "sync_binlog",
        "SYNC-BINLOG",
        "sync_bin",
        "super_read_only",
        "loose_sync_binlog",
        "skip_log_bin",
        "gtid",
        "plugin_load",
        "rpl_semi_sync_source_trace_level",
        "datadir",
        "log_bin",
        "init_file",
        "admin_port",
        "create_admin_listener_thread",
    ] {
        let refused = render_with(&server(&[(name, "1")])).unwrap_err();
        assert!(matches!(refused, Error::Refused { .. }), "{name}: {refused:?}");
    }
    for name in ["", "a b", "max_connections\nsync_binlog", "[client]", "1a", "#"] {
        let refused = render_with(&server(&[(name, "1")])).unwrap_err();
        assert!(matches!(refused, Error::Name { .. }), "{name}: {refused:?}");
    }
    for harmless in [
        "general_log",
        "long_query_time",
        "validate_password.policy",
        "max_connections",
    ] {
        let taken = render_with(&server(&[(harmless, "1")]));
        assert!(taken.is_ok(), "{harmless}: {taken:?}");
    }
}

#[test]
fn a_value_stays_on_its_line() {
    for bad in ["1\nsync_binlog=0", "1\r", "\0", &"x".repeat(2_000)] {
        let refused = render_with(&server(&[("init_connect", bad)]));
        assert!(matches!(refused, Err(Error::Value { .. })), "{bad:?}");
    }
    let text = render_with(&server(&[("init_connect", r##"say "#" \n"##)])).unwrap();
    assert!(text.contains(r##"init_connect="say \"#\" \\n""##), "{text}");
}
