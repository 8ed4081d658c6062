//! Sets of global transaction identifiers, tagged ones too, and their algebra.
//! Must not judge what a set means for a cluster, and must not panic on any text.
//!
//! Text follows the manual, "GTID Format and Storage": `uuid[:tag]:numbers`, tags since 8.3.
//! Printed as MySQL 9.7 prints `@@gtid_executed`, so that texts can be compared and stored.

mod interval;
mod parse;
mod text;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::str::FromStr;

use interval::{Intervals, LAST_NUMBER};
pub use parse::{Error, TEXT_LIMIT_BYTES};

/// A server's or a view's identity, the `server_uuid` of MySQL.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uuid([u8; 16]);

impl Uuid {
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uuid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse::uuid(text)
    }
}

/// The name of a group of transactions of one server: a letter or underscore, then letters,
/// digits and underscores, 32 in all. Kept in lower case, as the server does.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

impl Tag {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Tag {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse::tag(text)
    }
}

/// What numbers transactions: a server, and a tag if there is one. No tag sorts first.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Source {
    pub uuid: Uuid,
    pub tag: Option<Tag>,
}

impl From<Uuid> for Source {
    /// Without a tag.
    fn from(uuid: Uuid) -> Self {
        Self { uuid, tag: None }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tag {
            Some(tag) => write!(f, "{}:{tag}", self.uuid),
            None => write!(f, "{}", self.uuid),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One transaction. Its number lies between 1 and 2⁶³−2; the constructor sees to it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Gtid {
    source: Source,
    number: u64,
}

impl Gtid {
    pub fn new(source: Source, number: u64) -> Result<Self, Error> {
        if (1..=LAST_NUMBER).contains(&number) {
            Ok(Self { source, number })
        } else {
            Err(Error::Number { at: 0 })
        }
    }

    pub fn source(&self) -> &Source {
        &self.source
    }

    pub fn number(&self) -> u64 {
        self.number
    }
}

impl fmt::Display for Gtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.source, self.number)
    }
}

impl fmt::Debug for Gtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Gtid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse::gtid(text)
    }
}

/// A set of transactions. Two equal sets are equal values and print the same text.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct GtidSet {
    /// No source has an empty list.
    sources: BTreeMap<Source, Intervals>,
}

impl GtidSet {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// How many transactions are in it. 128 bits: each source alone may hold 2⁶³−2.
    pub fn count(&self) -> u128 {
        self.sources.values().map(Intervals::count).sum()
    }

    pub fn contains(&self, gtid: &Gtid) -> bool {
        self.sources
            .get(&gtid.source)
            .is_some_and(|numbers| numbers.contains(gtid.number))
    }

    pub fn insert(&mut self, gtid: Gtid) {
        self.sources.entry(gtid.source).or_default().insert(gtid.number);
    }

    /// What numbers the transactions in it.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        self.sources.keys()
    }

    /// The highest number of one source; 0 is none.
    pub fn highest(&self, source: &Source) -> u64 {
        self.sources.get(source).map_or(0, Intervals::last)
    }

    /// `GTID_SUBSET(self, other)`.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.sources.iter().all(|(source, numbers)| {
            other
                .sources
                .get(source)
                .is_some_and(|theirs| numbers.is_subset(theirs))
        })
    }

    /// What is in either.
    pub fn union(&self, other: &Self) -> Self {
        let mut sources = self.sources.clone();
        for (source, theirs) in &other.sources {
            match sources.entry(source.clone()) {
                Entry::Vacant(free) => drop(free.insert(theirs.clone())),
                Entry::Occupied(mut ours) => *ours.get_mut() = ours.get().union(theirs),
            }
        }
        Self { sources }
    }

    /// `GTID_SUBTRACT(self, other)`: what is in this set only.
    pub fn subtract(&self, other: &Self) -> Self {
        let rest = self.sources.iter().filter_map(|(source, numbers)| {
            let rest = match other.sources.get(source) {
                Some(theirs) => numbers.subtract(theirs),
                None => numbers.clone(),
            };
            (!rest.is_empty()).then(|| (source.clone(), rest))
        });
        Self {
            sources: rest.collect(),
        }
    }

    /// Without all that this source numbered.
    pub fn without(mut self, is_left_out: impl Fn(&Source) -> bool) -> Self {
        self.sources.retain(|source, _| !is_left_out(source));
        self
    }

    /// What is in both.
    pub fn intersect(&self, other: &Self) -> Self {
        let common = self.sources.iter().filter_map(|(source, numbers)| {
            let common = numbers.intersect(other.sources.get(source)?);
            (!common.is_empty()).then(|| (source.clone(), common))
        });
        Self {
            sources: common.collect(),
        }
    }
}

impl FromStr for GtidSet {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse::gtid_set(text)
    }
}

impl fmt::Display for GtidSet {
    /// `uuid:1-3:tag:5,\nuuid:1`: each server once, untagged numbers first, then tag by tag.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = None;
        for (source, numbers) in &self.sources {
            if last != Some(source.uuid) {
                f.write_str(if last.is_some() { ",\n" } else { "" })?;
                write!(f, "{}", source.uuid)?;
                last = Some(source.uuid);
            }
            if let Some(tag) = &source.tag {
                write!(f, ":{tag}")?;
            }
            for range in numbers.iter() {
                match range.first == range.last {
                    true => write!(f, ":{}", range.first)?,
                    false => write!(f, ":{}-{}", range.first, range.last)?,
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}
