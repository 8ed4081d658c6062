//! Stories of everyday care: settings, parameters, volumes, suspension, deletion and return.
//! Must not judge by logs: the server's own answers and the status are read.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::endurance::under_load;
use crate::cluster::Cluster;
use crate::load::{self, Load};
use crate::operator;
use crate::stage::{Stage, claim, wait_until};

const ALONE_WITHIN: Duration = Duration::from_secs(60);

/// One statement inside a member, as the operator's own account of accounts.
pub(super) fn inside(stage: &Stage, cluster: &Cluster<'_>, member: &str, statement: &str) -> Result<String> {
    let line = format!(
        "MYSQL_PWD=$(cat /holdfast/passwords/accounts) mysql --no-defaults --socket /data/holdfast/tmp/mysqld.sock \
         --user holdfast_accounts --batch --skip-column-names --execute '{statement}'"
    );
    let told = cluster.inside(stage, member, &["sh", "-c", &line])?;
    Ok(told.trim().to_owned())
}

/// Safety settings changed by hand on running servers come back, with an Event.
pub(super) fn drift(stage: &Stage) -> Result<String> {
    operator::installed(stage)?;
    let cluster = Cluster {
        namespace: "drift",
        ..Cluster::default()
    };
    cluster.healthy(stage)?;
    let primary = cluster.primary(stage)?;
    let replica = cluster.replica(stage)?;
    let changes = [
        (&primary, "rpl_semi_sync_source_enabled", "0", "1"),
        (&primary, "rpl_semi_sync_source_timeout", "1000", "4294967295"),
        (&primary, "sync_binlog", "0", "1"),
        (&primary, "innodb_flush_log_at_trx_commit", "2", "1"),
        (&replica, "super_read_only", "0", "1"),
        (&replica, "rpl_semi_sync_replica_enabled", "0", "1"),
        (&replica, "sync_relay_log", "10000", "1"),
    ];
    let mut slowest = Duration::ZERO;
    for (member, name, value, right) in changes {
        inside(stage, &cluster, member, &format!("SET GLOBAL {name} = {value}"))?;
        let took = wait_until(
            &format!("{name} of {member} is {right} again"),
            Duration::from_secs(15),
            || Ok(inside(stage, &cluster, member, &format!("SELECT @@GLOBAL.{name}"))? == right),
        )?;
        slowest = slowest.max(took);
    }
    wait_until("an Event that names a setting", Duration::from_secs(30), || {
        let events = stage
            .get(&format!("events -n {}", cluster.namespace))?
            .to_string();
        Ok(events.contains("SettingRestored") && events.contains("sync_binlog"))
    })?;
    cluster.wait_healthy(stage)?;
    cluster.remove(stage)?;
    Ok(format!(
        "{} settings put back, each within {:.1} s",
        changes.len(),
        slowest.as_secs_f64()
    ))
}

/// Parameters: online, by restarts of replicas, and ones that mysqld refuses.
pub(super) fn parameters(stage: &Stage) -> Result<String> {
    operator::installed(stage)?;
    let mut cluster = Cluster {
        namespace: "parameters",
        ..Cluster::default()
    };
    cluster.healthy(stage)?;
    let load_cluster = cluster.clone();
    let load = Load::start(stage, &load_cluster)?;
    cluster.more = "  mysql: {parameters: {max_connections: '222'}}\n";
    cluster.apply(stage)?;
    let online = wait_until("max_connections online on all", Duration::from_secs(30), || {
        all(stage, &cluster, "SELECT @@GLOBAL.max_connections", "222")
    })?;
    cluster.more = "  mysql: {parameters: {max_connections: '222', innodb_sort_buffer_size: '2097152'}}\n";
    cluster.apply(stage)?;
    let before = (cluster.primary(stage)?, cluster.epoch(stage)?);
    let rolled = wait_until("every server restarted with it", Duration::from_secs(180), || {
        let statement = "SELECT @@GLOBAL.innodb_sort_buffer_size";
        Ok(all(stage, &cluster, statement, "2097152").unwrap_or(false))
    })
    .with_context(|| cluster.told(stage))?;
    cluster.wait(stage, "status tells of the switchover", |object| {
        let told = &object["status"]["promotions"][0];
        told["kind"] == "Switchover" && told["reason"] == "Update"
    })?;
    claim(
        before.0 != cluster.primary(stage)? && before.1 < cluster.epoch(stage)?,
        "the primary handed over before it restarted",
    )?;
    cluster.more = "  mysql: {parameters: {max_connections: '222', no_such_parameter: '1'}}\n";
    cluster.apply(stage)?;
    cluster.wait(stage, "status quotes mysqld", |object| {
        object["status"]
            .to_string()
            .contains("unknown variable 'no_such_parameter")
    })?;
    load.goes_on()?;
    cluster.more = "";
    cluster.apply(stage)?;
    wait_until(
        "every server restarted without it",
        Duration::from_secs(180),
        || {
            let statement = "SELECT @@GLOBAL.innodb_sort_buffer_size";
            Ok(all(stage, &cluster, statement, "1048576").unwrap_or(false))
        },
    )
    .with_context(|| cluster.told(stage))?;
    cluster.wait_healthy(stage)?;
    let told = load::clean(&load.judge()?)?;
    cluster.remove(stage)?;
    Ok(format!(
        "online within {:.1} s, by restarts and a switchover within {:.0} s, {told}",
        online.as_secs_f64(),
        rolled.as_secs_f64()
    ))
}

