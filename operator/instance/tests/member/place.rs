//! Owns the places where agents run: a root file system with mysqld, a user without rights, a PID
//! namespace each, loopback. It must not leave a process or a directory behind.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use agent_api::CONTROLLER_NAME;
use jiff::Timestamp;
use kit::certificates::Authority;

use crate::client::Client;

const ROOT: &str = "INSTANCE_MYSQL_ROOT";
const PROGRAM: &str = "INSTANCE_PROGRAM";
const UID: u32 = 64_996;
const PATIENCE: Duration = Duration::from_secs(60);
const LIFETIME: Duration = Duration::from_secs(86_400);
pub(crate) const PASSWORDS: [&str; 5] = ["agent", "accounts", "replication", "clone", "monitoring"];

pub(crate) fn variable(name: &str, what: &str) -> PathBuf {
    let value = std::env::var_os(name).unwrap_or_else(|| panic!("set {name} to {what}"));
    PathBuf::from(value)
}

fn root() -> PathBuf {
    variable(ROOT, "a root file system that holds usr/sbin/mysqld")
}

/// Authority, and the client certificate of a controller.
pub(crate) struct Trust {
    authority: Authority,
    pub(crate) client: (String, String),
}

impl Trust {
    pub(crate) fn new() -> Self {
        let now = Timestamp::now();
        let authority = Authority::new("tests", LIFETIME, now).unwrap();
        let client = authority.issue_client(CONTROLLER_NAME, LIFETIME, now).unwrap();
        let client = (client.certificate_pem.clone(), client.key_pem.to_string());
        Self { authority, client }
    }

    pub(crate) fn authority_pem(&self) -> String {
        self.authority.certificate_pem().to_owned()
    }

    pub(crate) fn write_server(&self, folder: &Path, member: &str) {
        let names = [member.to_owned(), "localhost".into()];
        let loopback = ["127.0.0.1".parse().unwrap()];
        let issued = self
            .authority
            .issue_server(&names, &loopback, LIFETIME, Timestamp::now())
            .unwrap();
        for (name, text) in [
            ("ca.crt", self.authority_pem()),
            ("tls.crt", issued.certificate_pem.clone()),
            ("tls.key", issued.key_pem.to_string()),
        ] {
            put(folder, name, &text);
        }
    }
}

/// As a volume of a Secret would: for our user, and replaced whole.
pub(crate) fn put(folder: &Path, name: &str, text: &str) {
    let new = folder.join(format!(".{name}"));
    fs::write(&new, text).unwrap();
    chown(&new, Some(UID), Some(UID)).unwrap();
    fs::rename(new, folder.join(name)).unwrap();
}

fn secret(name: &str) -> String {
    format!("{name}-not-'secret\\")
}

/// Below those that the kernel gives to whoever connects: such a one may be taken before mysqld asks for it.
fn free_port() -> u16 {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let mut ports = std::iter::repeat_with(|| 20_000 + GIVEN.fetch_add(1, Ordering::Relaxed) % 10_000);
    ports.by_ref().take(10_000).find(is_free).unwrap()
}

/// One member's folder and its agent.
pub(crate) struct Place {
    pub(crate) member: String,
    /// As seen from outside, by a short way: sockets have short names.
    pub(crate) outside: PathBuf,
    inside: String,
    link: PathBuf,
    pub(crate) mysql_port: u16,
    pub(crate) replication_port: u16,
    pub(crate) agent_port: u16,
    pub(crate) http_port: u16,
    /// Where mysqld is looked for first.
    path: Option<String>,
    child: Option<Child>,
}

