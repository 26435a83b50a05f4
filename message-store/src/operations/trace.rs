//! Traces: a message with its causes and its effects.
//!
//! Problem: a message names its cause, but nothing names its effects, so they must be searched for. Fix: what belongs to the
//! same correlation is found by an index, and all other messages are looked through, up to a number of them. An effect is
//! written after its cause, so the search begins there.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::TryStreamExt as _;

use crate::intents::cause_of;
use crate::sequence::places_of;
use crate::{
    GlobalPosition, Message, MessageId, MessageStore, MessageStoreExt as _, Metadata, Read, Result, Sequence, StoreId,
    StreamName,
};

/// The default of [`Tracing::look_at`].
const LOOK_AT: usize = 20_000;
/// The number of messages of one read.
const BATCH: usize = 1_000;

/// Finds the causes and the effects of messages.
///
/// ```
/// use message_store::operations::Tracing;
/// use message_store::{Append, Json, MessageStore, Metadata, NewMessage, StreamName, connect};
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let store = connect("sqlite::memory:").await?;
/// let command = NewMessage::new("Deposit", Json::NULL);
/// let id = command.id;
/// store.append(Append::to(StreamName::new("account:command-7")?).message(command).into()).await?;
/// let command = store.message(id).await?.unwrap();
/// let event = NewMessage::new("Deposited", Json::NULL).with_metadata(&Metadata::follow(&command))?;
/// store.append(Append::to(StreamName::new("account-7")?).message(event).into()).await?;
/// let trace = Tracing::of(&store).message(&command).await?;
/// let found: Vec<(usize, &str)> =
///     trace.messages.iter().map(|traced| (traced.depth, traced.message.message_type.as_str())).collect();
/// assert_eq!(found, [(0, "Deposit"), (1, "Deposited")]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Tracing {
    store: Arc<dyn MessageStore>,
    look_at: usize,
}

/// Messages of which each one caused others, or was caused by another.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Trace {
    /// Each cause is followed by its effects, in the order of their global positions, and each effect by its own effects.
    pub messages: Vec<Traced>,
    /// The search has looked at all messages up to this global position. Later messages may be effects too.
    pub looked_through: GlobalPosition,
    /// The last global position of the store.
    pub end: GlobalPosition,
    /// The search has looked at all messages.
    pub is_end: bool,
}

/// A message of a trace.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Traced {
    #[allow(missing_docs)]
    pub message: Message,
    /// The message of the trace that caused it.
    pub cause: Option<MessageId>,
    /// The number of causes between it and the first one.
    pub depth: usize,
}

impl Tracing {
    /// Traces of messages of this store.
    pub fn of(store: &Arc<dyn MessageStore>) -> Self {
        Self { store: Arc::clone(store), look_at: LOOK_AT }
    }

    /// The number of messages, about, at which a search for effects looks before it ends. Default: 20,000.
    pub fn look_at(mut self, messages: usize) -> Self {
        self.look_at = messages.max(1);
        self
    }

    /// The trace of a message: its first cause, with all effects that were found. Messages of the same correlation are found
    /// however late they were written.
    ///
    /// # Errors
    /// The errors of a read.
    pub async fn message(&self, message: &Message) -> Result<Trace> {
        let mut found = Found::new(self.store.store_id());
        let first = self.climb(message.clone(), &mut found).await?;
        if let Some(correlation) = message.decode_metadata().correlation_stream_name {
            self.add_case(&StreamName::from_database(&correlation), &mut found).await?;
        }
        let (looked_through, end) = self.add_effects(first.global_position, &mut found).await?;
        Ok(Trace { messages: found.tree(first.id), looked_through, end, is_end: looked_through >= end })
    }

    /// The trace of a correlation: all messages whose correlation is this stream
    /// ([`MessageStore::read_correlated`]), with their causes.
    ///
    /// # Errors
    /// The errors of a read.
    pub async fn case(&self, correlation: &StreamName) -> Result<Trace> {
        let mut found = Found::new(self.store.store_id());
        let looked_through = self.add_case(correlation, &mut found).await?;
        let all: Vec<Message> = found.messages.values().cloned().collect();
        for message in all {
            // A cause that is in the case has been read.
            if found.cause(message.id).is_none() {
                let _ = self.climb(message, &mut found).await?;
            }
        }
        let end = self.store.given_out(None).await?;
        let is_end = looked_through.is_none();
        Ok(Trace { messages: found.trees(), looked_through: looked_through.unwrap_or(end), end, is_end })
    }

