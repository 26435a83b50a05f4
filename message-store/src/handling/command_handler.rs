//! The handler of a decider's commands.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::behaviour::{Arrival, Behaviour, check_behaviour, input_types};
use super::reaction::Reaction;
use super::runtime::Runtime;
use crate::entity::{EntityStore, SnapshotPolicy};
use crate::handling::{Context, Decider, Handler};
use crate::intents::Intent;
use crate::store::Query;
use crate::{Error, Message, MessageId, MessageStore, Outcome, Result, Source, Tag, Upcaster};

/// The runtime of a decider. It carries out each command of an entity exactly once.
///
/// Clones share the cache of entities: give one to a consumer, and [execute](Self::execute) requests with another.
pub struct CommandHandler<D: Decider> {
    pub(crate) runtime: Arc<Runtime<Decides<D>>>,
}

/// The rules of a decider.
pub(crate) struct Decides<D>(PhantomData<fn() -> D>);

impl<D: Decider> Behaviour for Decides<D> {
    type State = D;
    type Input = D::Command;
    const NAME: &'static str = D::NAME;
    const INPUT_UPCASTERS: &'static [Upcaster] = D::COMMAND_UPCASTERS;
    const SEQUENCE_FIELD: Option<&'static str> = D::SEQUENCE_FIELD;
    const PROCESSED_TIME_FIELD: Option<&'static str> = D::PROCESSED_TIME_FIELD;

    fn entity_id(message: &Message) -> Result<Option<Cow<'_, str>>> {
        let id = message.stream.cardinal_id().filter(|id| !id.is_empty()).ok_or_else(|| {
            let Message { message_type, stream, .. } = message;
            Error::invalid(
                "command",
                format!("{message_type} of {stream} names no entity, because its stream has no id"),
            )
        })?;
        Ok(Some(Cow::Borrowed(id)))
    }

    fn intent(command: &D::Command) -> Option<Intent> {
        D::intent(command)
    }

    fn unless(state: &D, command: &D::Command) -> Option<Query> {
        state.unless(command)
    }

    fn tags(event: &D::Event) -> Vec<Tag> {
        D::tags(event)
    }

    fn react(state: &D, command: &D::Command, arrival: Arrival<'_>) -> Reaction<D::Event> {
        Reaction::of_events(match arrival {
            Arrival::InOrder => state.decide(command),
            Arrival::Late => state.decide_late(command),
            Arrival::Repeat(repeat) => state.decide_repeat(command, repeat),
            Arrival::Matched(found) => state.decide_matched(command, found),
        })
    }
}

impl<D: Decider> CommandHandler<D> {
    /// Uses the entities of this store, with a cache of the default size.
    pub fn new(store: &Arc<dyn MessageStore>) -> Self {
        Self::with_entities(EntityStore::new(store))
    }

    /// Uses these entities, for example with a cache of another size.
    pub fn with_entities(entities: EntityStore<D>) -> Self {
        Self { runtime: Arc::new(Runtime::new(entities)) }
    }

    /// Takes snapshots of the entities ([`EntityStore::snapshots`]).
    #[must_use]
    pub fn snapshots(self, policy: SnapshotPolicy) -> Self
    where
        D: Serialize + DeserializeOwned,
    {
        self.runtime.entities.set_snapshots(policy);
        self
    }

    /// The entities that the handler decides on, for reads of their state.
    pub fn entities(&self) -> &EntityStore<D> {
        &self.runtime.entities
    }

    /// Carries out one command. If other writers append to its entity at the same time, the command is decided again,
    /// with growing pauses, while the entity's stream makes progress.
    ///
    /// # Errors
    /// [`Error::Undecodable`] when the data does not have the command's type, [`Error::Invalid`] for a command without
    /// an entity id or with an invalid intent, [`Error::NewerVersion`] and [`Error::UnknownEvent`] for messages of a newer
    /// release, [`Error::IdConflict`] when another handler has written under its ids,
    /// and the errors of the store.
    pub async fn carry_out(&self, message: &Message) -> Result<Outcome> {
        Ok(self.runtime.carry_out(message).await?.outcome)
    }
}

#[async_trait]
impl<D: Decider> Handler for CommandHandler<D> {
    fn message_types(&self) -> Vec<&'static str> {
        input_types::<Decides<D>>()
    }

    fn check(&self) -> Result<()> {
        check_behaviour::<Decides<D>>()
    }

    fn name(&self) -> &'static str {
        D::NAME
    }

    async fn handle(&self, message: &Message, _context: &Context<'_>) -> Result<Outcome, Source> {
        Ok(self.carry_out(message).await?)
    }

    async fn handle_erased(&self, message: &Message, _context: &Context<'_>) -> Result<Outcome, Source> {
        Ok(self.carry_out(message).await?)
    }

    async fn repeats(&self, messages: &[Message]) -> Result<HashMap<MessageId, Outcome>, Source> {
        Ok(self.runtime.repeats(messages).await?)
    }
}

impl<D: Decider> Clone for CommandHandler<D> {
    fn clone(&self) -> Self {
        Self { runtime: Arc::clone(&self.runtime) }
    }
}

impl<D: Decider> fmt::Debug for CommandHandler<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandHandler").field("entities", self.entities()).finish_non_exhaustive()
    }
}
