//! New connections while the server cannot be reached.
//!
//! Problem: in an outage, every call of a process tries to connect, and all of them try again and again. Hundreds of
//! attempts a second reach a server that starts, from all processes together. Fix: after a failed attempt, the attempts of
//! an open store begin one after another, each after a pause that grows up to a second. Why callers soon go on: the first
//! attempt that succeeds ends the pauses for all. Why an attempt that hangs keeps no other waiting: only the pause is
//! waited out in turn, and not the attempt.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::random::random_up_to;

/// The upper limit of the first pause. It doubles with each further attempt.
const FIRST: Duration = Duration::from_millis(50);
/// The upper limit of every pause.
const LONGEST: Duration = Duration::from_secs(1);

/// The attempts to connect of one open store.
#[derive(Clone, Debug, Default)]
pub(super) struct Reconnects(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: std::sync::Mutex<State>,
    /// Held while a pause is waited out.
    turn: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// The attempts that have failed since the last success, and those under way after them.
    failures: u32,
    /// The next attempt begins no sooner. `None` if the last attempt succeeded.
    next: Option<Instant>,
}

/// An attempt under way. It counts as failed, unless it succeeds: also if its caller gives up.
struct Attempt<'a> {
    reconnects: &'a Reconnects,
    is_counted: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.is_counted {
            self.reconnects.failed(false);
        }
    }
}

impl Reconnects {
    /// Makes a connection. While the attempts fail, waits for the turn and for the pause first.
    pub(super) async fn connect<T, E>(&self, connecting: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let mut attempt = Attempt { reconnects: self, is_counted: self.wait_for_turn().await };
        let connected = connecting.await;
        if connected.is_ok() {
            attempt.is_counted = true;
            *self.state() = State::default();
        }
        connected
    }

    /// Waits until the next attempt may begin. Returns whether that is counted as failed already, which is so while the
    /// attempts fail.
    async fn wait_for_turn(&self) -> bool {
        if self.next().is_none() {
            return false;
        }
        let _turn = self.0.turn.lock().await;
        let Some(next) = self.next() else { return false };
        sleep_until(next).await;
        if self.next().is_none() {
            return false;
        }
        self.failed(true);
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<Instant> {
        self.state().next
    }

    /// Counts a failed attempt. `again`: others have failed before it. Otherwise, others may have failed at the same time.
    fn failed(&self, again: bool) {
        let mut state = self.state();
        if state.next.is_some() && !again {
            return;
        }
        let limit = FIRST.saturating_mul(1 << state.failures.min(10)).min(LONGEST);
        state.failures = state.failures.saturating_add(1);
        // Half of it is random, so that processes which failed together do not try again together.
        state.next = Some(Instant::now() + limit / 2 + random_up_to(limit / 2));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use super::*;

    /// Counts the attempts of 50 callers in ten seconds.
    async fn attempts(reconnects: &Reconnects, is_away: &Arc<AtomicBool>) -> (u32, u32) {
        let (attempts, connected) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let callers: Vec<_> = (0..50)
            .map(|_| {
                let (reconnects, is_away) = (reconnects.clone(), Arc::clone(is_away));
                let (attempts, connected) = (Arc::clone(&attempts), Arc::clone(&connected));
                tokio::spawn(async move {
                    loop {
                        let connecting = async {
                            attempts.fetch_add(1, Ordering::SeqCst);
                            if is_away.load(Ordering::SeqCst) { Err(()) } else { Ok(()) }
                        };
                        if reconnects.connect(connecting).await.is_ok() {
                            connected.fetch_add(1, Ordering::SeqCst);
                            return;
                        }
                    }
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_secs(10)).await;
        for caller in callers {
            caller.abort();
        }
        (attempts.load(Ordering::SeqCst), connected.load(Ordering::SeqCst))
    }

    #[tokio::test(start_paused = true)]
    async fn few_attempts_are_made_while_they_fail_and_all_callers_go_on_afterwards() {
        let (reconnects, is_away) = (Reconnects::default(), Arc::new(AtomicBool::new(true)));
        let (made, connected) = attempts(&reconnects, &is_away).await;
        // Soon, there are one or two a second.
        assert!((10..=25).contains(&made) && connected == 0, "{made} attempts");
        is_away.store(false, Ordering::SeqCst);
        assert_eq!(attempts(&reconnects, &is_away).await, (50, 50));
    }

    /// The first attempt after the failure hangs, as with a host that drops packets.
    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_hangs_keeps_no_other_waiting() {
        let reconnects = Reconnects::default();
        assert_eq!(reconnects.connect(async { Err::<(), ()>(()) }).await, Err(()));
        let hanging = reconnects.clone();
        let hangs = tokio::spawn(async move { hanging.connect(std::future::pending::<Result<(), ()>>()).await });
        let begun = Instant::now();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(reconnects.connect(async { Ok::<(), ()>(()) }).await, Ok(()));
        assert!(begun.elapsed() < Duration::from_secs(2));
        hangs.abort();
    }

    /// A caller that gives up counts as an attempt that failed.
    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_is_given_up_counts() {
        let reconnects = Reconnects::default();
        let hung = reconnects.connect(std::future::pending::<Result<(), ()>>());
        assert!(tokio::time::timeout(Duration::from_secs(10), hung).await.is_err());
        assert!(reconnects.next().is_some());
        assert_eq!(reconnects.connect(async { Ok::<(), ()>(()) }).await, Ok(()));
        assert!(reconnects.next().is_none());
    }
}
