//! The subcommand `decide`: what would be decided about a captured look at a cluster, and why.
//! Must not reach any cluster: all that it knows is the capture.

mod words;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use topology::capture::Capture;

use crate::output::{self, Format};

/// A look at nine members with long histories is a few hundred KiB.
const CAPTURE_LIMIT_BYTES: u64 = 16 << 20;
/// So much is quoted of what is no capture.
const QUOTE_LIMIT: usize = 200;

const STANDARD_INPUT: &str = "-";
const HOW: &str = "a capture is what the controller answers under /clusters/<namespace>/<name>";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to open {}: name a file with a capture, or - for standard input", path.display())]
    Open {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("failed to read {from}")]
    Read {
        from: String,
        #[source]
        source: io::Error,
    },
    #[error("failed to read {from}: it is larger than {} MiB; {HOW}", CAPTURE_LIMIT_BYTES >> 20)]
    TooLarge { from: String },
    #[error(
        "failed to read {from}: it is empty; if it comes from a pipe, look at what the command before it says"
    )]
    Empty { from: String },
    #[error("failed to understand {from}: {HOW}, and this says: {said}")]
    NotJson { from: String, said: String },
    #[error(
        "failed to understand {from} as a capture; take it with the version of the program that reads it"
    )]
    NotCapture {
        from: String,
        #[source]
        source: serde_json::Error,
    },
    #[error(transparent)]
    Output(#[from] output::Error),
}

#[derive(Args, Clone, Debug)]
pub struct DecideOptions {
    /// A captured look, as the controller answers /clusters/NAMESPACE/NAME; - is standard input
    #[arg(long, value_name = "FILE")]
    observed: PathBuf,
    /// As a text, or the Decision itself
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Format::Text)]
    output: Format,
}

/// Success if the plan passes its check, 1 if it does not.
pub fn run(options: &DecideOptions) -> Result<ExitCode, Error> {
    let (from, bytes) = read(&options.observed)?;
    let capture = parse(&from, &bytes)?;
    let decision = capture.decide();
    let checked = capture.check(&decision);
    match options.output {
        Format::Text => output::print(&words::text(&capture, &decision, &checked))?,
        Format::Json => output::print(&output::json(&decision)?)?,
    }
    let Err(violations) = checked else {
        return Ok(ExitCode::SUCCESS);
    };
    for violation in violations {
        eprintln!("the plan fails its check: {violation}");
    }
    Ok(ExitCode::FAILURE)
}

fn read(path: &Path) -> Result<(String, Vec<u8>), Error> {
    if path.as_os_str() == STANDARD_INPUT {
        let from = "standard input".to_owned();
        let bytes = bounded(&from, io::stdin().lock())?;
        return Ok((from, bytes));
    }
    let file = File::open(path).map_err(|source| Error::Open {
        path: path.to_owned(),
        source,
    })?;
    let from = path.display().to_string();
    let bytes = bounded(&from, file)?;
    Ok((from, bytes))
}

fn bounded(from: &str, reader: impl Read) -> Result<Vec<u8>, Error> {
    let from = from.to_owned();
    let mut bytes = Vec::new();
    // One more, to see that there is more.
    let read = reader.take(CAPTURE_LIMIT_BYTES + 1).read_to_end(&mut bytes);
    match read {
        Err(source) => Err(Error::Read { from, source }),
        Ok(length) if length as u64 > CAPTURE_LIMIT_BYTES => Err(Error::TooLarge { from }),
        Ok(_) => Ok(bytes),
    }
}

fn parse(from: &str, bytes: &[u8]) -> Result<Capture, Error> {
    let from = from.to_owned();
    match bytes.trim_ascii_start().first() {
        None => Err(Error::Empty { from }),
        Some(b'{') => serde_json::from_slice(bytes).map_err(|source| Error::NotCapture { from, source }),
        Some(_) => Err(Error::NotJson {
            from,
            said: output::line(&String::from_utf8_lossy(bytes), QUOTE_LIMIT),
        }),
    }
}

#[cfg(test)]
mod tests;
