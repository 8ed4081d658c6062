//! What the API server wrote down of the operator's calls.
//! Must not read other people's calls: only the operator's are judged.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};
use ground::spec::Unit;
use serde_json::Value;

use crate::operator;
use crate::stage::Stage;

/// A call of the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// When it came, as the API server writes it: such texts sort by time.
    pub at: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`.
    pub verb: String,
    /// Of the resource; empty for the core.
    pub group: String,
    /// The resource, with its subresource if there is one: `pods`, `mysqlclusters/status`.
    pub resource: String,
    /// Where; empty for all.
    pub namespace: String,
    /// Of what; empty for many.
    pub name: String,
    /// No role grants it.
    pub is_forbidden: bool,
}

impl Call {
    fn read(line: &str) -> Option<Self> {
        let event: Value = serde_json::from_str(line).ok()?;
        let user = format!("system:serviceaccount:{}:holdfast", operator::NAMESPACE);
        if event["user"]["username"] != *user || event["stage"] != "ResponseComplete" {
            return None;
        }
        let object = &event["objectRef"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut resource = text(&object["resource"]);
        if let Some(sub) = object["subresource"].as_str() {
            resource = format!("{resource}/{sub}");
        }
        Some(Self {
            at: text(&event["requestReceivedTimestamp"]),
            verb: text(&event["verb"]),
            group: text(&object["apiGroup"]),
            resource,
            namespace: text(&object["namespace"]),
            name: text(&object["name"]),
            is_forbidden: event["annotations"]["authorization.k8s.io/decision"] == "forbid",
        })
    }

    /// Whether it changes something.
    pub fn is_write(&self) -> bool {
        !["get", "list", "watch"].contains(&self.verb.as_str())
    }

    /// For people.
    pub fn told(&self) -> String {
        format!("{} {} {}/{}", self.verb, self.resource, self.namespace, self.name)
    }
}

/// All calls of the operator that are still written down, oldest first. Watches are there when they ended.
pub fn calls(stage: &Stage) -> Result<Vec<Call>> {
    let folder = stage.ground()?.paths.logs(Unit::Control);
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).context("failed to read the API server's logs")? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.starts_with("audit") {
            let text = fs::read_to_string(&path).with_context(|| format!("failed to read {name}"))?;
            found.extend(text.lines().filter_map(Call::read));
        }
    }
    found.sort_by(|one, other| one.at.cmp(&other.at));
    Ok(found)
}

/// The time now, as the audit log writes it.
pub fn now() -> Result<String> {
    let line = ["-u", "+%Y-%m-%dT%H:%M:%S.%6NZ"];
    Ok(ground::shell::cmd("date", line).output()?.trim().to_owned())
}

/// What was granted or used: group, resource, verb.
pub type Rights = BTreeSet<(String, String, String)>;

/// What these calls used.
pub fn used(calls: &[Call]) -> Rights {
    let right = |call: &Call| (call.group.clone(), call.resource.clone(), call.verb.clone());
    calls
        .iter()
        .filter(|call| !call.is_forbidden)
        .map(right)
        .collect()
}

/// What the roles that are bound to the operator grant.
pub fn granted(stage: &Stage) -> Result<Rights> {
    let mut rights = Rights::new();
    for (bindings, roles) in [
        ("clusterrolebindings", "clusterrole"),
        ("rolebindings -A", "role"),
    ] {
        let list = stage.get(bindings)?;
        for binding in list["items"].as_array().context("no list of bindings")? {
            let subjects = binding["subjects"].as_array().into_iter().flatten();
            let mut subjects = subjects.filter(|subject| subject["namespace"] == operator::NAMESPACE);
            if subjects.any(|subject| subject["name"] == "holdfast") {
                let name = binding["roleRef"]["name"].as_str().context("no role")?;
                let place = binding["metadata"]["namespace"]
                    .as_str()
                    .map_or_else(String::new, |namespace| format!(" -n {namespace}"));
                let role = stage.get(&format!("{roles} {name}{place}"))?;
                rights.extend(of_role(&role));
            }
        }
    }
    Ok(rights)
}

fn of_role(role: &Value) -> Rights {
    let mut rights = Rights::new();
    let words = |value: &Value| -> Vec<String> {
        let all = value.as_array().into_iter().flatten();
        all.filter_map(|word| word.as_str().map(str::to_owned)).collect()
    };
    for rule in role["rules"].as_array().into_iter().flatten() {
        for group in words(&rule["apiGroups"]) {
            for resource in words(&rule["resources"]) {
                let verbs = words(&rule["verbs"]).into_iter();
                rights.extend(verbs.map(|verb| (group.clone(), resource.clone(), verb)));
            }
        }
    }
    rights
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(user: &str, decision: &str) -> String {
        json!({
            "stage": "ResponseComplete", "verb": "patch", "user": {"username": user},
            "objectRef": {"apiGroup": "mysql.holdfast.dev", "resource": "mysqlclusters",
                          "subresource": "status", "namespace": "shop", "name": "orders"},
            "requestReceivedTimestamp": "2026-11-21T12:00:00.000001Z",
            "annotations": {"authorization.k8s.io/decision": decision},
        })
        .to_string()
    }

    #[test]
    fn calls_of_the_operator_are_read_and_others_are_not() {
        let ours = Call::read(&line("system:serviceaccount:holdfast-system:holdfast", "allow")).unwrap();
        assert_eq!(ours.told(), "patch mysqlclusters/status shop/orders");
        assert!(ours.is_write() && !ours.is_forbidden);
        assert!(Call::read(&line("kubernetes-admin", "allow")).is_none());
        let refused = Call::read(&line("system:serviceaccount:holdfast-system:holdfast", "forbid")).unwrap();
        assert!(refused.is_forbidden && used(&[refused]).is_empty());
    }

    #[test]
    fn a_role_is_read_rule_by_rule() {
        let role = json!({"rules": [{"apiGroups": [""], "resources": ["pods", "secrets"], "verbs": ["get", "patch"]}]});
        assert_eq!(of_role(&role).len(), 4);
    }
}
