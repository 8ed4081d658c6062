//! A namespace on a real API server, a controller for it, and what stands in for kubelets.
//! Must not leave anything behind but a namespace going away, and a route to ourselves.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use controllers::Options;
use crds::cluster::MySQLCluster;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use objects::bundle::{Images, Inputs};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::members::Members;

const CONTROLLER_KUBECONFIG: &str = "CONTROLLER_KUBECONFIG";

const PERIOD: Duration = Duration::from_millis(50);

/// Of the range for benchmarks, which nobody routes: made this machine's own. The API server takes
/// no loopback addresses for endpoints.
const RANGE: &str = "198.18.0.0/16";

/// Addresses in it, each used once.
static ADDRESSES: AtomicU32 = AtomicU32::new(1);

pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) members: Members,
    tasks: Vec<JoinHandle<()>>,
    controller: Option<JoinHandle<Result<(), controllers::Error>>>,
    /// Where it answers.
    looks: SocketAddr,
}

impl World {
    pub(crate) async fn new(about: &str) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        // With HOLDFAST_LOG=info what the controller logs; once for all tests.
        if std::env::var_os(kit::telemetry::FILTER_VARIABLE).is_some() {
            let _ = kit::telemetry::init(&kit::telemetry::filter());
        }
        let routed = std::process::Command::new("ip")
            .args(["route", "replace", "local", RANGE, "dev", "lo"])
            .status();
        assert!(
            routed.unwrap().success(),
            "pretended Pods need addresses, and root gives them"
        );
        let client = Client::try_default()
            .await
            .expect("KUBECONFIG leads to an API server");
        let definitions = Api::<CustomResourceDefinition>::all(client.clone());
        for definition in crds::definitions() {
            let params = PatchParams::apply("test").force();
            let patch = Patch::Apply(&definition);
            definitions
                .patch(&definition.name_any(), &params, &patch)
                .await
                .unwrap();
        }
        let namespace = format!("controllers-{about}-{}", std::process::id());
        let made = Namespace {
            metadata: ObjectMeta {
                name: Some(namespace.clone()),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        let params = PostParams::default();
        Api::all(client.clone()).create(&params, &made).await.unwrap();
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some("holdfast-controller".into()),
                ..ObjectMeta::default()
            },
            ..Lease::default()
        };
        Api::namespaced(client.clone(), &namespace)
            .create(&params, &lease)
            .await
            .unwrap();
        let members = Members::default();
        let mut world = Self {
            tasks: vec![members.live()],
            client,
            namespace,
            members,
            controller: None,
            looks: (Ipv4Addr::LOCALHOST, 0).into(),
        };
        world.tasks.push(world.kubelet());
        world.start();
        world
    }

    /// What the controller answers to people; it closes a connection that takes long.
    pub(crate) async fn ask(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.looks).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        body.to_owned()
    }

    /// The controller.
    pub(crate) fn start(&mut self) {
        // Another port each time: who was killed may still hold his.
        let free = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let [listen, looks] = free.each_ref().map(|free| free.local_addr().unwrap());
        self.looks = looks;
        drop(free);
        let options = Options {
            // With rights of its own, if it is given some.
            kubeconfig: std::env::var_os(CONTROLLER_KUBECONFIG).map(PathBuf::from),
            namespaces: vec![self.namespace.clone()],
            own_namespace: self.namespace.clone(),
            own_name: "test".into(),
            own_node: None,
            listen,
            looks,
            certificate_lifetime: Duration::from_secs(3600),
            inputs: Inputs {
                images: Images {
                    mysql_repository: "mysql".into(),
                    operator: "holdfast".into(),
                },
                controller: None,
                voters: 0,
            },
        };
        self.controller = Some(tokio::spawn(controllers::run(options)));
    }

    /// As if its machine had gone: nothing is given back.
    pub(crate) async fn kill(&mut self) {
        let controller = self.controller.take().unwrap();
        controller.abort();
        let _ = controller.await;
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(crate) async fn apply(&self, spec: Value) {
        let object = json!({
            "apiVersion": "mysql.holdfast.dev/v1alpha1",
            "kind": "MySQLCluster",
            "metadata": { "name": "orders" },
            "spec": spec,
        });
        let params = PatchParams::apply("test").force();
        let api = self.api::<MySQLCluster>();
        api.patch("orders", &params, &Patch::Apply(&object))
            .await
            .unwrap();
    }

    pub(crate) async fn cluster(&self) -> MySQLCluster {
        self.api().get("orders").await.unwrap()
    }

    /// Until it is so, or the test fails with what the status says.
    pub(crate) async fn until(&self, what: &str, seconds: u64, is_so: impl Fn(&MySQLCluster) -> bool) {
        let end = Instant::now() + Duration::from_secs(seconds);
        loop {
            let cluster = self.cluster().await;
            if is_so(&cluster) {
                return;
            }
            let status = serde_json::to_string_pretty(&cluster.status).unwrap();
            assert!(Instant::now() < end, "not {what} after {seconds} s: {status}");
            sleep(PERIOD).await;
        }
    }

    /// Where a Service leads: the names of members.
    pub(crate) async fn leads_to(&self, service: &str) -> BTreeSet<String> {
        let slice = self.api::<EndpointSlice>().get_opt(service).await.unwrap();
        let endpoints = slice.into_iter().flat_map(|slice| slice.endpoints);
        endpoints
            .filter_map(|endpoint| endpoint.target_ref?.name)
            .collect()
    }

    /// Names and versions of everything there, but for the Lease and for what nobody of ours writes.
    pub(crate) async fn versions(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        macro_rules! add {
            ($($kind:ty),+) => { $(
                for object in self.api::<$kind>().list(&ListParams::default()).await.unwrap() {
                    let name = format!("{} {}", stringify!($kind), object.name_any());
                    all.insert(name, object.resource_version().unwrap());
                }
            )+ };
        }
        use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Service, ServiceAccount};
        use k8s_openapi::api::networking::v1::NetworkPolicy;
        use k8s_openapi::api::policy::v1::PodDisruptionBudget;
        add!(
            MySQLCluster,
            Pod,
            PersistentVolumeClaim,
            Secret,
            ConfigMap,
            Service,
            ServiceAccount,
            EndpointSlice,
            NetworkPolicy,
            PodDisruptionBudget
        );
        all
    }

    /// Pods get an address and an agent; those that are removed lose both.
    fn kubelet(&self) -> JoinHandle<()> {
        let (client, namespace, members) =
            (self.client.clone(), self.namespace.clone(), self.members.clone());
        tokio::spawn(async move {
            let mut running: BTreeMap<String, (String, JoinHandle<()>)> = BTreeMap::new();
            let pods = Api::<Pod>::namespaced(client.clone(), &namespace);
            loop {
                sleep(PERIOD).await;
                let Ok(list) = pods.list(&ListParams::default()).await else {
                    continue;
                };
                let alive: BTreeMap<_, _> = list.iter().map(|pod| (pod.uid().unwrap(), pod)).collect();
                running.retain(|name, (uid, agent)| {
                    let is_alive = alive.contains_key(uid);
                    if !is_alive {
                        agent.abort();
                        members.stop(name);
                    }
                    is_alive
                });
                for pod in list
                    .iter()
                    .filter(|pod| pod.metadata.deletion_timestamp.is_none())
                {
                    let name = pod.name_any();
                    if running.contains_key(&name) {
                        continue;
                    }
                    let Some(folder) = certificates(&client, &namespace).await else {
                        continue;
                    };
                    let ip = address();
                    let agent = members.run(&name, ip, &folder).await;
                    let status = json!({ "status": { "phase": "Running", "podIP": ip.to_string() } });
                    let params = PatchParams::default();
                    let _ = pods.patch_status(&name, &params, &Patch::Merge(&status)).await;
                    running.insert(name, (pod.uid().unwrap(), agent));
                }
            }
        })
    }

    /// With the controller still there: nobody else takes the finalizer off.
    pub(crate) async fn end(mut self) {
        let clusters = self.api::<MySQLCluster>();
        let _ = clusters.delete("orders", &DeleteParams::default()).await;
        let end = Instant::now() + Duration::from_secs(20);
        while clusters.get_opt("orders").await.unwrap().is_some() {
            assert!(Instant::now() < end, "the cluster stays");
            sleep(PERIOD).await;
        }
        self.kill().await;
        for task in &self.tasks {
            task.abort();
        }
        let namespaces = Api::<Namespace>::all(self.client.clone());
        let _ = namespaces.delete(&self.namespace, &DeleteParams::default()).await;
    }
}

fn address() -> IpAddr {
    let number = ADDRESSES.fetch_add(1, Ordering::SeqCst).to_be_bytes();
    Ipv4Addr::new(198, 18, number[2], number[3]).into()
}

/// The Secret as files, as a kubelet would mount it.
async fn certificates(client: &Client, namespace: &str) -> Option<PathBuf> {
    let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
    let secret = secrets.get_opt("orders-tls").await.ok()??;
    let folder = std::env::temp_dir().join(namespace);
    std::fs::create_dir_all(&folder).unwrap();
    for (name, bytes) in secret.data? {
        std::fs::write(folder.join(name), bytes.0).unwrap();
    }
    Some(folder)
}
