//! The runtime of deciders and process managers: load, check, decide, stamp, append.
//!
//! Problem: a command is delivered at least once, perhaps late, out of order, and to several processes at the same
//! time. Its effect must happen exactly once. Fix, the cheapest check first:
//!
//! 1. A command above the mark of its origin is new. This check needs no I/O, and is enough for nearly every command.
//! 2. A command at or below the mark is a repeat or late. The entity remembers its recent commands. For others, one
//!    look-up decides: the first event of a repeat has an id that is derived from the command. After a consumer's
//!    start, one look-up serves a whole batch of commands, and no entity is loaded for those that are repeats.
//! 3. The append expects the version on which the command was decided, so a decision on an older state is made again.
//!    Ids are unique, so the store refuses a repeat that the first two checks did not recognise.
//! 4. The store cannot check a decision that writes nothing. So it counts only if the entity was read for it.
//!
//! Why no command is lost: a command is processed only if an event was *found*, and a decision to write nothing counts
//! only for a current entity. Why no command has two effects: the second of two appends for one command has the ids of
//! the first.

use std::collections::HashMap;
use std::sync::Arc;

use super::behaviour::{Arrival, Behaviour, EventOf, Received, receive};
use super::boundary::Boundary;
use super::command_status::{CommandStatus, Evidence, LookUp};
use super::contention::{Contention, wait};
use super::effects::{assert_written_by, events_of, find_by_stamps};
use super::received_command::{NewEvent, ReceivedCommand, first_id};
use crate::entity::{CacheEntry, Entity, EntityStore, Loaded, Projection as _};
use crate::handling::Protections;
use crate::intents::{Reservation, ReservedBy};
use crate::{Appended, Error, GlobalPosition, Message, MessageId, MessageRef, Outcome, Result, StreamName};

/// Carries out each message of an entity exactly once, by the rules of a decider or a process manager.
pub(crate) struct Runtime<B: Behaviour> {
    pub(crate) entities: EntityStore<B::State>,
    pub(crate) protections: Protections<B>,
}

/// The outcome of a message, and the events that this handling has written.
pub(super) struct CarriedOut<E> {
    pub(super) outcome: Outcome,
    /// Empty after a repeat, and after an answer that was lost.
    pub(super) events: Vec<E>,
    /// The place of the last of these events.
    pub(super) last: Option<GlobalPosition>,
}

impl<E> CarriedOut<E> {
    fn without_events(outcome: Outcome) -> Self {
        Self { outcome, events: Vec::new(), last: None }
    }
}

/// The facts that earlier appends for the command have shown.
#[derive(Default)]
struct EarlierAppends {
    /// The outcome if another command has reserved the intent.
    repeat: Option<Outcome>,
    /// The answer to an append was lost, so the events may or may not be written.
    answer_was_lost: bool,
    /// The store has a message with one of the command's derived ids, whatever the marks are.
    id_exists: bool,
    contention: Contention,
    boundary: Boundary,
}

impl<B: Behaviour> Runtime<B> {
    pub(super) fn new(entities: EntityStore<B::State>) -> Self {
        Self { entities, protections: Protections::ALL }
    }

