//! The handler of the messages to which a process manager reacts.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::behaviour::{Arrival, Behaviour, Received, check_behaviour, input_types, receive};
use super::runtime::Runtime;
use super::{ProcessManager, Reaction};
use crate::entity::{EntityStore, SnapshotPolicy};
use crate::handling::{Context, Handler};
use crate::intents::Intent;
use crate::{Message, MessageId, MessageStore, Outcome, Result, Source, Tag, Upcaster};

/// The runtime of a process manager. Each message has its reaction exactly once.
///
/// Start one consumer for each category to whose messages the process reacts, each with a clone of the handler. The
/// clones share the cache of processes.
///
/// ```no_run
/// use message_store::consumer::Consumer;
/// use message_store::handling::{ProcessHandler, ProcessManager};
/// use message_store::service::Service;
/// # async fn example<Transfer: ProcessManager>() -> message_store::Result<()> {
/// let store = message_store::connect("sqlite:bank.db").await?;
/// let transfers = ProcessHandler::<Transfer>::new(&store);
/// let service = Service::new(&store)
///     .consumer(Consumer::new("transfer:command", transfers.clone()))
///     .consumer(Consumer::new("account", transfers).identifier("transfer"));
/// # service.run().await
/// # }
/// ```
pub struct ProcessHandler<P: ProcessManager> {
    pub(crate) runtime: Arc<Runtime<Reacts<P>>>,
}

/// The rules of a process manager.
pub(crate) struct Reacts<P>(PhantomData<fn() -> P>);

impl<P: ProcessManager> Behaviour for Reacts<P> {
    type State = P;
    type Input = P::Message;
    const NAME: &'static str = P::NAME;
    const INPUT_UPCASTERS: &'static [Upcaster] = P::MESSAGE_UPCASTERS;
    const BEGINS_CORRELATION: bool = true;

    fn entity_id(message: &Message) -> Result<Option<Cow<'_, str>>> {
        let Received::Input(content) = receive::<Self>(message)? else { return Ok(None) };
        Ok(P::process_id(message, &content).map(Cow::Owned))
    }

    fn intent(message: &P::Message) -> Option<Intent> {
        P::intent(message)
    }

    fn tags(event: &P::Event) -> Vec<Tag> {
        P::tags(event)
    }

    fn react(state: &P, message: &P::Message, arrival: Arrival<'_>) -> Reaction<P::Event> {
        match arrival {
            Arrival::InOrder => state.react(message),
            Arrival::Late => state.react_late(message),
            Arrival::Repeat(repeat) => state.react_repeat(message, repeat),
            // It has no query.
            Arrival::Matched(_) => Reaction::none(),
        }
    }
}

impl<P: ProcessManager> ProcessHandler<P> {
    /// Uses the processes of this store, with a cache of the default size.
    pub fn new(store: &Arc<dyn MessageStore>) -> Self {
        Self::with_processes(EntityStore::new(store))
    }

    /// Uses these processes, for example with a cache of another size.
    pub fn with_processes(processes: EntityStore<P>) -> Self {
        Self { runtime: Arc::new(Runtime::new(processes)) }
    }

    /// Takes snapshots of the processes ([`EntityStore::snapshots`]).
    #[must_use]
    pub fn snapshots(self, policy: SnapshotPolicy) -> Self
    where
        P: Serialize + DeserializeOwned,
    {
        self.runtime.entities.set_snapshots(policy);
        self
    }

    /// The processes, for reads of their state.
    pub fn processes(&self) -> &EntityStore<P> {
        &self.runtime.entities
    }

    /// Reacts to one message. If another message of the same process is handled at the same time, this asks for the
    /// reaction again, with growing pauses, while the process's stream makes progress.
    ///
    /// # Errors
    /// [`Error::Undecodable`](crate::Error::Undecodable) when the data does not have the message's type,
    /// [`Error::Invalid`](crate::Error::Invalid) for an invalid reaction, id or intent,
    /// [`Error::NewerVersion`](crate::Error::NewerVersion) and [`Error::UnknownEvent`](crate::Error::UnknownEvent) for
    /// messages of a newer release,
    /// [`Error::IdConflict`](crate::Error::IdConflict) when another handler has written under its ids, and the errors of
    /// the store.
    pub async fn react(&self, message: &Message) -> Result<Outcome> {
        Ok(self.runtime.carry_out(message).await?.outcome)
    }
}

#[async_trait]
impl<P: ProcessManager> Handler for ProcessHandler<P> {
    fn message_types(&self) -> Vec<&'static str> {
        input_types::<Reacts<P>>()
    }

    fn check(&self) -> Result<()> {
        check_behaviour::<Reacts<P>>()
    }

    fn name(&self) -> &'static str {
        P::NAME
    }

    async fn handle(&self, message: &Message, _context: &Context<'_>) -> Result<Outcome, Source> {
        Ok(self.react(message).await?)
    }

    async fn repeats(&self, messages: &[Message]) -> Result<HashMap<MessageId, Outcome>, Source> {
        Ok(self.runtime.repeats(messages).await?)
    }
}

impl<P: ProcessManager> Clone for ProcessHandler<P> {
    fn clone(&self) -> Self {
        Self { runtime: Arc::clone(&self.runtime) }
    }
}

impl<P: ProcessManager> fmt::Debug for ProcessHandler<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessHandler").field("processes", self.processes()).finish_non_exhaustive()
    }
}
