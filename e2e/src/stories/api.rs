//! Stories of the API as people and pipelines meet it: rules on the real server, tools, hostile input.
//! Must not repeat a rule: the cases are those of the crate that owns them.

use anyhow::{Context, Result, bail};
use ground::spec::checkout;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::operator;
use crate::stage::{Stage, claim};

const NAMESPACE: &str = "rules";

/// RFC 7386.
fn merge(base: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *base = patch.clone();
        return;
    };
    if !base.is_object() {
        *base = json!({});
    }
    let Some(fields) = base.as_object_mut() else {
        return;
    };
    for (key, value) in patch {
        match value.is_null() {
            true => drop(fields.remove(key)),
            false => merge(fields.entry(key).or_insert(Value::Null), value),
        }
    }
}

/// A MySQLCluster is only tried, or made suspended, so that nothing runs.
fn object(cases: &Value, name: &str, patch: &Value, is_kept: bool) -> Value {
    let mut spec = cases["base"].clone();
    merge(&mut spec, patch);
    if is_kept && cases["kind"] == "MySQLCluster" {
        spec["suspend"] = json!(true);
    }
    json!({
        "apiVersion": "mysql.holdfast.dev/v1alpha1",
        "kind": cases["kind"],
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    })
}

/// What the server says to one case, as an error or not.
fn tried(stage: &Stage, cases: &Value, case: &Value) -> Result<Result<()>> {
    let name = case["name"].as_str().unwrap_or("orders");
    let spec = case.get("spec").cloned().unwrap_or_else(|| json!({}));
    let Some(was) = case.get("was").filter(|was| !was.is_null()) else {
        let now = object(cases, name, &spec, false);
        let told = stage.k("create --dry-run=server -f -").input(&now.to_string());
        return Ok(told.map(drop));
    };
    let (before, now) = (object(cases, name, was, true), object(cases, name, &spec, true));
    stage.k("create -f -").input(&before.to_string())?;
    let told = stage.k("replace --dry-run=server -f -").input(&now.to_string());
    let kind = cases["kind"].as_str().unwrap_or_default();
    stage
        .k(&format!(
            "delete {kind} {name} -n {NAMESPACE} --wait=true --timeout=60s"
        ))
        .run()?;
    Ok(told.map(drop))
}

/// Every rule of every kind in both directions.
pub(super) fn rules(stage: &Stage) -> Result<String> {
    operator::installed(stage)?;
    stage.delete_namespace(NAMESPACE)?;
    stage.namespace(NAMESPACE)?;
    let (mut refused, mut taken) = (0, 0);
    for file in ["rules.yaml", "switchover-rules.yaml"] {
        let path = checkout()?.join("crds/tests").join(file);
        let cases: Value = serde_yaml::from_str(&std::fs::read_to_string(path)?)?;
        for case in cases["cases"].as_array().context("no list of cases")? {
            let about = case["about"].as_str().unwrap_or_default();
            let told = tried(stage, &cases, case).with_context(|| about.to_owned())?;
            match (case["refused"].as_str(), told) {
                (None, Ok(())) => taken += 1,
                (Some(words), Err(error)) if format!("{error:#}").contains(words) => refused += 1,
                (wanted, told) => bail!("{about}: wanted {wanted:?}, the server said {told:?}"),
            }
        }
    }
    stage.delete_namespace(NAMESPACE)?;
    Ok(format!("{refused} refused with the right words, {taken} taken"))
}

/// explain, columns, a second apply without a change, two managers, wait.
pub(super) fn tools(stage: &Stage) -> Result<String> {
    operator::installed(stage)?;
    let cluster = Cluster {
        namespace: "tools",
        instances: 1,
        ..Cluster::default()
    };
    let explained = stage
        .k("explain mysqlcluster.spec.replication.syncReplicas")
        .output()?;
    claim(
        explained.contains("must have a write on disk"),
        format!("explain: {explained}"),
    )?;
    cluster.create(stage)?;
    stage
        .k(&format!(
            "wait --for=condition=Ready mysqlcluster/orders -n {} --timeout=180s",
            cluster.namespace
        ))
        .run()?;
    let manifest = cluster.manifest(stage);
    let before = cluster.get(stage)?;
    let diff = stage
        .k("diff --server-side --force-conflicts -f -")
        .input(&manifest);
    claim(diff.is_ok(), format!("a second apply changes nothing: {diff:?}"))?;
    stage.apply(&manifest)?;
    let after = cluster.get(stage)?;
    claim(
        before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"],
        "and writes nothing",
    )?;
    let other = "apiVersion: mysql.holdfast.dev/v1alpha1\nkind: MySQLCluster\nmetadata: {name: orders, namespace: tools}\n\
                 spec: {mysql: {parameters: {max_connections: '99'}}}\n";
    stage
        .k("apply --server-side --field-manager=other -f -")
        .input(other)?;
    stage.apply(&manifest)?;
    let both = cluster.get(stage)?;
    claim(
        both["spec"]["mysql"]["parameters"]["max_connections"] == "99",
        "two managers share the map",
    )?;
    cluster.wait_healthy(stage)?;
    let columns = columns(stage, &cluster)?;
    cluster.remove(stage)?;
    Ok(columns.trim().replace('\n', " | "))
}

