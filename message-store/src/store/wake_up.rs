//! Wake-ups: they tell a reader that has caught up about new messages.
//!
//! Problem: polling costs either latency or load. Fix: writers wake readers after each commit. A reader waits for its
//! wake-up or for its poll interval, whichever ends first. Why it is right: a wake-up only saves time, because the
//! reader still reads the store. A lost wake-up costs one poll interval. A wake-up between the read and the wait is not
//! lost, because the reader listens before it reads.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::{Category, StreamName};

/// A reader's end of the wake-ups.
#[derive(Clone, Debug)]
#[must_use]
pub struct WakeUp(watch::Receiver<()>);

impl WakeUp {
    /// A wake-up that never comes. Its reader polls.
    pub fn never() -> Self {
        WakeUps::default().listen(None)
    }

    /// Whether a wake-up came since this was created, last waited on, or acknowledged.
    pub(crate) fn has_woken(&self) -> bool {
        self.0.has_changed().unwrap_or_default()
    }

    /// Forgets all wake-ups that came until now.
    pub(crate) fn acknowledge(&mut self) {
        self.0.mark_unchanged();
    }

    /// Waits for a wake-up, at most for `at_most`. A wake-up that came since this was created or last waited on ends
    /// the wait at once.
    pub async fn wait(&mut self, at_most: Duration) {
        let woken = self.woken();
        let _ = tokio::time::timeout(at_most, woken).await;
    }

    /// As [`WakeUp::wait`], until a deadline. A caller whose wait is interrupted can wait again with the same deadline,
    /// so that interruptions never postpone it.
    pub async fn wait_until(&mut self, deadline: Instant) {
        let woken = self.woken();
        let _ = tokio::time::timeout_at(deadline, woken).await;
    }

    async fn woken(&mut self) {
        // Without a sender the store is closed, and the reader waits for its poll interval.
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The wake-ups of one open store. A backend sends them after each commit.
///
/// ```
/// use message_store::Category;
/// use message_store::store::WakeUps;
///
/// let (wake_ups, account) = (WakeUps::default(), Category::new("account")?);
/// let mut wake_up = wake_ups.listen(Some(&account));
/// // … an append is committed:
/// wake_ups.wake("account");
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// wake_up.wait(std::time::Duration::from_secs(3600)).await; // returns at once
/// # });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct WakeUps {
    by_category: Mutex<HashMap<Category, watch::Sender<()>>>,
    any: watch::Sender<()>,
}

impl WakeUps {
    /// A wake-up for readers of a category, or of all messages if `None`.
    pub fn listen(&self, category: Option<&Category>) -> WakeUp {
        let Some(category) = category else { return WakeUp(self.any.subscribe()) };
        let mut wake_ups = self.by_category.lock().unwrap_or_else(PoisonError::into_inner);
        WakeUp(wake_ups.entry(category.clone()).or_default().subscribe())
    }

    /// Wakes the readers of one category.
    pub fn wake(&self, category: &str) {
        self.any.send_replace(());
        let wake_ups = self.by_category.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = wake_ups.get(category) {
            sender.send_replace(());
        }
    }

    /// Wakes the readers of these streams' categories.
    pub fn wake_for<'a>(&self, streams: impl IntoIterator<Item = &'a StreamName>) {
        let mut streams = streams.into_iter().peekable();
        if streams.peek().is_none() {
            return;
        }
        self.any.send_replace(());
        let wake_ups = self.by_category.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in streams {
            if let Some(sender) = wake_ups.get(stream.category_str()) {
                sender.send_replace(());
            }
        }
    }

    /// Wakes all readers. A backend calls it when wake-ups may have been lost.
    pub fn wake_all(&self) {
        self.any.send_replace(());
        for sender in self.by_category.lock().unwrap_or_else(PoisonError::into_inner).values() {
            sender.send_replace(());
        }
    }
}
