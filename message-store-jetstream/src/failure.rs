//! Failures of calls of the server.

use std::fmt;

use message_store::{Error, Source};
use serde::Deserialize;

/// An error that a server has answered.
#[derive(Clone, Debug, Deserialize, thiserror::Error)]
#[error("{description} (JetStream error {err_code})")]
pub(crate) struct ApiError {
    #[serde(default)]
    pub(crate) code: u16,
    #[serde(default)]
    pub(crate) err_code: u32,
    #[serde(default)]
    pub(crate) description: String,
}

impl ApiError {
    /// A condition of a batch is not true: another write came first, or is under way.
    pub(crate) fn is_overtaken(&self) -> bool {
        matches!(self.err_code, 10_071 | 10_164)
    }

    /// The log does not exist.
    pub(crate) fn is_no_log(&self) -> bool {
        self.err_code == 10_059
    }

    /// There is no record.
    pub(crate) fn is_no_record(&self) -> bool {
        self.err_code == 10_037
    }

    /// The batch was refused because there are too many of them, or was given up before its end. Nothing was written.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self.err_code, 10_176 | 10_210 | 10_211)
    }

    /// The fault passes by itself: the log has no leader, or the server is starting or stopping.
    pub(crate) fn is_passing(&self) -> bool {
        self.is_busy() || self.code == 503 || matches!(self.err_code, 10_008 | 10_074 | 10_077 | 10_158)
    }
}

const NOT_CONNECTED: &str = "no NATS server is connected";

/// A call that had no result.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server refused it.
    Refused(ApiError),
    /// There was no answer. The server may have carried it out.
    NoAnswer(Source),
    /// No server is connected, so nothing was sent.
    NotConnected,
    /// It was not sent, and cannot be.
    NotSent(Source),
}

impl Failure {
    /// The same failure, for another caller.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Refused(error) => Self::Refused(error.clone()),
            Self::NoAnswer(source) => Self::NoAnswer(source.to_string().into()),
            Self::NotConnected => Self::NotConnected,
            Self::NotSent(source) => Self::NotSent(source.to_string().into()),
        }
    }

    /// Whether the same call may succeed later.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Refused(error) => error.is_passing(),
            Self::NoAnswer(_) | Self::NotConnected => true,
            Self::NotSent(_) => false,
        }
    }

    /// The error of a call that changes nothing.
    pub(crate) fn into_error(self, context: impl Into<String>) -> Error {
        let is_passing = self.is_passing();
        Error::backend(context, is_passing, self.into_source())
    }

    pub(crate) fn into_source(self) -> Source {
        match self {
            Self::Refused(error) => error.into(),
            Self::NotConnected => NOT_CONNECTED.into(),
            Self::NoAnswer(source) | Self::NotSent(source) => source,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => error.fmt(f),
            Self::NotConnected => f.write_str(NOT_CONNECTED),
            Self::NoAnswer(source) | Self::NotSent(source) => source.fmt(f),
        }
    }
}
