//! Owns real mysqlds in their own root file system, as an unprivileged user, on loopback.
//! It must not leave a process or a directory behind, nor touch those of a living run.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use sql::connect::{Address, Credentials, Tls};
use sql::{Deadline, Error, Secret, Session};

const ROOT: &str = "SQL_MYSQL_ROOT";
const UID: u32 = 64_998;
const PATIENCE: Duration = Duration::from_secs(90);
const ROOT_PASSWORD: &str = "not-a-secret";

pub(crate) fn within(seconds: u64) -> Deadline {
    Deadline::after(Duration::from_secs(seconds))
}

pub(crate) struct Server {
    /// The directory, as seen from outside and from inside the root file system.
    outside: PathBuf,
    pub(crate) inside: String,
    root: PathBuf,
    pub(crate) port: u16,
    options: Vec<String>,
    pub(crate) authority_pem: Vec<u8>,
    child: Option<Child>,
}

fn root() -> PathBuf {
    let root = std::env::var_os(ROOT)
        .unwrap_or_else(|| panic!("set {ROOT} to a root file system that holds usr/sbin/mysqld"));
    let root = PathBuf::from(root);
    assert!(
        root.join("usr/sbin/mysqld").exists(),
        "{ROOT}: no usr/sbin/mysqld in {}",
        root.display()
    );
    root
}

fn command_line(pid: &str) -> String {
    let mut text = Vec::new();
    if let Ok(mut file) = fs::File::open(format!("/proc/{}/cmdline", pid.trim())) {
        let _ = file.read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).replace('\0', " ")
}

fn signal(name: &str, pid: &str) {
    let done = Command::new("kill")
        .args([&format!("-{name}"), pid.trim()])
        .status()
        .unwrap();
    assert!(done.success(), "kill -{name} {pid}");
}

