//! What the controller promises about its objects, shown on a real API server with pretended members.
//! Must not need nodes: Pods get an address and an agent's stream from the tests themselves.
//!
//! Runs only when named, with KUBECONFIG set, where no node takes Pods (`kubectl cordon`) and no other operator
//! runs: `cargo test -p controllers --test api_server`.

#![cfg(test)]

mod members;
mod world;

use std::collections::BTreeSet;
use std::time::Duration;

use crds::cluster::{MySQLCluster, PromotionKind};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use topology::capture::Capture;
use topology::decision::ClusterState;

use world::World;

fn spec(more: Value) -> Value {
    let mut spec = json!({ "version": "9.7", "storage": { "size": "1Gi" } });
    let fields = spec.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    spec
}

fn condition(cluster: &MySQLCluster, type_: &str) -> String {
    let status = cluster.status.clone().unwrap_or_default();
    let list = status.conditions.unwrap_or_default();
    let found = list.into_iter().find(|condition| condition.type_ == type_);
    found.map_or("none".into(), |found| {
        format!("{} {}", found.status, found.reason)
    })
}

fn is_ready(cluster: &MySQLCluster) -> bool {
    let status = cluster.status.clone().unwrap_or_default();
    let is_current = status.observed_generation == cluster.metadata.generation;
    is_current && condition(cluster, "Ready") == "True AllInstancesReady"
}

