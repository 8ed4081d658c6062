//! The Pod of a member: the agent as PID 1 of the stock image, in the tightest cage there is.
//! Must not differ between members but in their names: any of them can be made anew at any time.

mod placement;
mod template;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource, HTTPGetAction,
    KeyToPath, LocalObjectReference, ObjectFieldSelector, PersistentVolumeClaimVolumeSource, Pod,
    PodSecurityContext, PodSpec, Probe, ResourceRequirements, SeccompProfile, SecretVolumeSource,
    SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::bundle::Inputs;
use crate::cluster::{Cluster, Sizes};
use crate::names::{self, ANNOTATION_TEMPLATE, USER_ID};
use crate::{quantity, secrets};

pub use template::{replication_port, template_hash, template_of};

/// Time for a clean stop of mysqld. The agent kills it before, if it must.
pub const GRACE_SECONDS: i64 = 60;

/// Where the init container sees the volume that the program is copied to.
const PATH_TARGET: &str = "/target";
/// The program in its own image, which holds nothing else.
const PROGRAM: &str = "/holdfast";
/// Several times the program.
const PROGRAM_LIMIT: &str = "256Mi";

const VOLUME_DATA: &str = "data";
const VOLUME_PROGRAM: &str = "program";
const VOLUME_TLS: &str = "tls";
const VOLUME_PASSWORDS: &str = "passwords";
const VOLUME_APP: &str = "app";

/// Readable by the group that the volume is given to, and by nobody else.
const SECRET_MODE: i32 = 0o440;

/// With the digest of itself in an annotation. Made once; what has changed since is told by the
/// digest, and then a new Pod takes the place of the old one.
pub fn pod(cluster: &Cluster, member: &str, inputs: &Inputs) -> Pod {
    let mut metadata = cluster.metadata(member);
    metadata.labels = Some(names::member_labels(&cluster.name, member));
    let mut pod = Pod {
        metadata,
        spec: Some(spec(cluster, member, inputs)),
        status: None,
    };
    let digest = template_hash(&pod);
    pod.metadata.annotations = Some(BTreeMap::from([(ANNOTATION_TEMPLATE.into(), digest)]));
    pod
}

fn spec(cluster: &Cluster, member: &str, inputs: &Inputs) -> PodSpec {
    let pull_secrets = cluster.image_pull_secrets.iter();
    let pull_secrets: Vec<_> = pull_secrets
        .map(|name| LocalObjectReference { name: name.clone() })
        .collect();
    let selector = &cluster.placement.node_selector;
    PodSpec {
        hostname: Some(member.into()),
        subdomain: Some(cluster.service_members()),
        service_account_name: Some(cluster.name.clone()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        restart_policy: Some("Always".into()),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        security_context: Some(pod_security()),
        image_pull_secrets: (!pull_secrets.is_empty()).then_some(pull_secrets),
        node_selector: (!selector.is_empty()).then(|| selector.clone()),
        tolerations: Some(placement::tolerations(cluster)),
        affinity: Some(placement::affinity(cluster)),
        init_containers: Some(vec![agent(cluster, inputs)]),
        containers: vec![mysql(cluster, member, inputs)],
        volumes: Some(volumes(cluster, member)),
        ..PodSpec::default()
    }
}

/// Copies the program to where the server's image can run it.
fn agent(cluster: &Cluster, inputs: &Inputs) -> Container {
    Container {
        name: names::CONTAINER_AGENT.into(),
        image: Some(inputs.images.operator.clone()),
        image_pull_policy: Some("IfNotPresent".into()),
        command: Some(vec![PROGRAM.into(), "copy".into(), PATH_TARGET.into()]),
        // The same as the server's: the Pod asks for no more by it, and its QoS class follows.
        resources: Some(resources(&cluster.sizes)),
        security_context: Some(container_security()),
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        volume_mounts: Some(vec![mount(VOLUME_PROGRAM, PATH_TARGET, false)]),
        ..Container::default()
    }
}

/// mysqld takes no wildcard for the address of a port of its own.
fn own_address() -> EnvVar {
    EnvVar {
        name: names::ENV_REPLICATION_ADDRESS.into(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: "status.podIP".into(),
                api_version: None,
            }),
            ..EnvVarSource::default()
        }),
    }
}

