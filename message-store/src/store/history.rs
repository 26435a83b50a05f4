//! Histories of a store, as a handle sees them.

use jiff::Timestamp;

use crate::{GlobalPosition, MessageId};

/// The number of the history that a handle sees: 0 when the store is opened, and one more for each history that begins
/// later. Numbers of two handles must not be compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct History(pub u64);

/// The beginning of the history that a handle sees.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistoryChange {
    /// When it was noticed, by the process's clock.
    pub at: Timestamp,
    /// What showed that another history has begun.
    pub reason: String,
    /// The last message that this handle had written or read before, if it is not in the store any more.
    pub lost: Option<LostMessage>,
}

/// A message that is not in the store any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct LostMessage {
    pub id: MessageId,
    /// Another message may have this position now.
    pub global_position: GlobalPosition,
}

impl HistoryChange {
    /// A change that was noticed at this time.
    pub fn new(at: Timestamp, reason: impl Into<String>, lost: Option<LostMessage>) -> Self {
        Self { at, reason: reason.into(), lost }
    }
}