/// Ends what a killed run left: its mysqld by the pid it wrote, if that still is this mysqld.
fn clean(outside: &Path, inside: &str) {
    if let Ok(owner) = fs::read_to_string(outside.join("owner")) {
        let alive = command_line(&owner).contains("mysqld-") && owner != std::process::id().to_string();
        assert!(!alive, "process {owner} is using {}", outside.display());
    }
    if let Ok(pid) = fs::read_to_string(outside.join("mysqld.pid.ours")) {
        let began = Instant::now();
        while command_line(&pid).contains(&format!("--datadir={inside}/data")) {
            assert!(
                began.elapsed() < PATIENCE,
                "mysqld {pid} of an earlier run does not die"
            );
            signal("KILL", &pid);
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    if outside.exists() {
        fs::remove_dir_all(outside).unwrap();
    }
}

/// The authority of a group of servers.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        // Not the default name, which the servers' certificates would bear as well: OpenSSL would
        // take them for their own issuers.
        params.distinguished_name.push(DnType::CommonName, "tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for loopback, and for a name that no resolver knows.
    fn write_server(&self, directory: &Path) {
        let names = ["127.0.0.1".to_owned(), "localhost".into(), "db.example".into()];
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap();
        let certificate = certificate.signed_by(&key, &self.0).unwrap();
        fs::write(directory.join("ca.pem"), self.pem()).unwrap();
        fs::write(directory.join("cert.pem"), certificate.pem()).unwrap();
        fs::write(directory.join("key.pem"), key.serialize_pem()).unwrap();
        chown(directory.join("key.pem"), Some(UID), Some(UID)).unwrap();
    }
}

impl Server {
    /// A new, empty server: root from the socket, with a password.
    pub(crate) fn start(name: &str, id: u32, authority: &Authority, options: &[&str]) -> Server {
        let root = root();
        let inside = format!("/var/tmp/holdfast-sql-{name}");
        let outside = root.join(inside.trim_start_matches('/'));
        clean(&outside, &inside);
        fs::create_dir_all(outside.join("data")).unwrap();
        fs::write(outside.join("owner"), std::process::id().to_string()).unwrap();
        for path in [outside.clone(), outside.join("data")] {
            chown(path, Some(UID), Some(UID)).unwrap();
        }
        authority.write_server(&outside);
        let init = format!("ALTER USER root@localhost IDENTIFIED BY '{ROOT_PASSWORD}';\n");
        fs::write(outside.join("init.sql"), init).unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut all = vec![format!("--server-id={id}")];
        all.extend(options.iter().map(|option| (*option).to_owned()));
        let mut server = Server {
            outside,
            inside,
            root,
            port,
            options: all,
            authority_pem: authority.pem().into_bytes(),
            child: None,
        };
        server.initialize();
        server.spawn();
        server
    }

    /// chroot, then another user, then mysqld: one process, which dies with this thread.
    fn mysqld(&self) -> Command {
        let mut command = Command::new("chroot");
        command
            .arg(&self.root)
            .args([
                "setpriv",
                &format!("--reuid={UID}"),
                &format!("--regid={UID}"),
                "--clear-groups",
            ])
            .args(["--pdeathsig=KILL", "/usr/sbin/mysqld", "--no-defaults"])
            .arg(format!("--datadir={}/data", self.inside))
            .arg(format!("--log-error={}/error.log", self.inside))
            .arg(format!("--tmpdir={}", self.inside))
            .args(["--innodb-redo-log-capacity=16M", "--innodb-buffer-pool-size=64M"])
            .arg("--secure-file-priv=")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn initialize(&mut self) {
        let init = format!("--init-file={}/init.sql", self.inside);
        let child = self
            .mysqld()
            .args(["--initialize-insecure", &init])
            .spawn()
            .unwrap();
        self.remember(&child);
        let done = { child }.wait().unwrap();
        assert!(
            done.success(),
            "failed to initialize mysqld: {}",
            self.error_log()
        );
    }

    fn remember(&self, child: &Child) {
        fs::write(self.outside.join("mysqld.pid.ours"), child.id().to_string()).unwrap();
    }

    pub(crate) fn spawn(&mut self) {
        let inside = &self.inside;
        let child = self
            .mysqld()
            .arg(format!("--port={}", self.port))
            .arg(format!("--socket={inside}/sock"))
            .arg(format!("--pid-file={inside}/pid"))
            .arg(format!("--ssl-ca={inside}/ca.pem"))
            .arg(format!("--ssl-cert={inside}/cert.pem"))
            .arg(format!("--ssl-key={inside}/key.pem"))
            .args(["--bind-address=127.0.0.1", "--mysqlx=OFF", "--skip-name-resolve"])
            .args([
                "--gtid-mode=ON",
                "--enforce-gtid-consistency=ON",
                "--log-bin=binlog",
            ])
            .args(["--skip-replica-start=ON", "--relay-log-recovery=OFF"])
            .args(["--sync-relay-log=1", "--replica-net-timeout=4"])
            .arg("--plugin-load-add=semisync_source.so;semisync_replica.so;mysql_clone.so")
            .args(&self.options)
            .spawn()
            .unwrap();
        self.remember(&child);
        self.child = Some(child);
    }

    pub(crate) fn authority_file(&self) -> String {
        format!("{}/ca.pem", self.inside)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.outside.join(name)
    }

    pub(crate) fn socket(&self) -> Address {
        Address::Socket(self.outside.join("sock"))
    }

    pub(crate) fn tcp(&self) -> Address {
        Address::Tcp {
            host: "127.0.0.1".into(),
            port: self.port,
            tls: Tls {
                authorities_pem: self.authority_pem.clone(),
                server_name: None,
            },
        }
    }

    /// Until root gets in.
    pub(crate) async fn ready(&mut self) -> Session {
        let began = Instant::now();
        loop {
            match self.root().await {
                Ok(session) => return session,
                Err(error) => {
                    let gone = self.child.as_mut().unwrap().try_wait().unwrap();
                    assert!(gone.is_none(), "mysqld ended: {}", self.error_log());
                    let late = began.elapsed() > PATIENCE;
                    assert!(!late, "mysqld does not answer: {error:?} {}", self.error_log());
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(crate) async fn root(&self) -> Result<Session, Error> {
        Session::connect(&self.socket(), &credentials("root", ROOT_PASSWORD), within(20)).await
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(name, &self.child.as_ref().unwrap().id().to_string());
    }

    /// Until the process has ended by itself.
    pub(crate) async fn ended(&mut self) {
        let began = Instant::now();
        let child = self.child.as_mut().unwrap();
        while child.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < PATIENCE, "mysqld does not end");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn error_log(&self) -> String {
        let text = fs::read_to_string(self.outside.join("error.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(15).collect();
        lines.into_iter().rev().collect::<Vec<&str>>().join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.outside);
    }
}

pub(crate) fn credentials(user: &str, password: &str) -> Credentials {
    Credentials {
        user: user.into(),
        password: Secret::new(password),
    }
}

/// A client that is no part of the crate: for what applications and people do.
pub(crate) struct Client(pub(crate) mysql_async::Conn);

impl Client {
    pub(crate) async fn socket(server: &Server, user: &str, password: &str) -> mysql_async::Result<Self> {
        let socket = server.file("sock").to_str().unwrap().to_owned();
        let opts = mysql_async::OptsBuilder::default()
            .user(Some(user))
            .pass(Some(password))
            .socket(Some(socket));
        mysql_async::Conn::new(opts).await.map(Self)
    }

    pub(crate) async fn root(server: &Server) -> Self {
        Self::socket(server, "root", ROOT_PASSWORD).await.unwrap()
    }

    /// Over TCP, with TLS to whoever answers, or without.
    pub(crate) async fn tcp(
        server: &Server,
        user: &str,
        password: &str,
        has_tls: bool,
    ) -> mysql_async::Result<Self> {
        let tls = mysql_async::SslOpts::default().with_danger_accept_invalid_certs(true);
        let opts = mysql_async::OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(server.port)
            .user(Some(user))
            .pass(Some(password))
            .prefer_socket(false)
            .ssl_opts(has_tls.then_some(tls));
        mysql_async::Conn::new(opts).await.map(Self)
    }

    pub(crate) async fn run(&mut self, sql: &str) -> mysql_async::Result<()> {
        use mysql_async::prelude::Queryable;
        self.0.query_drop(sql).await
    }

    pub(crate) async fn texts(&mut self, sql: &str) -> Vec<String> {
        use mysql_async::prelude::Queryable;
        self.0.query(sql).await.unwrap()
    }

    /// The code that a statement is refused with; 0 is success.
    pub(crate) async fn code(&mut self, sql: &str) -> u16 {
        code(self.run(sql).await)
    }
}

/// 0 is success.
pub(crate) fn code<T>(ended: mysql_async::Result<T>) -> u16 {
    match ended {
        Ok(_) => 0,
        Err(mysql_async::Error::Server(error)) => error.code,
        // Who does not exist is asked for a method drawn by lot, before being refused.
        Err(mysql_async::Error::Driver(mysql_async::DriverError::UnknownAuthPlugin { .. })) => 1045,
        Err(other) => panic!("{other}"),
    }
}
