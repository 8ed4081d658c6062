//! What tests of several modules begin with.
//! Must not be part of the program.

use crds::cluster::MySQLCluster;
use objects::Cluster;
use serde_json::json;
use topology::gtid::Uuid;
use topology::record::{Record, Voter};
use topology::term::Term;

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

/// Of three members that all count.
pub(crate) fn record(epoch: u64) -> Record {
    let voter = Voter {
        incarnation: Some(Uuid::from_bytes([1; 16])),
        ..Voter::default()
    };
    let names = ["orders-0", "orders-1", "orders-2"];
    Record {
        voters: names.iter().map(|name| ((*name).into(), voter.clone())).collect(),
        acknowledged_by: 1,
        wait_for: 1,
        ..Record::of(Uuid::from_bytes([9; 16]), Term::new(epoch, 4), "orders-0")
    }
}

/// The process has one, whichever test comes first.
pub(crate) fn provider() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
