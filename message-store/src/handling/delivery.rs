//! One command, and what follows from it alone.

use std::borrow::Cow;

use jiff::Timestamp;

use super::stamp::{Stamp, field, with_fields};
use crate::entity::Entity;
use crate::handling::{Decider, PlantedBug};
use crate::intents::Reservation;
use crate::variant::{decode, encode_unchecked};
use crate::{
    Append, Error, GlobalPosition, Json, Message, MessageId, MessageStore, Metadata, NewMessage, Result, Sequence,
    StoreId, StreamName, derived_id,
};

pub(super) struct Delivery<'a> {
    pub(super) message: Cow<'a, Message>,
    pub(super) sequence: Sequence,
    /// Of what is written for it.
    pub(super) metadata: Metadata,
    /// The entity's.
    pub(super) stream: StreamName,
    /// What is written with its events, so that its intent is reserved.
    pub(super) reservation: Option<Reservation<'a>>,
}

/// What is appended for a command.
pub(super) struct PreparedAppend<E> {
    /// Reservation and events: one step.
    pub(super) appends: Vec<Append>,
    /// The first event's id.
    pub(super) first: MessageId,
    /// The events as they will be read, where the runtime adds to them.
    pub(super) read_back: Option<Vec<E>>,
}

impl Delivery<'_> {
    /// The same, with the copy of the command that a first hop has written in the place of the command.
    pub(super) fn replace_by(&mut self, copy: Message, here: StoreId) {
        (self.metadata, self.sequence) = Metadata::written_for(&copy, here);
        self.message = Cow::Owned(copy);
        self.reservation = None;
    }

    /// The id of the first event that is written for the command.
    pub(super) fn first_id<D: Decider>(&self) -> MessageId {
        derived_id(self.message.id, D::NAME, "", &self.stream, 0)
    }

    /// How many messages stand in front of the events in what is appended.
    pub(super) fn reserved(&self) -> usize {
        usize::from(self.reservation.is_some())
    }

    /// What is appended for the command when it leads to these events.
    pub(super) fn appends<D: Decider>(
        &self,
        store: &dyn MessageStore,
        events: &[D::Event],
        entity: &Entity<D>,
        planted: Option<PlantedBug>,
    ) -> Result<PreparedAppend<D::Event>> {
        let stamp = Stamp::new(self.message.id, self.metadata.clone(), D::NAME, "")?;
        let mut append = Append::to(self.stream.clone()).expecting(entity.version);
        let mut added = Vec::new();
        if let Some(name) = D::SEQUENCE_FIELD {
            added.push(field(name, &self.shown_sequence(store, entity))?);
        }
        if let Some(name) = D::PROCESSED_TIME_FIELD {
            added.push(field(name, &now())?);
        }
        let mut first = None;
        let mut read_back = (!added.is_empty()).then(Vec::new);
        let added = added.join(",");
        for (index, event) in events.iter().enumerate() {
            let (message_type, mut data) = encode_unchecked(event)?;
            if !added.is_empty() {
                data = with_fields(data, &added)?;
            }
            let mut message = NewMessage::new(message_type, Json::known_to_be_json(data)?);
            if let Some(read_back) = &mut read_back {
                let event = decode(&message.message_type, &message.data)
                    .map_err(|error| Error::invalid("event", format!("it cannot be read back: {error}")))?;
                read_back.extend(event);
            }
            message = stamp.put_on(message, &self.stream, index);
            if planted == Some(PlantedBug::NoSequences) {
                message.id = MessageId::new();
            }
            first.get_or_insert(message.id);
            append = append.message(message);
        }
        let reservation =
            self.reservation.as_ref().map(|reservation| reservation.append_with(self.metadata.clone())).transpose()?;
        let first = first.unwrap_or_else(|| self.first_id::<D>());
        Ok(PreparedAppend { appends: reservation.into_iter().chain([append]).collect(), first, read_back })
    }

    /// The sequence that the data of events shows to Eventide, whose entities keep the one they have seen last: so it never goes back behind
    /// one that was carried out in this store.
    fn shown_sequence<D: Decider>(&self, store: &dyn MessageStore, entity: &Entity<D>) -> GlobalPosition {
        let here = store.store_id();
        let marks = entity.sequences.marks().iter().map(|mark| &mark.sequence);
        let highest = marks.filter(|mark| mark.origin.store_id == here).map(|mark| mark.global_position).max();
        highest.map_or(self.sequence.global_position, |highest| highest.max(self.sequence.global_position))
    }
}

/// To the millisecond, as Eventide writes times.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}
