//! The result of handling a message.

use std::fmt;

use crate::MessageRef;

/// The result of handling a message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub enum Outcome {
    /// The handler handled the message now.
    Handled {
        /// The number of events that were written for it.
        events: usize,
        /// The message came after messages of its origin with higher positions. A store that only remembers the highest
        /// position would have dropped it.
        late: bool,
    },
    /// The message now has the reservation of its intent.
    Reserved {
        /// The reservation.
        reservation: MessageRef,
    },
    /// The same message was delivered again, and its events were written before.
    AlreadyProcessed {
        #[allow(missing_docs)]
        original: MessageRef,
    },
    /// The same message was delivered again, and it has the reservation of its intent already.
    Redelivered {
        /// The message that has the reservation: this message, where it was first delivered.
        original: MessageRef,
    },
    /// Another message with the same intent and the same data came first.
    Duplicate {
        /// The message that came first.
        original: MessageRef,
    },
    /// Another message with the same intent and other data came first. An operator must decide which is right.
    Conflict {
        /// The message that came first.
        original: MessageRef,
    },
    /// The message could not be handled. It was set aside, now or earlier, and waits for an operator
    /// ([`DeadLetters`](crate::consumer::DeadLetters)).
    Parked {
        /// The step that set the message aside.
        letter: MessageRef,
    },
    /// The handler asked for another delivery later, now or earlier
    /// ([`Fault::again_after`](crate::handling::Fault::again_after)).
    Delayed {
        /// The step that set the message aside.
        letter: MessageRef,
    },
    /// An operator had discarded the message before this delivery. The handler did not receive it.
    Discarded {
        /// The step that set the message aside.
        letter: MessageRef,
    },
    /// The handler wrote nothing. If the message is delivered again, it is decided again. To make a refusal final,
    /// write an event.
    Ignored,
    /// No handler knows the type of the message.
    Unhandled,
}

/// An [`Outcome`] without its details. Outcomes are counted by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum OutcomeKind {
    Handled,
    HandledLate,
    Reserved,
    AlreadyProcessed,
    Redelivered,
    Duplicate,
    Conflict,
    Parked,
    Delayed,
    Discarded,
    Ignored,
    Unhandled,
}

impl OutcomeKind {
    /// Its name, in lower case, such as `handled late`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Handled => "handled",
            Self::HandledLate => "handled late",
            Self::Reserved => "reserved",
            Self::AlreadyProcessed => "already processed",
            Self::Redelivered => "redelivered",
            Self::Duplicate => "duplicate",
            Self::Conflict => "conflict",
            Self::Parked => "parked",
            Self::Delayed => "delayed",
            Self::Discarded => "discarded",
            Self::Ignored => "ignored",
            Self::Unhandled => "unhandled",
        }
    }
}

impl fmt::Display for OutcomeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Outcome {
    /// The outcome without its details.
    pub fn kind(&self) -> OutcomeKind {
        match self {
            Self::Handled { late: false, .. } => OutcomeKind::Handled,
            Self::Handled { late: true, .. } => OutcomeKind::HandledLate,
            Self::Reserved { .. } => OutcomeKind::Reserved,
            Self::AlreadyProcessed { .. } => OutcomeKind::AlreadyProcessed,
            Self::Redelivered { .. } => OutcomeKind::Redelivered,
            Self::Duplicate { .. } => OutcomeKind::Duplicate,
            Self::Conflict { .. } => OutcomeKind::Conflict,
            Self::Parked { .. } => OutcomeKind::Parked,
            Self::Delayed { .. } => OutcomeKind::Delayed,
            Self::Discarded { .. } => OutcomeKind::Discarded,
            Self::Ignored => OutcomeKind::Ignored,
            Self::Unhandled => OutcomeKind::Unhandled,
        }
    }

    /// The message that came first, if this message was a repeat.
    pub fn original(&self) -> Option<&MessageRef> {
        match self {
            Self::AlreadyProcessed { original }
            | Self::Redelivered { original }
            | Self::Duplicate { original }
            | Self::Conflict { original } => Some(original),
            Self::Handled { .. }
            | Self::Reserved { .. }
            | Self::Parked { .. }
            | Self::Delayed { .. }
            | Self::Discarded { .. }
            | Self::Ignored
            | Self::Unhandled => None,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.original() {
            Some(original) => write!(f, "{} (first: {original})", self.kind()),
            None => self.kind().fmt(f),
        }
    }
}
