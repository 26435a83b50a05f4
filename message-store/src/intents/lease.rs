//! A key that is leased while its caller works on it.
//!
//! Problem: two callers, in two processes, do the same work, and one of them does it for nothing. Fix: a caller leases
//! the key from the store before it works, and the others wait. The lease is short and is renewed while the work lasts,
//! so that a process that dies keeps the others waiting for [`LEASE`] at most. Why a lost lease does no harm: it
//! decides nothing. The key is taken in the transaction that writes the messages, and the second to take it writes
//! nothing.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::keys::keys;
use crate::store::Claim;
use crate::{MessageStore, Result};

/// How long a key stays leased when its owner is gone.
const LEASE: Duration = Duration::from_secs(10);
/// How often the lease is renewed.
const RENEWAL: Duration = Duration::from_secs(3);
/// Pauses between two looks at a key that another owner has: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// The lease of a key. It ends when this is dropped.
#[must_use]
pub(super) struct Lease {
    store: Arc<dyn MessageStore>,
    claim: Claim,
    owner: Uuid,
    ends_by_itself: bool,
}

impl Lease {
    /// Leases the key; `None` when another owner has it, and the caller does not wait.
    pub(super) async fn take(store: &Arc<dyn MessageStore>, claim: &Claim, waits: bool) -> Result<Option<Self>> {
        // Made before the store is asked: a lease whose answer is lost, or whose caller goes away, is released as well.
        let mut lease =
            Self { store: Arc::clone(store), claim: claim.clone(), owner: Uuid::new_v4(), ends_by_itself: false };
        let (mut pause, longest) = PAUSES;
        loop {
            if keys(&**store)?.lease(claim, lease.owner, LEASE).await? {
                return Ok(Some(lease));
            }
            if !waits {
                lease.ends_by_itself = true;
                return Ok(None);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }

    /// Does the work, and renews the lease meanwhile.
    pub(super) async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = self.renew_after(RENEWAL) => {}
            }
        }
    }

    async fn renew_after(&self, pause: Duration) {
        tokio::time::sleep(pause).await;
        let renewed = async { keys(&*self.store)?.lease(&self.claim, self.owner, LEASE).await };
        if let Err(error) = renewed.await {
            tracing::debug!(%error, "a lease could not be renewed; if another caller does the same work, one of the two writes");
        }
    }

    /// Ends the lease now: the next caller finds the key free.
    pub(super) async fn release(mut self) {
        self.ends_by_itself = true;
        release(&*self.store, &self.claim, self.owner).await;
    }

    /// The key is taken, which has ended the lease.
    pub(super) fn taken(mut self) {
        self.ends_by_itself = true;
    }
}

async fn release(store: &dyn MessageStore, claim: &Claim, owner: Uuid) {
    let released = async { keys(store)?.release(claim, owner).await };
    if let Err(error) = released.await {
        tracing::debug!(%error, "a lease was not released; it ends by itself");
    }
}

impl Drop for Lease {
    /// The caller has gone away in the middle.
    fn drop(&mut self) {
        if self.ends_by_itself {
            return;
        }
        // Without a runtime it ends by itself.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (store, claim, owner) = (Arc::clone(&self.store), self.claim.clone(), self.owner);
            runtime.spawn(async move { release(&*store, &claim, owner).await });
        }
    }
}