    /// Adds a message and its causes. Returns the first cause, or the message itself if it has none.
    async fn climb(&self, mut message: Message, found: &mut Found) -> Result<Message> {
        let mut climbed = HashSet::new();
        loop {
            climbed.insert(message.id);
            let metadata = message.decode_metadata();
            found.add(message.clone(), &metadata);
            match cause_of(&*self.store, &metadata).await?.filter(|cause| !climbed.contains(&cause.id)) {
                Some(cause) => message = cause,
                None => return Ok(message),
            }
        }
    }

    /// Adds the messages of a correlation. Returns how far it has looked if there are more of them.
    async fn add_case(&self, correlation: &StreamName, found: &mut Found) -> Result<Option<GlobalPosition>> {
        let mut messages = std::pin::pin!(self.store.correlated_messages(correlation, Read::default()));
        let (mut left, mut through) = (self.look_at, GlobalPosition::ZERO);
        while let Some(message) = messages.try_next().await? {
            if left == 0 {
                return Ok(Some(through));
            }
            (left, through) = (left - 1, message.global_position);
            let metadata = message.decode_metadata();
            found.add(message, &metadata);
        }
        Ok(None)
    }

    /// Looks for effects after a position.
    async fn add_effects(&self, after: GlobalPosition, found: &mut Found) -> Result<(GlobalPosition, GlobalPosition)> {
        let end = self.store.given_out(None).await?;
        let (mut looked_through, mut left) = (after, self.look_at);
        while looked_through < end && left > 0 {
            let read = Read::from(looked_through.next()).limit(left.min(BATCH));
            let batch = self.store.read_all(read.clone()).await?;
            if batch.is_at_end(&read) {
                return Ok((end, end));
            }
            left = left.saturating_sub(batch.messages.len().max(1));
            looked_through = batch.looked_through;
            for message in batch.messages {
                let metadata = message.decode_metadata();
                if metadata.cause(found.here).is_some_and(|cause| found.places.contains_key(&cause)) {
                    found.add(message, &metadata);
                }
            }
        }
        Ok((looked_through.min(end), end))
    }
}

/// The messages of a trace, in no order.
struct Found {
    here: StoreId,
    messages: HashMap<MessageId, Message>,
    causes: HashMap<MessageId, Sequence>,
    /// The places of the messages, also those from which they were copied.
    places: HashMap<Sequence, MessageId>,
}

impl Found {
    fn new(here: StoreId) -> Self {
        Self { here, messages: HashMap::new(), causes: HashMap::new(), places: HashMap::new() }
    }

    fn add(&mut self, message: Message, metadata: &Metadata) {
        self.places.extend(places_of(&message, self.here).into_iter().map(|place| (place, message.id)));
        self.causes.extend(metadata.cause(self.here).map(|cause| (message.id, cause)));
        self.messages.insert(message.id, message);
    }

    fn cause(&self, id: MessageId) -> Option<MessageId> {
        self.causes.get(&id).and_then(|cause| self.places.get(cause)).copied().filter(|cause| *cause != id)
    }

    /// The message and its effects.
    fn tree(self, first: MessageId) -> Vec<Traced> {
        let effects = self.effects();
        self.from([first], &effects)
    }

    /// Each message that has no cause here, with its effects. Messages that another program has made one another's causes
    /// come last.
    fn trees(self) -> Vec<Traced> {
        let effects = self.effects();
        let mut without_cause: Vec<MessageId> = self.messages.keys().copied().collect();
        let place = |id: &MessageId| self.messages[id].global_position;
        without_cause.sort_unstable_by_key(|id| (self.cause(*id).is_some(), place(id)));
        self.from(without_cause, &effects)
    }

    /// The effects of each message, in order.
    fn effects(&self) -> HashMap<MessageId, Vec<MessageId>> {
        let mut effects: HashMap<MessageId, Vec<MessageId>> = HashMap::new();
        for id in self.messages.keys() {
            if let Some(cause) = self.cause(*id) {
                effects.entry(cause).or_default().push(*id);
            }
        }
        for of_one in effects.values_mut() {
            of_one.sort_unstable_by_key(|id| self.messages[id].global_position);
        }
        effects
    }

    fn from(
        &self,
        first: impl IntoIterator<Item = MessageId>,
        effects: &HashMap<MessageId, Vec<MessageId>>,
    ) -> Vec<Traced> {
        let (mut traced, mut seen) = (Vec::new(), HashSet::new());
        for root in first {
            let mut next = vec![(root, None, 0)];
            while let Some((id, cause, depth)) = next.pop() {
                if !seen.insert(id) {
                    continue;
                }
                traced.push(Traced { message: self.messages[&id].clone(), cause, depth });
                let of_it = effects.get(&id).into_iter().flatten().rev();
                next.extend(of_it.map(|effect| (*effect, Some(id), depth + 1)));
            }
        }
        traced
    }
}
