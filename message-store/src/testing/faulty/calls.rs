//! The calls of a store: how much they have read, and the step at which the process ends.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use tokio::sync::Notify;

/// Counts what calls read, and ends the process at a chosen step, as its caller sees it: no further call is answered.
#[derive(Debug)]
pub(super) struct Calls {
    messages_read: AtomicU64,
    steps_left: AtomicI64,
    died: Notify,
}

impl Calls {
    pub(super) fn new() -> Self {
        Self { messages_read: AtomicU64::new(0), steps_left: AtomicI64::new(i64::MAX), died: Notify::new() }
    }

    pub(super) fn die_after(&self, steps: u32) {
        self.steps_left.store(steps.into(), Ordering::SeqCst);
    }

    pub(super) async fn has_died(&self) {
        self.died.notified().await;
    }

    pub(super) fn messages_read(&self) -> u64 {
        self.messages_read.load(Ordering::SeqCst)
    }

    pub(super) fn read(&self, messages: usize) {
        self.messages_read.fetch_add(messages as u64, Ordering::SeqCst);
    }

    /// A step of the process. It does not return if the process has ended.
    pub(super) async fn step(&self) {
        if self.steps_left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            self.died.notify_one();
            std::future::pending::<()>().await;
        }
    }
}
