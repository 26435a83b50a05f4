//! The runtime of deciders: load, check, decide, stamp, append.
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
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::command_status::{CommandStatus, Evidence, LookUp};
use super::contention::{Contention, wait};
use super::effects::{assert_written_by, events_of, find_by_stamps};
use super::received_command::{NewEvent, ReceivedCommand, first_id};
use crate::entity::{CacheEntry, Entity, EntityStore, Loaded};
use crate::handling::{Context, Decider, Handler, Protections};
use crate::intents::{Reservation, ReservedBy};
use crate::{Appended, Error, Message, MessageId, MessageRef, MessageStore, Outcome, Result, Source, StreamName};

/// The runtime of a decider. It carries out each command of an entity exactly once.
pub struct CommandHandler<D: Decider> {
    entities: EntityStore<D>,
    pub(crate) protections: Protections<D>,
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
}

impl<D: Decider> CommandHandler<D> {
    /// Uses the entities of this store, with a cache of the default size.
    pub fn new(store: &Arc<dyn MessageStore>) -> Self {
        Self::with_entities(EntityStore::new(store))
    }

    /// Uses these entities, for example with a cache of another size.
    pub fn with_entities(entities: EntityStore<D>) -> Self {
        Self { entities, protections: Protections::ALL }
    }

    /// The entities that the handler decides on, for reads of their state.
    pub fn entities(&self) -> &EntityStore<D> {
        &self.entities
    }

    /// Carries out one command. If other writers append to its entity at the same time, the command is decided again,
    /// with growing pauses, while the entity's stream makes progress.
    ///
    /// # Errors
    /// [`Error::Undecodable`] when the data does not have the command's type, [`Error::Invalid`] for a command without
    /// an entity id or with an invalid intent, [`Error::IdConflict`] when another handler has written under its ids,
    /// and the errors of the store.
    pub async fn carry_out(&self, message: &Message) -> Result<Outcome> {
        let Some(command) = message.decode_variant::<D::Command>()? else { return Ok(Outcome::Unhandled) };
        let Some(entity_id) = entity_id(message) else {
            let reason =
                format!("{} of {} names no entity, because its stream has no id", message.message_type, message.stream);
            return Err(Error::invalid("command", reason));
        };
        let stream = self.entities.stream(entity_id)?;
        let intent = (self.protections.intent)(&command);
        let reservation = intent.as_ref().map(|intent| Reservation::new(intent, entity_id, message)).transpose()?;
        let received = ReceivedCommand::new(message, self.entities.store.store_id(), stream, reservation);
        let outcome = self.decide(&command, received).await?;
        match &outcome {
            Outcome::Handled { late: true, .. } => {
                tracing::info!(target: "message_store::handling", message = %message.reference(), "a late command was handled");
            }
            Outcome::AlreadyProcessed { original }
            | Outcome::Duplicate { original }
            | Outcome::Conflict { original } => {
                tracing::debug!(target: "message_store::handling", message = %message.reference(), %original, outcome = %outcome.kind(), "a repeat was recognised");
            }
            _ => {}
        }
        Ok(outcome)
    }

    /// Decides and appends, again and again, until the events are written or a decision to write nothing counts.
    async fn decide(&self, command: &D::Command, mut received: ReceivedCommand<'_>) -> Result<Outcome> {
        let mut loaded = self.entities.load(&received.stream).await?;
        let mut earlier = EarlierAppends::default();
        loop {
            let CacheEntry { entity, history } = &loaded.entry;
            let status = self.status(entity, &received, earlier.id_exists).await?;
            let events = match (&status, &earlier.repeat) {
                (CommandStatus::Processed(original), _) => {
                    return self.outcome_of_processed(original, &received, earlier).await;
                }
                (_, Some(repeat)) => entity.state.decide_repeat(command, repeat),
                (CommandStatus::Late, None) => entity.state.decide_late(command),
                (CommandStatus::New, None) => entity.state.decide(command),
            };
            if events.is_empty() {
                match self.newer_entity(&loaded, &received.stream).await? {
                    Some(newer) => loaded = newer,
                    None => return Ok(earlier.repeat.unwrap_or(Outcome::Ignored)),
                }
                continue;
            }
            let handled = Outcome::Handled { events: events.len(), late: status == CommandStatus::Late };
            let prepared = received.prepare(entity, events, self.protections.derive_id)?;
            match self.entities.store.append(prepared.request.in_history(*history)).await {
                Ok(appended) if !appended.already_written => {
                    self.remember(&loaded.entry, prepared.new_events, &appended, &received);
                    return Ok(earlier.repeat.unwrap_or(handled));
                }
                // The store has the ids of the events, but not the first of them, so another look-up would not find the
                // event.
                Ok(_) if earlier.id_exists => {
                    return self.outcome_of_processed(&received.message.reference(), &received, earlier).await;
                }
                Ok(_) => earlier.id_exists = true,
                Err(failure) => self.examine_failure(failure, entity, &mut received, &mut earlier).await?,
            }
            loaded = self.entities.refresh(&received.stream).await?;
        }
    }

