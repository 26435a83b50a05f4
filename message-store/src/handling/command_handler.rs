//! The runtime of deciders: load, check, decide, stamp, append.
//!
//! Problem: a command is delivered at least once, late, out of order, by several processes at a time, and its effect must be
//! there exactly once. Fix, in the order of cost:
//!
//! 1. Above the mark of its origin a command is new. That needs no I/O, and is nearly every command.
//! 2. At or below the mark it is a repeat or late. The entity's latest commands are remembered; of others, one look-up tells: a
//!    repeat's first event has an id derived from it.
//! 3. The append expects the version that was decided on, so a decision on an older state is made again, and
//!    ids are unique, so that what escaped 1 and 2 is still refused.
//! 4. Nothing checks a decision that writes nothing. So it counts only on an entity that was read for it.
//!
//! Why nothing is lost: only a message that was *found* counts as processed, and only a current entity makes a command lead to nothing. Why
//! nothing is doubled: the second of two appends for one command carries the ids of the first.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::contention::Contention;
use super::delivery::{Delivery, PreparedAppend};
use super::effects::{events_of, search};
use super::stamp::assert_written_by;
use crate::entity::{Entity, EntityStore, Known, Projection};
use crate::handling::{Context, Decider, Handler, PlantedBug};
use crate::intents::{Holder, Reservation};
use crate::sequence::places_of;
use crate::{
    AppendRequest, Appended, Error, Message, MessageId, MessageRef, MessageStore, Metadata, Outcome, Place, Result,
    Source,
};

/// Carries out the commands of an entity, each exactly once.
pub struct CommandHandler<D> {
    entities: EntityStore<D>,
    planted: Option<PlantedBug>,
}

/// Where a command stands to its entity.
enum Standing {
    New,
    Late,
    Processed(MessageRef),
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
}

impl<D: Decider> CommandHandler<D> {
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

