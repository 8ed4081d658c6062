//! What may befall a member of a cluster, most of it a primary, by name: done to a real member of a real cluster.
//! Must not judge what comes of it.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use ground::faults::net::Direction;
use ground::faults::{Disk, DiskFault, Fault, Injected, NetFault};

use crate::cluster::Cluster;
use crate::stage::{Stage, wait_until};

/// The large transaction, and how much of it a replica has when its primary is killed.
const LARGE_MIB: u64 = 300;
const SENT_MIB: u64 = 64;

/// A fault of the primary, or what somebody asks of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Harm {
    /// mysqld killed.
    Killed,
    /// The agent killed, and mysqld with it.
    Agent,
    /// The Pod deleted.
    Deleted,
    /// The node without power.
    Power,
    /// The node cut off from everybody.
    Cut,
    /// mysqld stopped by SIGSTOP.
    Frozen,
    /// Every write to the volume hangs.
    Hung,
    /// mysqld killed while it sends a transaction of 300 MB.
    Sending,
    /// A Switchover.
    Switchover,
}

impl Harm {
    /// As it is typed, and kept in files.
    pub fn name(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }

    /// For people.
    pub fn what(self) -> &'static str {
        match self {
            Self::Killed => "mysqld killed",
            Self::Agent => "agent and mysqld killed",
            Self::Deleted => "Pod deleted",
            Self::Power => "node without power",
            Self::Cut => "node cut off",
            Self::Frozen => "mysqld frozen",
            Self::Hung => "volume hung",
            Self::Sending => "mysqld killed, 300 MB under way",
            Self::Switchover => "switchover",
        }
    }

    /// Lines of the cluster's spec without which it cannot befall it: a compressed transaction is one event, and is
    /// never there in part.
    pub fn needs(self) -> &'static str {
        match self {
            Self::Sending => "  mysql: {parameters: {binlog_transaction_compression: 'OFF'}}\n",
            _ => "",
        }
    }

    /// The gap that we mean to keep within, in half of all cases and in 99 of a hundred.
    pub fn goal_ms(self) -> (u64, u64) {
        match self {
            Self::Killed | Self::Sending => (250, 1_000),
            Self::Power | Self::Cut | Self::Agent => (1_500, 3_000),
            Self::Frozen | Self::Hung => (4_000, 4_000),
            Self::Switchover | Self::Deleted => (100, 300),
        }
    }

    /// Does it to the primary.
    pub fn befall(self, stage: &Stage, cluster: &Cluster<'_>) -> Result<Option<Injected>> {
        self.strike(stage, cluster, &cluster.primary(stage)?)
    }

    /// Does it to this member. What is left to heal is handed over, and healed at the latest when it is dropped.
    pub fn strike(self, stage: &Stage, cluster: &Cluster<'_>, member: &str) -> Result<Option<Injected>> {
        let namespace = cluster.namespace;
        let fault = match self {
            Self::Killed => return stage.kill(namespace, member, "mysqld").map(|()| None),
            Self::Agent => return stage.kill(namespace, member, "holdfast").map(|()| None),
            Self::Deleted => {
                let line = format!("delete pod {member} -n {namespace} --wait=false");
                return stage.k(&line).run().map(|()| None);
            }
            Self::Switchover => {
                let name = format!("after-{}", cluster.epoch(stage)?);
                return cluster.ask_switchover(stage, &name, "").map(|()| None);
            }
            Self::Sending => return kill_while_sending(stage, cluster, member).map(|()| None),
            Self::Power => Fault::UnitDown {
                unit: cluster.node(stage, member)?,
            },
            Self::Cut => Fault::Net(NetFault::Cut {
                unit: cluster.node(stage, member)?,
                from: vec!["all".to_owned()],
                direction: Direction::Both,
            }),
            Self::Frozen => Fault::pause(stage.ground()?, namespace, member, Some("mysqld"))?,
            Self::Hung => Fault::Disk {
                disk: Disk::of_pod(stage.ground()?, namespace, member, None)?,
                fault: DiskFault::Frozen,
            },
        };
        fault.inject(stage.ground()?).map(Some)
    }
}

/// Killed when a replica has received a part of one large transaction.
fn kill_while_sending(stage: &Stage, cluster: &Cluster<'_>, primary: &str) -> Result<()> {
    let login = cluster.login(stage, "primary")?;
    let made = "CREATE TABLE IF NOT EXISTS large (id INT PRIMARY KEY AUTO_INCREMENT, body LONGBLOB)";
    cluster.query(stage, "primary", made)?;
    let replica = cluster.replica(stage)?;
    let received = || -> Result<u64> {
        let line = "cat /data/mysql/relay.0* | wc -c";
        let text = cluster.inside(stage, &replica, &["sh", "-c", line])?;
        text.trim().parse().context("failed to count relay logs")
    };
    let before = received()?;
    let statement = format!(
        "INSERT INTO large (body) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < \
         {LARGE_MIB}) SELECT REPEAT(CHAR(64 + i % 26), 1048576) FROM n"
    );
    std::thread::scope(|scope| {
        // Its client is cut off, as it should be.
        scope.spawn(|| crate::cluster::query(stage, &login, &statement));
        wait_until(
            "a part of the transaction is sent",
            Duration::from_secs(120),
            || Ok(received()? > before + (SENT_MIB << 20)),
        )?;
        stage.kill(cluster.namespace, primary, "mysqld")
    })
}
