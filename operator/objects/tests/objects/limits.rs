//! Names and sizes at the edge of what Kubernetes takes.
//! Must not know which objects there are: all of them are looked at.

use std::collections::BTreeSet;

use objects::cluster::Cluster;
use objects::endpoints::{Error, Family, Which, endpoint_slice, epoch, exposed};
use regex::Regex;

use crate::samples;

#[test]
fn the_longest_name_still_fits_everywhere() {
    let name = format!("a{}z", "-".repeat(38));
    let spec = samples::EVERYTHING.replace("instances: 5", "instances: 9");
    let cluster = Cluster::read(&samples::object_named(&name, &spec)).unwrap();
    let label = Regex::new("^[a-z]([a-z0-9-]*[a-z0-9])?$").unwrap();
    let value = Regex::new("^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$").unwrap();
    let all = samples::everything(&cluster);
    assert!(all.len() >= 15, "{}", all.len());
    for (key, object) in &all {
        let name = object["metadata"]["name"].as_str().unwrap();
        assert!(name.len() <= 63 && label.is_match(name), "{key}");
        for (label, text) in object["metadata"]["labels"].as_object().unwrap() {
            let text = text.as_str().unwrap();
            assert!(text.len() <= 63 && value.is_match(text), "{key} {label}");
        }
    }
    let pod = &all[&format!("Pod/{name}-8")]["spec"];
    for field in ["hostname", "subdomain"] {
        assert!(pod[field].as_str().unwrap().len() <= 63, "{field}");
    }
    for name in objects::server_names(&cluster) {
        assert!(
            name.len() <= 253 && name.split('.').all(|label| label.len() <= 63),
            "{name}"
        );
    }
}

#[test]
fn all_objects_can_be_told_to_be_the_clusters() {
    let all = samples::everything(&samples::cluster(samples::EVERYTHING));
    for (key, object) in all {
        let labels = &object["metadata"]["labels"];
        assert_eq!(labels["mysql.holdfast.dev/cluster"], "orders", "{key}");
        assert_eq!(labels["app.kubernetes.io/managed-by"], "holdfast", "{key}");
        assert_eq!(labels["app.kubernetes.io/name"], "mysql", "{key}");
        assert_eq!(object["metadata"]["namespace"], "shop", "{key}");
        let is_of_member = key.starts_with("Pod/") || key.starts_with("PersistentVolumeClaim/");
        assert_eq!(
            labels["mysql.holdfast.dev/member"].is_string(),
            is_of_member,
            "{key}"
        );
    }
}

#[test]
fn a_slice_holds_addresses_of_the_services_family() {
    let cluster = samples::cluster(samples::MINIMAL);
    let slice = |family, ip: &str| {
        let endpoints = BTreeSet::from([samples::endpoint("orders-0", ip)]);
        endpoint_slice(&cluster, Which::Primary, family, 7, &endpoints)
    };
    let six = slice(Family::IPv6, "fd00:0:0::7").unwrap();
    assert_eq!(six.address_type, "IPv6");
    assert_eq!(six.endpoints[0].addresses, ["fd00::7"]);
    for (family, ip) in [
        (Family::IPv4, "fd00::7"),
        (Family::IPv6, "10.0.0.7"),
        (Family::IPv4, "orders-0"),
        (Family::IPv4, ""),
    ] {
        assert!(matches!(slice(family, ip), Err(Error::Address { .. })), "{ip}");
    }
}

#[test]
fn what_a_slice_says_is_read_back() {
    let cluster = samples::cluster(samples::MINIMAL);
    let wanted = BTreeSet::from([
        samples::endpoint("orders-0", "10.0.0.7"),
        samples::endpoint("orders-2", "10.0.0.9"),
    ]);
    let mut slice = endpoint_slice(&cluster, Which::Replicas, Family::IPv4, u64::MAX, &wanted).unwrap();
    assert_eq!(epoch(&slice), Some(u64::MAX));
    let found: Vec<_> = exposed(&slice)
        .into_iter()
        .map(|one| (one.member, one.ip))
        .collect();
    let said: Vec<_> = wanted.into_iter().map(|one| (one.member, one.ip)).collect();
    assert_eq!(found, said);
    slice.metadata.annotations = None;
    assert_eq!(epoch(&slice), None);
}

#[test]
fn the_family_is_that_of_the_live_service() {
    let mut service =
        objects::bundle(&samples::cluster(samples::MINIMAL), &samples::inputs()).service_primary;
    assert_eq!(Family::of(&service), Family::IPv4);
    service.spec.get_or_insert_default().ip_families = Some(vec!["IPv6".into(), "IPv4".into()]);
    assert_eq!(Family::of(&service), Family::IPv6);
}
