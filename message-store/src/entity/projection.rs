//! Projections: they apply the events of a stream to the state of an entity.

use serde::de::DeserializeOwned;

use crate::entity::Sequences;
use crate::entity::recent::Recent;
use crate::sequence::stamp_of;
use crate::{GlobalPosition, Message, MessageId, MessageRef, Place, Result, Sequence, StoreId, StreamName, Version};

/// The state of an entity, to which events are applied.
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
    /// The category of the entities' streams, such as `account`.
    const CATEGORY: &'static str;

    /// An enum with one variant for each message type. Messages of other types are ignored and counted.
    type Event: DeserializeOwned + Send + Sync;

    /// Changes the state as the event requires. It must not refuse an event: the event has happened.
    fn apply(&mut self, event: &Self::Event);

    /// Changes the state for an event that was erased ([`Erasing`](crate::operations::Erasing)): its data is gone, and its
    /// type is known. The default changes nothing. The version and the marks of the entity change in any case, so each
    /// command still has one effect.
    fn apply_erased(&mut self, message_type: &str) {
        let _ = message_type;
    }
}

/// An entity: its state, its version and its marks.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Entity<P> {
    #[allow(missing_docs)]
    pub state: P,
    /// The version of the stream up to which events were applied.
    pub version: Version,
    /// The marks: the highest sequences of the commands for which its events were written.
    pub sequences: Sequences,
    /// The number of messages in its stream whose type the projection does not know.
    pub ignored: u64,
    /// The number of messages in its stream whose metadata could not be read: it has another shape than the library
    /// knows, and was ignored.
    pub unread_metadata: u64,
    recent: Recent,
    /// The global position of the last message of the stream that was applied.
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
    /// Applies a message of the entity's stream. `here` is the store from which it was read.
    ///
    /// # Errors
    /// [`Error::Undecodable`](crate::Error::Undecodable). The entity is then unchanged.
    pub fn apply(&mut self, message: &Message, here: StoreId) -> Result<()> {
        let (stamp, is_unread) = stamp_of(message, here);
        let place = Place { position: message.position, global_position: message.global_position };
        let command = stamp.as_ref().map(|stamp| (stamp.handler.as_deref(), &stamp.sequence));
        if message.is_erased() {
            self.state.apply_erased(&message.message_type);
            self.record(command, message.id, place);
        } else {
            let event = message.decode_variant::<P::Event>()?;
            self.advance(event.as_ref(), command, message.id, place);
        }
        self.unread_metadata += u64::from(is_unread);
        Ok(())
    }

    /// Applies the next message of the entity's stream. `event` is `None` when the projection does not know its type.
    /// `command` is the sequence of the command for which the message was written, and the handler that its stamp
    /// names.
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
        self.record(command, id, place);
    }

    /// Records the command for which a message was written, and the message's place.
    fn record(&mut self, command: Option<(Option<&str>, &Sequence)>, id: MessageId, place: Place) {
        if let Some((handler, sequence)) = command {
            let mark = self.sequences.record(handler, sequence);
            self.recent.record(mark, sequence.global_position, id, place);
        }
        self.version = Version::at(place.position);
        self.last = Some(place.global_position);
    }

    /// Whether this message is the last one that was applied.
    pub(crate) fn ends_with(&self, message: &Message) -> bool {
        self.version == Version::at(message.position) && self.last == Some(message.global_position)
    }

    /// The first event that a handler has written for a command, if the command is one of the most recent. The
    /// handler's own event must have the id `id`; an event of another toolkit may have any. (An event with another id
    /// may name the command if its author has copied the metadata.)
    pub(crate) fn recent_event(
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
