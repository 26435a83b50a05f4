//! What a handler is given beside the message: the only way to write for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::stamp::Stamp;
use crate::idempotence::{Outcome, derived_id};
use crate::{Append, Error, Message, MessageStore, Result, StreamName};

/// Writes for one message: follows it, stamps its sequence, derives the ids, so that a message delivered twice writes once.
#[derive(Debug)]
pub struct Context<'a> {
    store: &'a Arc<dyn MessageStore>,
    message: &'a Message,
    written: Mutex<HashMap<StreamName, usize>>,
}

impl<'a> Context<'a> {
    /// For writing in answer to this message.
    pub fn new(store: &'a Arc<dyn MessageStore>, message: &'a Message) -> Self {
        Self { store, message, written: Mutex::default() }
    }

    /// The store, to read from.
    pub fn store(&self) -> &Arc<dyn MessageStore> {
        self.store
    }

    /// Writes messages to a stream, once for the message being handled: the first messages that are written to a stream for it
    /// take the first derived ids of that stream, and so on. So write the same number, in the same order, each time.
    ///
    /// # Errors
    /// As [`MessageStore::append`]; [`Error::IdConflict`] when fewer or more messages than before are written in their place.
    pub async fn write(&self, append: Append) -> Result<Outcome> {
        let sequence = self.message.sequence(self.store.store_id())?;
        let stamp = Stamp::new(self.message, &sequence)?;
        let Append { stream, expected, messages } = append;
        let count = messages.len();
        let first = {
            let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
            let next = written.entry(stream.clone()).or_default();
            std::mem::replace(next, *next + count)
        };
        let messages = messages.into_iter().zip(first..).map(|(message, index)| stamp.put_on(message, &stream, index));
        let append = Append { stream: stream.clone(), expected, messages: messages.collect() };
        match self.store.append(vec![append]).await {
            Ok(appended) if !appended.already_written => Ok(Outcome::Handled { events: count, late: false }),
            Ok(_) => self.already_processed(&stream, first, count).await?.ok_or_else(|| vanished(&stream)),
            // Written before, with other content, such as a time: what was written first stands.
            Err(error @ Error::IdConflict { .. }) => self.already_processed(&stream, first, count).await?.ok_or(error),
            Err(error) => Err(error),
        }
    }

    /// Where the first of the messages stands, if all of them were written before.
    async fn already_processed(&self, stream: &StreamName, first: usize, count: usize) -> Result<Option<Outcome>> {
        let mut original = None;
        for index in first..first + count {
            let Some(message) = self.store.message(derived_id(self.message.id, stream, index)).await? else {
                return Ok(None);
            };
            original.get_or_insert(message.reference());
        }
        Ok(original.map(|original| Outcome::AlreadyProcessed { original }))
    }
}

fn vanished(stream: &StreamName) -> Error {
    Error::backend(format!("finding what was written to {stream}"), false, "messages of this store were deleted")
}