impl Place {
    pub(crate) fn new(test: &str, number: u32, trust: &Trust) -> Self {
        let root = root();
        assert!(
            root.join("usr/sbin/mysqld").exists(),
            "{ROOT}: no usr/sbin/mysqld"
        );
        let member = format!("{test}-{number}");
        let inside = format!("/var/tmp/holdfast-instance-{member}");
        let link = std::env::temp_dir().join(format!("hfi-{member}"));
        let _ = fs::remove_file(&link);
        let place = root.join(inside.trim_start_matches('/'));
        if place.exists() {
            fs::remove_dir_all(&place).unwrap();
        }
        for folder in ["data", "tls", "passwords", "app", "bin"] {
            fs::create_dir_all(place.join(folder)).unwrap();
            chown(place.join(folder), Some(UID), Some(UID)).unwrap();
        }
        symlink(&place, &link).unwrap();
        let place = Self {
            outside: link.clone(),
            member,
            inside,
            link,
            mysql_port: free_port(),
            replication_port: free_port(),
            agent_port: free_port(),
            http_port: free_port(),
            path: None,
            child: None,
        };
        for name in PASSWORDS {
            put(
                &place.outside.join("passwords"),
                name,
                &format!("{name}-not-'secret\\"),
            );
        }
        for (name, text) in [("username", "app"), ("password", "first"), ("database", "app")] {
            put(&place.outside.join("app"), name, text);
        }
        trust.write_server(&place.outside.join("tls"), &place.member);
        let program = variable(PROGRAM, "the program, as build-static.sh makes it");
        fs::copy(program, place.outside.join("bin/holdfast")).unwrap();
        place
    }

    /// As of an image that somebody has put a keyring into: mysqld asks for it before anything else. The keys
    /// are on the volume.
    pub(crate) fn add_keyring(&mut self) {
        let image = self.outside.join("image/usr");
        let plugins = image.join("lib/mysql/plugin");
        fs::create_dir_all(image.join("sbin")).unwrap();
        fs::create_dir_all(&plugins).unwrap();
        let program = image.join("sbin/mysqld");
        fs::hard_link(root().join("usr/sbin/mysqld"), &program).unwrap();
        fs::write(
            program.with_extension("my"),
            r#"{"components": "file://component_keyring_file"}"#,
        )
        .unwrap();
        symlink("/usr/share", image.join("share")).unwrap();
        for plugin in fs::read_dir(root().join("usr/lib/mysql/plugin"))
            .unwrap()
            .flatten()
        {
            let name = plugin.file_name();
            symlink(
                Path::new("/usr/lib/mysql/plugin").join(&name),
                plugins.join(&name),
            )
            .unwrap();
        }
        let keys = format!(
            r#"{{"path": "{}/data/keyring", "read_only": false}}"#,
            self.inside
        );
        fs::write(plugins.join("component_keyring_file.cnf"), keys).unwrap();
        self.path = Some(format!("{}/image/usr/sbin", self.inside));
    }

