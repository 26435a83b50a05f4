//! One command, and what follows from it alone.

use std::borrow::Cow;

use jiff::Timestamp;

use super::stamp::{Stamp, with_field};
use crate::command::{Decider, PlantedBug};
use crate::entity::Entity;
use crate::idempotence::{Reservation, Sequence, derived_id};
use crate::{Append, Message, MessageId, MessageStore, NewMessage, Result, StoreId, StreamName};

pub(super) struct Case<'a> {
    pub(super) message: Cow<'a, Message>,
    pub(super) sequence: Sequence,
    /// The entity's.
    pub(super) stream: StreamName,
    /// What is written with its events, so that its intent is reserved.
    pub(super) reservation: Option<Reservation<'a>>,
}

impl Case<'_> {
    /// The same, with the copy of the command that a first hop has written in the place of the command.
    pub(super) fn replace_by(&mut self, copy: Message, here: StoreId) {
        self.sequence = copy.sequence(here);
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

    /// Reservation and events: one step.
    pub(super) fn appends<D: Decider>(
        &self,
        store: &dyn MessageStore,
        events: &[D::Event],
        entity: &Entity<D>,
        planted: Option<PlantedBug>,
    ) -> Result<Vec<Append>> {
        let stamp = Stamp::new(&self.message, &self.sequence, D::NAME, "")?;
        let mut append = Append::to(self.stream.clone()).expecting(entity.version);
        for (index, event) in events.iter().enumerate() {
            let mut message = NewMessage::from_variant(event)?;
            if let Some(field) = D::SEQUENCE_FIELD {
                message.data = with_field(&message.data, field, &self.sequence.global_position)?;
            }
            if let Some(field) = D::PROCESSED_TIME_FIELD {
                message.data = with_field(&message.data, field, &now())?;
            }
            message = stamp.put_on(message, &self.stream, index);
            if planted == Some(PlantedBug::NoSequences) {
                message.id = MessageId::random();
            }
            append = append.message(message);
        }
        let reservation = self.reservation.as_ref().map(|reservation| reservation.append(store)).transpose()?;
        Ok(reservation.into_iter().chain([append]).collect())
    }
}

/// To the millisecond, as Eventide writes times.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}
