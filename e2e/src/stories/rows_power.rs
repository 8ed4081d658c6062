//! Stories of nodes without power: the primary's, and with it whoever has its last writes, or is about to.
//! Must not bring back anybody before the status has said who is missing.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ground::faults::{Disk, DiskFault, Fault, Injected};

use super::endurance::under_load;
use super::rows_writes::{SOME, at, recorded_epoch, replicas, says, unheard};
use crate::cluster::{self, Cluster, condition, member_of};
use crate::load::Load;
use crate::operator;
use crate::stage::{Stage, claim, wait_until};

const ASKED_WITHIN: Duration = Duration::from_secs(10);
const HEALED_WITHIN: Duration = Duration::from_secs(30);
const MADE_WITHIN: Duration = Duration::from_secs(120);
/// Lines of clients that try and fail, before it is believed that they all do.
const IN_VAIN: usize = 200;
/// Longer than the rest of its story.
const LOCKED_SECONDS: u32 = 120;

/// A primary, the replica that alone acknowledges its writes, and one that lacks them, on a node with a controller.
pub(super) struct Uneven {
    pub(super) primary: String,
    pub(super) acknowledger: String,
    pub(super) laggard: String,
    cut: Injected,
    /// What the primary had executed.
    had: String,
}

impl Uneven {
    /// One replica is held back while clients write, until it lacks what the other acknowledged.
    pub(super) fn make(stage: &Stage, cluster: &Cluster<'_>, load: &Load<'_>) -> Result<Self> {
        let nodes = operator::on_two_nodes(stage)?;
        let primary = cluster.primary(stage)?;
        let replicas = replicas(stage, cluster)?;
        let beside = replicas.iter().find(|replica| {
            cluster
                .node(stage, replica)
                .is_ok_and(|node| nodes.contains(&node))
        });
        let laggard = beside.context("no controller beside a replica")?.clone();
        let other = replicas.iter().find(|replica| **replica != laggard);
        let acknowledger = other.context("there is one replica only")?.clone();
        let cut = unheard(stage, cluster, &primary, &laggard)?;
        cluster.wait(stage, &format!("{laggard} lags"), |object| {
            member_of(object, &laggard)["state"] != "Serving"
        })?;
        load.acknowledges(SOME)?;
        let executed = "SELECT REPLACE(@@GLOBAL.gtid_executed, CHAR(10), '')";
        let had = cluster::query(stage, &at(stage, cluster, &primary)?, executed)?;
        Ok(Self {
            primary,
            acknowledger,
            laggard,
            cut,
            had,
        })
    }

    /// Nobody is there any more to be heard: the laggard is free to hear whoever comes.
    pub(super) fn let_go(self) -> Result<()> {
        self.cut.heal()
    }

    /// The laggard alone is there: it lacks writes, takes none, and the status says whose return is waited for.
    pub(super) fn is_blocked(&self, stage: &Stage, cluster: &Cluster<'_>) -> Result<()> {
        let mut gone = [self.primary.as_str(), self.acknowledger.as_str()];
        gone.sort_unstable();
        let who = format!("seen: {}, missing: {}", self.laggard, gone.join(", "));
        cluster.wait(stage, &format!("Blocked, {who}"), |object| {
            let is_stalled =
                condition(object, "Stalled").is_some_and(|stalled| stalled["reason"] == "QuorumLost");
            is_stalled
                && says(
                    object,
                    &["Blocked", &who, "it may still serve, so nobody takes over"],
                )
        })?;
        self.lacks_writes(stage, cluster)
    }

    /// It lacks what was acknowledged, and takes no writes, if it lets anybody in at all.
    fn lacks_writes(&self, stage: &Stage, cluster: &Cluster<'_>) -> Result<()> {
        let login = at(stage, cluster, &self.laggard)?;
        let lacks = format!(
            "SELECT GTID_SUBTRACT('{}', @@GLOBAL.gtid_executed) <> ''",
            self.had
        );
        match cluster::query(stage, &login, &lacks) {
            Err(error) if format!("{error:#}").contains("offline mode") => {}
            answer => claim(
                answer? == "1",
                format!("{} lacks writes that were acknowledged", self.laggard),
            )?,
        }
        let refused = cluster::query(stage, &login, "CREATE TABLE taken (id INT PRIMARY KEY)");
        claim(refused.is_err(), format!("{} takes no writes", self.laggard))
    }

