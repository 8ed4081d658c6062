//! What can go wrong between us and one server, in classes a caller can act on.
//! Must not carry a statement or a password, nor say what a failure means for a cluster.

use std::io;
use std::time::Duration;

/// "I could not see it" is never "it is down": each class says what was seen, no more.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No way to the host, or its name cannot be resolved.
    #[error("failed to {doing}: the server cannot be reached")]
    Unreachable { doing: &'static str, source: io::Error },
    /// The machine answered: nobody listens there. The same for a socket file that is not there.
    #[error("failed to {doing}: nobody listens")]
    Refused { doing: &'static str, source: io::Error },
    /// The connection ended. Whether the statement took effect is unknown.
    #[error("failed to {doing}: the connection was lost")]
    Lost { doing: &'static str },
    /// No answer in time. Whether the statement takes effect, later even, is unknown.
    #[error("failed to {doing} within {within:?}")]
    Timeout { doing: &'static str, within: Duration },
    /// Not MySQL, not the certificate we trust, or not the shape of an answer that we know. A user
    /// that does not exist can end here: the server pretends it has one, with a method of logging in
    /// that is drawn by lot and that the driver may not speak.
    #[error("failed to {doing}: wrong answer: {what}")]
    WrongAnswer { doing: &'static str, what: String },
    /// The server refused. The message is empty where it could show a password.
    #[error("failed to {doing}: error {code} {message}")]
    Server {
        doing: &'static str,
        code: u16,
        message: String,
    },
    /// An earlier call failed and closed the session.
    #[error("failed to {doing}: the session is closed")]
    Closed { doing: &'static str },
    /// Refused here; nothing was sent.
    #[error("failed to {doing}: {what}")]
    Input { doing: &'static str, what: String },
}

impl Error {
    /// The server's error code, if it was the server that refused.
    pub fn code(&self) -> Option<u16> {
        match self {
            Error::Server { code, .. } => Some(*code),
            _ => None,
        }
    }

    pub(crate) fn wrong(doing: &'static str, what: impl Into<String>) -> Self {
        Error::WrongAnswer {
            doing,
            what: what.into(),
        }
    }

    /// `has_session` tells an end before the first greeting from one after.
    pub(crate) fn from_driver(doing: &'static str, error: mysql_async::Error, has_session: bool) -> Self {
        use mysql_async::{DriverError, Error as Driver, IoError};
        match error {
            Driver::Server(error) => Error::Server {
                doing,
                code: error.code,
                message: error.message,
            },
            Driver::Driver(DriverError::ConnectionClosed) => Error::Lost { doing },
            Driver::Io(IoError::Io(source)) => Error::from_io(doing, source, has_session),
            other => Error::wrong(doing, other.to_string()),
        }
    }

    fn from_io(doing: &'static str, source: io::Error, has_session: bool) -> Self {
        match source.kind() {
            // rustls hands its own errors over as the first kind, the driver its own as the second.
            io::ErrorKind::InvalidData | io::ErrorKind::Other => Error::wrong(doing, source.to_string()),
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound if !has_session => {
                Error::Refused { doing, source }
            }
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Error::Lost { doing },
            _ if has_session => Error::Lost { doing },
            _ => Error::Unreachable { doing, source },
        }
    }

    /// The server quotes the place of a syntax error, perhaps a part of the password.
    pub(crate) fn without(self, secret: &str) -> Self {
        let is_shown = |text: &str| !secret.is_empty() && text.contains(secret);
        match self {
            Error::Server { doing, code, message } if PARSE_ERRORS.contains(&code) || is_shown(&message) => {
                let message = String::new();
                Error::Server { doing, code, message }
            }
            Error::WrongAnswer { doing, what } if is_shown(&what) => Error::wrong(doing, "not shown"),
            other => other,
        }
    }
}

const PARSE_ERRORS: [u16; 2] = [1064, 1149];

#[cfg(test)]
mod tests {
    use super::*;
    use mysql_async::{DriverError, IoError, ServerError};

    fn class(error: &Error) -> &'static str {
        match error {
            Error::Unreachable { .. } => "unreachable",
            Error::Refused { .. } => "refused",
            Error::Lost { .. } => "lost",
            Error::Timeout { .. } => "timeout",
            Error::WrongAnswer { .. } => "wrong answer",
            Error::Server { .. } => "server",
            Error::Closed { .. } => "closed",
            Error::Input { .. } => "input",
        }
    }

    #[test]
    fn io_errors_have_classes() {
        use io::ErrorKind::*;
        for (kind, before, after) in [
            (ConnectionRefused, "refused", "lost"),
            (NotFound, "refused", "lost"),
            (HostUnreachable, "unreachable", "lost"),
            (NetworkUnreachable, "unreachable", "lost"),
            (TimedOut, "unreachable", "lost"),
            (Other, "wrong answer", "wrong answer"),
            (UnexpectedEof, "lost", "lost"),
            (ConnectionReset, "lost", "lost"),
            (InvalidData, "wrong answer", "wrong answer"),
        ] {
            for (has_session, wanted) in [(false, before), (true, after)] {
                let error = mysql_async::Error::Io(IoError::Io(kind.into()));
                let error = Error::from_driver("connect", error, has_session);
                assert_eq!(class(&error), wanted, "{kind} {has_session}");
            }
        }
    }

    #[test]
    fn driver_errors_have_classes() {
        let closed = Error::from_driver("read", DriverError::ConnectionClosed.into(), true);
        assert_eq!(class(&closed), "lost");
        let order = Error::from_driver("read", DriverError::PacketOutOfOrder.into(), true);
        assert_eq!(class(&order), "wrong answer");
    }

    #[test]
    fn a_password_is_withheld() {
        for (code, message, is_kept) in [
            (1064, "near 'hunt", false),
            (3862, "hunter2 is wrong", false),
            (3862, "donor is gone", true),
        ] {
            let server = ServerError {
                code,
                message: message.into(),
                state: "HY000".into(),
            };
            let error = Error::from_driver("set a password", server.into(), true).without("hunter2");
            assert_eq!(error.code(), Some(code));
            assert_eq!(
                format!("{error} {error:?}").contains(message),
                is_kept,
                "{message}"
            );
        }
        let wrong = Error::wrong("read", "hunter2").without("hunter2");
        assert!(!wrong.to_string().contains("hunter2"));
        let wrong = Error::wrong("read", "plain").without("");
        assert!(wrong.to_string().contains("plain"));
    }
}
