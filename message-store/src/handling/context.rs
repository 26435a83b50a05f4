//! The context: the object with which a handler writes messages.
//!
//! Problem: a handler writes several times for one message. It must recognise each of its writes when the message is
//! delivered again, when an answer was lost, and when the handler stopped waiting for it. A count of the writes
//! distinguishes them only while each of them succeeds. Fix: the handler's author gives each write a name, and the ids
//! of its messages are derived from the name. Why it is right: a repeated write with the same name has the same ids. So
//! it finds the written messages, or writes them, and never writes them twice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Shutdown;
use super::effects::assert_written_by;
use super::followed::follow;
use super::timers;
use crate::store::Fence;
use crate::{
    Append, AppendRequest, Error, Message, MessageStore, MessageStoreExt as _, Metadata, Outcome, Result, derived_id,
};

/// Writes messages for the message that is being handled. It fills in their metadata and derives their ids, so a
/// message that is delivered twice is written for once.
#[derive(Debug)]
pub struct Context<'a> {
    store: &'a Arc<dyn MessageStore>,
    handler: &'a str,
    message: &'a Message,
    shutdown: Option<&'a Shutdown>,
    fence: Option<Fence>,
    /// The states of the writes, by their names.
    writes: Mutex<BTreeMap<String, WriteState>>,
}

/// The state of one write in this handling. A write that has certainly written nothing has no state.
#[derive(Clone, Copy, Debug, PartialEq)]
enum WriteState {
    UnderWay,
    Done,
    /// The answer was lost, or the handler did not wait for it. The messages may or may not be written.
    Unanswered,
}

impl<'a> Context<'a> {
    /// A context for `message`. `handler` is the name of the handler
    /// ([`Handler::name`](crate::handling::Handler::name)).
    pub fn new(store: &'a Arc<dyn MessageStore>, handler: &'a str, message: &'a Message) -> Self {
        Self { store, handler, message, shutdown: None, fence: None, writes: Mutex::default() }
    }

    /// Shows the handler the requests to stop its consumer.
    pub(crate) fn with_shutdown(self, shutdown: &'a Shutdown) -> Self {
        Self { shutdown: Some(shutdown), ..self }
    }

    /// Shows the handler the fence of the message's slot.
    pub(crate) fn with_fence(self, fence: Option<Fence>) -> Self {
        Self { fence, ..self }
    }

    /// The fence of the message's slot, if the consumer is a member of an elastic group: what is written with it is refused
    /// when the member has lost the slot. The messages of [`write`](Self::write) need none, because their ids are refused
    /// the second time.
    pub fn fence(&self) -> Option<&Fence> {
        self.fence.as_ref()
    }

    /// The requests to stop the consumer, for a handler that works for long. `None` without a consumer.
    pub fn shutdown(&self) -> Option<&Shutdown> {
        self.shutdown
    }

    /// The store that contains the message. A handler may read from it.
    pub fn store(&self) -> &Arc<dyn MessageStore> {
        self.store
    }

