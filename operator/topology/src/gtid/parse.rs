//! Reading GTID text in every spelling that MySQL prints or accepts.
//! Must not take time or memory beyond the text's own length, nor echo more than a word of it.

use std::collections::BTreeMap;

use super::interval::{Interval, Intervals, LAST_NUMBER};
use super::{Gtid, GtidSet, Source, Tag, Uuid};

/// A server with a million gaps prints about this much; more is a mistake or an attack.
pub const TEXT_LIMIT_BYTES: usize = 32 << 20;

const TAG_LIMIT_BYTES: usize = 32;
/// How much of the offending text an error shows.
const SHOWN_BYTES: usize = 24;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("failed to read GTIDs: {bytes} bytes of text, the limit is {TEXT_LIMIT_BYTES}")]
    TooLong { bytes: usize },
    #[error("failed to read GTIDs at byte {at}: expected {expected}, found {found:?}")]
    Unexpected {
        at: usize,
        expected: &'static str,
        found: String,
    },
    #[error("failed to read GTIDs at byte {at}: a transaction number lies between 1 and {LAST_NUMBER}")]
    Number { at: usize },
    #[error("failed to read GTIDs at byte {at}: a tag has at most {TAG_LIMIT_BYTES} characters")]
    TagTooLong { at: usize },
}

pub(super) fn gtid_set(text: &str) -> Result<GtidSet, Error> {
    let mut cursor = Cursor::new(text)?;
    let mut found = BTreeMap::new();
    loop {
        // The server ignores empty parts: `,,uuid:1,` is a set of one.
        while cursor.take(b',') {}
        if cursor.is_done() {
            break;
        }
        uuid_set(&mut cursor, &mut found)?;
        if !cursor.is_done() && cursor.peek() != Some(b',') {
            return Err(cursor.unexpected("a colon, a comma or the end"));
        }
    }
    let normal = found
        .into_iter()
        .map(|(source, ranges)| (source, Intervals::from_unsorted(ranges)));
    Ok(GtidSet {
        sources: normal.filter(|(_, numbers)| !numbers.is_empty()).collect(),
    })
}

pub(super) fn gtid(text: &str) -> Result<Gtid, Error> {
    let mut cursor = Cursor::new(text)?;
    let uuid = cursor.uuid()?;
    cursor.colon()?;
    let tag = match cursor.peek() {
        Some(letter) if begins_tag(letter) => {
            let tag = cursor.tag()?;
            cursor.colon()?;
            Some(tag)
        }
        _ => None,
    };
    let number = cursor.number()?;
    cursor.end()?;
    Ok(Gtid {
        source: Source { uuid, tag },
        number,
    })
}

pub(super) fn uuid(text: &str) -> Result<Uuid, Error> {
    let mut cursor = Cursor::new(text)?;
    let uuid = cursor.uuid()?;
    cursor.end()?;
    Ok(uuid)
}

pub(super) fn tag(text: &str) -> Result<Tag, Error> {
    let mut cursor = Cursor::new(text)?;
    let tag = cursor.tag()?;
    cursor.end()?;
    Ok(tag)
}

/// `uuid:1-3:5:tag:1-2`: a tag holds for the numbers behind it, until the next tag.
fn uuid_set(cursor: &mut Cursor<'_>, found: &mut BTreeMap<Source, Vec<Interval>>) -> Result<(), Error> {
    let mut source = Source {
        uuid: cursor.uuid()?,
        tag: None,
    };
    if !cursor.take(b':') {
        // The server reads a UUID alone as no numbers of it.
        return Ok(());
    }
    let mut ranges = Vec::new();
    loop {
        if cursor.peek().is_some_and(begins_tag) {
            let tag = cursor.tag()?;
            let before = source.tag.replace(tag);
            let closed = Source {
                uuid: source.uuid,
                tag: before,
            };
            found.entry(closed).or_default().append(&mut ranges);
            cursor.colon()?;
        }
        let first = cursor.number()?;
        let last = if cursor.take(b'-') {
            cursor.number_or_zero()?
        } else {
            first
        };
        // The server reads a range that ends before it begins as no numbers at all.
        if first <= last {
            ranges.push(Interval { first, last });
        }
        if !cursor.take(b':') {
            break;
        }
    }
    found.entry(source).or_default().append(&mut ranges);
    Ok(())
}

