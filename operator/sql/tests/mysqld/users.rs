//! Owns the proof of accounts on a real server: what each may do and may not, and its password.
//! It must not take a grant's text for the proof of a right.

use std::fs;

use sql::users::{self, Account, Binlog, Ensured, Job, Rotated, User};
use sql::version::{Number, REMOVED_VARIABLES};
use sql::{Secret, Session, clone, epoch, replication, roles, settings, status};

use topology::gtid::Uuid;

use crate::block_on;
use crate::server::{Authority, Client, Server, code, credentials, within};

const PASSWORD: &str = r#"p'a\ss"w`örd -- ;"#;
const HOSTILE: &str = r#"o'b"r`i\e%n_ж"#;

async fn make_all(session: &mut Session, binlog: Binlog) -> Vec<Ensured> {
    let mut done = Vec::new();
    for job in Job::ALL {
        let user = User::of_job(job);
        let made = users::ensure(session, &user, &Secret::new(PASSWORD), binlog, within(10)).await;
        done.push(made.unwrap());
    }
    done
}

async fn executed(session: &mut Session) -> String {
    let sets = status::read_sets(session, within(5)).await.unwrap();
    sets.executed.to_string()
}

/// The server's default mode is the one that quoting is not for: the session must pin its own.
#[test]
fn built_in_users_may_what_they_must_and_no_more() {
    block_on(async {
        let options = ["--sql-mode=NO_BACKSLASH_ESCAPES,ANSI_QUOTES", "--general-log=ON"];
        let mut server = Server::start("users", 1, &Authority::new(), &options);
        let mut root = server.ready().await;
        epoch::make_tables(&mut root, Binlog::Off, within(10))
            .await
            .unwrap();
        let made = make_all(&mut root, Binlog::Off).await;
        assert!(
            made.iter()
                .all(|ensured| ensured.is_created && ensured.granted > 0)
        );
        assert_eq!(
            executed(&mut root).await,
            "",
            "no GTID is spent on the first server"
        );
        // Again: nothing to do. With the binary log on, a statement would show.
        let made = make_all(&mut root, Binlog::On).await;
        assert!(
            made.iter().all(|ensured| *ensured == Ensured::default()),
            "{made:?}"
        );
        assert_eq!(executed(&mut root).await, "");
        rights_come_back(&server, &mut root).await;
        remote_users(&server).await;
        agent(&server).await;
        accounts(&server).await;
        no_password_is_shown(&server, &mut root).await;
    });
}

async fn rights_come_back(server: &Server, root: &mut Session) {
    let mut person = Client::root(server).await;
    for sql in [
        "GRANT SUPER, BACKUP_ADMIN ON *.* TO holdfast_monitoring@'%'",
        "GRANT SELECT ON mysql.* TO holdfast_monitoring@'%' WITH GRANT OPTION",
        "REVOKE PROCESS ON *.* FROM holdfast_monitoring@'%'",
        "ALTER USER holdfast_monitoring@'%' REQUIRE NONE",
    ] {
        person.run(sql).await.unwrap();
    }
    let user = User::of_job(Job::Monitoring);
    let other = Secret::new("another");
    let done = users::ensure(root, &user, &other, Binlog::Off, within(10))
        .await
        .unwrap();
    assert!(
        !done.is_created && done.is_transport_changed && done.granted == 1 && done.revoked >= 2,
        "{done:?}"
    );
    let done = users::ensure(root, &user, &other, Binlog::Off, within(10))
        .await
        .unwrap();
    assert_eq!(done, Ensured::default());
}

