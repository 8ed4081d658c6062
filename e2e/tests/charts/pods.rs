//! Pods that are rendered are as `restricted` as Kubernetes' own level of that name, and more.
//! Must not trust an admission plugin to be there.

use serde_json::{Value, json};

use crate::objects::of_kind;
use crate::{WAYS, rendered};

/// Kinds of volumes that the level allows.
const VOLUMES: &[&str] = &[
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

fn faults(pod: &Value) -> Vec<&'static str> {
    let mut found = Vec::new();
    let mut wants = |holds: bool, what| {
        if !holds {
            found.push(what);
        }
    };
    for shared in ["hostNetwork", "hostPID", "hostIPC"] {
        wants(pod[shared] != true, "shares a namespace of the node");
    }
    let volumes = pod["volumes"].as_array().cloned().unwrap_or_default();
    for (kind, _) in volumes.iter().flat_map(|volume| volume.as_object().unwrap()) {
        wants(
            kind == "name" || VOLUMES.contains(&kind.as_str()),
            "a volume of the node",
        );
    }
    let whole = &pod["securityContext"];
    wants(whole["sysctls"].is_null(), "sets the kernel");
    let lists = ["initContainers", "containers", "ephemeralContainers"];
    for container in lists
        .iter()
        .flat_map(|list| pod[*list].as_array().cloned().unwrap_or_default())
    {
        let own = &container["securityContext"];
        let either = |key: &str| {
            if own[key].is_null() {
                whole[key].clone()
            } else {
                own[key].clone()
            }
        };
        wants(either("runAsNonRoot") == true, "may run as root");
        wants(either("runAsUser") != 0, "runs as root");
        wants(
            either("seccompProfile") == json!({ "type": "RuntimeDefault" }),
            "any system call",
        );
        wants(own["allowPrivilegeEscalation"] == false, "may gain privileges");
        wants(own["privileged"] != true, "is privileged");
        wants(
            own["capabilities"] == json!({ "drop": ["ALL"] }),
            "has capabilities",
        );
        wants(
            own["procMount"].is_null() && own["seLinuxOptions"].is_null(),
            "has a way of its own",
        );
        wants(own["readOnlyRootFilesystem"] == true, "writes to its image");
        let ports = container["ports"].as_array().cloned().unwrap_or_default();
        wants(
            ports.iter().all(|port| port["hostPort"].is_null()),
            "a port of the node",
        );
    }
    found
}

fn deployed(way: &[&str]) -> Value {
    of_kind(&rendered(way), "Deployment")["spec"]["template"]["spec"].clone()
}

#[test]
fn the_operator_runs_under_restricted_pod_security() {
    for way in WAYS {
        let pod = deployed(way);
        assert_eq!(faults(&pod), [""; 0]);
        // Whatever user the image or the platform chooses, which some platforms insist on.
        assert!(pod["securityContext"]["runAsUser"].is_null());
        assert_eq!(pod["enableServiceLinks"], false);
    }
}

#[test]
fn what_is_not_restricted_is_found() {
    let good = deployed(&[]);
    for (pointer, value, what) in [
        ("/hostNetwork", json!(true), "shares a namespace of the node"),
        (
            "/volumes",
            json!([{ "name": "a", "hostPath": { "path": "/" } }]),
            "a volume of the node",
        ),
        ("/securityContext/runAsNonRoot", Value::Null, "may run as root"),
        ("/securityContext/seccompProfile", Value::Null, "any system call"),
        (
            "/containers/0/securityContext/capabilities",
            json!({ "drop": ["ALL"], "add": ["NET_ADMIN"] }),
            "has capabilities",
        ),
        (
            "/containers/0/securityContext/allowPrivilegeEscalation",
            Value::Null,
            "may gain privileges",
        ),
        (
            "/containers/0/securityContext/readOnlyRootFilesystem",
            json!(false),
            "writes to its image",
        ),
        ("/containers/0/ports/0/hostPort", json!(1), "a port of the node"),
    ] {
        let mut bad = good.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        bad.pointer_mut(parent).unwrap()[key] = value;
        assert_eq!(faults(&bad), [what], "{pointer}");
    }
}

#[test]
fn requests_and_limits_come_with_it_and_can_be_changed() {
    let resources = |way| deployed(way)["containers"][0]["resources"].clone();
    let default = resources(&[]);
    assert!(default["requests"]["cpu"].is_string() && default["limits"]["memory"].is_string());
    assert!(
        default["limits"]["cpu"].is_null(),
        "a limit of CPU slows a failover down"
    );
    assert_eq!(resources(WAYS[1])["limits"]["cpu"], "2");
}

#[test]
fn values_reach_the_pod() {
    let pod = deployed(WAYS[1]);
    let container = &pod["containers"][0];
    let image = "mirror.example.com:5000/cache/tools/holdfast:0.1.0-rc.1@sha256:\
                 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    assert_eq!(container["image"], image);
    let args = json!([
        "controller",
        format!("--operator-image={image}"),
        "--mysql-repository=mirror.example.com:5000/cache/stock/mysql",
        "--namespace=orders",
        "--namespace=billing",
        "--certificate-lifetime=30d",
    ]);
    assert_eq!(container["args"], args);
    assert_eq!(pod["serviceAccountName"], "operator");
    assert_eq!(pod["imagePullSecrets"], json!([{ "name": "mirror" }]));
    assert_eq!(pod["priorityClassName"], "system-cluster-critical");
    assert_eq!(pod["topologySpreadConstraints"].as_array().unwrap().len(), 1);
}

#[test]
fn a_digest_alone_needs_no_tag() {
    let digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let pod = deployed(&["--set", &format!("image.digest={digest}")]);
    assert_eq!(
        pod["containers"][0]["image"],
        format!("holdfast.dev/holdfast@{digest}")
    );
}
