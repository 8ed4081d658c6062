//! Passwords and names that Secrets put into files beside the agent.
//! Must not keep them: files change, and the next session takes what is there then.

use std::path::{Path, PathBuf};

use sql::Secret;
use sql::users::{Job, Passwords};
use zeroize::Zeroizing;

use crate::volume;

/// A password, a name: no file of ours is longer.
const LIMIT_BYTES: u64 = 4_096;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("failed to find {}", path.display())]
    Missing { path: PathBuf },
    #[error("failed to read a secret")]
    Unreadable(#[from] volume::Error),
    #[error("failed to use {}: it is not text", path.display())]
    NotText { path: PathBuf },
    #[error("failed to use {}: it is empty", path.display())]
    Empty { path: PathBuf },
}

fn line(path: &Path) -> Result<Zeroizing<String>, Error> {
    let path = path.to_owned();
    let Some(bytes) = volume::read(&path, LIMIT_BYTES)? else {
        return Err(Error::Missing { path });
    };
    let bytes = Zeroizing::new(bytes);
    let text = std::str::from_utf8(&bytes).map_err(|_| Error::NotText { path: path.clone() })?;
    // Whoever made the file by hand left a line end in it.
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(Error::Empty { path });
    }
    Ok(Zeroizing::new(text.to_owned()))
}

pub(crate) fn password(folder: &Path, job: Job) -> Result<Secret, Error> {
    let name = match job {
        Job::Agent => "agent",
        Job::Accounts => "accounts",
        Job::Replication => "replication",
        Job::Clone => "clone",
        Job::Monitoring => "monitoring",
    };
    line(&folder.join(name)).map(|text| Secret::new(text.as_str()))
}

pub(crate) fn passwords(folder: &Path) -> Result<Passwords, Error> {
    Ok(Passwords {
        agent: password(folder, Job::Agent)?,
        accounts: password(folder, Job::Accounts)?,
        replication: password(folder, Job::Replication)?,
        clone: password(folder, Job::Clone)?,
        monitoring: password(folder, Job::Monitoring)?,
    })
}

/// The application's user, where the cluster has one.
pub(crate) struct App {
    pub(crate) user: String,
    pub(crate) password: Secret,
    pub(crate) database: String,
}

/// `None`: there is no such folder or it is empty.
pub(crate) fn app(folder: &Path) -> Result<Option<App>, Error> {
    if !volume::has_entries(folder)? {
        return Ok(None);
    }
    Ok(Some(App {
        user: line(&folder.join("username"))?.to_string(),
        password: Secret::new(line(&folder.join("password"))?.as_str()),
        database: line(&folder.join("database"))?.to_string(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_do_not_belong_to_a_password() {
        let folder = std::env::temp_dir().join(format!("holdfast-secrets-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        assert!(app(&folder).unwrap().is_none());
        std::fs::write(folder.join("agent"), "a b\r\n").unwrap();
        assert_eq!(line(&folder.join("agent")).unwrap().as_str(), "a b");
        std::fs::write(folder.join("agent"), "\n").unwrap();
        assert!(matches!(password(&folder, Job::Agent), Err(Error::Empty { .. })));
        assert!(matches!(
            password(&folder, Job::Clone),
            Err(Error::Missing { .. })
        ));
        std::fs::write(folder.join("clone"), [0xff, 0xfe]).unwrap();
        assert!(matches!(
            password(&folder, Job::Clone),
            Err(Error::NotText { .. })
        ));
        assert!(app(&folder).is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
