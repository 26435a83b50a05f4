//! Exports: messages and timers as text, to be imported into another store.
//!
//! Each line of an export stands by itself: a message contains its original place, as a copy of a transfer does. So an export
//! can be broken off, continued, divided and joined, and what an import has written is recognised by its ids.

use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::transfer::{copy_of, copy_of_timer};
use crate::store::{Timer, TimerKey, TimerQuery};
use crate::{
    Category, Error, GlobalPosition, Json, Message, MessageId, MessageStore, NewMessage, Position, Read, Result,
    StoreId, StreamName, Timestamp,
};

/// A line of an export: in JSON by its `Serialize`, and from JSON by its `FromStr`.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
#[allow(clippy::large_enum_variant, reason = "almost all are messages")]
pub enum Exported {
    #[allow(missing_docs)]
    Message(ExportedMessage),
    /// `{"timer":{…}}`
    Timer {
        #[allow(missing_docs)]
        timer: ExportedTimer,
    },
    /// `{"export":{…}}`, the first line of a file: what is exported. A file goes on with the same export only.
    Begin {
        #[allow(missing_docs)]
        export: ExportBegin,
    },
}

/// What a file is an export of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExportBegin {
    /// The store from which it comes.
    pub store_id: StoreId,
    /// The categories, one after the other. Empty: all messages, in the order of their global positions.
    pub categories: Vec<Category>,
}

/// A message of an export. Its fields are those of a [`Message`], and its metadata is that of a copy.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct ExportedMessage {
    pub id: MessageId,
    pub stream: StreamName,
    #[serde(rename = "type")]
    pub message_type: String,
    /// The position in the store from which it comes.
    pub position: Position,
    /// The position in the store from which it comes.
    pub global_position: GlobalPosition,
    pub data: Json,
    pub metadata: Json,
    /// The time in the store from which it comes.
    pub time: Timestamp,
}

/// A timer of an export.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ExportedTimer {
    pub stream: StreamName,
    pub name: String,
    pub due: Timestamp,
    /// The stream to which it writes.
    pub to: StreamName,
    pub id: MessageId,
    #[serde(rename = "type")]
    pub message_type: String,
    pub data: Json,
    pub metadata: Json,
}

/// Reads the messages and timers of a store in the form of an export.
///
/// ```
/// use message_store::operations::{Export, Import};
/// use message_store::{Append, GlobalPosition, Json, NewMessage, StreamName, connect};
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let (from, to) = (connect("sqlite::memory:").await?, connect("sqlite::memory:").await?);
/// let deposited = NewMessage::new("Deposited", Json::NULL);
/// from.append(Append::to(StreamName::new("account-7")?).message(deposited).into()).await?;
/// let page = Export::of(&from).messages(None, GlobalPosition::ZERO, 1_000).await?;
/// let line = serde_json::to_string(&page.messages[0])?;
/// let imported = Import::to(&to).write(vec![line.parse()?]).await?;
/// assert_eq!(imported.written, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Export {
    store: Arc<dyn MessageStore>,
}

/// A page of an export.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ExportPage {
    /// In the order of their global positions. Each is an [`Exported::Message`].
    pub messages: Vec<Exported>,
    /// The next page begins after this global position.
    pub looked_through: GlobalPosition,
    /// There is no later page, as of now.
    pub is_end: bool,
}

impl Export {
    /// An export of this store.
    pub fn of(store: &Arc<dyn MessageStore>) -> Self {
        Self { store: Arc::clone(store) }
    }

    /// The first line of a file with an export of these categories, or of all messages.
    pub fn begin(&self, categories: &[Category]) -> ExportBegin {
        ExportBegin { store_id: self.store.store_id(), categories: categories.to_vec() }
    }

    /// The messages of a category, or of all, after a position. Positions of consumers have a meaning in their own store only,
    /// and are left out.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a category of positions of consumers; the errors of a read.
    pub async fn messages(
        &self,
        category: Option<&Category>,
        after: GlobalPosition,
        limit: usize,
    ) -> Result<ExportPage> {
        let read = Read::from(after.next()).limit(limit);
        let batch = match category {
            Some(category) if is_of_positions(category) => {
                let reason =
                    format!("{category} has positions of consumers, which have a meaning in their own store only");
                return Err(Error::invalid("export", reason));
            }
            Some(category) => self.store.read_category(category, read.clone()).await?,
            None => self.store.read_all(read.clone()).await?,
        };
        let is_end = batch.is_at_end(&read);
        let mut messages = Vec::with_capacity(batch.messages.len());
        for message in batch.messages {
            if !is_of_positions(&message.stream.category()) {
                messages.push(Exported::Message(copy_of(&message, &*self.store).await?.into()));
            }
        }
        Ok(ExportPage { messages, looked_through: batch.looked_through.max(after), is_end })
    }

    /// The timers that wait, whose keys have streams of a category, or all of them.
    ///
    /// # Errors
    /// The errors of a read.
    pub async fn timers(&self, category: Option<&Category>) -> Result<Vec<Exported>> {
        let Some(timers) = self.store.timers() else { return Ok(Vec::new()) };
        let mut query = TimerQuery::new();
        query.category = category.cloned();
        let mut exported = Vec::new();
        loop {
            let page = timers.list(query.clone()).await?;
            let Some(last) = page.last() else { return Ok(exported) };
            query = query.after(last);
            for timer in page {
                exported.push(Exported::Timer { timer: copy_of_timer(timer, &*self.store)?.into() });
            }
        }
    }
}

impl FromStr for Exported {
    type Err = Error;

    fn from_str(line: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Line {
            timer: Option<ExportedTimer>,
            export: Option<ExportBegin>,
        }
        serde_json::from_str(line).map(Self::Message).or_else(|error| match serde_json::from_str(line) {
            Ok(Line { timer: Some(timer), .. }) => Ok(Self::Timer { timer }),
            Ok(Line { export: Some(export), .. }) => Ok(Self::Begin { export }),
            _ => Err(Error::invalid("line of an export", error.to_string())),
        })
    }
}

fn is_of_positions(category: &Category) -> bool {
    category.as_str().ends_with("+position")
}

impl From<Message> for ExportedMessage {
    fn from(message: Message) -> Self {
        let Message { id, stream, message_type, position, global_position, data, metadata, time } = message;
        Self { id, stream, message_type, position, global_position, data, metadata, time }
    }
}

impl From<ExportedMessage> for Message {
    fn from(exported: ExportedMessage) -> Self {
        let ExportedMessage { id, stream, message_type, position, global_position, data, metadata, time } = exported;
        Self { id, stream, message_type, position, global_position, data, metadata, time }
    }
}

impl From<Timer> for ExportedTimer {
    fn from(Timer { key, due, to, message, .. }: Timer) -> Self {
        let NewMessage { id, message_type, data, metadata } = message;
        Self { stream: key.stream, name: key.name, due, to, id, message_type, data, metadata }
    }
}

impl From<ExportedTimer> for Timer {
    fn from(exported: ExportedTimer) -> Self {
        let ExportedTimer { stream, name, due, to, id, message_type, data, metadata } = exported;
        let message = NewMessage::new(message_type, data).with_id(id).with_metadata_json(metadata);
        Self::new(TimerKey::new(stream, name), (due, jiff::SignedDuration::ZERO), to, message)
    }
}
