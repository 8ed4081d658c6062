//! Which built-in users there are and what each may do: the least that its job needs.
//! Must not hold a right for convenience; the tests on real servers hold both sides.

use std::collections::{BTreeMap, BTreeSet};

use crate::epoch;

/// `user@host` as the server knows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Account {
    pub user: String,
    pub host: String,
}

impl Account {
    pub fn new(user: impl Into<String>, host: impl Into<String>) -> Self {
        Self {
            user: user.into(),
            host: host.into(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// Receives binary logs.
    Replication,
    /// Is cloned from.
    Clone,
    /// The agent beside the server: roles, status, replication, the operator's own tables.
    Agent,
    /// Makes users and databases, so it holds every right that it hands out. Local, and used for
    /// nothing else.
    Accounts,
    /// Reads what the server says about itself, and no user's data.
    Monitoring,
}

impl Job {
    pub const ALL: [Job; 5] = [
        Job::Replication,
        Job::Clone,
        Job::Agent,
        Job::Accounts,
        Job::Monitoring,
    ];

    pub fn account(self) -> Account {
        let (user, host) = match self {
            Job::Replication => ("holdfast_replication", "%"),
            Job::Clone => ("holdfast_clone", "%"),
            Job::Agent => ("holdfast_agent", "localhost"),
            Job::Accounts => ("holdfast_accounts", "localhost"),
            Job::Monitoring => ("holdfast_monitoring", "%"),
        };
        Account::new(user, host)
    }

    pub fn rights(self) -> Rights {
        match self {
            // A server that is not open yet is offline, and must be followed all the same: what opens
            // it is an acknowledgement. And by the port that clients cannot use up.
            Job::Replication => Rights::global(&[
                "CONNECTION_ADMIN",
                "REPLICATION SLAVE",
                "SERVICE_CONNECTION_ADMIN",
            ]),
            // The same: where all others are lost, nobody acknowledges before somebody has copied.
            Job::Clone => Rights::global(&["BACKUP_ADMIN", "CONNECTION_ADMIN", "SERVICE_CONNECTION_ADMIN"]),
            Job::Agent => Rights::global(&[
                "CLONE_ADMIN",
                "CONNECTION_ADMIN",
                "PROCESS",
                "RELOAD",
                "REPLICATION CLIENT",
                "REPLICATION_SLAVE_ADMIN",
                "SHUTDOWN",
                // Without it, neither the applier's workers nor the sessions of an account that has
                // it can be ended, by offline mode neither.
                "SYSTEM_USER",
                "SYSTEM_VARIABLES_ADMIN",
            ])
            .and("performance_schema", &["SELECT"])
            .and(epoch::DATABASE, &["DELETE", "INSERT", "SELECT", "UPDATE"]),
            Job::Accounts => Rights::All,
            Job::Monitoring => Rights::global(&["PROCESS", "REPLICATION CLIENT"])
                .and("performance_schema", &["SELECT"])
                .and(epoch::DATABASE, &["SELECT"]),
        }
    }

    /// Local users come through the socket, which has no TLS and leaves no machine.
    pub fn transport(self) -> Transport {
        match self.account().host.as_str() {
            "localhost" => Transport::Any,
            _ => Transport::Tls,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Any,
    Tls,
}

/// What an application does in a database of its own. No right here reaches beyond it.
const APPLICATION: &[&str] = &[
    "ALTER",
    "ALTER ROUTINE",
    "CREATE",
    "CREATE ROUTINE",
    "CREATE TEMPORARY TABLES",
    "CREATE VIEW",
    "DELETE",
    "DROP",
    "EVENT",
    "EXECUTE",
    "INDEX",
    "INSERT",
    "LOCK TABLES",
    "REFERENCES",
    "SELECT",
    "SHOW VIEW",
    "TRIGGER",
    "UPDATE",
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rights {
    All,
    Listed {
        global: BTreeSet<String>,
        /// By the plain name of the database.
        databases: BTreeMap<String, BTreeSet<String>>,
    },
}

fn owned(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

impl Rights {
    fn global(names: &[&str]) -> Self {
        Rights::Listed {
            global: owned(names),
            databases: BTreeMap::new(),
        }
    }

    fn and(mut self, database: &str, names: &[&str]) -> Self {
        if let Rights::Listed { databases, .. } = &mut self {
            databases.insert(database.to_owned(), owned(names));
        }
        self
    }

    /// All of an application's rights, in these databases only.
    pub fn of_application(names: &[&str]) -> Self {
        let none = Rights::global(&[]);
        names
            .iter()
            .fold(none, |rights, database| rights.and(database, APPLICATION))
    }
}
