//! What a consumer knows of its letters.

use std::collections::HashMap;

use super::standing::Standings;
use crate::{GlobalPosition, GroupMember};

pub(super) struct Known {
    pub(super) standings: Standings,
    /// Entities whose messages wait, from this position on.
    pub(super) held: HashMap<String, GlobalPosition>,
    pub(super) handled_through: GlobalPosition,
}

impl Known {
    pub(super) fn nothing(member: Option<GroupMember>) -> Self {
        Self { standings: Standings::new(member), held: HashMap::new(), handled_through: GlobalPosition::ZERO }
    }

    pub(super) fn is_clear(&self) -> bool {
        self.standings.is_empty() && self.held.is_empty()
    }

    /// From this message on, messages of its entity wait.
    pub(super) fn hold(&mut self, entity: &str, from: GlobalPosition) {
        let first = self.held.entry(entity.to_owned()).or_insert(from);
        *first = (*first).min(from);
    }

    pub(super) fn is_held(&self, entity: &str) -> bool {
        self.held.contains_key(entity)
    }

    pub(super) fn release(&mut self, entity: &str) {
        self.held.remove(entity);
    }
}
