//! Imports: they write the messages and timers of an export into a store.

use std::sync::Arc;

use super::Exported;
use super::transfer::{set, write};
use crate::{Error, Message, MessageStore, Result};

/// Writes the messages and timers of an [`Export`](super::Export) into a store.
///
/// A message keeps its id, and contains the place from which it comes, as a copy of a [`Transfer`](super::Transfer). A message
/// or a timer that the store has is not written again, so an import can be broken off and run again. The order in which a
/// component is moved is that of a transfer.
#[derive(Clone, Debug)]
#[must_use]
pub struct Import {
    store: Arc<dyn MessageStore>,
}

/// What an import has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Imported {
    /// The messages that were written. The others were there before.
    pub written: u64,
    /// The timers that were set.
    pub timers: u64,
}

impl Import {
    /// An import into this store.
    pub fn to(store: &Arc<dyn MessageStore>) -> Self {
        Self { store: Arc::clone(store) }
    }

    /// Writes a part of an export, in its order.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a message of this store, or of no export; [`Error::IdConflict`] when the store has another message
    /// with an id of the part; the store's errors. What was written before the error stays.
    pub async fn write(&self, part: Vec<Exported>) -> Result<Imported> {
        let (mut messages, mut timers) = (Vec::new(), Vec::new());
        for exported in part {
            match exported {
                Exported::Message(message) => messages.push(self.accept(message.into())?),
                Exported::Timer { timer } => timers.push(timer.into()),
                Exported::Begin { .. } => {}
            }
        }
        let mut imported = Imported { written: write(&messages, &*self.store).await?, timers: 0 };
        if !timers.is_empty() {
            imported.timers = set(timers, &*self.store, "the export").await?;
        }
        Ok(imported)
    }

    fn accept(&self, message: Message) -> Result<Message> {
        let metadata = message.decode_metadata();
        let invalid = |reason: &str| {
            Err(Error::invalid("import", format!("the message {} of {} {reason}", message.id, message.stream)))
        };
        match metadata.via.last().or(metadata.origin.as_ref()) {
            None => invalid("does not contain the place from which it comes, as each message of an export does"),
            Some(place) if place.origin.store_id == self.store.store_id() => {
                invalid("was exported from this store. If the store is a clone, rotate its identity first")
            }
            Some(_) => Ok(message),
        }
    }
}
