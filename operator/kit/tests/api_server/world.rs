//! A namespace for each test, and waiting with an end.
//! Must not test anything.

use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kit::client::{self, Clients};
use kit::lease::Identity;
use kube::api::{Api, DeleteParams, ObjectMeta, PostParams};
use kube::{Client, Config};
use tokio::time::{Instant, sleep};

/// For whatever should happen soon: far more than it takes.
pub(crate) const SOON: Duration = Duration::from_secs(30);

pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) clients: Clients,
    pub(crate) namespace: String,
}

impl World {
    pub(crate) fn client(&self) -> Client {
        self.clients.patient.clone()
    }
}

async fn configured() -> Config {
    let path = std::env::var_os("KUBECONFIG").map(PathBuf::from);
    let path = path.expect("KUBECONFIG must name the kubeconfig of a cluster to test on");
    client::config(Some(&path)).await.unwrap()
}

/// Runs the test in a namespace of its own, which goes whether or not the test passes.
pub(crate) fn in_namespace<F>(test: impl FnOnce(World) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let config = configured().await;
        let clients = Clients::new(&config).unwrap();
        let namespaces = Api::<Namespace>::all(clients.patient.clone());
        let name = Identity::unique("kit-test").as_str().replace('_', "-");
        let namespace = Namespace {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        // The server may be just starting.
        let began = Instant::now();
        while let Err(error) = client::call(SOON, namespaces.create(&PostParams::default(), &namespace)).await
        {
            assert!(began.elapsed() < 2 * SOON, "no namespace: {error:?}");
            sleep(Duration::from_secs(1)).await;
        }
        let world = World {
            config,
            clients,
            namespace: name.clone(),
        };
        let outcome = tokio::spawn(test(world)).await;
        let gone = client::call(SOON, namespaces.delete(&name, &DeleteParams::default())).await;
        if let Err(failed) = outcome {
            std::panic::resume_unwind(failed.into_panic());
        }
        gone.unwrap();
    });
}

pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(SOON, future).await;
    outcome.unwrap_or_else(|_| panic!("not within {SOON:?}: {what}"))
}

/// When the condition was first seen to hold.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) -> Instant {
    soon(what, async {
        while !condition() {
            sleep(Duration::from_millis(2)).await;
        }
        Instant::now()
    })
    .await
}
