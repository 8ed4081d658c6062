//! What cannot be, although each field alone looks right, and what the person is told.
//! Must not repeat the API's own rules: only what must hold without them.

use objects::cluster::Cluster;
use serde_json::{Value, json};

use crate::samples;

/// The smallest spec with this merged into it.
fn said(patch: &str) -> Vec<String> {
    let mut spec: Value = serde_yaml::from_str(samples::MINIMAL).unwrap();
    let patch: Value = serde_yaml::from_str(patch).unwrap();
    for (key, value) in patch.as_object().unwrap() {
        if value.is_null() {
            spec.as_object_mut().unwrap().remove(key);
        } else {
            spec[key] = value.clone();
        }
    }
    match Cluster::read(&samples::object("orders", &spec)) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.iter().map(ToString::to_string).collect(),
    }
}

fn assert_refused(cases: &[(&str, &str)]) {
    for (patch, wanted) in cases {
        let said = said(patch);
        assert_eq!(said.len(), 1, "{patch}: {said:?}");
        assert!(said[0].contains(wanted), "{patch}: {said:?}");
    }
}

#[test]
fn sizes_that_no_machine_has_are_refused() {
    assert_refused(&[
        (
            "{storage: {size: 999999999Pi}}",
            "spec.storage.size: 999999999Pi is more than",
        ),
        (
            "{resources: {limits: {memory: 999999999Ti}}}",
            "spec.resources.limits.memory: 999999999Ti is more than",
        ),
        ("{storage: {size: big}}", "big is not a quantity"),
        ("{storage: {size: 1Mi}}", "at least 1Gi"),
        ("{resources: {limits: {memory: 256Mi}}}", "at least 512Mi"),
        (
            "{resources: {requests: {memory: 4Gi}, limits: {memory: 2Gi}}}",
            "must not be below requests.memory",
        ),
        (
            "{resources: {requests: {cpu: '2'}, limits: {cpu: '1'}}}",
            "must not be below requests.cpu",
        ),
        ("{resources: {limits: {cpu: '0'}}}", "above 0"),
    ]);
}

#[test]
fn a_small_limit_brings_its_request_down() {
    assert_eq!(said("{resources: {limits: {cpu: 50m}}}"), [""; 0]);
    assert_eq!(said("{resources: {limits: {memory: 512Mi}}}"), [""; 0]);
    assert_eq!(said("{resources: {requests: {memory: 2Gi}}}"), [""; 0]);
}

#[test]
fn a_buffer_pool_must_fit_into_the_memory() {
    let field = "spec.mysql.parameters.innodb_buffer_pool_size";
    let refused = said("{mysql: {parameters: {innodb_buffer_pool_size: 1G}}}");
    let wanted = "1G does not fit into a member's memory of 1Gi: lower it or leave it out, or raise \
                  spec.resources.limits.memory";
    assert_eq!(refused, [format!("{field}: {wanted}")]);
    for fit in [
        "1023M",
        "512m",
        "134217728",
        "nonsense",
        "",
        "99999999999999999999999",
    ] {
        let patch = json!({ "mysql": { "parameters": { "innodb_buffer_pool_size": fit } } });
        assert_eq!(said(&patch.to_string()), [""; 0], "{fit}");
    }
    for unfit in ["1073741824", "18446744073709551615P"] {
        let patch = json!({ "mysql": { "parameters": { "innodb_buffer_pool_size": unfit } } });
        assert_eq!(said(&patch.to_string()).len(), 1, "{unfit}");
    }
}

#[test]
fn words_that_kubernetes_would_refuse_are_refused_first() {
    assert_refused(&[
        (
            "{storage: {size: 1Gi, storageClassName: a..b}}",
            "a..b cannot be the name of a StorageClass",
        ),
        (
            "{imagePullSecrets: [{name: a.-b}]}",
            "cannot be the name of a Secret",
        ),
        (
            "{version: null, image: 'MySQL:9.7'}",
            "MySQL:9.7 is not the name of an image",
        ),
        (
            "{placement: {nodeSelector: {pool: 'a b'}}}",
            "cannot be a label of a node",
        ),
        (
            "{placement: {tolerations: [{key: a, operator: Equal, value: 'a b'}]}}",
            "cannot be a taint",
        ),
        (
            "{placement: {tolerations: [{key: 'a b', operator: Exists}]}}",
            "cannot be a taint",
        ),
        ("{placement: {topologyKey: 'a b'}}", "not the key of a node label"),
        (
            "{service: {primary: {annotations: {MySQL.holdfast.dev/x: y}}}}",
            "spec.service.primary.annotations",
        ),
        (
            "{service: {replicas: {annotations: {'a b': y}}}}",
            "spec.service.replicas.annotations",
        ),
    ]);
}

fn node(term: &str) -> String {
    format!(
        "{{placement: {{affinity: {{nodeAffinity: {{requiredDuringSchedulingIgnoredDuringExecution: \
         {{nodeSelectorTerms: [{term}]}}}}}}}}}}"
    )
}

fn pods(kind: &str, term: &str) -> String {
    format!(
        "{{placement: {{affinity: {{{kind}: {{requiredDuringSchedulingIgnoredDuringExecution: [{term}]}}}}}}}}"
    )
}

