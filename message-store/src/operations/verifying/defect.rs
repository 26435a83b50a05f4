//! What can be wrong in a store.

use std::fmt;

use crate::store::TimerKey;
use crate::{GlobalPosition, MessageId, MessageRef, Position, StreamName, Version};

/// Something in a store that the toolkit never writes.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Defect {
    /// Messages of a stream are missing, or have the position of another one.
    WrongPosition {
        /// The message that has another position than the next one.
        found: MessageRef,
        #[allow(missing_docs)]
        expected: Position,
    },
    /// A message of a category has no higher global position than the one before.
    OutOfOrder {
        #[allow(missing_docs)]
        found: MessageRef,
        /// The global position of the message before it.
        after: GlobalPosition,
    },
    /// Two messages have the same id.
    RepeatedId(MessageId),
    /// The data or the metadata of a message is no JSON.
    Unreadable {
        #[allow(missing_docs)]
        message: MessageRef,
        /// What cannot be read.
        what: String,
    },
    /// A message names a cause in this store, which is not there.
    NoSuchCause {
        /// The global position of the message.
        effect: GlobalPosition,
        /// The place that it names.
        cause: String,
    },
    /// A handler has written messages of a type twice for one cause, in two places of a stream. A handler that appends several
    /// times for one message does so on purpose.
    DoneTwice {
        /// The first message of the second time.
        again: MessageRef,
        #[allow(missing_docs)]
        handler: String,
    },
    /// A message reserves an intent, and is not the first one of its stream.
    SecondReservation(MessageRef),
    /// The index says that a stream ends before a message that it has.
    StreamEndsBefore {
        #[allow(missing_docs)]
        stream: StreamName,
        /// The last message that was read.
        last: Position,
        /// The version that the store returns.
        version: Version,
    },
    /// A consumer has handled more than the store has. It is from another store, or the store has lost messages.
    PositionBeyondEnd {
        /// The stream with its position.
        consumer: StreamName,
        #[allow(missing_docs)]
        position: GlobalPosition,
        /// The last global position of the store.
        end: GlobalPosition,
    },
    /// A timer waits, although its message is written.
    FiredTimerWaits {
        #[allow(missing_docs)]
        timer: TimerKey,
        #[allow(missing_docs)]
        message: MessageRef,
    },
}

impl Defect {
    /// Its kind, in a word for programs, such as `wrong-position`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::WrongPosition { .. } => "wrong-position",
            Self::OutOfOrder { .. } => "out-of-order",
            Self::RepeatedId(_) => "repeated-id",
            Self::Unreadable { .. } => "unreadable",
            Self::NoSuchCause { .. } => "no-such-cause",
            Self::DoneTwice { .. } => "done-twice",
            Self::SecondReservation(_) => "second-reservation",
            Self::StreamEndsBefore { .. } => "stream-ends-before",
            Self::PositionBeyondEnd { .. } => "position-beyond-end",
            Self::FiredTimerWaits { .. } => "fired-timer-waits",
        }
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongPosition { found, expected } if found.position > *expected => {
                write!(
                    f,
                    "messages of {} are missing before {found}: position {expected} is the next one",
                    found.stream
                )
            }
            Self::WrongPosition { found, expected } => {
                write!(f, "{found} has the position of another message: {expected} is the next one")
            }
            Self::OutOfOrder { found, after } => write!(f, "{found} is read after global position {after}"),
            Self::RepeatedId(id) => write!(f, "two messages have the id {id}"),
            Self::Unreadable { message, what } => write!(f, "{message}: {what}"),
            Self::NoSuchCause { effect, cause } => {
                write!(f, "the message at global position {effect} names {cause} as its cause, which is not there")
            }
            Self::DoneTwice { again, handler } => {
                write!(f, "{handler} has written {again} for a message for which it had written before")
            }
            Self::SecondReservation(message) => write!(f, "{message} reserves an intent that is reserved"),
            Self::StreamEndsBefore { stream, last, version } => {
                write!(f, "{stream} has a message at {last}, and its version is {version}: an index is damaged")
            }
            Self::PositionBeyondEnd { consumer, position, end } => {
                write!(f, "{consumer} is at {position}, and the store ends at {end}")
            }
            Self::FiredTimerWaits { timer, message } => {
                write!(f, "the timer {} of {} waits, and its message {message} is written", timer.name, timer.stream)
            }
        }
    }
}
