//! Owns what is known of one register: its writes, its reads, its end.
//! It must not look at rows that belong to no register.

use crate::event::{Op, OpId, Outcome, Seen};
use crate::judge::ops::Ops;
use crate::rows::Change;
use crate::verdict::{Example, Findings, Kind};

/// One write: the version it made, its value, the value it found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Write {
    version: u64,
    value: u64,
    found: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Observed {
    seen: Seen,
    at_ns: u64,
}

/// What was read, each version once: sorted and thinned whenever it has doubled.
#[derive(Debug, Default)]
struct Reads {
    list: Vec<Observed>,
    thin_at: usize,
}

impl Reads {
    fn add(&mut self, seen: Seen, at_ns: u64) {
        self.list.push(Observed { seen, at_ns });
        if self.list.len() >= self.thin_at.max(65_536) {
            self.thin();
            self.thin_at = self.list.len() * 2;
        }
    }

    fn thin(&mut self) {
        self.list.sort_unstable();
        self.list.dedup_by_key(|observed| observed.seen);
    }
}

#[derive(Debug, Default)]
pub(crate) struct Register {
    /// The newest version that is known to have been acknowledged or read so far.
    pub(crate) floor: u64,
    acknowledged: Vec<Write>,
    rows: Vec<Write>,
    reads: Reads,
    replica_reads: Reads,
    last: Option<Seen>,
}

impl Register {
    pub(crate) fn acknowledge(&mut self, id: OpId, found: Seen) {
        let version = found.version.saturating_add(1);
        self.acknowledged.push(Write {
            version,
            value: id.value(),
            found: found.value,
        });
        self.floor = self.floor.max(version);
    }

    pub(crate) fn read(&mut self, seen: Seen, at_ns: u64) {
        self.reads.add(seen, at_ns);
    }

    pub(crate) fn read_replica(&mut self, seen: Seen, at_ns: u64) {
        self.replica_reads.add(seen, at_ns);
    }

    pub(crate) fn row(&mut self, id: OpId, change: Change) {
        self.rows.push(Write {
            version: change.version,
            value: id.value(),
            found: change.found,
        });
    }

    pub(crate) fn end(&mut self, seen: Seen) {
        self.last = Some(seen);
    }

    /// Judges everything at once; answers how many replica reads saw what is gone.
    pub(crate) fn finish(mut self, register: u32, ops: &Ops, findings: &mut Findings) -> u64 {
        self.rows.sort_unstable();
        self.check_forks(register, ops, findings);
        self.check_chain(register, ops, findings);
        self.check_acknowledged(register, ops, findings);
        self.check_end(register, findings);
        let reads = std::mem::take(&mut self.reads);
        self.check_reads(reads, false, register, ops, findings);
        let reads = std::mem::take(&mut self.replica_reads);
        self.check_reads(reads, true, register, ops, findings)
    }

    /// Two writes of one version, each acknowledged or visible: one of them overwrote the other.
    fn check_forks(&self, register: u32, ops: &Ops, findings: &mut Findings) {
        let mut all: Vec<(u64, u64)> = self
            .rows
            .iter()
            .map(|write| (write.version, write.value))
            .collect();
        all.extend(self.acknowledged.iter().map(|write| (write.version, write.value)));
        all.sort_unstable();
        all.dedup();
        for pair in all.windows(2) {
            if let [(version, first), (again, second)] = pair
                && version == again
            {
                let other = OpId::of_value(*first).map_or_else(String::new, name);
                let what = format!("made version {version}, and so did {other}");
                findings.add(Kind::LostUpdate, example(register, *second, ops, what));
            }
        }
    }

    fn check_chain(&self, register: u32, ops: &Ops, findings: &mut Findings) {
        let mut before = Write {
            version: 0,
            value: 0,
            found: 0,
        };
        for write in &self.rows {
            if write.version == before.version && write.version > 0 {
                continue;
            }
            let what = if write.version != before.version + 1 {
                Some(format!(
                    "made version {}, the row before it {}",
                    write.version, before.version
                ))
            } else if write.found != before.value {
                Some(format!(
                    "made version {} from a value that version {} is not",
                    write.version, before.version
                ))
            } else {
                None
            };
            if let Some(what) = what {
                findings.add(Kind::BrokenChain, example(register, write.value, ops, what));
            }
            before = *write;
        }
    }

