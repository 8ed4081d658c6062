//! Bodies of the few events that are looked into: format, GTIDs, sets of GTIDs, statements.
//! Must not read past the end of what it was given.

use std::fmt::Write;

use topology::gtid::{Gtid, GtidSet, Source, Tag, Uuid};

/// Of one source in a set; a set of this many ranges is not one that a cluster makes.
const RANGES_LIMIT: u64 = 1 << 20;
const TAG_LIMIT_BYTES: usize = 32;
/// Of a statement: thread, time, lengths.
const QUERY_FIXED_BYTES: usize = 13;
/// Of the format: version, server, time, length of headers.
const FORMAT_FIXED_BYTES: usize = 57;

/// Takes from the front; `None` where too little is left.
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(front)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// As many ones at the low end of the first byte as bytes follow it; the rest is the number.
    fn variable(&mut self) -> Option<u64> {
        let first = self.byte()?;
        let more = first.trailing_ones() as usize;
        let mut bytes = [0; 8];
        if more == 8 {
            return self.u64();
        }
        bytes[0] = first;
        bytes[1..=more].copy_from_slice(self.take(more)?);
        // Of eight bytes, seven bits of the first are gone and the number is still whole.
        Some(u64::from_le_bytes(bytes) >> (more + 1))
    }

    /// The sign is the lowest bit.
    fn signed(&mut self) -> Option<i64> {
        let found = self.variable()?;
        let size = i64::try_from(found >> 1).ok()?;
        Some(if found & 1 == 0 { size } else { !size })
    }

    /// MySQL's own numbers with a length: of events that hold a compressed transaction.
    pub(crate) fn packed(&mut self) -> Option<u64> {
        match self.byte()? {
            small @ ..=250 => Some(u64::from(small)),
            252 => self.array().map(u16::from_le_bytes).map(u64::from),
            253 => {
                let [a, b, c] = self.array()?;
                Some(u64::from(u32::from_le_bytes([a, b, c, 0])))
            }
            254 => self.u64(),
            _ => None,
        }
    }
}

/// Whether events end with checksums; `None`: not a format that is known.
pub(crate) fn has_checksums(body: &[u8], whole: &[u8]) -> Option<bool> {
    let version = u16::from_le_bytes([*body.first()?, *body.get(1)?]);
    let header_bytes = *body.get(FORMAT_FIXED_BYTES - 1)?;
    let statement_bytes = *body.get(FORMAT_FIXED_BYTES + 1)?;
    if version != 4 || header_bytes != 19 || usize::from(statement_bytes) != QUERY_FIXED_BYTES {
        return None;
    }
    // The last byte before room for a checksum, which is there whether checksums are or not.
    let algorithm = whole.len().checked_sub(5).and_then(|at| whole.get(at))?;
    match algorithm {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

fn gtid_of(uuid: [u8; 16], tag: Option<Tag>, number: i64) -> Option<Gtid> {
    let source = Source {
        uuid: Uuid::from_bytes(uuid),
        tag,
    };
    Gtid::new(source, u64::try_from(number).ok()?).ok()
}

pub(crate) fn gtid(body: &[u8]) -> Option<Gtid> {
    let mut bytes = Bytes(body);
    let _flags = bytes.byte()?;
    let uuid = bytes.array()?;
    gtid_of(uuid, None, i64::try_from(bytes.u64()?).ok()?)
}

/// Version, size, the last field that must be understood; then fields by number, rising.
pub(crate) fn tagged_gtid(body: &[u8]) -> Option<Gtid> {
    let mut bytes = Bytes(body);
    let (version, _size, _needed) = (bytes.variable()?, bytes.variable()?, bytes.variable()?);
    if version != 1 || bytes.variable()? != 0 {
        return None;
    }
    let _flags = bytes.variable()?;
    if bytes.variable()? != 1 {
        return None;
    }
    let mut uuid = [0; 16];
    for byte in &mut uuid {
        *byte = u8::try_from(bytes.variable()?).ok()?;
    }
    if bytes.variable()? != 2 {
        return None;
    }
    let number = bytes.signed()?;
    if bytes.variable()? != 3 {
        return None;
    }
    gtid_of(uuid, tag(&mut bytes)?, number)
}

/// The outer `None`: not a tag.
fn tag(bytes: &mut Bytes<'_>) -> Option<Option<Tag>> {
    let length = usize::try_from(bytes.variable()?).ok()?;
    if length > TAG_LIMIT_BYTES {
        return None;
    }
    let text = std::str::from_utf8(bytes.take(length)?).ok()?;
    match text {
        "" => Some(None),
        text => text.parse().ok().map(Some),
    }
}

/// What is in earlier logs. The upper byte of the count says whether there are tags.
pub(crate) fn previous(body: &[u8]) -> Option<GtidSet> {
    let mut bytes = Bytes(body);
    let head = bytes.u64()?;
    let is_tagged = head >> 56 == 1;
    let sources = match is_tagged {
        true => (head >> 8) & 0xffff_ffff_ffff,
        false => head,
    };
    let mut text = String::new();
    for _ in 0..sources {
        let uuid = Uuid::from_bytes(bytes.array()?);
        let tag = if is_tagged { tag(&mut bytes)? } else { None };
        let ranges = bytes.u64()?;
        if ranges == 0 || ranges > RANGES_LIMIT {
            return None;
        }
        let comma = if text.is_empty() { "" } else { "," };
        write!(text, "{comma}{uuid}").ok()?;
        if let Some(tag) = tag {
            write!(text, ":{tag}").ok()?;
        }
        for _ in 0..ranges {
            let (first, end) = (bytes.u64()?, bytes.u64()?);
            write!(text, ":{first}-{}", end.checked_sub(1)?).ok()?;
        }
    }
    (bytes.0.is_empty()).then(|| text.parse().ok())?
}

/// The statement, or as much of it as was kept.
pub(crate) fn statement(body: &[u8]) -> Option<&[u8]> {
    let mut bytes = Bytes(body);
    let fixed = bytes.take(QUERY_FIXED_BYTES)?;
    let database_bytes = usize::from(fixed[8]);
    let variables_bytes = usize::from(u16::from_le_bytes([fixed[11], fixed[12]]));
    bytes.take(variables_bytes + database_bytes + 1)?;
    Some(bytes.0)
}
