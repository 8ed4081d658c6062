//! What MySQL prints and accepts as GTID text, read and printed.
//! Must not need a server: what one said is written down here.

#![cfg(test)]

use topology::gtid::{Error, Gtid, GtidSet, Source, TEXT_LIMIT_BYTES, Tag, Uuid};

const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
const B: &str = "83fa4a1b-71ca-11e1-9e33-c80aa9429562";

fn read(text: &str) -> GtidSet {
    text.parse().unwrap()
}

fn refused(text: &str) -> Error {
    text.parse::<GtidSet>().expect_err(text)
}

#[test]
fn one_text_for_every_spelling_of_a_set() {
    let canonical = format!("{A}:1-3:11:tag:5-6:tag_2:1,\n{B}:7");
    let upper = A.to_uppercase();
    for spelling in [
        canonical.clone(),
        format!("{A}:1-3:11:tag:5-6:tag_2:1,{B}:7"),
        format!("  {B} : 7 ,\r\n\t{A} : 1 - 3 : 11 : Tag : 5-6 : TAG_2 : 1  \n"),
        format!("{upper}:11:1:2:3,{B}:7,{A}:tag:6:5,{A}:tag_2:1"),
        format!(",,{A}:2-3:1-2:11:tag:5:tag_2:1:tag:6, ,{B}:7-7,"),
        format!("{A}:tag_2:1:tag:5-6,{A}:1-3:11,{B}:7"),
        format!("{A}:9-4:1-3:11:tag:5-6:empty:3-2:tag_2:1,{B}:7"),
        format!("{A}:001-03:11:tag:5-6:tag_2:1,\n{B}:07"),
    ] {
        assert_eq!(read(&spelling).to_string(), canonical, "{spelling}");
    }
}

#[test]
fn nothing_is_a_set_too() {
    for text in ["", " ", "\n", ",", " , ,\n"] {
        assert!(read(text).is_empty(), "{text:?}");
        assert_eq!(read(text).to_string(), "");
    }
    // Only empty ranges: the server agrees that this is an empty set.
    assert!(read(&format!("{A}:5-3")).is_empty());
}

/// Each was given to `GTID_SUBTRACT(text, '')` of 9.7.4, which said this.
#[test]
fn odd_spellings_read_as_the_server_reads_them() {
    for (text, printed) in [
        (A.replace('-', "") + ":1", format!("{A}:1")),
        (format!("{{{A}}}:1"), format!("{A}:1")),
        (format!("{A}:1,,{B}:1"), format!("{A}:1,\n{B}:1")),
        (
            format!("{A}:_x:1:b9:2:b_:3:ba:4"),
            format!("{A}:_x:1:b9:2:b_:3:ba:4"),
        ),
        (
            format!("{A}:{}:1", "t".repeat(32)),
            format!("{A}:{}:1", "t".repeat(32)),
        ),
        (format!("{A}:9-4:1-3"), format!("{A}:1-3")),
        (A.to_owned(), String::new()),
        (format!("{A}:5-0"), String::new()),
    ] {
        assert_eq!(read(&text).to_string(), printed, "{text}");
    }
}

#[test]
fn what_is_no_set_is_refused_with_its_place() {
    for (text, said) in [
        (
            "x",
            "failed to read GTIDs at byte 0: expected a UUID, found \"x\"",
        ),
        (
            &format!("{A} 1"),
            "failed to read GTIDs at byte 37: expected a colon, a comma or the end, found \"1\"",
        ),
        (
            &format!("{A}:"),
            "failed to read GTIDs at byte 37: expected a transaction number, found \"\"",
        ),
        (
            &format!("{A}:1-"),
            "failed to read GTIDs at byte 39: expected a transaction number, found \"\"",
        ),
        (
            &format!("{A}:1 2"),
            "failed to read GTIDs at byte 39: expected a colon, a comma or the end, found \"2\"",
        ),
        (
            &format!("{A}:tag"),
            "failed to read GTIDs at byte 40: expected a colon, found \"\"",
        ),
        (
            &format!("{A}:tag:"),
            "failed to read GTIDs at byte 41: expected a transaction number, found \"\"",
        ),
        (
            &format!("{A}:tag:other:1"),
            "failed to read GTIDs at byte 41: expected a transaction number, found \"other:1\"",
        ),
        (
            &format!("{A}:1é"),
            "failed to read GTIDs at byte 38: expected a colon, a comma or the end, found \"é\"",
        ),
        (
            &format!("{A}:0"),
            "failed to read GTIDs at byte 37: a transaction number lies between 1 and 9223372036854775806",
        ),
        (
            &format!("{A}:1-99999999999999999999999"),
            "failed to read GTIDs at byte 39: a transaction number lies between 1 and 9223372036854775806",
        ),
    ] {
        assert_eq!(refused(text).to_string(), said);
    }
    assert_eq!(
        refused(&format!("{A}:{}:1", "t".repeat(33))),
        Error::TagTooLong { at: 37 }
    );
    for text in [
        format!("{A}:1:"),
        format!("{A}:+1"),
        format!("{A}::1"),
        format!("{A}:1;{B}:1"),
        format!("{{{A}:1"),
    ] {
        refused(&text);
    }
    let no_uuid = A.replace('-', "+");
    assert!(matches!(refused(&no_uuid), Error::Unexpected { at: 0, .. }));
}

