//! How the waits of a consumer for messages have ended.

use std::sync::atomic::{AtomicU64, Ordering};

/// The waits after which a consumer found messages.
#[derive(Debug, Default)]
pub(super) struct Waits {
    by_wake_up: AtomicU64,
    by_poll: AtomicU64,
}

impl Waits {
    pub(super) fn count(&self, was_woken: bool) {
        let count = if was_woken { &self.by_wake_up } else { &self.by_poll };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Those that a wake-up has ended, and the others.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.by_wake_up.load(Ordering::Relaxed), self.by_poll.load(Ordering::Relaxed))
    }
}
