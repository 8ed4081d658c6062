//! The operator's rights: none wide, none over what it must not touch, each one told in the docs.
//! Must not say whether a right is used: only an audit log can.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::objects::of_kind;
use crate::{WAYS, read, rendered};

/// Resources in which no right is harmless: to run in others' containers, to become others, to see all.
const FORBIDDEN: &[&str] = &[
    "pods/exec",
    "pods/attach",
    "pods/portforward",
    "pods/proxy",
    "pods/ephemeralcontainers",
    "services/proxy",
    "serviceaccounts/token",
    "nodes",
    "nodes/proxy",
    "namespaces",
    "roles",
    "rolebindings",
    "clusterroles",
    "clusterrolebindings",
    "persistentvolumes",
    "storageclasses",
    "customresourcedefinitions",
    "mutatingwebhookconfigurations",
    "validatingwebhookconfigurations",
    "certificatesigningrequests",
];

/// Verbs with which one becomes someone else.
const FORBIDDEN_VERBS: &[&str] = &["bind", "escalate", "impersonate", "deletecollection"];

type Rights = BTreeMap<String, BTreeSet<String>>;

fn words(value: &Value) -> Vec<&str> {
    let all = value.as_array().into_iter().flatten();
    all.map(|word| word.as_str().unwrap()).collect()
}

/// What is wrong with a rule of the operator.
fn faults(rule: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let [groups, resources, verbs] = ["apiGroups", "resources", "verbs"].map(|key| words(&rule[key]));
    if groups.is_empty() || resources.is_empty() || !rule["nonResourceURLs"].is_null() {
        found.push("about something else than resources".to_owned());
    }
    for word in groups.iter().chain(&resources).chain(&verbs) {
        if word.contains('*') {
            found.push("a wildcard".to_owned());
        }
    }
    for resource in &resources {
        if FORBIDDEN.contains(resource) {
            found.push(format!("a right over {resource}"));
        }
        for verb in &verbs {
            let reads_all = *resource == "secrets" && ["list", "watch"].contains(verb);
            if reads_all || FORBIDDEN_VERBS.contains(verb) {
                found.push(format!("{verb} {resource}"));
            }
        }
    }
    found
}

/// The roles that are bound to the operator, the wide ones too.
fn bound(objects: &[Value]) -> Vec<&Value> {
    let deployment = of_kind(objects, "Deployment");
    let account = &deployment["spec"]["template"]["spec"]["serviceAccountName"];
    let mut roles = Vec::new();
    for binding in objects {
        if !binding["kind"].as_str().unwrap().ends_with("RoleBinding") {
            continue;
        }
        let subject = json!([{
            "kind": "ServiceAccount",
            "name": account,
            "namespace": deployment["metadata"]["namespace"],
        }]);
        assert_eq!(binding["subjects"], subject);
        let role = objects.iter().find(|role| {
            role["kind"] == binding["roleRef"]["kind"]
                && role["metadata"]["name"] == binding["roleRef"]["name"]
                && role["metadata"]["namespace"] == binding["metadata"]["namespace"]
        });
        roles.push(role.unwrap());
    }
    roles
}

fn rules(role: &Value) -> &[Value] {
    role["rules"].as_array().unwrap()
}

fn rights(rules: &[Value]) -> Rights {
    let mut found = Rights::new();
    for rule in rules {
        for resource in words(&rule["resources"]) {
            let verbs = words(&rule["verbs"]).into_iter().map(str::to_owned);
            found.entry(resource.to_owned()).or_default().extend(verbs);
        }
    }
    found
}

#[test]
fn no_rule_of_the_operator_is_wide() {
    for way in WAYS {
        for role in bound(&rendered(way)) {
            for rule in rules(role) {
                assert_eq!(faults(rule), [""; 0], "{rule}");
            }
        }
    }
}

