//! The backlog of a reader: the messages of a category that it has not handled.

use std::time::Duration;

use jiff::Timestamp;

use crate::GlobalPosition;

/// The messages of a category after a position, and the end of the category.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backlog {
    /// The number of messages after the position.
    pub messages: u64,
    /// The time of the first of them, by the database's clock.
    pub oldest: Option<Timestamp>,
    /// The global position of the last message of the category, also if that is not after the position. 0 if the
    /// category has no messages.
    pub end: GlobalPosition,
}

impl Backlog {
    /// No message, in a category without messages.
    pub const EMPTY: Self = Self::new(0, None, GlobalPosition::ZERO);

    /// A backlog of these parts.
    pub const fn new(messages: u64, oldest: Option<Timestamp>, end: GlobalPosition) -> Self {
        Self { messages, oldest, end }
    }

    /// How long the oldest message has waited, at this time of the database's clock. Zero if there is none.
    pub fn age(&self, now: Timestamp) -> Duration {
        self.oldest.and_then(|oldest| Duration::try_from(now.duration_since(oldest)).ok()).unwrap_or_default()
    }
}
