//! Silent connections.
//!
//! Problem: a connection can go silent without an end. Its host is gone, or a proxy keeps it open and passes nothing
//! on. TCP notices the first after a time, and the second never, so the caller would wait for ever. Fix: while a caller
//! waits, the task of the connection counts the time since the caller last sent a statement or received a row. At a
//! limit, it ends the connection. Why no slow statement is taken for silence: the server ends each statement at
//! four fifths of the limit, and says so. Why nothing is lost or written twice: to the caller, the connection was lost,
//! and an append whose answer was lost is settled by its ids. Other connections that are as old are not used again,
//! so only callers that wait already have to wait for the limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::sleep;

/// The number of times that a connection is examined before its limit.
const LOOKS: u32 = 10;

/// The number of times that connections went silent, of all pools of an open store.
#[derive(Clone, Debug, Default)]
pub(super) struct Silences(Arc<AtomicU64>);

/// Watches one connection.
#[derive(Debug)]
pub(super) struct Watch {
    /// The time within which an answer must arrive. `None`: without a limit.
    limit: Option<Duration>,
    silences: Silences,
    /// The number of silences before the connection was opened.
    before: u64,
    is_waiting: AtomicBool,
    /// Changes with each statement and each row.
    activity: AtomicU64,
    was_silent: AtomicBool,
    /// Whether the wait of a commit for the standby was cut.
    has_cut_wait: AtomicBool,
    /// The server's process, if it keeps locks in a transaction while the author's code works. 0 if it is not known.
    process: AtomicI32,
}

impl Watch {
    pub(super) fn new(limit: Option<Duration>, silences: &Silences) -> Arc<Self> {
        let before = silences.0.load(Ordering::SeqCst);
        Arc::new(Self {
            limit,
            silences: silences.clone(),
            before,
            is_waiting: AtomicBool::new(false),
            activity: AtomicU64::new(0),
            was_silent: AtomicBool::new(false),
            has_cut_wait: AtomicBool::new(false),
            process: AtomicI32::new(0),
        })
    }

    /// The caller sends a statement, or has received a row.
    pub(super) fn is_asked(&self) {
        self.activity.fetch_add(1, Ordering::Relaxed);
        self.is_waiting.store(true, Ordering::Relaxed);
    }

    /// The caller waits for no answer.
    pub(super) fn is_answered(&self) {
        self.is_waiting.store(false, Ordering::Relaxed);
    }

    /// The server's process of the connection keeps locks in a transaction.
    pub(super) fn is_in_transaction_of(&self, process: i32) {
        self.process.store(process, Ordering::SeqCst);
    }

    /// The server's process that may keep locks.
    pub(super) fn process(&self) -> Option<i32> {
        Some(self.process.load(Ordering::SeqCst)).filter(|process| *process != 0)
    }

    /// The server says that the wait of a commit for the standby was cut.
    pub(super) fn wait_was_cut(&self) {
        self.has_cut_wait.store(true, Ordering::SeqCst);
    }

    /// Whether the server has said so since the last call.
    pub(super) fn takes_cut_wait(&self) -> bool {
        self.has_cut_wait.swap(false, Ordering::SeqCst)
    }

    /// Whether the connection ended because an answer did not arrive.
    pub(super) fn was_silent(&self) -> bool {
        self.was_silent.load(Ordering::SeqCst)
    }

    /// Whether a connection that is as old has gone silent.
    pub(super) fn is_suspect(&self) -> bool {
        self.before != self.silences.0.load(Ordering::SeqCst)
    }

    /// Returns when an answer has not arrived within the limit.
    pub(super) async fn until_silent(&self) {
        let Some(limit) = self.limit else { return std::future::pending().await };
        let (mut last, mut unchanged) = (0, 0);
        while unchanged < LOOKS {
            sleep(limit / LOOKS).await;
            let activity = self.activity.load(Ordering::Relaxed);
            let is_same = activity == last && self.is_waiting.load(Ordering::Relaxed);
            unchanged = if is_same { unchanged + 1 } else { 0 };
            last = activity;
        }
        self.was_silent.store(true, Ordering::SeqCst);
        // If another connection of its age was silent before, younger ones stay in use.
        let (before, counter) = (self.before, &self.silences.0);
        let _ = counter.compare_exchange(before, before + 1, Ordering::SeqCst, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, timeout};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(25);

    fn watch(silences: &Silences) -> Arc<Watch> {
        Watch::new(Some(LIMIT), silences)
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_silent_when_an_answer_does_not_arrive_within_the_limit() {
        let silences = Silences::default();
        let (watch, old) = (watch(&silences), watch(&silences));
        watch.is_asked();
        let begin = Instant::now();
        watch.until_silent().await;
        assert!(begin.elapsed() >= LIMIT && begin.elapsed() <= LIMIT + LIMIT / LOOKS, "{:?}", begin.elapsed());
        assert!(watch.was_silent() && watch.is_suspect() && old.is_suspect() && !old.was_silent());
        let young = self::watch(&silences);
        old.is_asked();
        old.until_silent().await;
        assert!(!young.is_suspect());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_not_silent_while_answers_arrive_or_none_is_awaited() {
        let watch = watch(&Silences::default());
        let busy = async {
            for _ in 0..100 {
                watch.is_asked();
                sleep(LIMIT / 2).await;
            }
            watch.is_answered();
            sleep(LIMIT * 100).await;
        };
        tokio::select! {
            () = watch.until_silent() => panic!("it is not silent"),
            () = busy => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_silence_is_waited_out() {
        let watch = Watch::new(None, &Silences::default());
        watch.is_asked();
        assert!(timeout(LIMIT * 1_000, watch.until_silent()).await.is_err());
    }
}