#[test]
fn affinity_to_nodes_is_checked_as_in_a_pod() {
    for (term, wanted) in [
        ("", "at least one term"),
        (
            "{matchExpressions: [{key: a, operator: Like, values: [b]}]}",
            "no operator Like",
        ),
        (
            "{matchExpressions: [{key: a, operator: In}]}",
            "In and NotIn take values",
        ),
        (
            "{matchExpressions: [{key: a, operator: Exists, values: [b]}]}",
            "Exists and DoesNotExist none",
        ),
        (
            "{matchExpressions: [{key: a, operator: Gt, values: [b]}]}",
            "one whole number",
        ),
        (
            "{matchExpressions: [{key: a, operator: In, values: ['b c']}]}",
            "b c cannot be the value",
        ),
        (
            "{matchExpressions: [{key: 'a b', operator: Exists}]}",
            "not the key",
        ),
        (
            "{matchFields: [{key: spec.x, operator: In, values: [a]}]}",
            "metadata.name",
        ),
        (
            "{matchFields: [{key: metadata.name, operator: In, values: [a, b]}]}",
            "the name of one node",
        ),
    ] {
        assert_refused(&[(&node(term), wanted)]);
    }
    for term in [
        "{}",
        "{matchExpressions: [{key: a.b/c, operator: In, values: [d, '']}]}",
        "{matchExpressions: [{key: a, operator: Gt, values: ['7']}]}",
        "{matchFields: [{key: metadata.name, operator: NotIn, values: [node.example.com]}]}",
    ] {
        assert_eq!(said(&node(term)), [""; 0], "{term}");
    }
}

#[test]
fn affinity_to_pods_is_checked_as_in_a_pod() {
    for (term, wanted) in [
        ("{topologyKey: ''}", "is not a topologyKey"),
        ("{topologyKey: a, namespaces: [A]}", "name of a namespace"),
        (
            "{topologyKey: a, labelSelector: {matchLabels: {a: 'b c'}}}",
            "cannot be a label",
        ),
        (
            "{topologyKey: a, namespaceSelector: {matchExpressions: [{key: a, operator: Gt, values: ['1']}]}}",
            "no operator Gt",
        ),
        ("{topologyKey: a, matchLabelKeys: [a]}", "beside a labelSelector"),
    ] {
        for kind in ["podAffinity", "podAntiAffinity"] {
            assert_refused(&[(&pods(kind, term), wanted)]);
        }
    }
    for term in [
        "{topologyKey: a}",
        "{topologyKey: a, labelSelector: {}, namespaces: [b], namespaceSelector: {}}",
        "{topologyKey: a, labelSelector: {matchLabels: {b: c}}, matchLabelKeys: [d]}",
    ] {
        assert_eq!(said(&pods("podAffinity", term)), [""; 0], "{term}");
    }
    for (weight, is_fit) in [(0, false), (1, true), (100, true), (101, false)] {
        let patch = format!(
            "{{placement: {{affinity: {{podAffinity: {{preferredDuringSchedulingIgnoredDuringExecution: \
             [{{weight: {weight}, podAffinityTerm: {{topologyKey: a}}}}]}}}}}}}}"
        );
        assert_eq!(said(&patch).is_empty(), is_fit, "{weight}");
    }
}

#[test]
fn rules_of_the_api_hold_also_for_objects_from_before_them() {
    assert_refused(&[
        ("{instances: 4}", "spec.instances"),
        ("{instances: 11}", "spec.instances"),
        (
            "{replication: {syncReplicas: 2}}",
            "with 3 instances it must be 1 to 1",
        ),
        ("{replication: {syncReplicas: 0}}", "it must be 1 to 1"),
        ("{replication: {syncReplicas: -1}}", "it must be 1 to 1"),
        ("{version: '8.0'}", "8.4 is the oldest"),
        ("{version: '9'}", "not a version"),
        ("{version: '+9.7'}", "not a version"),
        ("{image: mysql}", "either version or image"),
        ("{version: null}", "either version or image"),
        ("{service: {primary: {port: 0}}}", "1 to 65535"),
        ("{service: {replicas: {port: 70000}}}", "1 to 65535"),
        (
            "{mysql: {parameters: {sync_binlog: '0'}}}",
            "remove it: an acknowledged write",
        ),
        (
            "{mysql: {parameters: {sync-binlog: '0'}}}",
            "lower case with underscores",
        ),
        (
            "{mysql: {parameters: {sql_mode: \"A\\nsync_binlog=0\"}}}",
            "values one line",
        ),
        (
            "{placement: {nodeSelector: {kubernetes.io/hostname: a}}}",
            "all members would need the one place",
        ),
    ]);
    assert_eq!(
        said("{instances: 1, placement: {nodeSelector: {kubernetes.io/hostname: a}}}"),
        [""; 0]
    );
}

#[test]
fn names_that_cannot_be_are_refused() {
    let spec: Value = serde_yaml::from_str(samples::MINIMAL).unwrap();
    for name in ["", "1a", "a.b", "A", "-a", "a-", &"a".repeat(41)] {
        let faults = Cluster::read(&samples::object(name, &spec)).unwrap_err();
        assert_eq!(faults[0].field, "metadata.name", "{name}");
    }
    let mut local = samples::object("orders", &spec);
    local.metadata.uid = None;
    let faults = Cluster::read(&local).unwrap_err();
    assert_eq!(faults[0].field, "metadata");
}

#[test]
fn all_faults_are_told_at_once() {
    let faults =
        said("{instances: 2, version: '5.7', storage: {size: 1Mi}, mysql: {parameters: {port: '1'}}}");
    assert_eq!(faults.len(), 4, "{faults:?}");
}
