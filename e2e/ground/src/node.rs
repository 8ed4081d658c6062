//! The processes of a node, and the files they read.
//! Must not start them: it writes files into the node's folder and says what should run.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use crate::init::Process;
use crate::machine;
use crate::spec::{Paths, Spec, Unit};
use crate::{cgroup, control_plane, images};

const CONTAINERD_SOCKET: &str = "/run/containerd/containerd.sock";
const DNS_LOG_NAME: &str = "coredns";

/// Writes a node's files and gives its processes, in the order in which they start.
pub fn prepare(spec: &Spec, unit: Unit, template: &Path) -> Result<Vec<Process>> {
    let Unit::Node(index) = unit else {
        anyhow::bail!("{} is no node", unit.name())
    };
    let paths = Paths::of(&spec.name);
    let dir = paths.unit(unit);
    let conf = dir.join("conf");
    fs::create_dir_all(conf.join("cni")).context("failed to create the node's folder")?;
    fs::write(conf.join("containerd.toml"), containerd_toml())?;
    fs::write(
        conf.join("cni/10-ground.conflist"),
        cni_config(&spec.pod_range(index)).to_string(),
    )?;
    fs::write(
        conf.join("kubelet.json"),
        kubelet_config(spec, unit, &paths).to_string(),
    )?;
    fs::write(conf.join("Corefile"), corefile(spec, unit, &paths))?;
    if !dir.join("containerd").exists() {
        images::copy_template(template, &dir.join("containerd"))?;
    }
    cgroup::create(&format!("{}/pods", machine::group(spec, unit)))?;
    Ok(vec![
        containerd(),
        control_plane::proxy(spec, unit),
        policies(&paths, unit),
        volumes(&paths, unit),
        kubelet(spec, unit, &paths),
        dns(&paths),
    ])
}

fn containerd() -> Process {
    Process {
        name: "containerd".to_owned(),
        argv: ["containerd", "--config", "/run/node/conf/containerd.toml"]
            .map(str::to_owned)
            .to_vec(),
        after: None,
    }
}

fn kubelet(spec: &Spec, unit: Unit, paths: &Paths) -> Process {
    let flags = [
        ("config", "/run/node/conf/kubelet.json".to_owned()),
        (
            "kubeconfig",
            paths
                .pki()
                .join("nodes")
                .join(unit.name())
                .join("kubelet.conf")
                .display()
                .to_string(),
        ),
        ("hostname-override", unit.name()),
        ("node-ip", spec.unit_address(unit).to_string()),
        (
            "node-labels",
            format!("topology.kubernetes.io/zone=zone-{}", unit.name()),
        ),
        ("root-dir", "/var/lib/kubelet".to_owned()),
        ("cert-dir", "/var/lib/kubelet/pki".to_owned()),
    ];
    let mut process = control_plane::process(paths, "kubelet", &flags);
    process.after = Some(CONTAINERD_SOCKET.into());
    process
}

fn volumes(paths: &Paths, unit: Unit) -> Process {
    control_plane::process(
        paths,
        "csi-node",
        &[
            ("node", unit.name()),
            ("dir", "/run/node/volumes".to_owned()),
            ("kubelet-dir", "/var/lib/kubelet".to_owned()),
        ],
    )
}

/// Keeps the node's nftables table as the NetworkPolicies say. What it made stays in force while it is away.
fn policies(paths: &Paths, unit: Unit) -> Process {
    control_plane::process(
        paths,
        "netpol",
        &[
            ("node", unit.name()),
            (
                "kubeconfig",
                paths.pki().join("netpol.conf").display().to_string(),
            ),
        ],
    )
}

/// Each node answers DNS for its own pods: a node cut off, or lost, takes nobody else's DNS away.
fn dns(paths: &Paths) -> Process {
    let argv = vec![
        paths.program("coredns").display().to_string(),
        "-conf".to_owned(),
        "/run/node/conf/Corefile".to_owned(),
    ];
    Process {
        name: DNS_LOG_NAME.to_owned(),
        argv,
        after: None,
    }
}

fn corefile(spec: &Spec, unit: Unit, paths: &Paths) -> String {
    include_str!("../kube/manifests/Corefile.tmpl")
        .replace("{{BIND}}", &spec.unit_address(unit).to_string())
        .replace(
            "{{KUBECONFIG}}",
            &paths.pki().join("coredns.conf").display().to_string(),
        )
}

fn kubelet_config(spec: &Spec, unit: Unit, paths: &Paths) -> serde_json::Value {
    let pki = paths.pki();
    let own = pki.join("nodes").join(unit.name());
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": format!("unix://{CONTAINERD_SOCKET}"),
        "clusterDNS": [spec.unit_address(unit)],
        "clusterDomain": "cluster.local",
        "resolvConf": "/dev/null",
        "authentication": {
            "x509": {"clientCAFile": pki.join("ca.crt")},
            "webhook": {"enabled": true},
            "anonymous": {"enabled": false},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": own.join("kubelet.crt"),
        "tlsPrivateKeyFile": own.join("kubelet.key"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}/pods", machine::group(spec, unit)),
        "failCgroupV1": false,
        "failSwapOn": false,
        "enforceNodeAllocatable": [],
        "featureGates": {"KubeletInUserNamespace": true},
        // All nodes share one disk and one memory: pressure here would be everybody's.
        "evictionHard": {"memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.inodesFree": "0%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        // Six times as often as by default: how soon a changed Secret or a grown volume reaches a Pod.
        "syncFrequency": "10s",
        // Root may lack the right to lower it.
        "oomScoreAdj": 0,
        "makeIPTablesUtilChains": false,
    })
}

fn cni_config(range: &str) -> serde_json::Value {
    json!({
        "cniVersion": "0.4.0",
        "name": "ground",
        // Every packet of a pod is routed, so that Services work between pods of one node too.
        "plugins": [{
            "type": "ptp",
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": range}]],
                "routes": [{"dst": "0.0.0.0/0"}],
                "dataDir": "/var/lib/cni/networks",
            },
        }],
    })
}

fn containerd_toml() -> String {
    format!(
        r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0
[grpc]
address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
restrict_oom_score_adj = true
disable_hugetlb_controller = true
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "/run/node/conf/cni"
"#,
        pause = images::PAUSE
    )
}