    /// Carries out one message. If other writers append to its entity at the same time, it is decided again, with
    /// growing pauses, while the entity's stream makes progress.
    pub(super) async fn carry_out(&self, message: &Message) -> Result<CarriedOut<EventOf<B>>> {
        let nothing = |outcome| Ok(CarriedOut::without_events(outcome));
        if message.is_erased() {
            return nothing(self.outcome_of_erased(message).await?);
        }
        let input = match receive::<B>(message)? {
            Received::Input(input) => input,
            Received::Unknown => return nothing(Outcome::Unhandled),
            Received::Dropped => return nothing(Outcome::Ignored),
        };
        let Some(entity_id) = B::entity_id(message)? else { return nothing(Outcome::Ignored) };
        let stream = self.entities.stream(&entity_id)?;
        let intent = (self.protections.intent)(&input);
        let reservation = intent.as_ref().map(|intent| Reservation::new(intent, &entity_id, message)).transpose()?;
        let reservation = reservation.map(|reservation| reservation.upcast_by(B::INPUT_UPCASTERS));
        let received = ReceivedCommand::new::<B>(message, self.entities.store.store_id(), stream, reservation);
        let carried_out = self.decide(&input, received).await?;
        match &carried_out.outcome {
            Outcome::Handled { late: true, .. } => {
                tracing::info!(target: "message_store::handling", message = %message.reference(), "a late command was handled");
            }
            Outcome::AlreadyProcessed { original }
            | Outcome::Duplicate { original }
            | Outcome::Conflict { original } => {
                tracing::debug!(target: "message_store::handling", message = %message.reference(), %original, outcome = %carried_out.outcome.kind(), "a repeat was recognised");
            }
            _ => {}
        }
        Ok(carried_out)
    }

    /// The outcome of a command that was erased. If its events are found, it was carried out. If not, it had no events,
    /// or it was not carried out, and can no longer be.
    async fn outcome_of_erased(&self, message: &Message) -> Result<Outcome> {
        // What needs the data to find the entity cannot find it.
        let Ok(Some(entity_id)) = B::entity_id(message) else { return Ok(Outcome::Ignored) };
        let (store, stream) = (&*self.entities.store, self.entities.stream(&entity_id)?);
        let own = store.written_by(B::NAME, &[first_id::<B>(message.id, &stream)]).await?.pop();
        let found = match own {
            Some(own) => Some(own),
            None => find_by_stamps(store, message, &stream).await?,
        };
        if let Some(original) = found {
            return Ok(Outcome::AlreadyProcessed { original });
        }
        tracing::warn!(target: "message_store::handling", message = %message.reference(), "the command was erased and no event was written for it, so it is ignored");
        Ok(Outcome::Ignored)
    }

    /// Decides and appends, again and again, until the events are written or a decision to write nothing counts.
    async fn decide(&self, input: &B::Input, mut received: ReceivedCommand<'_>) -> Result<CarriedOut<EventOf<B>>> {
        let known = |outcome| Ok(CarriedOut::without_events(outcome));
        let mut loaded = self.entities.load(&received.stream).await?;
        let mut earlier = EarlierAppends::default();
        loop {
            let CacheEntry { entity, history, .. } = &loaded.entry;
            let status = self.status(entity, &received, earlier.id_exists).await?;
            let arrival = match (&status, &earlier.repeat) {
                (CommandStatus::Processed(original), _) => {
                    return known(self.outcome_of_processed(original, &received, earlier).await?);
                }
                (_, Some(repeat)) => Arrival::Repeat(repeat),
                (CommandStatus::Late, None) => Arrival::Late,
                (CommandStatus::New, None) => Arrival::InOrder,
            };
            // A repeat is answered, whatever matches.
            let query = match arrival {
                Arrival::Repeat(_) => None,
                _ => (self.protections.unless)(&entity.state, input)
                    .map(|query| query.widened_by(B::State::CATEGORY, B::State::UPCASTERS)),
            };
            let arrival = earlier.boundary.arrival(query.as_ref(), *history, arrival);
            let reaction = B::react(&entity.state, input, arrival);
            if reaction.is_none() {
                // The entity is read after the messages that match: it is the same as before, so both were true at once.
                let is_held = query.is_some();
                if let Some(query) = query
                    && earlier.boundary.read(&*self.entities.store, query).await?
                {
                    continue;
                }
                match self.newer_entity(&loaded, &received.stream, is_held).await? {
                    Some(newer) => loaded = newer,
                    None => return known(earlier.repeat.unwrap_or(Outcome::Ignored)),
                }
                continue;
            }
            let handled = Outcome::Handled { events: reaction.events().len(), late: status == CommandStatus::Late };
            let prepared = received.prepare::<B>(entity, reaction, self.protections.derive_id)?;
            let mut request = prepared.request.in_history(*history);
            let condition =
                query.clone().and_then(|query| earlier.boundary.condition(query, *history, &self.protections));
            if let Some(condition) = condition {
                request = request.unless(condition);
            }
            match self.entities.store.append(request).await {
                Ok(appended) if !appended.already_written => {
                    let events = self.remember(&loaded.entry, prepared.new_events, &appended, &received);
                    let last = appended.written.iter().map(|place| place.global_position).max();
                    return Ok(CarriedOut { outcome: earlier.repeat.unwrap_or(handled), events, last });
                }
                // The store has the ids of the events, but not the first of them, so another look-up would not find the
                // event.
                Ok(_) if earlier.id_exists => {
                    let original = received.message.reference();
                    return known(self.outcome_of_processed(&original, &received, earlier).await?);
                }
                Ok(_) => earlier.id_exists = true,
                Err(failure @ Error::ConditionFailed { .. }) => {
                    if let Some(query) = query
                        && earlier.boundary.read(&*self.entities.store, query).await?
                    {
                        earlier.contention.progressed();
                    }
                    self.examine_failure(failure, entity, &mut received, &mut earlier).await?;
                }
                Err(failure) => self.examine_failure(failure, entity, &mut received, &mut earlier).await?,
            }
            loaded = self.entities.refresh(&received.stream).await?;
        }
    }