/// Nobody can take over for a single member: it restarts where it is, and its Pod is made anew.
pub(super) fn alone(stage: &Stage) -> Result<String> {
    let cluster = Cluster {
        namespace: "alone",
        instances: 1,
        ..Cluster::default()
    };
    under_load(stage, &cluster, |load| {
        let (member, epoch) = (cluster.primary(stage)?, cluster.epoch(stage)?);
        let uid = || -> Result<Value> {
            let pod = stage.get(&format!("pod {member} -n {}", cluster.namespace))?;
            Ok(pod["metadata"]["uid"].clone())
        };
        let old = uid()?;
        let mut changed = cluster.clone();
        changed.more = "  mysql: {parameters: {innodb_sort_buffer_size: '2097152'}}\n";
        changed.apply(stage)?;
        let restarted = wait_until("it restarted with the parameter", ALONE_WITHIN, || {
            let statement = "SELECT @@GLOBAL.innodb_sort_buffer_size";
            Ok(all(stage, &cluster, statement, "2097152").unwrap_or(false))
        })
        .with_context(|| cluster.told(stage))?;
        load.goes_on()?;
        cluster.wait_healthy(stage)?;
        claim(uid()? == old, "a parameter needs no new Pod")?;
        changed.memory = "800Mi";
        changed.apply(stage)?;
        let replaced = wait_until("its Pod is another", ALONE_WITHIN, || {
            Ok(uid().is_ok_and(|uid| uid != old))
        })
        .with_context(|| cluster.told(stage))?;
        load.goes_on()?;
        cluster.wait_healthy(stage)?;
        claim(cluster.epoch(stage)? == epoch, "it led all the time")?;
        Ok(format!(
            "the parameter within {:.0} s, another Pod within {:.0} s",
            restarted.as_secs_f64(),
            replaced.as_secs_f64()
        ))
    })
}

