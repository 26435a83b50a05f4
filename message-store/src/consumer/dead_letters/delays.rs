//! Messages that are delivered again at a time of their own.
//!
//! Problem: a handler asks for another delivery after a delay, and the process may end before. Fix: the letter of the
//! message records the time. When the time has come, the consumer requests a retry of the letter, as an operator does.
//! Why it happens once: the request is appended at the version of the letter that was read, so of two processes one
//! appends it. Why it is not early: the database's clock decides.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::SetAside;
use super::letter_cache::LetterCache;
use crate::consumer::pace::after;
use crate::{Result, StreamName};

/// The database's clock is asked again after this time at the latest.
const LONGEST_SLEEP: Duration = Duration::from_mins(1);

/// The time at which the next of these messages may be due, by the clock of this process.
#[derive(Debug, Default)]
pub(super) struct NextDelivery(watch::Sender<Option<Next>>);

/// The next delivery, by the database's clock and by the clock of this process.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Next {
    due: Timestamp,
    at: Instant,
}

impl SetAside {
    /// Waits until a delivery may be due.
    pub(in crate::consumer) async fn until_due(&self) {
        let mut changes = self.next_delivery.0.subscribe();
        loop {
            let next = *changes.borrow_and_update();
            let at = next.map_or_else(Instant::now, |next| next.at);
            tokio::select! {
                () = sleep_until(at), if next.is_some() => return,
                _ = changes.changed() => {}
            }
        }
    }

    /// Requests a retry of each letter that is due.
    pub(in crate::consumer) async fn request_due(&self) -> Result<()> {
        let mut cache = self.cache.lock().await;
        let now = self.letters.store.now().await?;
        let is_due = |(letter, due): (&StreamName, &Timestamp)| (*due <= now).then(|| letter.clone());
        let due: Vec<StreamName> = cache.unresolved.delayed().filter_map(is_due).collect();
        for letter in due {
            if self.request_retry_of_delayed(&letter).await? {
                cache.unresolved.delay(&letter, None);
            }
        }
        self.next_delivery.0.send_replace(None);
        self.publish_next_delivery(&cache).await
    }

    /// Publishes the time of the next delivery, if it has changed.
    pub(super) async fn publish_next_delivery(&self, cache: &LetterCache) -> Result<()> {
        let next = cache.unresolved.delayed().map(|(_, due)| *due).min();
        let published = *self.next_delivery.0.borrow();
        if next == published.map(|published| published.due) {
            return Ok(());
        }
        let next = match next {
            None => None,
            Some(due) => {
                let left = due.duration_since(self.letters.store.now().await?);
                // A time that has passed is due now. The two clocks may drift apart, or one may be set.
                let left = Duration::try_from(left).unwrap_or_default().min(LONGEST_SLEEP);
                Some(Next { due, at: after(left) })
            }
        };
        self.next_delivery.0.send_replace(next);
        Ok(())
    }
}
