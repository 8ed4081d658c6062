//! Secrets, made of material that is handed in, and the names that certificates are for.
//! Must not make passwords or keys, and must not print what it is given: no `Debug` here.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use crate::cluster::Cluster;
use crate::names::CLUSTER_DOMAIN;

/// The application's user and its database.
pub const APP_USERNAME: &str = "app";
pub const APP_DATABASE: &str = "app";

pub const KEY_USERNAME: &str = "username";
pub const KEY_PASSWORD: &str = "password";
pub const KEY_HOST: &str = "host";
pub const KEY_PORT: &str = "port";
pub const KEY_DATABASE: &str = "database";
pub const KEY_URI: &str = "uri";
pub const KEY_CA: &str = "ca.crt";
pub const KEY_CERTIFICATE: &str = "tls.crt";
pub const KEY_PRIVATE: &str = "tls.key";

/// The operator's own accounts: the keys of the internal Secret, and files in the Pod.
pub const ACCOUNTS: &[&str] = &["agent", "accounts", "replication", "clone", "monitoring"];

/// What an application connects with.
#[derive(Clone, Copy)]
pub struct App<'a> {
    pub username: &'a str,
    pub password: &'a str,
    pub database: &'a str,
    /// PEM of whoever signed the servers' certificates.
    pub ca: &'a str,
}

/// Passwords of the operator's own accounts.
#[derive(Clone, Copy)]
pub struct Internal<'a> {
    pub agent: &'a str,
    pub accounts: &'a str,
    pub replication: &'a str,
    pub clone: &'a str,
    pub monitoring: &'a str,
}

/// A certificate with its private key, both PEM.
#[derive(Clone, Copy)]
pub struct KeyPair<'a> {
    pub certificate: &'a str,
    pub key: &'a str,
}

/// `<cluster>-app`, for applications.
pub fn app(cluster: &Cluster, app: App<'_>) -> Secret {
    let host = host(cluster);
    let port = cluster.primary_service.port.to_string();
    let uri = format!(
        "mysql://{}:{}@{host}:{port}/{}",
        percent_encoded(app.username),
        percent_encoded(app.password),
        percent_encoded(app.database),
    );
    let data = [
        (KEY_USERNAME, app.username),
        (KEY_PASSWORD, app.password),
        (KEY_HOST, &host),
        (KEY_PORT, &port),
        (KEY_DATABASE, app.database),
        (KEY_URI, &uri),
        (KEY_CA, app.ca),
    ];
    secret(cluster, cluster.secret_app(), "kubernetes.io/basic-auth", &data)
}

/// `<cluster>-internal`. It belongs to the data: whoever keeps the volumes keeps it.
pub fn internal(cluster: &Cluster, passwords: Internal<'_>) -> Secret {
    let Internal {
        agent,
        accounts,
        replication,
        clone,
        monitoring,
    } = passwords;
    let values = [agent, accounts, replication, clone, monitoring];
    let data: Vec<_> = ACCOUNTS.iter().copied().zip(values).collect();
    secret(cluster, cluster.secret_internal(), "Opaque", &data)
}

/// `<cluster>-tls`: the servers' certificate, and whoever signed it.
pub fn tls(cluster: &Cluster, pair: KeyPair<'_>, ca: &str) -> Secret {
    let data = [
        (KEY_CERTIFICATE, pair.certificate),
        (KEY_PRIVATE, pair.key),
        (KEY_CA, ca),
    ];
    secret(cluster, cluster.secret_tls(), "kubernetes.io/tls", &data)
}

/// `<cluster>-ca`: the authority. Mounted nowhere.
pub fn ca(cluster: &Cluster, pair: KeyPair<'_>) -> Secret {
    let data = [(KEY_CERTIFICATE, pair.certificate), (KEY_PRIVATE, pair.key)];
    secret(cluster, cluster.secret_ca(), "kubernetes.io/tls", &data)
}

/// One value of a Secret that was read back; `None` if it is not there or not text.
pub fn value<'a>(secret: &'a Secret, key: &str) -> Option<&'a str> {
    let bytes = &secret.data.as_ref()?.get(key)?.0;
    std::str::from_utf8(bytes).ok()
}

/// Where applications connect for reads and writes.
pub fn host(cluster: &Cluster) -> String {
    format!("{}.{}.svc", cluster.service_primary(), cluster.namespace)
}

/// The one name that the controller asks every member's certificate for.
pub fn members_name(cluster: &Cluster) -> String {
    format!("{}.{}.svc", cluster.service_members(), cluster.namespace)
}

/// What the servers' certificate is for: each Service by all of its names, and each member by its own.
pub fn server_names(cluster: &Cluster) -> Vec<String> {
    let namespace = &cluster.namespace;
    let mut names = Vec::new();
    let services = [
        cluster.service_primary(),
        cluster.service_replicas(),
        cluster.service_members(),
    ];
    for service in services {
        names.extend([
            service.clone(),
            format!("{service}.{namespace}"),
            format!("{service}.{namespace}.svc"),
            format!("{service}.{namespace}.svc.{CLUSTER_DOMAIN}"),
        ]);
    }
    let members = members_name(cluster);
    names.extend([format!("*.{members}"), format!("*.{members}.{CLUSTER_DOMAIN}")]);
    names
}

fn secret(cluster: &Cluster, name: String, kind: &str, data: &[(&str, &str)]) -> Secret {
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    let data: BTreeMap<_, _> = data
        .iter()
        .map(|(key, value)| ((*key).to_owned(), bytes(value)))
        .collect();
    Secret {
        metadata: cluster.metadata(name),
        type_: Some(kind.into()),
        data: Some(data),
        ..Secret::default()
    }
}

/// All but the unreserved characters of RFC 3986.
fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_in_a_uri_is_encoded() {
        assert_eq!(percent_encoded("aZ09-._~"), "aZ09-._~");
        assert_eq!(
            percent_encoded("a:b@c/d?e#f%g h"),
            "a%3Ab%40c%2Fd%3Fe%23f%25g%20h"
        );
        assert_eq!(percent_encoded("ü\n"), "%C3%BC%0A");
    }
}
