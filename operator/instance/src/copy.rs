//! The program's copy of itself, for an init container of an image without a shell.
//! Must not leave half a program under the final name.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
#[error("failed to {doing} {}", path.display())]
pub struct Error {
    doing: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Copies the running program into the folder, as `holdfast`.
pub fn copy(folder: &Path) -> Result<PathBuf, Error> {
    let failed = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| Error { doing, path, source }
    };
    let from = std::env::current_exe().map_err(failed("find", Path::new("this program")))?;
    let (new, to) = (folder.join(".holdfast.new"), folder.join("holdfast"));
    fs::copy(&from, &new).map_err(failed("copy to", &new))?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).map_err(failed("make executable", &new))?;
    fs::rename(&new, &to).map_err(failed("rename to", &to))?;
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_is_whole_and_can_be_run() {
        let folder = std::env::temp_dir().join(format!("holdfast-copy-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for _ in 0..2 {
            let made = copy(&folder).unwrap();
            let size = |path: &Path| fs::metadata(path).unwrap().len();
            assert_eq!(size(&made), size(&std::env::current_exe().unwrap()));
            assert_eq!(fs::metadata(&made).unwrap().permissions().mode() & 0o777, 0o755);
        }
        assert!(copy(&folder.join("missing")).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
