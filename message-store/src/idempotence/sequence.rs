//! Sequences: a message's birth certificate, and what an entity has seen of them.
//!
//! Source of the idea: Eventide's sequential idempotence, where an event carries the global position of the command that
//! caused it. A bare number loses commands as soon as two categories, or two stores, feed one entity; so the origin
//! stands beside it, and there is one mark per origin.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::idempotence::Stamped;
use crate::{Category, GlobalPosition, Message, Metadata, StoreId, StreamName};

/// Where positions are counted: a category of a store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// The store.
    pub store_id: StoreId,
    /// The category.
    pub category: Category,
}

/// Where a message was born. Assigned once; a copy keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sequence {
    /// Where its position is counted.
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

/// The highest sequence an entity has seen, per origin and handler: its high-water marks.
///
/// Merging is by maximum, so it does not matter in which order, or how often, events are applied. Handlers have marks of their own: what
/// one has written for a command says nothing of what another has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sequences {
    // One or two origins are the rule: a list beats a map.
    marks: Vec<Mark>,
}

/// The highest sequence of one origin that an entity has events of, by one handler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mark {
    /// The handler that wrote the events; `None` for events of other toolkits, and of versions that did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handler: Option<String>,
    /// The highest sequence.
    #[serde(flatten)]
    pub sequence: Sequence,
}

impl Mark {
    /// Whether events of this mark tell a handler of this name what it has carried out.
    fn tells(&self, handler: &str) -> bool {
        self.handler.as_deref().is_none_or(|writer| writer == handler)
    }
}

impl Sequences {
    /// The highest global position of this origin that the handler of this name has written events for, as far as the events tell.
    pub fn mark(&self, handler: &str, origin: &Origin) -> Option<GlobalPosition> {
        let marks = self.marks.iter().filter(|mark| mark.sequence.origin == *origin && mark.tells(handler));
        marks.map(|mark| mark.sequence.global_position).max()
    }

    /// Whether a message of this sequence lies above the mark of its origin: then the handler cannot have carried it out.
    /// At or below the mark it may have been, or it is late: the mark alone cannot tell.
    pub fn is_new(&self, handler: &str, sequence: &Sequence) -> bool {
        self.mark(handler, &sequence.origin).is_none_or(|mark| sequence.global_position > mark)
    }

    /// Raises the mark of the handler and the sequence's origin to it, unless it is higher already. Returns the mark's number.
    pub(crate) fn record(&mut self, handler: Option<&str>, sequence: &Sequence) -> usize {
        let is_it = |mark: &Mark| mark.sequence.origin == sequence.origin && mark.handler.as_deref() == handler;
        if let Some(number) = self.marks.iter().position(is_it) {
            let mark = &mut self.marks[number].sequence.global_position;
            *mark = (*mark).max(sequence.global_position);
            return number;
        }
        self.marks.push(Mark { handler: handler.map(str::to_owned), sequence: sequence.clone() });
        self.marks.len() - 1
    }

    /// The numbers of the marks that tell this handler of this origin.
    pub(crate) fn numbers_of<'a>(&'a self, handler: &'a str, origin: &'a Origin) -> impl Iterator<Item = usize> + 'a {
        let marks = self.marks.iter().enumerate();
        marks.filter(move |(_, mark)| mark.sequence.origin == *origin && mark.tells(handler)).map(|(number, _)| number)
    }

    /// Whether some events do not say which handler wrote them: their ids are not derived as ours are, so a look-up by id does not find them.
    pub fn has_foreign(&self) -> bool {
        self.marks.iter().any(|mark| mark.handler.is_none())
    }

    /// The marks, in the order in which their origins were first seen.
    pub fn marks(&self) -> &[Mark] {
        &self.marks
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
    Sequence::new(here, message.category(), message.global_position)
}

/// Every sequence that an event may name the message by: where it was born, where its copies stood, and where it stands.
pub(crate) fn places_of(message: &Message, here: StoreId) -> Vec<Sequence> {
    let Metadata { origin, via, .. } = message.decode_metadata();
    origin.into_iter().chain(via).chain([place_of(message, here)]).collect()
}

/// The stamp of an event, and whether metadata of it could not be read. The stamp is ours, or the one that Eventide's causation fields imply,
/// in the store where the event was born; `None` when it names no cause, or one that does not stand before it.
pub(crate) fn stamp_of(event: &Message, here: StoreId) -> (Option<Stamp>, bool) {
    let Told { own, causation, is_unread } = told(event);
    let birth = own.origin.as_ref().map(|birth| (birth.origin.store_id, birth.global_position));
    let (home, born_at) = birth.unwrap_or((here, event.global_position));
    let (cause, position) = causation.unzip();
    // A sequence that the causation implies is another toolkit's stamp.
    let (stamped, handler) = match (own.sequence, position) {
        (Some(stamped), _) => (stamped, own.handler),
        (None, Some(position)) => (Stamped::Here(position), None),
        (None, None) => return (None, is_unread),
    };
    let category = cause.map(|stream| StreamName::from_database(&stream).category());
    let Some(sequence) = stamped.resolve(home, category) else { return (None, true) };
    let stamp = Stamp { sequence, handler };
    // A mark above everything that was given out would make every later command a late one.
    if stamp.sequence.origin.store_id == home && stamp.sequence.global_position >= born_at {
        return (None, true);
    }
    (Some(stamp), is_unread)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sequence(store: u128, category: &str, position: i64) -> Sequence {
        let store = StoreId::from_uuid(uuid::Uuid::from_u128(store));
        Sequence::new(store, Category::new(category).unwrap(), GlobalPosition::new(position))
    }

    #[test]
    fn each_origin_has_a_mark_of_its_own() {
        let mut sequences = Sequences::default();
        sequences.record(Some("h"), &sequence(1, "a", 100));
        assert!(!sequences.is_new("h", &sequence(1, "a", 100)));
        assert!(!sequences.is_new("h", &sequence(1, "a", 7)));
        assert!(sequences.is_new("h", &sequence(1, "a", 101)));
        assert!(sequences.is_new("h", &sequence(1, "b", 7)), "another category");
        assert!(sequences.is_new("h", &sequence(2, "a", 7)), "another store");
        assert!(sequences.is_new("other", &sequence(1, "a", 7)), "another handler");
        sequences.record(None, &sequence(1, "b", 9));
        assert!(!sequences.is_new("h", &sequence(1, "b", 8)), "another toolkit's events tell every handler");
    }

    proptest! {
        #[test]
        fn the_order_and_the_number_of_recordings_do_not_matter(
            seen in prop::collection::vec((1_u128..3, "[ab]", 1_i64..50), 0..20),
            again in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let seen: Vec<Sequence> = seen.iter().map(|(store, category, at)| sequence(*store, category, *at)).collect();
            let mut in_order = Sequences::default();
            for sequence in &seen {
                in_order.record(Some("h"), sequence);
            }
            let mut otherwise = Sequences::default();
            for index in again.iter().filter(|_| !seen.is_empty()) {
                otherwise.record(Some("h"), index.get(&seen));
            }
            for sequence in seen.iter().rev() {
                otherwise.record(Some("h"), sequence);
            }
            for sequence in &seen {
                prop_assert_eq!(in_order.mark("h", &sequence.origin), otherwise.mark("h", &sequence.origin));
                prop_assert!(!in_order.is_new("h", sequence));
            }
        }
    }
}
