//! Wake-ups: how a reader that has caught up learns of new messages.
//!
//! Problem: polling costs either latency or load. Fix: writers ring a bell after their commit, and a reader waits for the
//! bell or for its poll interval, whichever comes first. Why it is right: the bell only hurries the reader; what it
//! finds is decided by its read. A lost ring costs one poll interval, and a ring between read and wait is kept,
//! because the reader listens before it reads.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::{Category, StreamName};

/// Rings when there may be new messages.
#[derive(Debug)]
#[must_use]
pub struct WakeUp(watch::Receiver<()>);

impl WakeUp {
    /// Of a store that is closed: it never rings.
    #[cfg(feature = "testing")]
    pub(crate) fn never() -> Self {
        Bells::default().listen(None)
    }

    /// Whether it has rung since this was made, last waited on, or heard.
    pub(crate) fn has_rung(&self) -> bool {
        self.0.has_changed().unwrap_or_default()
    }

    /// What rang until now is known.
    pub(crate) fn hear(&mut self) {
        self.0.mark_unchanged();
    }

    /// Waits for a ring since this was made or last waited on, but not longer than `at_most`.
    pub async fn wait(&mut self, at_most: Duration) {
        let ring = self.ring();
        let _ = tokio::time::timeout(at_most, ring).await;
    }

    /// As [`WakeUp::wait`], until a deadline. A caller that is interrupted while it waits goes on waiting with the same deadline: the
    /// interruptions never postpone it.
    pub async fn wait_until(&mut self, deadline: Instant) {
        let ring = self.ring();
        let _ = tokio::time::timeout_at(deadline, ring).await;
    }

    async fn ring(&mut self) {
        // Without a bell (the store is closed) there is still the poll interval.
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The bells of one open store.
#[derive(Debug, Default)]
pub(crate) struct Bells {
    by_category: Mutex<HashMap<Category, watch::Sender<()>>>,
    any: watch::Sender<()>,
}

impl Bells {
    pub(crate) fn listen(&self, category: Option<&Category>) -> WakeUp {
        let Some(category) = category else { return WakeUp(self.any.subscribe()) };
        let mut bells = self.by_category.lock().unwrap_or_else(PoisonError::into_inner);
        WakeUp(bells.entry(category.clone()).or_default().subscribe())
    }

    /// Rings for one category.
    pub(crate) fn ring(&self, category: &str) {
        self.any.send_replace(());
        let bells = self.by_category.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bell) = bells.get(category) {
            bell.send_replace(());
        }
    }

    /// Rings for the categories of these streams.
    pub(crate) fn ring_for<'a>(&self, streams: impl IntoIterator<Item = &'a StreamName>) {
        for stream in streams {
            self.ring(stream.category_str());
        }
    }

    /// Rings every bell: rings may have been lost.
    pub(crate) fn ring_all(&self) {
        self.any.send_replace(());
        for bell in self.by_category.lock().unwrap_or_else(PoisonError::into_inner).values() {
            bell.send_replace(());
        }
    }
}
