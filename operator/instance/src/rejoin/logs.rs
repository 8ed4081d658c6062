//! The binary logs of a data directory, in their order, and the last that mysqld was started on.
//! Must not change any of them.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use binlog::Log;

use super::Error;
use crate::options::Paths;
use crate::volume::{self, failed};

const INDEX_LIMIT_BYTES: u64 = 16 << 20;
const NAME_LIMIT_BYTES: u64 = 4_096;
const BUFFER_BYTES: usize = 256 << 10;

/// Oldest first.
pub(crate) fn list(paths: &Paths) -> Result<Vec<PathBuf>, Error> {
    let bytes = volume::read(&paths.data.join("binlog.index"), INDEX_LIMIT_BYTES)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let names = text.lines().filter_map(|line| Path::new(line.trim()).file_name());
    Ok(names.map(|name| paths.data.join(name)).collect())
}

pub(crate) fn last(paths: &Paths) -> Result<Option<PathBuf>, Error> {
    Ok(list(paths)?.pop())
}

pub(crate) fn open(path: &Path) -> Result<Log<BufReader<File>>, Error> {
    let file = File::open(path).map_err(failed("open", path))?;
    Log::open(BufReader::with_capacity(BUFFER_BYTES, file)).map_err(unread(path))
}

pub(crate) fn unread(path: &Path) -> impl FnOnce(binlog::Error) -> Error {
    let name = name_of(path);
    move |source| Error::Log { name, source }
}

pub(crate) fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Before each start of mysqld. It begins a log of its own once it has recovered what the last one holds:
/// as long as this is still the last, it may have recovered some of it.
pub(crate) fn mark_start(paths: &Paths) -> Result<(), Error> {
    let name = last(paths)?.map(|path| name_of(&path)).unwrap_or_default();
    Ok(volume::write(&paths.started_on, name.as_bytes())?)
}

/// `None`: it is not known.
pub(crate) fn started_on(paths: &Paths) -> Result<Option<String>, Error> {
    let bytes = volume::read(&paths.started_on, NAME_LIMIT_BYTES)?;
    Ok(bytes.and_then(|bytes| String::from_utf8(bytes).ok()))
}
