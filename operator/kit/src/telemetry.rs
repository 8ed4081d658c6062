//! Log lines as JSON on standard output.
//! Must not let other people's code log what may be a secret, whatever level is asked for.

use std::panic::PanicHookInfo;

use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterExt, LevelFilter, ParseError, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The variable that says what is logged: `info`, or `info,controllers=debug`.
pub const FILTER_VARIABLE: &str = "HOLDFAST_LOG";
const DEFAULT_FILTER: &str = "info";

/// A panic's message may be anything.
const PANIC_LIMIT_BYTES: usize = 2000;

/// Never more than this. kube's client logs bodies that it cannot read, and a body may be a Secret;
/// below `warn` there are headers, statements and bytes on the wire.
const CAPS: [(&str, LevelFilter); 6] = [
    ("kube_client::client", LevelFilter::ERROR),
    ("mysql_async", LevelFilter::WARN),
    ("mysql_common", LevelFilter::WARN),
    ("hyper", LevelFilter::WARN),
    ("hyper_util", LevelFilter::WARN),
    ("rustls", LevelFilter::WARN),
];

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to understand {filter} as what to log, such as info or info,controllers=debug")]
    Filter {
        filter: String,
        #[source]
        source: ParseError,
    },
    #[error("failed to begin logging: something else has begun before")]
    Begun,
}

/// What the environment asks for.
pub fn filter() -> String {
    std::env::var(FILTER_VARIABLE).unwrap_or_else(|_| DEFAULT_FILTER.to_owned())
}

/// Call once, first in `main`, with `filter()`: lines from here on, and one for each panic.
pub fn init(filter: &str) -> Result<(), Error> {
    let lines = lines(filter, std::io::stdout)?;
    tracing_subscriber::registry()
        .with(lines)
        .try_init()
        .map_err(|_| Error::Begun)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

fn lines<S, W>(filter: &str, writer: W) -> Result<impl Layer<S>, Error>
where
    S: Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let wanted: Targets = filter.parse().map_err(|source| Error::Filter {
        filter: filter.to_owned(),
        source,
    })?;
    let caps = Targets::new().with_default(LevelFilter::TRACE).with_targets(CAPS);
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_writer(writer);
    Ok(lines.with_filter(wanted.and(caps)))
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("without a message");
    let place = panic.location().map(ToString::to_string);
    tracing::error!(
        panic = crate::cut(message, PANIC_LIMIT_BYTES),
        place,
        "this is a mistake in the program"
    );
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::Command;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str, log: impl FnOnce()) -> Vec<serde_json::Value> {
        let kept = Kept::default();
        let writer = kept.clone();
        let lines = lines(filter, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), log);
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn log_everything() {
        tracing::debug!("ours, in detail");
        tracing::info!(member = "db-0", "ours");
        tracing::warn!(target: "kube_client::client", "{{\"data\":{{\"password\":\"c2VjcmV0\"}}}}");
        tracing::error!(target: "kube_client::client", "theirs, of weight");
        tracing::debug!(target: "mysql_async::conn", "a statement, a secret");
        tracing::warn!(target: "mysql_async::conn", "theirs, a warning");
        tracing::debug!(target: "kube_client::client::tls", "theirs, in detail");
    }

    #[test]
    fn lines_are_json_and_others_are_capped_whatever_is_asked_for() {
        let all = [
            "trace",
            "trace,kube_client=trace,mysql_async=trace",
            "kube_client::client=trace,debug",
        ];
        for filter in all {
            let lines = logged(filter, log_everything);
            let messages: Vec<_> = lines
                .iter()
                .map(|line| line["message"].as_str().unwrap())
                .collect();
            assert_eq!(
                messages,
                [
                    "ours, in detail",
                    "ours",
                    "theirs, of weight",
                    "theirs, a warning"
                ]
            );
            assert_eq!(lines[1]["member"], "db-0");
            assert_eq!(lines[1]["level"], "INFO");
        }
    }

    #[test]
    fn the_filter_lowers_what_is_said() {
        assert_eq!(logged("info", log_everything).len(), 3);
        assert_eq!(logged("warn,kit=debug", log_everything).len(), 4);
        assert_eq!(logged("off", log_everything).len(), 0);
        let error = init("info,kit=loud").unwrap_err();
        assert!(matches!(error, Error::Filter { .. }), "{error}");
    }

    /// The hook and the subscriber are the whole process's: they get one of their own.
    #[test]
    fn a_panic_is_one_line_of_json() {
        const CHILD: &str = "KIT_TELEMETRY_CHILD";
        if std::env::var_os(CHILD).is_some() {
            init(&filter()).unwrap();
            assert!(matches!(init("info"), Err(Error::Begun)));
            panic!("on\npurpose");
        }
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "telemetry::tests::a_panic_is_one_line_of_json",
                "--nocapture",
            ])
            .env(CHILD, "1")
            .env(FILTER_VARIABLE, "error")
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().find(|line| line.starts_with('{')).unwrap();
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["panic"], "on\npurpose");
        assert!(line["place"].as_str().unwrap().contains("telemetry.rs"));
        assert_eq!(line["level"], "ERROR");
    }
}
