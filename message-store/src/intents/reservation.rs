//! Reservations: the first message of an intent reserves it, and only that message is carried out.
//!
//! Problem: two messages with one intent have different ids and sequences, which do not show that they are repeats.
//! Fix: the first message of the stream `{category}-{entity}+{key}` reserves the intent. Why it is right: the store
//! writes it only if the stream is empty, atomically, and in one append with the events if the runtime reserves (one
//! hop). Eventide's account component is the model. It writes a copy of the command as the first message of a
//! transaction stream, and a second consumer handles the copy (two hops). [`reserve`] writes the same.
//!
//! Both ways can be used at the same time. In one hop the first message is a [`RESERVED`], which consumers of the
//! category do not handle as a command. If a first hop has written a copy of the command, the copy is carried out in
//! the place of the command, and the second hop finds it done.

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::intents::Intent;
use crate::variant::Form;
use crate::{
    Append, Error, ExpectedVersion, Json, Message, MessageId, MessageRef, MessageStore, Metadata, NewMessage, Outcome,
    Position, Read, Result, StreamName, StreamRead, Tag, Upcaster, derived_id,
};

/// The type of a message that reserves an intent in one append with the events. Its data is the command's data, and its
/// metadata contains the command's type. Decoding ([`Message::decode_variant`]) finds no variant for it, also if an enum has
/// one of that name.
pub const RESERVED: &str = crate::metadata::RESERVED;

/// The name from which ids of reservations are derived, instead of a handler's name. A message has one intent,
/// whichever handler carries it out.
const WRITER: &str = "reservation";

/// The reservation of an intent for a message. [`reserve`] and the runtime write it.
#[derive(Clone, Debug)]
#[must_use]
pub struct Reservation<'a> {
    intent: &'a Intent,
    entity: String,
    message: &'a Message,
    stream: StreamName,
    id: MessageId,
    /// How earlier forms of the message are read.
    upcasters: &'static [Upcaster],
}

/// The message that has an intent's reservation.
pub(crate) enum ReservedBy {
    /// The message itself, reserved in one append with its events.
    Itself,
    /// The message itself, as a copy that a first hop has written. A second hop carries out the copy.
    Copy(Box<Message>),
    /// Another message. The outcome is [`Outcome::Duplicate`] or [`Outcome::Conflict`].
    Another(Outcome),
}

impl<'a> Reservation<'a> {
    /// A reservation of `intent`, of the entity with the id `entity`, for `message`.
    ///
    /// # Errors
    /// As [`Intent::stream`].
    pub fn new(intent: &'a Intent, entity: &str, message: &'a Message) -> Result<Self> {
        let stream = intent.stream(entity)?;
        let id = derived_id(message.id, WRITER, "", &stream, 0);
        Ok(Self { intent, entity: entity.to_owned(), message, stream, id, upcasters: &[] })
    }

    /// Compares messages of earlier forms by these upcasters. Without them, a repeat of another form is a conflict.
    pub fn upcast_by(self, upcasters: &'static [Upcaster]) -> Self {
        Self { upcasters, ..self }
    }

    /// The stream whose first message is the reservation.
    pub fn stream(&self) -> &StreamName {
        &self.stream
    }

    /// The append that reserves the intent in one hop. Put it into one request with the message's events. `store` is
    /// the one from which the message was read.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the metadata has no JSON form that can be stored.
    pub fn append(&self, store: &Arc<dyn MessageStore>) -> Result<Append> {
        self.append_with(Metadata::written_for(self.message, store.store_id()).metadata, &[])
    }

    /// As [`Reservation::append`], with the metadata of the message's events, and their tags: what is erased with the
    /// events of a tag must not remain in the reservation.
    pub(crate) fn append_with(&self, mut metadata: Metadata, tags: &[Tag]) -> Result<Append> {
        metadata.reserves = Some(self.message.message_type.clone());
        metadata.reserves_for = (!self.intent.is_of_entity()).then(|| self.entity.clone());
        metadata.tags = tags.to_vec();
        self.first_message(RESERVED, metadata)
    }

    /// The append that reserves the intent in the first of two hops: a copy of the message.
    fn append_copy(&self, store: &Arc<dyn MessageStore>) -> Result<Append> {
        self.first_message(&self.message.message_type, Metadata::written_for(self.message, store.store_id()).metadata)
    }

    fn first_message(&self, message_type: &str, mut metadata: Metadata) -> Result<Append> {
        // It has the message's data, so it has the message's tags as well.
        if self.message.metadata.text().contains("\"tags\"") {
            metadata.tags.extend(self.message.decode_metadata().tags);
        }
        metadata.tags.sort_unstable();
        metadata.tags.dedup();
        // The data and the metadata were read from the store, so they need no check.
        let version = NonZeroU32::new(self.message.type_version()).filter(|version| version.get() > 1);
        let metadata = Json::encode_stored(&metadata.of_version(version))?;
        let data = self.message.data.clone();
        let message = NewMessage { id: self.id, message_type: message_type.to_owned(), data, metadata };
        Ok(Append { stream: self.stream.clone(), expected: ExpectedVersion::NoStream, messages: vec![message] })
    }