async fn remote_users(server: &Server) {
    for (job, may, may_not) in [
        (
            Job::Replication,
            &["SHOW BINARY LOGS"][..0],
            &[
                "SELECT * FROM mysql.user",
                "SHOW BINARY LOGS",
                "CREATE DATABASE x",
                "SET GLOBAL read_only = 1",
            ][..],
        ),
        (
            Job::Clone,
            &[][..],
            &[
                "SELECT * FROM mysql.user",
                "CREATE DATABASE x",
                "SET GLOBAL read_only = 1",
            ][..],
        ),
        (
            Job::Monitoring,
            &[
                "SELECT * FROM performance_schema.threads",
                "SELECT * FROM holdfast.heartbeat",
                "SHOW REPLICA STATUS",
                "SHOW BINARY LOG STATUS",
                "SHOW ENGINE INNODB STATUS",
            ][..],
            &[
                "SELECT * FROM mysql.user",
                "INSERT INTO holdfast.epoch VALUES (1, 'x', NOW())",
                "SET GLOBAL read_only = 1",
                "TRUNCATE TABLE performance_schema.events_statements_summary_by_digest",
                "STOP REPLICA",
                "FLUSH LOGS",
            ][..],
        ),
    ] {
        let name = job.account().user;
        assert_eq!(
            code(Client::tcp(server, &name, PASSWORD, false).await),
            1045,
            "{name} without TLS"
        );
        assert_eq!(
            code(Client::socket(server, &name, PASSWORD).await),
            1045,
            "{name} over the socket"
        );
        assert_eq!(code(Client::tcp(server, &name, "wrong", true).await), 1045);
        let mut client = Client::tcp(server, &name, PASSWORD, true).await.unwrap();
        for sql in may {
            assert_eq!(client.code(sql).await, 0, "{name}: {sql}");
        }
        for sql in may_not {
            let code = client.code(sql).await;
            assert!([1044, 1142, 1143, 1227].contains(&code), "{name}: {sql}: {code}");
        }
    }
}

async fn agent(server: &Server) {
    let credentials = credentials("holdfast_agent", PASSWORD);
    assert_eq!(
        code(Client::tcp(server, "holdfast_agent", PASSWORD, true).await),
        1045,
        "local only"
    );
    let mut session = Session::connect(&server.socket(), &credentials, within(10))
        .await
        .unwrap();
    let agent = &mut session;
    // All that the crate does with a role, through the agent's own account.
    let facts = status::read(agent, within(10)).await.unwrap();
    assert!(facts.plugins.len() == 3 && facts.binlog.is_some() && facts.channels.is_empty());
    removed_variables(server, facts.version.number).await;
    settings::read(agent, within(5)).await.unwrap();
    roles::clients(agent, within(5)).await.unwrap();
    roles::set_super_read_only(agent, true, within(5)).await.unwrap();
    roles::set_super_read_only(agent, false, within(5)).await.unwrap();
    // Read-only for others still: what the barrier needs.
    assert_eq!(
        settings::read(agent, within(5))
            .await
            .unwrap()
            .flag(settings::Setting::ReadOnly),
        Some(true)
    );
    epochs(agent, facts.server_uuid).await;
    roles::set_read_only(agent, false, within(5)).await.unwrap();
    roles::set_offline(agent, true, within(5)).await.unwrap();
    roles::set_offline(agent, false, within(5)).await.unwrap();
    replication::wait_for_replicas(agent, 1, within(5)).await.unwrap();
    replication::stop_waiting_for_replicas(agent, within(5))
        .await
        .unwrap();
    replication::reset(agent, within(5)).await.unwrap();
    clone::allow(agent, &[], Some(&server.authority_file()), within(5))
        .await
        .unwrap();
    agent_may_not(server).await;
}

async fn epochs(agent: &mut Session, server_uuid: Uuid) {
    let identity = "eeeeeeee-eeee-eeee-eeee-eeeeeeeeeeee".parse().unwrap();
    let barrier = epoch::barrier(agent, identity, 1, within(5)).await.unwrap();
    assert!(barrier.is_new);
    // There already: skipped by the server, so another write takes its place.
    let barrier = epoch::barrier(agent, identity, 1, within(5)).await.unwrap();
    assert!(!barrier.is_new);
    let beat = epoch::read_heartbeat(agent, within(5)).await.unwrap().unwrap();
    assert_eq!((beat.beat, beat.epoch, beat.server_uuid), (1, 1, server_uuid));
    assert!(
        (beat.read_at_us - beat.written_at_us).abs() < 60_000_000,
        "{beat:?}"
    );
    assert_eq!(epoch::rows(agent, within(5)).await.unwrap().len(), 1);
    let sets = status::read_sets(agent, within(5)).await.unwrap();
    assert_eq!(epoch::highest(identity, &sets.executed), 1);
}

