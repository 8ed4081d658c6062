//! Binary logs of what is removed: a copy of its events, for people and `mysqlbinlog`.
//! Must not remove an archive, nor take the room that mysqld needs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use topology::gtid::GtidSet;
use topology::report::Disk;

use super::{Error, logs};
use crate::mysqld::data;
use crate::options::Paths;
use crate::volume::{self, failed};

/// Of all archives together; who wants more takes them away.
const FILES_LIMIT: usize = 64;
const BYTES_LIMIT: u64 = 1 << 30;
/// So many of the newest logs are looked through.
const LOGS_LIMIT: usize = 1_000;

/// What was kept, and why not all of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Archived {
    pub(crate) transactions: GtidSet,
    pub(crate) why: Option<String>,
}

/// Looks for them from the newest log on, and copies them into a log of its own for each. What cannot be
/// read is left out; what cannot be written is an error.
pub(crate) fn keep(paths: &Paths, epoch: u64, wanted: &GtidSet) -> Result<Archived, Error> {
    let folder = &paths.archive;
    let made = fs::DirBuilder::new().recursive(true).mode(0o750).create(folder);
    made.map_err(failed("make the folder", folder))?;
    volume::sync_folder_of(folder)?;
    let mut room = Room::of(paths)?;
    let mut archived = Archived::default();
    let mut logs = logs::list(paths)?;
    let mut looked = 0;
    while let Some(path) = logs.pop() {
        if looked == LOGS_LIMIT {
            archived.why = Some(format!(
                "only the newest {LOGS_LIMIT} binary logs are looked through"
            ));
            break;
        }
        looked += 1;
        let earlier = match copy(paths, epoch, &path, wanted, &mut room, &mut archived) {
            Ok(earlier) => earlier,
            Err(error @ Error::Log { .. }) => {
                archived.why = Some(crate::agent::chain(&error));
                break;
            }
            Err(error) => return Err(error),
        };
        if wanted.intersect(&earlier).is_empty() {
            break;
        }
    }
    Ok(archived)
}

/// Returns what is in earlier logs.
fn copy(
    paths: &Paths,
    epoch: u64,
    path: &Path,
    wanted: &GtidSet,
    room: &mut Room,
    archived: &mut Archived,
) -> Result<GtidSet, Error> {
    let mut log = logs::open(path)?;
    let mut output: Option<Output> = None;
    let ended = loop {
        let group = match log.next_group() {
            Ok(Some(group)) => group,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        };
        if !wanted.contains(&group.gtid) {
            continue;
        }
        let head_bytes = if output.is_none() {
            log.head().len() as u64
        } else {
            0
        };
        if !room.takes(output.is_none(), head_bytes + (group.end - group.at)) {
            archived.why = Some("the archive is full, or the volume nearly is".to_owned());
            break Ok(());
        }
        let output = match &mut output {
            Some(output) => output,
            none => none.insert(Output::begin(paths, epoch, path, log.head())?),
        };
        output.append(group.at, group.end)?;
        archived.transactions.insert(group.gtid);
    };
    if let Some(output) = output {
        output.finish()?;
    }
    ended.map_err(logs::unread(path))?;
    Ok(log.previous().clone())
}

/// For further archives.
struct Room {
    files: usize,
    bytes: u64,
}

impl Room {
    fn of(paths: &Paths) -> Result<Self, Error> {
        let folder = &paths.archive;
        let mut room = Self {
            files: FILES_LIMIT,
            bytes: BYTES_LIMIT,
        };
        for entry in fs::read_dir(folder).map_err(failed("list", folder))? {
            let found = entry.and_then(|entry| entry.metadata());
            let found = found.map_err(failed("list", folder))?;
            room.files = room.files.saturating_sub(1);
            room.bytes = room.bytes.saturating_sub(found.len());
        }
        if let Some(disk) = volume::room(folder) {
            room.bytes = room.bytes.min(spare_bytes(disk));
        }
        Ok(room)
    }

    fn takes(&mut self, is_new: bool, bytes: u64) -> bool {
        if self.bytes < bytes || (is_new && self.files == 0) {
            return false;
        }
        self.bytes -= bytes;
        self.files -= usize::from(is_new);
        true
    }
}

/// What may be taken without a volume that was fit becoming nearly full.
fn spare_bytes(disk: Disk) -> u64 {
    disk.free_bytes.saturating_sub(disk.nearly_full_bytes())
}

/// One archive: whole under its name, or not there.
struct Output {
    from: File,
    to: BufWriter<File>,
    unfinished: std::path::PathBuf,
    finished: std::path::PathBuf,
}

impl Output {
    fn begin(paths: &Paths, epoch: u64, log: &Path, head: &[u8]) -> Result<Self, Error> {
        let identity = data::identity(paths).map_or_else(|| "unknown".to_owned(), |uuid| uuid.to_string());
        let name = format!("epoch-{epoch}.{identity}.{}", logs::name_of(log));
        let finished = paths.archive.join(name);
        // Beside the archives, so that a crash leaves nothing that counts as one.
        let unfinished = paths.own.join("archive.unfinished");
        let from = File::open(log).map_err(failed("open", log))?;
        let to = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o640)
            .open(&unfinished)
            .map_err(failed("write", &unfinished))?;
        let mut to = BufWriter::new(to);
        to.write_all(head).map_err(failed("write", &unfinished))?;
        Ok(Self {
            from,
            to,
            unfinished,
            finished,
        })
    }

    fn append(&mut self, at: u64, end: u64) -> Result<(), Error> {
        let mut copied = || -> io::Result<()> {
            self.from.seek(SeekFrom::Start(at))?;
            let events = (&self.from).take(end - at);
            let bytes = io::copy(&mut { events }, &mut self.to)?;
            if bytes < end - at {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Ok(())
        };
        Ok(copied().map_err(failed("write", &self.unfinished))?)
    }

    fn finish(mut self) -> Result<(), Error> {
        let flushed = self.to.flush().and_then(|()| self.to.get_ref().sync_all());
        flushed.map_err(failed("write", &self.unfinished))?;
        volume::rename(&self.unfinished, &self.finished)?;
        // From the folder above into this one: both names are changed.
        Ok(volume::sync_folder_of(&self.unfinished)?)
    }
}
