//! The runtime of deciders: load, check, decide, stamp, append.
//!
//! Problem: a command is delivered at least once, late, out of order, by several processes at a time, and its effect
//! must be there exactly once. Fix, in the order of cost:
//!
//! 1. Above the mark of its origin a command is new. That needs no I/O, and is nearly every command.
//! 2. At or below the mark it is a repeat or late. The entity's latest commands are remembered; of others, one look-up
//!    tells: a repeat's first event has an id derived from it.
//! 3. The append expects the version that was decided on, so a decision on an older state is made again, and
//!    ids are unique, so that what escaped 1 and 2 is still refused.
//! 4. Nothing checks a decision that writes nothing. So it counts only on an entity that was read for it.
//!
//! Why nothing is lost: only a message that was *found* counts as processed, and only a current entity makes a command
//! lead to nothing. Why nothing is doubled: the second of two appends for one command carries the ids of the first.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::contention::{Contention, wait};
use super::delivery::{Delivery, Effect};
use super::effects::{assert_written_by, events_of, search};
use super::standing::{Evidence, Look, Standing};
use crate::entity::{Entity, EntityStore, Known, Recalled};
use crate::handling::{Context, Decider, Handler, Protections};
use crate::intents::{Holder, Reservation};
use crate::{Appended, Error, Message, MessageRef, MessageStore, Outcome, Result, Source, StreamName};

/// Carries out the commands of an entity, each exactly once.
pub struct CommandHandler<D: Decider> {
    entities: EntityStore<D>,
    pub(crate) protections: Protections<D>,
}

/// What the attempts so far have told of a command.
#[derive(Default)]
struct Learned {
    /// Another command of the same intent came first.
    repeat: Option<Outcome>,
    /// The answer to an append was lost: it may be written.
    is_unanswered: bool,
    /// The store has an id of this command, whatever the marks say.
    is_known_by_id: bool,
    contention: Contention,
}

impl<D: Decider> CommandHandler<D> {
    /// Carries out commands on entities of this store.
    pub fn new(store: &Arc<dyn MessageStore>) -> Self {
        Self::with_entities(EntityStore::new(store))
    }

    /// Carries out commands on these entities.
    pub fn with_entities(entities: EntityStore<D>) -> Self {
        Self { entities, protections: Protections::ALL }
    }

    /// The entities: to look at the state.
    pub fn entities(&self) -> &EntityStore<D> {
        &self.entities
    }

    /// Carries out one command. When others write to its entity at the same time, it is decided again, with growing
    /// pauses, for as long as the entity's stream makes progress.
    ///
    /// # Errors
    /// [`Error::Undecodable`] for data that does not fit, [`Error::Invalid`] for a command without an entity id or with
    /// an invalid intent, [`Error::IdConflict`] when another handler has written under its ids, and the store's own
    /// errors.
    pub async fn carry_out(&self, message: &Message) -> Result<Outcome> {
        let Some(command) = message.decode_variant::<D::Command>()? else { return Ok(Outcome::Unhandled) };
        let entity_id = message.stream.cardinal_id().filter(|id| !id.is_empty()).ok_or_else(|| {
            let reason =
                format!("{} of {} names no entity: its stream has no id", message.message_type, message.stream);
            Error::invalid("command", reason)
        })?;
        let stream = self.entities.stream(entity_id)?;
        let intent = (self.protections.intent)(&command);
        let reservation = intent.as_ref().map(|intent| Reservation::new(intent, entity_id, message)).transpose()?;
        let delivery = Delivery::new(message, self.entities.store.store_id(), stream, reservation);
        let outcome = self.decide(&command, delivery).await?;
        match &outcome {
            Outcome::Handled { late: true, .. } => {
                tracing::info!(message = %message.reference(), "a late command was handled");
            }
            Outcome::AlreadyProcessed { original }
            | Outcome::Duplicate { original }
            | Outcome::Conflict { original } => {
                tracing::debug!(message = %message.reference(), %original, outcome = %outcome.kind(), "a repeat was caught");
            }
            _ => {}
        }
        Ok(outcome)
    }

    /// Decides, and appends, until something is written, or nothing is to be.
    async fn decide(&self, command: &D::Command, mut delivery: Delivery<'_>) -> Result<Outcome> {
        let mut recalled = self.entities.recall(&delivery.stream).await?;
        let mut learned = Learned::default();
        loop {
            let Known { entity, history } = &recalled.known;
            let standing = self.standing(entity, &delivery, learned.is_known_by_id).await?;
            let events = match (&standing, &learned.repeat) {
                (Standing::Processed(original), _) => return self.processed(original, &delivery, learned).await,
                (_, Some(repeat)) => entity.state.decide_repeat(command, repeat),
                (Standing::Late, None) => entity.state.decide_late(command),
                (Standing::New, None) => entity.state.decide(command),
            };
            if events.is_empty() {
                match self.newer(&recalled, &delivery.stream).await? {
                    Some(newer) => recalled = newer,
                    None => return Ok(learned.repeat.unwrap_or(Outcome::Ignored)),
                }
                continue;
            }
            let handled = Outcome::Handled { events: events.len(), late: standing == Standing::Late };
            let prepared = delivery.prepare(entity, events, self.protections.derive_id)?;
            match self.entities.store.append(prepared.request.in_history(*history)).await {
                Ok(appended) if !appended.already_written => {
                    self.remember(&recalled.known, prepared.effects, &appended, &delivery);
                    return Ok(learned.repeat.unwrap_or(handled));
                }
                // It stands under the ids of the command, and is not found under the first of them.
                Ok(_) if learned.is_known_by_id => {
                    return self.processed(&delivery.message.reference(), &delivery, learned).await;
                }
                Ok(_) => learned.is_known_by_id = true,
                Err(failure) => self.learn(failure, entity, &mut delivery, &mut learned).await?,
            }
            recalled = self.entities.refresh(&delivery.stream).await?;
        }
    }

