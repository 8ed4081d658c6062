//! Where everything is: the folders of the Pod, the ports, the files on the volume.
//! Must not read or write any of it.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// What the Pod tells the agent.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name of this member; assignments for another one are refused.
    pub member: String,
    /// The volume.
    pub data: PathBuf,
    /// `ca.crt`, `tls.crt`, `tls.key`.
    pub tls: PathBuf,
    /// One file an account.
    pub passwords: PathBuf,
    /// `username`, `password`, `database` of the application's user.
    pub app: PathBuf,
    /// Where mysqld and the agent listen; `None` is everywhere.
    pub address: Option<IpAddr>,
    pub mysql_port: u16,
    /// Where other members follow and copy, beside that port; it must be an address of this machine.
    pub replication: Option<SocketAddr>,
    pub agent_port: u16,
    pub http_port: u16,
}

/// The files on the volume and beside it.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    /// mysqld's data directory. It is there once it is complete, never before.
    pub(crate) data: PathBuf,
    /// A data directory in the making, or half made when somebody was killed.
    pub(crate) unfinished: PathBuf,
    /// Data that were given up, on their way out.
    pub(crate) void: PathBuf,
    /// The agent's own folder.
    pub(crate) own: PathBuf,
    pub(crate) tmp: PathBuf,
    pub(crate) socket: PathBuf,
    pub(crate) pid_file: PathBuf,
    pub(crate) config: PathBuf,
    /// A configuration that is being tried.
    pub(crate) candidate: PathBuf,
    /// The user's parameters that mysqld accepted last.
    pub(crate) accepted: PathBuf,
    pub(crate) assignment: PathBuf,
    /// Only the promised term, for a day on which the assignment cannot be read.
    pub(crate) term: PathBuf,
    /// Binary logs of what was removed. No clone touches them.
    pub(crate) archive: PathBuf,
    /// What was removed last.
    pub(crate) removed: PathBuf,
    /// The last binary log when mysqld was started last.
    pub(crate) started_on: PathBuf,
    /// A clone that was begun and has not been finished.
    pub(crate) clone: PathBuf,
    pub(crate) tls: PathBuf,
    pub(crate) passwords: PathBuf,
    pub(crate) app: PathBuf,
}

impl Paths {
    pub(crate) fn new(options: &Options) -> Self {
        let own = options.data.join("holdfast");
        let tmp = own.join("tmp");
        Self {
            data: options.data.join("mysql"),
            unfinished: options.data.join("mysql.unfinished"),
            void: options.data.join("mysql.void"),
            socket: tmp.join("mysqld.sock"),
            pid_file: tmp.join("mysqld.pid"),
            config: own.join("my.cnf"),
            candidate: own.join("my.cnf.candidate"),
            accepted: own.join("parameters.json"),
            assignment: own.join("assignment.json"),
            term: own.join("promised.json"),
            archive: own.join("archive"),
            removed: own.join("removed.json"),
            started_on: own.join("started-on"),
            clone: own.join("clone.json"),
            tmp,
            own,
            tls: options.tls.clone(),
            passwords: options.passwords.clone(),
            app: options.app.clone(),
        }
    }

    pub(crate) fn authority(&self) -> PathBuf {
        self.tls.join("ca.crt")
    }

    pub(crate) fn auto_cnf(&self) -> PathBuf {
        self.data.join("auto.cnf")
    }
}

/// As text for a file or a statement; paths of ours are plain.
pub(crate) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
