//! Sequences: the origin of a message, and the stamp that an event carries.
//!
//! Eventide's sequential idempotence is the model: an event carries the global position of the command that caused it.
//! A bare number would lose commands as soon as two categories, or two stores, feed one entity. So a sequence contains
//! the origin too.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Category, GlobalPosition, Message, Metadata, Stamped, StoreId, StreamName};

/// The store and the category in which a message was first written. Its original global position counts there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    #[allow(missing_docs)]
    pub store_id: StoreId,
    #[allow(missing_docs)]
    pub category: Category,
}

/// The origin of a message, and its global position there. The store assigns it at the first write, and a copy keeps
/// it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sequence {
    /// In JSON, its fields are beside the position.
    #[serde(flatten)]
    pub origin: Origin,
    /// The global position at the origin. A copy has another one in its own store.
    pub global_position: GlobalPosition,
}

impl Sequence {
    /// The sequence of a message that was first written at `global_position`, in `category` of the store `store_id`.
    pub fn new(store_id: StoreId, category: Category, global_position: GlobalPosition) -> Self {
        Self { origin: Origin { store_id, category }, global_position }
    }
}

/// The stamp of an event: the sequence of the command for which it was written, and the handler that wrote it.
pub(crate) struct Stamp {
    pub(crate) sequence: Sequence,
    pub(crate) handler: Option<String>,
}

/// What an entity reads from the metadata of an event.
pub(crate) struct EventMetadata {
    pub(crate) stamp: Option<Stamp>,
    /// Some of the metadata could not be decoded.
    pub(crate) is_unread: bool,
    /// The version of the event's type.
    pub(crate) type_version: u32,
}

/// The metadata fields about sequences. They are decoded for every event of an entity, so all other fields are left
/// out.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawFields<'a> {
    #[serde(borrow)]
    message_store: Option<&'a RawValue>,
    causation_message_stream_name: Option<String>,
    causation_message_global_position: Option<GlobalPosition>,
    /// Earlier versions wrote these two outside the toolkit's object.
    sequence: Option<Sequence>,
    origin: Option<Sequence>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct OwnFields {
    sequence: Option<Stamped>,
    origin: Option<Sequence>,
    cause_origin: Option<Sequence>,
    handler: Option<String>,
    type_version: Option<NonZeroU32>,
}

/// The metadata of a message about its origin and its cause.
#[derive(Default)]
struct Provenance {
    own: OwnFields,
    causation: Option<(String, GlobalPosition)>,
    /// At least one field has an unexpected type.
    is_unread: bool,
}

/// Decodes all fields at once. `None` if any of them has an unexpected type.
fn decode_all(text: &str) -> Option<Provenance> {
    // serde accepts an array in the place of a struct.
    let is_object = |text: &str| text.trim_ascii_start().starts_with('{');
    let raw: RawFields<'_> = serde_json::from_str(text).ok().filter(|_| is_object(text))?;
    let mut own: OwnFields = match raw.message_store {
        Some(own) => serde_json::from_str(own.get()).ok().filter(|_| is_object(own.get()))?,
        None => OwnFields::default(),
    };
    own.sequence = own.sequence.or(raw.sequence.map(Stamped::from));
    own.origin = own.origin.or(raw.origin);
    let causation = raw.causation_message_stream_name.zip(raw.causation_message_global_position);
    Some(Provenance { own, causation, is_unread: false })
}

fn provenance_of(message: &Message) -> Provenance {
    if message.metadata.is_empty() {
        return Provenance::default();
    }
    decode_all(message.metadata.text()).unwrap_or_else(|| {
        let metadata = message.decode_metadata();
        let is_unread = !metadata.unread().is_empty();
        let Metadata { sequence, origin, cause_origin, handler, type_version, .. } = metadata;
        let causation = metadata.causation_message_stream_name.zip(metadata.causation_message_global_position);
        Provenance { own: OwnFields { sequence, origin, cause_origin, handler, type_version }, causation, is_unread }
    })
}