async fn agent_may_not(server: &Server) {
    let mut client = Client::socket(server, "holdfast_agent", PASSWORD).await.unwrap();
    for sql in [
        "SELECT * FROM mysql.user",
        "CREATE DATABASE x",
        "CREATE TABLE holdfast.x (a INT)",
        "CREATE USER x",
        "GRANT SELECT ON holdfast.* TO holdfast_monitoring@'%'",
        "SELECT LOAD_FILE('/etc/passwd')",
        "SELECT 1 INTO OUTFILE '/tmp/x'",
        "INSTALL PLUGIN x SONAME 'x.so'",
    ] {
        let code = client.code(sql).await;
        // LOAD_FILE says nothing: it answers NULL.
        let is_refused = [1044, 1045, 1142, 1227, 1410].contains(&code) || sql.contains("LOAD_FILE");
        assert!(is_refused, "{sql}: {code}");
    }
    assert_eq!(
        client
            .texts("SELECT COALESCE(LOAD_FILE('/etc/passwd'), 'nothing')")
            .await,
        ["nothing"]
    );
}

/// The table of versions against the server: what it calls removed is not there.
async fn removed_variables(server: &Server, version: Number) {
    let mut root = Client::root(server).await;
    let known = root
        .texts("SELECT VARIABLE_NAME FROM performance_schema.global_variables")
        .await;
    for (name, _) in REMOVED_VARIABLES.iter().filter(|(_, since)| version >= *since) {
        assert!(!known.iter().any(|known| known == name), "{version} has {name}");
    }
    for setting in settings::Setting::ALL {
        assert!(
            known.iter().any(|known| known == setting.name()),
            "{version} lacks {}",
            setting.name()
        );
        assert!(!version.has_removed(setting.name()));
    }
}

async fn accounts(server: &Server) {
    let keys = credentials("holdfast_accounts", PASSWORD);
    let mut session = Session::connect(&server.socket(), &keys, within(10))
        .await
        .unwrap();
    let keeper = &mut session;
    let database = r#"my_d'b"%`ж"#;
    assert!(users::ensure_database(keeper, database, within(5)).await.unwrap());
    assert!(!users::ensure_database(keeper, database, within(5)).await.unwrap());
    let user = User::of_application(HOSTILE, &[database]).unwrap();
    let first = Secret::new(PASSWORD);
    let done = users::ensure(keeper, &user, &first, Binlog::On, within(5))
        .await
        .unwrap();
    assert!(
        done.is_created && done.granted == 1 && done.revoked == 0,
        "{done:?}"
    );
    let before = executed(keeper).await;
    let done = users::ensure(keeper, &user, &first, Binlog::On, within(5))
        .await
        .unwrap();
    assert_eq!((done, executed(keeper).await), (Ensured::default(), before));
    // A database that the name would match as a pattern.
    let similar = r#"myxd'b"yy`ж"#;
    assert!(users::ensure_database(keeper, similar, within(5)).await.unwrap());
    let mut app = Client::tcp(server, HOSTILE, PASSWORD, true).await.unwrap();
    let place = format!("`{}`", database.replace('`', "``"));
    let other = format!("`{}`", similar.replace('`', "``"));
    for sql in [
        format!("CREATE TABLE {place}.t (id INT PRIMARY KEY)"),
        format!("INSERT INTO {place}.t VALUES (1)"),
        format!("DROP TABLE {place}.t"),
    ] {
        assert_eq!(app.code(&sql).await, 0, "{sql}");
    }
    for sql in [
        format!("CREATE TABLE {other}.t (id INT PRIMARY KEY)"),
        "SELECT * FROM holdfast.heartbeat".into(),
        "SELECT * FROM mysql.user".into(),
        "SET GLOBAL read_only = 1".into(),
        "SET GLOBAL offline_mode = 1".into(),
        "SET SESSION sql_log_bin = 0".into(),
        "CREATE DATABASE x".into(),
        "KILL 5".into(),
    ] {
        let code = app.code(&sql).await;
        assert!([1044, 1094, 1142, 1227].contains(&code), "{sql}: {code}");
    }
    rotation(server, keeper, &user.account).await;
}