fn begins_tag(letter: u8) -> bool {
    letter.is_ascii_alphabetic() || letter == b'_'
}

/// A place in the text; the space before it is skipped already.
struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn new(text: &'a str) -> Result<Self, Error> {
        if text.len() > TEXT_LIMIT_BYTES {
            return Err(Error::TooLong { bytes: text.len() });
        }
        let mut cursor = Self {
            text: text.as_bytes(),
            at: 0,
        };
        cursor.skip_space();
        Ok(cursor)
    }

    fn skip_space(&mut self) {
        while self
            .peek()
            .is_some_and(|letter| letter.is_ascii_whitespace() || letter == 0x0b)
        {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn is_done(&self) -> bool {
        self.at >= self.text.len()
    }

    fn take(&mut self, letter: u8) -> bool {
        let found = self.peek() == Some(letter);
        if found {
            self.at += 1;
            self.skip_space();
        }
        found
    }

    fn colon(&mut self) -> Result<(), Error> {
        if self.take(b':') {
            Ok(())
        } else {
            Err(self.unexpected("a colon"))
        }
    }

    fn end(&self) -> Result<(), Error> {
        if self.is_done() {
            Ok(())
        } else {
            Err(self.unexpected("the end"))
        }
    }

    fn unexpected(&self, expected: &'static str) -> Error {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let shown = &rest[..rest.len().min(SHOWN_BYTES)];
        Error::Unexpected {
            at: self.at,
            expected,
            found: String::from_utf8_lossy(shown).into_owned(),
        }
    }

    /// With dashes or without, in braces or not: the server takes all four.
    fn uuid(&mut self) -> Result<Uuid, Error> {
        let wrong = || self.unexpected("a UUID");
        let rest = self.text.get(self.at..).unwrap_or_default();
        let is_braced = rest.first() == Some(&b'{');
        let text = &rest[usize::from(is_braced)..];
        let is_dashed = text.get(8) == Some(&b'-');
        let length = if is_dashed { 36 } else { 32 };
        let mut bytes = [0; 16];
        let mut digits = 0;
        for (at, letter) in text.get(..length).ok_or_else(wrong)?.iter().enumerate() {
            if is_dashed && matches!(at, 8 | 13 | 18 | 23) {
                if *letter != b'-' {
                    return Err(wrong());
                }
                continue;
            }
            let Some(digit) = char::from(*letter).to_digit(16) else {
                return Err(wrong());
            };
            bytes[digits / 2] = bytes[digits / 2] << 4 | digit as u8;
            digits += 1;
        }
        if is_braced && text.get(length) != Some(&b'}') {
            return Err(wrong());
        }
        self.at += length + 2 * usize::from(is_braced);
        self.skip_space();
        Ok(Uuid(bytes))
    }

    fn tag(&mut self) -> Result<Tag, Error> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        if !rest.first().copied().is_some_and(begins_tag) {
            return Err(self.unexpected("a tag"));
        }
        let length = rest
            .iter()
            .take_while(|l| l.is_ascii_alphanumeric() || **l == b'_')
            .count();
        if length > TAG_LIMIT_BYTES {
            return Err(Error::TagTooLong { at: self.at });
        }
        let tag = rest[..length]
            .iter()
            .map(|letter| char::from(letter.to_ascii_lowercase()))
            .collect();
        self.at += length;
        self.skip_space();
        Ok(Tag(tag))
    }

    fn number(&mut self) -> Result<u64, Error> {
        let begin = self.at;
        match self.number_or_zero()? {
            0 => Err(Error::Number { at: begin }),
            number => Ok(number),
        }
    }

    /// Zero may end a range, which is then empty.
    fn number_or_zero(&mut self) -> Result<u64, Error> {
        let begin = self.at;
        let mut number: u64 = 0;
        while let Some(digit) = self.peek().filter(u8::is_ascii_digit) {
            let next = number
                .checked_mul(10)
                .and_then(|n| n.checked_add(u64::from(digit - b'0')));
            number = next
                .filter(|n| *n <= LAST_NUMBER)
                .ok_or(Error::Number { at: begin })?;
            self.at += 1;
        }
        if self.at == begin {
            return Err(self.unexpected("a transaction number"));
        }
        self.skip_space();
        Ok(number)
    }
}
