//! Positions: the place of a message in its stream, and its place in the whole store.
//!
//! These numbers are easy to confuse, so each has its own type, and a wrong one does not compile:
//!
//! ```compile_fail
//! use message_store::{GlobalPosition, Read, Version};
//! let read = Read::from(Version::NO_STREAM);
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

/// The place of a message in its stream: 0 for the first, without gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(i64);

impl Position {
    /// The position of a stream's first message.
    pub const FIRST: Self = Self(0);

    /// A store assigns numbers from 0.
    pub const fn new(number: i64) -> Self {
        Self(number)
    }

    /// The number, as it is stored in the database.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The position after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// The place of a message in the whole store. It increases with every message, and may have gaps.
///
/// Within a category, a reader that has passed position *n* never later finds an unseen message below *n*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GlobalPosition(i64);

impl GlobalPosition {
    /// The position of a reader that has read nothing yet.
    pub const ZERO: Self = Self(0);
    /// The lowest position that a message can have.
    pub const FIRST: Self = Self(1);

    /// A store assigns numbers from 1.
    pub const fn new(number: i64) -> Self {
        Self(number)
    }

    /// The number, as it is stored in the database.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The position after this one, where the next read begins.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The position before this one.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

/// The version of a stream: the position of its last message, or [`Version::NO_STREAM`].
///
/// ```
/// use message_store::{Position, Version};
/// assert_eq!(Version::NO_STREAM.next(), Position::FIRST);
/// assert_eq!(Version::at(Position::new(4)).next(), Position::new(5));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(i64);

impl Version {
    /// The stream has no message. Message DB writes this as -1.
    pub const NO_STREAM: Self = Self(-1);

    /// The version of a stream whose last message is at `position`.
    pub const fn at(position: Position) -> Self {
        Self(position.0)
    }

    /// The number, as Message DB writes it: -1 for no stream.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The position of the last message, if there is one.
    pub const fn position(self) -> Option<Position> {
        if self.0 < 0 { None } else { Some(Position(self.0)) }
    }

    /// The position that the next message of the stream takes.
    #[must_use]
    pub const fn next(self) -> Position {
        Position(self.0.saturating_add(1))
    }
}

impl From<Position> for Version {
    fn from(position: Position) -> Self {
        Self::at(position)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for GlobalPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position() {
            None => f.write_str("no stream"),
            Some(position) => position.fmt(f),
        }
    }
}
