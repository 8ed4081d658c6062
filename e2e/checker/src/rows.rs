//! Owns the shape of what the database keeps, and its dump as JSON lines.
//! It must not speak to a database, and must not take a cut-off dump for a whole one.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::event::OpId;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to open dump {path}")]
    Open { path: PathBuf, source: io::Error },
    #[error("failed to read line {line} of the dump")]
    Read { line: u64, source: io::Error },
    #[error("failed to understand line {line} of the dump")]
    Parse { line: u64, source: serde_json::Error },
    #[error("failed to encode a dump line")]
    Encode(#[source] serde_json::Error),
    #[error("failed to write the dump")]
    Write(#[source] io::Error),
    #[error("failed to read the whole dump: it {0}")]
    Incomplete(&'static str),
}

/// One row of the table of writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The surrogate key: a write that was applied twice is two rows.
    pub id: u64,
    pub run: u64,
    pub client: u32,
    pub seq: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
    pub payload: String,
}

impl Row {
    pub fn op(&self) -> OpId {
        OpId {
            client: self.client,
            seq: self.seq,
        }
    }
}

/// What an update did to its register, written in the same transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub register: u32,
    /// The version it made.
    pub version: u64,
    /// The value it found.
    pub found: u64,
}

/// One register at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    pub run: u64,
    pub id: u32,
    pub version: u64,
    pub value: u64,
}

/// Everything a judge needs of a database, one piece at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Piece {
    Row(Row),
    Register(Register),
    /// The last line of a dump: how many lines came before.
    End(u64),
}

/// The text every row must carry: a changed byte is seen.
pub fn payload(run: u64, id: OpId) -> String {
    let mut mixed = run ^ id.value().wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut text = String::with_capacity(32);
    for _ in 0..2 {
        mixed = mixed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = mixed;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        text.push_str(&format!("{:016x}", word ^ (word >> 31)));
    }
    text
}

/// Writes a dump.
pub struct Writer<W> {
    out: W,
    count: u64,
}

impl<W: Write> Writer<W> {
    pub fn new(out: W) -> Writer<W> {
        Writer { out, count: 0 }
    }

    pub fn write(&mut self, piece: &Piece) -> Result<(), Error> {
        serde_json::to_writer(&mut self.out, piece).map_err(Error::Encode)?;
        self.out.write_all(b"\n").map_err(Error::Write)?;
        self.count += 1;
        Ok(())
    }

    pub fn finish(mut self) -> Result<u64, Error> {
        let count = self.count;
        self.write(&Piece::End(count))?;
        self.out.flush().map_err(Error::Write)?;
        Ok(count)
    }
}

/// Streams a dump; ends with an error unless the last line says it is whole.
pub struct Reader<R> {
    lines: io::Lines<R>,
    count: u64,
    ended: bool,
}

impl Reader<BufReader<File>> {
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(|source| Error::Open {
            path: path.to_owned(),
            source,
        })?;
        Ok(Reader::new(BufReader::with_capacity(1 << 20, file)))
    }
}

impl<R: BufRead> Reader<R> {
    pub fn new(input: R) -> Reader<R> {
        Reader {
            lines: input.lines(),
            count: 0,
            ended: false,
        }
    }

    fn next_piece(&mut self) -> Result<Option<Piece>, Error> {
        if self.ended {
            return Ok(None);
        }
        let line = self.count + 1;
        let Some(text) = self.lines.next() else {
            self.ended = true;
            return Err(Error::Incomplete("has no last line"));
        };
        let text = text.map_err(|source| Error::Read { line, source })?;
        let piece = serde_json::from_str(&text).map_err(|source| Error::Parse { line, source })?;
        if let Piece::End(count) = piece {
            self.ended = true;
            if count != self.count {
                return Err(Error::Incomplete("counts other lines than it has"));
            }
            return Ok(None);
        }
        self.count = line;
        Ok(Some(piece))
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Piece, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_piece().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump(pieces: &[Piece]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        for piece in pieces {
            writer.write(piece).unwrap();
        }
        writer.finish().unwrap();
        out
    }

    #[test]
    fn a_whole_dump_is_read_and_a_cut_one_refused() {
        let pieces = [
            Piece::Register(Register {
                run: 1,
                id: 0,
                version: 0,
                value: 0,
            }),
            Piece::Register(Register {
                run: 1,
                id: 1,
                version: 0,
                value: 0,
            }),
        ];
        let bytes = dump(&pieces);
        let read: Result<Vec<Piece>, Error> = Reader::new(bytes.as_slice()).collect();
        assert_eq!(read.unwrap(), pieces);

        let text = String::from_utf8(bytes).unwrap();
        let first: String = text.lines().take(1).map(|line| format!("{line}\n")).collect();
        let cut: Result<Vec<Piece>, Error> = Reader::new(first.as_bytes()).collect();
        assert!(matches!(cut, Err(Error::Incomplete(_))));
    }

    #[test]
    fn payloads_differ() {
        let mut all: Vec<String> = (1..100).map(|seq| payload(7, OpId { client: 1, seq })).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 99);
    }
}
