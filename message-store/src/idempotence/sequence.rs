//! Sequences: a message's birth certificate, and what an entity has seen of them.
//!
//! Source of the idea: Eventide's sequential idempotence, where an event carries the global position of the command that
//! caused it. A bare number loses commands as soon as two categories, or two stores, feed one entity; so the origin
//! stands beside it, and there is one mark per origin.

use serde::{Deserialize, Serialize};

use crate::{Category, GlobalPosition, Message, Result, StoreId, StreamName};

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

/// The highest sequence an entity has seen, per origin: its high-water marks.
///
/// Merging is by maximum, so it does not matter in which order, or how often, events are applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sequences {
    // One or two origins are the rule: a list beats a map.
    marks: Vec<Sequence>,
    /// Some events were written by other toolkits: their ids are not derived, so a look-up by id does not find them.
    foreign: bool,
}

impl Sequences {
    /// The highest global position seen from this origin.
    pub fn mark(&self, origin: &Origin) -> Option<GlobalPosition> {
        self.marks.iter().find(|mark| mark.origin == *origin).map(|mark| mark.global_position)
    }

    /// Whether a message of this sequence lies above the mark of its origin: then it cannot have been handled.
    /// At or below the mark it may have been, or it is late: the mark alone cannot tell.
    pub fn is_new(&self, sequence: &Sequence) -> bool {
        self.mark(&sequence.origin).is_none_or(|mark| sequence.global_position > mark)
    }

    /// Raises the mark of the sequence's origin to it, unless it is higher already.
    pub fn record(&mut self, sequence: &Sequence) {
        match self.marks.iter_mut().find(|mark| mark.origin == sequence.origin) {
            Some(mark) => mark.global_position = mark.global_position.max(sequence.global_position),
            None => self.marks.push(sequence.clone()),
        }
    }

    /// Which of the marks belongs to this origin.
    pub(crate) fn number_of(&self, origin: &Origin) -> Option<usize> {
        self.marks.iter().position(|mark| mark.origin == *origin)
    }

    /// Whether some events carry another toolkit's stamp instead of ours.
    pub fn has_foreign(&self) -> bool {
        self.foreign
    }

    pub(crate) fn record_stamp(&mut self, stamp: &Stamp) {
        self.record(&stamp.sequence);
        self.foreign |= stamp.foreign;
    }

    /// The marks, in the order in which their origins were first seen.
    pub fn marks(&self) -> &[Sequence] {
        &self.marks
    }
}

/// The command that an event says it was decided for.
pub(crate) struct Stamp {
    pub(crate) sequence: Sequence,
    /// Told from Eventide's causation fields, not from our stamp.
    pub(crate) foreign: bool,
}

/// What of the metadata concerns sequences: decoded for every event of an entity, so no more than that.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Provenance {
    sequence: Option<Sequence>,
    origin: Option<Sequence>,
    causation_message_stream_name: Option<String>,
    causation_message_global_position: Option<GlobalPosition>,
}

fn provenance(message: &Message) -> Result<Provenance> {
    // Other tools may put anything there; only an object can say where the message comes from.
    if !message.metadata.text().starts_with('{') {
        return Ok(Provenance::default());
    }
    message.metadata.decode().map_err(|error| message.undecodable(&format!("metadata: {error}")))
}

pub(crate) fn sequence_of(message: &Message, here: StoreId) -> Result<Sequence> {
    Ok(provenance(message)?.origin.unwrap_or_else(|| place_of(message, here)))
}

/// The sequence a message has by where it stands, whether it was born there or not.
pub(crate) fn place_of(message: &Message, here: StoreId) -> Sequence {
    Sequence::new(here, message.category(), message.global_position)
}

/// The stamp of an event: ours, or the one that Eventide's causation fields imply, in the store where the event was born; `None` when it
/// names no cause.
pub(crate) fn stamp_of(event: &Message, here: StoreId) -> Result<Option<Stamp>> {
    let provenance = provenance(event)?;
    if let Some(sequence) = provenance.sequence {
        return Ok(Some(Stamp { sequence, foreign: false }));
    }
    let home = provenance.origin.map_or(here, |birth| birth.origin.store_id);
    let causation = provenance.causation_message_stream_name.zip(provenance.causation_message_global_position);
    Ok(causation.map(|(stream, position)| {
        let category = StreamName::from_database(&stream).category();
        Stamp { sequence: Sequence::new(home, category, position), foreign: true }
    }))
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
        sequences.record(&sequence(1, "a", 100));
        assert!(!sequences.is_new(&sequence(1, "a", 100)));
        assert!(!sequences.is_new(&sequence(1, "a", 7)));
        assert!(sequences.is_new(&sequence(1, "a", 101)));
        assert!(sequences.is_new(&sequence(1, "b", 7)), "another category");
        assert!(sequences.is_new(&sequence(2, "a", 7)), "another store");
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
                in_order.record(sequence);
            }
            let mut otherwise = Sequences::default();
            for index in again.iter().filter(|_| !seen.is_empty()) {
                otherwise.record(index.get(&seen));
            }
            for sequence in seen.iter().rev() {
                otherwise.record(sequence);
            }
            for sequence in &seen {
                prop_assert_eq!(in_order.mark(&sequence.origin), otherwise.mark(&sequence.origin));
                prop_assert!(!in_order.is_new(sequence));
            }
        }
    }
}
