//! What a store may have beside messages: keys that it remembers for a while.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::store::{Claim, ClaimRecord};
use crate::{AppendRequest, Json, Result};

/// Keys with a window, each taken once: what [`Once`](crate::intents::Once) stands on.
#[async_trait]
pub trait Deduplication: Send + Sync {
    /// Leases a key to `owner` while it works on it, so that no other begins the same work: whether it has the key now.
    /// An owner that has it gets it anew. The lease ends after `time` by the store's clock, when it is
    /// [released](Self::release), and when the key is taken.
    ///
    /// A lease saves work and decides nothing: a store may lose it, and then two do the work, and one of them
    /// [writes](Self::append_once).
    async fn lease(&self, claim: &Claim, owner: Uuid, time: Duration) -> Result<bool>;

    /// Ends the owner's lease of a key, if it has one.
    async fn release(&self, claim: &Claim, owner: Uuid) -> Result<()>;

    /// Takes a key and appends messages (none is allowed), all in one step, with the answer to give to repeats; or
    /// returns the record of the key, and does nothing but begin a sliding window anew. It asks for no lease.
    ///
    /// # Errors
    /// As [`MessageStore::append`](crate::MessageStore::append); the key is free then.
    async fn append_once(&self, claim: &Claim, request: AppendRequest, result: Json) -> Result<Option<ClaimRecord>>;

    /// The record of a key, unless it has expired or was never taken. With a sliding window, the window begins anew.
    async fn record(&self, claim: &Claim) -> Result<Option<ClaimRecord>>;

    /// Removes up to `batch` expired keys; returns how many.
    async fn sweep(&self, batch: u32) -> Result<u64>;
}