    /// Classifies the command, with as few look-ups as possible.
    async fn status(
        &self,
        entity: &Entity<B::State>,
        received: &ReceivedCommand<'_>,
        id_exists: bool,
    ) -> Result<CommandStatus> {
        let ReceivedCommand { message, stream, sequence, copies, .. } = received;
        let (handler, marks) = (B::NAME, &entity.sequences);
        let mut evidence = Evidence { handler, sequence, copies, marks, id_exists, last_look_up: None, event: None };
        loop {
            let look_up = match (self.protections.classify)(&evidence) {
                Ok(status) => return Ok(status),
                Err(look_up) => look_up,
            };
            evidence.last_look_up = Some(look_up);
            evidence.event = match look_up {
                LookUp::Memory => entity.recent_event(B::NAME, sequence, stream, received.first_id::<B>()),
                LookUp::Id => match self.entities.store.message(received.first_id::<B>()).await? {
                    Some(first) => {
                        assert_written_by(B::NAME, None, &first)?;
                        Some(first.reference())
                    }
                    None => None,
                },
                LookUp::Stamps => find_by_stamps(&*self.entities.store, message, stream).await?,
            };
        }
    }

    /// The outcome of a command whose first event was found. If the answer to an append of this delivery was lost, that
    /// append has written the event, so the outcome is not `AlreadyProcessed`.
    async fn outcome_of_processed(
        &self,
        original: &MessageRef,
        received: &ReceivedCommand<'_>,
        earlier: EarlierAppends,
    ) -> Result<Outcome> {
        if !earlier.answer_was_lost {
            return Ok(Outcome::AlreadyProcessed { original: original.clone() });
        }
        if let Some(repeat) = earlier.repeat {
            return Ok(repeat);
        }
        let events = events_of(&*self.entities.store, B::NAME, &received.message, &received.stream).await?.len();
        Ok(Outcome::Handled { events, late: false })
    }

    /// The newer entity on which the command must be decided again, after a decision to write nothing. `None` when that
    /// decision counts, because the entity was current.
    /// `is_held`: it must have been current until now.
    async fn newer_entity(
        &self,
        loaded: &Loaded<B::State>,
        stream: &StreamName,
        is_held: bool,
    ) -> Result<Option<Loaded<B::State>>> {
        if !is_held && (self.protections.is_current)(loaded, self.entities.store.history()) {
            return Ok(None);
        }
        let (before, newer) = (&loaded.entry, self.entities.refresh(stream).await?);
        let is_same = Arc::ptr_eq(&newer.entry.entity, &before.entity) && newer.entry.history == before.history;
        Ok((!is_same).then_some(newer))
    }

