//! Stories of rows of docs/failures.md: a volume lost, or set back to an older copy in place.
//! Must not undo by hand what the operator is to cure.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use ground::faults::{Disk, Fault, Injected};
use ground::shell::{cmd, words};

use super::care::inside;
use super::endurance::under_load;
use super::harms::beside_leader;
use super::rows_power::power_cut;
use super::rows_writes::{recorded_epoch, says, unheard};
use super::switchover::led_by;
use crate::cluster::{Cluster, member_of};
use crate::load::Load;
use crate::operator;
use crate::stage::{Stage, claim, wait_until};

const WITHIN: Duration = Duration::from_secs(120);
const STILL: Duration = Duration::from_secs(10);

/// Row 39: the primary's volume and Pod are taken away at once, without a word to the agent.
pub(super) fn volume_lost(stage: &Stage) -> Result<String> {
    let cluster = Cluster {
        namespace: "lost-primary",
        ..Cluster::default()
    };
    under_load(stage, &cluster, |load| {
        let (before, epoch) = (cluster.primary(stage)?, cluster.epoch(stage)?);
        let identity = || inside(stage, &cluster, &before, "SELECT @@GLOBAL.server_uuid");
        let (old, claimed) = (identity()?, uid(stage, &cluster, &before)?);
        let line = format!(
            "delete pvc,pod {before} -n {} --force --grace-period=0 --wait=false",
            cluster.namespace
        );
        stage.k(&line).run()?;
        wait_until("another volume", WITHIN, || {
            Ok(uid(stage, &cluster, &before)? != claimed)
        })?;
        wait_until("another epoch", WITHIN, || Ok(cluster.epoch(stage)? > epoch))
            .with_context(|| cluster.told(stage))?;
        load.acknowledges(100)?;
        let (after, now) = (cluster.primary(stage)?, cluster.epoch(stage)?);
        claim(
            after != before && now == epoch + 1,
            format!("another took over: {}", cluster.told(stage)),
        )?;
        cluster.wait_healthy(stage)?;
        claim(identity()? != old, format!("{before} is made anew"))?;
        let promotion = &cluster.get(stage)?["status"]["promotions"][0];
        Ok(format!(
            "volume and Pod of {before} deleted: {after} took over ({} {}), {before} made anew",
            promotion["kind"], promotion["reason"]
        ))
    })
}

fn uid(stage: &Stage, cluster: &Cluster<'_>, member: &str) -> Result<String> {
    let object = stage.get(&format!("pvc {member} -n {}", cluster.namespace))?;
    let uid = object["metadata"]["uid"].as_str();
    uid.map(str::to_owned).context("the volume has no uid")
}

/// The volume of a member whose node can lose its power: copied, and set back to the copy.
struct Snapshot<'a> {
    stage: &'a Stage,
    unit: String,
    file: PathBuf,
    copy: PathBuf,
}

impl<'a> Snapshot<'a> {
    fn of(stage: &'a Stage, cluster: &Cluster<'_>, member: &str) -> Result<Self> {
        let disk = Disk::of_pod(stage.ground()?, cluster.namespace, member, None)?;
        let file = disk.file(stage.ground()?)?;
        Ok(Self {
            stage,
            unit: disk.unit,
            copy: file.with_extension("copy"),
            file,
        })
    }

    /// Without power, and its file in nobody's use.
    fn power_off(&self) -> Result<Injected> {
        use std::os::unix::fs::MetadataExt as _;
        let unit = self.unit.clone();
        let fault = Fault::UnitDown { unit }.inject(self.stage.ground()?)?;
        let inode = std::fs::metadata(&self.file)?.ino().to_string();
        wait_until("its file is free", WITHIN, || {
            let used = words("losetup --list --noheadings --raw --output BACK-INO").output()?;
            Ok(!used.lines().any(|line| line.trim() == inode))
        })?;
        Ok(fault)
    }

    fn take(&self) -> Result<()> {
        cmd("cp", ["--sparse=always"])
            .args([&self.file, &self.copy])
            .run()
    }

    /// In place: the same file, with what it held then.
    fn set_back(&self) -> Result<()> {
        cmd("cp", ["--sparse=always"])
            .args([&self.copy, &self.file])
            .run()
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.copy);
    }
}