    /// Where a command stands. Only what its standing depends on is looked for.
    async fn standing(&self, entity: &Entity<D>, delivery: &Delivery<'_>, is_known_by_id: bool) -> Result<Standing> {
        let Delivery { message, stream, sequence, copies, .. } = delivery;
        let (handler, marks) = (D::NAME, &entity.sequences);
        let mut evidence = Evidence { handler, sequence, copies, marks, is_known_by_id, looked: None, event: None };
        loop {
            let look = match (self.protections.standing)(&evidence) {
                Ok(standing) => return Ok(standing),
                Err(look) => look,
            };
            evidence.looked = Some(look);
            evidence.event = match look {
                Look::Memory => entity.recall(D::NAME, sequence, stream, delivery.first_id::<D>()),
                Look::Id => match self.entities.store.message(delivery.first_id::<D>()).await? {
                    Some(first) => {
                        assert_written_by(D::NAME, None, &first)?;
                        Some(first.reference())
                    }
                    None => None,
                },
                Look::Stamps => search(&*self.entities.store, message, stream).await?,
            };
        }
    }

    /// What comes of a command that is processed: after an append without an answer, it was that one.
    async fn processed(&self, original: &MessageRef, delivery: &Delivery<'_>, learned: Learned) -> Result<Outcome> {
        if !learned.is_unanswered {
            return Ok(Outcome::AlreadyProcessed { original: original.clone() });
        }
        if let Some(repeat) = learned.repeat {
            return Ok(repeat);
        }
        let events = events_of(&*self.entities.store, D::NAME, &delivery.message, &delivery.stream).await?.len();
        Ok(Outcome::Handled { events, late: false })
    }

    /// The entity that a decision to write nothing is to be made on again; `None` when it counts, for it was made on
    /// the current one.
    async fn newer(&self, recalled: &Recalled<D>, stream: &StreamName) -> Result<Option<Recalled<D>>> {
        if (self.protections.is_current)(recalled, self.entities.store.history()) {
            return Ok(None);
        }
        let (before, newer) = (&recalled.known, self.entities.refresh(stream).await?);
        let is_same = Arc::ptr_eq(&newer.known.entity, &before.entity) && newer.known.history == before.history;
        Ok((!is_same).then_some(newer))
    }

    /// Remembers the entity as it is after what was appended: a copy, complete before anyone sees it. Nothing is
    /// remembered of events that do not stand right behind it: they were written by an earlier try whose answer was
    /// lost, and others may have written between.
    fn remember(
        &self,
        before: &Known<D>,
        effects: Vec<Option<Effect<D::Event>>>,
        appended: &Appended,
        delivery: &Delivery<'_>,
    ) {
        let mut entity = (*before.entity).clone();
        for (effect, place) in effects.into_iter().zip(&appended.written) {
            let Some(Effect { id, event }) = effect else { continue };
            if place.position != entity.version.next() {
                return;
            }
            entity.advance(event.as_ref(), Some((Some(D::NAME), &delivery.sequence)), id, *place);
        }
        self.entities.remember(&delivery.stream, Known { entity: Arc::new(entity), history: before.history });
    }

    /// What a failed append tells. The failure itself is the answer when there is no reason for another attempt.
    async fn learn(
        &self,
        failure: Error,
        entity: &Entity<D>,
        delivery: &mut Delivery<'_>,
        learned: &mut Learned,
    ) -> Result<()> {
        if let Some(reservation) = delivery.reservation.take_if(|reservation| is_held(&failure, reservation)) {
            match reservation.holder(&*self.entities.store).await? {
                Holder::Another(outcome) => learned.repeat = Some(outcome),
                Holder::Copy(copy) => (self.protections.replace)(delivery, *copy),
                Holder::Itself => {}
            }
            return Ok(());
        }
        match &failure {
            Error::CommitUnknown { .. } => learned.is_unanswered = true,
            // Found by its id, it is processed. Not found and refused again, another message has its id.
            Error::IdConflict { .. } if !learned.is_known_by_id => learned.is_known_by_id = true,
            Error::WrongExpectedVersion { actual, .. } => {
                // The stream has lost what was remembered of it.
                if *actual < entity.version {
                    self.entities.forget(&delivery.stream);
                }
            }
            Error::HistoryChanged { .. } => {}
            _ => return Err(failure),
        }
        let pause = (self.protections.pause)(&mut learned.contention, entity.version);
        if wait(pause).await { Ok(()) } else { Err(failure) }
    }
}

fn is_held(failure: &Error, reservation: &Reservation<'_>) -> bool {
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
}

impl<D: Decider> fmt::Debug for CommandHandler<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandHandler").field("entities", &self.entities).finish_non_exhaustive()
    }
}
