//! Commands that are handled directly: send, handle, answer.
//!
//! Problem: a service that answers a request must know what its command has led to. The consumer of the commands handles
//! them, but nobody waits for it there. Fix: the service sends the command as any sender does, and then handles it itself.
//! Why it has one effect: the consumer and the service are two deliveries of one message. Why it is not lost: once it is
//! sent, the consumer handles it even if the service does not come to it.

use super::behaviour::{Received, receive};
use super::command_handler::Decides;
use super::effects::{events_from, events_written};
use super::received_command::first_id;
use super::runtime::CarriedOut;
use crate::handling::{CommandHandler, Decider};
use crate::{
    Append, Category, Error, GlobalPosition, Message, MessageId, MessageRef, MessageStoreExt as _, NewMessage, Outcome,
    Position, Result, StreamName, StreamRead, Timestamp,
};

/// What a command has led to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub struct Executed<E> {
    /// The command, as it was sent first.
    pub command: MessageRef,
    /// What this call has found. If a consumer handles the command first, it is
    /// [`AlreadyProcessed`](Outcome::AlreadyProcessed) at the first call too: the events tell what the command has led to.
    pub outcome: Outcome,
    /// The events of the entity that were written for the command: now, at an earlier delivery
    /// ([`AlreadyProcessed`](Outcome::AlreadyProcessed)), or for the command with the same intent that came first
    /// ([`Duplicate`](Outcome::Duplicate); what [`decide_repeat`](Decider::decide_repeat) has returned, if it did). Empty after a [`Conflict`](Outcome::Conflict), and if the command led to none.
    pub events: Vec<E>,
    /// Whether events were [erased](crate::operations::Erasing) meanwhile. `events` lacks them.
    pub has_erased: bool,
    /// Whether one of the events refuses the command ([`Decider::is_refusal`]).
    pub is_refused: bool,
    /// The place of the last of the events, or of the command if it has led to none. When a read
    /// model has reached it ([`wait_for`](crate::store::ReadModels::wait_for)), it shows what the command has led to.
    pub last: GlobalPosition,
}

impl<D: Decider> CommandHandler<D> {
    /// Sends a command to the stream `{category}:command-{entity_id}`, handles it, and returns what it has led to. To try
    /// again after an error, execute the same message again: its id makes it a repeat, and its events are returned.
    ///
    /// Run a consumer of the commands as well. It handles those that were sent and not handled, because the caller gave
    /// up or its process ended.
    ///
    /// ```
    /// # use message_store::entity::Projection;
    /// # use message_store::handling::{CommandHandler, Decider};
    /// # use message_store::{NewMessage, connect};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)] enum Command { Open }
    /// # #[derive(Debug, PartialEq, Serialize, Deserialize)] enum Event { Opened }
    /// # #[derive(Clone, Default)] struct Account;
    /// # impl Projection for Account {
    /// #     const CATEGORY: &'static str = "account";
    /// #     type Event = Event;
    /// #     fn apply(&mut self, _: &Event) {}
    /// # }
    /// # impl Decider for Account {
    /// #     type Command = Command;
    /// #     fn decide(&self, _: &Command) -> Vec<Event> { vec![Event::Opened] }
    /// # }
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// let store = connect("sqlite::memory:").await?;
    /// let accounts = CommandHandler::<Account>::new(&store);
    /// let command = NewMessage::from_variant(&Command::Open)?;
    /// let executed = accounts.execute("123", command.clone()).await?;
    /// assert_eq!(executed.events, [Event::Opened]);
    /// // The caller sends the same request again.
    /// assert_eq!(accounts.execute("123", command).await?.events, [Event::Opened]);
    /// # Ok::<(), message_store::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] for a message that is not one of the decider's commands, and [`Error::Undecodable`] for one
    /// whose data does not fit: they are not sent. [`Error::IdConflict`] if another message has the id. The errors of an
    /// append: [`CommitUnknown`](Error::CommitUnknown) if the command may be sent. Otherwise as
    /// [`carry_out`](Self::carry_out): the command is sent then.
    pub async fn execute(&self, entity_id: &str, command: NewMessage) -> Result<Executed<D::Event>> {
        let command = self.send(entity_id, command).await?;
        let carried_out = self.runtime.carry_out(&command).await?;
        let CarriedOut { outcome, events, last } = carried_out;
        let mut executed = Executed {
            last: last.unwrap_or(command.global_position),
            command: command.reference(),
            outcome,
            events,
            has_erased: false,
            is_refused: false,
        };
        if executed.events.is_empty() {
            for event in self.events_after(&executed.outcome, &command).await? {
                executed.last = executed.last.max(event.global_position);
                executed.has_erased |= event.is_erased();
                if !event.is_erased() {
                    executed.events.extend(event.decode_upcast(D::UPCASTERS)?.unwrap_or_default());
                }
            }
        }
        executed.is_refused = executed.events.iter().any(D::is_refusal);
        Ok(executed)
    }

