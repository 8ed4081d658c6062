//! Stories of certificates: renewed before they end, and nobody notices.
//! Must not shorten clocks: certificates are short-lived here, time is real.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::care::inside;
use crate::cluster::Cluster;
use crate::load::{self, Load};
use crate::operator;
use crate::stage::{Stage, claim, wait_until};

/// Renewed after two thirds of it; a node brings a Secret to its Pods within some ten seconds here.
const LIFETIME_S: u64 = 90;
const RENEWED_WITHIN: Duration = Duration::from_secs(4 * LIFETIME_S);

/// The end of the certificate that mysqld shows now, in seconds since 1970.
fn ends_s(stage: &Stage, cluster: &Cluster<'_>, member: &str) -> Result<u64> {
    let text = inside(
        stage,
        cluster,
        member,
        "SHOW GLOBAL STATUS LIKE \"Ssl_server_not_after\"",
    )?;
    let (_, end) = text.split_once('\t').context("mysqld shows no certificate")?;
    let seconds = ground::shell::cmd("date", ["-u", "-d", end, "+%s"]).output()?;
    seconds.trim().parse().context("date printed no number")
}

fn uptime_s(stage: &Stage, cluster: &Cluster<'_>, member: &str) -> Result<u64> {
    let text = inside(stage, cluster, member, "SHOW GLOBAL STATUS LIKE \"Uptime\"")?;
    let (_, seconds) = text.split_once('\t').context("no uptime")?;
    seconds.parse().context("the uptime is no number")
}

/// The operator is told to issue short-lived certificates.
fn short_lived(stage: &Stage) -> Result<()> {
    let args = "/spec/template/spec/containers/0/args/-";
    let value = format!("--certificate-lifetime={LIFETIME_S}s");
    let patch = format!(r#"[{{"op":"add","path":"{args}","value":"{value}"}}]"#);
    let place = ["deployment", "holdfast", "-n", operator::NAMESPACE];
    stage
        .kubectl(
            ["patch"]
                .into_iter()
                .chain(place)
                .chain(["--type=json", "-p", &patch]),
        )
        .run()?;
    stage
        .k(&format!(
            "rollout status deployment holdfast -n {} --timeout=120s",
            operator::NAMESPACE
        ))
        .run()?;
    operator::ready(stage)
}

/// Certificates live a minute and a half: all are renewed under load, without a restart, nothing lost.
pub(super) fn renewed(stage: &Stage) -> Result<String> {
    operator::installed(stage)?;
    short_lived(stage)?;
    let cluster = Cluster {
        namespace: "renewed",
        ..Cluster::default()
    };
    cluster.healthy(stage)?;
    let members: Vec<String> = cluster.members().collect();
    let load = Load::at_most(stage, &cluster, Some(40))?;
    let begun = Instant::now();
    let mut firsts = Vec::new();
    for member in &members {
        firsts.push(ends_s(stage, &cluster, member)?);
    }
    wait_until(
        "every server shows its second certificate after the first",
        RENEWED_WITHIN,
        || {
            let mut renewed = true;
            for (member, first) in members.iter().zip(&firsts) {
                renewed &= ends_s(stage, &cluster, member)? > first + LIFETIME_S;
            }
            Ok(renewed)
        },
    )?;
    let took = begun.elapsed();
    for member in &members {
        claim(
            uptime_s(stage, &cluster, member)? >= took.as_secs(),
            format!("mysqld of {member} was not restarted"),
        )?;
    }
    // Everybody greets everybody anew.
    stage
        .k(&format!(
            "delete pods -n {} -l app.kubernetes.io/name=holdfast --grace-period=1",
            operator::NAMESPACE
        ))
        .run()?;
    operator::ready(stage)?;
    stage.kill(cluster.namespace, &cluster.replica(stage)?, "mysqld")?;
    cluster.wait(stage, "the replica is missed", |object| {
        object["status"]["readyInstances"].as_u64() < Some(3)
    })?;
    cluster.wait_healthy(stage)?;
    let told = load::clean(&load.judge()?)?;
    cluster.remove(stage)?;
    operator::installed(stage)?;
    Ok(format!(
        "all renewed twice within {:.0} s without a restart, then greeted anew; {told}",
        took.as_secs_f64()
    ))
}
