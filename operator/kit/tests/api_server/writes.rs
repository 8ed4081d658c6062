//! Whose objects are written and removed on a real API server; status; events.
//! Must not test what is in an object that is ours: apply.rs does.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kit::apply::{self, Applier, Change, Error, Lifetime, Owner};
use kit::client::{self, Class};
use kit::conditions::{self, Finding, Status};
use kit::events::{EventType, Events, Note};
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::{Resource, ResourceExt};
use serde_json::json;

use crate::apply::{config_map, object};
use crate::world::{SOON, World, in_namespace};

pub(crate) const MARK: &str = "example.com/applied";

fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([("app".to_owned(), "test".to_owned())])
}

fn config_maps(world: &World) -> Api<ConfigMap> {
    Api::namespaced(world.client(), &world.namespace)
}

async fn create(world: &World, object: ConfigMap) -> ConfigMap {
    let api = config_maps(world);
    client::call(SOON, api.create(&PostParams::default(), &object))
        .await
        .unwrap()
}

async fn delete(world: &World, name: &str) {
    let api = config_maps(world);
    client::call(SOON, api.delete(name, &DeleteParams::default()))
        .await
        .unwrap();
}

async fn names(world: &World) -> BTreeSet<String> {
    let list = client::call(SOON, config_maps(world).list(&ListParams::default()))
        .await
        .unwrap();
    let names = list.items.iter().map(ResourceExt::name_any);
    names
        .filter(|name| name != "kube-root-ca.crt" && !name.starts_with("owner-"))
        .collect()
}

/// A new object that owns others.
pub(crate) async fn owner(world: &World) -> Owner {
    let mut object = config_map("x", json!({}));
    object.metadata.name = None;
    object.metadata.generate_name = Some("owner-".into());
    Owner::of(&create(world, object).await, labels()).unwrap()
}

pub(crate) fn applier(world: &World, owner: &Owner) -> Applier {
    Applier::new(world.client(), owner.clone(), MARK, SOON)
}

fn is_foreign<T: std::fmt::Debug>(outcome: Result<T, Error>) -> String {
    let error = outcome.unwrap_err();
    assert!(matches!(error, Error::Foreign { .. }), "{error:?}");
    error.to_string()
}

#[test]
fn what_is_anothers_is_left_alone() {
    in_namespace(|world| async move {
        let (one, two) = (owner(&world).await, owner(&world).await);
        let (one, two) = (applier(&world, &one), applier(&world, &two));
        let wanted = |value: &str| config_map("c", json!({ "a": value }));
        one.apply(wanted("1"), None, Lifetime::OfOwner).await.unwrap();
        let said = is_foreign(two.apply(wanted("2"), None, Lifetime::OfOwner).await);
        assert!(said.contains("owned by ConfigMap owner-"), "{said}");
        let live = client::call(SOON, config_maps(&world).get("c")).await.unwrap();
        assert_eq!(live.data.as_ref().unwrap()["a"], "1");
        is_foreign(two.remove(&live).await);
        // What a person made has no owner, and not our labels.
        create(&world, config_map("theirs", json!({ "a": "0" }))).await;
        let wanted = config_map("theirs", json!({ "a": "1" }));
        let said = is_foreign(one.apply(wanted, None, Lifetime::OfOwner).await);
        assert!(said.contains("made by someone else"), "{said}");
        assert_eq!(names(&world).await.len(), 2);
    });
}

#[test]
fn what_outlives_its_owner_is_taken_over_by_the_next() {
    in_namespace(|world| async move {
        let (one, two) = (owner(&world).await, owner(&world).await);
        let (one, two) = (applier(&world, &one), applier(&world, &two));
        let wanted = || config_map("data", json!({ "a": "1" }));
        let made = one.apply(wanted(), None, Lifetime::BeyondOwner).await.unwrap();
        assert!(made.object.owner_references().is_empty());
        let next = two.apply(wanted(), None, Lifetime::OfOwner).await.unwrap();
        assert_eq!(
            (next.change, next.object.uid()),
            (Change::Updated, made.object.uid())
        );
        assert_eq!(next.object.owner_references().len(), 1);
        // And let go again.
        let last = two
            .apply(wanted(), Some(&next.object), Lifetime::BeyondOwner)
            .await
            .unwrap();
        assert_eq!(last.change, Change::Updated);
        assert!(last.object.owner_references().is_empty());
    });
}

#[test]
fn the_successor_of_a_known_object_is_not_written() {
    in_namespace(|world| async move {
        let owner = owner(&world).await;
        let applier = applier(&world, &owner);
        let wanted = |value: &str| config_map("c", json!({ "a": value }));
        let known = applier
            .apply(wanted("1"), None, Lifetime::OfOwner)
            .await
            .unwrap()
            .object;
        delete(&world, "c").await;
        let gone = applier
            .apply(wanted("2"), Some(&known), Lifetime::OfOwner)
            .await
            .unwrap_err();
        assert_eq!(gone.class(), Some(Class::Conflict), "{gone:?}");
        create(&world, wanted("theirs")).await;
        let other = applier
            .apply(wanted("2"), Some(&known), Lifetime::OfOwner)
            .await
            .unwrap_err();
        assert_eq!(other.class(), Some(Class::Conflict), "{other:?}");
        assert!(!applier.remove(&known).await.unwrap());
        assert_eq!(names(&world).await.len(), 1);
    });
}