#[test]
fn rules_that_are_wide_are_found() {
    let rule = |groups: &str, resources: &str, verbs: &str| json!({ "apiGroups": [groups], "resources": [resources], "verbs": [verbs] });
    for (bad, what) in [
        (rule("*", "pods", "get"), "a wildcard"),
        (rule("", "*", "get"), "a wildcard"),
        (rule("", "pods/*", "get"), "a wildcard"),
        (rule("", "pods", "*"), "a wildcard"),
        (rule("", "secrets", "watch"), "watch secrets"),
        (rule("", "secrets", "list"), "list secrets"),
        (rule("", "pods/exec", "create"), "a right over pods/exec"),
        (rule("", "pods", "deletecollection"), "deletecollection pods"),
        (
            json!({ "nonResourceURLs": ["/metrics"], "verbs": ["get"] }),
            "about something else than resources",
        ),
    ] {
        assert_eq!(faults(&bad), [what], "{bad}");
    }
}

#[test]
fn named_namespaces_get_roles_and_nothing_is_cluster_wide() {
    let wide = rendered(&[]);
    let named = rendered(WAYS[1]);
    let is_wide = |object: &&Value| object["kind"].as_str().unwrap().starts_with("Cluster");
    assert_eq!(named.iter().filter(is_wide).count(), 0);
    let in_all = rules(bound(&wide)[0]);
    for namespace in ["orders", "billing"] {
        let role = named
            .iter()
            .find(|role| role["kind"] == "Role" && role["metadata"]["namespace"] == namespace);
        assert_eq!(rules(role.unwrap()), in_all);
    }
    assert_eq!(bound(&named).len(), 3);
}

#[test]
fn without_rbac_nothing_is_granted() {
    let kinds = rendered(WAYS[2]);
    assert!(
        kinds
            .iter()
            .all(|object| !object["kind"].as_str().unwrap().contains("Role"))
    );
}

/// Rows are `| resources | verbs | why |`, in the section of that name.
fn told() -> Rights {
    let text = read("docs/install.md");
    let (_, section) = text.split_once("\n## Rights\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let mut found = Rights::new();
    for line in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [resources, verbs, why] = cells[..] else {
            panic!("not three cells: {line}");
        };
        assert!(why.len() > 10, "no reason: {line}");
        for resource in resources.split(',') {
            let resource = resource.trim().trim_matches('`');
            let verbs = verbs.split(',').map(|verb| verb.trim().to_owned());
            found.entry(resource.to_owned()).or_default().extend(verbs);
        }
    }
    found
}

#[test]
fn the_docs_tell_every_right_and_no_other() {
    let objects = rendered(&[]);
    let granted: Vec<Value> = bound(&objects)
        .into_iter()
        .flat_map(|role| rules(role).to_vec())
        .collect();
    assert_eq!(told(), rights(&granted));
}

#[test]
fn people_get_clusters_by_the_roles_that_they_have() {
    let objects = rendered(&[]);
    let mut found = BTreeMap::new();
    for level in ["view", "edit", "admin"] {
        let label = format!("rbac.authorization.k8s.io/aggregate-to-{level}");
        let added = objects
            .iter()
            .filter(|object| object["metadata"]["labels"][&label] == "true");
        let added: Vec<Value> = added.flat_map(|role| rules(role).to_vec()).collect();
        assert!(
            added
                .iter()
                .all(|rule| rule["apiGroups"] == json!(["mysql.holdfast.dev"]))
        );
        found.insert(level, rights(&added));
    }
    let verbs = |level: &str, resource: &str| {
        let verbs = found[level].get(resource).cloned().unwrap_or_default();
        verbs.into_iter().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(verbs("view", "mysqlclusters"), "get list watch");
    assert_eq!(
        verbs("edit", "mysqlclusters"),
        "create delete get list patch update watch"
    );
    assert_eq!(verbs("edit", "mysqlclusters/scale"), "get patch update");
    assert!(verbs("admin", "mysqlclusters").contains("deletecollection"));
    // Status is what the operator says.
    assert_eq!(verbs("admin", "mysqlclusters/status"), "get");
}