    async fn send(&self, entity_id: &str, command: NewMessage) -> Result<Message> {
        let stream = Category::new(format!("{}:command", D::CATEGORY))?.stream(entity_id)?;
        if stream.cardinal_id() != Some(entity_id) {
            let reason = format!("{entity_id:?} has a `+`: the command would be one of another entity");
            return Err(Error::invalid("entity id", reason));
        }
        let sent = |place, time| {
            let (position, global_position) = place;
            command.clone().written(stream.clone(), position, global_position, time)
        };
        let unsent = sent((Position::FIRST, GlobalPosition::ZERO), Timestamp::UNIX_EPOCH);
        if !matches!(receive::<Decides<D>>(&unsent)?, Received::Input(_)) {
            let reason = format!("{} is not a command of {}", command.message_type, D::NAME);
            return Err(Error::invalid("command", reason));
        }
        let store = &self.entities().store;
        let appended = store.append_settled(Append::to(stream.clone()).message(command.clone())).await?;
        if appended.already_written {
            // The metadata that was sent first counts.
            let first = store.message(command.id).await?;
            return first.ok_or_else(|| Error::backend("reading a command", true, "it is no longer in the store"));
        }
        let place = appended.written[0];
        Ok(sent((place.position, place.global_position), Timestamp::now()))
    }

    /// The events that another delivery, or another command with the same intent, has led to.
    async fn events_after(&self, outcome: &Outcome, command: &Message) -> Result<Vec<Message>> {
        let store = &*self.entities().store;
        let entity = command.stream.cardinal_id().unwrap_or_default();
        let stream = self.entities().stream(entity)?;
        let written = async |id, stream: &StreamName| events_written(store, D::NAME, id, stream).await;
        match outcome {
            Outcome::Handled { .. } => written(command.id, &stream).await,
            // It is the command itself if the store has its ids, and not the first of them.
            Outcome::AlreadyProcessed { original } if original.stream == stream => {
                if original.id == first_id::<Decides<D>>(command.id, &stream) {
                    return written(command.id, &stream).await;
                }
                match store.message(original.id).await? {
                    Some(first) => events_from(store, first).await,
                    None => Ok(Vec::new()),
                }
            }
            Outcome::Duplicate { original } => {
                let of_original = self.entities().stream(original.stream.cardinal_id().unwrap_or_default())?;
                let events = written(original.id, &of_original).await?;
                if !events.is_empty() {
                    return Ok(events);
                }
                match self.copy_of_first_hop(command, entity).await? {
                    Some(copy) => written(copy, &stream).await,
                    None => Ok(Vec::new()),
                }
            }
            _ => Ok(Vec::new()),
        }
    }

    /// The message that a first hop has written for the intent of the command ([`reserve`](crate::intents::reserve)). The
    /// second hop has carried that out.
    async fn copy_of_first_hop(&self, command: &Message, entity: &str) -> Result<Option<MessageId>> {
        if command.is_erased() {
            return Ok(None);
        }
        let Received::Input(input) = receive::<Decides<D>>(command)? else { return Ok(None) };
        let Some(intent) = D::intent(&input) else { return Ok(None) };
        let first = StreamRead::forwards_from(Position::FIRST).limit(1);
        let copy = self.entities().store.read_stream(&intent.stream(entity)?, first).await?.pop();
        Ok(copy.map(|copy| copy.id))
    }
}
