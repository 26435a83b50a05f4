//! What a handler is given beside the message: the only way to write for it.
//!
//! Problem: a handler that writes several times has to find each of its writes again, when the message is delivered again, when an answer is
//! lost, or when it gave up waiting; counting the writes tells them apart only as long as each of them succeeds. Fix: each write has a name,
//! which its author gives, and the ids of its messages are derived from it. Why it is right: whatever became of the first try, a write of the
//! same name has the same ids, so it finds what stands or writes it, and never writes it beside the first.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::stamp::{Stamp, assert_written_by};
use crate::idempotence::Outcome;
use crate::{Append, Error, Message, MessageStore, MessageStoreExt as _, Result};

/// Writes for one message: follows it, stamps its sequence, derives the ids, so that a message delivered twice writes once.
#[derive(Debug)]
pub struct Context<'a> {
    store: &'a Arc<dyn MessageStore>,
    handler: &'a str,
    message: &'a Message,
    /// The names of the writes that are under way or done.
    writes: Mutex<HashSet<String>>,
}

impl<'a> Context<'a> {
    /// For writing in answer to this message, by the handler of this name ([`Handler::name`](crate::command::Handler::name)).
    pub fn new(store: &'a Arc<dyn MessageStore>, handler: &'a str, message: &'a Message) -> Self {
        Self { store, handler, message, writes: Mutex::default() }
    }

    /// The store, to read from.
    pub fn store(&self) -> &Arc<dyn MessageStore> {
        self.store
    }

    /// Writes messages to a stream, or to several in one step, once for the message being handled. The name tells this write from the handler's
    /// others; it is part of the ids of its messages, so give each write the same name at every delivery.
    ///
    /// A write that failed, or whose answer was not waited for, is repeated under its name. [`Outcome::AlreadyProcessed`] says that an
    /// earlier delivery has written it: what was written first stands, also where it says something else, such as a time; and the
    /// handler goes on to its next write.
    ///
    /// # Errors
    /// As [`MessageStore::append`]. [`Error::Invalid`] when this handling has done a write of this name, or has one under way.
    /// [`Error::IdConflict`] when fewer messages were written in its place before, messages of other types, or another handler's.
    pub async fn write(&self, name: &str, appends: impl Into<Vec<Append>> + Send) -> Result<Outcome> {
        let mut write = self.begin(name)?;
        let sequence = self.message.sequence(self.store.store_id());
        let stamp = Stamp::new(self.message, &sequence, self.handler, name)?;
        let mut appends: Vec<Append> = appends.into();
        for Append { stream, messages, .. } in &mut appends {
            let stamped = messages.drain(..).enumerate().map(|(index, message)| stamp.put_on(message, stream, index));
            *messages = stamped.collect::<Vec<_>>();
        }
        let events = appends.iter().map(|append| append.messages.len()).sum();
        let outcome = match self.store.append_settled(appends.clone()).await {
            Ok(appended) if !appended.already_written => Outcome::Handled { events, late: false },
            Ok(_) => self.written_before(&appends).await?.ok_or_else(|| vanished(&appends))?,
            // Written before with other content, such as a time: what was written first stands.
            Err(error @ Error::IdConflict { .. }) => self.written_before(&appends).await?.ok_or(error)?,
            Err(error) => return Err(error),
        };
        write.is_done = true;
        Ok(outcome)
    }

    fn begin<'w>(&'w self, name: &'w str) -> Result<Write<'w>> {
        let is_new = self.writes.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        if is_new {
            return Ok(Write { writes: &self.writes, name, is_done: false });
        }
        let reason =
            format!("this handling has a write named {name:?} already; give each write of a handler a name of its own");
        Err(Error::invalid("write", reason))
    }

    /// Where the first of the messages stands, if all of them were written before, by this handler.
    async fn written_before(&self, appends: &[Append]) -> Result<Option<Outcome>> {
        let mut original = None;
        for message in appends.iter().flat_map(|append| &append.messages) {
            let Some(found) = self.store.message(message.id).await? else { return Ok(None) };
            assert_written_by(self.handler, Some(&message.message_type), &found)?;
            original.get_or_insert_with(|| found.reference());
        }
        Ok(original.map(|original| Outcome::AlreadyProcessed { original }))
    }
}

/// A write under way. Unless it is done, its name is free again when it is dropped.
struct Write<'a> {
    writes: &'a Mutex<HashSet<String>>,
    name: &'a str,
    is_done: bool,
}

impl Drop for Write<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.writes.lock().unwrap_or_else(PoisonError::into_inner).remove(self.name);
        }
    }
}

fn vanished(appends: &[Append]) -> Error {
    let stream = appends.first().map_or("nothing", |append| append.stream.as_str());
    Error::backend(format!("finding what was written to {stream}"), false, "messages of this store were deleted")
}