fn mysql(cluster: &Cluster, member: &str, inputs: &Inputs) -> Container {
    let program = format!("{}/holdfast", names::PATH_PROGRAM);
    let variable = |name: &str, value: &str| EnvVar {
        name: name.into(),
        value: Some(value.into()),
        value_from: None,
    };
    Container {
        name: names::CONTAINER_MYSQL.into(),
        image: Some(cluster.mysql_image(&inputs.images)),
        // A restart must not wait for a registry.
        image_pull_policy: Some("IfNotPresent".into()),
        command: Some(vec![program, "instance".into()]),
        env: Some(vec![
            variable(names::ENV_MEMBER, member),
            variable(names::ENV_DATA, names::PATH_DATA),
            variable(names::ENV_TLS, names::PATH_TLS),
            variable(names::ENV_PASSWORDS, names::PATH_PASSWORDS),
            variable(names::ENV_APP, names::PATH_APP),
            own_address(),
        ]),
        ports: Some(vec![
            port(names::PORT_NAME_MYSQL, names::PORT_MYSQL),
            port(names::PORT_NAME_REPLICATION, names::PORT_REPLICATION),
            port(names::PORT_NAME_AGENT, names::PORT_AGENT),
            port(names::PORT_NAME_HTTP, names::PORT_HTTP),
        ]),
        resources: Some(resources(&cluster.sizes)),
        security_context: Some(container_security()),
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        volume_mounts: Some(vec![
            mount(VOLUME_DATA, names::PATH_DATA, false),
            mount(VOLUME_PROGRAM, names::PATH_PROGRAM, true),
            mount(VOLUME_TLS, names::PATH_TLS, true),
            mount(VOLUME_PASSWORDS, names::PATH_PASSWORDS, true),
            mount(VOLUME_APP, names::PATH_APP, true),
        ]),
        // The agent answers at once, whatever mysqld does: no startup probe. Neither asks about
        // replication or the API server, so that no outage of those restarts a database.
        liveness_probe: Some(Probe {
            period_seconds: Some(10),
            timeout_seconds: Some(5),
            ..probe("/livez", 6)
        }),
        readiness_probe: Some(Probe {
            period_seconds: Some(2),
            timeout_seconds: Some(2),
            ..probe("/readyz", 2)
        }),
        ..Container::default()
    }
}

fn probe(path: &str, failure_threshold: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::Int(i32::from(names::PORT_HTTP)),
            ..HTTPGetAction::default()
        }),
        failure_threshold: Some(failure_threshold),
        ..Probe::default()
    }
}

fn port(name: &str, number: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.into()),
        container_port: i32::from(number),
        protocol: Some("TCP".into()),
        ..ContainerPort::default()
    }
}

fn mount(volume: &str, path: &str, is_read_only: bool) -> VolumeMount {
    VolumeMount {
        name: volume.into(),
        mount_path: path.into(),
        read_only: is_read_only.then_some(true),
        ..VolumeMount::default()
    }
}

fn resources(sizes: &Sizes) -> ResourceRequirements {
    let memory = |bytes| ("memory".to_owned(), Quantity(quantity::bytes_text(bytes)));
    let cpu = |millis| ("cpu".to_owned(), Quantity(quantity::millis_text(millis)));
    let mut limits = BTreeMap::from([memory(sizes.memory_bytes)]);
    limits.extend(sizes.cpu_limit_millis.map(cpu));
    ResourceRequirements {
        requests: Some(BTreeMap::from([
            cpu(sizes.cpu_request_millis),
            memory(sizes.memory_request_bytes),
        ])),
        limits: Some(limits),
        claims: None,
    }
}

fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER_ID),
        run_as_group: Some(USER_ID),
        fs_group: Some(USER_ID),
        // Else every start would walk the whole data directory.
        fs_group_change_policy: Some("OnRootMismatch".into()),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".into(),
            localhost_profile: None,
        }),
        ..PodSecurityContext::default()
    }
}

fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".into()]),
            add: None,
        }),
        ..SecurityContext::default()
    }
}

fn volumes(cluster: &Cluster, member: &str) -> Vec<Volume> {
    let secret = |volume: &str, name: String, keys: &[&str]| Volume {
        name: volume.into(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(name),
            default_mode: Some(SECRET_MODE),
            items: Some(keys.iter().map(|key| file(key)).collect()),
            optional: None,
        }),
        ..Volume::default()
    };
    vec![
        Volume {
            name: VOLUME_DATA.into(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: member.into(),
                read_only: None,
            }),
            ..Volume::default()
        },
        Volume {
            name: VOLUME_PROGRAM.into(),
            empty_dir: Some(EmptyDirVolumeSource {
                medium: None,
                size_limit: Some(Quantity(PROGRAM_LIMIT.into())),
            }),
            ..Volume::default()
        },
        secret(VOLUME_TLS, cluster.secret_tls(), TLS_FILES),
        secret(VOLUME_PASSWORDS, cluster.secret_internal(), secrets::ACCOUNTS),
        secret(VOLUME_APP, cluster.secret_app(), APP_FILES),
    ]
}

/// Only what the agent reads: the rest of a Secret stays out of the Pod.
const TLS_FILES: &[&str] = &[secrets::KEY_CA, secrets::KEY_CERTIFICATE, secrets::KEY_PRIVATE];
const APP_FILES: &[&str] = &[
    secrets::KEY_USERNAME,
    secrets::KEY_PASSWORD,
    secrets::KEY_DATABASE,
];

fn file(key: &str) -> KeyToPath {
    KeyToPath {
        key: key.into(),
        path: key.into(),
        mode: None,
    }
}
