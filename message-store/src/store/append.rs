//! What is appended, all of it or nothing, and what comes back.

use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher;

use crate::{
    Error, ExpectedVersion, GlobalPosition, History, Json, Limits, Message, MessageId, NewMessage, Position, Result,
    StreamName,
};

/// Messages for one stream, with the version it must have.
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
    /// The stream.
    pub stream: StreamName,
    /// The version it must have; any, unless said otherwise.
    pub expected: ExpectedVersion,
    /// The messages, in order.
    pub messages: Vec<NewMessage>,
}

impl Append {
    /// Nothing yet, for this stream, at any version.
    pub fn to(stream: StreamName) -> Self {
        Self { stream, expected: ExpectedVersion::Any, messages: Vec::new() }
    }

    /// With this expected version.
    pub fn expecting(mut self, expected: impl Into<ExpectedVersion>) -> Self {
        self.expected = expected.into();
        self
    }

    /// With one message more.
    pub fn message(mut self, message: NewMessage) -> Self {
        self.messages.push(message);
        self
    }

    /// With these messages more.
    pub fn messages(mut self, messages: impl IntoIterator<Item = NewMessage>) -> Self {
        self.messages.extend(messages);
        self
    }
}

/// What is appended, all of it or nothing: messages for one stream or for several, and the conditions of the append.
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
}

impl AppendRequest {
    /// Decided on what was remembered of the store under this history
    /// ([`MessageStore::history`](crate::MessageStore::history)): under another one it is refused with
    /// [`HistoryChanged`](crate::Error::HistoryChanged).
    pub fn in_history(mut self, history: History) -> Self {
        self.history = Some(history);
        self
    }

    /// The history it is tied to.
    pub fn history(&self) -> Option<History> {
        self.history
    }

    /// The streams and their messages.
    pub fn appends(&self) -> &[Append] {
        &self.appends
    }

    pub(crate) fn appends_mut(&mut self) -> &mut Vec<Append> {
        &mut self.appends
    }

    /// Whether it writes nothing. A store refuses such a request, but for one that [takes a
    /// key](crate::store::Deduplication).
    pub fn is_empty(&self) -> bool {
        self.appends.is_empty()
    }

    /// What is left of it when its history has been looked at.
    ///
    /// # Errors
    /// [`Invalid`](crate::Error::Invalid) and [`TooLarge`](crate::Error::TooLarge) for what no store writes.
    pub(super) fn into_valid_appends(self, limits: &Limits) -> Result<Vec<Append>> {
        validate(&self.appends, limits)?;
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
        Self { appends, history: None }
    }
}

/// Where the messages of an append stand.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appended {
    /// One place per message, in the order in which the messages were given.
    pub written: Vec<Place>,
    /// The same messages had been written before this call: these are their first places, and nothing was written now.
    ///
    /// What this call wrote is written now, however often the store had to ask for a lost answer. Such a call takes
    /// messages for its own unless they stand at or below the highest global position that this process had seen when
    /// the call began. So it takes for its own what another process wrote under the same ids in the meantime; both are
    /// told that they wrote it.
    pub already_written: bool,
}

impl Appended {
    /// The messages were written now, to these places.
    pub fn written(places: Vec<Place>) -> Self {
        Self { written: places, already_written: false }
    }

    /// The messages had been written before, to these places.
    pub fn already_written(places: Vec<Place>) -> Self {
        Self { written: places, already_written: true }
    }
}

/// Where one message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its place in its stream.
    pub position: Position,
    /// Its place in the store.
    pub global_position: GlobalPosition,
}

/// For backends: a message that the store has under an id of an append.
#[derive(Debug)]
#[non_exhaustive]
pub struct Stored {
    /// The stream that it stands in.
    pub stream: String,
    /// Its type.
    pub message_type: String,
    /// What it says.
    pub data: Json,
    /// Where it stands.
    pub written: Place,
}

impl From<&Message> for Stored {
    fn from(message: &Message) -> Self {
        Self {
            stream: message.stream.as_str().to_owned(),
            message_type: message.message_type.clone(),
            data: message.data.clone(),
            written: Place { position: message.position, global_position: message.global_position },
        }
    }
}

impl Stored {
    fn difference(&self, stream: &StreamName, message: &NewMessage) -> Option<String> {
        if self.stream != stream.as_str() {
            Some(format!("it was written to {}", self.stream))
        } else if self.message_type != message.message_type {
            Some(format!("it was written as a {}", self.message_type))
        } else if !message.data.same_as(&self.data) {
            Some("it was written with other data".to_owned())
        } else {
            None
        }
    }
}

/// For backends: the first places of messages that were all written before, and `None` if none was. `stored` has what
/// the store has under the ids of the messages.
///
/// # Errors
/// [`Error::IdConflict`] when only some were, or something else was.
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

/// Refuses what no store can write, before anything is sent.
fn validate(appends: &[Append], limits: &Limits) -> Result<()> {
    let mut streams = BTreeSet::new();
    let mut ids = BTreeSet::new();
    let mut count = 0;
    if appends.is_empty() {
        return Err(Error::invalid("append", "it names no stream"));
    }
    for append in appends {
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
    Ok(())
}
