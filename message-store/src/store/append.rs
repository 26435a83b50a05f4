//! Append requests, and their results.

use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher;

use crate::store::{Condition, Fence, TimerChange};
use crate::{
    Error, ExpectedVersion, GlobalPosition, History, Json, Limits, Message, MessageId, NewMessage, Position, Result,
    StreamName,
};

/// Messages for one stream, and the version that the stream must have.
///
/// ```
/// use message_store::{Append, ExpectedVersion, Json, NewMessage, StreamName};
/// let opened = NewMessage::new("Opened", Json::parse(r#"{"owner":"Ann"}"#)?);
/// let append = Append::to(StreamName::new("account-123")?).expecting(ExpectedVersion::NoStream).message(opened);
/// # Ok::<(), message_store::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use]
#[non_exhaustive]
pub struct Append {
    #[allow(missing_docs)]
    pub stream: StreamName,
    /// The version that the stream must have. Default: any.
    pub expected: ExpectedVersion,
    /// The messages, in the order of their positions. At least one.
    pub messages: Vec<NewMessage>,
}

impl Append {
    /// An append to this stream, without messages yet, at any version.
    pub fn to(stream: StreamName) -> Self {
        Self { stream, expected: ExpectedVersion::Any, messages: Vec::new() }
    }

    /// Sets the version that the stream must have.
    pub fn expecting(mut self, expected: impl Into<ExpectedVersion>) -> Self {
        self.expected = expected.into();
        self
    }

    /// Adds a message after those that the append already has.
    pub fn message(mut self, message: NewMessage) -> Self {
        self.messages.push(message);
        self
    }

    /// Adds messages after those that the append already has.
    pub fn messages(mut self, messages: impl IntoIterator<Item = NewMessage>) -> Self {
        self.messages.extend(messages);
        self
    }
}

/// Messages for one stream or for several, and the conditions of the append. The store writes all of them or none.
///
/// ```
/// use message_store::{Append, AppendRequest, Json, NewMessage, StreamName};
/// let sent = Append::to(StreamName::new("mail-1")?).message(NewMessage::new("Sent", Json::NULL));
/// let counted = Append::to(StreamName::new("statistics-1")?).message(NewMessage::new("Counted", Json::NULL));
/// let request = AppendRequest::from(vec![sent, counted]);
/// # assert_eq!(request.appends().len(), 2);
/// # Ok::<(), message_store::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct AppendRequest {
    appends: Vec<Append>,
    history: Option<History>,
    fence: Option<Fence>,
    timers: Vec<TimerChange>,
    condition: Option<Condition>,
}

impl AppendRequest {
    /// Ties the request to the history ([`MessageStore::history`](crate::MessageStore::history)) in which it was
    /// decided. In another history, the store refuses it with [`HistoryChanged`](crate::Error::HistoryChanged).
    pub fn in_history(mut self, history: History) -> Self {
        self.history = Some(history);
        self
    }

    /// The history that the request is tied to. `None` if it is tied to none.
    pub fn history(&self) -> Option<History> {
        self.history
    }

    /// Ties the request to the slot of a group. If its owner has lost the slot or its lease when the messages would be
    /// written, the store refuses it with [`SlotLost`](crate::Error::SlotLost).
    pub fn fenced_by(mut self, fence: Fence) -> Self {
        self.fence = Some(fence);
        self
    }

    /// The slot that the request is tied to. `None` if it is tied to none.
    pub fn fence(&self) -> Option<&Fence> {
        self.fence.as_ref()
    }

    pub(super) fn take_fence(&mut self) -> Option<Fence> {
        self.fence.take()
    }

    /// Adds a change of a timer. It is carried out in the transaction that writes the messages. If they were written
    /// before, no timer changes: the changes were carried out then.
    ///
    /// A store without [timers](crate::MessageStore::timers) refuses the request.
    pub fn timer(mut self, change: TimerChange) -> Self {
        self.timers.push(change);
        self
    }

    /// The changes of timers.
    pub fn timers(&self) -> &[TimerChange] {
        &self.timers
    }

    pub(crate) fn timers_mut(&mut self) -> &mut Vec<TimerChange> {
        &mut self.timers
    }

    pub(super) fn take_timers(&mut self) -> Vec<TimerChange> {
        std::mem::take(&mut self.timers)
    }

    /// Adds a condition: the store refuses the request with [`ConditionFailed`](crate::Error::ConditionFailed) if a message
    /// that matches the query stands after the condition's positions. A request has one condition, with as many items as
    /// it needs. Positions belong to a history: tie the request to the one in which they were read
    /// ([`in_history`](Self::in_history)).
    ///
    /// A request that was written before is not refused: its own messages may match.
    pub fn unless(mut self, condition: impl Into<Condition>) -> Self {
        self.condition = Some(condition.into());
        self
    }

    /// The condition. `None` if it has none.
    pub fn condition(&self) -> Option<&Condition> {
        self.condition.as_ref()
    }

    pub(super) fn take_condition(&mut self) -> Option<Condition> {
        self.condition.take()
    }

    /// One append for each stream. A stream can appear only once.
    pub fn appends(&self) -> &[Append] {
        &self.appends
    }

    pub(crate) fn appends_mut(&mut self) -> &mut Vec<Append> {
        &mut self.appends
    }