fn primary(cluster: &MySQLCluster) -> String {
    let status = cluster.status.clone().unwrap_or_default();
    status.primary.map(|primary| primary.name).unwrap_or_default()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_born_stands_still_fails_over_and_goes_with_its_data() {
    let mut world = World::new("life").await;
    let began = Instant::now();
    world.apply(spec(json!({ "deletionPolicy": "Delete" }))).await;
    world.until("ready", 30, is_ready).await;
    println!("born in {} ms", began.elapsed().as_millis());
    let cluster = world.cluster().await;
    assert_eq!(primary(&cluster), "orders-0");
    assert_eq!(condition(&cluster, "Redundant"), "True SpareReplicas");
    assert_eq!(world.leads_to("orders-primary").await, set(&["orders-0"]));
    assert_eq!(
        world.leads_to("orders-replicas").await,
        set(&["orders-1", "orders-2"])
    );
    let promotion = cluster.status.unwrap().promotions.unwrap().remove(0);
    assert_eq!((promotion.epoch, promotion.kind), (1, PromotionKind::Bootstrap));

    // A cluster that stands still is not written to.
    sleep(Duration::from_secs(2)).await;
    let before = world.versions().await;
    sleep(Duration::from_secs(6)).await;
    assert_eq!(world.versions().await, before);

    its_look_is_decided_again(&world).await;
    fail_over(&world).await;

    // Another controller goes on where this one was killed.
    world.kill().await;
    world.start();
    world
        .apply(spec(json!({ "deletionPolicy": "Delete", "instances": 5 })))
        .await;
    world.until("scaled", 60, is_ready).await;
    assert_eq!(world.leads_to("orders-replicas").await.len(), 4);
    world
        .apply(spec(json!({ "deletionPolicy": "Delete", "instances": 3 })))
        .await;
    world.until("scaled back", 60, is_ready).await;
    until_gone::<Pod>(&world, "orders-4").await;
    until_gone::<PersistentVolumeClaim>(&world, "orders-4").await;

    world
        .api::<MySQLCluster>()
        .delete("orders", &DeleteParams::default())
        .await
        .unwrap();
    until_gone::<MySQLCluster>(&world, "orders").await;
    for name in ["orders-0", "orders-1", "orders-2"] {
        until_gone::<PersistentVolumeClaim>(&world, name).await;
    }
    until_gone::<Secret>(&world, "orders-internal").await;
    world.end().await;
}

/// What people on call get from it, and what they read there.
async fn its_look_is_decided_again(world: &World) {
    let look = world.ask(&format!("/clusters/{}/orders", world.namespace)).await;
    let capture: Capture = serde_json::from_str(&look).unwrap();
    let decision = capture.decide();
    assert_eq!(decision.state, ClusterState::Healthy);
    assert_eq!(capture.check(&decision), Ok(()));
    let none = world.ask(&format!("/clusters/{}/others", world.namespace)).await;
    assert!(
        none.contains("there is no look at a MySQLCluster others"),
        "{none}"
    );
}

/// The primary's mysqld ends; later it is back.
async fn fail_over(world: &World) {
    let lost = Instant::now();
    world.members.set_down("orders-0", true);
    world
        .until("failed over", 20, |cluster| primary(cluster) != "orders-0")
        .await;
    let told = |cluster: &MySQLCluster| {
        let promotions = cluster
            .status
            .as_ref()
            .and_then(|status| status.promotions.clone());
        promotions.is_some_and(|promotions| promotions[0].epoch == 2)
    };
    world.until("told", 20, told).await;
    println!("failed over in {} ms", lost.elapsed().as_millis());
    let cluster = world.cluster().await;
    let now = primary(&cluster);
    assert!(world.members.is_open(&now) && !world.members.is_open("orders-0"));
    assert_eq!(world.leads_to("orders-primary").await, set(&[&now]));
    let promotion = cluster.status.unwrap().promotions.unwrap().remove(0);
    println!("{}", serde_json::to_string(&promotion).unwrap());
    assert_eq!(promotion.kind, PromotionKind::Failover);
    assert_eq!(
        (promotion.from.as_deref(), promotion.reason.as_str()),
        (Some("orders-0"), "MysqldDead")
    );
    world.members.set_down("orders-0", false);
    world.until("ready again", 30, is_ready).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_and_their_passwords_outlive_the_cluster_and_are_taken_over() {
    let world = World::new("retain").await;
    world.apply(spec(json!({}))).await;
    world.until("ready", 30, is_ready).await;
    let passwords = world.api::<Secret>().get("orders-internal").await.unwrap().data;
    let record = world.api::<ConfigMap>().get("orders-record").await.unwrap();
    world
        .api::<MySQLCluster>()
        .delete("orders", &DeleteParams::default())
        .await
        .unwrap();
    until_gone::<MySQLCluster>(&world, "orders").await;
    until_gone::<ConfigMap>(&world, "orders-record").await;
    let claims = world
        .api::<PersistentVolumeClaim>()
        .list(&ListParams::default())
        .await
        .unwrap();
    let names: Vec<_> = claims.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["orders-0", "orders-1", "orders-2"]);
    assert!(
        claims
            .iter()
            .all(|claim| claim.metadata.deletion_timestamp.is_none())
    );

    world.apply(spec(json!({}))).await;
    world.until("taken over", 40, is_ready).await;
    let after = world.api::<Secret>().get("orders-internal").await.unwrap().data;
    assert!(after == passwords, "the passwords belong to the data");
    let cluster = world.cluster().await;
    let promotion = cluster.status.as_ref().unwrap().promotions.as_ref().unwrap()[0].clone();
    assert_eq!(
        (promotion.kind, promotion.reason.as_str()),
        (PromotionKind::Bootstrap, "Adopted")
    );
    assert!(promotion.epoch > 1);
    let taken = world.api::<ConfigMap>().get("orders-record").await.unwrap();
    let identity = |map: &ConfigMap| {
        let record: Value = serde_json::from_str(&map.data.as_ref().unwrap()["record"]).unwrap();
        record["identity"].clone()
    };
    assert_eq!(identity(&taken), identity(&record));
    let claim = world
        .api::<PersistentVolumeClaim>()
        .get("orders-1")
        .await
        .unwrap();
    assert_eq!(
        claim.annotations()["mysql.holdfast.dev/cluster-uid"],
        cluster.uid().unwrap()
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_cluster_is_left_alone_and_told_about() {
    let world = World::new("suspend").await;
    world.apply(spec(json!({}))).await;
    world.until("ready", 30, is_ready).await;
    world.apply(spec(json!({ "suspend": true }))).await;
    let is_suspended = |cluster: &MySQLCluster| condition(cluster, "Suspended") == "True SuspendedBySpec";
    world.until("suspended", 10, is_suspended).await;
    world.members.set_down("orders-0", true);
    let is_lost = |cluster: &MySQLCluster| condition(cluster, "PrimaryAvailable").starts_with("False");
    world.until("lost", 10, is_lost).await;
    sleep(Duration::from_secs(3)).await;
    assert_eq!(primary(&world.cluster().await), "orders-0");
    world.apply(spec(json!({}))).await;
    world
        .until("failed over", 20, |cluster| primary(cluster) != "orders-0")
        .await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_that_cannot_grow_are_named_and_the_cluster_serves_on() {
    let world = World::new("grow").await;
    world.apply(spec(json!({}))).await;
    world.until("ready", 30, is_ready).await;
    // Nobody binds volumes here, and those that are not bound cannot grow.
    world.apply(spec(json!({ "storage": { "size": "2Gi" } }))).await;
    let is_stalled = |cluster: &MySQLCluster| condition(cluster, "Stalled") == "True ResizeRefused";
    world.until("stalled", 20, is_stalled).await;
    world.until("ready", 20, is_ready).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_somebody_else_is_not_touched_and_named() {
    let world = World::new("foreign").await;
    let theirs: k8s_openapi::api::core::v1::Service = serde_json::from_value(json!({
        "metadata": { "name": "orders-primary" },
        "spec": { "ports": [{ "port": 80 }] },
    }))
    .unwrap();
    let services = world.api();
    let made = services.create(&Default::default(), &theirs).await.unwrap();
    world.apply(spec(json!({}))).await;
    let is_stalled = |cluster: &MySQLCluster| condition(cluster, "Stalled") == "True SpecRefused";
    world.until("stalled", 20, is_stalled).await;
    let list = world.cluster().await.status.unwrap().conditions.unwrap();
    let stalled = list
        .iter()
        .find(|condition| condition.type_ == "Stalled")
        .unwrap();
    assert!(stalled.message.contains("orders-primary"), "{}", stalled.message);
    assert_eq!(services.get("orders-primary").await.unwrap().spec, made.spec);
    services
        .delete("orders-primary", &DeleteParams::default())
        .await
        .unwrap();
    world.until("ready", 40, is_ready).await;
    world.end().await;
}

async fn until_gone<K>(world: &World, name: &str)
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let end = Instant::now() + Duration::from_secs(30);
    while world.api::<K>().get_opt(name).await.unwrap().is_some() {
        assert!(Instant::now() < end, "{} {name} is still there", K::kind(&()));
        sleep(Duration::from_millis(100)).await;
    }
}
