//! The optional part of the contract with keys.

use std::time::Duration;

use async_trait::async_trait;
use message_store::store::{Claim, ClaimRecord, Deduplication};
use message_store::{AppendRequest, Json, MessageStoreExt as _, Result, Timestamp, Uuid};

use crate::MemoryStore;
use crate::contents::{Contents, TakenKey};

fn name(claim: &Claim) -> (String, String) {
    (claim.scope.clone(), claim.key.as_str().to_owned())
}

/// The record of a key. `None` if it was never taken or has expired. A sliding window begins again.
fn find(contents: &mut Contents, claim: &Claim, now: Timestamp) -> Option<ClaimRecord> {
    let taken = contents.keys.get_mut(&name(claim)).filter(|taken| taken.expires_at > now)?;
    if claim.window.is_sliding() {
        taken.expires_at = now + claim.window.lifetime();
    }
    Some(taken.record.clone())
}

#[async_trait]
impl Deduplication for MemoryStore {
    async fn lease(&self, claim: &Claim, owner: Uuid, time: Duration) -> Result<bool> {
        let (mut contents, now) = (self.contents(), Timestamp::now());
        let is_leased = contents.leases.get(&name(claim)).is_some_and(|&(other, end)| other != owner && end > now);
        if !is_leased {
            contents.leases.insert(name(claim), (owner, now + time));
        }
        Ok(!is_leased)
    }

    async fn release(&self, claim: &Claim, owner: Uuid) -> Result<()> {
        self.contents().leases.retain(|key, lease| *key != name(claim) || lease.0 != owner);
        Ok(())
    }

    async fn append_once(&self, claim: &Claim, request: AppendRequest, result: Json) -> Result<Option<ClaimRecord>> {
        let appends = self.accept_with_key(request)?;
        let streams: Vec<_> = appends.iter().map(|append| append.stream.clone()).collect();
        {
            let (mut contents, now) = (self.contents(), Timestamp::now());
            if let Some(record) = find(&mut contents, claim, now) {
                return Ok(Some(record));
            }
            if !appends.is_empty() {
                contents.append(appends)?;
            }
            let record = ClaimRecord::new(now, claim.fingerprint.clone(), result);
            contents.keys.insert(name(claim), TakenKey { record, expires_at: now + claim.window.lifetime() });
            contents.leases.remove(&name(claim));
        }
        self.wake(&streams);
        Ok(None)
    }

    async fn record(&self, claim: &Claim) -> Result<Option<ClaimRecord>> {
        Ok(find(&mut self.contents(), claim, Timestamp::now()))
    }

    async fn sweep(&self, batch: u32) -> Result<u64> {
        let (mut contents, now) = (self.contents(), Timestamp::now());
        contents.leases.retain(|_, lease| lease.1 > now);
        let expired = contents.keys.iter().filter(|(_, taken)| taken.expires_at <= now);
        let expired: Vec<_> = expired.take(batch as usize).map(|(name, _)| name.clone()).collect();
        for name in &expired {
            contents.keys.remove(name);
        }
        Ok(expired.len() as u64)
    }
}
