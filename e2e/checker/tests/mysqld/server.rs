//! Owns a real mysqld in its own root file system, as an unprivileged user, on loopback.
//! It must not leave a process or a directory behind, nor touch those of a living run.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use checker::sql::{Password, Reaper, Session, Target, Tls, setup};

const ROOT: &str = "CHECKER_MYSQL_ROOT";
const UID: u32 = 64_999;
const PASSWORD: &str = "not-a-secret";
const PATIENCE: Duration = Duration::from_secs(90);

/// Two cores: one server at a time.
static ONE: Mutex<()> = Mutex::new(());

pub(crate) struct Server {
    /// The directory, as seen from outside and from inside the root file system.
    outside: PathBuf,
    inside: String,
    root: PathBuf,
    port: u16,
    options: Vec<String>,
    child: Option<Child>,
    _one: MutexGuard<'static, ()>,
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

impl Server {
    /// A new, empty server with the tables of the checker.
    pub(crate) fn start(name: &str, options: &[&str]) -> Server {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let root = root();
        let inside = format!("/var/tmp/holdfast-checker-{name}");
        let outside = root.join(inside.trim_start_matches('/'));
        clean(&outside, &inside);
        fs::create_dir_all(outside.join("data")).unwrap();
        fs::write(outside.join("owner"), std::process::id().to_string()).unwrap();
        let init = format!(
            "CREATE USER IF NOT EXISTS admin@'%' IDENTIFIED BY '{PASSWORD}';\n\
             GRANT ALL ON *.* TO admin@'%';\n\
             CREATE USER IF NOT EXISTS app@'%' IDENTIFIED BY '{PASSWORD}';\n\
             GRANT ALL ON checker.* TO app@'%';\n"
        );
        fs::write(outside.join("init.sql"), init).unwrap();
        for path in [outside.clone(), outside.join("data")] {
            chown(path, Some(UID), Some(UID)).unwrap();
        }
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let mut server = Server {
            outside,
            inside,
            root,
            port,
            options,
            child: None,
            _one: one,
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
        let child = self.mysqld().arg("--initialize-insecure").spawn().unwrap();
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

    fn spawn(&mut self) {
        let child = self
            .mysqld()
            .arg(format!("--port={}", self.port))
            .arg(format!("--socket={}/sock", self.inside))
            .arg(format!("--pid-file={}/pid", self.inside))
            .arg(format!("--init-file={}/init.sql", self.inside))
            .args(["--bind-address=127.0.0.1", "--mysqlx=OFF", "--skip-name-resolve"])
            .args(&self.options)
            .spawn()
            .unwrap();
        self.remember(&child);
        self.child = Some(child);
    }

    /// Until it takes the tables of the checker.
    pub(crate) async fn ready(&mut self) {
        let began = Instant::now();
        loop {
            match setup(&self.target("admin"), Duration::from_secs(10)).await {
                Ok(()) => return,
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

    pub(crate) fn target(&self, user: &str) -> Target {
        Target {
            host: "127.0.0.1".into(),
            port: self.port,
            user: user.into(),
            password: Password::new(PASSWORD),
            tls: Tls::Off,
            database: "checker".into(),
        }
    }

    pub(crate) fn password(&self) -> &'static str {
        PASSWORD
    }

    pub(crate) async fn admin(&self, sql: &str) {
        let deadline = Duration::from_secs(20);
        let reaper = Reaper::start();
        let mut session = Session::connect(&self.target("admin"), deadline, deadline, &reaper)
            .await
            .unwrap();
        session.run("administer", sql).await.unwrap();
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(name, &self.child.as_ref().unwrap().id().to_string());
    }

    /// kill -9, and the same data again.
    pub(crate) fn crash_and_restart(&mut self) {
        self.end();
        self.spawn();
    }

    fn end(&mut self) {
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
        self.end();
        let _ = fs::remove_dir_all(&self.outside);
    }
}