async fn rotation(server: &Server, keeper: &mut Session, account: &Account) {
    let enters = async |password: &str| {
        let entered = Client::tcp(server, HOSTILE, password, true).await;
        code(entered) == 0
    };
    let second = "second'\\";
    let rotate = async |keeper: &mut Session, password: &str| {
        users::rotate(keeper, account, &Secret::new(password), within(5))
            .await
            .unwrap()
    };
    assert_eq!(rotate(keeper, second).await, Rotated::Both);
    assert!(enters(PASSWORD).await && enters(second).await);
    // Again, as after a lost answer; and another one, which must not push the first out.
    assert_eq!(rotate(keeper, second).await, Rotated::BothBefore);
    assert_eq!(rotate(keeper, "third").await, Rotated::BothBefore);
    assert!(enters(PASSWORD).await && enters(second).await && !enters("third").await);
    assert!(
        users::discard_old_password(keeper, account, within(5))
            .await
            .unwrap()
    );
    assert!(
        !users::discard_old_password(keeper, account, within(5))
            .await
            .unwrap()
    );
    assert!(!enters(PASSWORD).await && enters(second).await);
    let nobody = Account::new("nobody", "%");
    assert!(
        users::rotate(keeper, &nobody, &Secret::new("x"), within(5))
            .await
            .is_err()
    );
}

/// Neither in what the server keeps of statements, nor in its general log, nor in our errors.
async fn no_password_is_shown(server: &Server, root: &mut Session) {
    let word = "Unguessable";
    let user = User::of_application("shown", &[]).unwrap();
    let secret = Secret::new(format!("{word}1"));
    users::ensure(root, &user, &secret, Binlog::On, within(5))
        .await
        .unwrap();
    let secret = Secret::new(format!("{word}2"));
    users::rotate(root, &user.account, &secret, within(5))
        .await
        .unwrap();
    // Errors whose statements hold a password: no clone from nobody.
    let donor = clone::Donor {
        host: "127.0.0.1".into(),
        port: 1,
    };
    let keys = credentials("x", &format!("{word}3"));
    let error = clone::clone_from(root, &donor, &keys, within(5))
        .await
        .unwrap_err();
    assert!(!format!("{error} {error:?}").contains(word), "{error:?}");
    replication::start_receiver(root, &keys, within(5))
        .await
        .unwrap_err();
    let mut person = Client::root(server).await;
    for sql in [
        "SELECT CONCAT_WS(' ', SQL_TEXT, DIGEST_TEXT) FROM performance_schema.events_statements_history_long",
        "SELECT CONCAT_WS(' ', SQL_TEXT, DIGEST_TEXT) FROM performance_schema.events_statements_history",
        "SELECT COALESCE(QUERY_SAMPLE_TEXT, '') FROM performance_schema.events_statements_summary_by_digest",
        "SELECT COALESCE(PROCESSLIST_INFO, '') FROM performance_schema.threads",
    ] {
        let texts = person.texts(sql).await;
        let shown: Vec<&String> = texts.iter().filter(|text| text.contains(word)).collect();
        assert!(shown.is_empty(), "{sql}: {shown:?}");
    }
    let mut found = 0;
    for entry in fs::read_dir(server.file("data")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.ends_with(".log") || name.starts_with("binlog.0") {
            let bytes = fs::read(&path).unwrap();
            let is_shown = bytes.windows(word.len()).any(|part| part == word.as_bytes());
            assert!(!is_shown, "{name}");
            found += 1;
        }
    }
    assert!(found >= 2, "the general log and a binary log");
}
