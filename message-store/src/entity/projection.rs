//! Projections: from the events of a stream to the state of an entity.

use serde::de::DeserializeOwned;

use crate::entity::Sequences;
use crate::entity::recent::Recent;
use crate::sequence::stamp_of;
use crate::{GlobalPosition, Message, MessageId, MessageRef, Place, Result, Sequence, StoreId, StreamName, Version};

/// State that events are applied to.
///
/// ```
/// use message_store::entity::Projection;
/// #[derive(serde::Deserialize)]
/// enum Event { Deposited { amount: u64 }, Withdrawn { amount: u64 } }
///
/// #[derive(Clone, Default)]
/// struct Balance(u64);
///
/// impl Projection for Balance {
///     const CATEGORY: &'static str = "account";
///     type Event = Event;
///     fn apply(&mut self, event: &Event) {
///         match event {
///             Event::Deposited { amount } => self.0 += amount,
///             Event::Withdrawn { amount } => self.0 -= amount,
///         }
///     }
/// }
/// ```
pub trait Projection: Default + Clone + Send + Sync + 'static {
    /// The category of the streams that hold the events, such as `account`.
    const CATEGORY: &'static str;

    /// The events: an enum with a variant for each message type. A message of another type is ignored, and counted.
    type Event: DeserializeOwned + Send + Sync;

    /// Changes the state as the event says. It does not decide: what is in the stream has happened.
    fn apply(&mut self, event: &Self::Event);
}

/// An entity: the state, and what the toolkit knows beside it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Entity<P> {
    /// The state.
    pub state: P,
    /// The version of the stream it was projected from.
    pub version: Version,
    /// The commands that its events were decided for.
    pub sequences: Sequences,
    /// How many messages of its stream are of a type the projection does not know.
    pub ignored: u64,
    /// How many messages of its stream have metadata of another shape than the toolkit knows: it was passed over.
    pub unread_metadata: u64,
    recent: Recent,
    /// Where the last event stands in the store.
    last: Option<GlobalPosition>,
}

impl<P: Projection> Default for Entity<P> {
    fn default() -> Self {
        let (sequences, recent) = (Sequences::default(), Recent::default());
        Self {
            state: P::default(),
            version: Version::NO_STREAM,
            sequences,
            ignored: 0,
            unread_metadata: 0,
            recent,
            last: None,
        }
    }
}

impl<P: Projection> Entity<P> {
    /// Applies a message of the entity's stream, read in the store `here`.
    ///
    /// # Errors
    /// [`Error::Undecodable`](crate::Error::Undecodable); the entity is then as it was.
    pub fn apply(&mut self, message: &Message, here: StoreId) -> Result<()> {
        let (stamp, is_unread) = stamp_of(message, here);
        let event = message.decode_variant::<P::Event>()?;
        let place = Place { position: message.position, global_position: message.global_position };
        let command = stamp.as_ref().map(|stamp| (stamp.handler.as_deref(), &stamp.sequence));
        self.advance(event.as_ref(), command, message.id, place);
        self.unread_metadata += u64::from(is_unread);
        Ok(())
    }

    /// Takes one more message of the entity's stream in: the event, or `None` when its type is unknown; and the command
    /// that it was written for, with the handler that says so.
    pub(crate) fn advance(
        &mut self,
        event: Option<&P::Event>,
        command: Option<(Option<&str>, &Sequence)>,
        id: MessageId,
        place: Place,
    ) {
        match event {
            Some(event) => self.state.apply(event),
            None => self.ignored += 1,
        }
        if let Some((handler, sequence)) = command {
            let mark = self.sequences.record(handler, sequence);
            self.recent.record(mark, sequence.global_position, id, place);
        }
        self.version = Version::at(place.position);
        self.last = Some(place.global_position);
    }

    /// Whether this message is the last event that was applied.
    pub(crate) fn ends_with(&self, message: &Message) -> bool {
        self.version == Version::at(message.position) && self.last == Some(message.global_position)
    }

    /// The first event that a handler has written for a command, if that was one of the latest. Its own has this id;
    /// one of another toolkit has any. (Another message may carry the command's sequence: its author has copied the
    /// metadata.)
    pub(crate) fn recall(
        &self,
        handler: &str,
        command: &Sequence,
        stream: &StreamName,
        id: MessageId,
    ) -> Option<MessageRef> {
        let mut marks = self.sequences.numbers_of(handler, &command.origin);
        marks.find_map(|mark| {
            let is_own = self.sequences.marks()[mark].handler.is_some();
            self.recent.find(mark, command.global_position, stream).filter(|first| !is_own || first.id == id)
        })
    }
}
