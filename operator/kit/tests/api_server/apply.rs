//! Applying on a real API server: what is written, what is not, what is put right.
//! Must not test ownership and removal: writes.rs does.

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service};
use kit::apply::{Applied, Applier, Change, Lifetime, Object};
use kit::client;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, Config, ResourceExt};
use serde_json::{Value, json};

use crate::world::{SOON, World, in_namespace};
use crate::writes::{MARK, applier, owner};

pub(crate) fn object<K: Object>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

pub(crate) fn config_map(name: &str, data: Value) -> ConfigMap {
    object(json!({ "metadata": { "name": name }, "data": data }))
}

async fn applied<K: Object>(applier: &Applier, wanted: &K, known: Option<&K>) -> Applied<K> {
    applier
        .apply(wanted.clone(), known, Lifetime::OfOwner)
        .await
        .unwrap()
}

/// An applier whose every request fails.
fn offline(applier_of: &kit::apply::Owner) -> Applier {
    let config = Config::new("http://127.0.0.1:1".parse().unwrap());
    Applier::new(Client::try_from(config).unwrap(), applier_of.clone(), MARK, SOON)
}

/// Applied twice: the second time nothing changes, and nobody is asked.
async fn is_idempotent<K: Object>(world: &World, wanted: Value) {
    let wanted: K = object(wanted);
    let kind = K::kind(&()).into_owned();
    let owner = owner(world).await;
    let applier = applier(world, &owner);
    let first = applied(&applier, &wanted, None).await;
    assert_eq!(first.change, Change::Created, "{kind}");
    assert_eq!(first.object.owner_references().len(), 1, "{kind}");
    let second = applied(&applier, &wanted, None).await;
    assert_eq!(second.change, Change::Unchanged, "{kind}");
    assert_eq!(
        second.object.resource_version(),
        first.object.resource_version(),
        "{kind}"
    );
    let third = applied(&offline(&owner), &wanted, Some(&second.object)).await;
    assert_eq!(third.change, Change::Unchanged, "{kind} was written");
}

#[test]
fn what_is_there_is_not_written_again() {
    in_namespace(|world| async move {
        is_idempotent::<ConfigMap>(
            &world,
            json!({ "metadata": { "name": "c" }, "data": { "a": "1" } }),
        )
        .await;
        is_idempotent::<Secret>(
            &world,
            json!({ "metadata": { "name": "s" }, "type": "Opaque", "data": { "password": "c2VjcmV0" } }),
        )
        .await;
        is_idempotent::<Service>(
            &world,
            json!({
                "metadata": { "name": "v", "labels": { "app": "x" } },
                "spec": { "selector": { "app": "x" }, "ports": [{ "name": "mysql", "port": 3306 }] },
            }),
        )
        .await;
        is_idempotent::<PersistentVolumeClaim>(
            &world,
            json!({
                "metadata": { "name": "p" },
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "storageClassName": "none-such",
                    "resources": { "requests": { "storage": "1Gi" } },
                },
            }),
        )
        .await;
    });
}

#[test]
fn a_pod_with_all_that_the_server_adds_is_not_written_again() {
    in_namespace(|world| async move {
        let pod = json!({
            "metadata": { "name": "pod" },
            "spec": {
                "nodeName": "no-such-node",
                "automountServiceAccountToken": false,
                "securityContext": { "runAsNonRoot": true, "fsGroup": 999 },
                "containers": [{
                    "name": "one",
                    "image": "image:1",
                    "env": [{ "name": "A", "value": "b" }],
                    "ports": [{ "containerPort": 3306 }],
                    "resources": { "limits": { "memory": "1Gi", "cpu": "100m" } },
                    "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
                }],
                "volumes": [{ "name": "data", "emptyDir": {} }],
            },
        });
        is_idempotent::<Pod>(&world, pod).await;
    });
}

#[test]
fn amounts_that_the_server_spells_otherwise_are_not_written_again() {
    in_namespace(|world| async move {
        let owner = owner(&world).await;
        let applier = applier(&world, &owner);
        let claim: PersistentVolumeClaim = object(json!({
            "metadata": { "name": "p" },
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "none-such",
                "resources": { "requests": { "storage": "1024Mi" } },
            },
        }));
        let first = applied(&applier, &claim, None).await;
        let storage = &first
            .object
            .spec
            .as_ref()
            .unwrap()
            .resources
            .as_ref()
            .unwrap()
            .requests;
        assert_eq!(storage.as_ref().unwrap()["storage"].0, "1Gi");
        let second = applied(&offline(&owner), &claim, Some(&first.object)).await;
        assert_eq!(second.change, Change::Unchanged);
    });
}

#[test]
fn what_others_change_is_put_right_and_what_is_theirs_is_left() {
    in_namespace(|world| async move {
        let owner = owner(&world).await;
        let applier = applier(&world, &owner);
        let wanted = config_map("c", json!({ "a": "1", "b": "2" }));
        let first = applied(&applier, &wanted, None).await;
        let api = Api::<ConfigMap>::namespaced(world.client(), &world.namespace);
        let edit =
            json!({ "data": { "a": "9", "theirs": "x" }, "metadata": { "annotations": { "note": "y" } } });
        let params = PatchParams {
            field_manager: Some("someone".into()),
            ..PatchParams::default()
        };
        client::call(SOON, api.patch("c", &params, &Patch::Merge(&edit)))
            .await
            .unwrap();
        let second = applied(&applier, &wanted, None).await;
        assert_eq!(second.change, Change::Updated);
        let data = second.object.data.clone().unwrap();
        assert_eq!((data["a"].as_str(), data["theirs"].as_str()), ("1", "x"));
        assert_eq!(second.object.annotations()["note"], "y");
        assert_eq!(first.object.uid(), second.object.uid());
        // Their fields are no reason to write again.
        let third = applied(&offline(&owner), &wanted, Some(&second.object)).await;
        assert_eq!(third.change, Change::Unchanged);
    });
}

#[test]
fn what_is_wanted_no_more_is_taken_back() {
    in_namespace(|world| async move {
        let owner = owner(&world).await;
        let applier = applier(&world, &owner);
        let first = applied(&applier, &config_map("c", json!({ "a": "1", "b": "2" })), None).await;
        let wanted = config_map("c", json!({ "a": "1" }));
        let second = applied(&applier, &wanted, Some(&first.object)).await;
        assert_eq!(second.change, Change::Updated);
        assert_eq!(second.object.data.as_ref().unwrap().len(), 1);
        let third = applied(&offline(&owner), &wanted, Some(&second.object)).await;
        assert_eq!(third.change, Change::Unchanged);
    });
}

#[test]
fn no_digest_of_a_secret_is_shown() {
    in_namespace(|world| async move {
        let owner = owner(&world).await;
        let applier = applier(&world, &owner);
        let secret = |password: &str| {
            let data = json!({ "password": password });
            object::<Secret>(json!({ "metadata": { "name": "s" }, "type": "Opaque", "data": data }))
        };
        let first = applied(&applier, &secret("b25l"), None).await;
        let second = applied(&applier, &secret("dHdv"), Some(&first.object)).await;
        assert_eq!(second.change, Change::Updated);
        assert_eq!(
            first.object.annotations()[MARK],
            second.object.annotations()[MARK]
        );
        assert_ne!(first.object.data, second.object.data);
    });
}
