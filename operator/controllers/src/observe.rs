//! What was seen of a cluster, put together for a decision.
//! Must not fill a gap with a guess: what is not known stays absent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use objects::names::LABEL_MEMBER;
use objects::volume::made_for;
use objects::{Cluster, endpoints, replication_port, template_of};
use topology::gtid::Uuid;
use topology::observed::{self, Backlog, Exposed, Member, Observed, Timestamp};
use topology::record::Record;
use topology::report::Report;
use topology::watch::Watch;

use crate::problems;

/// What one member said last.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) report: Box<Report>,
    pub(crate) at: Timestamp,
    /// The connection that it came over is open.
    pub(crate) is_connected: bool,
    /// What was left to apply when that was seen first.
    pub(crate) backlog: Option<Backlog>,
}

/// Everything there is to be put together.
pub(crate) struct Seen<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) record: Option<&'a Record>,
    pub(crate) pods: &'a BTreeMap<String, Arc<Pod>>,
    pub(crate) volumes: &'a BTreeMap<String, Arc<PersistentVolumeClaim>>,
    pub(crate) slices: &'a BTreeMap<String, Arc<EndpointSlice>>,
    pub(crate) heard: &'a BTreeMap<String, Heard>,
    pub(crate) watch: &'a Watch,
    /// What each member's Pod would be made from today.
    pub(crate) templates: &'a BTreeMap<String, String>,
    /// What could not be read from the objects themselves, by their uid.
    pub(crate) problems: &'a BTreeMap<String, String>,
    pub(crate) identity: Uuid,
    pub(crate) had_primary: bool,
    pub(crate) handing_since: Option<Timestamp>,
    pub(crate) taken_back_at: Option<Timestamp>,
    /// Ours.
    pub(crate) node: Option<&'a str>,
    pub(crate) now: jiff::Timestamp,
}

impl Seen<'_> {
    fn problem<K: ResourceExt>(&self, object: &K) -> Option<String> {
        self.problems.get(&object.uid()?).cloned()
    }
}

pub(crate) fn observed(seen: &Seen<'_>) -> Observed {
    let mut members = BTreeMap::new();
    for name in names(seen) {
        let member = member(seen, &name);
        members.insert(name, member);
    }
    let mut observed = Observed {
        new_identity: Some(seen.identity),
        had_primary: seen.had_primary,
        handing_since: seen.handing_since,
        taken_back_at: seen.taken_back_at,
        members,
        exposed: exposed(seen),
        operator_node: seen.node.map(str::to_owned),
        ..Observed::default()
    };
    seen.watch.fill(&mut observed);
    observed
}

/// Wanted ones, voters, and whatever Pod or volume is there.
fn names(seen: &Seen<'_>) -> BTreeSet<String> {
    let mut names = seen.cluster.spec().members();
    names.extend(
        seen.record
            .iter()
            .flat_map(|record| record.voters.keys().cloned()),
    );
    names.extend(seen.pods.keys().cloned());
    names.extend(seen.volumes.keys().cloned());
    names
}

fn member(seen: &Seen<'_>, name: &str) -> Member {
    let heard = seen.heard.get(name);
    Member {
        pod: seen.pods.get(name).map(|live| pod(seen, name, live)),
        volume: seen.volumes.get(name).map(|claim| volume(seen, claim)),
        report: heard.map(|heard| (*heard.report).clone()),
        reported_at: heard.map_or(0, |heard| heard.at),
        is_connected: heard.is_some_and(|heard| heard.is_connected),
        backlog: heard.and_then(|heard| heard.backlog),
        ..Member::default()
    }
}

fn pod(seen: &Seen<'_>, name: &str, live: &Pod) -> observed::Pod {
    let status = live.status.as_ref();
    let asked = || seen.problem(live).filter(|_| problems::is_pod_stuck(live));
    let wanted = seen.templates.get(name).map(String::as_str);
    observed::Pod {
        ip: status.and_then(|status| status.pod_ip.clone()),
        replication_port: replication_port(live),
        node: live.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        is_terminating: live.metadata.deletion_timestamp.is_some(),
        is_current: wanted.is_none() || template_of(live) == wanted,
        problem: problems::of_pod(live, seen.now).or_else(asked),
    }
}

fn volume(seen: &Seen<'_>, claim: &PersistentVolumeClaim) -> observed::Volume {
    let asked = || seen.problem(claim).filter(|_| problems::is_volume_stuck(claim));
    observed::Volume {
        is_of_this_cluster: made_for(claim) == Some(&seen.cluster.uid),
        is_terminating: claim.metadata.deletion_timestamp.is_some(),
        problem: problems::of_volume(claim).or_else(asked),
    }
}

fn exposed(seen: &Seen<'_>) -> Exposed {
    let of = |name: String| seen.slices.get(&name).map(|slice| endpoints::exposed(slice));
    Exposed {
        primary: of(seen.cluster.service_primary()).and_then(|found| found.into_iter().next()),
        replicas: of(seen.cluster.service_replicas()).unwrap_or_default(),
    }
}

