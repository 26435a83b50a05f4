//! Reservation: of all messages that share an intent, the first one holds it.
//!
//! Problem: two messages, one intent: ids and sequences differ, so nothing else tells that they are one. Fix: the first
//! message of the stream `{category}-{entity}+{key}` holds the intent, and a stream has one first message. Why it is
//! right: the store writes it only where there is no stream yet, atomically, and together with the events where the
//! runtime does it (one hop). Source of the idea: Eventide's account component, which writes a copy of the command as
//! the initial message of a transaction stream and handles that copy with a second consumer (two hops): [`reserve`]
//! writes the same.
//!
//! Both ways may run beside each other. In one hop the first message is a [`RESERVED`], which no consumer of the
//! category takes for a command; and where a first hop has written a copy of the command, the copy is carried out in
//! its place, so that the second hop finds it done.

use std::sync::Arc;

use crate::intents::Intent;
use crate::{
    Append, Error, ExpectedVersion, Json, Message, MessageId, MessageRef, MessageStore, Metadata, NewMessage, Outcome,
    Position, Result, StreamName, StreamRead, derived_id,
};

/// The type of a message that reserves an intent in one append with what is written for it. It has the data of the
/// command; the command's type is in its metadata.
pub const RESERVED: &str = "Reserved";

/// What the ids of reservations are derived from, in the place of a handler's name: a message has one intent, whichever
/// handler carries it out.
const WRITER: &str = "reservation";

/// An intent, about to be reserved for a message.
#[derive(Clone, Debug)]
#[must_use]
pub struct Reservation<'a> {
    intent: &'a Intent,
    message: &'a Message,
    stream: StreamName,
    id: MessageId,
}

/// What holds an intent.
pub(crate) enum Holder {
    /// The message itself, in one append with what was written for it.
    Itself,
    /// The message itself, by a copy that a first hop has written: a second hop carries out the copy.
    Copy(Box<Message>),
    /// Another message: [`Outcome::Duplicate`] or [`Outcome::Conflict`].
    Another(Outcome),
}

impl<'a> Reservation<'a> {
    /// A reservation of `intent` of the entity with the id `entity`, for `message`.
    ///
    /// # Errors
    /// As [`Intent::stream`].
    pub fn new(intent: &'a Intent, entity: &str, message: &'a Message) -> Result<Self> {
        let stream = intent.stream(entity)?;
        let id = derived_id(message.id, WRITER, "", &stream, 0);
        Ok(Self { intent, message, stream, id })
    }

    /// The stream whose first message holds the intent.
    pub fn stream(&self) -> &StreamName {
        &self.stream
    }

    /// What reserves the intent together with the message's events (one hop): give both to one append. `store` is the
    /// one that the message was read from.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the metadata has no JSON form that can be stored.
    pub fn append(&self, store: &Arc<dyn MessageStore>) -> Result<Append> {
        self.append_with(Metadata::written_for(self.message, store.store_id()).metadata)
    }

    /// As [`Reservation::append`], with the metadata of what is written for the message.
    pub(crate) fn append_with(&self, mut metadata: Metadata) -> Result<Append> {
        metadata.reserves = Some(self.message.message_type.clone());
        self.first_message(RESERVED, &metadata)
    }

    /// What reserves the intent alone (the first of two hops): a copy of the message.
    fn append_copy(&self, store: &Arc<dyn MessageStore>) -> Result<Append> {
        self.first_message(&self.message.message_type, &Metadata::written_for(self.message, store.store_id()).metadata)
    }

    fn first_message(&self, message_type: &str, metadata: &Metadata) -> Result<Append> {
        // What follows the message, and its data, were read from the store.
        let (data, metadata) = (self.message.data.clone(), Json::encode_stored(metadata)?);
        let message = NewMessage { id: self.id, message_type: message_type.to_owned(), data, metadata };
        Ok(Append { stream: self.stream.clone(), expected: ExpectedVersion::NoStream, messages: vec![message] })
    }

    /// What holds the intent, after the append was refused because it is held: `Redelivered`, `Duplicate` or
    /// `Conflict`.
    ///
    /// # Errors
    /// As a read.
    pub async fn held(&self, store: &Arc<dyn MessageStore>) -> Result<Outcome> {
        Ok(match self.holder(&**store).await? {
            Holder::Itself | Holder::Copy(_) => Outcome::Redelivered { original: self.message.reference() },
            Holder::Another(outcome) => outcome,
        })
    }

    /// As [`Reservation::held`], with the copy.
    pub(crate) async fn holder(&self, store: &dyn MessageStore) -> Result<Holder> {
        let first = store.read_stream(&self.stream, StreamRead::forwards_from(Position::FIRST).limit(1)).await?;
        let holder = first.into_iter().next().ok_or_else(|| {
            Error::backend(format!("reading what holds {}", self.stream), true, "the stream is empty")
        })?;
        let metadata = holder.decode_metadata();
        let is_copy = metadata.reserves.is_none();
        // What we wrote is known by its id. (Another message may carry the same origin: its author has copied the
        // metadata.)
        let is_ours = metadata.sequence.is_some() || metadata.reserves.is_some();
        let is_for_it = || !is_ours && metadata.follows(self.message, store.store_id());
        if holder.id == self.id || holder.id == self.message.id || is_for_it() {
            return Ok(if is_copy { Holder::Copy(Box::new(holder)) } else { Holder::Itself });
        }
        let ours = (self.message.message_type.as_str(), &self.message.data);
        let theirs = metadata.reserves.as_deref().unwrap_or(&holder.message_type);
        let same = self.intent.same(ours, (theirs, &holder.data));
        let original = cause_of(store, &metadata).await?.map_or_else(|| holder.reference(), |cause| cause.reference());
        Ok(Holder::Another(if same { Outcome::Duplicate { original } } else { Outcome::Conflict { original } }))
    }
}

/// The message that caused one with this metadata, if it is in this store. (What stands at that place here may be
/// another message, when the metadata was copied from another store.)
pub(crate) async fn cause_of(store: &dyn MessageStore, metadata: &Metadata) -> Result<Option<Message>> {
    let cause = (metadata.causation_message_stream_name.as_deref(), metadata.causation_message_position);
    let (Some(stream), Some(position)) = cause else { return Ok(None) };
    let stream = StreamName::from_database(stream);
    let found = store.read_stream(&stream, StreamRead::forwards_from(position).limit(1)).await?.into_iter().next();
    Ok(found.filter(|message| message.position == position && metadata.follows(message, store.store_id())))
}

/// Reserves an intent of an entity for a message, alone (two hops): a consumer of the intent's category then handles
/// the copy that holds it. Returns `Reserved`, `Redelivered`, `Duplicate` or `Conflict`.
///
/// # Errors
/// As [`Intent::stream`] and [`MessageStore::append`].
pub async fn reserve(
    store: &Arc<dyn MessageStore>,
    intent: &Intent,
    entity: &str,
    message: &Message,
) -> Result<Outcome> {
    let reservation = Reservation::new(intent, entity, message)?;
    match store.append(reservation.append_copy(store)?.into()).await {
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
