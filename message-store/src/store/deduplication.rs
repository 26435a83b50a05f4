//! An optional part of a store: keys that it remembers for a window.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::store::{Claim, ClaimRecord};
use crate::{AppendRequest, Json, Result};

/// Keys with a window. A key can be taken once in its window. [`Once`](crate::intents::Once) uses them.
#[async_trait]
pub trait Deduplication: Send + Sync {
    /// Leases a key to `owner`, so that no other caller begins the same work. Returns whether the owner now has the
    /// lease. An owner that has it already gets it for another `time`. The lease ends after `time` by the store's
    /// clock, when it is [released](Self::release), and when the key is taken.
    ///
    /// A lease only saves work. A store may lose it. Then two callers do the work, and one of them
    /// [writes](Self::append_once).
    async fn lease(&self, claim: &Claim, owner: Uuid, time: Duration) -> Result<bool>;

    /// Ends the lease if `owner` has it.
    async fn release(&self, claim: &Claim, owner: Uuid) -> Result<()>;

    /// Takes a key, stores the answer for repeats, and appends messages, all atomically. The request may be empty. If
    /// the key is taken already, this writes nothing and returns its record; a sliding window begins again. The caller
    /// needs no lease.
    ///
    /// # Errors
    /// As [`MessageStore::append`](crate::MessageStore::append). The key stays free.
    async fn append_once(&self, claim: &Claim, request: AppendRequest, result: Json) -> Result<Option<ClaimRecord>>;

    /// The record of a key. `None` if it was never taken or has expired. A sliding window begins again.
    async fn record(&self, claim: &Claim) -> Result<Option<ClaimRecord>>;

    /// Removes up to `batch` expired keys. Returns the number of removed keys.
    async fn sweep(&self, batch: u32) -> Result<u64>;
}
