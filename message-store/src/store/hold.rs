//! One caller at a time for each key: the others wait, or are told.
//!
//! This saves work; it decides nothing. That a key has one effect is settled when it is written (see [`super::once`]), so a hold
//! that is lost, with a connection, say, costs a second piece of work and never a second effect.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

use crate::Result;
use crate::store::{Claim, WhenHeld};

/// Pauses between two looks at a key that another process holds: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// A key is held for as long as this lives, and at the latest until the process ends.
#[must_use]
pub struct Hold(#[expect(dead_code, reason = "what it does, it does when it is dropped")] Box<dyn Any + Send>);

impl Hold {
    /// Held for as long as this value lives.
    pub fn new(held: impl Any + Send) -> Self {
        Self(Box::new(held))
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hold")
    }
}

/// The keys that callers of one open store hold.
#[derive(Clone, Default)]
pub(crate) struct Holds(Arc<Mutex<Locks>>);

type Locks = HashMap<Uuid, Arc<tokio::sync::Mutex<()>>>;

pub(crate) struct Held {
    holds: Holds,
    name: Uuid,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Holds {
    pub(crate) async fn hold(&self, claim: &Claim, when_held: WhenHeld) -> Option<Held> {
        let name = name_for_locks(claim);
        let lock = Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default());
        // From here on, what was entered is removed again, also when the wait is broken off.
        let mut held = Held { holds: self.clone(), name, guard: None };
        held.guard = match when_held {
            WhenHeld::Wait => Some(lock.lock_owned().await),
            WhenHeld::Leave => lock.try_lock_owned().ok(),
        };
        held.guard.is_some().then_some(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.guard = None;
        let mut holds = self.holds.0.lock().unwrap_or_else(PoisonError::into_inner);
        if holds.get(&self.name).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            holds.remove(&self.name);
        }
    }
}

/// A name of the key for locks: scope and key, hashed.
pub(crate) fn name_for_locks(claim: &Claim) -> Uuid {
    let mut hash = Sha256::new_with_prefix("message_store/once/");
    hash.update((claim.scope.len() as u64).to_be_bytes());
    hash.update(&claim.scope);
    hash.update(claim.key.as_str());
    let hash = hash.finalize();
    Uuid::from_bytes(std::array::from_fn(|byte| hash[byte]))
}

/// Asks until the key is free; once, without waiting.
pub(crate) async fn until_free<T, F>(when_held: WhenHeld, mut attempt: impl FnMut() -> F) -> Result<Option<T>>
where
    F: Future<Output = Result<Option<T>>>,
{
    let (mut pause, longest) = PAUSES;
    loop {
        let held = attempt().await?;
        if held.is_some() || when_held == WhenHeld::Leave {
            return Ok(held);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}
