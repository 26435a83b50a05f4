//! An optional part of a store: timers.
//!
//! Problem: a process that waits for an answer must notice that none comes, also if its program is not running when the
//! time is over. Fix: a timer is a row in the store: a message, its stream, and the time at which it is due. Changes of
//! timers can be part of an append, so a timer is set exactly if its cause is recorded. When it is due, one transaction
//! writes the message and removes the row. Why it fires once: the removal and the message are in one transaction, and the
//! message has the id that it was given when the timer was set.

mod change;
mod query;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use crate::{MessageId, NewMessage, Result, StreamName};

#[cfg(feature = "postgres")]
pub(crate) use change::LONGEST;
pub use change::{Due, IfWaiting, TimerChange, TimerChanged};
pub use query::TimerQuery;

/// The timers of a store. Every time is of the database's clock.
///
/// A [service](crate::service::Service) fires timers. [`Reaction::timer`](crate::handling::Reaction::timer) sets them, and
/// [`AppendRequest::timer`](crate::AppendRequest::timer) changes them in the transaction of an append.
///
/// ```
/// use std::time::Duration;
/// use message_store::store::{Due, TimerChange, TimerKey, TimerQuery};
/// use message_store::{Json, NewMessage, StreamName, connect};
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let store = connect("sqlite::memory:").await?;
/// let timers = store.timers().ok_or("this store has no timers")?;
/// let key = TimerKey::new(StreamName::new("transfer-7")?, "time-out");
/// let message = NewMessage::new("TimeOut", Json::NULL);
/// let set = TimerChange::set(key, Due::After(Duration::from_secs(60)), StreamName::new("transfer:command-7")?, message);
/// timers.change(vec![set]).await?;
/// assert_eq!(timers.list(TimerQuery::new()).await?[0].key.name, "time-out");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[async_trait]
pub trait Timers: Send + Sync {
    /// Carries out changes, all of them or none, in the order in which they are given. Returns the result of each.
    ///
    /// # Errors
    /// [`Invalid`](crate::Error::Invalid) and [`TooLarge`](crate::Error::TooLarge) for a message that the store does not
    /// accept; the store's errors.
    async fn change(&self, changes: Vec<TimerChange>) -> Result<Vec<TimerChanged>>;

    /// The timers that wait, by the times at which they are due, and then by their keys.
    ///
    /// # Errors
    /// The store's errors.
    async fn list(&self, query: TimerQuery) -> Result<Vec<Timer>>;

    /// Writes the messages of these timers to their streams, at any version, and removes the timers. A timer that no longer
    /// waits as it was listed, because it was fired, moved, set again or cancelled, is left alone. So is one that another
    /// call is changing. Returns the number of timers that this call has removed.
    ///
    /// If another message has the id of a timer's message, the timer gets another id and waits on.
    ///
    /// # Errors
    /// The store's errors. After [`CommitUnknown`](crate::Error::CommitUnknown), list the timers again.
    async fn fire(&self, timers: &[Timer]) -> Result<usize>;
}

/// A timer that waits.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Timer {
    #[allow(missing_docs)]
    pub key: TimerKey,
    /// The time at which it is due, to microseconds.
    pub due: Timestamp,
    /// The time until it is due, when it was listed. Negative if it was due before.
    pub due_in: SignedDuration,
    /// The stream to which its message is written.
    pub to: StreamName,
    #[allow(missing_docs)]
    pub message: NewMessage,
}

impl Timer {
    /// A timer, as a store lists it.
    pub fn new(key: TimerKey, (due, due_in): (Timestamp, SignedDuration), to: StreamName, message: NewMessage) -> Self {
        Self { key, due, due_in, to, message }
    }

    /// Whether it was due when it was listed.
    pub fn is_due(&self) -> bool {
        !self.due_in.is_positive()
    }

    /// The id of its message.
    pub fn id(&self) -> MessageId {
        self.message.id
    }
}

/// The key of a timer. At most one timer of a key waits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct TimerKey {
    /// The stream of the process or entity to which it belongs.
    pub stream: StreamName,
    /// Its name among the timers of that stream. At most 255 bytes.
    pub name: String,
}

impl TimerKey {
    #[allow(missing_docs)]
    pub fn new(stream: StreamName, name: impl Into<String>) -> Self {
        Self { stream, name: name.into() }
    }
}
