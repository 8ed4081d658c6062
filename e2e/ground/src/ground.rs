//! A proving ground that exists: its record, its kubectl, its lock.
//! Must not make or remove one; `up` and `down` do.

use std::fs::{self, File};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::shell::{Cmd, cmd};
use crate::spec::{Paths, Spec, state_root};

/// What is written down about a ground.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// What was asked for.
    pub spec: Spec,
    /// False until `up` has finished once.
    pub complete: bool,
    /// The containerd root that nodes copy.
    pub template: PathBuf,
    /// The workload checker, to run in the client unit.
    pub checker: PathBuf,
}

/// A handle on a ground; everything else goes through it.
#[derive(Clone, Debug)]
pub struct Ground {
    /// What it was asked to be, and what it was made from.
    pub record: Record,
    /// Where its files are.
    pub paths: Paths,
}

impl Ground {
    /// Opens a ground that is up.
    pub fn open(name: &str) -> Result<Self> {
        let ground = Self::open_any(name)?;
        match ground {
            Some(ground) if ground.record.complete => Ok(ground),
            Some(_) => bail!("the ground {name:?} is half made: run `cargo ground up --name {name}` again"),
            None => bail!("there is no ground {name:?}: run `cargo ground up --name {name}`"),
        }
    }

    /// Opens a ground in whatever state it is.
    pub fn open_any(name: &str) -> Result<Option<Self>> {
        let paths = Paths::of(name);
        let Ok(text) = fs::read(paths.record()) else {
            return Ok(None);
        };
        let record = serde_json::from_slice(&text)
            .with_context(|| format!("failed to parse {}", paths.record().display()))?;
        Ok(Some(Self { record, paths }))
    }

    /// Writes the record so that a kill leaves the old or the new one.
    pub fn save(&self) -> Result<()> {
        let partial = self.paths.root().join("ground.json.partial");
        fs::create_dir_all(self.paths.root())?;
        fs::write(&partial, serde_json::to_vec_pretty(&self.record)?)?;
        fs::rename(&partial, self.paths.record()).context("failed to write the ground's record")
    }

    /// What it was asked to be.
    pub fn spec(&self) -> &Spec {
        &self.record.spec
    }

    /// kubectl with this ground's kubeconfig.
    pub fn kubectl<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Cmd {
        cmd(self.paths.program("kubectl"), args)
            .env("KUBECONFIG", self.paths.kubeconfig())
            .env("HOME", self.paths.root())
    }

    /// kubectl, the line split at spaces.
    pub fn kubectl_words(&self, line: &str) -> Cmd {
        self.kubectl(line.split_whitespace())
    }
}

/// Every ground that has files on this machine.
pub fn names() -> Vec<String> {
    let Ok(entries) = fs::read_dir(state_root()) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok())
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// Held while a ground is made, changed or removed; the kernel lets go when its holder dies.
pub struct Lock {
    _file: Flock<File>,
}

impl Lock {
    /// Takes the lock or says who might have it.
    pub fn take(name: &str) -> Result<Self> {
        fs::create_dir_all(state_root())
            .with_context(|| format!("failed to create {}", state_root().display()))?;
        let path = state_root().join(format!(".{name}.lock"));
        let file = File::create(&path).with_context(|| format!("failed to create {}", path.display()))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => Ok(Self { _file: file }),
            Err(_) => bail!("another `ground` command is changing {name:?}: wait for it, or end it"),
        }
    }

    /// Removes the lock's file too, and the folder of all grounds when it was the last.
    pub fn discard(self, name: &str) {
        let _ = fs::remove_file(state_root().join(format!(".{name}.lock")));
        let _ = fs::remove_dir(state_root());
    }
}