/// Those of members: a cluster may have other Pods and volumes some day.
pub(crate) fn of_members<K: ResourceExt>(all: BTreeMap<String, Arc<K>>) -> BTreeMap<String, Arc<K>> {
    let is_one = |name: &String, object: &Arc<K>| object.labels().get(LABEL_MEMBER) == Some(name);
    all.into_iter()
        .filter(|(name, object)| is_one(name, object))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::cluster;

    struct World {
        cluster: Cluster,
        pods: BTreeMap<String, Arc<Pod>>,
        volumes: BTreeMap<String, Arc<PersistentVolumeClaim>>,
        slices: BTreeMap<String, Arc<EndpointSlice>>,
        problems: BTreeMap<String, String>,
    }

    fn named<K: serde::de::DeserializeOwned>(name: &str, value: Value) -> BTreeMap<String, Arc<K>> {
        let object: K = serde_json::from_value(value).unwrap();
        BTreeMap::from([(name.to_owned(), Arc::new(object))])
    }

    impl World {
        fn new() -> Self {
            Self {
                cluster: cluster(),
                pods: BTreeMap::new(),
                volumes: BTreeMap::new(),
                slices: BTreeMap::new(),
                problems: BTreeMap::new(),
            }
        }

        fn observed(&self) -> Observed {
            let (heard, watch, templates) = (BTreeMap::new(), Watch::default(), BTreeMap::new());
            observed(&Seen {
                cluster: &self.cluster,
                record: None,
                pods: &self.pods,
                volumes: &self.volumes,
                slices: &self.slices,
                heard: &heard,
                watch: &watch,
                templates: &templates,
                problems: &self.problems,
                identity: Uuid::from_bytes([3; 16]),
                handing_since: None,
                taken_back_at: None,
                had_primary: false,
                node: Some("node-1"),
                now: "2026-11-21T12:00:00Z".parse().unwrap(),
            })
        }
    }

    #[test]
    fn wanted_members_and_whatever_is_there_are_observed() {
        let mut world = World::new();
        let claim = json!({ "metadata": {
            "name": "orders-4", "uid": "v4", "annotations": { "mysql.holdfast.dev/cluster-uid": "older" },
        } });
        world.volumes = named("orders-4", claim);
        let observed = world.observed();
        let names: Vec<_> = observed.members.keys().collect();
        assert_eq!(names, ["orders-0", "orders-1", "orders-2", "orders-4"]);
        assert!(observed.members["orders-0"].volume.is_none());
        let volume = observed.members["orders-4"].volume.as_ref().unwrap();
        assert!(!volume.is_of_this_cluster);
        // Unknown is not "attached long ago".
        assert_eq!(observed.members["orders-0"].goal, None);
    }

    #[test]
    fn what_was_asked_about_a_stuck_pod_is_told_until_it_runs() {
        let mut world = World::new();
        let pod = |phase: &str| {
            json!({
                "metadata": { "name": "orders-0", "uid": "p0" },
                "spec": { "nodeName": "node2", "containers": [] },
                "status": { "phase": phase, "podIP": "10.0.0.5" },
            })
        };
        let text = "FailedMount: secret not found".to_owned();
        world.problems.insert("p0".into(), text.clone());
        world.pods = named("orders-0", pod("Pending"));
        let seen = world.observed().members["orders-0"].pod.clone().unwrap();
        assert_eq!((seen.problem, seen.node.as_deref()), (Some(text), Some("node2")));
        world.pods = named("orders-0", pod("Running"));
        let seen = world.observed().members["orders-0"].pod.clone().unwrap();
        assert_eq!((seen.problem, seen.ip.as_deref()), (None, Some("10.0.0.5")));
    }

    #[test]
    fn a_pod_says_where_it_is_followed() {
        let mut world = World::new();
        let ports = json!([{ "name": "mysql", "containerPort": 3306 }, { "name": "replication", "containerPort": 33062 }]);
        let pod = |ports: serde_json::Value| {
            json!({
                "metadata": { "name": "orders-0", "uid": "p0" },
                "spec": { "containers": [{ "name": "mysql", "ports": ports }] },
            })
        };
        for (ports, wanted) in [(ports, Some(33_062)), (json!([]), None)] {
            world.pods = named("orders-0", pod(ports));
            let seen = world.observed().members["orders-0"].pod.clone().unwrap();
            assert_eq!(seen.replication_port, wanted);
        }
    }

    #[test]
    fn where_services_lead_is_read_from_the_slices() {
        let mut world = World::new();
        let slice = json!({
            "metadata": { "name": "orders-primary" },
            "addressType": "IPv4",
            "endpoints": [{ "addresses": ["10.0.0.5"], "targetRef": { "kind": "Pod", "name": "orders-1" } }],
        });
        world.slices = named("orders-primary", slice);
        let exposed = world.observed().exposed;
        assert_eq!(exposed.primary.unwrap().member, "orders-1");
        assert!(exposed.replicas.is_empty());
    }
}
