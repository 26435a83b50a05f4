//! A command that a handler has received, and the append that is prepared for it.

use std::borrow::Cow;

use jiff::Timestamp;

use super::added_fields::{field, with_fields};
use super::behaviour::{Behaviour, EventOf};
use super::followed::follow;
use super::reaction::{Reaction, ReactionParts};
use super::timers;
use crate::derived_id::DeriveId;
use crate::entity::{Entity, Projection};
use crate::intents::Reservation;
use crate::metadata::Followed;
use crate::variant::{decode, encode_unchecked, names, newest_version};
use crate::{
    Append, AppendRequest, Error, GlobalPosition, Json, Message, MessageId, Metadata, NewMessage, Result, Sequence,
    StoreId, StreamName, Tag, derived_id,
};

/// A command, with the values that depend on its message and the store alone.
pub(crate) struct ReceivedCommand<'a> {
    pub(super) message: Cow<'a, Message>,
    /// The entity's stream.
    pub(super) stream: StreamName,
    pub(super) sequence: Sequence,
    /// The other places of the command, if it is a copy.
    pub(super) copies: Vec<Sequence>,
    /// The metadata of the messages that are written for the command. It lacks the handler's name.
    metadata: Metadata,
    /// The first message of the intent's stream, which is appended together with the events. `None` if the command has
    /// no intent, or its intent is reserved already.
    pub(super) reservation: Option<Reservation<'a>>,
    /// The store from which the command was read.
    here: StoreId,
}

/// An append that is ready to be sent.
pub(super) struct Prepared<E> {
    pub(super) request: AppendRequest,
    /// One entry for each message of the request up to the last event, in order. A reservation changes no entity, so its
    /// entry is `None`. The messages for other streams follow, and have no entry.
    pub(super) new_events: Vec<Option<NewEvent<E>>>,
}

/// A new event of the entity.
pub(super) struct NewEvent<E> {
    pub(super) id: MessageId,
    /// The event as it will be decoded. `None` when the projection does not know its type.
    pub(super) event: Option<E>,
}

/// The id of the first event for a command, whatever the events are. `stream` is that of its entity.
pub(super) fn first_id<B: Behaviour>(command: MessageId, stream: &StreamName) -> MessageId {
    derived_id(command, B::NAME, "", stream, 0)
}

/// Refuses an event that could not be read again: the entity would be lost.
fn assert_readable<P: Projection>(message_type: &str) -> Result<()> {
    if names::<P::Event>().contains(&message_type) || P::ignores(message_type) {
        return Ok(());
    }
    let reason = format!(
        "it would be written as {message_type}, which the projection of {} does not know; give the variant one name for both \
         serialization and deserialization",
        P::CATEGORY
    );
    Err(Error::invalid("event", reason))
}

fn undecodable(error: &serde_json::Error) -> Error {
    Error::invalid("event", format!("a projection cannot decode it: {error}"))
}

impl<'a> ReceivedCommand<'a> {
    /// `stream` is that of the command's entity, and `here` is the store from which the command was read.
    pub(super) fn new<B: Behaviour>(
        message: &'a Message,
        here: StoreId,
        stream: StreamName,
        reservation: Option<Reservation<'a>>,
    ) -> Self {
        let Followed { mut metadata, sequence, copies } = Metadata::written_for(message, here);
        if B::BEGINS_CORRELATION && metadata.correlation_stream_name.is_none() {
            metadata.correlation_stream_name = Some(stream.as_str().to_owned());
        }
        Self { message: Cow::Borrowed(message), stream, sequence, copies, metadata, reservation, here }
    }

    /// Replaces the command by the copy that a first hop has written.
    pub(super) fn replace_by(&mut self, copy: Message) {
        let correlation = self.metadata.correlation_stream_name.take();
        Followed { metadata: self.metadata, sequence: self.sequence, copies: self.copies } =
            Metadata::written_for(&copy, self.here);
        self.metadata.correlation_stream_name = self.metadata.correlation_stream_name.take().or(correlation);
        self.message = Cow::Owned(copy);
        self.reservation = None;
    }