    /// As above, or nobody is chosen: the end of the primary's mysqld was seen before its acknowledger's.
    fn is_blocked_or_choosing(&self, stage: &Stage, cluster: &Cluster<'_>) -> Result<()> {
        let mut gone = [self.primary.as_str(), self.acknowledger.as_str()];
        gone.sort_unstable();
        let gone = gone.join(", ");
        let (missing, waiting) = (format!("missing: {gone}"), format!("waiting for {gone}"));
        cluster.wait(stage, &format!("nobody is chosen without {gone}"), |object| {
            says(object, &["Blocked", &missing]) || says(object, &["FailingOver", &waiting])
        })?;
        self.lacks_writes(stage, cluster)
    }
}

/// A node without power.
pub(super) fn power_cut(stage: &Stage, unit: String) -> Result<Injected> {
    Fault::UnitDown { unit }.inject(stage.ground()?)
}

/// Who has the last writes is gone, twice: nobody takes over with less. The primary's return alone is enough.
pub(super) fn both_without_power(stage: &Stage) -> Result<String> {
    let cluster = Cluster {
        namespace: "both-gone",
        ..Cluster::default()
    };
    under_load(stage, &cluster, |load| {
        let epoch = cluster.epoch(stage)?;
        let uneven = Uneven::make(stage, &cluster, load)?;
        let nodes = [&uneven.primary, &uneven.acknowledger].map(|member| cluster.node(stage, member));
        let [of_primary, of_other] = nodes;
        let (of_primary, of_other) = (of_primary?, of_other?);
        let primary_gone = power_cut(stage, of_primary)?;
        let other_gone = power_cut(stage, of_other)?;
        let before = load.acknowledged()?;
        uneven.is_blocked(stage, &cluster)?;
        load.wait_lines(load.lines()? + IN_VAIN)?;
        cluster.wait(stage, "Blocked as before", |object| says(object, &["Blocked"]))?;
        claim(
            load.acknowledged()? == before && recorded_epoch(stage, &cluster)? == epoch,
            "nothing is acknowledged, and no epoch is claimed",
        )?;
        let (primary, other) = (uneven.primary.clone(), uneven.acknowledger.clone());
        uneven.let_go()?;
        let begun = Instant::now();
        primary_gone.heal()?;
        load.acknowledges(SOME)?;
        let back = begun.elapsed();
        claim(
            cluster.primary(stage)? == primary && recorded_epoch(stage, &cluster)? == epoch,
            format!("{primary} goes on where it was: {}", cluster.told(stage)),
        )?;
        other_gone.heal()?;
        Ok(format!(
            "without {primary} and {other}, who alone acknowledged: Blocked, none acknowledged; with {primary} alone \
             {SOME} more writes {:.0} s after its return, epoch {epoch} as before",
            back.as_secs_f64()
        ))
    })
}

/// Waits until this member leads in a later epoch, and writes go on.
fn takes_over(
    stage: &Stage,
    cluster: &Cluster<'_>,
    load: &Load<'_>,
    (member, epoch): (&str, u64),
) -> Result<Duration> {
    let took = cluster.wait(stage, &format!("{member} leads"), |object| {
        let primary = &object["status"]["primary"];
        primary["name"] == *member && primary["epoch"].as_u64() > Some(epoch)
    })?;
    load.acknowledges(SOME)?;
    Ok(took)
}

/// Both volumes lose what was not synced, and both nodes their power. The replica comes back alone: what it
/// acknowledged is on its disk.
pub(super) fn unsynced_lost(stage: &Stage) -> Result<String> {
    let cluster = Cluster {
        namespace: "unsynced",
        ..Cluster::default()
    };
    under_load(stage, &cluster, |load| {
        let ground = stage.ground()?;
        let epoch = cluster.epoch(stage)?;
        let uneven = Uneven::make(stage, &cluster, load)?;
        let (primary, other) = (uneven.primary.clone(), uneven.acknowledger.clone());
        let (of_primary, of_other) = (cluster.node(stage, &primary)?, cluster.node(stage, &other)?);
        let mut lost = Vec::new();
        for member in [&other, &primary] {
            let disk = Disk::of_pod(ground, cluster.namespace, member, None)?;
            let fault = DiskFault::PowerLost;
            lost.push(Fault::Disk { disk, fault });
        }
        let mut injected = Vec::new();
        for fault in &lost {
            injected.push(fault.clone().inject(ground)?);
        }
        let other_gone = power_cut(stage, of_other)?;
        let primary_gone = power_cut(stage, of_primary)?;
        let before = load.acknowledged()?;
        for fault in injected {
            let fault = fault.keep();
            // Not before the kernel has let go of what the dead nodes had mounted.
            wait_until("the broken mount is gone", HEALED_WITHIN, || {
                fault.heal(ground).map(|()| true)
            })?;
        }
        uneven.is_blocked_or_choosing(stage, &cluster)?;
        claim(load.acknowledged()? == before, "nothing is acknowledged")?;
        uneven.let_go()?;
        other_gone.heal()?;
        let took = takes_over(stage, &cluster, load, (&other, epoch))?;
        primary_gone.heal()?;
        Ok(format!(
            "{primary} and {other} lost power and what was not synced: nobody was chosen; {other} leads {:.0} s after its return",
            took.as_secs_f64()
        ))
    })
}

