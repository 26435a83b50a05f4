//! The runtime of deciders: load, check, decide, stamp, append.
//!
//! Problem: a command is delivered at least once, late, out of order, by several processes at a time, and its effect must be
//! there exactly once. Fix, in the order of cost:
//!
//! 1. Above the mark of its origin a command is new. That needs no I/O, and is nearly every command.
//! 2. At or below the mark it is a repeat or late. The entity's latest commands are remembered; of others, one look-up tells: a
//!    repeat's first event has an id derived from it.
//! 3. The append expects the version that was decided on, so whoever decides on an older state has to decide again, and
//!    ids are unique, so that what escaped 1 and 2 is still refused.
//!
//! Why nothing is lost: only a message that was *found* counts as processed. Why nothing is doubled: the second of two
//! appends for one command carries the ids of the first.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use jiff::Timestamp;

use super::stamp::{Stamp, with_field};
use crate::command::{Context, Decider, Handler, PlantedBug};
use crate::entity::{Entity, EntityStore, Projection};
use crate::idempotence::{Outcome, Reservation, Sequence, derived_id, place_of, stamp_of};
use crate::{
    Append, Appended, Error, Message, MessageId, MessageRef, MessageStore, MessageStoreExt as _, NewMessage, Position,
    Result, Source, StreamName, Version, Written,
};

/// Carries out the commands of an entity, each exactly once.
pub struct Decide<D> {
    entities: EntityStore<D>,
    planted: Option<PlantedBug>,
}

/// Where a command stands to its entity.
enum Standing {
    New,
    Late,
    Processed(MessageRef),
}

impl<D: Decider> Decide<D> {
    /// Carries out commands on entities of this store.
    pub fn new(store: &Arc<dyn MessageStore>) -> Self {
        Self::with_entities(EntityStore::new(store))
    }

    /// Carries out commands on these entities.
    pub fn with_entities(entities: EntityStore<D>) -> Self {
        Self { entities, planted: None }
    }