    /// The outcome after the store refused the append because the intent is reserved: `Redelivered`, `Duplicate` or
    /// `Conflict`.
    ///
    /// # Errors
    /// The errors of a read.
    pub async fn outcome(&self, store: &Arc<dyn MessageStore>) -> Result<Outcome> {
        Ok(match self.reserved_by(&**store).await? {
            ReservedBy::Itself | ReservedBy::Copy(_) => Outcome::Redelivered { original: self.message.reference() },
            ReservedBy::Another(outcome) => outcome,
        })
    }

    /// As [`Reservation::outcome`], with the copy of the first hop.
    pub(crate) async fn reserved_by(&self, store: &dyn MessageStore) -> Result<ReservedBy> {
        let first = store.read_stream(&self.stream, StreamRead::forwards_from(Position::FIRST).limit(1)).await?;
        let holder = first.into_iter().next().ok_or_else(|| {
            Error::backend(format!("reading the reservation {}", self.stream), true, "the stream is empty")
        })?;
        let metadata = holder.decode_metadata();
        let is_copy = metadata.reserves.is_none();
        // A reservation of this library has a known id. The origin alone is no proof, because another author may have
        // copied the metadata.
        let is_ours = metadata.sequence.is_some() || metadata.reserves.is_some();
        let is_for_it = || !is_ours && metadata.follows(self.message, store.store_id());
        if holder.id == self.id || holder.id == self.message.id || is_for_it() {
            return Ok(if is_copy { ReservedBy::Copy(Box::new(holder)) } else { ReservedBy::Itself });
        }
        let message_type = metadata.reserves.as_deref().unwrap_or(&holder.message_type);
        let theirs = Form::new(message_type, holder.type_version(), &holder.data);
        let ours = Form::new(&self.message.message_type, self.message.type_version(), &self.message.data);
        // The data of an erased reservation cannot be compared. The intent is carried out in either case.
        let same_entity = metadata.reserves_for.as_ref().is_none_or(|entity| *entity == self.entity);
        let same = same_entity && (holder.is_erased() || self.is_same(ours, theirs));
        let original = cause_of(store, &metadata).await?.map_or_else(|| holder.reference(), |cause| cause.reference());
        Ok(ReservedBy::Another(if same { Outcome::Duplicate { original } } else { Outcome::Conflict { original } }))
    }

    /// Whether two messages ask for the same thing. Messages of different forms are compared in the form of today.
    fn is_same(&self, ours: Form<'_>, theirs: Form<'_>) -> bool {
        let differ = ours.message_type != theirs.message_type || ours.version != theirs.version;
        let (ours, theirs) = match (ours.of_today(self.upcasters), theirs.of_today(self.upcasters)) {
            (Some(ours), Some(theirs)) if differ => (ours, theirs),
            _ => (ours, theirs),
        };
        ours.version == theirs.version
            && self.intent.same((&ours.message_type, &ours.data), (&theirs.message_type, &theirs.data))
    }
}

/// The message that caused the one with this metadata, if it is in this store. If the metadata was copied from another
/// store, another message may be at that place here.
pub(crate) async fn cause_of(store: &dyn MessageStore, metadata: &Metadata) -> Result<Option<Message>> {
    let Some(stream) = metadata.causation_message_stream_name.as_deref() else { return Ok(None) };
    let stream = StreamName::from_database(stream);
    let places = (metadata.causation_message_position, metadata.causation_message_global_position);
    let found = match places {
        (Some(position), _) => {
            let found = store.read_stream(&stream, StreamRead::forwards_from(position).limit(1)).await?;
            found.into_iter().next().filter(|message| message.position == position)
        }
        // A toolkit may name the global position alone.
        (None, Some(position)) => {
            let found = store.read_category(&stream.category(), Read::from(position).limit(1)).await?;
            let is_named = |message: &Message| message.global_position == position && message.stream == stream;
            found.messages.into_iter().next().filter(is_named)
        }
        (None, None) => None,
    };
    Ok(found.filter(|message| metadata.follows(message, store.store_id())))
}

/// Reserves an intent of an entity for a message, without its events (the first of two hops). A consumer of the
/// intent's category then handles the copy that this writes. Returns `Reserved`, `Redelivered`, `Duplicate` or
/// `Conflict`.
///
/// # Errors
/// As [`Intent::stream`] and [`MessageStore::append`]. [`Error::Invalid`] for an intent [across
/// entities](Intent::across_entities): the stream of a copy must name the entity, so that the second hop finds it.
pub async fn reserve(
    store: &Arc<dyn MessageStore>,
    intent: &Intent,
    entity: &str,
    message: &Message,
) -> Result<Outcome> {
    if !intent.is_of_entity() {
        let reason = "all entities share it, so its reservation does not name the entity for a second hop; \
                      let the decider reserve it";
        return Err(Error::invalid("intent", reason));
    }
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
        Err(Error::WrongExpectedVersion { .. } | Error::IdConflict { .. }) => reservation.outcome(store).await,
        Err(error) => Err(error),
    }
}
