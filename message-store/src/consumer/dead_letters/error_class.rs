//! The class of the error in a letter, by which operators select letters.

use std::error::Error as StdError;
use std::fmt;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};

use super::time_outs::store_error;
use crate::Error;
use crate::error::Class;

/// The class of the error for which a message was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ErrorClass {
    /// The handler returned an error that has no other class.
    Failed,
    /// The handler panicked.
    Panicked,
    /// A message could not be decoded: this one, or one that the handler read for it.
    Undecodable,
    /// Each attempt took too long, and the message was at fault.
    TimedOut,
    /// Other writers were always quicker, and the stream made no progress.
    Contention,
    /// The handler asked for another delivery later.
    Delayed,
    /// The process ended during each attempt.
    Crashed,
}

impl ErrorClass {
    /// The class of an error of a handler.
    pub(super) fn of(error: &(dyn StdError + 'static)) -> Self {
        let mut causes = std::iter::successors(Some(error), |error| (**error).source());
        if let Some(classed) = causes.find_map(|cause| cause.downcast_ref::<Classed>()) {
            return classed.class;
        }
        match (Class::of(error), store_error(error)) {
            (Some(Class::TimedOut | Class::OverLimit), _) => Self::TimedOut,
            (Some(Class::Overtaken), _) => Self::Contention,
            (Some(Class::Again(_)), _) => Self::Delayed,
            (_, Some(Error::Undecodable { .. })) => Self::Undecodable,
            _ => Self::Failed,
        }
    }

    /// Decodes a class. `None` for one that a later version wrote, so that its letter can be read.
    pub(super) fn known<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Known(ErrorClass),
            Other(IgnoredAny),
        }
        Ok(match Option::deserialize(deserializer)? {
            Some(Written::Known(class)) => Some(class),
            Some(Written::Other(_)) | None => None,
        })
    }
}

/// An error that the consumer found, and not the handler.
#[derive(Debug)]
pub(in crate::consumer) struct Classed {
    class: ErrorClass,
    text: String,
}

impl Classed {
    pub(in crate::consumer) fn crashed(text: impl Into<String>) -> Self {
        Self { class: ErrorClass::Crashed, text: text.into() }
    }

    pub(super) fn panicked(text: String) -> Self {
        Self { class: ErrorClass::Panicked, text }
    }
}

impl fmt::Display for Classed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl StdError for Classed {}