/// What a person on call sees, and an even scale that is refused.
fn columns(stage: &Stage, cluster: &Cluster<'_>) -> Result<String> {
    let columns = stage
        .k(&format!("get myc -o wide -n {}", cluster.namespace))
        .output()?;
    for word in [
        "READY",
        "STATE",
        "PRIMARY",
        "INSTANCES",
        "VERSION",
        "EPOCH",
        "REDUNDANT",
        "REASON",
        "Healthy",
        "1/1",
    ] {
        claim(columns.contains(word), format!("{word} in {columns}"))?;
    }
    stage
        .k(&format!(
            "scale mysqlcluster orders --replicas=2 -n {}",
            cluster.namespace
        ))
        .run()
        .err()
        .context("an even scale is taken")?;
    Ok(columns)
}

/// What is tried, and a word that the refusal must hold.
const HOSTILE: &[(&str, &str)] = &[
    ("spec: {}", "spec"),
    ("spec: null", "spec"),
    ("spec: []", "spec"),
    ("spec: {version: 9.7, storage: {size: 2Gi}}", "version"),
    ("spec: {version: '9.7', storage: {size: -1Gi}}", "size"),
    ("spec: {version: '9.7', storage: {size: 1e99Gi}}", "size"),
    (
        "spec: {version: '9.7', storage: {size: '99999999999999999999Gi'}}",
        "size",
    ),
    (
        "spec: {version: '9.7', storage: {size: 2Gi}, instances: 99999999999}",
        "instances",
    ),
    (
        "spec: {version: '9.7', storage: {size: 2Gi}, instances: -3}",
        "instances",
    ),
    (
        "spec: {version: '9.7', storage: {size: 2Gi}, instances: 3.5}",
        "instances",
    ),
    (
        "spec: {version: '9.7', storage: {size: 2Gi}, instances: '3'}",
        "instances",
    ),
    ("spec: {version: '９.７', storage: {size: 2Gi}}", "version"),
    (
        "spec: {version: '9.7; rm -rf /', storage: {size: 2Gi}}",
        "version",
    ),
    (
        "spec: {image: 'mysql:9.7 --privileged', storage: {size: 2Gi}}",
        "image",
    ),
    ("spec: {image: '../../etc/passwd', storage: {size: 2Gi}}", "image"),
    (
        "spec: {version: '9.7', storage: {size: 2Gi, storageClassName: '../x'}}",
        "storageClassName",
    ),
    (
        "spec: {version: '9.7', storage: {size: 2Gi}, mysql: {parameters: {'max connections': '1'}}}",
        "parameters",
    ),
    (
        "spec: {version: '9.7', storage: {size: 2Gi}, mysql: {parameters: {MAX_CONNECTIONS: '1'}}}",
        "lower case",
    ),
    (
        "spec: {version: '9.7', storage: {size: 2Gi}, mysql: {parameters: {max_connections: \"1\\nsync_binlog=0\"}}}",
        "parameters",
    ),
    (
        "spec: {version: '9.7', storage: {size: 2Gi}, mysql: {parameters: {sync_binlog: '0'}}}",
        "sync_binlog",
    ),
    (
        "spec: {version: '9.7', storage: {size: 2Gi}, mysql: {parameters: {sync_bin: '0'}}}",
        "sync_binlog",
    ),
    (
        "spec: {version: '9.7', storage: {size: 2Gi}, mysql: {parameters: {loose_sync_binlog: '0'}}}",
        "modifiers",
    ),
    (
        "spec: {version: '9.7', storage: {size: 2Gi}, mysql: {parameters: {skip_grant_tables: '1'}}}",
        "modifiers",
    ),
    (
        "spec: {version: '9.7', storage: {size: 2Gi}, mysql: {parameters: {init_file: '/etc/passwd'}}}",
        "init_file",
    ),
    (
        "spec: {version: '9.7', storage: {size: 2Gi}, mysql: {parameters: {plugin_load_add: 'x.so'}}}",
        "plugin",
    ),
    (
        "spec: {version: '9.7', storage: {size: 2Gi}, mysql: {parameters: {secure_file_priv: '/'}}}",
        "secure_file_priv",
    ),
    (
        "spec: {version: '9.7', storage: {size: 2Gi}, mysql: {parameters: {a: 1}}}",
        "parameters",
    ),
    (
        "spec: {version: '9.7', storage: {size: 2Gi}, resources: {limits: {memory: 1Ki}}}",
        "memory",
    ),
    (
        "spec: {version: '9.7', storage: {size: 2Gi}, resources: {limits: {memory: 1Gi}, requests: {memory: 2Gi}}}",
        "limits.memory",
    ),
    (
        "spec: {version: '9.7', storage: {size: 2Gi}, resources: {requests: {cpu: lots}}}",
        "cpu",
    ),
    (
        "spec: {version: '9.7', storage: {size: 2Gi}, placement: {topologyKey: 'a b'}}",
        "topologyKey",
    ),
    (
        "spec: {version: '9.7', storage: {size: 2Gi}, placement: {nodeSelector: {kubernetes.io/hostname: node1}}}",
        "nodeSelector",
    ),
    (
        "spec: {version: '9.7', storage: {size: 2Gi}, placement: {tolerations: [{operator: Sometimes}]}}",
        "operator",
    ),
    (
        "spec: {version: '9.7', storage: {size: 2Gi}, placement: {affinity: {podAffinity: 7}}}",
        "affinity",
    ),
    (
        "spec: {version: '9.7', storage: {size: 2Gi}, service: {primary: {port: 0}}}",
        "port",
    ),
    (
        "spec: {version: '9.7', storage: {size: 2Gi}, service: {primary: {port: 70000}}}",
        "port",
    ),
    (
        "spec: {version: '9.7', storage: {size: 2Gi}, service: {primary: {annotations: {'a b/c/d': x}}}}",
        "annotation",
    ),
    (
        "spec: {version: '9.7', storage: {size: 2Gi}, replication: {syncReplicas: 2}}",
        "syncReplicas",
    ),
    (
        "spec: {version: '9.7', storage: {size: 2Gi}, replication: {mode: Ring}}",
        "mode",
    ),
    (
        "spec: {version: '9.7', storage: {size: 2Gi}, failover: {deadlineSeconds: 0}}",
        "deadlineSeconds",
    ),
    (
        "spec: {version: '9.7', storage: {size: 2Gi}, deletionPolicy: Burn}",
        "deletionPolicy",
    ),
    (
        "spec: {version: '9.7', storage: {size: 2Gi}, imagePullSecrets: [{name: a}, {name: a}]}",
        "uplicate",
    ),
    (
        "spec: {version: '9.7', storage: {size: 2Gi}, noSuchField: 1}",
        "noSuchField",
    ),
];

