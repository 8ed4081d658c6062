//! The mysqld of the image: where it is, which version, whether it has what is needed.
//! Must not start it for more than its version.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use sql::version::{self, Version};

use super::child::{self, Reaper};

/// After what PATH says.
const PLACES: [&str; 7] = [
    "/usr/sbin",
    "/usr/bin",
    "/usr/libexec",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/usr/local/mysql/bin",
    "/opt/mysql/bin",
];
/// From the folder above the program's.
const PLUGINS: [&str; 5] = [
    "lib64/mysql/plugin",
    "lib/mysql/plugin",
    "lib/plugin",
    "lib64/plugin",
    "lib/x86_64-linux-gnu/mysql/plugin",
];
/// `--version` prints a line and ends.
const VERSION_LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the image has no mysqld: looked in PATH, {}", PLACES.join(", "))]
    NoProgram,
    #[error("failed to ask {} for its version", program.display())]
    Ask {
        program: PathBuf,
        #[source]
        source: child::Error,
    },
    #[error("{} does not tell its version: {text:?}", program.display())]
    Odd { program: PathBuf, text: String },
    #[error(
        "{version} is older than {}, the oldest version that is supported",
        version::OLDEST
    )]
    TooOld { version: Version },
    #[error("no folder of plugins near {}", program.display())]
    NoPlugins { program: PathBuf },
    #[error("the image lacks plugins of MySQL: {} not in {}", missing.join(", "), folder.display())]
    PluginsMissing { missing: Vec<String>, folder: PathBuf },
}

#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) version: Version,
    pub(crate) plugins: PathBuf,
}

/// The libraries that are loaded at the start.
pub(crate) const LIBRARIES: [&str; 3] = ["semisync_source.so", "semisync_replica.so", "mysql_clone.so"];

pub(crate) async fn find(reaper: &Reaper) -> Result<Program, Error> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program = std::env::split_paths(&path)
        .chain(PLACES.map(PathBuf::from))
        .map(|folder| folder.join("mysqld"))
        .find(|program| program.is_file())
        .ok_or(Error::NoProgram)?;
    let version = version_of(&program, reaper).await?;
    let plugins = plugins_near(&program).ok_or_else(|| Error::NoPlugins {
        program: program.clone(),
    })?;
    let missing: Vec<String> = LIBRARIES
        .iter()
        .filter(|name| !plugins.join(name).is_file())
        .map(|name| (*name).to_owned())
        .collect();
    if !missing.is_empty() {
        let folder = plugins;
        return Err(Error::PluginsMissing { missing, folder });
    }
    Ok(Program {
        path: program,
        version,
        plugins,
    })
}

/// The folder with plugins of ours in it, or else any that there is, to say what it lacks.
fn plugins_near(program: &Path) -> Option<PathBuf> {
    // /usr/sbin may be a link; so may the program, into a folder of its own.
    let real = program.canonicalize().unwrap_or_else(|_| program.to_owned());
    let bases = [program, &real].map(|path| path.parent().and_then(Path::parent));
    let folders = bases
        .into_iter()
        .flatten()
        .flat_map(|base| PLUGINS.map(|place| base.join(place)));
    let folders: Vec<PathBuf> = folders.filter(|folder| folder.is_dir()).collect();
    let complete = folders
        .iter()
        .find(|folder| LIBRARIES.iter().all(|name| folder.join(name).is_file()));
    complete.or(folders.first()).cloned()
}

async fn version_of(program: &Path, reaper: &Reaper) -> Result<Version, Error> {
    let mut command = std::process::Command::new(program);
    command.args(["--no-defaults", "--version"]).stdin(Stdio::null());
    let ask = |source| Error::Ask {
        program: program.to_owned(),
        source,
    };
    let ended = child::output(command, reaper, VERSION_LIMIT).await.map_err(ask)?;
    let version = parse(&ended.text).ok_or_else(|| Error::Odd {
        program: program.to_owned(),
        text: ended.text.chars().take(200).collect(),
    })?;
    match version.number < version::OLDEST {
        true => Err(Error::TooOld { version }),
        false => Ok(version),
    }
}

/// `/usr/sbin/mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))`
fn parse(text: &str) -> Option<Version> {
    let mut words = text.split_whitespace().skip_while(|word| *word != "Ver");
    words.nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_the_line() {
        for (text, wanted) in [
            (
                "/usr/sbin/mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))",
                Some("9.7.4-2"),
            ),
            (
                "mysqld  Ver 8.4.3 for Linux on x86_64 (MySQL Community Server - GPL)",
                Some("8.4.3"),
            ),
            ("mysqld  Ver 26.7.0-er for Linux", Some("26.7.0-er")),
            ("mysqld: not found", None),
            ("mariadbd Ver 10.11.6-MariaDB", None),
        ] {
            let version = parse(text).map(|version| version.to_string());
            assert_eq!(version.as_deref(), wanted, "{text}");
        }
    }
}
