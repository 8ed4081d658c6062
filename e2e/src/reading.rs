//! Reads objects over one connection to the API server: stories look ten times a second, and a kubectl for each
//! look would cost the machine that is measured half of a core.
//! Must not write.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use kit::client::{self, Clients};
use kube::api::{Api, ListParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

/// Long for a busy machine, short for a story that waits for an API server to come back.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// What kubectl calls it, its group, version and kind, its plural, and whether it lies in a namespace.
type Kind = (
    &'static [&'static str],
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    bool,
);

const KINDS: &[Kind] = &[
    (&["pod", "pods"], "", "v1", "Pod", "pods", true),
    (&["service", "services"], "", "v1", "Service", "services", true),
    (&["secret", "secrets"], "", "v1", "Secret", "secrets", true),
    (&["events"], "", "v1", "Event", "events", true),
    (
        &["pvc"],
        "",
        "v1",
        "PersistentVolumeClaim",
        "persistentvolumeclaims",
        true,
    ),
    (&["pv"], "", "v1", "PersistentVolume", "persistentvolumes", false),
    (&["node", "nodes"], "", "v1", "Node", "nodes", false),
    (&["deployment"], "apps", "v1", "Deployment", "deployments", true),
    (
        &["statefulset"],
        "apps",
        "v1",
        "StatefulSet",
        "statefulsets",
        true,
    ),
    (&["lease"], "coordination.k8s.io", "v1", "Lease", "leases", true),
    (
        &["endpointslices"],
        "discovery.k8s.io",
        "v1",
        "EndpointSlice",
        "endpointslices",
        true,
    ),
    (
        &["mysqlcluster"],
        "mysql.holdfast.dev",
        "v1alpha1",
        "MySQLCluster",
        "mysqlclusters",
        true,
    ),
    (
        &["switchover"],
        "mysql.holdfast.dev",
        "v1alpha1",
        "Switchover",
        "switchovers",
        true,
    ),
];

/// What a line of words after `kubectl get` asks for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    resource: ApiResource,
    namespace: Option<String>,
    name: Option<String>,
    selector: Option<String>,
}

impl Asked {
    /// Nothing for what only kubectl understands.
    fn of(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let kind = words.next()?;
        let (_, group, version, kind, plural, is_namespaced) =
            KINDS.iter().find(|(names, ..)| names.contains(&kind))?;
        let gvk = GroupVersionKind::gvk(group, version, kind);
        let mut asked = Self {
            resource: ApiResource::from_gvk_with_plural(&gvk, plural),
            namespace: None,
            name: None,
            selector: None,
        };
        let mut is_everywhere = !is_namespaced;
        while let Some(word) = words.next() {
            match word {
                "-n" => asked.namespace = Some(words.next()?.to_owned()),
                "-l" => asked.selector = Some(words.next()?.to_owned()),
                "-A" => is_everywhere = true,
                flag if flag.starts_with('-') => return None,
                name if asked.name.is_none() => asked.name = Some(name.to_owned()),
                _ => return None,
            }
        }
        if !is_everywhere && asked.namespace.is_none() {
            asked.namespace = Some("default".to_owned());
        }
        Some(asked)
    }
}

/// A connection, kept.
pub(crate) struct Reading {
    runtime: Runtime,
    clients: Clients,
}

impl Reading {
    pub(crate) fn open(kubeconfig: &Path) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let clients = runtime.block_on(async {
            let config = client::config(Some(kubeconfig)).await?;
            // The connection belongs to the runtime that makes it.
            Clients::new(&config)
        })?;
        Ok(Self { runtime, clients })
    }

    /// An object or a list of them as JSON; nothing if kubectl has to be asked.
    pub(crate) fn get(&self, line: &str) -> Option<Result<Value>> {
        let asked = Asked::of(line)?;
        let answer = self.runtime.block_on(async {
            // A connection that broke since the last look is not news.
            match self.ask(&asked).await {
                Err(error) if error.class() == client::Class::Unavailable => self.ask(&asked).await,
                answer => answer,
            }
        });
        Some(answer.with_context(|| format!("failed to get {line}")))
    }

    async fn ask(&self, asked: &Asked) -> Result<Value, client::Error> {
        let http = self.clients.prompt.client().clone();
        let resource = &asked.resource;
        let api: Api<DynamicObject> = match &asked.namespace {
            Some(namespace) => Api::namespaced_with(http, namespace, resource),
            None => Api::all_with(http, resource),
        };
        let json = |value: serde_json::Result<Value>| value.map_err(kube::Error::SerdeError);
        let answer = async {
            match &asked.name {
                Some(name) => json(serde_json::to_value(api.get(name).await?)),
                None => {
                    let mut params = ListParams::default();
                    params.label_selector.clone_from(&asked.selector);
                    json(serde_json::to_value(api.list(&params).await?))
                }
            }
        };
        client::call(ANSWERED_WITHIN, answer).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_kubectl_are_understood_or_left_to_it() {
        let one = Asked::of("mysqlcluster orders -n shop").unwrap();
        assert_eq!(one.resource.api_version, "mysql.holdfast.dev/v1alpha1");
        assert_eq!(
            (one.namespace.as_deref(), one.name.as_deref()),
            (Some("shop"), Some("orders"))
        );
        let some = Asked::of("pods -A -l app=db").unwrap();
        assert_eq!((some.namespace, some.selector.as_deref()), (None, Some("app=db")));
        assert_eq!(
            Asked::of("pod db-0").unwrap().namespace.as_deref(),
            Some("default")
        );
        assert_eq!(Asked::of("nodes").unwrap().namespace, None);
        for left in ["", "crd", "pod a b", "pods --show-labels", "pods -n"] {
            assert_eq!(Asked::of(left), None, "{left}");
        }
    }
}