/// Malformed and hostile objects beside a cluster that runs: refused with words, or reported; it goes on.
pub(super) fn hostile(stage: &Stage) -> Result<String> {
    operator::installed(stage)?;
    let cluster = Cluster {
        namespace: "hostile",
        instances: 1,
        ..Cluster::default()
    };
    cluster.healthy(stage)?;
    let before = cluster.get(stage)?;
    let huge = "x".repeat(1 << 20);
    let many: String = (0..200).map(|n| format!("p{n}: '1', ")).collect();
    let long = "a".repeat(300);
    let long_ones = [
        (
            format!(
                "spec: {{version: '9.7', storage: {{size: 2Gi}}, mysql: {{parameters: {{a: '{huge}'}}}}}}"
            ),
            "",
        ),
        (
            format!("spec: {{version: '9.7', storage: {{size: 2Gi}}, mysql: {{parameters: {{{many}}}}}}}"),
            "100",
        ),
        (
            format!("spec: {{image: '{long}{long}', storage: {{size: 2Gi}}}}"),
            "image",
        ),
    ];
    let listed = HOSTILE.iter().map(|(spec, words)| ((*spec).to_owned(), *words));
    let cases: Vec<(String, &str)> = listed.chain(long_ones).collect();
    for (spec, words) in &cases {
        let manifest = format!(
            "apiVersion: mysql.holdfast.dev/v1alpha1\nkind: MySQLCluster\nmetadata: {{name: bad, namespace: {}}}\n{spec}\n",
            cluster.namespace
        );
        let told = stage.k("create --validate=strict -f -").input(&manifest);
        let short: String = spec.chars().take(120).collect();
        let Err(error) = told else {
            bail!("{short} was taken");
        };
        let error = format!("{error:#}");
        let said: String = error.chars().take(400).collect();
        claim(
            error.contains(words),
            format!("{short}: the refusal names {words}: {said}"),
        )?;
    }
    let after = cluster.get(stage)?;
    claim(
        before["status"] == after["status"],
        "the running cluster is untouched",
    )?;
    cluster.remove(stage)?;
    Ok(format!(
        "{} refused with words; the cluster beside them untouched",
        cases.len()
    ))
}
