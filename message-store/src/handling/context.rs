//! What a handler is given beside the message: the only way to write for it.
//!
//! Problem: a handler that writes several times has to find each of its writes again, when the message is delivered
//! again, when an answer is lost, or when it gave up waiting; counting the writes tells them apart only as long as each
//! of them succeeds. Fix: each write has a name, which its author gives, and the ids of its messages are derived from
//! it. Why it is right: whatever became of the first try, a write of the same name has the same ids, so it finds what
//! stands or writes it, and never writes it beside the first.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::effects::assert_written_by;
use crate::{
    Append, AppendRequest, Error, Json, Message, MessageStore, MessageStoreExt as _, Metadata, Outcome, Result,
    derived_id,
};

/// Writes for one message: follows it, stamps its sequence, derives the ids, so that a message delivered twice writes
/// once.
#[derive(Debug)]
pub struct Context<'a> {
    store: &'a Arc<dyn MessageStore>,
    handler: &'a str,
    message: &'a Message,
    /// How the writes stand, by their names.
    writes: Mutex<BTreeMap<String, Stand>>,
}

/// How a write stands.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stand {
    UnderWay,
    Done,
    /// Its answer was lost, or not waited for: it may have been written.
    Unanswered,
}

impl<'a> Context<'a> {
    /// For writing in answer to this message, by the handler of this name
    /// ([`Handler::name`](crate::handling::Handler::name)).
    pub fn new(store: &'a Arc<dyn MessageStore>, handler: &'a str, message: &'a Message) -> Self {
        Self { store, handler, message, writes: Mutex::default() }
    }

    /// The store, to read from.
    pub fn store(&self) -> &Arc<dyn MessageStore> {
        self.store
    }

    /// Writes messages to a stream, or to several in one step, once for the message being handled. The name tells this
    /// write from the handler's others; it is part of the ids of its messages, as their streams are: give each write
    /// the same name, and the same streams, at every delivery. The messages' metadata follows the message that is being
    /// handled; what is given there is replaced.
    ///
    /// A write that failed, or whose answer was not waited for, is repeated under its name, in the same handling or at
    /// the next delivery. [`Outcome::AlreadyProcessed`] says that an earlier handling has written it, at another
    /// delivery or before a retry of this one: what was written first stands, also where it says something else, such
    /// as a time; and the handler goes on to its next write.
    ///
    /// # Errors
    /// As [`MessageStore::append`]. [`Error::Invalid`] when this handling has done a write of this name, or has one
    /// under way. [`Error::IdConflict`] when fewer messages were written in its place before, messages of other types,
    /// or another handler's.
    pub async fn write(&self, name: &str, request: impl Into<AppendRequest> + Send) -> Result<Outcome> {
        let mut write = self.begin(name)?;
        let is_second_try = write.before == Some(Stand::Unanswered);
        let mut metadata = Metadata::written_for(self.message, self.store.store_id()).metadata;
        metadata.handler = Some(self.handler.to_owned());
        // What follows the message was read from the store.
        let metadata = Json::encode_stored(&metadata)?;
        let mut request: AppendRequest = request.into();
        for Append { stream, messages, .. } in request.appends_mut() {
            for (index, message) in messages.iter_mut().enumerate() {
                message.id = derived_id(self.message.id, self.handler, name, stream, index);
                message.metadata = metadata.clone();
            }
        }
        let appends = request.appends().to_vec();
        let events = appends.iter().map(|append| append.messages.len()).sum();
        let result = match self.store.append_settled(request).await {
            Ok(appended) if !appended.already_written => Ok(Outcome::Handled { events, late: false }),
            Ok(_) => self.written_before(&appends).await.and_then(|found| found.ok_or_else(|| vanished(&appends))),
            // Written before with other content, such as a time: what was written first stands.
            Err(error @ Error::IdConflict { .. }) => {
                self.written_before(&appends).await.and_then(|found| found.ok_or(error))
            }
            Err(error) => Err(error),
        };
        write.after = match &result {
            Ok(_) => Some(Stand::Done),
            Err(Error::CommitUnknown { .. }) => Some(Stand::Unanswered),
            // Nothing was written now; what was known before still holds.
            Err(_) => write.before,
        };
        // What this handling may have written itself is no sign of an earlier one.
        if is_second_try && result.is_ok() {
            return Ok(Outcome::Handled { events, late: false });
        }
        result
    }

    fn begin<'w>(&'w self, name: &'w str) -> Result<Write<'w>> {
        let mut writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        let before = writes.get(name).copied();
        if matches!(before, Some(Stand::UnderWay | Stand::Done)) {
            let reason = format!(
                "this handling has a write named {name:?} already; give each write of a handler a name of its own"
            );
            return Err(Error::invalid("write", reason));
        }
        writes.insert(name.to_owned(), Stand::UnderWay);
        // Until the answer is there, it is unknown.
        Ok(Write { writes: &self.writes, name, before, after: Some(Stand::Unanswered) })
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

/// A write under way, until it is dropped.
struct Write<'a> {
    writes: &'a Mutex<BTreeMap<String, Stand>>,
    name: &'a str,
    before: Option<Stand>,
    after: Option<Stand>,
}

impl Drop for Write<'_> {
    fn drop(&mut self) {
        let mut writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        match self.after {
            Some(stand) => writes.insert(self.name.to_owned(), stand),
            None => writes.remove(self.name),
        };
    }
}

fn vanished(appends: &[Append]) -> Error {
    let stream = appends.first().map_or("nothing", |append| append.stream.as_str());
    Error::backend(format!("finding what was written to {stream}"), false, "messages of this store were deleted")
}