    /// PID 1 of a namespace; all it started ends with it.
    pub(crate) fn start(&mut self) {
        let (user, inside) = (UID.to_string(), &self.inside);
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.outside.join("agent.log"))
            .unwrap();
        let mut command = Command::new("setpriv");
        command
            .args([
                "--pdeathsig=KILL",
                "unshare",
                "--pid",
                "--fork",
                "--kill-child",
                // Threads of mysqld are looked up there, as in a Pod.
                &format!("--mount-proc={}", root().join("proc").display()),
                "chroot",
            ])
            .arg(root())
            .args([
                "setpriv",
                &format!("--reuid={user}"),
                &format!("--regid={user}"),
                "--clear-groups",
            ])
            .args([&format!("{inside}/bin/holdfast"), "instance"])
            .env("HOLDFAST_MEMBER", &self.member)
            .env("HOLDFAST_DATA", format!("{inside}/data"))
            .env("HOLDFAST_TLS", format!("{inside}/tls"))
            .env("HOLDFAST_PASSWORDS", format!("{inside}/passwords"))
            .env("HOLDFAST_APP", format!("{inside}/app"))
            .env("HOLDFAST_ADDRESS", "127.0.0.1")
            .env("HOLDFAST_MYSQL_PORT", self.mysql_port.to_string())
            .env("HOLDFAST_REPLICATION_ADDRESS", "127.0.0.1")
            .env("HOLDFAST_REPLICATION_PORT", self.replication_port.to_string())
            .env("HOLDFAST_AGENT_PORT", self.agent_port.to_string())
            .env("HOLDFAST_HTTP_PORT", self.http_port.to_string())
            .env(
                "HOLDFAST_LOG",
                std::env::var("HOLDFAST_LOG").unwrap_or("info".into()),
            )
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        if let Some(first) = &self.path {
            let path = std::env::var("PATH").unwrap_or("/usr/sbin:/usr/bin".into());
            command.env("PATH", format!("{first}:{path}"));
        }
        self.child = Some(command.spawn().unwrap());
    }

    /// Of what the agent had resident at most so far.
    pub(crate) fn agent_peak_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.agent_pid())).unwrap();
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap();
        peak.trim().trim_end_matches(" kB").parse().unwrap()
    }

    fn socket(&self) -> PathBuf {
        self.outside.join("data/holdfast/tmp/mysqld.sock")
    }

    /// The application's user, in its database.
    pub(crate) async fn app(&self, password: &str) -> mysql_async::Result<Client> {
        Client::tcp(self.mysql_port, "app", password, "app").await
    }

    /// Somebody with every right.
    pub(crate) async fn root(&self) -> Client {
        let password = secret("accounts");
        Client::socket(&self.socket(), "holdfast_accounts", &password)
            .await
            .unwrap()
    }

    /// What the server's own tool reads from a log, by its way on the volume.
    pub(crate) fn mysqlbinlog(&self, path: &str) -> String {
        let mut command = Command::new("chroot");
        command
            .arg(root())
            .args(["mysqlbinlog", "--no-defaults", "--base64-output=decode-rows"]);
        let read = command.arg(format!("{}/{path}", self.inside)).output().unwrap();
        assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
        String::from_utf8_lossy(&read.stdout).into_owned()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.outside.join("agent.log")).unwrap_or_default()
    }

    /// The agent's process, as seen from outside of its namespace.
    pub(crate) fn agent_pid(&self) -> u32 {
        let unshare = self.child.as_ref().unwrap().id();
        let began = Instant::now();
        loop {
            let children = fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children"));
            if let Some(pid) = children.unwrap_or_default().split_whitespace().next() {
                return pid.parse().unwrap();
            }
            assert!(
                began.elapsed() < PATIENCE,
                "the agent of {} is not there",
                self.member
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The one that serves, not one that checks a file.
    pub(crate) fn mysqld_pid(&self) -> Option<u32> {
        let wanted = format!("--defaults-file={}/data/holdfast/my.cnf", self.inside);
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.find(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            line.split('\0').any(|word| word == wanted) && !line.contains("--validate-config")
        })
    }

    pub(crate) fn kill_mysqld(&self) {
        signal("KILL", self.mysqld_pid().expect("mysqld runs"));
    }

    pub(crate) fn signal_agent(&self, name: &str) {
        signal(name, self.agent_pid());
    }

    /// And with it everything in its namespace.
    pub(crate) fn kill_agent(&mut self) {
        self.signal_agent("KILL");
        self.wait_end();
    }

    /// Returns its exit code.
    pub(crate) fn wait_end(&mut self) -> Option<i32> {
        let mut child = self.child.take().unwrap();
        let began = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status.code();
            }
            assert!(
                began.elapsed() < PATIENCE,
                "the agent of {} does not end",
                self.member
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

pub(crate) fn signal(name: &str, pid: u32) {
    let done = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status();
    assert!(done.unwrap().success(), "kill -{name} {pid}");
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().rev().take(60).collect();
            println!("--- {}", self.member);
            lines.iter().rev().for_each(|line| println!("{line}"));
        }
        if self.child.is_some() {
            // Whoever changes its user is not killed with its parent.
            self.signal_agent("KILL");
            let _ = self.child.take().map(|mut child| child.wait());
        }
        let began = Instant::now();
        while self.mysqld_pid().is_some() && began.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(20));
        }
        if let Ok(place) = fs::canonicalize(&self.link) {
            let _ = fs::remove_dir_all(place);
        }
        let _ = fs::remove_file(&self.link);
    }
}
