//! The outcomes in a slot, counted since the consumer ran first, and saved with its position.
//!
//! They are for people: a message that is delivered again after a crash is counted again. The names of the kinds are texts, so that
//! a kind that a later version adds does no harm to an earlier one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::OutcomeKind;

/// The number of outcomes of each kind, by the kind's name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Counted(BTreeMap<String, u64>);

impl Counted {
    pub(super) fn of(counts: &BTreeMap<String, u64>) -> Self {
        Self(counts.clone())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn count(&mut self, kind: OutcomeKind) {
        let name = kind.name();
        match self.0.get_mut(name) {
            Some(count) => *count = count.saturating_add(1),
            None => drop(self.0.insert(name.to_owned(), 1)),
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (kind, count) in &other.0 {
            let sum = self.0.entry(kind.clone()).or_default();
            *sum = sum.saturating_add(*count);
        }
    }

    pub(super) fn into_inner(self) -> BTreeMap<String, u64> {
        self.0
    }
}