    /// Whether it has no appends. A store refuses such a request, except as part of a call that [takes a
    /// key](crate::store::Deduplication).
    pub fn is_empty(&self) -> bool {
        self.appends.is_empty()
    }

    /// The appends, after a check against the limits. The caller has checked the history, and whether there may be
    /// none.
    ///
    /// # Errors
    /// [`Invalid`](crate::Error::Invalid) and [`TooLarge`](crate::Error::TooLarge) for appends that no store accepts.
    pub(super) fn into_valid_appends(self, limits: &Limits) -> Result<Vec<Append>> {
        let mut streams = BTreeSet::new();
        let mut ids = BTreeSet::new();
        let mut count = 0;
        for append in &self.appends {
            let stream = &append.stream;
            if append.messages.is_empty() {
                return Err(Error::invalid("append", format!("it has no message for {stream}")));
            }
            if !streams.insert(stream) {
                return Err(Error::invalid("append", format!("it names {stream} twice; give its messages together")));
            }
            for message in &append.messages {
                if !ids.insert(message.id) {
                    let reason = format!("it uses the message id {} twice", message.id);
                    return Err(Error::invalid("append", reason));
                }
                limits.check(stream, message)?;
            }
            count += append.messages.len();
        }
        if count > limits.append_messages {
            let what = "the number of messages in one append".to_owned();
            return Err(Error::TooLarge { what, actual: count, limit: limits.append_messages });
        }
        Ok(self.appends)
    }
}

impl From<Append> for AppendRequest {
    fn from(append: Append) -> Self {
        Self::from(vec![append])
    }
}

impl From<Vec<Append>> for AppendRequest {
    fn from(appends: Vec<Append>) -> Self {
        Self { appends, history: None, fence: None, timers: Vec::new(), condition: None }
    }
}

/// The places of the messages of an append.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appended {
    /// One place for each message, in the order of the request.
    pub written: Vec<Place>,
    /// An earlier call wrote the same messages. `written` has the places that they got then, and this call wrote
    /// nothing.
    ///
    /// This is false for messages that this call wrote, even if the store lost the answer and had to send the append
    /// again. After a lost answer, the store treats messages as written by this call if their global positions are
    /// above the highest one that this process knew when the call began. If another process wrote messages with the
    /// same ids in that time, both calls return false.
    pub already_written: bool,
}

impl Appended {
    /// The result of a call that wrote the messages to these places.
    pub fn written(places: Vec<Place>) -> Self {
        Self { written: places, already_written: false }
    }

    /// The result of a repeat: an earlier call wrote the messages to these places.
    pub fn already_written(places: Vec<Place>) -> Self {
        Self { written: places, already_written: true }
    }
}

/// The place of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// From 0, without gaps.
    pub position: Position,
    /// From 1. It may have gaps.
    pub global_position: GlobalPosition,
}

/// For backends: a stored message whose id an append uses.
#[derive(Debug)]
#[non_exhaustive]
pub struct Stored {
    #[allow(missing_docs)]
    pub stream: String,
    #[allow(missing_docs)]
    pub message_type: String,
    #[allow(missing_docs)]
    pub data: Json,
    /// Its place.
    pub written: Place,
    /// Its data was erased, so it cannot be compared.
    pub is_erased: bool,
}

impl From<&Message> for Stored {
    fn from(message: &Message) -> Self {
        Self {
            stream: message.stream.as_str().to_owned(),
            message_type: message.message_type.clone(),
            data: message.data.clone(),
            written: Place { position: message.position, global_position: message.global_position },
            is_erased: message.is_erased(),
        }
    }
}

impl Stored {
    fn difference(&self, stream: &StreamName, message: &NewMessage) -> Option<String> {
        if self.stream != stream.as_str() {
            Some(format!("it was written to {}", self.stream))
        } else if self.message_type != message.message_type {
            Some(format!("it was written as a {}", self.message_type))
        } else if !self.is_erased && !message.data.same_as(&self.data) {
            Some("it was written with other data".to_owned())
        } else {
            None
        }
    }
}

/// For backends: decides whether an append is a repeat. `stored` contains the stored messages that have ids of the
/// append. Returns their places if all messages were written before, and `None` if none was.
///
/// # Errors
/// [`Error::IdConflict`] when only some were written before, or a stored message is another one.
pub fn written_before<S: BuildHasher>(
    appends: &[Append],
    stored: &HashMap<MessageId, Stored, S>,
) -> Result<Option<Vec<Place>>> {
    let messages = || appends.iter().flat_map(|append| append.messages.iter().map(|message| (&append.stream, message)));
    let conflict = |message: &NewMessage, stream: &StreamName, reason| {
        Err(Error::IdConflict { id: message.id, stream: stream.clone(), reason })
    };
    let mut written = Vec::new();
    let mut first_found = None;
    for (stream, message) in messages() {
        let Some(stored) = stored.get(&message.id) else { continue };
        if let Some(reason) = stored.difference(stream, message) {
            return conflict(message, stream, reason);
        }
        first_found.get_or_insert((stream, message));
        written.push(stored.written);
    }
    let count = messages().count();
    match first_found {
        None => Ok(None),
        Some(_) if written.len() == count => Ok(Some(written)),
        Some((stream, message)) => {
            conflict(message, stream, format!("only {} of the {count} messages were written before", written.len()))
        }
    }
}
