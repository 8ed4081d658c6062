//! A compressed transaction, unpacked as it comes and looked at event by event.
//! Must not hold it whole, packed or unpacked.

use std::io::{self, Read};

use crate::Error;
use crate::body::Bytes;
use crate::event::{Events, Next, kind};
use crate::group::{Building, Shape, Step};

/// Fields before the packed bytes: a few numbers.
const FIELDS_LIMIT: usize = 16;
const HEAD_BYTES: usize = 128;
const ZSTD: u64 = 0;
const NONE: u64 = 255;

// The decoder refuses windows above 100 MiB; the server's own are of 8 MiB at most.

/// How a payload is packed, and where in the body it begins.
fn head(front: &[u8]) -> Option<(u64, usize)> {
    let mut bytes = Bytes(front);
    let mut packing = NONE;
    for _ in 0..FIELDS_LIMIT {
        let field = bytes.packed()?;
        if field == 0 {
            return Some((packing, front.len() - bytes.0.len()));
        }
        let length = usize::try_from(bytes.packed()?).ok()?;
        let mut value = Bytes(bytes.take(length)?);
        if field == 2 {
            packing = value.packed()?;
        }
    }
    None
}

/// `body`: of the event, without its checksum. Unknown packing is a shape, not an error.
pub(crate) fn look(mut body: impl Read, at: u64) -> Result<Shape, Error> {
    let mut front = vec![0; HEAD_BYTES];
    let have = crate::event::fill(&mut body, &mut front)?;
    front.truncate(have);
    let Some((packing, begins)) = head(&front) else {
        return Ok(Shape::Other("its compression is not understood"));
    };
    let packed = front[begins..].chain(body);
    match packing {
        NONE => walk(packed, at),
        ZSTD => {
            let unpacking = ruzstd::decoding::StreamingDecoder::new(packed);
            let Ok(unpacked) = unpacking else {
                return Ok(Shape::Other("its compression is not understood"));
            };
            walk(unpacked, at)
        }
        _ => Ok(Shape::Other("its compression is not understood")),
    }
}

/// Events inside have no checksums of their own.
fn walk(events: impl Read, at: u64) -> Result<Shape, Error> {
    let mut events = Events::new(io::BufReader::new(events), 0, false, false);
    let mut building = Building::new();
    loop {
        let next = match events.next() {
            Ok(next) => next,
            Err(Error::Io(_)) => return Ok(Shape::Other("it cannot be unpacked")),
            Err(error) => return Err(error),
        };
        let Next::Event(event) = next else {
            return Ok(Shape::Other("its unpacked events do not end"));
        };
        if event.kind == kind::PAYLOAD {
            return Ok(Shape::Other("it is compressed twice"));
        }
        let step = building.event(&event).map_err(|error| match error {
            Error::Event { why, .. } => Error::Event { at, why },
            other => other,
        })?;
        if let Step::Done(shape) = step {
            return match events.next() {
                Ok(Next::End) => Ok(shape),
                _ => Ok(Shape::Other("something follows its commit")),
            };
        }
    }
}
