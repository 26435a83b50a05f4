//! Histories of entities: what each event changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{Json, Message, MessageStore, Position, Result, StreamName, StreamRead};

/// Reads what each event of a stream changed, as far as the data shows it: an event changes the fields that its data has. The
/// meaning that a projection gives to an event is not known here.
///
/// ```
/// use message_store::operations::EntityHistory;
/// use message_store::{Append, Json, NewMessage, StreamName, connect};
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let store = connect("sqlite::memory:").await?;
/// let account = StreamName::new("account-7")?;
/// let opened = NewMessage::new("Opened", Json::parse(r#"{"owner":"Ada","limit":5}"#)?);
/// let raised = NewMessage::new("LimitRaised", Json::parse(r#"{"limit":9}"#)?);
/// store.append(Append::to(account.clone()).message(opened).message(raised).into()).await?;
/// let mut history = EntityHistory::of(&store, &account);
/// let changes = history.page(100).await?;
/// let limit = &changes[1].fields[0];
/// assert_eq!((limit.name.as_str(), limit.before.as_ref().unwrap().text(), limit.after.text()), ("limit", "5", "9"));
/// # Ok::<(), message_store::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct EntityHistory {
    store: Arc<dyn MessageStore>,
    stream: StreamName,
    fields: BTreeMap<String, Json>,
    /// `None` at the end of the stream.
    next: Option<Position>,
}

/// An event, and what it changed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Change {
    #[allow(missing_docs)]
    pub message: Message,
    /// The fields that have another value than before, in the order of their names.
    pub fields: Vec<FieldChange>,
}

/// A field that an event changed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FieldChange {
    #[allow(missing_docs)]
    pub name: String,
    /// `None` if no event before had this field.
    pub before: Option<Json>,
    #[allow(missing_docs)]
    pub after: Json,
}

impl EntityHistory {
    /// The history of the entity whose events are in this stream, from its beginning.
    pub fn of(store: &Arc<dyn MessageStore>, stream: &StreamName) -> Self {
        let (store, stream) = (Arc::clone(store), stream.clone());
        Self { store, stream, fields: BTreeMap::new(), next: Some(Position::FIRST) }
    }

    /// The changes of the next events, at most so many. At the end of the stream there are none.
    ///
    /// # Errors
    /// The errors of a read.
    pub async fn page(&mut self, limit: usize) -> Result<Vec<Change>> {
        let Some(from) = self.next else { return Ok(Vec::new()) };
        let read = StreamRead::forwards_from(from).limit(limit);
        let batch = self.store.read_stream_batch(&self.stream, read).await?;
        let last = batch.messages.last().map(|last| last.position.next());
        self.next = last.filter(|_| !batch.is_end);
        Ok(batch.messages.into_iter().map(|message| self.change(message)).collect())
    }

    /// The last value of each field, after the events that were read.
    pub fn fields(&self) -> &BTreeMap<String, Json> {
        &self.fields
    }

    /// Data that is no object changes no field, and so does an event that was erased.
    fn change(&mut self, message: Message) -> Change {
        let data: BTreeMap<String, Json> = message.data.decode().unwrap_or_default();
        let mut fields = Vec::new();
        for (name, after) in data {
            let before = self.fields.insert(name.clone(), after.clone());
            if before.as_ref().is_none_or(|before| !before.same_as(&after)) {
                fields.push(FieldChange { name, before, after });
            }
        }
        Change { message, fields }
    }
}