/// Row 40: a volume set back to an older copy in place, while the operator looks, and while nobody looks.
pub(super) fn set_back(stage: &Stage) -> Result<String> {
    let cluster = Cluster {
        namespace: "set-back",
        ..Cluster::default()
    };
    under_load(stage, &cluster, |load| {
        let member = cluster.primary(stage)?;
        let snapshot = Snapshot::of(stage, &cluster, &member)?;
        let power = snapshot.power_off()?;
        snapshot.take()?;
        power.heal()?;
        cluster.wait_healthy(stage)?;
        let epoch = led_by(stage, &cluster, &member)?;
        load.acknowledges(100)?;
        let power = snapshot.power_off()?;
        load.acknowledges(100)?;
        snapshot.set_back()?;
        power.heal()?;
        cluster.wait_healthy(stage)?;
        let other = cluster.primary(stage)?;
        claim(
            other != member && cluster.epoch(stage)? > epoch,
            format!("another leads: {}", cluster.told(stage)),
        )?;
        let unseen = set_back_unseen(stage, &cluster, load, &member, &snapshot)?;
        Ok(format!(
            "{member} set back in sight: {other} took over, Healthy; {unseen}"
        ))
    })
}

/// The primary of the record comes back with less than its replicas have: another leads. Whether the operator hears
/// first that they cannot follow it, or what it lacks, is chance.
fn set_back_unseen(
    stage: &Stage,
    cluster: &Cluster<'_>,
    load: &Load<'_>,
    member: &str,
    snapshot: &Snapshot<'_>,
) -> Result<String> {
    let epoch = led_by(stage, cluster, member)?;
    load.acknowledges(100)?;
    operator::scaled(stage, 0)?;
    let power = snapshot.power_off()?;
    snapshot.set_back()?;
    power.heal()?;
    wait_until("its mysqld runs, on older data", WITHIN, || {
        inside(stage, cluster, member, "SELECT 1").map(|_| true)
    })?;
    load.stands_still(STILL)?;
    operator::scaled(stage, 2)?;
    load.acknowledges(100)?;
    let after = cluster.primary(stage)?;
    claim(
        after != member && cluster.epoch(stage)? > epoch,
        format!("another leads than {member}"),
    )?;
    let why = cluster.get(stage)?["status"]["promotions"][0]["reason"].to_string();
    Ok(format!(
        "set back unseen: nothing acknowledged meanwhile, {after} took over ({why})"
    ))
}

/// Row 40: who alone acknowledged comes back with less, and the primary does not. Enough members are there to choose
/// from, were it believed.
pub(super) fn acknowledger_set_back(stage: &Stage) -> Result<String> {
    let cluster = Cluster {
        namespace: "forgetful",
        ..Cluster::default()
    };
    under_load(stage, &cluster, |load| {
        // The operator that has seen what it had must outlive both nodes.
        let laggard = beside_leader(stage, &cluster)?;
        let others: Vec<String> = cluster.members().filter(|member| *member != laggard).collect();
        let [primary, member] = &others[..] else {
            anyhow::bail!("three members are needed");
        };
        let epoch = led_by(stage, &cluster, primary)?;
        let cut = unheard(stage, &cluster, primary, &laggard)?;
        let snapshot = Snapshot::of(stage, &cluster, member)?;
        let power = snapshot.power_off()?;
        snapshot.take()?;
        power.heal()?;
        load.acknowledges(200)?;
        let node = cluster.node(stage, primary)?;
        let power = snapshot.power_off()?;
        let primary_gone = power_cut(stage, node)?;
        let before = load.acknowledged()?;
        snapshot.set_back()?;
        power.heal()?;
        let who = format!("seen: {laggard}");
        cluster.wait(stage, "Blocked, though two members are there", |object| {
            says(object, &["Blocked", &who, "its volume was set back: it lacks"])
        })?;
        let said = member_of(&cluster.get(stage)?, member)["because"].to_string();
        cut.heal()?;
        load.stands_still(STILL)?;
        claim(
            load.acknowledged()? == before && recorded_epoch(stage, &cluster)? == epoch,
            "nothing is acknowledged, and no epoch is claimed",
        )?;
        primary_gone.heal()?;
        load.acknowledges(100)?;
        cluster.wait_healthy(stage)?;
        Ok(format!(
            "{member}, who alone acknowledged, set back ({said}) as {primary} lost power: Blocked until {primary} was back"
        ))
    })
}
