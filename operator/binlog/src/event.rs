//! Events one after another: header, as much of the body as is asked for, checksum.
//! Must not hold more of an event than the limit, however long it says it is.

use std::io::{self, Read};

use crate::group::Shape;
use crate::{Error, payload};

pub(crate) const HEADER_BYTES: usize = 19;
pub(crate) const CHECKSUM_BYTES: usize = 4;
/// In the header's flags, of the first event: the log was not closed.
pub(crate) const IN_USE: u16 = 1;
/// Where the flags stand in a header.
pub(crate) const FLAGS_AT: usize = 17;
/// Read at a time of a body that nobody looks at.
const CHUNK_BYTES: usize = 64 << 10;

/// Kinds of events, by their number on the disk.
pub(crate) mod kind {
    pub(crate) const QUERY: u8 = 2;
    pub(crate) const STOP: u8 = 3;
    pub(crate) const ROTATE: u8 = 4;
    pub(crate) const FORMAT: u8 = 15;
    pub(crate) const XID: u8 = 16;
    pub(crate) const TABLE_MAP: u8 = 19;
    pub(crate) const ROWS_V1: std::ops::RangeInclusive<u8> = 23..=25;
    pub(crate) const ROWS_QUERY: u8 = 29;
    pub(crate) const ROWS: std::ops::RangeInclusive<u8> = 30..=32;
    pub(crate) const GTID: u8 = 33;
    pub(crate) const ANONYMOUS: u8 = 34;
    pub(crate) const PREVIOUS: u8 = 35;
    pub(crate) const XA_PREPARE: u8 = 38;
    pub(crate) const PARTIAL_UPDATE: u8 = 39;
    pub(crate) const PAYLOAD: u8 = 40;
    pub(crate) const TAGGED_GTID: u8 = 42;
}

/// So much is kept of a body.
pub(crate) fn kept_bytes(kind: u8) -> usize {
    match kind {
        // Sets of many servers with many gaps.
        kind::PREVIOUS => 16 << 20,
        // Status variables, two names, and the beginning of the statement.
        kind::QUERY => 70_000,
        kind::FORMAT | kind::GTID | kind::TAGGED_GTID => 4_096,
        _ => 0,
    }
}

pub(crate) struct Event {
    pub(crate) at: u64,
    pub(crate) kind: u8,
    pub(crate) flags: u16,
    /// Its beginning, without the checksum.
    pub(crate) body: Vec<u8>,
    /// What a compressed transaction is.
    pub(crate) inner: Option<Shape>,
}

/// What comes next in a log.
pub(crate) enum Next {
    Event(Event),
    /// Nothing.
    End,
    /// The beginning of an event.
    Torn,
}

pub(crate) struct Events<R> {
    input: R,
    /// Where the next one begins.
    pub(crate) at: u64,
    has_checksums: bool,
    /// Compressed transactions are unpacked.
    unpacks: bool,
}

impl<R: Read> Events<R> {
    pub(crate) fn new(input: R, at: u64, has_checksums: bool, unpacks: bool) -> Self {
        Self {
            input,
            at,
            has_checksums,
            unpacks,
        }
    }

    pub(crate) fn next(&mut self) -> Result<Next, Error> {
        let mut header = [0; HEADER_BYTES];
        match fill(&mut self.input, &mut header)? {
            0 => return Ok(Next::End),
            HEADER_BYTES => {}
            _ => return Ok(Next::Torn),
        }
        let (at, kind) = (self.at, header[4]);
        let length = u32::from_le_bytes([header[9], header[10], header[11], header[12]]);
        let flags = u16::from_le_bytes([header[FLAGS_AT], header[FLAGS_AT + 1]]);
        let sum_bytes = if self.has_checksums { CHECKSUM_BYTES } else { 0 };
        let Some(body_bytes) = (length as usize).checked_sub(HEADER_BYTES + sum_bytes) else {
            let why = "it is shorter than its own header";
            return Err(Error::Event { at, why });
        };
        if kind == kind::FORMAT {
            // The checksum is that of a log that was closed.
            header[FLAGS_AT] &= !IN_USE.to_le_bytes()[0];
        }
        let mut body = Body::new(&mut self.input, &header, body_bytes as u64);
        let mut kept = vec![0; body_bytes.min(kept_bytes(kind))];
        let have = fill(&mut body, &mut kept)?;
        kept.truncate(have);
        let looked = (self.unpacks && kind == kind::PAYLOAD).then(|| payload::look(&mut body, at));
        let Some(sum) = body.finish()? else {
            return Ok(Next::Torn);
        };
        let mut found = [0; CHECKSUM_BYTES];
        if fill(&mut self.input, &mut found[..sum_bytes])? < sum_bytes {
            return Ok(Next::Torn);
        }
        if self.has_checksums && u32::from_le_bytes(found) != sum {
            return Err(Error::Checksum { at });
        }
        self.at += u64::from(length);
        Ok(Next::Event(Event {
            at,
            kind,
            flags,
            body: kept,
            inner: looked.transpose()?,
        }))
    }
}

/// The body of one event, summed up while it is read.
struct Body<'a> {
    input: &'a mut dyn Read,
    left: u64,
    sum: crc32fast::Hasher,
}

impl<'a> Body<'a> {
    fn new(input: &'a mut dyn Read, header: &[u8], left: u64) -> Self {
        let mut sum = crc32fast::Hasher::new();
        sum.update(header);
        Self { input, left, sum }
    }

    /// Reads what nobody looked at; `None` where the log ends before the event does.
    fn finish(mut self) -> Result<Option<u32>, Error> {
        let mut chunk = vec![0; CHUNK_BYTES.min(usize::try_from(self.left).unwrap_or(CHUNK_BYTES))];
        while self.left > 0 {
            if fill(&mut self, &mut chunk)? == 0 {
                return Ok(None);
            }
        }
        Ok(Some(self.sum.finalize()))
    }
}

impl Read for Body<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let most = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let have = self.input.read(&mut bytes[..most])?;
        self.sum.update(&bytes[..have]);
        self.left -= have as u64;
        Ok(have)
    }
}

/// As many bytes as there are.
pub(crate) fn fill(input: &mut impl Read, bytes: &mut [u8]) -> Result<usize, Error> {
    let mut have = 0;
    while have < bytes.len() {
        match input.read(&mut bytes[have..]) {
            Ok(0) => break,
            Ok(more) => have += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(have)
}
