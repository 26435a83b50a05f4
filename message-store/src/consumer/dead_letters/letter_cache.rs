//! The letter cache: the letters and held entities that a consumer checks before each delivery.

use std::collections::HashMap;

use super::unresolved_letters::UnresolvedLetters;
use crate::GlobalPosition;

pub(super) struct LetterCache {
    pub(super) unresolved: UnresolvedLetters,
    /// The held entities. Their messages after this position wait.
    pub(super) held: HashMap<String, GlobalPosition>,
}

impl LetterCache {
    /// These letters. No entity is held yet: the first refresh returns those that are.
    pub(super) fn of(unresolved: UnresolvedLetters) -> Self {
        Self { unresolved, held: HashMap::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.unresolved.is_empty() && self.held.is_empty()
    }

    /// Holds an entity: its messages after this position wait.
    pub(super) fn hold(&mut self, entity: &str, from: GlobalPosition) {
        let first = self.held.entry(entity.to_owned()).or_insert(from);
        *first = (*first).min(from);
    }

    pub(super) fn release(&mut self, entity: &str) {
        self.held.remove(entity);
    }
}