    /// The id of the first event for the command.
    pub(super) fn first_id<B: Behaviour>(&self) -> MessageId {
        first_id::<B>(self.message.id, &self.stream)
    }

    /// Prepares the append of a reaction, and of the reservation, in one request. The request expects the version of
    /// `entity`.
    pub(super) fn prepare<B: Behaviour>(
        &self,
        entity: &Entity<B::State>,
        reaction: Reaction<EventOf<B>>,
        derive_id: DeriveId,
    ) -> Result<Prepared<EventOf<B>>> {
        let ReactionParts { events, appends: sent, timers: mut changes } = reaction.into_parts(&self.stream)?;
        let (mut appends, mut new_events) = (Vec::with_capacity(2 + sent.len()), Vec::with_capacity(1 + events.len()));
        if let Some(reservation) = &self.reservation {
            let tags: Vec<Tag> = events.iter().flat_map(B::tags).collect();
            appends.push(reservation.append_with(self.metadata.clone(), &tags)?);
            new_events.push(None);
        }
        let (mut metadata, mut followed) = (self.metadata.clone(), None);
        metadata.handler = Some(B::NAME.to_owned());
        let added = self.added_fields::<B>(entity)?;
        let mut messages = Vec::with_capacity(events.len());
        for (index, event) in events.into_iter().enumerate() {
            let authors = match B::tags(&event) {
                tags if tags.is_empty() => Json::NULL,
                tags => tags.into_iter().fold(Metadata::new(), Metadata::tag).to_json()?,
            };
            let (message_type, mut data) = encode_unchecked(&event)?;
            assert_readable::<B::State>(message_type)?;
            if !added.is_empty() {
                data = with_fields(data, &added)?;
            }
            let data = Json::known_to_be_json(data)?;
            let event = if added.is_empty() {
                Some(event)
            } else {
                decode(message_type, &data).map_err(|error| undecodable(&error))?
            };
            let id = derive_id(self.message.id, B::NAME, "", &self.stream, index);
            new_events.push(Some(NewEvent { id, event }));
            let metadata = match newest_version(B::State::UPCASTERS, message_type) {
                None => follow(&metadata, &authors, &mut followed)?,
                version => follow(&metadata.clone().of_version(version), &authors, &mut None)?,
            };
            messages.push(NewMessage { id, message_type: message_type.to_owned(), data, metadata });
        }
        appends.push(Append { stream: self.stream.clone(), expected: entity.version.into(), messages });
        for mut append in sent {
            for (index, message) in append.messages.iter_mut().enumerate() {
                message.id = derive_id(self.message.id, B::NAME, "", &append.stream, index);
                message.metadata = follow(&metadata, &message.metadata, &mut followed)?;
            }
            appends.push(append);
        }
        let write = (B::NAME, "");
        timers::complete(&mut changes, &self.message, write, (&metadata, &mut followed), derive_id)?;
        let mut request = AppendRequest::from(appends);
        *request.timers_mut() = changes;
        Ok(Prepared { request, new_events })
    }

    /// The fields that the decider adds to the data of each event, separated by commas.
    fn added_fields<B: Behaviour>(&self, entity: &Entity<B::State>) -> Result<String> {
        let mut added = Vec::new();
        if let Some(name) = B::SEQUENCE_FIELD {
            added.push(field(name, &self.shown_sequence::<B>(entity))?);
        }
        if let Some(name) = B::PROCESSED_TIME_FIELD {
            // Eventide writes times with milliseconds.
            let now = Timestamp::now();
            added.push(field(name, &Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now))?);
        }
        Ok(added.join(","))
    }

    /// The sequence that the data of the events shows to Eventide. An Eventide entity keeps the last sequence that it
    /// has seen, so the value is never below that of a command that was carried out in this store.
    fn shown_sequence<B: Behaviour>(&self, entity: &Entity<B::State>) -> GlobalPosition {
        let marks = entity.sequences.marks().iter().map(|mark| &mark.sequence);
        let highest = marks.filter(|mark| mark.origin.store_id == self.here).map(|mark| mark.global_position).max();
        highest.map_or(self.sequence.global_position, |highest| highest.max(self.sequence.global_position))
    }
}