pub(crate) fn sequence_of(message: &Message, here: StoreId) -> Sequence {
    provenance_of(message).own.origin.unwrap_or_else(|| place_of(message, here))
}

/// The version of the message's type. Most messages are of version 1, which their metadata does not mention.
pub(crate) fn type_version_of(message: &Message) -> u32 {
    let is_mentioned = message.metadata.as_str().is_some_and(|metadata| metadata.contains("typeVersion"));
    if is_mentioned { version(&provenance_of(message).own) } else { 1 }
}

fn version(own: &OwnFields) -> u32 {
    own.type_version.map_or(1, NonZeroU32::get)
}

/// The sequence of the message's place in this store, whether the message is a copy or not.
pub(crate) fn place_of(message: &Message, here: StoreId) -> Sequence {
    Sequence::new(here, message.stream.category(), message.global_position)
}

/// Every sequence with which an event may name the message: its origin's, those of its earlier copies, and that of its
/// place in this store.
pub(crate) fn places_of(message: &Message, here: StoreId) -> Vec<Sequence> {
    let Metadata { origin, via, .. } = message.decode_metadata();
    origin.into_iter().chain(via).chain([place_of(message, here)]).collect()
}

/// What an entity reads from the metadata of an event.
pub(crate) fn event_metadata(event: &Message, here: StoreId) -> EventMetadata {
    let provenance = provenance_of(event);
    let type_version = version(&provenance.own);
    let (stamp, is_unread) = stamp_in(provenance, event, here);
    EventMetadata { stamp, is_unread, type_version }
}

/// The stamp of an event.
pub(crate) fn stamp_of(event: &Message, here: StoreId) -> Option<Stamp> {
    stamp_in(provenance_of(event), event, here).0
}

/// The stamp of an event, and whether some of its metadata could not be decoded. Without a stamp of this toolkit,
/// Eventide's causation fields count as one, in the store where the event was first written, or the origin of the cause
/// that a transfer has found for them. `None` when the event names no cause, or a cause that is not before it.
fn stamp_in(provenance: Provenance, event: &Message, here: StoreId) -> (Option<Stamp>, bool) {
    let Provenance { own, causation, is_unread } = provenance;
    let first_place = own.origin.as_ref().map(|origin| (origin.origin.store_id, origin.global_position));
    let (home, mut written_at) = first_place.unwrap_or((here, event.global_position));
    if home == here {
        // A copy's place is never below that of its original in the same store, so a higher original place is wrong.
        written_at = written_at.min(event.global_position);
    }
    // A cause with a higher position is impossible. A mark at such a position would make every later command late.
    let is_earlier = |sequence: &Sequence| sequence.origin.store_id != home || sequence.global_position < written_at;
    let causation = causation.map(|(stream, position)| (StreamName::from_database(&stream).category(), position));
    let is_stamped = own.sequence.is_some();
    let is_whole = matches!(own.sequence, Some(Stamped::Elsewhere(_)));
    let ours = own.sequence.and_then(|stamped| stamped.resolve(home, causation.as_ref())).filter(is_earlier);
    if let Some(sequence) = ours {
        return (Some(Stamp { sequence, handler: own.handler }), is_unread);
    }
    // A value under the stamp's key that is not a valid stamp counts as unread. The causation is a stamp all the same:
    // of this toolkit's handler, if its command named an impossible origin, or of another toolkit.
    let handler = own.handler.filter(|_| is_whole);
    let named = causation.map(|(category, position)| Sequence::new(home, category, position));
    // If the cause was a copy, other copies of it know its origin, but not the place that the causation names.
    match own.cause_origin.filter(is_earlier).or(named) {
        Some(sequence) if is_earlier(&sequence) => (Some(Stamp { sequence, handler }), is_unread || is_stamped),
        Some(_) => (None, true),
        None => (None, is_unread || is_stamped),
    }
}