#[test]
fn what_is_going_away_is_waited_for() {
    in_namespace(|world| async move {
        let owner = owner(&world).await;
        let applier = applier(&world, &owner);
        let mut wanted = config_map("c", json!({ "a": "1" }));
        wanted.metadata.finalizers = Some(vec!["example.com/hold".into()]);
        let made = applier
            .apply(wanted.clone(), None, Lifetime::OfOwner)
            .await
            .unwrap();
        assert!(applier.remove(&made.object).await.unwrap());
        let again = applier
            .apply(wanted.clone(), None, Lifetime::OfOwner)
            .await
            .unwrap();
        assert_eq!(again.change, Change::Terminating);
        assert_eq!(
            applier
                .remove_orphans::<ConfigMap>(&BTreeSet::new())
                .await
                .unwrap(),
            [""; 0]
        );
        let api = config_maps(&world);
        let let_go = kube::api::Patch::Merge(json!({ "metadata": { "finalizers": null } }));
        client::call(SOON, api.patch("c", &Default::default(), &let_go))
            .await
            .unwrap();
    });
}

#[test]
fn orphans_go_and_nothing_else() {
    in_namespace(|world| async move {
        let (one, two) = (owner(&world).await, owner(&world).await);
        let (one, two) = (applier(&world, &one), applier(&world, &two));
        for name in ["keep", "old-1", "old-2"] {
            one.apply(config_map(name, json!({})), None, Lifetime::OfOwner)
                .await
                .unwrap();
        }
        one.apply(config_map("data", json!({})), None, Lifetime::BeyondOwner)
            .await
            .unwrap();
        two.apply(config_map("others", json!({})), None, Lifetime::OfOwner)
            .await
            .unwrap();
        create(&world, config_map("theirs", json!({}))).await;
        let keep = BTreeSet::from(["keep".to_owned()]);
        let removed = one.remove_orphans::<ConfigMap>(&keep).await.unwrap();
        assert_eq!(removed, ["old-1", "old-2"]);
        let left = ["data", "keep", "others", "theirs"].map(str::to_owned);
        assert_eq!(names(&world).await, BTreeSet::from(left));
        assert!(one.remove_orphans::<ConfigMap>(&keep).await.unwrap().is_empty());
    });
}

#[test]
fn a_status_is_written_once_and_only_on_what_was_seen() {
    in_namespace(|world| async move {
        let owner = owner(&world).await;
        let service: Service = object(json!({
            "metadata": { "name": "v" },
            "spec": { "ports": [{ "port": 3306 }] },
        }));
        let made = applier(&world, &owner)
            .apply(service, None, Lifetime::OfOwner)
            .await
            .unwrap()
            .object;
        let mut list: Vec<Condition> = Vec::new();
        let ready = Finding {
            type_: "Ready",
            status: Status::True,
            reason: "Serves",
            message: "as asked",
            observed_generation: Some(1),
        };
        assert!(conditions::set(&mut list, &ready, jiff::Timestamp::now()).unwrap());
        let status = json!({ "loadBalancer": {}, "conditions": list, "none": null });
        let client = world.client();
        let first = apply::status(&client, &made, &status, SOON).await.unwrap();
        assert_eq!(first.change, Change::Updated);
        let read = first.object.status.clone().unwrap().conditions.unwrap();
        assert_eq!(read, list);
        let second = apply::status(&client, &first.object, &status, SOON)
            .await
            .unwrap();
        assert_eq!(second.change, Change::Unchanged);
        assert_eq!(second.object.resource_version(), first.object.resource_version());
        // `made` is from before the first status.
        list[0].message = "as it was".to_owned();
        let late = json!({ "loadBalancer": {}, "conditions": list });
        let late = apply::status(&client, &made, &late, SOON).await.unwrap_err();
        assert_eq!(late.class(), Some(Class::Conflict), "{late:?}");
        let other = json!({ "loadBalancer": {} });
        let removed = apply::status(&client, &first.object, &other, SOON).await.unwrap();
        assert_eq!(removed.change, Change::Updated);
        assert_eq!(removed.object.status.unwrap().conditions, None);
    });
}

#[test]
fn equal_events_are_counted_and_long_ones_fit() {
    in_namespace(|world| async move {
        let about = create(&world, config_map("c", json!({}))).await.object_ref(&());
        let events = Events::new(world.client(), "kit-test", "pod-1");
        let long = "日".repeat(2000);
        let note = Note {
            type_: EventType::Warning,
            reason: "PrimaryLost",
            action: "Failover",
            note: &long,
        };
        events.publish(&about, note).await.unwrap();
        events.clone().publish(&about, note).await.unwrap();
        let api = Api::<Event>::namespaced(world.client(), &world.namespace);
        let listed = client::call(SOON, api.list(&ListParams::default()))
            .await
            .unwrap();
        let ours = listed
            .items
            .iter()
            .filter(|event| event.reason.as_deref() == Some("PrimaryLost"));
        let series: Vec<_> = ours
            .map(|event| event.series.as_ref().map(|series| series.count))
            .collect();
        assert_eq!(series, [Some(2)]);
    });
}
