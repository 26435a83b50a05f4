//! The class of an error: what a consumer does after it.
//!
//! Problem: a handler returns the errors of other libraries, and these wrap the errors of this one. A wrapper may hide
//! the type of an error from everyone (`anyhow` does, without a context), but it shows the sources of the error. Fix: an
//! error of this library has its class as its source. So the class is found in every chain of causes.

use std::fmt;
use std::time::Duration;

/// What a consumer does after an error. Errors without a class are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// The fault passes by itself.
    Passing,
    /// The call took too long.
    TimedOut,
    /// The handler did not end within the consumer's time limit.
    OverLimit,
    /// Another writer was first.
    Overtaken,
    /// The member of a group no longer owns the message's slot.
    SlotLost,
    /// The handler asks for another delivery.
    Again(Again),
}

/// A request for another delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Again {
    pub(crate) after: Duration,
    /// Later messages of the entity wait for the delivery.
    pub(crate) holds: bool,
}

impl Class {
    /// The class in a chain of causes.
    pub(crate) fn of(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        Self::in_chain(error).copied()
    }

    pub(crate) fn in_chain<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e Self> {
        let mut causes = std::iter::successors(Some(error), |error| error.source());
        causes.find_map(|cause| cause.downcast_ref())
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passing => f.write_str("the same call may succeed later"),
            Self::TimedOut | Self::OverLimit => f.write_str("it took too long"),
            Self::Overtaken => f.write_str("another writer was first"),
            Self::SlotLost => f.write_str("another member owns the slot"),
            Self::Again(Again { after, .. }) => write!(f, "to be tried again after {after:?}"),
        }
    }
}

impl std::error::Error for Class {}
