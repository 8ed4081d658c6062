//! Logs that mysqld 9.7.4 wrote, and the same cut off, damaged and made up.
//! Must not need a mysqld.

use proptest::prelude::*;

use crate::{Ending, Error, Group, Log, Shape};

const SUMS: &[u8] = include_bytes!("tests/mysqld-9.7.4-sums.binlog");
const BARE: &[u8] = include_bytes!("tests/mysqld-9.7.4-bare.binlog");
const SERVER: &str = "283f33ca-e642-11f1-9843-02fc00000001";

fn read(bytes: &[u8]) -> Result<(Vec<Group>, Ending), Error> {
    let mut log = Log::open(bytes)?;
    let mut groups = Vec::new();
    while let Some(group) = log.next_group()? {
        groups.push(group);
    }
    Ok((groups, log.ending()))
}

fn shape_of(groups: &[Group], gtid: &str) -> Shape {
    let gtid = gtid.replace("server", SERVER).parse().unwrap();
    groups.iter().find(|group| group.gtid == gtid).unwrap().shape
}

#[test]
fn what_a_server_wrote_is_told_apart() {
    let log = Log::open(SUMS).unwrap();
    assert_eq!(log.previous(), &format!("{SERVER}:1-2").parse().unwrap());
    assert!(!log.is_in_use());
    let (groups, ending) = read(SUMS).unwrap();
    assert_eq!(ending, Ending::Closed);
    let far = "eeeeeeee-eeee-eeee-eeee-eeeeeeeeeeee:70000";
    for gtid in [
        "server:blue:1",
        far,
        "server:3",
        "server:4",
        "server:5",
        "server:6",
    ] {
        assert_eq!(shape_of(&groups, gtid), Shape::Rows, "{gtid}");
    }
    let why = |gtid| match shape_of(&groups, gtid) {
        Shape::Other(why) => why,
        Shape::Rows => panic!("{gtid} is not rows alone"),
    };
    // Made of a table's definition and its rows.
    assert_eq!(why("server:7"), "it has a statement among its rows");
    assert_eq!(why("server:8"), "it prepares an XA transaction");
    assert_eq!(why("server:9"), "it ends an XA transaction");
    assert_eq!(why("server:10"), "it prepares an XA transaction");
    for gtid in ["server:11", "server:13", "server:14"] {
        assert_eq!(why(gtid), "it is a statement, not rows: a definition, say");
    }
    assert_eq!(
        why("server:12"),
        "its tables are of an engine without transactions"
    );
    // The number that a statement took comes before it.
    assert_eq!(why("server:15"), "it has an event that is not known");
    // One ends where the next begins.
    let ends = groups.windows(2).all(|pair| pair[0].end == pair[1].at);
    assert!(ends && groups.len() == 15);
}

#[test]
fn a_log_without_checksums_is_read_and_is_seen_to_be_open() {
    let log = Log::open(BARE).unwrap();
    assert!(log.is_in_use());
    assert_eq!(
        log.previous().to_string(),
        format!("{SERVER}:1-15:blue:1,\neeeeeeee-eeee-eeee-eeee-eeeeeeeeeeee:70000")
    );
    let (groups, ending) = read(BARE).unwrap();
    assert_eq!(ending, Ending::Open);
    let all: Vec<_> = groups
        .iter()
        .map(|group| (group.gtid.number(), group.shape))
        .collect();
    assert_eq!(all, [(16, Shape::Rows), (17, Shape::Rows), (18, Shape::Rows)]);
    // What is put before copied events is a log that was closed, and is one by itself.
    let head = log.head().to_vec();
    assert_eq!(head[..4], BARE[..4]);
    assert_eq!(head[21] & 1, 0);
}

#[test]
fn wherever_a_log_is_torn_its_whole_transactions_are_read() {
    for whole in [SUMS, BARE] {
        let (groups, _) = read(whole).unwrap();
        let begin = groups[0].at;
        for cut in usize::try_from(begin).unwrap()..whole.len() {
            let (found, ending) = read(&whole[..cut]).unwrap();
            let expected: Vec<_> = groups
                .iter()
                .filter(|group| group.end <= cut as u64)
                .cloned()
                .collect();
            assert_eq!(found, expected, "{cut}");
            let at = expected.last().map_or(begin, |group| group.end);
            match ending {
                Ending::Torn { at: torn } => assert_eq!(torn, at),
                Ending::Open => assert_eq!(at, cut as u64),
                Ending::Closed => panic!("{cut} is not the end"),
            }
        }
    }
}

#[test]
fn an_encrypted_log_and_other_files_are_no_logs() {
    assert!(matches!(read(b"\xfdbin and more"), Err(Error::Encrypted)));
    assert!(matches!(read(b""), Err(Error::NotALog)));
    assert!(matches!(read(&[0; 300]), Err(Error::NotALog)));
    let mut newer = SUMS.to_vec();
    newer[4 + 19] = 5;
    assert!(matches!(read(&newer), Err(Error::Format(_))));
}

#[test]
fn zeros_after_the_last_event_are_no_torn_event() {
    let mut zeros = BARE.to_vec();
    zeros.extend([0; 4_096]);
    assert!(matches!(read(&zeros), Err(Error::Event { .. })));
}

proptest! {
    #[test]
    fn a_changed_byte_is_noticed(at in 123_usize..SUMS.len(), with in 1..=255_u8) {
        let mut changed = SUMS.to_vec();
        changed[at] ^= with;
        let (whole, _) = read(SUMS).unwrap();
        match read(&changed) {
            Err(_) => {}
            // A length that points behind the end looks like a torn end.
            Ok((groups, ending)) => {
                let is_torn = matches!(ending, Ending::Torn { .. });
                prop_assert!(is_torn);
                prop_assert!(whole.starts_with(&groups));
            }
        }
    }

    #[test]
    fn no_bytes_are_too_strange(
        at in 4_usize..BARE.len(),
        noise in prop::collection::vec(any::<u8>(), 1..64),
    ) {
        let mut changed = BARE.to_vec();
        changed.splice(at..(at + noise.len()).min(BARE.len()), noise);
        let _ = read(&changed);
    }
}
