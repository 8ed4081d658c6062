//! Clusters to try, written as people write them, and everything that is made of one.
//! Must not assert anything.

use std::collections::{BTreeMap, BTreeSet};

use crds::cluster::MySQLCluster;
use objects::bundle::{Bundle, Controller, Images, Inputs, bundle};
use objects::cluster::Cluster;
use objects::endpoints::{Endpoint, Family, Which, endpoint_slice};
use objects::secrets::{App, Internal, KeyPair};
use objects::{pod, secrets, volume_claim};
use serde::Serialize;
use serde_json::{Value, json};
use topology::record::Record;

pub(crate) const MINIMAL: &str = "{version: '9.7', storage: {size: 10Gi}}";

pub(crate) const SINGLE: &str = "{version: '9.7', instances: 1, storage: {size: 1Gi}}";

pub(crate) const EVERYTHING: &str = "
image: registry.example.com:5000/mysql/server:9.7.4
imagePullSecrets: [{name: registry}, {name: mirror}]
instances: 5
replication: {mode: SemiSync, syncReplicas: 1}
failover: {policy: Manual, deadlineSeconds: 60}
storage: {size: 1.5Ti, storageClassName: fast}
resources: {requests: {cpu: '1.5', memory: 4Gi}, limits: {cpu: '2', memory: 8192Mi}}
mysql: {parameters: {max_connections: '500', innodb_buffer_pool_size: 4G}}
placement:
  topologyKey: topology.kubernetes.io/zone
  nodeSelector: {pool: db}
  tolerations:
  - {key: dedicated, operator: Equal, value: mysql, effect: NoSchedule}
  - {operator: Exists, effect: NoExecute, tolerationSeconds: 30}
  affinity:
    nodeAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
        nodeSelectorTerms:
        - matchExpressions: [{key: kubernetes.io/arch, operator: In, values: [amd64]}]
    podAntiAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
      - {topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: noisy}}}
tls: {mode: Optional}
service:
  primary: {type: LoadBalancer, annotations: {example.com/pool: db}, port: 13306}
  replicas: {type: NodePort, fallback: None, port: 3307}
suspend: true
deletionPolicy: Delete
";

pub(crate) fn object_named(name: &str, spec: &str) -> MySQLCluster {
    let spec: Value = serde_yaml::from_str(spec).unwrap();
    object(name, &spec)
}

pub(crate) fn object(name: &str, spec: &Value) -> MySQLCluster {
    serde_json::from_value(json!({
        "apiVersion": "mysql.holdfast.dev/v1alpha1",
        "kind": "MySQLCluster",
        "metadata": { "name": name, "namespace": "shop", "uid": "4f6d2f0e-0000-4000-8000-000000000001" },
        "spec": spec,
    }))
    .unwrap()
}

pub(crate) fn cluster(spec: &str) -> Cluster {
    Cluster::read(&object_named("orders", spec)).unwrap()
}

pub(crate) fn inputs() -> Inputs {
    Inputs {
        images: Images {
            mysql_repository: "mysql".into(),
            operator: "registry.example.com/holdfast:0.1.0".into(),
        },
        controller: Some(Controller {
            namespace: "holdfast-system".into(),
            labels: BTreeMap::from([("app.kubernetes.io/name".into(), "holdfast".into())]),
        }),
        voters: 0,
    }
}

/// What is put into Secrets. Each word must be found nowhere else.
pub(crate) const CANARIES: &[&str] = &[
    "canary-app",
    "canary-agent",
    "canary-accounts",
    "canary-replication",
    "canary-clone",
    "canary-monitoring",
    "canary-tls-key",
    "canary-ca-key",
];

pub(crate) fn record() -> Record {
    let incarnation =
        |last: u8| json!({ "incarnation": format!("00000000-0000-4000-8000-00000000000{last}") });
    serde_json::from_value(json!({
        "identity": "00000000-0000-4000-8000-000000000009",
        "term": { "epoch": 7, "revision": 31 },
        "primary": "orders-1",
        "voters": { "orders-0": incarnation(1), "orders-1": incarnation(2), "orders-2": {} },
        "acknowledgedBy": 1,
        "waitFor": 2,
        "cut": "00000000-0000-4000-8000-000000000002:1-5",
    }))
    .unwrap()
}

pub(crate) fn endpoint(member: &str, ip: &str) -> Endpoint {
    Endpoint {
        member: member.into(),
        ip: ip.into(),
        node: Some("node1".into()),
        is_ready: true,
    }
}

/// Everything that is made of a cluster, under `Kind/name`.
pub(crate) fn everything(cluster: &Cluster) -> BTreeMap<String, Value> {
    let inputs = inputs();
    let mut all = BTreeMap::new();
    let Bundle {
        service_primary,
        service_replicas,
        service_members,
        pod_disruption_budget,
        network_policy,
        service_account,
    } = bundle(cluster, &inputs);
    put(&mut all, &service_primary);
    put(&mut all, &service_replicas);
    put(&mut all, &service_members);
    if let Some(budget) = pod_disruption_budget {
        put(&mut all, &budget);
    }
    put(&mut all, &network_policy);
    put(&mut all, &service_account);
    let member = cluster.member(cluster.instances - 1);
    put(&mut all, &pod(cluster, &member, &inputs));
    put(&mut all, &volume_claim(cluster, &member, None));
    for secret in all_secrets(cluster) {
        put(&mut all, &secret);
    }
    let endpoints = BTreeSet::from([endpoint(&member, "10.0.0.7")]);
    for (which, endpoints) in [(Which::Primary, endpoints), (Which::Replicas, BTreeSet::new())] {
        put(
            &mut all,
            &endpoint_slice(cluster, which, Family::IPv4, 7, &endpoints).unwrap(),
        );
    }
    put(&mut all, &objects::record::record(cluster, &record()).unwrap());
    all
}

pub(crate) fn all_secrets(cluster: &Cluster) -> Vec<k8s_openapi::api::core::v1::Secret> {
    let app = App {
        username: secrets::APP_USERNAME,
        password: "canary-app",
        database: secrets::APP_DATABASE,
        ca: "ca certificate",
    };
    let passwords = Internal {
        agent: "canary-agent",
        accounts: "canary-accounts",
        replication: "canary-replication",
        clone: "canary-clone",
        monitoring: "canary-monitoring",
    };
    let pair = |certificate, key| KeyPair { certificate, key };
    vec![
        secrets::app(cluster, app),
        secrets::internal(cluster, passwords),
        secrets::tls(cluster, pair("certificate", "canary-tls-key"), "ca certificate"),
        secrets::ca(cluster, pair("ca certificate", "canary-ca-key")),
    ]
}

fn put(all: &mut BTreeMap<String, Value>, object: &impl Serialize) {
    let value = serde_json::to_value(object).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let key = format!("{}/{}", text(&value["kind"]), text(&value["metadata"]["name"]));
    assert!(all.insert(key.clone(), value).is_none(), "two of {key}");
}
