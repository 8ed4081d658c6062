//! What is asked for and what was seen, as the controller hands it to `decide`.
//! Must not hold a guess: what could not be seen is absent, and absent is never "down".

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::gtid::{GtidSet, Uuid};
use crate::report::Report;

/// What the user asks for, as far as decisions need it. It passed the API's own validation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// The cluster's name; members are `<name>-0` to `<name>-<instances − 1>`.
    pub name: String,
    pub instances: u16,
    /// k: how many replicas must have a write.
    pub sync_replicas: u16,
    pub is_suspended: bool,
    /// A failover waits for a person.
    pub is_failover_manual: bool,
    pub memory_bytes: u64,
    pub is_tls_required: bool,
    pub parameters: BTreeMap<String, String>,
    /// A replica further behind serves no reads.
    pub lag_limit_ms: u64,
    /// Whether reads go to the primary when no replica is healthy.
    pub reads_fall_back: bool,
    /// Somebody asked for another primary.
    pub switchover: Option<Switchover>,
}

impl Spec {
    pub fn members(&self) -> BTreeSet<String> {
        (0..self.instances)
            .map(|n| format!("{}-{n}", self.name))
            .collect()
    }
}

/// The primary is to be another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Switchover {
    /// Who; `None` leaves the choice to the operator.
    pub target: Option<String>,
    /// Only a failover is approved: nothing is asked of a primary that is well.
    pub is_forced: bool,
    /// For how long writes may be stopped.
    pub budget_ms: u64,
    /// Where no choice is safe in this epoch, the target becomes primary all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepts_loss_in: Option<u64>,
}

impl Default for Switchover {
    fn default() -> Self {
        Self {
            target: None,
            is_forced: false,
            budget_ms: HANDOVER_LIMIT_MS,
            accepts_loss_in: None,
        }
    }
}

/// For closing a primary, and for another to have all of it, unless somebody says otherwise.
pub const HANDOVER_LIMIT_MS: u64 = 5_000;

/// Milliseconds on the controller's monotonic clock.
pub type Timestamp = u64;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Observed {
    /// A fresh random identity, used if a cluster is founded now.
    pub new_identity: Option<Uuid>,
    /// The cluster's status says that there was a primary once.
    pub had_primary: bool,
    /// Since when the record is seen to say that the primary hands over.
    pub handing_since: Option<Timestamp>,
    /// When a handover was taken back the last time.
    pub taken_back_at: Option<Timestamp>,
    /// Since when the last failover is over; or since when somebody looks who saw none.
    #[serde(default)]
    pub failed_over_at: Option<Timestamp>,
    /// Since when the record is seen to count as many failovers as it does.
    #[serde(default)]
    pub counted_at: Option<Timestamp>,
    /// By name: wanted ones, voters, and whatever Pod or volume bears the cluster's label.
    pub members: BTreeMap<String, Member>,
    /// Where the Services lead now.
    pub exposed: Exposed,
    /// Since when; or since when somebody looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposed_at: Option<Timestamp>,
    /// The node of whoever looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator_node: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    pub pod: Option<Pod>,
    pub volume: Option<Volume>,
    /// The last report of the connection that is open now, or of one that broke.
    pub report: Option<Report>,
    /// When it came.
    pub reported_at: Timestamp,
    /// What this incarnation was seen to have and a younger report of the primary has not.
    pub surplus: Option<GtidSet>,
    /// What the primary wrote under its number, this one has, and a younger report of the primary has not, though
    /// none of it can be on its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ahead: Option<GtidSet>,
    /// What this incarnation was seen to have executed and has not now, applied or not: its volume was set back. What
    /// it says then is no longer all that it acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forgot: Option<GtidSet>,
    /// Whether the connection is open.
    pub is_connected: bool,
    /// What the primary of this epoch had at a moment after this incarnation attached to it: who holds
    /// that, and follows still, has everything acknowledged so far.
    pub goal: Option<GtidSet>,
    /// It applies what it received and receives nothing more: what was seen of that first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog: Option<Backlog>,
}

/// What a member had received and not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backlog {
    pub at: Timestamp,
    pub transactions: u64,
}

impl Backlog {
    /// As long as nothing was received since the first look, that stands.
    pub fn next(before: Option<Self>, report: &Report, now: Timestamp) -> Option<Self> {
        let transactions = report.server.as_ref()?.rest()?;
        // More than there was: it received something in between.
        let first = before.filter(|first| first.transactions >= transactions);
        Some(first.unwrap_or(Self {
            at: now,
            transactions,
        }))
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    pub ip: Option<String>,
    /// Where others follow it and copy from it, if that is not where clients come.
    pub replication_port: Option<u16>,
    pub node: Option<String>,
    pub is_terminating: bool,
    /// It was made from what the spec says today.
    pub is_current: bool,
    /// What keeps it from running, in the words of whoever said so: scheduler, kubelet, volume.
    pub problem: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Made for this very cluster object, not for one of the same name before it.
    pub is_of_this_cluster: bool,
    pub is_terminating: bool,
    /// What keeps it from being bound or grown.
    pub problem: Option<String>,
}

/// What the EndpointSlices hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exposed {
    pub primary: Option<Endpoint>,
    pub replicas: BTreeSet<Endpoint>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    pub member: String,
    pub ip: String,
}