    /// Carries out one command. When others write to its entity at the same time, it is decided again, with growing pauses, for as long as the
    /// entity's stream makes progress.
    ///
    /// # Errors
    /// [`Error::Undecodable`] for data that does not fit, [`Error::Invalid`] for a command without an entity id or
    /// with an invalid intent, [`Error::IdConflict`] when another handler has written under its ids, and the store's own errors.
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
        let (metadata, sequence) = Metadata::written_for(message, self.store().store_id());
        let delivery = Delivery { message: Cow::Borrowed(message), sequence, metadata, stream, reservation };
        let outcome = self.carry_out(&command, delivery).await?;
        if let Some(original) = outcome.original() {
            tracing::debug!(message = %message.reference(), %original, outcome = %outcome.kind(), "a repeat was caught");
        } else if matches!(outcome, Outcome::Handled { late: true, .. }) {
            tracing::info!(message = %message.reference(), "a late command was handled");
        }
        Ok(outcome)
    }

    async fn carry_out(&self, command: &D::Command, mut delivery: Delivery<'_>) -> Result<Outcome> {
        let mut recalled = self.entities.recall(&delivery.stream).await?;
        let mut learned = Learned::default();
        let mut contention = Contention::new();
        loop {
            let Known { entity, history } = recalled.known;
            let late = match self.standing(&entity, &delivery, learned.is_known_by_id).await? {
                Standing::New => false,
                Standing::Late => true,
                // The append whose answer was lost was ours.
                Standing::Processed(_) if learned.is_unanswered => {
                    return self.handled_before(&delivery, learned.repeat).await;
                }
                Standing::Processed(original) => return Ok(Outcome::AlreadyProcessed { original }),
            };
            let events = match &learned.repeat {
                Some(repeat) => entity.state.decide_repeat(command, repeat),
                None if late => entity.state.decide_late(command),
                None => entity.state.decide(command),
            };
            if events.is_empty() {
                let is_current = recalled.is_current && self.store().history() == history;
                if is_current || self.has(PlantedBug::RememberedNothing) {
                    return Ok(learned.repeat.unwrap_or(Outcome::Ignored));
                }
                recalled = self.entities.refresh(&delivery.stream).await?;
                if Arc::ptr_eq(&recalled.known.entity, &entity) && recalled.known.history == history {
                    return Ok(learned.repeat.unwrap_or(Outcome::Ignored));
                }
                continue;
            }
            let PreparedAppend { appends, first, read_back } =
                delivery.appends(&**self.store(), &events, &entity, self.planted)?;
            let failure = match self.store().append(AppendRequest::from(appends).in_history(history)).await {
                Ok(appended) if !appended.already_written => {
                    let events_read = read_back.as_deref().unwrap_or(&events);
                    if let Some(entity) = next(&entity, events_read, first, &appended, &delivery) {
                        self.entities.remember(&delivery.stream, &Known { entity: Arc::new(entity), history });
                    }
                    return Ok(learned.repeat.unwrap_or(Outcome::Handled { events: events.len(), late }));
                }
                Ok(_) if learned.is_unanswered => return self.handled_before(&delivery, learned.repeat).await,
                Ok(_) => {
                    let original = self.first_event(&delivery).await?;
                    self.entities.refresh(&delivery.stream).await?;
                    return Ok(Outcome::AlreadyProcessed { original });
                }
                Err(error) => error,
            };
            if let Some(reservation) = delivery.reservation.take_if(|reservation| is_held(&failure, reservation)) {
                match reservation.holder(&**self.store()).await? {
                    Holder::Another(outcome) => learned.repeat = Some(outcome),
                    Holder::Copy(copy) if !self.has(PlantedBug::CopyIgnored) => {
                        delivery.replace_by(*copy, self.store().store_id());
                    }
                    Holder::Itself | Holder::Copy(_) => {}
                }
            } else {
                self.learn(failure, &entity, &delivery, &mut learned, &mut contention).await?;
            }
            recalled = self.entities.refresh(&delivery.stream).await?;
        }
    }

    /// What a failed attempt tells. The failure itself is the answer when there is no reason for another attempt.
    async fn learn(
        &self,
        failure: Error,
        entity: &Entity<D>,
        delivery: &Delivery<'_>,
        learned: &mut Learned,
        contention: &mut Contention,
    ) -> Result<()> {
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
        let is_worth_it = if self.has(PlantedBug::TenAttempts) {
            contention.is_below_ten()
        } else {
            !self.has(PlantedBug::NoSecondDecision) && contention.again(entity.version).await
        };
        if is_worth_it { Ok(()) } else { Err(failure) }
    }

    async fn standing(&self, entity: &Entity<D>, delivery: &Delivery<'_>, is_known_by_id: bool) -> Result<Standing> {
        let sequences = &entity.sequences;
        match self.planted.and_then(|bug| bug.judge(sequences, D::NAME, &delivery.sequence)) {
            Some(true) => return Ok(Standing::Processed(delivery.message.reference())),
            Some(false) => return Ok(Standing::New),
            None => {}
        }
        let is_new = sequences.is_new(D::NAME, &delivery.sequence) && !self.may_be_foreign_repeat(entity, delivery);
        if is_new && !is_known_by_id {
            return Ok(Standing::New);
        }
        let first_id = delivery.first_id::<D>();
        if let Some(first) = entity.recall(D::NAME, &delivery.sequence, &delivery.stream, first_id) {
            return Ok(Standing::Processed(first));
        }
        if let Some(first) = self.store().message(first_id).await? {
            assert_written_by(D::NAME, None, &first)?;
            return Ok(Standing::Processed(first.reference()));
        }
        if sequences.has_foreign()
            && let Some(event) = search(&**self.store(), &delivery.message, &delivery.stream).await?
        {
            return Ok(Standing::Processed(event));
        }
        Ok(if is_new { Standing::New } else { Standing::Late })
    }

    /// A copy keeps the sequence of its birth, but another toolkit that carried it out has stamped its place in the store where it did.
    fn may_be_foreign_repeat(&self, entity: &Entity<D>, delivery: &Delivery<'_>) -> bool {
        entity.sequences.has_foreign()
            && places_of(&delivery.message, self.store().store_id())
                .iter()
                .any(|place| !entity.sequences.is_new(D::NAME, place))
    }

    /// The append whose answer was lost was written.
    async fn handled_before(&self, delivery: &Delivery<'_>, repeat: Option<Outcome>) -> Result<Outcome> {
        self.entities.refresh(&delivery.stream).await?;
        if let Some(repeat) = repeat {
            return Ok(repeat);
        }
        let events = events_of(&**self.store(), D::NAME, &delivery.message, &delivery.stream).await?.len();
        Ok(Outcome::Handled { events, late: false })
    }

    async fn first_event(&self, delivery: &Delivery<'_>) -> Result<MessageRef> {
        let Some(first) = self.store().message(delivery.first_id::<D>()).await? else {
            return Ok(delivery.message.reference());
        };
        assert_written_by(D::NAME, None, &first)?;
        Ok(first.reference())
    }

    pub(crate) fn store(&self) -> &Arc<dyn MessageStore> {
        self.entities.store()
    }
}

fn is_held(failure: &Error, reservation: &Reservation<'_>) -> bool {
    matches!(
        failure,
        Error::WrongExpectedVersion { stream, .. } | Error::IdConflict { stream, .. } if stream == reservation.stream()
    )
}

/// The entity as it is after its events, the first of which has this id, were appended: a copy, complete before anyone sees it. `None` when the events do not stand right
/// behind it: they were written by an earlier try whose answer was lost, and others may have written between.
fn next<D: Decider>(
    entity: &Entity<D>,
    events: &[D::Event],
    id: MessageId,
    appended: &Appended,
    delivery: &Delivery<'_>,
) -> Option<Entity<D>> {
    let written = appended.written.get(delivery.reserved()..)?;
    let &Place { position, global_position } = written.first()?;
    if position != entity.version.next() {
        return None;
    }
    let mut next = entity.clone();
    for event in events {
        next.state.apply(event);
    }
    let stream = delivery.stream.clone();
    next.remember(Some(D::NAME), &delivery.sequence, &MessageRef { id, stream, position, global_position });
    let last = written.last()?;
    next.note_last(last.position, last.global_position);
    Some(next)
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
        Ok(CommandHandler::handle(self, message).await?)
    }
}

impl<D: Projection> fmt::Debug for CommandHandler<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandHandler").field("entities", &self.entities).finish_non_exhaustive()
    }
}
