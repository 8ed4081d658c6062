//! The record as a ConfigMap and back.
//! Must not accept half of one.

use objects::record::{Error, KEY, read_record, record};

use crate::samples;

#[test]
fn a_record_is_read_as_it_was_written() {
    let cluster = samples::cluster(samples::MINIMAL);
    let written = record(&cluster, &samples::record()).unwrap();
    assert_eq!(read_record(&written).unwrap(), samples::record());
    let owners = written.metadata.owner_references.unwrap();
    assert_eq!(owners.len(), 1);
    assert_eq!(
        (&*owners[0].uid, owners[0].controller),
        (&*cluster.uid, Some(true))
    );
}

#[test]
fn what_is_no_record_is_an_error() {
    let cluster = samples::cluster(samples::MINIMAL);
    let mut map = record(&cluster, &samples::record()).unwrap();
    let whole = map.data.as_ref().unwrap()[KEY].clone();
    for broken in [
        "",
        "{}",
        "null",
        &whole[..whole.len() - 1],
        &whole.replace("\"primary\"", "\"primarily\""),
    ] {
        map.data.as_mut().unwrap().insert(KEY.into(), broken.into());
        assert!(matches!(read_record(&map), Err(Error::Unreadable(_))), "{broken}");
    }
    map.data = None;
    assert!(matches!(read_record(&map), Err(Error::Missing)));
}

#[test]
fn a_record_of_a_newer_program_is_left_to_it() {
    let mut map = record(&samples::cluster(samples::MINIMAL), &samples::record()).unwrap();
    let whole = map.data.as_ref().unwrap()[KEY].clone();
    let mut read = |text: String| {
        map.data.as_mut().unwrap().insert(KEY.into(), text);
        read_record(&map)
    };
    let more = whole.replacen('{', "{\"frozenUntil\":7,", 1);
    assert!(matches!(read(more), Err(Error::Newer(path)) if path == "frozenUntil"));
    let deeper = whole.replace("\"orders-2\":{", "\"orders-2\":{\"weight\":2");
    assert_ne!(deeper, whole);
    assert!(matches!(read(deeper), Err(Error::Newer(path)) if path == "voters.orders-2.weight"));
    let nothing = whole.replacen('{', "{\"frozenUntil\":null,\"isFrozen\":false,", 1);
    assert_eq!(read(nothing).unwrap(), samples::record());
}

#[test]
fn a_record_too_large_for_a_config_map_is_refused() {
    let cluster = samples::cluster(samples::MINIMAL);
    let mut large = samples::record();
    large.primary = "x".repeat(1_000_001);
    assert!(matches!(record(&cluster, &large), Err(Error::TooLarge(_))));
}
