//! What is in Secrets, and that it is nowhere else.
//! Must not print a Secret.

use objects::secrets::{self, App};
use serde_json::Value;

use crate::samples;

#[test]
fn secret_values_stand_in_secrets_alone() {
    for spec in [samples::MINIMAL, samples::EVERYTHING] {
        let cluster = samples::cluster(spec);
        for (name, object) in samples::everything(&cluster) {
            let text = object.to_string();
            let found: Vec<_> = samples::CANARIES
                .iter()
                .filter(|word| text.contains(**word))
                .collect();
            assert!(found.is_empty(), "{name} shows {found:?}");
        }
        let held: Vec<String> = samples::all_secrets(&cluster)
            .iter()
            .flat_map(|secret| secret.data.clone().unwrap())
            .map(|(_, bytes)| String::from_utf8(bytes.0).unwrap())
            .collect();
        for word in samples::CANARIES {
            assert!(held.iter().any(|value| value.contains(word)), "{word} got lost");
        }
    }
}

#[test]
fn only_pods_name_secrets_and_never_the_authority() {
    let all = samples::everything(&samples::cluster(samples::MINIMAL));
    for (name, object) in all.iter().filter(|(name, _)| !name.starts_with("Secret/")) {
        let text = object.to_string();
        assert!(!text.contains("orders-ca"), "{name}");
        assert_eq!(
            text.contains("orders-internal"),
            name.starts_with("Pod/"),
            "{name}"
        );
    }
}

#[test]
fn the_uri_can_be_taken_apart_again() {
    let cluster = samples::cluster(samples::EVERYTHING);
    let app = App {
        username: "app",
        password: "p@ss:w/rd?#% ü",
        database: "app",
        ca: "",
    };
    let secret = secrets::app(&cluster, app);
    let uri = secrets::value(&secret, secrets::KEY_URI).unwrap();
    assert_eq!(
        uri,
        "mysql://app:p%40ss%3Aw%2Frd%3F%23%25%20%C3%BC@orders-primary.shop.svc:13306/app"
    );
    assert_eq!(secrets::value(&secret, secrets::KEY_PASSWORD), Some(app.password));
    assert_eq!(secrets::value(&secret, "nothing"), None);
}

#[test]
fn the_keys_are_those_that_the_pod_mounts() {
    let cluster = samples::cluster(samples::MINIMAL);
    let all = samples::everything(&cluster);
    let volumes = all["Pod/orders-2"]["spec"]["volumes"].as_array().unwrap();
    let mounted = volumes.iter().filter(|volume| volume["secret"].is_object());
    for volume in mounted.clone() {
        let name = volume["secret"]["secretName"].as_str().unwrap();
        let data = &all[&format!("Secret/{name}")]["data"];
        for item in volume["secret"]["items"].as_array().unwrap() {
            let key = item["key"].as_str().unwrap();
            assert!(data[key].is_string(), "{name} has no {key}");
        }
    }
    assert_eq!(mounted.count(), 3);
}

#[test]
fn certificates_are_for_every_name_of_every_service_and_member() {
    let names = objects::server_names(&samples::cluster(samples::MINIMAL));
    for service in ["orders-primary", "orders-replicas", "orders-members"] {
        for suffix in ["", ".shop", ".shop.svc", ".shop.svc.cluster.local"] {
            assert!(names.contains(&format!("{service}{suffix}")), "{service}{suffix}");
        }
    }
    assert!(names.contains(&"*.orders-members.shop.svc".to_owned()));
    assert!(names.contains(&"*.orders-members.shop.svc.cluster.local".to_owned()));
    assert!(names.contains(&secrets::members_name(&samples::cluster(samples::MINIMAL))));
    assert_eq!(names.len(), 14);
}

#[test]
fn types_are_those_that_other_programs_know() {
    let all = samples::everything(&samples::cluster(samples::MINIMAL));
    let kind = |name: &str| all[name]["type"].clone();
    assert_eq!(kind("Secret/orders-app"), Value::from("kubernetes.io/basic-auth"));
    assert_eq!(kind("Secret/orders-tls"), Value::from("kubernetes.io/tls"));
    assert_eq!(kind("Secret/orders-ca"), Value::from("kubernetes.io/tls"));
    assert_eq!(kind("Secret/orders-internal"), Value::from("Opaque"));
}
