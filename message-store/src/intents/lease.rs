//! The lease of a key, while a caller works on it.
//!
//! Problem: callers in two processes do the same work, and the work of one of them is wasted. Fix: a caller leases the
//! key from the store before it works, and the others wait. The lease is short and is renewed during the work, so if a
//! process dies, the others wait at most [`LEASE`]. A lost lease does no harm, because the lease decides nothing: the
//! key is taken in the transaction that writes the messages, and the second caller to take it writes nothing.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::keys::keys;
use crate::store::Claim;
use crate::{MessageStore, Result};

/// The time after which a lease ends if its owner does not renew it.
const LEASE: Duration = Duration::from_secs(10);
/// The time between two renewals.
const RENEWAL: Duration = Duration::from_secs(3);
/// The pauses between two requests for a key that another owner has: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// The lease of a key. It is released when it is dropped.
#[must_use]
pub(super) struct Lease {
    store: Arc<dyn MessageStore>,
    claim: Claim,
    owner: Uuid,
    is_over: bool,
}

impl Lease {
    /// Leases the key. `None` if another owner has it and `waits` is false.
    pub(super) async fn take(store: &Arc<dyn MessageStore>, claim: &Claim, waits: bool) -> Result<Option<Self>> {
        // Created before the store is asked, so that its drop releases the lease even if the answer is lost or the
        // caller is dropped.
        let mut lease = Self { store: Arc::clone(store), claim: claim.clone(), owner: Uuid::new_v4(), is_over: false };
        let (mut pause, longest) = PAUSES;
        loop {
            if keys(&**store)?.lease(claim, lease.owner, LEASE).await? {
                return Ok(Some(lease));
            }
            if !waits {
                lease.is_over = true;
                return Ok(None);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }

    /// Waits for the work, and renews the lease until it is done.
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
            tracing::debug!(target: "message_store::intents", %error, "a lease could not be renewed; if another caller does the same work, one of the two writes");
        }
    }

    /// Ends the lease now, so that the next caller finds the key free.
    pub(super) async fn release(mut self) {
        self.is_over = true;
        release(&*self.store, &self.claim, self.owner).await;
    }

    /// Forgets the lease, which ended when the key was taken.
    pub(super) fn taken(mut self) {
        self.is_over = true;
    }
}

async fn release(store: &dyn MessageStore, claim: &Claim, owner: Uuid) {
    let released = async { keys(store)?.release(claim, owner).await };
    if let Err(error) = released.await {
        tracing::debug!(target: "message_store::intents", %error, "a lease was not released; it ends after its time");
    }
}

impl Drop for Lease {
    /// Releases the lease if the caller was dropped during the work.
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        // Without a runtime, the lease ends after [`LEASE`].
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (store, claim, owner) = (Arc::clone(&self.store), self.claim.clone(), self.owner);
            runtime.spawn(async move { release(&*store, &claim, owner).await });
        }
    }
}
