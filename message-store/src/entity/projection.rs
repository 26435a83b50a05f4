//! Projections: they apply the events of a stream to the state of an entity.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::entity::Sequences;
use crate::entity::recent::Recent;
use crate::sequence::{EventMetadata, event_metadata};
use crate::variant::{Decoded, Reader, check, names};
use crate::{
    Error, GlobalPosition, Message, MessageId, MessageRef, Place, Result, Sequence, StoreId, StreamName, Upcaster,
    Version,
};

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

    /// An enum with one variant for each message type. An event of another type is an error, unless the projection
    /// [ignores](Self::ignores) it.
    type Event: DeserializeOwned + Send + Sync;

    /// How events of earlier forms are read ([`Upcaster`]). Share the list among the
    /// projections of a category.
    const UPCASTERS: &'static [Upcaster] = &[];

    /// Whether events of this type, for which [`Event`](Self::Event) has no variant, change nothing in the state. They are
    /// counted ([`Entity::ignored`]). The default ignores none: an event that a newer release or another program has
    /// written may change what is decided.
    fn ignores(_message_type: &str) -> bool {
        false
    }

    /// Changes the state as the event requires. It must not refuse an event: the event has happened.
    fn apply(&mut self, event: &Self::Event);

    /// Changes the state for an event that was erased ([`Erasing`](crate::operations::Erasing)): its data is gone, and its
    /// type is known. The default changes nothing. The version and the marks of the entity change in any case, so each
    /// command still has one effect.
    fn apply_erased(&mut self, message_type: &str) {
        let _ = message_type;
    }
}

/// Checks the upcasters of a projection.
pub(crate) fn check_upcasters<P: Projection>() -> Result<()> {
    let reader = Reader { variants: names::<P::Event>(), ignores: P::ignores, can_split: true };
    check(P::UPCASTERS, &reader).map_err(|fault| Error::Upcasters { of: P::CATEGORY, fault })
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
    /// The number of messages in its stream whose type the projection [ignores](Projection::ignores).
    pub ignored: u64,
    /// The number of messages in its stream whose metadata could not be read: it has another shape than the library
    /// knows, and was ignored.
    pub unread_metadata: u64,
    /// Those types, of the messages that were applied.
    pub(super) ignored_types: Arc<BTreeSet<String>>,
    pub(super) recent: Recent,
    /// The last message of the stream that was applied.
    pub(super) last: Option<LastApplied>,
}

/// The last message that was applied.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LastApplied {
    id: MessageId,
    global_position: GlobalPosition,
}

impl<P: Projection> Default for Entity<P> {
    fn default() -> Self {
        let (sequences, recent) = (Sequences::default(), Recent::default());
        Self {
            state: P::default(),
            version: Version::NO_STREAM,
            sequences,
            ignored: 0,
            ignored_types: Arc::default(),
            unread_metadata: 0,
            recent,
            last: None,
        }
    }
}

/// The parts of a message that the projection knows, and the types of those that it ignores. `None` if there are others.
fn known<P: Projection, T>(parts: Vec<Decoded<T>>) -> Option<(Vec<T>, Vec<String>)> {
    let (mut known, mut ignored) = (Vec::new(), Vec::new());
    for part in parts {
        match part {
            Decoded::One(part) => known.push(part),
            Decoded::Unknown(message_type) if P::ignores(&message_type) => ignored.push(message_type),
            _ => return None,
        }
    }
    Some((known, ignored))
}

impl<P: Projection> Entity<P> {
    /// Applies a message of the entity's stream. `here` is the store from which it was read.
    ///
    /// # Errors
    /// [`Error::Undecodable`], [`Error::UnknownEvent`] and [`Error::NewerVersion`]. The entity is then unchanged.
    pub fn apply(&mut self, message: &Message, here: StoreId) -> Result<()> {
        let EventMetadata { stamp, is_unread, type_version } = event_metadata(message, here);
        let command = stamp.as_ref().map(|stamp| (stamp.handler.as_deref(), &stamp.sequence));
        let place = Place { position: message.position, global_position: message.global_position };
        let unknown = || {
            let (event, message_type) = (message.reference(), message.message_type.clone());
            Error::UnknownEvent { event, message_type, projection: P::CATEGORY }
        };
        if message.is_erased() {
            let parts = message.erased_types::<P::Event>(P::UPCASTERS, type_version)?;
            let (types, ignored) = known::<P, _>(parts).ok_or_else(unknown)?;
            for message_type in &types {
                self.state.apply_erased(message_type);
            }
            self.ignore(&ignored);
            self.record(command, message.id, place);
            self.unread_metadata += u64::from(is_unread);
            return Ok(());
        }
        match message.decode::<P::Event>(P::UPCASTERS, type_version)? {
            Decoded::One(event) => self.advance(Some(&event), command, message.id, place),
            several => {
                let (events, ignored) = known::<P, _>(several.into_parts()).ok_or_else(unknown)?;
                self.ignore(&ignored);
                self.advance(&events, command, message.id, place);
            }
        }
        self.unread_metadata += u64::from(is_unread);
        Ok(())
    }

    /// Counts a message that has parts of these types, which the projection ignores.
    fn ignore(&mut self, types: &[String]) {
        self.ignored += u64::from(!types.is_empty());
        for message_type in types {
            if !self.ignored_types.contains(message_type) {
                Arc::make_mut(&mut self.ignored_types).insert(message_type.clone());
            }
        }
    }

    /// Applies the events of the next message of the entity's stream: one, or any number if the message was split or
    /// ignored. `command` is the sequence of the command for which the message was written, and the handler that its
    /// stamp names.
    pub(crate) fn advance<'e>(
        &mut self,
        events: impl IntoIterator<Item = &'e P::Event>,
        command: Option<(Option<&str>, &Sequence)>,
        id: MessageId,
        place: Place,
    ) where
        P::Event: 'e,
    {
        events.into_iter().for_each(|event| self.state.apply(event));
        self.record(command, id, place);
    }

    /// Records the command for which a message was written, and the message's place.
    fn record(&mut self, command: Option<(Option<&str>, &Sequence)>, id: MessageId, place: Place) {
        if let Some((handler, sequence)) = command {
            let mark = self.sequences.record(handler, sequence);
            self.recent.record(mark, sequence.global_position, id, place);
        }
        self.version = Version::at(place.position);
        self.last = Some(LastApplied { id, global_position: place.global_position });
    }

    /// Whether this message is the last one that was applied.
    pub(crate) fn ends_with(&self, message: &Message) -> bool {
        let Message { id, position, global_position, .. } = *message;
        self.version == Version::at(position) && self.last == Some(LastApplied { id, global_position })
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
