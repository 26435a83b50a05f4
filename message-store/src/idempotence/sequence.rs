//! Sequences: a message's birth certificate, and what an entity has seen of them.
//!
//! Source of the idea: Eventide's sequential idempotence, where an event carries the global position of the command that
//! caused it. A bare number loses commands as soon as two categories, or two stores, feed one entity; so the origin
//! stands beside it, and there is one mark per origin.

use serde::{Deserialize, Serialize};

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
        match self.marks.iter().position(is_it) {
            Some(number) => {
                let mark = &mut self.marks[number].sequence.global_position;
                *mark = (*mark).max(sequence.global_position);
                number
            }
            None => {
                self.marks.push(Mark { handler: handler.map(str::to_owned), sequence: sequence.clone() });
                self.marks.len() - 1
            }
        }
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
struct Provenance {
    message_store: Own,
    causation_message_stream_name: Option<String>,
    causation_message_global_position: Option<GlobalPosition>,
    /// Where earlier versions wrote what is ours.
    sequence: Option<Sequence>,
    origin: Option<Sequence>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Own {
    sequence: Option<Sequence>,
    origin: Option<Sequence>,
    handler: Option<String>,
}

/// What the metadata of a message tells, and whether some of it has a shape that we do not know.
fn provenance(message: &Message) -> (Provenance, bool) {
    if message.metadata.is_empty() {
        return (Provenance::default(), false);
    }
    if let Ok(provenance) = serde_json::from_str(message.metadata.text()) {
        return (provenance, false);
    }
    let metadata = message.decode_metadata();
    let is_unread = !metadata.unread().is_empty();
    let Metadata { sequence, origin, handler, .. } = metadata;
    let provenance = Provenance {
        message_store: Own { sequence, origin, handler },
        causation_message_stream_name: metadata.causation_message_stream_name,
        causation_message_global_position: metadata.causation_message_global_position,
        ..Provenance::default()
    };
    (provenance, is_unread)
}

pub(crate) fn sequence_of(message: &Message, here: StoreId) -> Sequence {
    let (provenance, _) = provenance(message);
    provenance.message_store.origin.or(provenance.origin).unwrap_or_else(|| place_of(message, here))
}

/// The sequence a message has by where it stands, whether it was born there or not.
pub(crate) fn place_of(message: &Message, here: StoreId) -> Sequence {
    Sequence::new(here, message.category(), message.global_position)
}

/// The stamp of an event, and whether metadata of it could not be read. The stamp is ours, or the one that Eventide's causation fields imply,
/// in the store where the event was born; `None` when it names no cause.
pub(crate) fn stamp_of(event: &Message, here: StoreId) -> (Option<Stamp>, bool) {
    let (provenance, is_unread) = provenance(event);
    let Provenance { message_store: own, sequence, origin, .. } = provenance;
    if let Some(sequence) = own.sequence.or(sequence) {
        return (Some(Stamp { sequence, handler: own.handler }), is_unread);
    }
    let home = own.origin.or(origin).map_or(here, |birth| birth.origin.store_id);
    let causation = provenance.causation_message_stream_name.zip(provenance.causation_message_global_position);
    let stamp = causation.map(|(stream, position)| {
        let category = StreamName::from_database(&stream).category();
        Stamp { sequence: Sequence::new(home, category, position), handler: None }
    });
    (stamp, is_unread)
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
