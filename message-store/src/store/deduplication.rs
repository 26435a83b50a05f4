//! What a store may have beside messages: keys that it remembers for a while.

use async_trait::async_trait;

use crate::store::{Claim, ClaimRecord, Hold, WhenHeld};
use crate::{AppendRequest, Json, Result};

/// Keys with a window, each taken once: what [`Once`](crate::intents::Once) stands on.
#[async_trait]
pub trait Deduplication: Send + Sync {
    /// Holds a key while its caller works on it, so that no other begins, here or in another process. It ends with the [`Hold`], or with the
    /// process; it may be lost, and decides nothing.
    async fn hold(&self, claim: &Claim, when_held: WhenHeld) -> Result<Option<Hold>>;

    /// Takes a key and appends messages (none is allowed), all in one step, with the answer to give to repeats; or returns the record of the
    /// key, and does nothing.
    ///
    /// # Errors
    /// As [`MessageStore::append`](crate::MessageStore::append); the key is free then.
    async fn append_once(&self, claim: &Claim, request: AppendRequest, result: Json) -> Result<Option<ClaimRecord>>;

    /// The record of a key, unless it has expired or was never taken. With a sliding window, the window begins anew.
    async fn record(&self, claim: &Claim) -> Result<Option<ClaimRecord>>;

    /// Removes up to `batch` expired keys; returns how many.
    async fn sweep(&self, batch: u32) -> Result<u64>;
}
