//! Owns the history file: one JSON line per event, in the order of time.
//! It must not judge, and must not lose or reorder an event it accepted.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::event::{Completion, Event, FORMAT, Op, OpId, Outcome, Seen, Stage, Stamped, Start};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to create history {path}")]
    Create { path: PathBuf, source: io::Error },
    #[error("failed to open history {path}")]
    Open { path: PathBuf, source: io::Error },
    #[error("failed to append to the history")]
    Append(#[source] io::Error),
    #[error("failed to encode an event")]
    Encode(#[source] serde_json::Error),
    #[error("failed to read line {line} of the history")]
    Read { line: u64, source: io::Error },
    #[error("failed to understand line {line} of the history")]
    Parse { line: u64, source: serde_json::Error },
    #[error("failed to understand line {line} of the history: {what}")]
    Shape { line: u64, what: &'static str },
}

/// A longer line was not written by a checker.
const MAX_LINE_BYTES: usize = 64 * 1024;

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Start,
    Ready,
    Invoke,
    Complete,
    Tick,
    Stop,
    End,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OpName {
    Insert,
    InsertAuto,
    Update,
    Read,
    ReadReplica,
}

/// The flat form on disk: parsing ten million of them must stay cheap.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    t: u64,
    e: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    c: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    s: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    op: Option<OpName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reg: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    out: Option<Outcome>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<Stage>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ver: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    val: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    format: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wall_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    registers: Option<u32>,
}

impl Line {
    fn new(t: u64, e: Kind) -> Line {
        Line {
            t,
            e,
            c: None,
            s: None,
            op: None,
            reg: None,
            out: None,
            at: None,
            code: None,
            why: None,
            ver: None,
            val: None,
            format: None,
            run: None,
            wall_ms: None,
            registers: None,
        }
    }

    fn of(at_ns: u64, event: &Event) -> Line {
        match event {
            Event::Ready => Line::new(at_ns, Kind::Ready),
            Event::Tick => Line::new(at_ns, Kind::Tick),
            Event::Stop => Line::new(at_ns, Kind::Stop),
            Event::End => Line::new(at_ns, Kind::End),
            Event::Start(start) => Line {
                format: Some(start.format),
                run: Some(start.run),
                wall_ms: Some(start.wall_ms),
                registers: Some(start.registers),
                ..Line::new(at_ns, Kind::Start)
            },
            Event::Invoke { id, op } => Line {
                c: Some(id.client),
                s: Some(id.seq),
                op: Some(match op {
                    Op::Insert => OpName::Insert,
                    Op::InsertAuto => OpName::InsertAuto,
                    Op::Update { .. } => OpName::Update,
                    Op::Read { .. } => OpName::Read,
                    Op::ReadReplica { .. } => OpName::ReadReplica,
                }),
                reg: op.register(),
                ..Line::new(at_ns, Kind::Invoke)
            },
            Event::Complete(done) => Line {
                c: Some(done.id.client),
                s: Some(done.id.seq),
                out: Some(done.outcome),
                at: Some(done.stage),
                code: done.code,
                why: done.why.clone(),
                ver: done.seen.map(|seen| seen.version),
                val: done.seen.map(|seen| seen.value),
                ..Line::new(at_ns, Kind::Complete)
            },
        }
    }

    fn into_event(self, line: u64) -> Result<Stamped, Error> {
        let missing = |what| Error::Shape { line, what };
        let event = match self.e {
            Kind::Ready => Event::Ready,
            Kind::Tick => Event::Tick,
            Kind::Stop => Event::Stop,
            Kind::End => Event::End,
            Kind::Start => {
                let format = self.format.ok_or(missing("a start without its format"))?;
                if format != FORMAT {
                    return Err(missing("another format than this checker knows"));
                }
                Event::Start(Start {
                    format,
                    run: self.run.ok_or(missing("a start without its run"))?,
                    wall_ms: self.wall_ms.ok_or(missing("a start without a wall clock"))?,
                    registers: self.registers.ok_or(missing("a start without its registers"))?,
                })
            }
            Kind::Invoke => Event::Invoke {
                id: self.id(line)?,
                op: self.op(line)?,
            },
            Kind::Complete => Event::Complete(Completion {
                id: self.id(line)?,
                outcome: self.out.ok_or(missing("a completion without its outcome"))?,
                stage: self.at.ok_or(missing("a completion without its stage"))?,
                code: self.code,
                seen: match (self.ver, self.val) {
                    (Some(version), Some(value)) => Some(Seen { version, value }),
                    (None, None) => None,
                    _ => return Err(missing("half of what was seen")),
                },
                why: self.why,
            }),
        };
        Ok(Stamped { at_ns: self.t, event })
    }

    fn id(&self, line: u64) -> Result<OpId, Error> {
        match (self.c, self.s) {
            (Some(client), Some(seq)) if client > 0 && seq > 0 => Ok(OpId { client, seq }),
            _ => Err(Error::Shape {
                line,
                what: "an attempt without client and number",
            }),
        }
    }

    fn op(&self, line: u64) -> Result<Op, Error> {
        match (self.op, self.reg) {
            (Some(OpName::Insert), None) => Ok(Op::Insert),
            (Some(OpName::InsertAuto), None) => Ok(Op::InsertAuto),
            (Some(OpName::Update), Some(register)) => Ok(Op::Update { register }),
            (Some(OpName::Read), Some(register)) => Ok(Op::Read { register }),
            (Some(OpName::ReadReplica), Some(register)) => Ok(Op::ReadReplica { register }),
            _ => Err(Error::Shape {
                line,
                what: "an attempt without a known operation",
            }),
        }
    }
}

struct Sink {
    file: File,
    buffer: Vec<u8>,
    broken: bool,
}

/// Appends events. The time is taken under the same lock that orders the lines,
/// so a line never carries an earlier time than the line before it.
pub struct Recorder {
    began: Instant,
    sink: Mutex<Sink>,
}

impl Recorder {
    /// Makes a new file; an existing history is never touched.
    pub fn create(path: &Path) -> Result<Recorder, Error> {
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(path)
            .map_err(|source| Error::Create {
                path: path.to_owned(),
                source,
            })?;
        let sink = Sink {
            file,
            buffer: Vec::with_capacity(256),
            broken: false,
        };
        Ok(Recorder {
            began: Instant::now(),
            sink: Mutex::new(sink),
        })
    }

    /// Hands the line to the kernel before it returns: a killed checker keeps it.
    /// After one failed write every later one fails, so no hole can hide behind a good line.
    pub fn record(&self, event: &Event) -> Result<u64, Error> {
        let mut guard = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        let sink = &mut *guard;
        if sink.broken {
            return Err(Error::Append(io::Error::other(
                "an earlier event was not written",
            )));
        }
        let at_ns = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        sink.buffer.clear();
        serde_json::to_writer(&mut sink.buffer, &Line::of(at_ns, event)).map_err(Error::Encode)?;
        sink.buffer.push(b'\n');
        if let Err(error) = sink.file.write_all(&sink.buffer) {
            sink.broken = true;
            return Err(Error::Append(error));
        }
        Ok(at_ns)
    }
}

/// Writes one event as its line, for tools that make histories.
pub fn write_line(out: &mut impl Write, stamped: &Stamped) -> Result<(), Error> {
    serde_json::to_writer(&mut *out, &Line::of(stamped.at_ns, &stamped.event)).map_err(Error::Encode)?;
    out.write_all(b"\n").map_err(Error::Append)
}

/// Streams a history. A last line without its newline is dropped and remembered:
/// the writer was killed inside it, and nothing it announces was sent or trusted.
pub struct Reader<R> {
    input: R,
    line: u64,
    buffer: Vec<u8>,
    torn: bool,
}

impl Reader<io::BufReader<File>> {
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(|source| Error::Open {
            path: path.to_owned(),
            source,
        })?;
        Ok(Reader::new(io::BufReader::with_capacity(1 << 20, file)))
    }
}

