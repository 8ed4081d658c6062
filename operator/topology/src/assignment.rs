//! What a member is told to be: whole, not a step, so that saying it again changes nothing.
//! Must not hold a password: those lie beside the agent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::gtid::Uuid;
use crate::record::Record;
use crate::term::Term;

/// The agent keeps the newest one on its volume, before it answers, and works towards it by itself,
/// also after a restart and without a controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    /// The name of the member it is for.
    pub member: String,
    /// `None` before the cluster has a record: only `Role::Hold` comes without one.
    pub record: Option<Record>,
    pub role: Role,
    pub server: Server,
}

impl Assignment {
    pub fn term(&self) -> Term {
        self.record.as_ref().map(|record| record.term).unwrap_or_default()
    }
}

/// What the member is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all_fields = "camelCase")]
pub enum Role {
    /// mysqld runs, super-read-only, follows nobody. An empty volume is initialised first.
    Hold,
    /// The first primary before its first epoch: makes the operator's tables and accounts, with
    /// nothing waiting for acknowledgements and no client let in. Done: `Report::is_founded`.
    Found,
    /// Takes writes, each acknowledged by this many replicas before the client hears of it. Opened
    /// only after the epoch's transaction, or after a restart a heartbeat, has been acknowledged so.
    Primary { wait_for: u16 },
    /// The primary lets nobody in any more and becomes read-only, once what waits for acknowledgements has
    /// them. Nobody is released, and nothing is killed for it: what takes too long is taken back.
    Retire,
    /// Follows the source.
    Replica { source: Place },
    /// Throws its data away and copies the donor's, then follows nobody until told. It has been done
    /// once the member's incarnation is another one than `instead_of`.
    Clone { donor: Place, instead_of: Uuid },
}

impl Role {
    pub fn name(&self) -> &'static str {
        match self {
            Role::Hold => "Hold",
            Role::Found => "Found",
            Role::Primary { .. } => "Primary",
            Role::Retire => "Retire",
            Role::Replica { .. } => "Replica",
            Role::Clone { .. } => "Clone",
        }
    }
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    pub member: String,
    /// The Pod's address: names would be answered late, or from a cache.
    pub host: String,
    pub port: u16,
}

/// What mysqld is started with, beside what safety asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// Unique in the cluster, and never 0.
    pub server_id: u32,
    /// Of the container; the buffer pool follows it.
    pub memory_bytes: u64,
    pub is_tls_required: bool,
    pub parameters: BTreeMap<String, String>,
    /// Parameters that cannot change while mysqld runs: whether it may be restarted for them now.
    pub may_restart: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{place, uuid};

    #[test]
    fn a_role_is_named_as_it_is_written() {
        let (source, donor, instead_of) = (place(0), place(0), uuid(9));
        let all = [
            Role::Hold,
            Role::Found,
            Role::Primary { wait_for: 1 },
            Role::Retire,
            Role::Replica { source },
            Role::Clone { donor, instead_of },
        ];
        for role in all {
            let written = serde_json::to_value(&role).unwrap();
            assert_eq!(written["kind"], role.name());
        }
    }
}
