//! The calls that fire timers, one for each category.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::timeout;

use crate::store::{Timer, Timers};
use crate::{Category, Result};

/// A pass waits so long for the answer to a call.
const PATIENCE: Duration = Duration::from_millis(500);

/// The most calls that wait beside the passes. Each has a connection.
const MOST: usize = 2;

/// The calls of a task.
pub(super) struct Firing<'a> {
    timers: &'a dyn Timers,
    waiting: FuturesUnordered<Waiting<'a>>,
    categories: Vec<Category>,
    turn: usize,
}

/// A call without an answer yet, and the category of its messages.
type Waiting<'a> = BoxFuture<'a, (Category, Result<usize>)>;

impl<'a> Firing<'a> {
    pub(super) fn of(timers: &'a dyn Timers) -> Self {
        Self { timers, waiting: FuturesUnordered::new(), categories: Vec::new(), turn: 0 }
    }

    /// The timers of each category for whose messages no call waits. Another category is the first each time: those at the
    /// end may find no place beside the passes.
    pub(super) fn by_category(&mut self, due: Vec<Timer>) -> Vec<Vec<Timer>> {
        let mut parts = BTreeMap::<Category, Vec<Timer>>::new();
        for timer in due {
            parts.entry(timer.to.category()).or_default().push(timer);
        }
        parts.retain(|category, _| !self.categories.contains(category));
        let mut parts: Vec<_> = parts.into_values().collect();
        self.turn = self.turn.wrapping_add(1);
        let first = self.turn % parts.len().max(1);
        parts.rotate_left(first);
        parts
    }

    /// Fires timers of one category. Returns their number, which is zero if the call has no answer soon.
    pub(super) async fn fire(&mut self, due: Vec<Timer>) -> Result<usize> {
        let Some(category) = due.first().map(|timer| timer.to.category()) else { return Ok(0) };
        let timers = self.timers;
        let of = category.clone();
        let mut call: Waiting<'a> = Box::pin(async move { (of, timers.fire(&due).await) });
        if let Ok((_, answer)) = timeout(PATIENCE, &mut call).await {
            return answer;
        }
        if self.waiting.len() < MOST {
            self.categories.push(category);
            self.waiting.push(call);
        }
        Ok(0)
    }

    /// Waits for the answer to a call that had none soon. Waits for ever if there is no such call.
    pub(super) async fn answer(&mut self) -> Result<usize> {
        let Some((category, answer)) = self.waiting.next().await else { return std::future::pending().await };
        self.categories.retain(|other| *other != category);
        answer
    }
}