impl<R: BufRead> Reader<R> {
    pub fn new(input: R) -> Reader<R> {
        Reader {
            input,
            line: 0,
            buffer: Vec::new(),
            torn: false,
        }
    }

    /// Whether the last line was torn; known once the reader has ended.
    pub fn torn(&self) -> bool {
        self.torn
    }

    fn next_line(&mut self) -> Result<Option<Stamped>, Error> {
        let line = self.line + 1;
        self.buffer.clear();
        let limit = u64::try_from(MAX_LINE_BYTES).unwrap_or(u64::MAX);
        let mut bounded = io::Read::take(&mut self.input, limit);
        let count = bounded
            .read_until(b'\n', &mut self.buffer)
            .map_err(|source| Error::Read { line, source })?;
        if count == 0 {
            return Ok(None);
        }
        if self.buffer.last() != Some(&b'\n') {
            if count >= MAX_LINE_BYTES {
                return Err(Error::Shape {
                    line,
                    what: "a line longer than any event",
                });
            }
            self.torn = true;
            return Ok(None);
        }
        self.line = line;
        let parsed: Line =
            serde_json::from_slice(&self.buffer).map_err(|source| Error::Parse { line, source })?;
        parsed.into_event(line).map(Some)
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Stamped, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_line().transpose()
    }
}
