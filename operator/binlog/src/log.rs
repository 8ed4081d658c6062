//! One log from its first byte on: what came before it, its transactions, how it ends.
//! Must not take a log that is damaged in its middle for one that is torn at its end.

use std::io::Read;

use topology::gtid::{Gtid, GtidSet};

use crate::event::{CHECKSUM_BYTES, Event, Events, HEADER_BYTES, IN_USE, Next, fill, kind};
use crate::group::{Building, Group, Step};
use crate::{Error, body};

const MAGIC: [u8; 4] = *b"\xfebin";
const MAGIC_ENCRYPTED: [u8; 4] = *b"\xfdbin";
/// The first event has a hundred bytes or so.
const FORMAT_LIMIT_BYTES: usize = 4_096;

/// How a log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its server closed it, or went on in another.
    Closed,
    /// After a whole transaction.
    Open,
    /// In the middle of a transaction, which begins here.
    Torn { at: u64 },
}

pub struct Log<R> {
    events: Events<R>,
    is_in_use: bool,
    previous: GtidSet,
    head: Vec<u8>,
    ending: Ending,
}

impl<R: Read> Log<R> {
    /// Reads as far as the first transaction.
    pub fn open(mut input: R) -> Result<Self, Error> {
        let mut magic = [0; MAGIC.len()];
        let have = fill(&mut input, &mut magic)?;
        match magic {
            MAGIC if have == MAGIC.len() => {}
            MAGIC_ENCRYPTED => return Err(Error::Encrypted),
            _ => return Err(Error::NotALog),
        }
        let mut header = [0; HEADER_BYTES];
        if fill(&mut input, &mut header)? < HEADER_BYTES || header[4] != kind::FORMAT {
            return Err(Error::NotALog);
        }
        let length = u32::from_le_bytes([header[9], header[10], header[11], header[12]]) as usize;
        if !(HEADER_BYTES + CHECKSUM_BYTES..=FORMAT_LIMIT_BYTES).contains(&length) {
            return Err(Error::Format("the first event has a strange length"));
        }
        let mut head = header.to_vec();
        head.resize(length, 0);
        if fill(&mut input, &mut head[HEADER_BYTES..])? < length - HEADER_BYTES {
            return Err(Error::NotALog);
        }
        let has_checksums = body::has_checksums(&head[HEADER_BYTES..], &head).ok_or(Error::Format(
            "version, headers or checksums are not those of MySQL 8 or 9",
        ))?;
        let mut first = Events::new(head.as_slice(), MAGIC.len() as u64, has_checksums, false);
        let Next::Event(format) = first.next()? else {
            return Err(Error::NotALog);
        };
        let mut events = Events::new(input, first.at, has_checksums, true);
        let previous = match events.next()? {
            Next::Event(event) if event.kind == kind::PREVIOUS => {
                body::previous(&event.body).ok_or(Error::Format("the set of earlier transactions"))?
            }
            _ => {
                return Err(Error::Format(
                    "it does not say which transactions are in earlier logs",
                ));
            }
        };
        Ok(Self {
            events,
            is_in_use: format.flags & IN_USE != 0,
            previous,
            head: closed_head(&head),
            ending: Ending::Open,
        })
    }

    /// Its server has not closed it: it runs, or has crashed.
    pub fn is_in_use(&self) -> bool {
        self.is_in_use
    }

    /// The transactions of all earlier logs.
    pub fn previous(&self) -> &GtidSet {
        &self.previous
    }

    /// What a file begins with that holds events of this one: as of a log that was closed.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// Meaningful once there are no more groups.
    pub fn ending(&self) -> Ending {
        self.ending
    }

    /// The next whole transaction.
    pub fn next_group(&mut self) -> Result<Option<Group>, Error> {
        loop {
            let at = self.events.at;
            let event = match self.events.next()? {
                Next::Event(event) => event,
                Next::End => return Ok(None),
                Next::Torn => {
                    self.ending = Ending::Torn { at };
                    return Ok(None);
                }
            };
            if self.ending == Ending::Closed {
                let why = "it comes after the end of the log";
                return Err(Error::Event { at, why });
            }
            match event.kind {
                kind::STOP | kind::ROTATE => self.ending = Ending::Closed,
                kind::GTID | kind::TAGGED_GTID => return self.group(at, &event),
                _ => {
                    let why = "it belongs to no transaction with a GTID";
                    return Err(Error::Event { at, why });
                }
            }
        }
    }

    fn group(&mut self, at: u64, first: &Event) -> Result<Option<Group>, Error> {
        let gtid: Option<Gtid> = match first.kind {
            kind::GTID => body::gtid(&first.body),
            _ => body::tagged_gtid(&first.body),
        };
        let why = "its GTID cannot be read";
        let gtid = gtid.ok_or(Error::Event { at, why })?;
        let mut building = Building::new();
        loop {
            let Next::Event(event) = self.events.next()? else {
                self.ending = Ending::Torn { at };
                return Ok(None);
            };
            if let Step::Done(shape) = building.event(&event)? {
                let end = self.events.at;
                return Ok(Some(Group { gtid, at, end, shape }));
            }
        }
    }
}

/// The checksum is that of a closed log either way.
fn closed_head(format: &[u8]) -> Vec<u8> {
    let mut head = MAGIC.to_vec();
    head.extend_from_slice(format);
    head[MAGIC.len() + crate::event::FLAGS_AT] &= !IN_USE.to_le_bytes()[0];
    head
}
