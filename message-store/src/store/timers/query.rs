//! The timers that are listed.

use std::time::Duration;

use jiff::Timestamp;

use super::{Timer, TimerKey};
use crate::Category;

/// The default of [`TimerQuery::limit`].
const LIMIT: usize = 100;

/// Selects timers that wait.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
#[non_exhaustive]
pub struct TimerQuery {
    /// Only those that are due within this time from now. Zero selects those that are due.
    pub due_within: Option<Duration>,
    /// Only those whose keys have streams of this category.
    pub category: Option<Category>,
    /// Only those behind this place of the list.
    pub after: Option<(Timestamp, TimerKey)>,
    /// The greatest number of timers.
    pub limit: usize,
}

impl Default for TimerQuery {
    fn default() -> Self {
        Self { due_within: None, category: None, after: None, limit: LIMIT }
    }
}

impl TimerQuery {
    /// The first 100 timers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Selects only those that are due within this time from now.
    pub fn due_within(mut self, time: Duration) -> Self {
        self.due_within = Some(time);
        self
    }

    /// Selects only those whose keys have streams of this category.
    pub fn of_category(mut self, category: Category) -> Self {
        self.category = Some(category);
        self
    }

    /// Selects only those that are listed after this one.
    pub fn after(mut self, last: &Timer) -> Self {
        self.after = Some((last.due, last.key.clone()));
        self
    }

    /// Sets the greatest number of timers.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }
}