    /// Switches a protection off.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn plant(mut self, bug: PlantedBug) -> Self {
        self.planted = Some(bug);
        self
    }

    /// The entities: to look at the state.
    pub fn entities(&self) -> &EntityStore<D> {
        &self.entities
    }

    fn has(&self, bug: PlantedBug) -> bool {
        self.planted == Some(bug)
    }

    /// Carries out one command.
    ///
    /// # Errors
    /// [`Error::Undecodable`] for data or metadata that does not fit, [`Error::Invalid`] for a command without an entity id or
    /// with an invalid intent, and the store's own errors.
    pub async fn handle(&self, message: &Message) -> Result<Outcome> {
        let Some(command) = message.decode_variant::<D::Command>()? else { return Ok(Outcome::Unhandled) };
        let entity_id = message.stream.cardinal_id().filter(|id| !id.is_empty()).ok_or_else(|| {
            let reason =
                format!("{} of {} names no entity: its stream has no id", message.message_type, message.stream);
            Error::invalid("command", reason)
        })?;
        let stream = self.entities.stream(entity_id)?;
        let intent = D::intent(&command).filter(|_| !self.has(PlantedBug::NoReservation));
        let reservation = intent.as_ref().map(|intent| Reservation::new(intent, entity_id, message)).transpose()?;
        let case = Case { message, sequence: message.sequence(self.store().store_id())?, stream, reservation };
        let outcome = self.carry_out(&command, case).await?;
        if let Some(original) = outcome.original() {
            tracing::debug!(message = %message.reference(), %original, outcome = outcome.name(), "a repeat was caught");
        } else if matches!(outcome, Outcome::Handled { late: true, .. }) {
            tracing::info!(message = %message.reference(), "a late command was handled");
        }
        Ok(outcome)
    }

    async fn carry_out(&self, command: &D::Command, mut case: Case<'_>) -> Result<Outcome> {
        let mut entity = self.entities.recall(&case.stream).await?;
        // Another command of the same intent came first.
        let mut repeat = None;
        let mut unanswered = false;
        let mut refused = false;
        loop {
            let late = match self.standing(&entity, &case, refused).await? {
                Standing::New => false,
                Standing::Late => true,
                // The append whose answer was lost was ours.
                Standing::Processed(_) if unanswered => return self.handled_before(&case, repeat).await,
                Standing::Processed(original) => return Ok(Outcome::AlreadyProcessed { original }),
            };
            let events = match &repeat {
                Some(repeat) => entity.state.decide_repeat(command, repeat),
                None if late => entity.state.decide_late(command),
                None => entity.state.decide(command),
            };
            if events.is_empty() {
                return Ok(repeat.unwrap_or(Outcome::Ignored));
            }
            let failure = match self.store().append(self.appends(&events, &entity, &case)?).await {
                Ok(appended) if !appended.already_written => {
                    self.entities.remember(&case.stream, &Arc::new(next(&entity, &events, &appended, &case)));
                    return Ok(repeat.unwrap_or(Outcome::Handled { events: events.len(), late }));
                }
                Ok(_) if unanswered => return self.handled_before(&case, repeat).await,
                Ok(_) => {
                    self.entities.refresh(&case.stream).await?;
                    return Ok(Outcome::AlreadyProcessed { original: self.first_event(&case).await? });
                }
                Err(error) => error,
            };
            if let Some(reservation) = case.reservation.take_if(|reservation| is_held(&failure, reservation)) {
                match reservation.held(&**self.store()).await? {
                    // Reserved for this very message, by an earlier delivery or by a first hop; its events may be missing.
                    Outcome::Redelivered { .. } => {}
                    outcome if entity.state.decide_repeat(command, &outcome).is_empty() => return Ok(outcome),
                    // Somebody is to be told, once: by an event that is decided on the entity as it is now.
                    outcome => repeat = Some(outcome),
                }
            } else {
                unanswered |= matches!(failure, Error::CommitUnknown { .. });
                refused |= matches!(failure, Error::IdConflict { .. });
                if !is_worth_deciding_again(&failure) || self.has(PlantedBug::NoSecondDecision) {
                    return Err(failure);
                }
            }
            entity = self.entities.refresh(&case.stream).await?;
        }
    }

    /// `refused`: the store knows an id of this command, whatever the marks say (its identity was rotated, perhaps).
    async fn standing(&self, entity: &Entity<D>, case: &Case<'_>, refused: bool) -> Result<Standing> {
        let sequences = &entity.sequences;
        match self.planted.and_then(|bug| bug.judge(sequences, &case.sequence)) {
            Some(true) => return Ok(Standing::Processed(case.message.reference())),
            Some(false) => return Ok(Standing::New),
            None => {}
        }
        if !refused && sequences.is_new(&case.sequence) && !self.may_be_foreign_repeat(entity, case) {
            return Ok(Standing::New);
        }
        if let Some(first) = entity.recall(&case.sequence, &case.stream) {
            return Ok(Standing::Processed(first));
        }
        if let Some(first) = self.store().message(case.first_id()).await? {
            return Ok(Standing::Processed(first.reference()));
        }
        if sequences.has_foreign()
            && let Some(event) = self.search(case.message, &case.sequence, &case.stream).await?
        {
            return Ok(Standing::Processed(event));
        }
        Ok(Standing::Late)
    }

    /// A copy keeps the sequence of its birth, but another toolkit that carried it out here has stamped its place here.
    fn may_be_foreign_repeat(&self, entity: &Entity<D>, case: &Case<'_>) -> bool {
        let here = place_of(case.message, self.store().store_id());
        entity.sequences.has_foreign() && here != case.sequence && !entity.sequences.is_new(&here)
    }

    /// Looks for an event that says it was caused by the message: the ids that other toolkits give are not derived.
    pub(super) async fn search(
        &self,
        message: &Message,
        sequence: &Sequence,
        stream: &StreamName,
    ) -> Result<Option<MessageRef>> {
        let here = self.store().store_id();
        let place = place_of(message, here);
        let mut events = std::pin::pin!(self.store().stream_messages(stream, Position::FIRST));
        while let Some(event) = events.try_next().await? {
            // By where it stands here; or by where it was born, when both are copies.
            let cause = stamp_of(&event, here)?.map(|stamp| stamp.sequence);
            if cause.as_ref().is_some_and(|cause| cause == sequence || *cause == place) {
                return Ok(Some(event.reference()));
            }
        }
        Ok(None)
    }

    /// Reservation and events: one step.
    fn appends(&self, events: &[D::Event], entity: &Entity<D>, case: &Case<'_>) -> Result<Vec<Append>> {
        let stamp = Stamp::new(case.message, &case.sequence)?;
        let mut append = Append::to(case.stream.clone()).expecting(entity.version);
        for (index, event) in events.iter().enumerate() {
            let mut message = NewMessage::from_variant(event)?;
            if let Some(field) = D::SEQUENCE_FIELD {
                message.data = with_field(&message.data, field, &case.sequence.global_position)?;
            }
            if let Some(field) = D::PROCESSED_TIME_FIELD {
                message.data = with_field(&message.data, field, &now())?;
            }
            message = stamp.put_on(message, &case.stream, index);
            if self.has(PlantedBug::NoSequences) {
                message.id = MessageId::random();
            }
            append = append.message(message);
        }
        let reservation = case.reservation.as_ref().map(Reservation::append).transpose()?;
        Ok(reservation.into_iter().chain([append]).collect())
    }

    /// The append whose answer was lost was written.
    async fn handled_before(&self, case: &Case<'_>, repeat: Option<Outcome>) -> Result<Outcome> {
        self.entities.refresh(&case.stream).await?;
        if let Some(repeat) = repeat {
            return Ok(repeat);
        }
        let events = self.events(case.message, &case.stream).await?.len();
        Ok(Outcome::Handled { events, late: false })
    }

    async fn first_event(&self, case: &Case<'_>) -> Result<MessageRef> {
        let first = self.store().message(case.first_id()).await?;
        Ok(first.map_or_else(|| case.message.reference(), |first| first.reference()))
    }

    pub(super) fn store(&self) -> &Arc<dyn MessageStore> {
        self.entities.store()
    }
}

