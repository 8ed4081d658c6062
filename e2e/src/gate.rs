//! A moment that is held still: while a gate is shut, the API server refuses what would end it.
//! Must not outlive its story: dropping it opens it.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use crate::stage::{Stage, wait_until};

const WORDS: &str = "held back by a story";
const SHUT_WITHIN: Duration = Duration::from_secs(60);

/// Writes that the API server refuses while it is shut.
pub struct Gate<'a> {
    stage: &'a Stage,
    name: String,
}

impl<'a> Gate<'a> {
    /// Records of this namespace are refused of which this expression (`record` is the text) is true; the probe
    /// is one of them.
    pub fn of_records(stage: &'a Stage, namespace: &str, refused: &str, probe: &str) -> Result<Self> {
        let rule = json!({"apiGroups": [""], "resources": ["configmaps"]});
        let expression = format!(
            "!has(object.data) || !('record' in object.data) || ![object.data.record].exists(record, {refused})"
        );
        let gate = Self::shut(stage, namespace, "records", rule, &expression)?;
        let line =
            format!("create configmap probe -n {namespace} --dry-run=server --from-literal=record={probe}");
        gate.wait_shut(&line)?;
        Ok(gate)
    }

    /// Nobody can claim this epoch, or write anything else of it that satisfies this, too.
    pub fn of_epoch(stage: &'a Stage, namespace: &str, epoch: u64, and: &str) -> Result<Self> {
        let refused = format!("record.matches('\"epoch\":{epoch}[,}}]'){and}");
        Self::of_records(stage, namespace, &refused, &format!("{{\"epoch\":{epoch}}}"))
    }

    /// Where this cluster's Services lead cannot be changed.
    pub fn of_endpoints(stage: &'a Stage, namespace: &str, cluster: &str) -> Result<Self> {
        let rule = json!({"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"]});
        let gate = Self::shut(stage, namespace, "endpoints", rule, "false")?;
        gate.wait_shut(&format!(
            "annotate endpointslice {cluster}-primary -n {namespace} probe=1 --overwrite --dry-run=server"
        ))?;
        Ok(gate)
    }

    fn shut(stage: &'a Stage, namespace: &str, what: &str, rule: Value, expression: &str) -> Result<Self> {
        let gate = Self {
            stage,
            name: format!("story-{namespace}-{what}"),
        };
        gate.remove()?;
        let name = &gate.name;
        let mut rule = rule;
        rule["apiVersions"] = json!(["v1"]);
        rule["operations"] = json!(["CREATE", "UPDATE"]);
        let policy = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {"resourceRules": [rule]},
                "matchConditions": [
                    {"name": "here", "expression": format!("object.metadata.namespace == '{namespace}'")},
                ],
                "validations": [{"expression": expression, "message": WORDS}],
            },
        });
        let binding = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Deny"]},
        });
        stage.apply(&format!("{policy}\n---\n{binding}\n"))?;
        Ok(gate)
    }

    /// Waits until this line of kubectl is refused.
    fn wait_shut(&self, line: &str) -> Result<()> {
        let name = &self.name;
        wait_until(&format!("{name} is shut"), SHUT_WITHIN, || {
            let refused = self.stage.k(line).run();
            Ok(refused.is_err_and(|error| format!("{error:#}").contains(WORDS)))
        })
        .map(drop)
    }

    /// What was refused is taken again, as soon as the API server knows.
    pub fn open(self) -> Result<()> {
        self.remove()
    }

    fn remove(&self) -> Result<()> {
        let name = &self.name;
        for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
            self.stage
                .k(&format!("delete {kind} {name} --ignore-not-found"))
                .run()?;
        }
        Ok(())
    }
}

impl Drop for Gate<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!("failed to open {}: {error:#}", self.name);
        }
    }
}