    /// Caches the entity with its new events, and returns them. Other tasks see only the complete copy. If the events do
    /// not directly follow the known version, nothing is cached: an earlier append whose answer was lost has written
    /// them, and other writers may have appended before it.
    fn remember(
        &self,
        before: &CacheEntry<B::State>,
        new_events: Vec<Option<NewEvent<EventOf<B>>>>,
        appended: &Appended,
        received: &ReceivedCommand<'_>,
    ) -> Vec<EventOf<B>> {
        let mut entity = (*before.entity).clone();
        let (mut events, mut follow) = (Vec::with_capacity(new_events.len()), true);
        for (new_event, place) in new_events.into_iter().zip(&appended.written) {
            let Some(NewEvent { id, event }) = new_event else { continue };
            follow &= place.position == entity.version.next();
            if follow {
                entity.advance(event.as_ref(), Some((Some(B::NAME), &received.sequence)), id, *place);
            }
            events.extend(event);
        }
        if follow {
            self.entities.remember(&received.stream, CacheEntry { entity: Arc::new(entity), ..before.clone() });
        }
        events
    }

    /// Records the facts that a failed append shows, and waits before the next attempt. Returns the failure if there
    /// must be no further attempt.
    async fn examine_failure(
        &self,
        failure: Error,
        entity: &Entity<B::State>,
        received: &mut ReceivedCommand<'_>,
        earlier: &mut EarlierAppends,
    ) -> Result<()> {
        if let Some(reservation) = received.reservation.take_if(|reservation| is_reserved(&failure, reservation)) {
            match reservation.reserved_by(&*self.entities.store).await? {
                ReservedBy::Another(outcome) => earlier.repeat = Some(outcome),
                ReservedBy::Copy(copy) => (self.protections.replace)(received, *copy),
                ReservedBy::Itself => {}
            }
            return Ok(());
        }
        match &failure {
            Error::CommitUnknown { .. } => earlier.answer_was_lost = true,
            // The next attempt looks the id up. If the look-up finds an event, the command is processed. If not, and
            // the store refuses the id again, another message has that id.
            Error::IdConflict { .. } if !earlier.id_exists => earlier.id_exists = true,
            Error::WrongExpectedVersion { actual, .. } => {
                // The stream is shorter than the cached entity, so the store has lost events.
                if *actual < entity.version {
                    self.entities.forget(&received.stream);
                }
            }
            Error::HistoryChanged { .. } | Error::ConditionFailed { .. } => {}
            _ => return Err(failure),
        }
        let pause = (self.protections.pause)(&mut earlier.contention, entity.version);
        if wait(pause).await { Ok(()) } else { Err(failure) }
    }
}

fn is_reserved(failure: &Error, reservation: &Reservation<'_>) -> bool {
    matches!(
        failure,
        Error::WrongExpectedVersion { stream, .. } | Error::IdConflict { stream, .. } if stream == reservation.stream()
    )
}

impl<B: Behaviour> Runtime<B> {
    /// The repeats among messages: those whose first events are in the store, with their outcomes.
    pub(super) async fn repeats(&self, messages: &[Message]) -> Result<HashMap<MessageId, Outcome>> {
        let mut commands = HashMap::with_capacity(messages.len());
        for message in messages {
            // What names no entity fails when it is handled.
            if let Ok(Some(entity_id)) = B::entity_id(message)
                && let Ok(stream) = self.entities.stream(&entity_id)
            {
                commands.insert(first_id::<B>(message.id, &stream), message.id);
            }
        }
        let ids: Vec<MessageId> = commands.keys().copied().collect();
        let written = self.entities.store.written_by(B::NAME, &ids).await?;
        let repeats = written.into_iter().filter_map(|original| {
            let command = commands.remove(&original.id)?;
            Some((command, Outcome::AlreadyProcessed { original }))
        });
        Ok(repeats.collect())
    }
}
