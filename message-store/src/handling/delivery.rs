//! One command, and what follows from it alone.

use std::borrow::Cow;

use jiff::Timestamp;

use super::added_fields::{field, with_fields};
use crate::entity::Entity;
use crate::handling::Decider;
use crate::intents::Reservation;
use crate::metadata::Followed;
use crate::variant::{decode, encode_unchecked};
use crate::{
    Append, AppendRequest, Error, GlobalPosition, Json, Message, MessageId, Metadata, NewMessage, Result, Sequence,
    StoreId, StreamName, derived_id,
};

pub(crate) struct Delivery<'a> {
    pub(super) message: Cow<'a, Message>,
    /// The entity's.
    pub(super) stream: StreamName,
    pub(super) sequence: Sequence,
    /// Where else it has stood, if it is a copy.
    pub(super) copies: Vec<Sequence>,
    /// Of what is written for it.
    metadata: Metadata,
    /// What is written with its events, so that its intent is reserved.
    pub(super) reservation: Option<Reservation<'a>>,
    /// The store that it was read from.
    here: StoreId,
}

/// Derives the id of an event, as [`derived_id`] does.
pub(super) type DeriveId = fn(MessageId, &str, &str, &StreamName, usize) -> MessageId;

/// What is appended for a command.
pub(super) struct Prepared<E> {
    pub(super) request: AppendRequest,
    /// What each message of it is to the entity, in their order: a reservation is nothing.
    pub(super) effects: Vec<Option<Effect<E>>>,
}

/// An event of the entity.
pub(super) struct Effect<E> {
    pub(super) id: MessageId,
    /// As it will be read; `None` where the entity knows no such type.
    pub(super) event: Option<E>,
}

impl<'a> Delivery<'a> {
    /// Of a command to the entity of this stream, read in the store `here`.
    pub(super) fn new(
        message: &'a Message,
        here: StoreId,
        stream: StreamName,
        reservation: Option<Reservation<'a>>,
    ) -> Self {
        let Followed { metadata, sequence, copies } = Metadata::written_for(message, here);
        Self { message: Cow::Borrowed(message), stream, sequence, copies, metadata, reservation, here }
    }

    /// Puts the copy of the command that a first hop has written in the place of the command.
    pub(super) fn replace_by(&mut self, copy: Message) {
        Followed { metadata: self.metadata, sequence: self.sequence, copies: self.copies } =
            Metadata::written_for(&copy, self.here);
        self.message = Cow::Owned(copy);
        self.reservation = None;
    }

    /// The id of the first event that is written for the command.
    pub(super) fn first_id<D: Decider>(&self) -> MessageId {
        derived_id(self.message.id, D::NAME, "", &self.stream, 0)
    }

    /// What is appended for the command when it leads to these events of the entity: reservation and events, in one
    /// step.
    pub(super) fn prepare<D: Decider>(
        &self,
        entity: &Entity<D>,
        events: Vec<D::Event>,
        derive_id: DeriveId,
    ) -> Result<Prepared<D::Event>> {
        let (mut appends, mut effects) = (Vec::with_capacity(2), Vec::with_capacity(1 + events.len()));
        if let Some(reservation) = &self.reservation {
            appends.push(reservation.append_with(self.metadata.clone())?);
            effects.push(None);
        }
        // What follows the command was read from the store.
        let mut metadata = self.metadata.clone();
        metadata.handler = Some(D::NAME.to_owned());
        let metadata = Json::encode_stored(&metadata)?;
        let added = self.added_fields(entity)?;
        let mut messages = Vec::with_capacity(events.len());
        let unreadable = |error| Error::invalid("event", format!("it cannot be read back: {error}"));
        for (index, event) in events.into_iter().enumerate() {
            let (message_type, mut data) = encode_unchecked(&event)?;
            if !added.is_empty() {
                data = with_fields(data, &added)?;
            }
            let data = Json::known_to_be_json(data)?;
            let event = if added.is_empty() { Some(event) } else { decode(message_type, &data).map_err(unreadable)? };
            let id = derive_id(self.message.id, D::NAME, "", &self.stream, index);
            effects.push(Some(Effect { id, event }));
            let (message_type, metadata) = (message_type.to_owned(), metadata.clone());
            messages.push(NewMessage { id, message_type, data, metadata });
        }
        appends.push(Append { stream: self.stream.clone(), expected: entity.version.into(), messages });
        Ok(Prepared { request: AppendRequest::from(appends), effects })
    }

    /// The fields that the decider adds to the data of each event, with commas between them.
    fn added_fields<D: Decider>(&self, entity: &Entity<D>) -> Result<String> {
        let mut added = Vec::new();
        if let Some(name) = D::SEQUENCE_FIELD {
            added.push(field(name, &self.shown_sequence(entity))?);
        }
        if let Some(name) = D::PROCESSED_TIME_FIELD {
            // To the millisecond, as Eventide writes times.
            let now = Timestamp::now();
            added.push(field(name, &Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now))?);
        }
        Ok(added.join(","))
    }

    /// The sequence that the data of events shows to Eventide, whose entities keep the one they have seen last: so it
    /// never goes back behind one that was carried out in this store.
    fn shown_sequence<D: Decider>(&self, entity: &Entity<D>) -> GlobalPosition {
        let marks = entity.sequences.marks().iter().map(|mark| &mark.sequence);
        let highest = marks.filter(|mark| mark.origin.store_id == self.here).map(|mark| mark.global_position).max();
        highest.map_or(self.sequence.global_position, |highest| highest.max(self.sequence.global_position))
    }
}
