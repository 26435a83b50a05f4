//! Turns of the callers of one process at a key. They wait for each other here, and only one of them at a time asks the
//! store for the lease.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::Key;

/// A lock for each key that a caller works on or waits for.
#[derive(Clone, Default)]
pub(super) struct Turns(Arc<Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>>);

/// A caller's turn at a key. It ends when it is dropped.
#[must_use]
pub(super) struct Turn {
    turns: Turns,
    key: Key,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for the caller's turn at the key. `None` if another caller has it and `waits` is false.
    pub(super) async fn take(&self, key: &Key, waits: bool) -> Option<Turn> {
        let lock = Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key.clone()).or_default());
        // Created before the wait, so that its drop removes the entry even if the wait is cancelled.
        let mut turn = Turn { turns: self.clone(), key: key.clone(), guard: None };
        turn.guard = if waits { Some(lock.lock_owned().await) } else { lock.try_lock_owned().ok() };
        turn.guard.is_some().then_some(turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.guard = None;
        let mut turns = self.turns.0.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.get(&self.key).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            turns.remove(&self.key);
        }
    }
}

impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Turns")
    }
}
