//! Changes of timers.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::TimerKey;
use crate::{Error, Json, Limits, MessageId, NewMessage, Result, StreamName};

/// The greatest length of a timer's name, in bytes.
const NAME: usize = 255;
/// The longest time after which a timer can be due: about a thousand years.
pub(crate) const LONGEST: Duration = Duration::from_hours(1000 * 366 * 24);

/// The time at which a timer is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// At this time. If it has passed, the timer is due at once.
    At(Timestamp),
    /// So long after the change is carried out, by the database's clock. At most about a thousand years.
    After(Duration),
}

/// What happens to a timer of the same key that waits when another is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IfWaiting {
    /// The new timer replaces it.
    #[default]
    Replace,
    /// The new timer replaces its message and stream. It is due when the waiting one was.
    KeepDue,
    /// The waiting timer is kept, and the new one is dropped.
    Keep,
}

/// A change of a timer.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TimerChange {
    /// Sets a timer, unless the store has a message of its message's id: then the timer has fired. If a timer with this
    /// message waits under the key, nothing changes.
    Set {
        #[allow(missing_docs)]
        key: TimerKey,
        #[allow(missing_docs)]
        due: Due,
        /// The stream to which the message is written.
        to: StreamName,
        #[allow(missing_docs)]
        message: NewMessage,
        #[allow(missing_docs)]
        if_waiting: IfWaiting,
    },
    /// Changes the time at which a waiting timer is due.
    Move {
        #[allow(missing_docs)]
        key: TimerKey,
        #[allow(missing_docs)]
        due: Due,
    },
    /// Replaces the content of a waiting timer's message, if the message has this id. The timer is due when it was.
    Redact {
        #[allow(missing_docs)]
        key: TimerKey,
        /// The id of the message.
        id: MessageId,
        #[allow(missing_docs)]
        data: Json,
        #[allow(missing_docs)]
        metadata: Json,
    },
    /// Removes a waiting timer, without its message.
    Cancel {
        #[allow(missing_docs)]
        key: TimerKey,
    },
}

/// The result of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimerChanged {
    /// The timer was set, and none of its key waited.
    Set,
    /// The timer was set in place of one that waited.
    Replaced,
    /// The timer that waited was kept.
    Kept,
    /// The timer was not set, because the store has its message already.
    Fired,
    /// The waiting timer is due at another time.
    Moved,
    /// The waiting timer's message has another content.
    Redacted,
    /// The waiting timer was removed.
    Cancelled,
    /// No timer of the key waits (to be redacted: none whose message has the id), so nothing was changed.
    NotWaiting,
}

impl TimerChange {
    /// Sets a timer in place of one that waits under the same key.
    pub fn set(key: TimerKey, due: Due, to: StreamName, message: NewMessage) -> Self {
        Self::Set { key, due, to, message, if_waiting: IfWaiting::Replace }
    }

    /// The key of the timer.
    pub fn key(&self) -> &TimerKey {
        match self {
            Self::Set { key, .. } | Self::Move { key, .. } | Self::Redact { key, .. } | Self::Cancel { key } => key,
        }
    }

    /// For backends: checks a change against the limits of a store.
    ///
    /// # Errors
    /// [`Error::Invalid`] and [`Error::TooLarge`] for a change that no store accepts.
    pub fn check(&self, limits: &Limits) -> Result<()> {
        let TimerKey { stream, name } = self.key();
        if name.len() > NAME {
            let what = format!("the name of a timer of {stream}");
            return Err(Error::TooLarge { what, actual: name.len(), limit: NAME });
        }
        if name.contains('\0') {
            return Err(Error::invalid(
                "timer's name",
                format!("a timer of {stream} has a name with the character NUL"),
            ));
        }
        match self {
            Self::Set { to, message, .. } => limits.check(to, message),
            Self::Move { .. } | Self::Redact { .. } | Self::Cancel { .. } => Ok(()),
        }
    }
}

impl Due {
    /// For backends: the time, if the change is carried out at `now`.
    pub fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::After(time) => {
                let time = SignedDuration::try_from(time.min(LONGEST)).unwrap_or(SignedDuration::MAX);
                now.checked_add(time).unwrap_or(Timestamp::MAX)
            }
        }
    }
}
