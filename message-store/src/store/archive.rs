//! An optional part of a store: the archive, for messages that all consumers have handled.
//!
//! Problem: a table of messages that grows for ever slows its appends, and its backups. Fix: old messages move to a place
//! of their own. They keep their ids and their positions, and every read finds them there. Why nothing is taken for
//! lost: one transaction takes a message from the one place and writes it to the other, and a reader sees the store
//! before that transaction or after it. The last message of each stream does not move, so an append finds the version
//! of a stream without the archive.

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;

use super::StreamBatch;
use crate::{Category, GlobalPosition, Position, Result, StreamRead};

/// The archive of a store. [`Archiving`](crate::operations::Archiving) decides what may be moved, and moves it.
///
/// A run moves the messages of one category up to a global position. Each part of it is one transaction, which also
/// saves the progress of the run. So a run that ends half way, because its process is killed, goes on where it was.
#[async_trait]
pub trait Archive: Send + Sync {
    /// Begins a run that moves the messages of this category up to `through`. A category has one run at a time: if it
    /// has one that has not ended, this returns that run, whatever its `through` is.
    ///
    /// # Errors
    /// The store's errors.
    async fn begin(&self, category: &Category, through: GlobalPosition) -> Result<ArchiveRun>;

    /// Looks at the next messages of a run, at most so many, and moves those that are not the last of their streams.
    /// Returns the run with its progress. If the run has ended, this moves nothing. Two callers of one run take turns.
    ///
    /// # Errors
    /// The store's errors. After a lost answer, the caller calls it again.
    async fn move_part(&self, run: &ArchiveRun, messages: u32) -> Result<ArchiveRun>;

    /// All runs, in the order in which they began.
    ///
    /// # Errors
    /// The store's errors.
    async fn runs(&self) -> Result<Vec<ArchiveRun>>;
}

/// A run of the archive, with its progress.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiveRun {
    /// The number of the run in its store.
    pub number: i64,
    #[allow(missing_docs)]
    pub category: Category,
    /// The run moves messages up to this global position.
    pub through: GlobalPosition,
    /// It has looked at the messages up to this one.
    pub looked_through: GlobalPosition,
    /// The number of messages that it has moved.
    pub moved: u64,
    /// By the database's clock.
    pub begun_at: Timestamp,
    /// By the database's clock. `None` while the run has not ended.
    pub ended_at: Option<Timestamp>,
}

impl ArchiveRun {
    /// A run that has moved nothing yet.
    pub fn new(number: i64, category: Category, through: GlobalPosition, begun_at: Timestamp) -> Self {
        Self { number, category, through, looked_through: GlobalPosition::ZERO, moved: 0, begun_at, ended_at: None }
    }
}

impl fmt::Display for ArchiveRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { category, moved, looked_through, through, .. } = self;
        write!(f, "{category}: {moved} messages moved, looked through {looked_through} of {through}")
    }
}

/// For backends that have an archive: whether the messages that a read of a stream has found in the table of messages
/// leave out some that may be in the archive. Positions have no gaps, so a gap shows that they do.
pub fn lacks_archived(read: &StreamRead, StreamBatch { messages: found, is_end }: &StreamBatch) -> bool {
    if read.backwards {
        let has_gap = found.windows(2).any(|pair| pair[0].position != pair[1].position.next());
        let begins_late = match found.last() {
            Some(lowest) => *is_end && lowest.position > Position::FIRST,
            // The last message of a stream is never archived.
            None => read.from.is_some(),
        };
        return has_gap || begins_late;
    }
    let mut next = read.from.unwrap_or(Position::FIRST);
    for message in found {
        if message.position != next {
            return true;
        }
        next = next.next();
    }
    false
}
