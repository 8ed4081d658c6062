//! Every object of three clusters, whole, for people to read.
//! Must not be accepted unread: a change of a Pod here replaces the members of every cluster.

use objects::cluster::Cluster;

use crate::samples;

#[test]
fn a_cluster_of_three_with_nothing_but_the_necessary() {
    insta::assert_yaml_snapshot!(samples::everything(&samples::cluster(samples::MINIMAL)));
}

#[test]
fn a_cluster_with_everything_set() {
    insta::assert_yaml_snapshot!(samples::everything(&samples::cluster(samples::EVERYTHING)));
}

#[test]
fn a_cluster_of_one() {
    let all = samples::everything(&samples::cluster(samples::SINGLE));
    let kinds: Vec<_> = all
        .keys()
        .filter(|key| key.starts_with("PodDisruption"))
        .collect();
    assert!(kinds.is_empty(), "it could never be drained");
    insta::assert_yaml_snapshot!(all);
}

#[test]
fn what_decisions_are_told() {
    let told = |spec| samples::cluster(spec).spec();
    let minimal = told(samples::MINIMAL);
    assert_eq!((minimal.instances, minimal.sync_replicas), (3, 1));
    assert_eq!(minimal.memory_bytes, 1 << 30);
    assert!(minimal.is_tls_required && minimal.reads_fall_back && !minimal.is_suspended);
    assert_eq!(minimal.members().len(), 3);
    let all = told(samples::EVERYTHING);
    assert_eq!((all.instances, all.sync_replicas), (5, 1));
    assert_eq!(all.memory_bytes, 8 << 30);
    assert!(!all.is_tls_required && !all.reads_fall_back && all.is_suspended);
    assert_eq!(all.parameters["max_connections"], "500");
    let single = told(samples::SINGLE);
    assert_eq!((single.instances, single.sync_replicas), (1, 0));
}

#[test]
fn half_of_the_members_acknowledge_by_default() {
    for (instances, wanted) in [(1, 0), (3, 1), (5, 2), (7, 3), (9, 4)] {
        let spec = format!("{{version: '9.7', instances: {instances}, storage: {{size: 1Gi}}}}");
        let cluster = Cluster::read(&samples::object_named("orders", &spec)).unwrap();
        assert_eq!(cluster.sync_replicas, wanted, "{instances}");
    }
}

#[test]
fn while_five_become_three_one_may_go_at_a_time() {
    let cluster = samples::cluster(samples::MINIMAL);
    for (voters, wanted) in [(0, Some(2)), (1, None), (3, Some(2)), (5, Some(4))] {
        let inputs = objects::Inputs {
            voters,
            ..samples::inputs()
        };
        let budget = objects::bundle(&cluster, &inputs).pod_disruption_budget;
        let least =
            budget.map(|budget| serde_json::to_value(budget).unwrap()["spec"]["minAvailable"].as_i64());
        assert_eq!(least.flatten(), wanted, "{voters}");
    }
}

#[test]
fn without_pods_of_its_own_the_controller_is_told_by_its_certificate_alone() {
    let inputs = objects::Inputs {
        controller: None,
        ..samples::inputs()
    };
    let policy = objects::bundle(&samples::cluster(samples::MINIMAL), &inputs).network_policy;
    let rules = policy.spec.unwrap().ingress.unwrap();
    let agent = rules.iter().find(|rule| {
        let ports = serde_json::to_value(&rule.ports).unwrap();
        ports[0]["port"] == 9306
    });
    assert_eq!(agent.unwrap().from, None);
}
