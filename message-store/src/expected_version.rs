//! The version that a writer expects a stream to have, for optimistic concurrency.

use std::fmt;

use crate::{Position, Version};

/// The version that a stream must have for an append. Otherwise the store refuses the append.
///
/// It is Message DB's `expected_version` argument of `write_message`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExpectedVersion {
    /// The stream may have any version.
    Any,
    /// The stream must have no message. This is Eventide's *write initial*.
    NoStream,
    /// The last message of the stream must be at this position.
    Exact(Position),
}

impl ExpectedVersion {
    /// Whether a stream with the version `actual` can be appended to.
    pub fn allows(self, actual: Version) -> bool {
        match self {
            Self::Any => true,
            Self::NoStream => actual == Version::NO_STREAM,
            Self::Exact(position) => actual == Version::at(position),
        }
    }

    /// Message DB's number: `None` for any version, -1 for no stream.
    pub fn number(self) -> Option<i64> {
        match self {
            Self::Any => None,
            Self::NoStream => Some(Version::NO_STREAM.get()),
            Self::Exact(position) => Some(position.get()),
        }
    }
}

impl From<Version> for ExpectedVersion {
    fn from(version: Version) -> Self {
        match version.position() {
            Some(position) => Self::Exact(position),
            None => Self::NoStream,
        }
    }
}

impl fmt::Display for ExpectedVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any version"),
            Self::NoStream => f.write_str("no stream"),
            Self::Exact(position) => write!(f, "version {position}"),
        }
    }
}