    /// Writes messages to a stream, or to several streams in one append, once for the message being handled. The name
    /// distinguishes this write from the handler's other writes. It is part of the ids of the messages, and so are
    /// their streams: use the same name and the same streams at every delivery. The context replaces the ids of the
    /// messages, and merges their metadata with that which follows from the message being handled: what the handler sets
    /// counts, and properties are merged by name. The same holds for the messages of [timers](AppendRequest::timer), which
    /// change only if this write writes its messages.
    ///
    /// If a write fails, or the handler does not wait for its answer, write again under the same name, in the same
    /// handling or at the next delivery. [`Outcome::AlreadyProcessed`] means that an earlier delivery or attempt has
    /// written it. What was written first is kept, even if the content differs, for example in a time. The handler then
    /// goes on with its next write.
    ///
    /// # Errors
    /// As [`MessageStore::append`]. [`Error::Invalid`] when a write of this name is done or under way in this handling, and
    /// for metadata with fields that only the runtime sets, such as the cause.
    /// [`Error::IdConflict`] when an earlier write of this name had fewer messages or messages of other types, or when
    /// another handler wrote under its ids.
    pub async fn write(&self, name: &str, request: impl Into<AppendRequest> + Send) -> Result<Outcome> {
        let mut metadata = Metadata::written_for(self.message, self.store.store_id()).metadata;
        metadata.handler = Some(self.handler.to_owned());
        let mut followed = None;
        let mut request: AppendRequest = request.into();
        for Append { stream, messages, .. } in request.appends_mut() {
            for (index, message) in messages.iter_mut().enumerate() {
                message.id = derived_id(self.message.id, self.handler, name, stream, index);
                message.metadata = follow(&metadata, &message.metadata, &mut followed)?;
            }
        }
        let write = (self.handler, name);
        timers::complete(request.timers_mut(), self.message, write, (&metadata, &mut followed), derived_id)?;
        let mut write = self.begin(name)?;
        let is_repeated = write.before == Some(WriteState::Unanswered);
        let appends = request.appends().to_vec();
        let events = appends.iter().map(|append| append.messages.len()).sum();
        let result = match self.store.append_settled(request).await {
            Ok(appended) if !appended.already_written => Ok(Outcome::Handled { events, late: false }),
            Ok(_) => {
                self.find_written(&appends).await.and_then(|found| found.ok_or_else(|| written_but_missing(&appends)))
            }
            // The same write was written earlier with other content, such as a time. What was written first is kept.
            Err(error @ Error::IdConflict { .. }) => {
                self.find_written(&appends).await.and_then(|found| found.ok_or(error))
            }
            Err(error) => Err(error),
        };
        write.after = match &result {
            Ok(_) => Some(WriteState::Done),
            Err(Error::CommitUnknown { .. }) => Some(WriteState::Unanswered),
            // Nothing was written now, so the state is the one before this attempt.
            Err(_) => write.before,
        };
        // This handling may have written the messages itself, so they do not show that an earlier handling wrote them.
        if is_repeated && result.is_ok() {
            return Ok(Outcome::Handled { events, late: false });
        }
        result
    }

    fn begin<'w>(&'w self, name: &'w str) -> Result<Write<'w>> {
        let mut writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        let before = writes.get(name).copied();
        if matches!(before, Some(WriteState::UnderWay | WriteState::Done)) {
            let reason =
                format!("this handling already has a write named {name:?}. Give each write of a handler its own name");
            return Err(Error::invalid("write", reason));
        }
        writes.insert(name.to_owned(), WriteState::UnderWay);
        // The state if the handler drops the write before the answer arrives.
        Ok(Write { writes: &self.writes, name, before, after: Some(WriteState::Unanswered) })
    }

    /// [`Outcome::AlreadyProcessed`] with the first of the messages, if this handler has written all of them earlier.
    async fn find_written(&self, appends: &[Append]) -> Result<Option<Outcome>> {
        let mut original = None;
        for message in appends.iter().flat_map(|append| &append.messages) {
            let Some(found) = self.store.message(message.id).await? else { return Ok(None) };
            assert_written_by(self.handler, Some(&message.message_type), &found)?;
            original.get_or_insert_with(|| found.reference());
        }
        Ok(original.map(|original| Outcome::AlreadyProcessed { original }))
    }
}

/// A write that is under way. When it is dropped, it records the state `after`.
struct Write<'a> {
    writes: &'a Mutex<BTreeMap<String, WriteState>>,
    name: &'a str,
    before: Option<WriteState>,
    after: Option<WriteState>,
}

impl Drop for Write<'_> {
    fn drop(&mut self) {
        let mut writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        match self.after {
            Some(state) => writes.insert(self.name.to_owned(), state),
            None => writes.remove(self.name),
        };
    }
}

fn written_but_missing(appends: &[Append]) -> Error {
    let stream = appends.first().map_or("no stream", |append| append.stream.as_str());
    Error::backend(
        format!("finding the messages that were written to {stream}"),
        false,
        "messages of this store were deleted",
    )
}