/// One command, and what follows from it alone.
struct Case<'a> {
    message: &'a Message,
    sequence: Sequence,
    /// The entity's.
    stream: StreamName,
    reservation: Option<Reservation<'a>>,
}

impl Case<'_> {
    /// The id of the first event that is written for the command.
    fn first_id(&self) -> MessageId {
        derived_id(self.message.id, &self.stream, 0)
    }
}

fn is_held(failure: &Error, reservation: &Reservation<'_>) -> bool {
    matches!(
        failure,
        Error::WrongExpectedVersion { stream, .. } | Error::IdConflict { stream, .. } if stream == reservation.stream()
    )
}

/// Somebody wrote to the entity first, or wrote these very events, or the answer was lost.
fn is_worth_deciding_again(failure: &Error) -> bool {
    matches!(failure, Error::WrongExpectedVersion { .. } | Error::IdConflict { .. } | Error::CommitUnknown { .. })
}

/// The entity as it is after its events were appended: a copy, complete before anyone sees it.
fn next<D: Decider>(entity: &Entity<D>, events: &[D::Event], appended: &Appended, case: &Case<'_>) -> Entity<D> {
    let mut next = entity.clone();
    for event in events {
        next.state.apply(event);
    }
    next.sequences.record(&case.sequence);
    // What is reserved stands in front of the events.
    if let Some(first) = appended.written.iter().rev().nth(events.len().saturating_sub(1)) {
        let &Written { position, global_position } = first;
        let stream = case.stream.clone();
        next.remember(&case.sequence, &MessageRef { id: case.first_id(), stream, position, global_position });
    }
    if let Some(last) = appended.written.last() {
        next.version = Version::at(last.position);
    }
    next
}

/// To the millisecond, as Eventide writes times.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

#[async_trait]
impl<D: Decider> Handler for Decide<D> {
    fn message_types(&self) -> Vec<&'static str> {
        crate::variant::names::<D::Command>().to_vec()
    }

    fn name(&self) -> &'static str {
        let path = std::any::type_name::<D>();
        path.rsplit("::").next().unwrap_or(path)
    }

    async fn handle(&self, message: &Message, _context: &Context<'_>) -> Result<Outcome, Source> {
        Ok(Decide::handle(self, message).await?)
    }
}

impl<D: Projection> fmt::Debug for Decide<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decide").field("entities", &self.entities).finish_non_exhaustive()
    }
}
