//! What is under way in this process, of all its consumers.
//!
//! Problem: a crash ends everything that is under way in the process, so a message can be blamed for a crash only when
//! no message of any consumer was beside it. But a message that waits until it is alone, or keeps all others waiting
//! while it is, stops a handler that itself waits for another consumer. Fix: a message is alone for as long as no other
//! wants to begin; when one does, it waits for a limited time, then the claim to be alone is given up, on record, and
//! the other begins. Why it is right: while the record says "alone", nothing else has begun. Why nothing stands still:
//! every wait has a limit. Why a message that ends the process late is found all the same: each time that a claim was
//! given up, the next limit is twice as long.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use tokio::time::{Instant, sleep_until, timeout};

/// How long others wait for a message that is alone, the first time.
const FIRST_LIMIT: Duration = Duration::from_secs(1);
/// The limit is doubled so often at most: to about an hour.
const DOUBLED_AT_MOST: u32 = 12;

static THIS_PROCESS: LazyLock<Process> = LazyLock::new(Process::default);

/// What is under way in a process. Clones are the same process.
#[derive(Clone, Debug, Default)]
pub struct Process(Arc<Gate>);

#[derive(Debug, Default)]
struct Gate {
    /// Shared by all messages; a message that may end the process has it alone.
    lock: Arc<RwLock<()>>,
    waiting: AtomicUsize,
}

/// A message is under way for as long as this is there, beside others.
#[derive(Debug)]
pub(super) struct Beside {
    #[expect(dead_code, reason = "it counts for as long as it is there")]
    guard: OwnedRwLockReadGuard<()>,
}

/// A message is under way for as long as this is there, and no other.
#[derive(Debug)]
pub(super) struct Alone {
    #[expect(dead_code, reason = "it excludes others for as long as it is there")]
    guard: OwnedRwLockWriteGuard<()>,
    process: Process,
    limit: Duration,
    until: Instant,
}

/// Whether a message that may end the process is alone.
#[derive(Debug)]
pub(super) enum Turn {
    Alone(Alone),
    Beside(Beside),
}

impl Turn {
    pub(super) fn is_alone(&self) -> bool {
        matches!(self, Self::Alone(_))
    }
}

impl Process {
    /// The one that this code runs in.
    pub(super) fn this() -> Self {
        THIS_PROCESS.clone()
    }

    /// Waits for a message that is alone to end, or to give that up.
    pub(super) async fn beside_others(&self) -> Beside {
        if let Ok(guard) = Arc::clone(&self.0.lock).try_read_owned() {
            return Beside { guard };
        }
        let _waiting = Waiting::count(&self.0);
        Beside { guard: Arc::clone(&self.0.lock).read_owned().await }
    }

    /// Waits until nothing is under way, but no longer than the limit, which is longer the more often a claim to be
    /// alone was `given_up`. When others are under way all the time, the turn is one beside them.
    pub(super) async fn turn(self, given_up: u32) -> Turn {
        let limit = limit(given_up);
        match timeout(limit, Arc::clone(&self.0.lock).write_owned()).await {
            Ok(guard) => Turn::Alone(Alone { guard, process: self, limit, until: Instant::now() + limit }),
            Err(_) => Turn::Beside(self.beside_others().await),
        }
    }
}

impl Alone {
    /// Waits until others have waited for as long as they have to: then the claim is to be given up.
    pub(super) async fn is_in_the_way(&mut self) {
        loop {
            sleep_until(self.until).await;
            if self.process.0.waiting.load(Ordering::SeqCst) > 0 {
                return;
            }
            self.until += self.limit.min(FIRST_LIMIT);
        }
    }
}

fn limit(given_up: u32) -> Duration {
    FIRST_LIMIT * 2_u32.pow(given_up.min(DOUBLED_AT_MOST))
}

/// Counts one that waits, until it is dropped.
struct Waiting<'a>(&'a Gate);

impl<'a> Waiting<'a> {
    fn count(gate: &'a Gate) -> Self {
        gate.waiting.fetch_add(1, Ordering::SeqCst);
        Self(gate)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_message_is_alone_until_another_has_waited_for_the_limit() {
        let process = Process::default();
        let Turn::Alone(mut alone) = process.clone().turn(0).await else { panic!("nothing else is under way") };
        let still_alone = timeout(Duration::from_hours(1), alone.is_in_the_way()).await;
        assert!(still_alone.is_err(), "no other message waits");

        let other = tokio::spawn({
            let process = process.clone();
            async move { process.beside_others().await }
        });
        alone.is_in_the_way().await;
        assert!(!other.is_finished());
        drop(alone);
        drop(other.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_is_not_alone_within_the_limit_begins_beside_the_others() {
        let process = Process::default();
        let other = process.beside_others().await;
        let begun = Instant::now();
        drop(process.clone().turn(3).await);
        assert_eq!(begun.elapsed(), FIRST_LIMIT * 8);
        // It keeps no other message waiting any more.
        drop(timeout(Duration::ZERO, process.beside_others()).await.unwrap());
        drop(other);
        assert!(process.turn(0).await.is_alone());
    }
}
