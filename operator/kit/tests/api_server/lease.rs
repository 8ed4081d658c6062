//! Leadership on a real API server: death, release, lost networks, strangers.
//! Must not test decisions one by one: the crate does, without a server.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kit::client::{self, Class, Clients};
use kit::lease::{Candidate, Error, Identity, Keeper, Leadership, Loss, Timing};
use kube::Config;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::proxy::{Line, Proxy};
use crate::world::{SOON, World, in_namespace, soon, until};

const NAME: &str = "leader";

/// Shorter than in earnest, in the same proportions.
fn timing() -> Timing {
    let ms = Duration::from_millis;
    Timing::new(ms(3000), ms(2100), ms(600), ms(500)).unwrap()
}

fn candidate(config: &Config, world: &World, name: &str) -> Candidate {
    let clients = Clients::new(config).unwrap();
    let identity = Identity::unique(name);
    Candidate::new(&clients.prompt, &world.namespace, NAME, identity, timing())
}

async fn leading(world: &World, name: &str) -> (Leadership, Keeper) {
    soon("leading", candidate(&world.config, world, name).acquire()).await
}

/// In a task of its own, with the time at which it leads.
fn waiting(world: &World, name: &str) -> JoinHandle<(Leadership, Keeper, Instant)> {
    let candidate = candidate(&world.config, world, name);
    tokio::spawn(async {
        let (token, keeper) = candidate.acquire().await;
        (token, keeper, Instant::now())
    })
}

fn leases(world: &World) -> Api<Lease> {
    Api::namespaced(world.client(), &world.namespace)
}

async fn lease(world: &World) -> Lease {
    client::call(SOON, leases(world).get(NAME)).await.unwrap()
}

async fn holder(world: &World) -> Option<String> {
    lease(world).await.spec.unwrap().holder_identity
}

/// A lease that nobody holds, as an installation brings it: no wait at the first start.
async fn install(world: &World) {
    let vacant = serde_json::from_value(json!({ "metadata": { "name": NAME } })).unwrap();
    let made = client::call(SOON, leases(world).create(&PostParams::default(), &vacant)).await;
    made.unwrap();
}

#[test]
fn a_first_leader_waits_unless_the_lease_was_installed() {
    in_namespace(|world| async move {
        let began = Instant::now();
        let (token, keeper) = leading(&world, "first").await;
        assert!(began.elapsed() >= timing().duration(), "{:?}", began.elapsed());
        drop((token, keeper));
        let delete = DeleteParams::default();
        client::call(SOON, leases(&world).delete(NAME, &delete))
            .await
            .unwrap();
        install(&world).await;
        let began = Instant::now();
        let (token, _keeper) = leading(&world, "second").await;
        assert!(began.elapsed() < timing().duration(), "{:?}", began.elapsed());
        assert!(token.is_held());
    });
}

#[test]
fn another_takes_over_when_the_holder_dies() {
    in_namespace(|world| async move {
        install(&world).await;
        let (token, keeper) = leading(&world, "a").await;
        let other = waiting(&world, "b");
        let renewed = lease(&world).await.spec.unwrap().renew_time;
        // The other looks on while it is renewed.
        let watched = async { while lease(&world).await.spec.unwrap().renew_time == renewed {} };
        soon("a renewal", watched).await;
        assert!(token.is_held() && !other.is_finished());
        let died = Instant::now();
        drop(keeper);
        assert!(!token.is_held());
        let (other_token, _keeper, led) = soon("the other leads", other).await.unwrap();
        assert!(other_token.is_held());
        let took = led - died;
        println!("taken over {} ms after the holder's death", took.as_millis());
        assert!(took < timing().duration() + 2 * timing().renew_period() + SOON / 10);
        let spec = lease(&world).await.spec.unwrap();
        assert!(spec.holder_identity.unwrap().starts_with("b_"));
        assert_eq!(spec.lease_transitions, Some(2));
        assert_eq!(spec.lease_duration_seconds, Some(3));
    });
}

#[test]
fn a_released_lease_passes_on_at_once() {
    in_namespace(|world| async move {
        install(&world).await;
        let (token, keeper) = leading(&world, "a").await;
        let other = waiting(&world, "b");
        let copy = token.clone();
        soon("the release", keeper.release(token))
            .await
            .expect_err("a copy is in use");
        assert!(!copy.is_held());
        // Not released, so it has to run out.
        let (token, keeper, _) = soon("the other leads", other).await.unwrap();
        let next = waiting(&world, "c");
        let released = Instant::now();
        soon("the release", keeper.release(token)).await.unwrap();
        let (_token, _keeper, led) = soon("the next leads", next).await.unwrap();
        println!("passed on {} ms after the release", (led - released).as_millis());
        assert!(led - released < timing().duration());
        assert!(holder(&world).await.unwrap().starts_with("c_"));
    });
}

#[test]
fn a_release_is_read_by_people_as_one() {
    in_namespace(|world| async move {
        install(&world).await;
        let (token, keeper) = leading(&world, "a").await;
        soon("the release", keeper.release(token)).await.unwrap();
        assert_eq!(holder(&world).await, None);
    });
}

