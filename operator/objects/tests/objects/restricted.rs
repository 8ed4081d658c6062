//! The Pod Security Standard `restricted`, field by field, and more that we promise.
//! Must not trust where a field stands: every container of every Pod is looked at.

use serde_json::{Value, json};

use crate::samples;

/// Everything wrong with a Pod's spec.
pub(crate) fn faults(spec: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let mut want = |what: &str, holds: bool| {
        if !holds {
            faults.push(what.to_owned());
        }
    };
    let is_absent_or = |value: &Value, wanted: Value| value.is_null() || *value == wanted;
    for field in ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"] {
        want(field, is_absent_or(&spec[field], json!(false)));
    }
    let pod = &spec["securityContext"];
    want("runAsNonRoot", pod["runAsNonRoot"] == true);
    for field in ["runAsUser", "runAsGroup", "fsGroup"] {
        want(field, pod[field] == 10027);
    }
    want(
        "fsGroupChangePolicy",
        pod["fsGroupChangePolicy"] == "OnRootMismatch",
    );
    want(
        "seccomp",
        pod["seccompProfile"] == json!({ "type": "RuntimeDefault" }),
    );
    for field in [
        "seLinuxOptions",
        "sysctls",
        "supplementalGroups",
        "windowsOptions",
        "appArmorProfile",
    ] {
        want(field, pod[field].is_null());
    }
    want("token", spec["automountServiceAccountToken"] == false);
    want("links", spec["enableServiceLinks"] == false);
    let kinds = ["emptyDir", "persistentVolumeClaim", "secret"];
    for volume in spec["volumes"].as_array().unwrap() {
        let fields = volume.as_object().unwrap().keys();
        let known = fields
            .filter(|key| *key != "name")
            .all(|key| kinds.contains(&key.as_str()));
        want("a volume of another kind", known);
        want(
            "a Secret for all to read",
            is_absent_or(&volume["secret"]["defaultMode"], json!(0o440)),
        );
    }
    want("ephemeral containers", spec["ephemeralContainers"].is_null());
    let mut count = 0;
    for list in ["initContainers", "containers"] {
        for container in spec[list].as_array().unwrap() {
            count += 1;
            container_faults(container, &mut want);
        }
    }
    want("containers", count == 2);
    faults
}

fn container_faults(container: &Value, want: &mut impl FnMut(&str, bool)) {
    let own = &container["securityContext"];
    want("escalation", own["allowPrivilegeEscalation"] == false);
    want("root file system", own["readOnlyRootFilesystem"] == true);
    want("capabilities", own["capabilities"] == json!({ "drop": ["ALL"] }));
    // What the Pod says holds where the container says nothing.
    for field in [
        "privileged",
        "runAsUser",
        "runAsGroup",
        "runAsNonRoot",
        "seccompProfile",
        "seLinuxOptions",
        "procMount",
        "windowsOptions",
        "appArmorProfile",
    ] {
        want(field, own[field].is_null());
    }
    for port in container["ports"].as_array().into_iter().flatten() {
        want("hostPort", port["hostPort"].is_null());
    }
    want(
        "memory limit",
        container["resources"]["limits"]["memory"].is_string(),
    );
    want(
        "memory request",
        container["resources"]["requests"]["memory"].is_string(),
    );
    want(
        "CPU request",
        container["resources"]["requests"]["cpu"].is_string(),
    );
    want("lifecycle", container["lifecycle"].is_null());
    for probe in ["livenessProbe", "readinessProbe"] {
        want("probed host", container[probe]["httpGet"]["host"].is_null());
    }
}

#[test]
fn every_pod_is_restricted() {
    for spec in [samples::MINIMAL, samples::EVERYTHING, samples::SINGLE] {
        let all = samples::everything(&samples::cluster(spec));
        let pods: Vec<_> = all.iter().filter(|(key, _)| key.starts_with("Pod/")).collect();
        assert_eq!(pods.len(), 1);
        for (name, pod) in pods {
            assert_eq!(faults(&pod["spec"]), [""; 0], "{name}");
        }
    }
}

#[test]
fn the_walk_sees_what_is_not_restricted() {
    let all = samples::everything(&samples::cluster(samples::MINIMAL));
    let pod = &all["Pod/orders-2"]["spec"];
    let with = |path: &str, value: Value| {
        let mut spoiled = pod.clone();
        *spoiled.pointer_mut(path).unwrap_or_else(|| panic!("{path}")) = value;
        faults(&spoiled)
    };
    assert_eq!(with("/securityContext/runAsUser", json!(0)), ["runAsUser"]);
    assert_eq!(with("/securityContext/seccompProfile", Value::Null), ["seccomp"]);
    let own = "/containers/0/securityContext";
    assert_eq!(
        with(&format!("{own}/capabilities"), json!({ "add": ["NET_RAW"] })),
        ["capabilities"]
    );
    assert_eq!(with(own, json!({})).len(), 3);
    assert_eq!(
        with("/volumes/0", json!({ "name": "x", "hostPath": { "path": "/" } })),
        ["a volume of another kind"]
    );
}