#[test]
fn errors_and_input_are_bounded() {
    let long = "é".repeat(100_000);
    assert!(refused(&long).to_string().len() < 160, "{}", refused(&long));
    let too_long = " ".repeat(TEXT_LIMIT_BYTES + 1);
    assert_eq!(
        refused(&too_long),
        Error::TooLong {
            bytes: TEXT_LIMIT_BYTES + 1
        }
    );
}

#[test]
fn numbers_reach_to_the_servers_limit() {
    let last = 9_223_372_036_854_775_806_u64;
    let all = read(&format!("{A}:1-{last}"));
    assert_eq!(all.count(), u128::from(last));
    let full_twice = all.union(&read(&format!("{B}:t:1-{last}")));
    assert_eq!(full_twice.count(), 2 * u128::from(last));
    let mut rest = all.subtract(&read(&format!("{A}:{last}")));
    assert_eq!(rest.to_string(), format!("{A}:1-{}", last - 1));
    rest.insert(format!("{A}:{last}").parse().unwrap());
    assert_eq!(rest, all);
    assert!(read(&format!("{A}:{last}")).is_subset(&all));
}

#[test]
fn one_gtid_is_read_and_printed() {
    let plain: Gtid = format!(" {A} : 7 ").parse().unwrap();
    assert_eq!(plain.to_string(), format!("{A}:7"));
    assert_eq!((plain.source().tag.clone(), plain.number()), (None, 7));
    let tagged: Gtid = format!("{A}:Holdfast:7").parse().unwrap();
    assert_eq!(tagged.to_string(), format!("{A}:holdfast:7"));
    assert_eq!(tagged.source().to_string(), format!("{A}:holdfast"));
    for text in [
        format!("{A}:1-2"),
        format!("{A}:0"),
        format!("{A}:t"),
        format!("{A}:1,{B}:1"),
        String::new(),
    ] {
        assert!(text.parse::<Gtid>().is_err(), "{text}");
    }
}

#[test]
fn a_gtid_can_be_built_from_its_parts() {
    let uuid: Uuid = A.parse().unwrap();
    assert_eq!(Uuid::from_bytes(*uuid.as_bytes()).to_string(), A);
    let tag: Tag = "Epoch_1".parse().unwrap();
    assert_eq!(tag.as_str(), "epoch_1");
    assert!("1st".parse::<Tag>().is_err() && "".parse::<Tag>().is_err() && "a-b".parse::<Tag>().is_err());
    let source = Source { uuid, tag: Some(tag) };
    assert_eq!(
        Gtid::new(source.clone(), 3).unwrap().to_string(),
        format!("{A}:epoch_1:3")
    );
    assert!(Gtid::new(source.clone(), 0).is_err());
    assert!(Gtid::new(source, u64::MAX).is_err());
}

#[test]
fn a_tag_is_another_source_than_none() {
    let plain = read(&format!("{A}:1-5"));
    let tagged = read(&format!("{A}:tag:1-5"));
    assert!(!plain.is_subset(&tagged) && !tagged.is_subset(&plain));
    assert!(plain.intersect(&tagged).is_empty());
    assert_eq!(plain.union(&tagged).to_string(), format!("{A}:1-5:tag:1-5"));
}

#[test]
fn what_people_see_of_it_in_a_log_is_its_text() {
    let all = read(&format!("{A}:tag:5-6"));
    assert_eq!(format!("{all:?}"), format!("{{{all}}}"));
    let source = all.sources().next().unwrap();
    let tag = source.tag.clone().unwrap();
    let gtid = Gtid::new(source.clone(), 5).unwrap();
    assert_eq!(
        (format!("{:?}", source.uuid), format!("{tag:?}")),
        (A.to_owned(), tag.to_string())
    );
    assert_eq!(
        (format!("{source:?}"), format!("{gtid:?}")),
        (source.to_string(), gtid.to_string())
    );
}