async fn cut_off(world: World, line: Line) {
    install(&world).await;
    let proxy = Proxy::before(&world.config).await;
    let (token, mut keeper) = soon("leading", candidate(&proxy.config, &world, "a").acquire()).await;
    let other = waiting(&world, "b");
    let watcher = {
        let token = token.clone();
        tokio::spawn(async move { until("the token says no", || !token.is_held()).await })
    };
    // It leads on through the proxy for longer than a term.
    let began = Instant::now();
    until("a term", || {
        !token.is_held() || began.elapsed() > timing().duration()
    })
    .await;
    assert!(token.is_held() && !other.is_finished());
    let cut = Instant::now();
    proxy.turn(line);
    let (other_token, _keeper, led) = soon("the other leads", other).await.unwrap();
    assert!(!token.is_held() && other_token.is_held());
    let ended = soon("the end", watcher).await.unwrap();
    println!(
        "{line:?}: the token ended {} ms, the other led {} ms after the cut",
        (ended - cut).as_millis(),
        (led - cut).as_millis()
    );
    assert!(ended < led);
    // Back again, it learns that it does not lead.
    proxy.turn(Line::Up);
    let loss = soon("the loss", keeper.lost()).await;
    assert!(
        matches!(&loss, Loss::Overtaken { holder } if holder.starts_with("b_")),
        "{loss}"
    );
    let error = soon("the release", keeper.release(token)).await.unwrap_err();
    assert!(matches!(error, Error::Lost(Loss::Overtaken { .. })), "{error}");
    assert!(holder(&world).await.unwrap().starts_with("b_"));
}

#[test]
fn a_holder_behind_a_silent_network_ends_before_another_begins() {
    in_namespace(|world| cut_off(world, Line::Silent));
}

#[test]
fn a_holder_without_a_server_ends_before_another_begins() {
    in_namespace(|world| cut_off(world, Line::Closed));
}

#[test]
fn a_short_cut_costs_nothing() {
    in_namespace(|world| async move {
        install(&world).await;
        let proxy = Proxy::before(&world.config).await;
        let (token, _keeper) = soon("leading", candidate(&proxy.config, &world, "a").acquire()).await;
        let other = waiting(&world, "b");
        let cut = Instant::now();
        proxy.turn(Line::Silent);
        until("a moment", || cut.elapsed() > timing().renew_period()).await;
        proxy.turn(Line::Up);
        until("terms", || {
            !token.is_held() || cut.elapsed() > 3 * timing().duration()
        })
        .await;
        assert!(token.is_held() && !other.is_finished());
        other.abort();
    });
}

#[test]
fn a_holder_that_was_cut_off_for_long_goes_on_if_nobody_led_meanwhile() {
    in_namespace(|world| async move {
        install(&world).await;
        let proxy = Proxy::before(&world.config).await;
        let (token, mut keeper) = soon("leading", candidate(&proxy.config, &world, "a").acquire()).await;
        proxy.turn(Line::Silent);
        until("the token says no", || !token.is_held()).await;
        proxy.turn(Line::Up);
        until("the token says yes", || token.is_held()).await;
        let began = Instant::now();
        let lost = tokio::time::timeout(2 * timing().duration(), keeper.lost()).await;
        assert!(lost.is_err(), "lost after {:?}: {lost:?}", began.elapsed());
        assert!(token.is_held());
    });
}

#[test]
fn strangers_that_touch_or_delete_the_lease_unseat_nobody() {
    in_namespace(|world| async move {
        install(&world).await;
        let (token, _keeper) = leading(&world, "a").await;
        let other = waiting(&world, "b");
        let leases = leases(&world);
        for round in 0..3 {
            let note = json!({ "metadata": { "annotations": { "round": round.to_string() } } });
            let (params, patch) = (PatchParams::default(), Patch::Merge(&note));
            client::call(SOON, leases.patch(NAME, &params, &patch))
                .await
                .unwrap();
        }
        client::call(SOON, leases.delete(NAME, &DeleteParams::default()))
            .await
            .unwrap();
        let deleted = Instant::now();
        until("terms", || {
            !token.is_held() || deleted.elapsed() > 2 * timing().duration()
        })
        .await;
        assert!(token.is_held() && !other.is_finished());
        assert!(holder(&world).await.unwrap().starts_with("a_"));
        other.abort();
    });
}

#[test]
fn a_holder_that_sees_another_gives_up() {
    in_namespace(|world| async move {
        install(&world).await;
        let (token, mut keeper) = leading(&world, "a").await;
        let usurped = json!({ "spec": { "holderIdentity": "usurper" } });
        let params = PatchParams::default();
        let patch = Patch::Merge(&usurped);
        client::call(SOON, leases(&world).patch(NAME, &params, &patch))
            .await
            .unwrap();
        let holder = "usurper".to_owned();
        assert_eq!(soon("the loss", keeper.lost()).await, Loss::Overtaken { holder });
        assert!(!token.is_held());
    });
}

#[test]
fn of_two_that_replace_one_version_one_fails() {
    in_namespace(|world| async move {
        install(&world).await;
        let api = Api::<Lease>::namespaced(world.clients.prompt.client().clone(), &world.namespace);
        let read = client::call(SOON, api.get(NAME)).await.unwrap();
        let by = |holder: &str| {
            let mut lease = read.clone();
            lease.spec.get_or_insert_default().holder_identity = Some(holder.to_owned());
            lease
        };
        let params = PostParams::default();
        let (one, two) = (by("one"), by("two"));
        let (one, two) = tokio::join!(
            client::call(SOON, api.replace(NAME, &params, &one)),
            client::call(SOON, api.replace(NAME, &params, &two)),
        );
        assert!(one.is_ok() != two.is_ok());
        let error = one.and(two).unwrap_err();
        assert_eq!(error.class(), Class::Conflict);
        assert!(!error.may_have_happened());
        let absent = client::call(SOON, api.get("absent")).await.unwrap_err();
        assert_eq!(absent.class(), Class::NotFound);
        let mut again = by("x");
        again.metadata.resource_version = None;
        let again = client::call(SOON, api.create(&params, &again)).await;
        assert_eq!(again.unwrap_err().class(), Class::AlreadyExists);
    });
}
