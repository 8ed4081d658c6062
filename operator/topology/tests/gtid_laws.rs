//! The laws of the set algebra, against a model too simple to be wrong.
//! Must not test text that MySQL prints: gtid_text.rs does.

#![cfg(test)]

use std::collections::BTreeSet;

use proptest::prelude::*;
use topology::gtid::{Gtid, GtidSet, Source, Uuid};

/// A transaction as the model knows it: which server, which tag, which number.
type Plain = (u8, u8, u64);
type Model = BTreeSet<Plain>;

fn gtid((server, tag, number): Plain) -> Gtid {
    let tag = ["", "a", "b_1"][usize::from(tag)];
    let tag = (!tag.is_empty()).then(|| tag.parse().unwrap());
    Gtid::new(
        Source {
            uuid: Uuid::from_bytes([server; 16]),
            tag,
        },
        number,
    )
    .unwrap()
}

fn set(model: &Model) -> GtidSet {
    let mut set = GtidSet::new();
    for plain in model {
        set.insert(gtid(*plain));
    }
    set
}

/// Small numbers, so that ranges meet, touch and overlap all the time.
fn plain() -> impl Strategy<Value = Plain> {
    (0..3_u8, 0..3_u8, 1..30_u64)
}

fn model() -> impl Strategy<Value = Model> {
    prop::collection::btree_set(plain(), 0..80)
}

/// Well-formed text in no particular order: the reader has to sort and join it.
fn spelled(gtids: &[Plain]) -> String {
    let parts: Vec<_> = gtids.iter().map(|plain| gtid(*plain).to_string()).collect();
    parts.join(",")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn operations_agree_with_the_model(left in model(), right in model()) {
        let (a, b) = (set(&left), set(&right));
        prop_assert_eq!(a.union(&b), set(&(&left | &right)));
        prop_assert_eq!(a.intersect(&b), set(&(&left & &right)));
        prop_assert_eq!(a.subtract(&b), set(&(&left - &right)));
        prop_assert_eq!(a.is_subset(&b), left.is_subset(&right));
        prop_assert_eq!(a.count(), left.len() as u128);
        prop_assert_eq!(a.is_empty(), left.is_empty());
    }

    #[test]
    fn subsets_are_recognised(left in model(), right in model()) {
        // Random pairs are hardly ever subsets: make some.
        let (a, b) = (set(&left), set(&right));
        prop_assert!(a.is_subset(&a.union(&b)) && b.is_subset(&a.union(&b)));
        prop_assert!(a.intersect(&b).is_subset(&a) && a.subtract(&b).is_subset(&a));
        prop_assert_eq!(a.is_subset(&b), a.subtract(&b).is_empty());
        for missing in &right {
            let mut fewer = right.clone();
            fewer.remove(missing);
            prop_assert!(set(&fewer).is_subset(&b) && !b.is_subset(&set(&fewer)));
        }
    }

    #[test]
    fn the_algebra_has_its_laws(x in model(), y in model(), z in model()) {
        let (a, b, c) = (set(&x), set(&y), set(&z));
        prop_assert_eq!(a.union(&b), b.union(&a));
        prop_assert_eq!(a.intersect(&b), b.intersect(&a));
        prop_assert_eq!(a.union(&b).union(&c), a.union(&b.union(&c)));
        prop_assert_eq!(a.intersect(&b.union(&c)), a.intersect(&b).union(&a.intersect(&c)));
        prop_assert_eq!(a.subtract(&b).union(&a.intersect(&b)), a.clone());
        prop_assert_eq!(a.subtract(&b.union(&c)), a.subtract(&b).subtract(&c));
        prop_assert!(a.subtract(&b).intersect(&b).is_empty());
        prop_assert_eq!(a.union(&a), a.clone());
        prop_assert!(a.subtract(&a).is_empty());
    }

    #[test]
    fn members_are_those_inserted_in_any_order(gtids in prop::collection::vec(plain(), 0..80), other in plain()) {
        let mut built = GtidSet::new();
        for plain in &gtids {
            built.insert(gtid(*plain));
        }
        let model: Model = gtids.iter().copied().collect();
        prop_assert_eq!(&built, &set(&model));
        prop_assert_eq!(built.contains(&gtid(other)), model.contains(&other));
        prop_assert!(gtids.iter().all(|plain| built.contains(&gtid(*plain))));
        prop_assert_eq!(spelled(&gtids).parse::<GtidSet>().unwrap(), built);
    }

    #[test]
    fn printed_text_reads_back_as_the_same_set(model in model()) {
        let printed = set(&model).to_string();
        let read: GtidSet = printed.parse().unwrap();
        prop_assert_eq!(&read, &set(&model));
        prop_assert_eq!(read.to_string(), printed);
    }

    #[test]
    fn large_numbers_behave_like_small_ones(numbers in prop::collection::vec(1..=i64::MAX as u64 - 1, 1..20)) {
        let source = Source { uuid: Uuid::from_bytes([7; 16]), tag: None };
        let mut set = GtidSet::new();
        for number in &numbers {
            set.insert(Gtid::new(source.clone(), *number).unwrap());
        }
        let unique: BTreeSet<_> = numbers.iter().collect();
        prop_assert_eq!(set.count(), unique.len() as u128);
        prop_assert_eq!(set.to_string().parse::<GtidSet>().unwrap(), set);
    }

    #[test]
    fn garbage_never_panics(text in any::<String>()) {
        let _ = text.parse::<GtidSet>();
        let _ = text.parse::<Gtid>();
    }

    #[test]
    fn near_misses_never_panic_and_what_reads_reads_again(
        text in "(3[eE]11fa47-71ca-11e1-9e33-c80aa942956[0-9é]|[:, \n0-9a-c_-]|:[0-9]{1,20}|:t[a-z]{0,34}:){0,12}",
    ) {
        if let Ok(set) = text.parse::<GtidSet>() {
            prop_assert_eq!(set.to_string().parse::<GtidSet>().unwrap(), set);
        }
    }
}