    /// Classifies the command, with as few look-ups as possible.
    async fn status(
        &self,
        entity: &Entity<D>,
        received: &ReceivedCommand<'_>,
        id_exists: bool,
    ) -> Result<CommandStatus> {
        let ReceivedCommand { message, stream, sequence, copies, .. } = received;
        let (handler, marks) = (D::NAME, &entity.sequences);
        let mut evidence = Evidence { handler, sequence, copies, marks, id_exists, last_look_up: None, event: None };
        loop {
            let look_up = match (self.protections.classify)(&evidence) {
                Ok(status) => return Ok(status),
                Err(look_up) => look_up,
            };
            evidence.last_look_up = Some(look_up);
            evidence.event = match look_up {
                LookUp::Memory => entity.recent_event(D::NAME, sequence, stream, received.first_id::<D>()),
                LookUp::Id => match self.entities.store.message(received.first_id::<D>()).await? {
                    Some(first) => {
                        assert_written_by(D::NAME, None, &first)?;
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
        let events = events_of(&*self.entities.store, D::NAME, &received.message, &received.stream).await?.len();
        Ok(Outcome::Handled { events, late: false })
    }

    /// The newer entity on which the command must be decided again, after a decision to write nothing. `None` when that
    /// decision counts, because the entity was current.
    async fn newer_entity(&self, loaded: &Loaded<D>, stream: &StreamName) -> Result<Option<Loaded<D>>> {
        if (self.protections.is_current)(loaded, self.entities.store.history()) {
            return Ok(None);
        }
        let (before, newer) = (&loaded.entry, self.entities.refresh(stream).await?);
        let is_same = Arc::ptr_eq(&newer.entry.entity, &before.entity) && newer.entry.history == before.history;
        Ok((!is_same).then_some(newer))
    }

    /// Caches the entity with its new events. Other tasks see only the complete copy. If the events do not directly
    /// follow the known version, nothing is cached: an earlier append whose answer was lost has written them, and other
    /// writers may have appended before it.
    fn remember(
        &self,
        before: &CacheEntry<D>,
        new_events: Vec<Option<NewEvent<D::Event>>>,
        appended: &Appended,
        received: &ReceivedCommand<'_>,
    ) {
        let mut entity = (*before.entity).clone();
        for (new_event, place) in new_events.into_iter().zip(&appended.written) {
            let Some(NewEvent { id, event }) = new_event else { continue };
            if place.position != entity.version.next() {
                return;
            }
            entity.advance(event.as_ref(), Some((Some(D::NAME), &received.sequence)), id, *place);
        }
        self.entities.remember(&received.stream, CacheEntry { entity: Arc::new(entity), history: before.history });
    }

    /// Records the facts that a failed append shows, and waits before the next attempt. Returns the failure if there
    /// must be no further attempt.
    async fn examine_failure(
        &self,
        failure: Error,
        entity: &Entity<D>,
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
            Error::HistoryChanged { .. } => {}
            _ => return Err(failure),
        }
        let pause = (self.protections.pause)(&mut earlier.contention, entity.version);
        if wait(pause).await { Ok(()) } else { Err(failure) }
    }
}

fn entity_id(message: &Message) -> Option<&str> {
    message.stream.cardinal_id().filter(|id| !id.is_empty())
}

fn is_reserved(failure: &Error, reservation: &Reservation<'_>) -> bool {
    matches!(
        failure,
        Error::WrongExpectedVersion { stream, .. } | Error::IdConflict { stream, .. } if stream == reservation.stream()
    )
}

#[async_trait]
impl<D: Decider> Handler for CommandHandler<D> {
    fn message_types(&self) -> Vec<&'static str> {
        crate::variant::names::<D::Command>().to_vec()
    }

    fn name(&self) -> &'static str {
        D::NAME
    }

    async fn handle(&self, message: &Message, _context: &Context<'_>) -> Result<Outcome, Source> {
        Ok(self.carry_out(message).await?)
    }

    async fn repeats(&self, messages: &[Message]) -> Result<HashMap<MessageId, Outcome>, Source> {
        let mut commands = HashMap::with_capacity(messages.len());
        for message in messages {
            if let Some(entity_id) = entity_id(message) {
                commands.insert(first_id::<D>(message.id, &self.entities.stream(entity_id)?), message.id);
            }
        }
        let ids: Vec<MessageId> = commands.keys().copied().collect();
        let written = self.entities.store.written_by(D::NAME, &ids).await?;
        let repeats = written.into_iter().filter_map(|original| {
            let command = commands.remove(&original.id)?;
            Some((command, Outcome::AlreadyProcessed { original }))
        });
        Ok(repeats.collect())
    }
}

impl<D: Decider> fmt::Debug for CommandHandler<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandHandler").field("entities", &self.entities).finish_non_exhaustive()
    }
}
