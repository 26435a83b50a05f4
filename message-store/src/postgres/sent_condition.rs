//! Conditions of appends, as the server reads them. `functions/conditions.sql` explains why they are exact.

use crate::store::Condition;
use crate::{Category, Error, Result};

/// The condition of one append.
#[derive(Debug)]
pub(super) struct SentCondition {
    /// The parts, as JSON.
    pub(super) parts: String,
    /// The categories that are locked for it.
    pub(super) categories: Vec<Category>,
}

impl SentCondition {
    pub(super) fn new(condition: &Condition) -> Result<Self> {
        let parts: Vec<_> = condition.parts().collect();
        let parts = serde_json::to_string(&parts).map_err(|error| Error::invalid("condition", error.to_string()))?;
        Ok(Self { parts, categories: condition.query.categories().into_iter().cloned().collect() })
    }
}
