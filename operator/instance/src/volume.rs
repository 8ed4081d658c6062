//! Files on the volume that outlive any crash: folders, writes that are whole or not there, its room.
//! Must not know what the files say.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use topology::report::Disk;

use crate::options::Paths;

/// Written now and then.
const PROBE: &str = "probe";

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("failed to {doing} {}", path.display())]
    Io {
        doing: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

pub(crate) fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { doing, path, source }
}

/// The folders that everything else lies in.
pub(crate) fn prepare(paths: &Paths) -> Result<(), Error> {
    for folder in [&paths.own, &paths.tmp] {
        let made = fs::DirBuilder::new().recursive(true).mode(0o750).create(folder);
        made.map_err(failed("make the folder", folder))?;
    }
    Ok(())
}

/// After a crash the file is the old one or the new one, and after the return it is the new one.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write_all(&[(path, bytes)])
}

/// The same of several files in one folder, each for itself: the folder is flushed once.
pub(crate) fn write_all(files: &[(&Path, &[u8])]) -> Result<(), Error> {
    for (path, bytes) in files {
        write_new(&path.with_extension("new"), bytes)?;
    }
    for (path, _) in files {
        let new = path.with_extension("new");
        fs::rename(&new, path).map_err(failed("rename", &new))?;
    }
    files.first().map_or(Ok(()), |(path, _)| sync_folder_of(path))
}

fn write_new(new: &Path, bytes: &[u8]) -> Result<(), Error> {
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(new)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
    written.map_err(failed("write", new))
}

/// The name is on the disk when it returns.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(failed("rename", from))?;
    sync_folder_of(to)
}

pub(crate) fn sync_folder_of(path: &Path) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed("flush the folder", folder))
}

/// Whether it was there. It is gone from the disk when it returns.
pub(crate) fn remove(path: &Path) -> Result<bool, Error> {
    match fs::remove_file(path) {
        Ok(()) => sync_folder_of(path).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed("remove", path)(error)),
    }
}

pub(crate) fn remove_folder(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Ok(()) => sync_folder_of(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("remove the folder", path)(error)),
    }
}

/// `None`: it is not there. Longer files than the limit are not ours.
pub(crate) fn read(path: &Path, limit_bytes: u64) -> Result<Option<Vec<u8>>, Error> {
    let read = || -> io::Result<Option<Vec<u8>>> {
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(found) if found.len() > limit_bytes => Err(io::ErrorKind::FileTooLarge.into()),
            Ok(_) => fs::read(path).map(Some),
        }
    };
    read().map_err(failed("read", path))
}

/// Something is in it.
pub(crate) fn has_entries(folder: &Path) -> Result<bool, Error> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed("list", folder)(error)),
    }
}

/// What a look at the volume found.
#[derive(Debug)]
pub(crate) struct Looked {
    pub(crate) room: Option<Disk>,
    /// Why it takes no write, but for want of room.
    pub(crate) failure: Option<String>,
}

/// Hangs as long as a write to the volume does.
pub(crate) fn look(paths: &Paths) -> Looked {
    Looked {
        room: room(&paths.own),
        failure: probe(&paths.own.join(PROBE)).err().map(|error| error.to_string()),
    }
}

/// The same few bytes in the same place: nothing grows, and no name has to be written.
fn probe(path: &Path) -> io::Result<()> {
    let opened = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path);
    let written = opened.and_then(|mut file| {
        file.write_all(b"written to see whether it can be\n")?;
        file.sync_data()
    });
    match written {
        // There is nothing to write to yet, or it is full: told elsewhere.
        Err(error) if is_no_failure(error.kind()) => Ok(()),
        other => other,
    }
}

fn is_no_failure(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::NotFound | io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

pub(crate) fn room(path: &Path) -> Option<Disk> {
    let found = nix::sys::statvfs::statvfs(path).ok()?;
    let block = found.fragment_size();
    Some(Disk {
        total_bytes: found.blocks().saturating_mul(block),
        free_bytes: found.blocks_available().saturating_mul(block),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_whole_and_removed() {
        let folder = std::env::temp_dir().join(format!("holdfast-volume-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("a.json");
        assert_eq!(read(&path, 100).unwrap(), None);
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(read(&path, 100).unwrap().unwrap(), b"two");
        assert!(read(&path, 2).is_err());
        assert!(has_entries(&folder).unwrap());
        assert!(remove(&path).unwrap() && !remove(&path).unwrap());
        assert!(!has_entries(&folder).unwrap());
        assert!(room(&folder).unwrap().total_bytes > 0);
        probe(&folder.join("probe")).unwrap();
        probe(&folder.join("probe")).unwrap();
        assert!(fs::metadata(folder.join("probe")).unwrap().len() < 100);
        assert!(probe(&folder.join("missing").join("probe")).is_ok());
        assert!(probe(&folder).is_err());
        remove(&folder.join("probe")).unwrap();
        remove_folder(&folder).unwrap();
        remove_folder(&folder).unwrap();
        assert!(!has_entries(&folder).unwrap());
    }
}
