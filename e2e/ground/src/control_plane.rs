//! The processes of the control plane and of the client unit, with their flags.
//! Must not start them: it only says what should run.

use std::path::{Path, PathBuf};

use crate::init::Process;
use crate::spec::{Paths, Spec, Unit};

/// etcd, the API server, its controllers, and the volume provisioner.
pub fn processes(spec: &Spec) -> Vec<Process> {
    let paths = Paths::of(&spec.name);
    vec![
        etcd(&paths),
        api_server(spec, &paths),
        controller_manager(&paths),
        scheduler(&paths),
        volumes(&paths),
    ]
}

/// The client unit has Services, as a node has, and no pods.
pub fn client_processes(spec: &Spec) -> Vec<Process> {
    vec![proxy(spec, Unit::Client)]
}

/// kube-proxy, for nodes and for the client unit.
pub fn proxy(spec: &Spec, unit: Unit) -> Process {
    let paths = Paths::of(&spec.name);
    process(
        &paths,
        "kube-proxy",
        &[
            ("kubeconfig", show(&paths.pki().join("proxy.conf"))),
            ("hostname-override", unit.name()),
            ("proxy-mode", "nftables".to_owned()),
            ("cluster-cidr", spec.pods()),
            // Its limits are the machine's and cannot be set from a network namespace.
            ("conntrack-max-per-core", "0".to_owned()),
            ("conntrack-tcp-timeout-established", "0s".to_owned()),
            ("conntrack-tcp-timeout-close-wait", "0s".to_owned()),
            ("oom-score-adj", "0".to_owned()),
            ("healthz-bind-address", "127.0.0.1:10256".to_owned()),
        ],
    )
}

fn etcd(paths: &Paths) -> Process {
    let listen = "http://127.0.0.1:2379";
    process(
        paths,
        "etcd",
        &[
            ("data-dir", show(&paths.unit(Unit::Control).join("etcd"))),
            ("listen-client-urls", listen.to_owned()),
            ("advertise-client-urls", listen.to_owned()),
            ("listen-peer-urls", "http://127.0.0.1:2380".to_owned()),
            // Nothing here outlives the machine, and the disk is the databases'.
            ("unsafe-no-fsync", "true".to_owned()),
            ("log-level", "warn".to_owned()),
        ],
    )
}

fn api_server(spec: &Spec, paths: &Paths) -> Process {
    let pki = paths.pki();
    let file = |name: &str| show(&pki.join(name));
    process(
        paths,
        "kube-apiserver",
        &[
            ("etcd-servers", "http://127.0.0.1:2379".to_owned()),
            ("advertise-address", spec.api().to_string()),
            ("service-cluster-ip-range", spec.services()),
            ("client-ca-file", file("ca.crt")),
            ("tls-cert-file", file("apiserver.crt")),
            ("tls-private-key-file", file("apiserver.key")),
            ("kubelet-client-certificate", file("apiserver-kubelet-client.crt")),
            ("kubelet-client-key", file("apiserver-kubelet-client.key")),
            ("kubelet-certificate-authority", file("ca.crt")),
            // Without it, logs and exec look the node's name up and fail.
            ("kubelet-preferred-address-types", "InternalIP".to_owned()),
            (
                "service-account-issuer",
                "https://kubernetes.default.svc.cluster.local".to_owned(),
            ),
            ("service-account-key-file", file("sa.pub")),
            ("service-account-signing-key-file", file("sa.key")),
            ("authorization-mode", "Node,RBAC".to_owned()),
            ("enable-admission-plugins", "NodeRestriction".to_owned()),
            ("allow-privileged", "true".to_owned()),
            ("profiling", "false".to_owned()),
            (
                "audit-policy-file",
                show(&paths.unit(Unit::Control).join("audit-policy.yaml")),
            ),
            (
                "audit-log-path",
                show(&paths.logs(Unit::Control).join("audit.log")),
            ),
            ("audit-log-maxsize", "200".to_owned()),
            ("audit-log-maxbackup", "2".to_owned()),
        ],
    )
}

fn controller_manager(paths: &Paths) -> Process {
    let pki = paths.pki();
    let file = |name: &str| show(&pki.join(name));
    process(
        paths,
        "kube-controller-manager",
        &[
            ("kubeconfig", file("controller-manager.conf")),
            ("use-service-account-credentials", "true".to_owned()),
            ("service-account-private-key-file", file("sa.key")),
            ("root-ca-file", file("ca.crt")),
            ("cluster-signing-cert-file", file("ca.crt")),
            ("cluster-signing-key-file", file("ca.key")),
            ("leader-elect", "false".to_owned()),
            ("profiling", "false".to_owned()),
        ],
    )
}

fn scheduler(paths: &Paths) -> Process {
    process(
        paths,
        "kube-scheduler",
        &[
            ("kubeconfig", show(&paths.pki().join("scheduler.conf"))),
            ("leader-elect", "false".to_owned()),
            ("profiling", "false".to_owned()),
        ],
    )
}

fn volumes(paths: &Paths) -> Process {
    process(
        paths,
        "csi-controller",
        &[
            ("kubeconfig", show(&paths.pki().join("csi.conf"))),
            ("volumes-dir-pattern", show(&paths.root().join("%s/volumes"))),
        ],
    )
}

/// A program of the one binary, with `--name=value` flags.
pub fn process(paths: &Paths, name: &str, flags: &[(&str, String)]) -> Process {
    let mut argv = vec![show(&paths.program(name))];
    argv.extend(flags.iter().map(|(flag, value)| format!("--{flag}={value}")));
    Process {
        name: name.to_owned(),
        argv,
        after: None::<PathBuf>,
    }
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

/// What the API server writes down: everybody's calls but those of Kubernetes itself.
pub const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  userGroups: ['system:nodes', 'system:masters']
- level: None
  users: ['system:kube-controller-manager', 'system:kube-scheduler', 'system:kube-proxy', 'system:coredns', 'ground:netpol', 'system:apiserver', 'system:anonymous']
- level: None
  userGroups: ['system:serviceaccounts:kube-system']
- level: Metadata
";
