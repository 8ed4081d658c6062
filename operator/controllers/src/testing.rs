//! What tests of several modules begin with.
//! Must not be part of the program.

use crds::cluster::MySQLCluster;
use objects::Cluster;
use serde_json::json;

pub(crate) fn object() -> MySQLCluster {
    serde_json::from_value(json!({
        "apiVersion": "mysql.holdfast.dev/v1alpha1",
        "kind": "MySQLCluster",
        "metadata": { "name": "orders", "namespace": "shop", "uid": "uid-1", "generation": 1 },
        "spec": { "version": "9.7", "storage": { "size": "10Gi" } },
    }))
    .unwrap()
}

pub(crate) fn cluster() -> Cluster {
    Cluster::read(&object()).unwrap()
}

/// The process has one, whichever test comes first.
pub(crate) fn provider() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