/// Its relay log alone holds what it acknowledged: it has applied none of it when it ends, and the primary with it.
pub(super) fn restarted_unapplied(stage: &Stage) -> Result<String> {
    let cluster = Cluster {
        namespace: "unapplied",
        ..Cluster::default()
    };
    under_load(stage, &cluster, |load| {
        cluster.query(stage, "primary", "CREATE TABLE held (id INT PRIMARY KEY)")?;
        cluster.wait_healthy(stage)?;
        let epoch = cluster.epoch(stage)?;
        let uneven = Uneven::make(stage, &cluster, load)?;
        let (primary, other) = (uneven.primary.clone(), uneven.acknowledger.clone());
        let login = at(stage, &cluster, &other)?;
        let lock = format!("LOCK TABLES held READ; SELECT SLEEP({LOCKED_SECONDS})");
        let (waiting, gone, begun) = std::thread::scope(|scope| -> Result<_> {
            // It ends with its mysqld.
            scope.spawn(|| cluster::query(stage, &login, &lock));
            wait_until("the lock is held", ASKED_WITHIN, || {
                let list =
                    "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE 'SELECT SLEEP%'";
                Ok(cluster::query(stage, &login, list)? == "1")
            })?;
            cluster.query(stage, "primary", "INSERT INTO held VALUES (1)")?;
            load.acknowledges(SOME)?;
            let applied = cluster::query(stage, &login, "SELECT COUNT(*) FROM held");
            let node = cluster.node(stage, &primary)?;
            let begun = Instant::now();
            stage.kill(cluster.namespace, &other, "mysqld")?;
            Ok((applied, power_cut(stage, node)?, begun))
        })?;
        claim(
            waiting? == "0",
            format!("{other} had acknowledged {SOME} writes and applied none of them"),
        )?;
        uneven.let_go()?;
        takes_over(stage, &cluster, load, (&other, epoch))?;
        let took = begun.elapsed();
        claim(
            cluster.query(stage, "primary", "SELECT COUNT(*) FROM held")? == "1",
            "what was acknowledged and not applied is there",
        )?;
        gone.heal()?;
        Ok(format!(
            "{other} restarted with more than {SOME} acknowledged writes in its relay log alone, {primary} without \
             power: {SOME} writes under {other} {:.0} s later",
            took.as_secs_f64()
        ))
    })
}

/// One replica lags, the other has just lost its volume: who is made anew is seen, and does not count.
pub(super) fn made_anew_as_the_primary_dies(stage: &Stage) -> Result<String> {
    let cluster = Cluster {
        namespace: "made-anew",
        ..Cluster::default()
    };
    under_load(stage, &cluster, |load| {
        let epoch = cluster.epoch(stage)?;
        let uneven = Uneven::make(stage, &cluster, load)?;
        let (primary, other) = (uneven.primary.clone(), uneven.acknowledger.clone());
        let node = cluster.node(stage, &primary)?;
        let volume = || -> Result<String> {
            let object = stage.get(&format!("pvc {other} -n {}", cluster.namespace))?;
            Ok(object["metadata"]["uid"].to_string())
        };
        let old = volume()?;
        stage
            .k(&format!(
                "delete pvc,pod {other} -n {} --wait=false",
                cluster.namespace
            ))
            .run()?;
        wait_until("another volume", MADE_WITHIN, || Ok(volume()? != old))?;
        let gone = power_cut(stage, node)?;
        uneven.is_blocked(stage, &cluster)?;
        let before = load.acknowledged()?;
        cluster.wait(stage, &format!("{other} is seen, and not counted"), |object| {
            let state = member_of(object, &other)["state"].as_str().unwrap_or_default();
            let is_there = ["CatchingUp", "Seeding", "Serving"].contains(&state);
            is_there && says(object, &["Blocked", &format!("seen: {},", uneven.laggard)])
        })?;
        claim(
            load.acknowledged()? == before && recorded_epoch(stage, &cluster)? == epoch,
            "nothing is acknowledged, and no epoch is claimed",
        )?;
        uneven.let_go()?;
        gone.heal()?;
        load.acknowledges(SOME)?;
        claim(
            cluster.primary(stage)? == primary && cluster.epoch(stage)? == epoch,
            format!("{primary} leads as before: {}", cluster.told(stage)),
        )?;
        Ok(format!(
            "{other} made anew and not counted, {primary} without power: Blocked, then {primary} as before"
        ))
    })
}