    /// What the client was told must be what its row says.
    fn check_acknowledged(&self, register: u32, ops: &Ops, findings: &mut Findings) {
        let mut by_value: Vec<&Write> = self.rows.iter().collect();
        by_value.sort_unstable_by_key(|write| write.value);
        for told in &self.acknowledged {
            let row = by_value.binary_search_by_key(&told.value, |write| write.value);
            if let Some(row) = row.ok().and_then(|index| by_value.get(index))
                && *row != told
            {
                let what = format!("its client read version {}, its row says {}", told.version - 1, {
                    row.version.saturating_sub(1)
                });
                findings.add(Kind::BrokenChain, example(register, told.value, ops, what));
            }
        }
    }

    /// Where two rows made the last version, either may be left: the fork is reported already.
    fn check_end(&self, register: u32, findings: &mut Findings) {
        let born = Seen { version: 0, value: 0 };
        let newest = self.rows.last().map_or(0, |write| write.version);
        let mut ends: Vec<Seen> = self
            .rows
            .iter()
            .rev()
            .take_while(|write| write.version == newest)
            .map(|write| Seen {
                version: write.version,
                value: write.value,
            })
            .collect();
        if ends.is_empty() {
            ends.push(born);
        }
        let what = match self.last {
            None => "it is missing".to_owned(),
            Some(last) if ends.contains(&last) => return,
            Some(last) => {
                let expected = ends.first().copied().unwrap_or(born);
                format!("it holds {}, its last row wrote {}", show(last), show(expected))
            }
        };
        let example = Example {
            register: Some(register),
            what,
            ..Example::default()
        };
        findings.add(Kind::WrongFinalValue, example);
    }

    fn check_reads(
        &self,
        mut reads: Reads,
        replica: bool,
        register: u32,
        ops: &Ops,
        findings: &mut Findings,
    ) -> u64 {
        reads.thin();
        let mut vanished = 0;
        for Observed { seen, at_ns } in reads.list {
            let key = (seen.version, seen.value);
            let known = key == (0, 0)
                || self
                    .rows
                    .binary_search_by_key(&key, |write| (write.version, write.value))
                    .is_ok();
            if known {
                continue;
            }
            let kind = match explain(seen, register, ops) {
                // The lost write itself is reported; reading it was right.
                Reason::Lost => continue,
                Reason::Unexplained => Kind::UnexplainedRead,
                Reason::Failed => Kind::DirtyRead,
                Reason::Vanished if replica => {
                    vanished += 1;
                    continue;
                }
                Reason::Vanished => Kind::VanishedRead,
            };
            let what = format!(
                "{} was read{}",
                show(seen),
                if replica { " on a replica" } else { "" }
            );
            let example = Example {
                register: Some(register),
                at_ns: Some(at_ns),
                what,
                ..Example::default()
            };
            findings.add(kind, example);
        }
        vanished
    }
}

enum Reason {
    Unexplained,
    Failed,
    Vanished,
    Lost,
}

/// Why a version that was read is not among the rows.
fn explain(seen: Seen, register: u32, ops: &Ops) -> Reason {
    let Some(record) = OpId::of_value(seen.value).and_then(|id| ops.get(id)) else {
        return Reason::Unexplained;
    };
    if record.op() != (Op::Update { register }) || record.rows() > 0 {
        return Reason::Unexplained;
    }
    match record.outcome() {
        Outcome::Ok => Reason::Lost,
        Outcome::Failed => Reason::Failed,
        Outcome::Unknown => Reason::Vanished,
    }
}

fn name(id: OpId) -> String {
    format!("client {} seq {}", id.client, id.seq)
}

fn show(seen: Seen) -> String {
    let writer = OpId::of_value(seen.value).map_or_else(|| "nobody".to_owned(), name);
    format!("version {} of {writer}", seen.version)
}

fn example(register: u32, value: u64, ops: &Ops, what: String) -> Example {
    let id = OpId::of_value(value);
    Example {
        client: id.map(|id| id.client),
        seq: id.map(|id| id.seq),
        register: Some(register),
        at_ns: id.and_then(|id| ops.get(id)).map(|record| record.at_ns()),
        what,
    }
}
