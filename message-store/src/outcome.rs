//! What became of a message: one enum, wherever a message can turn out to be a repeat.

use std::fmt;

use crate::MessageRef;

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub enum Outcome {
    /// It took effect now: this many events were written.
    Handled {
        /// How many events.
        events: usize,
        /// It came after messages of its origin that lie above it: a mark alone would have dropped it.
        late: bool,
    },
    /// Its intent is now reserved for it.
    Reserved {
        /// The reservation, written now.
        reservation: MessageRef,
    },
    /// The same message came again: what was written for it stands.
    AlreadyProcessed {
        /// The first event that was written for it.
        original: MessageRef,
    },
    /// The same message came again: its intent is reserved for it already.
    Redelivered {
        /// The message that holds the reservation: itself, where it was first delivered.
        original: MessageRef,
    },
    /// Another message with the same intent came first, and said the same.
    Duplicate {
        /// The message that came first.
        original: MessageRef,
    },
    /// Another message with the same intent came first, and said something else: an operator has to look.
    Conflict {
        /// The message that came first.
        original: MessageRef,
    },
    /// It could not be handled, and was set aside, now or before, and waits for an operator
    /// ([`DeadLetters`](crate::consumer::DeadLetters)).
    Parked {
        /// Its letter.
        letter: MessageRef,
    },
    /// An operator has given it up before: it was not handed to the handler.
    Discarded {
        /// Its letter.
        letter: MessageRef,
    },
    /// It was decided to write nothing. When it comes again it is decided again; to make a refusal final, write an
    /// event.
    Ignored,
    /// No handler knows its type.
    Unhandled,
}

/// What outcomes are counted by: an [`Outcome`] without its details.
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
    Discarded,
    Ignored,
    Unhandled,
}

impl fmt::Display for OutcomeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Handled => "handled",
            Self::HandledLate => "handled late",
            Self::Reserved => "reserved",
            Self::AlreadyProcessed => "already processed",
            Self::Redelivered => "redelivered",
            Self::Duplicate => "duplicate",
            Self::Conflict => "conflict",
            Self::Parked => "parked",
            Self::Discarded => "discarded",
            Self::Ignored => "ignored",
            Self::Unhandled => "unhandled",
        })
    }
}

impl Outcome {
    /// What it is counted by.
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
            Self::Discarded { .. } => OutcomeKind::Discarded,
            Self::Ignored => OutcomeKind::Ignored,
            Self::Unhandled => OutcomeKind::Unhandled,
        }
    }

    /// The message that came first, when this one was a repeat.
    pub fn original(&self) -> Option<&MessageRef> {
        match self {
            Self::AlreadyProcessed { original }
            | Self::Redelivered { original }
            | Self::Duplicate { original }
            | Self::Conflict { original } => Some(original),
            Self::Handled { .. }
            | Self::Reserved { .. }
            | Self::Parked { .. }
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
