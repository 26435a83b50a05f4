//! The marks of an entity: the highest sequence for each origin and handler.

use serde::{Deserialize, Serialize};

use crate::{GlobalPosition, Origin, Sequence};

/// The high-water marks of an entity: the highest sequence that it has seen, for each origin and handler.
///
/// A mark is a maximum, so the order and the number of times in which events are applied do not matter. Each handler
/// has its own marks, because the events of one handler do not show what another has carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sequences {
    // Most entities have one or two origins, and then a list is faster than a map.
    marks: Vec<Mark>,
}

/// The highest sequence of one origin for which an entity has events of one handler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mark {
    /// The handler that wrote the events. `None` for events of other toolkits, and of versions of this library that did
    /// not record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handler: Option<String>,
    /// The origin, and the highest global position there.
    #[serde(flatten)]
    pub sequence: Sequence,
}

impl Mark {
    /// Whether the events of this mark may be those of the handler named `handler`. An event without a handler counts
    /// for all handlers.
    fn counts_for(&self, handler: &str) -> bool {
        self.handler.as_deref().is_none_or(|writer| writer == handler)
    }
}

impl Sequences {
    /// The highest global position of this origin for which the handler may have written events. Events without a
    /// handler count for all handlers.
    pub fn mark(&self, handler: &str, origin: &Origin) -> Option<GlobalPosition> {
        let marks = self.marks.iter().filter(|mark| mark.sequence.origin == *origin && mark.counts_for(handler));
        marks.map(|mark| mark.sequence.global_position).max()
    }

    /// Whether the sequence is above the mark of its origin. If so, the handler cannot have carried the message out. If
    /// not, the message is a repeat or late: the mark alone does not show which.
    pub fn is_new(&self, handler: &str, sequence: &Sequence) -> bool {
        let Sequence { origin, global_position } = sequence;
        let reaches =
            |mark: &Mark| mark.sequence.global_position >= *global_position && mark.sequence.origin == *origin;
        !self.marks.iter().any(|mark| reaches(mark) && mark.counts_for(handler))
    }

    /// Raises the mark of the handler and the sequence's origin to the sequence, unless it is higher already. Returns
    /// the number of the mark, which is its index in [`marks`](Self::marks).
    pub(crate) fn record(&mut self, handler: Option<&str>, sequence: &Sequence) -> usize {
        let is_same = |mark: &Mark| mark.sequence.origin == sequence.origin && mark.handler.as_deref() == handler;
        if let Some(number) = self.marks.iter().position(is_same) {
            let mark = &mut self.marks[number].sequence.global_position;
            *mark = (*mark).max(sequence.global_position);
            return number;
        }
        self.marks.push(Mark { handler: handler.map(str::to_owned), sequence: sequence.clone() });
        self.marks.len() - 1
    }

    /// The numbers of the marks of this origin that count for this handler.
    pub(crate) fn numbers_of<'a>(&'a self, handler: &'a str, origin: &'a Origin) -> impl Iterator<Item = usize> + 'a {
        let marks = self.marks.iter().enumerate();
        marks
            .filter(move |(_, mark)| mark.sequence.origin == *origin && mark.counts_for(handler))
            .map(|(number, _)| number)
    }

    /// Whether some events do not name the handler that wrote them. Their ids are not derived as in this library, so a
    /// look-up by id does not find them.
    pub fn has_foreign(&self) -> bool {
        self.marks.iter().any(|mark| mark.handler.is_none())
    }

    /// The marks, in the order in which their origins were first seen.
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Category, StoreId};
    use proptest::prelude::*;

    fn sequence(store: u128, category: &str, position: i64) -> Sequence {
        let store = StoreId::from_uuid(uuid::Uuid::from_u128(store));
        Sequence::new(store, Category::new(category).unwrap(), GlobalPosition::new(position))
    }

    #[test]
    fn each_origin_has_its_own_mark() {
        let mut sequences = Sequences::default();
        sequences.record(Some("h"), &sequence(1, "a", 100));
        assert!(!sequences.is_new("h", &sequence(1, "a", 100)));
        assert!(!sequences.is_new("h", &sequence(1, "a", 7)));
        assert!(sequences.is_new("h", &sequence(1, "a", 101)));
        assert!(sequences.is_new("h", &sequence(1, "b", 7)), "another category");
        assert!(sequences.is_new("h", &sequence(2, "a", 7)), "another store");
        assert!(sequences.is_new("other", &sequence(1, "a", 7)), "another handler");
        sequences.record(None, &sequence(1, "b", 9));
        assert!(!sequences.is_new("h", &sequence(1, "b", 8)), "another toolkit's events count for every handler");
    }

    proptest! {
        #[test]
        fn the_order_and_the_number_of_records_do_not_matter(
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
