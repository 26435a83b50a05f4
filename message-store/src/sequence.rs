//! Sequences: where a message was born, and the sequence that an event says of its command.
//!
//! Source of the idea: Eventide's sequential idempotence, where an event carries the global position of the command
//! that caused it. A bare number loses commands as soon as two categories, or two stores, feed one entity; so the
//! origin stands beside it.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Category, GlobalPosition, Message, Metadata, Stamped, StoreId, StreamName};

/// The store and the category in which a message was first written. Global positions are counted there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// The store.
    pub store_id: StoreId,
    /// The category.
    pub category: Category,
}

/// The origin of a message, and its global position there. Assigned once; a copy keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sequence {
    /// The store and the category in which it was first written.
    #[serde(flatten)]
    pub origin: Origin,
    /// Its global position there.
    pub global_position: GlobalPosition,
}

impl Sequence {
    /// The sequence of a message born at `global_position` in `category` of the store `store_id`.
    pub fn new(store_id: StoreId, category: Category, global_position: GlobalPosition) -> Self {
        Self { origin: Origin { store_id, category }, global_position }
    }
}

/// The command that an event says it was decided for, and the handler that says so.
pub(crate) struct Stamp {
    pub(crate) sequence: Sequence,
    pub(crate) handler: Option<String>,
}

/// What of the metadata concerns sequences: decoded for every event of an entity, so no more than that.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Provenance<'a> {
    #[serde(borrow)]
    message_store: Option<&'a RawValue>,
    causation_message_stream_name: Option<String>,
    causation_message_global_position: Option<GlobalPosition>,
    /// Where earlier versions wrote what is ours.
    sequence: Option<Sequence>,
    origin: Option<Sequence>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Own {
    sequence: Option<Stamped>,
    origin: Option<Sequence>,
    handler: Option<String>,
}

/// What the metadata tells of where a message comes from.
#[derive(Default)]
struct Told {
    own: Own,
    causation: Option<(String, GlobalPosition)>,
    /// Some of it has a shape that we do not know.
    is_unread: bool,
}

/// `None` when it is not quite as the toolkits write it.
fn told_strictly(text: &str) -> Option<Told> {
    // (serde takes an array for a struct.)
    let is_object = |text: &str| text.trim_ascii_start().starts_with('{');
    let provenance: Provenance<'_> = serde_json::from_str(text).ok().filter(|_| is_object(text))?;
    let mut own: Own = match provenance.message_store {
        Some(own) => serde_json::from_str(own.get()).ok().filter(|_| is_object(own.get()))?,
        None => Own::default(),
    };
    own.sequence = own.sequence.or(provenance.sequence.map(Stamped::from));
    own.origin = own.origin.or(provenance.origin);
    let causation = provenance.causation_message_stream_name.zip(provenance.causation_message_global_position);
    Some(Told { own, causation, is_unread: false })
}

fn told(message: &Message) -> Told {
    if message.metadata.is_empty() {
        return Told::default();
    }
    told_strictly(message.metadata.text()).unwrap_or_else(|| {
        let metadata = message.decode_metadata();
        let is_unread = !metadata.unread().is_empty();
        let Metadata { sequence, origin, handler, .. } = metadata;
        let causation = metadata.causation_message_stream_name.zip(metadata.causation_message_global_position);
        Told { own: Own { sequence, origin, handler }, causation, is_unread }
    })
}

pub(crate) fn sequence_of(message: &Message, here: StoreId) -> Sequence {
    told(message).own.origin.unwrap_or_else(|| place_of(message, here))
}

/// The sequence a message has by where it stands, whether it was born there or not.
pub(crate) fn place_of(message: &Message, here: StoreId) -> Sequence {
    Sequence::new(here, message.stream.category(), message.global_position)
}

/// Every sequence that an event may name the message by: where it was born, where its copies stood, and where it
/// stands.
pub(crate) fn places_of(message: &Message, here: StoreId) -> Vec<Sequence> {
    let Metadata { origin, via, .. } = message.decode_metadata();
    origin.into_iter().chain(via).chain([place_of(message, here)]).collect()
}

/// The stamp of an event, and whether metadata of it could not be read. The stamp is ours, or the one that Eventide's
/// causation fields imply, in the store where the event was born; `None` when it names no cause, or one that does not
/// stand before it.
pub(crate) fn stamp_of(event: &Message, here: StoreId) -> (Option<Stamp>, bool) {
    let Told { own, causation, is_unread } = told(event);
    let birth = own.origin.as_ref().map(|birth| (birth.origin.store_id, birth.global_position));
    let (home, mut born_at) = birth.unwrap_or((here, event.global_position));
    if home == here {
        // A copy never stands before what was born here.
        born_at = born_at.min(event.global_position);
    }
    // A mark above everything that was given out would make every later command a late one.
    let stands_before = |sequence: &Sequence| sequence.origin.store_id != home || sequence.global_position < born_at;
    let causation = causation.map(|(stream, position)| (StreamName::from_database(&stream).category(), position));
    let is_stamped = own.sequence.is_some();
    let is_whole = matches!(own.sequence, Some(Stamped::Elsewhere(_)));
    let ours = own.sequence.and_then(|stamped| stamped.resolve(home, causation.as_ref())).filter(stands_before);
    if let Some(sequence) = ours {
        return (Some(Stamp { sequence, handler: own.handler }), is_unread);
    }
    // What stands in the place of our stamp and is none counts as unread. The causation is a stamp all the same: of our
    // handler, whose command named an origin that cannot be, or of another toolkit.
    let handler = own.handler.filter(|_| is_whole);
    let implied = causation.map(|(category, position)| Sequence::new(home, category, position));
    match implied {
        Some(sequence) if stands_before(&sequence) => (Some(Stamp { sequence, handler }), is_unread || is_stamped),
        Some(_) => (None, true),
        None => (None, is_unread || is_stamped),
    }
}
