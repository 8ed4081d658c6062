//! The two clients of the Kubernetes API, calls with an end, and what their failures mean.
//! Must not know what is called, or decide what to do about a failure.
//!
//! kube's own client waits for an answer for ever, and tries again for minutes when the server
//! says that it is busy. That is right for what runs in the background and wrong for whatever has
//! a deadline; hence two clients, and `call` around every use that is not a watch.

use std::path::Path;
use std::time::Duration;

use http::HeaderValue;
use http::header::USER_AGENT;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::Status;
use kube::{Client, Config};

/// Whom the API server names as the owner of the fields we set. Never changes: fields set under
/// another name would stay for ever.
pub const FIELD_MANAGER: &str = "holdfast";

const AGENT: &str = concat!("holdfast/", env!("CARGO_PKG_VERSION"));

/// A watch is silent for up to 290 s, and its watcher gives it up after 295 s by itself.
const READ_TIMEOUT: Duration = Duration::from_secs(310);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Outer limits: every prompt call has a shorter deadline of its own.
const PROMPT_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to get an answer from the API server within {} ms", .after.as_millis())]
    Timeout { after: Duration },
    #[error("failed to have the API server do it ({class:?})")]
    Api {
        class: Class,
        #[source]
        source: Box<kube::Error>,
    },
    #[error("failed to read the kubeconfig")]
    Kubeconfig(#[source] kube::config::KubeconfigError),
    #[error("failed to find the API server from within a Pod")]
    InCluster(#[source] kube::config::InClusterError),
    #[error("failed to make a client for the API server")]
    Client(#[source] Box<kube::Error>),
}

/// What a failure means for the one who called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// There is no such object, kind or namespace.
    NotFound,
    /// There is one of that name already.
    AlreadyExists,
    /// Someone else wrote in between, or the precondition did not hold.
    Conflict,
    /// The version that was asked for is too old: list again.
    Gone,
    /// We may not, or the namespace is going away.
    Forbidden,
    /// We are not who we must be: a token or certificate has run out.
    Unauthorized,
    /// The object breaks a rule: trying again is of no use.
    Invalid,
    /// Too many requests.
    Throttled,
    /// The server cannot be reached or cannot answer now.
    Unavailable,
    /// No answer in time.
    Timeout,
    /// A failure of our own: a client that cannot be made, an answer that cannot be read.
    Other,
}

impl Error {
    pub fn class(&self) -> Class {
        match self {
            Self::Timeout { .. } => Class::Timeout,
            Self::Api { class, .. } => *class,
            Self::Kubeconfig(_) | Self::InCluster(_) | Self::Client(_) => Class::Other,
        }
    }

    /// A write that failed so may still be done, now or later.
    pub fn may_have_happened(&self) -> bool {
        matches!(self.class(), Class::Timeout | Class::Unavailable | Class::Other)
    }
}

impl From<kube::Error> for Error {
    fn from(source: kube::Error) -> Self {
        Self::Api {
            class: class_of(&source),
            source: Box::new(source),
        }
    }
}

fn class_of(error: &kube::Error) -> Class {
    let status = match error {
        kube::Error::Api(status) => status,
        kube::Error::HyperError(_)
        | kube::Error::Service(_)
        | kube::Error::HttpError(_)
        | kube::Error::ReadEvents(_) => return Class::Unavailable,
        kube::Error::Auth(_) => return Class::Unauthorized,
        _ => return Class::Other,
    };
    match (status.code, status.reason.as_str()) {
        // An apply meant for an object whose name another has by now.
        (422, _) if is_about_uid(status) => Class::Conflict,
        (409, "AlreadyExists") => Class::AlreadyExists,
        (409, _) => Class::Conflict,
        (404, _) => Class::NotFound,
        (410, _) => Class::Gone,
        (403, _) => Class::Forbidden,
        (401, _) => Class::Unauthorized,
        (400 | 405 | 406 | 413 | 415 | 422, _) => Class::Invalid,
        (429, _) => Class::Throttled,
        (500..=599, _) => Class::Unavailable,
        _ => Class::Other,
    }
}

fn is_about_uid(status: &Status) -> bool {
    let details = status.details.iter();
    details
        .flat_map(|details| &details.causes)
        .any(|cause| cause.field == "metadata.uid")
}

/// Ends at the deadline, whatever the server does.
pub async fn call<T>(deadline: Duration, future: impl Future<Output = kube::Result<T>>) -> Result<T, Error> {
    match tokio::time::timeout(deadline, future).await {
        Ok(outcome) => outcome.map_err(Error::from),
        Err(_) => Err(Error::Timeout { after: deadline }),
    }
}

/// A client that answers or fails at once: no call is tried twice. For the lease and for changes
/// of roles.
#[derive(Clone)]
pub struct Prompt(Client);

impl Prompt {
    pub fn client(&self) -> &Client {
        &self.0
    }
}

/// Both clients, with connections of their own: a busy one does not hold up the other.
#[derive(Clone)]
pub struct Clients {
    /// Tries again when the server is busy; watches.
    pub patient: Client,
    pub prompt: Prompt,
}

impl Clients {
    pub fn new(config: &Config) -> Result<Self, Error> {
        let make = |config: Config| Client::try_from(config).map_err(|error| Error::Client(Box::new(error)));
        Ok(Self {
            patient: make(patient(config.clone()))?,
            prompt: Prompt(make(prompt(config.clone()))?),
        })
    }
}

/// From the file that is named, or from within a Pod, or from where kubectl looks.
pub async fn config(kubeconfig: Option<&Path>) -> Result<Config, Error> {
    let options = KubeConfigOptions::default();
    if let Some(path) = kubeconfig {
        let read = Kubeconfig::read_from(path).map_err(Error::Kubeconfig)?;
        let made = Config::from_custom_kubeconfig(read, &options).await;
        return made.map_err(Error::Kubeconfig);
    }
    // Not `Config::infer`, which prefers a file and obeys variables meant for debugging.
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        return Config::incluster().map_err(Error::InCluster);
    }
    let made = Config::from_kubeconfig(&options).await;
    made.map_err(Error::Kubeconfig)
}

