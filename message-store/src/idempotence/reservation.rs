//! Reservation: of all messages that share an intent, the first one holds it.
//!
//! Problem: two messages, one intent: ids and sequences differ, so nothing else tells that they are one. Fix: the first
//! message of the stream `{category}-{entity}+{key}` holds the intent, and a stream has one first message. Why it is right:
//! the store writes it only where there is no stream yet, atomically, and together with the events where the runtime does it
//! (one hop). Source of the idea: Eventide's account component, which writes a copy of the command as the initial message
//! of a transaction stream and handles that copy with a second consumer (two hops): [`reserve`] writes the same.

use crate::idempotence::{Intent, Outcome, derived_id};
use crate::{
    Append, Error, ExpectedVersion, Message, MessageId, MessageRef, MessageStore, Metadata, NewMessage, Position,
    Result, StreamName, StreamRead,
};

/// An intent, about to be reserved for a message.
#[derive(Clone, Debug)]
#[must_use]
pub struct Reservation<'a> {
    intent: &'a Intent,
    message: &'a Message,
    stream: StreamName,
    id: MessageId,
}

impl<'a> Reservation<'a> {
    /// A reservation of `intent` of the entity with the id `entity`, for `message`.
    ///
    /// # Errors
    /// As [`Intent::stream`].
    pub fn new(intent: &'a Intent, entity: &str, message: &'a Message) -> Result<Self> {
        let stream = intent.stream(entity)?;
        let id = derived_id(message.id, &stream, 0);
        Ok(Self { intent, message, stream, id })
    }

    /// The stream whose first message holds the intent.
    pub fn stream(&self) -> &StreamName {
        &self.stream
    }

    /// What reserves the intent: a copy of the message that follows it. Appended together with the message's events, it makes
    /// reservation and effect one step.
    ///
    /// # Errors
    /// [`Error::Undecodable`] when the message's metadata cannot be read.
    pub fn append(&self) -> Result<Append> {
        let copy = NewMessage::new(&*self.message.message_type, self.message.data.clone())
            .with_id(self.id)
            .with_metadata(&Metadata::follow(self.message)?)?;
        Ok(Append::to(self.stream.clone()).expecting(ExpectedVersion::NoStream).message(copy))
    }

    /// Who holds the intent, after the append was refused because somebody does.
    ///
    /// # Errors
    /// As a read.
    pub async fn held(&self, store: &dyn MessageStore) -> Result<Outcome> {
        let first = store.read_stream(&self.stream, StreamRead::forwards_from(Position::FIRST).limit(1)).await?;
        let holder = first
            .into_iter()
            .next()
            .ok_or_else(|| Error::backend(format!("reading who holds {}", self.stream), true, "the stream is empty"))?;
        let metadata = holder.decode_metadata()?;
        if holder.id == self.id || holder.id == self.message.id || metadata.follows(self.message) {
            return Ok(Outcome::Redelivered { original: self.message.reference() });
        }
        let ours = (self.message.message_type.as_str(), &self.message.data);
        let same = self.intent.same(ours, (&holder.message_type, &holder.data));
        let original = cause(store, &metadata).await?.unwrap_or_else(|| holder.reference());
        Ok(if same { Outcome::Duplicate { original } } else { Outcome::Conflict { original } })
    }
}

/// The message that the holder is a copy of, if it is in this store.
async fn cause(store: &dyn MessageStore, metadata: &Metadata) -> Result<Option<MessageRef>> {
    let cause = (metadata.causation_message_stream_name.as_deref(), metadata.causation_message_position);
    let (Some(stream), Some(position)) = cause else { return Ok(None) };
    let found = store.read_stream(&StreamName::new(stream)?, StreamRead::forwards_from(position).limit(1)).await?;
    Ok(found.first().filter(|message| message.position == position).map(Message::reference))
}

/// Reserves an intent of an entity for a message, alone (two hops): a consumer of the intent's category then handles the copy
/// that holds it. Returns `Reserved`, `Redelivered`, `Duplicate` or `Conflict`.
///
/// # Errors
/// As [`Reservation::append`] and [`MessageStore::append`].
pub async fn reserve(store: &dyn MessageStore, intent: &Intent, entity: &str, message: &Message) -> Result<Outcome> {
    let reservation = Reservation::new(intent, entity, message)?;
    match store.append(vec![reservation.append()?]).await {
        Ok(appended) if appended.already_written => Ok(Outcome::Redelivered { original: message.reference() }),
        Ok(appended) => {
            let written = appended.written[0];
            let reservation = MessageRef {
                id: reservation.id,
                stream: reservation.stream,
                position: written.position,
                global_position: written.global_position,
            };
            Ok(Outcome::Reserved { reservation })
        }
        Err(Error::WrongExpectedVersion { .. } | Error::IdConflict { .. }) => reservation.held(store).await,
        Err(error) => Err(error),
    }
}
