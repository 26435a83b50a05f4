//! New connections while the server cannot be reached.
//!
//! Problem: in an outage, every call of a process tries to connect, and all of them try again and again. Hundreds of
//! attempts a second reach a server that starts, from all processes together. Fix: after a failed attempt, one attempt is
//! made at a time, for all callers of an open store, after a pause that grows up to a second. Why callers soon go on: the
//! first attempt that succeeds ends the pauses for all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// The last attempt failed.
    is_failing: AtomicBool,
    turn: Mutex<Turn>,
}

#[derive(Debug, Default)]
struct Turn {
    failures: u32,
    /// No attempt is made before.
    next: Option<Instant>,
}

impl Reconnects {
    /// Makes a connection. While the attempts fail, waits for the turn and for the pause first.
    pub(super) async fn connect<T, E>(&self, connecting: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        if !self.0.is_failing.load(Ordering::SeqCst) {
            let connected = connecting.await;
            if connected.is_err() {
                let mut turn = self.0.turn.lock().await;
                // Others may have failed at the same time.
                if !self.0.is_failing.load(Ordering::SeqCst) {
                    self.failed(&mut turn);
                }
            }
            return connected;
        }
        let mut turn = self.0.turn.lock().await;
        if self.0.is_failing.load(Ordering::SeqCst)
            && let Some(next) = turn.next
        {
            sleep_until(next).await;
        }
        let connected = connecting.await;
        match &connected {
            Ok(_) => {
                self.0.is_failing.store(false, Ordering::SeqCst);
                *turn = Turn::default();
            }
            Err(_) => self.failed(&mut turn),
        }
        connected
    }

    fn failed(&self, turn: &mut Turn) {
        let limit = FIRST.saturating_mul(1 << turn.failures.min(10)).min(LONGEST);
        turn.failures = turn.failures.saturating_add(1);
        // Half of it is random, so that processes which failed together do not try again together.
        turn.next = Some(Instant::now() + limit / 2 + random_up_to(limit / 2));
        self.0.is_failing.store(true, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

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
}