fn patient(config: Config) -> Config {
    with_timeouts(config, CONNECT_TIMEOUT, READ_TIMEOUT, WRITE_TIMEOUT)
}

fn prompt(config: Config) -> Config {
    let limit = PROMPT_TIMEOUT;
    let mut config = with_timeouts(config, limit, limit, limit);
    config.default_retry = false;
    config
}

fn with_timeouts(mut config: Config, connect: Duration, read: Duration, write: Duration) -> Config {
    config.connect_timeout = Some(connect);
    config.read_timeout = Some(read);
    config.write_timeout = Some(write);
    // Else the time a connection lay idle counts against the next answer on it.
    config.reset_reader_on_write = true;
    config.headers.push((USER_AGENT, HeaderValue::from_static(AGENT)));
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: u16, reason: &str) -> Error {
        let status = Status::failure("no", reason).with_code(code);
        kube::Error::Api(status.boxed()).into()
    }

    #[test]
    fn answers_have_their_classes() {
        for (code, reason, class) in [
            (404, "NotFound", Class::NotFound),
            (409, "AlreadyExists", Class::AlreadyExists),
            (409, "Conflict", Class::Conflict),
            (410, "Expired", Class::Gone),
            (403, "Forbidden", Class::Forbidden),
            (401, "Unauthorized", Class::Unauthorized),
            (422, "Invalid", Class::Invalid),
            (400, "BadRequest", Class::Invalid),
            (429, "TooManyRequests", Class::Throttled),
            (500, "InternalError", Class::Unavailable),
            (503, "ServiceUnavailable", Class::Unavailable),
            (504, "Timeout", Class::Unavailable),
            (302, "", Class::Other),
        ] {
            assert_eq!(said(code, reason).class(), class, "{code} {reason}");
        }
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert_eq!(
            Error::from(kube::Error::Service(reset.into())).class(),
            Class::Unavailable
        );
    }

    #[test]
    fn only_an_answer_says_that_a_write_was_not_done() {
        assert!(!said(409, "Conflict").may_have_happened());
        assert!(!said(429, "TooManyRequests").may_have_happened());
        assert!(said(504, "Timeout").may_have_happened());
        let after = Duration::from_secs(1);
        assert!(Error::Timeout { after }.may_have_happened());
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_ends_at_its_deadline() {
        let began = tokio::time::Instant::now();
        let deadline = Duration::from_millis(1500);
        let outcome = call(deadline, std::future::pending::<kube::Result<()>>()).await;
        let error = outcome.unwrap_err();
        assert_eq!(began.elapsed(), deadline);
        assert_eq!(
            error.to_string(),
            "failed to get an answer from the API server within 1500 ms"
        );
        let done = call(deadline, async { Ok::<_, kube::Error>(7) }).await;
        assert_eq!(done.unwrap(), 7);
    }

    #[test]
    fn only_the_prompt_one_gives_up_at_once() {
        let config = Config::new(http::Uri::from_static("https://10.0.0.1:6443"));
        let (patient, prompt) = (patient(config.clone()), prompt(config));
        assert!(patient.default_retry && !prompt.default_retry);
        assert!(prompt.read_timeout.unwrap() < patient.read_timeout.unwrap());
        assert!(patient.read_timeout.unwrap() > Duration::from_secs(295));
        for config in [patient, prompt] {
            assert!(config.connect_timeout.is_some() && config.write_timeout.is_some());
            assert!(config.reset_reader_on_write);
            assert_eq!(config.headers[0].1.to_str().unwrap(), AGENT);
        }
    }

    #[tokio::test]
    async fn a_missing_kubeconfig_is_named() {
        let error = config(Some(Path::new("no/such/file"))).await.unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("no/such/file"), "{cause}");
    }
}