fn all(stage: &Stage, cluster: &Cluster<'_>, statement: &str, wanted: &str) -> Result<bool> {
    for member in cluster.members() {
        if inside(stage, cluster, &member, statement)? != wanted {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Volumes grow while everything runs.
pub(super) fn volumes_grow(stage: &Stage) -> Result<String> {
    operator::installed(stage)?;
    let mut cluster = Cluster {
        namespace: "grows",
        size: "1Gi",
        ..Cluster::default()
    };
    cluster.healthy(stage)?;
    let uids = |cluster: &Cluster<'_>| -> Result<String> {
        let pods = stage.get(&format!("pods -n {}", cluster.namespace))?;
        let items = pods["items"].as_array().cloned().unwrap_or_default();
        Ok(items
            .iter()
            .map(|pod| pod["metadata"]["uid"].to_string())
            .collect())
    };
    let before = uids(&cluster)?;
    cluster.size = "2Gi";
    cluster.apply(stage)?;
    let took = wait_until("every volume has the new size", Duration::from_secs(180), || {
        let claims = stage.get(&format!("pvc -n {}", cluster.namespace))?;
        let items = claims["items"].as_array().cloned().unwrap_or_default();
        Ok(items.len() == 3
            && items
                .iter()
                .all(|claim| claim["status"]["capacity"]["storage"] == "2Gi"))
    })?;
    claim(uids(&cluster)? == before, "no Pod was made anew")?;
    cluster.wait_healthy(stage)?;
    cluster.remove(stage)?;
    Ok(format!(
        "1Gi to 2Gi within {:.0} s, no restart",
        took.as_secs_f64()
    ))
}

/// Suspended: nothing is done, and it says so.
pub(super) fn suspended(stage: &Stage) -> Result<String> {
    operator::installed(stage)?;
    let mut cluster = Cluster {
        namespace: "suspended",
        instances: 1,
        ..Cluster::default()
    };
    cluster.healthy(stage)?;
    cluster.instances = 3;
    cluster.more = "  suspend: true\n";
    cluster.apply(stage)?;
    cluster.wait(stage, "it says Suspended", |object| {
        object["status"]["state"] == "Suspended"
    })?;
    cluster.query(stage, "primary", "CREATE TABLE t (id INT PRIMARY KEY)")?;
    let pods = stage.get(&format!("pods -n {}", cluster.namespace))?;
    claim(
        pods["items"].as_array().map(Vec::len) == Some(1),
        "no member is added",
    )?;
    cluster.more = "";
    cluster.apply(stage)?;
    let took = cluster.wait_healthy(stage)?;
    cluster.remove(stage)?;
    Ok(format!(
        "nothing done while suspended; three members {:.0} s after",
        took.as_secs_f64()
    ))
}

/// Deleted and applied again: the data are there, the epoch is higher. With Delete, nothing is left.
pub(super) fn deleted_and_back(stage: &Stage) -> Result<String> {
    operator::installed(stage)?;
    let mut cluster = Cluster {
        namespace: "returns",
        ..Cluster::default()
    };
    cluster.healthy(stage)?;
    cluster.query(
        stage,
        "primary",
        "CREATE TABLE kept (id INT PRIMARY KEY); INSERT INTO kept VALUES (7)",
    )?;
    let before = cluster.epoch(stage)?;
    let delete = format!(
        "delete mysqlcluster {} -n {} --wait=true --timeout=120s",
        cluster.name, cluster.namespace
    );
    stage.k(&delete).run()?;
    let claims = stage.get(&format!("pvc -n {}", cluster.namespace))?;
    claim(
        claims["items"].as_array().map(Vec::len) == Some(3),
        "the volumes stay",
    )?;
    let events = stage
        .get(&format!("events -n {}", cluster.namespace))?
        .to_string();
    claim(events.contains("orders-2"), "an Event says where the volumes are")?;
    wait_until("everything else is gone", Duration::from_secs(60), || {
        let left = stage.get(&format!(
            "pods,services,configmaps,pdb,networkpolicies -n {}",
            cluster.namespace
        ))?;
        let left = left["items"].as_array().cloned().unwrap_or_default();
        Ok(left
            .iter()
            .all(|object| object["metadata"]["name"] == "kube-root-ca.crt"))
    })?;
    cluster.apply(stage)?;
    let took = cluster.wait_healthy(stage)?;
    claim(cluster.epoch(stage)? > before, "the epoch is higher")?;
    let kept = cluster.query(stage, "primary", "SELECT id FROM kept")?;
    claim(kept == "7", format!("the row is there: {kept}"))?;
    cluster.more = "  deletionPolicy: Delete\n";
    cluster.apply(stage)?;
    cluster.wait_healthy(stage)?;
    stage.k(&delete).run()?;
    wait_until("the volumes are gone", Duration::from_secs(60), || {
        let claims = stage.get(&format!("pvc -n {}", cluster.namespace))?;
        Ok(claims["items"].as_array().is_some_and(Vec::is_empty))
    })?;
    cluster.remove(stage)?;
    Ok(format!(
        "taken over {:.0} s after it was applied again, row and higher epoch there",
        took.as_secs_f64()
    ))
}
