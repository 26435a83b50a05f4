//! The deliveries that are under way in this process, of all its consumers.
//!
//! Problem: a crash ends all messages that are under way in the process, so a message can be blamed for it only if no
//! message of any consumer was beside it. But if a message waits until it is alone, or makes all others wait, a handler
//! that waits for another consumer never ends. Fix: a message is alone until another wants to begin. The other waits
//! for a limited time. Then the record that the message is alone is removed, and the other begins. Why it is right:
//! while the record says "alone", no other message has begun. Why no consumer waits for ever: every wait has a limit.
//! Why a message that ends the process late is still found: the limit doubles each time that others had to begin.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use tokio::time::{Instant, sleep_until, timeout};

/// The time that other messages wait for a message that is alone, when it is alone for the first time.
const FIRST_LIMIT: Duration = Duration::from_secs(1);
/// The maximum number of times that the limit is doubled. It is then about an hour.
const MAX_DOUBLINGS: u32 = 12;

static THIS_PROCESS: LazyLock<Process> = LazyLock::new(Process::default);

/// The deliveries that are under way in one operating-system process. All clones are the same process.
#[derive(Clone, Debug, Default)]
pub struct Process(Arc<Gate>);

#[derive(Debug)]
struct Gate {
    /// A message that may end the process locks it for writing, and all others lock it for reading.
    lock: Arc<RwLock<()>>,
    /// The number of messages that wait for one that is alone.
    waiting: AtomicUsize,
    /// The time that others wait for a message that is alone for the first time.
    first_limit: Duration,
}

impl Default for Gate {
    fn default() -> Self {
        Self { lock: Arc::default(), waiting: AtomicUsize::new(0), first_limit: FIRST_LIMIT }
    }
}

/// A message is under way beside others until this is dropped.
#[derive(Debug)]
pub(super) struct Beside {
    #[expect(dead_code, reason = "it is counted until it is dropped")]
    guard: OwnedRwLockReadGuard<()>,
}

/// A message is under way alone until this is dropped.
#[derive(Debug)]
pub(super) struct Alone {
    #[expect(dead_code, reason = "it excludes others until it is dropped")]
    guard: OwnedRwLockWriteGuard<()>,
    process: Process,
    limit: Duration,
    until: Instant,
}

/// The right of a suspect to begin, alone or beside other messages.
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
    /// The process in which this code runs.
    pub(super) fn this() -> Self {
        THIS_PROCESS.clone()
    }

    /// For tests: a process in which others wait this long for a message that is alone for the first time.
    #[cfg(feature = "testing")]
    pub fn with_limit(first_limit: Duration) -> Self {
        Self(Arc::new(Gate { first_limit, ..Gate::default() }))
    }

    /// Waits until no message is alone.
    pub(super) async fn beside_others(&self) -> Beside {
        if let Ok(guard) = Arc::clone(&self.0.lock).try_read_owned() {
            return Beside { guard };
        }
        let _waiting = Waiting::count(&self.0);
        Beside { guard: Arc::clone(&self.0.lock).read_owned().await }
    }

    /// Waits until no message is under way, up to a limit. The limit grows with `given_up`, the number of times that
    /// others began before the message was handled. If messages are still under way then, the turn is one beside them.
    pub(super) async fn turn(self, given_up: u32) -> Turn {
        let limit = self.0.first_limit * 2_u32.pow(given_up.min(MAX_DOUBLINGS));
        match timeout(limit, Arc::clone(&self.0.lock).write_owned()).await {
            Ok(guard) => Turn::Alone(Alone { guard, process: self, limit, until: Instant::now() + limit }),
            Err(_) => Turn::Beside(self.beside_others().await),
        }
    }
}

impl Alone {
    /// Waits until other messages have waited for the limit. Then the caller must let them begin.
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

/// Counts one waiting message until it is dropped.
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
        // Its wait has ended, so other messages begin at once.
        drop(timeout(Duration::ZERO, process.beside_others()).await.unwrap());
        drop(other);
        assert!(process.turn(0).await.is_alone());
    }
}
