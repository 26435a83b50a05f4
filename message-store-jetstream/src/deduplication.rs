//! Keys with a window: one document for each key. The server forgets it some time after its window has ended.

use std::time::Duration;

use async_trait::async_trait;
use message_store::store::{Claim, ClaimRecord, Deduplication};
use message_store::{AppendRequest, Json, MessageStoreExt as _, Result, Timestamp, Uuid};
use serde::{Deserialize, Serialize};

use crate::batch::{Entry, MAX_RECORDS};
use crate::documents::{Change, Document, WhenLost};
use crate::store::JetstreamStore;
use crate::write::{Attempt, Write, Written};

const KEY: &str = "key";
const LEASE: &str = "lease";
/// The time for which an expired key is still there for a sweep, which counts it.
const SWEPT_WITHIN: u64 = 24 * 3600;

/// A key that is taken.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Taken {
    at: Timestamp,
    expires_at: Timestamp,
    fingerprint: String,
    #[serde(default)]
    result: Json,
    /// The call that took it.
    by: Uuid,
}

/// What an attempt finds of the key that it wants to take.
#[derive(Debug)]
pub(crate) enum KeyState {
    /// The attempt takes it.
    Free,
    /// An earlier attempt of the same call, whose answer was lost, took it.
    Ours,
    Taken(ClaimRecord),
}

/// A key to be taken by one call.
#[derive(Clone, Debug)]
pub(crate) struct KeyToTake {
    pub(crate) claim: Claim,
    pub(crate) result: Json,
    pub(crate) by: Uuid,
}

/// A lease on a key.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Leased {
    owner: Uuid,
    until: Timestamp,
}

impl JetstreamStore {
    fn key(&self, kind: &str, claim: &Claim) -> String {
        self.log.subjects.document(kind, &[&claim.scope, claim.key.as_str()])
    }

    /// Adds what takes a free key to an attempt.
    pub(crate) async fn take_key(&self, attempt: &mut Attempt, key: &KeyToTake, now: Timestamp) -> Result<KeyState> {
        let KeyToTake { claim, result, by } = key;
        let (key, lease) = tokio::try_join!(
            self.log.document::<Taken>(self.key(KEY, claim)),
            self.log.document::<Leased>(self.key(LEASE, claim)),
        )?;
        match valid(&key, now) {
            Some(taken) if taken.by == *by => return Ok(KeyState::Ours),
            Some(taken) => return self.found(claim, &key, taken).await.map(KeyState::Taken),
            None => {}
        }
        let expires_at = after(now, claim.window.lifetime());
        let taken =
            Taken { at: now, expires_at, fingerprint: claim.fingerprint.clone(), result: result.clone(), by: *by };
        attempt.entries.push(key.replaced_by(&taken)?.for_seconds(lifetime(claim.window.lifetime())));
        if lease.content.is_some() {
            // Whoever has it works in vain: the key is taken.
            attempt.entries.push(Entry::new(lease.subject, "").replacing().for_seconds(1));
        }
        Ok(KeyState::Free)
    }

    /// The record of a taken key, whose window begins again if it is sliding.
    async fn found(&self, claim: &Claim, key: &Document<Taken>, taken: &Taken) -> Result<ClaimRecord> {
        if claim.window.is_sliding() {
            let mut change = Change::new("renewing a key", WhenLost::Again);
            loop {
                let (key, state) = tokio::try_join!(self.log.document::<Taken>(key.subject.clone()), self.log.state())?;
                let Some(mut taken) = valid(&key, state.now).cloned() else { break };
                taken.expires_at = after(state.now, claim.window.lifetime());
                let renewed = key.replaced_by(&taken)?.for_seconds(lifetime(claim.window.lifetime()));
                if change.is_done(&self.log, &[renewed]).await? {
                    break;
                }
            }
        }
        Ok(ClaimRecord::new(taken.at, taken.fingerprint.clone(), taken.result.clone()))
    }
}

#[async_trait]
impl Deduplication for JetstreamStore {
    async fn lease(&self, claim: &Claim, owner: Uuid, time: Duration) -> Result<bool> {
        let mut change = Change::new("leasing a key", WhenLost::Again);
        loop {
            let lease = self.log.document::<Leased>(self.key(LEASE, claim));
            let (lease, state) = tokio::try_join!(lease, self.log.state())?;
            if lease.content.as_ref().is_some_and(|held| held.owner != owner && held.until > state.now) {
                return Ok(false);
            }
            let leased = Leased { owner, until: after(state.now, time) };
            if change.is_done(&self.log, &[lease.replaced_by(&leased)?.for_seconds(lifetime(time))]).await? {
                return Ok(true);
            }
        }
    }

    async fn release(&self, claim: &Claim, owner: Uuid) -> Result<()> {
        let mut change = Change::new("releasing a key", WhenLost::Again);
        loop {
            let lease = self.log.document::<Leased>(self.key(LEASE, claim)).await?;
            let is_owned = lease.content.as_ref().is_some_and(|held| held.owner == owner);
            if !is_owned || change.is_done(&self.log, &[lease.removed().for_seconds(1)]).await? {
                return Ok(());
            }
        }
    }

    async fn append_once(
        &self,
        claim: &Claim,
        mut request: AppendRequest,
        result: Json,
    ) -> Result<Option<ClaimRecord>> {
        let condition = self.take_condition(&mut request)?;
        let timers = self.take_timers(&mut request)?;
        let appends = self.accept_with_key(request)?;
        let key = Some(KeyToTake { claim: claim.clone(), result, by: Uuid::new_v4() });
        match self.write(&Write { appends, condition, timers, key, ..Write::default() }).await? {
            Written::Taken(record) => Ok(Some(record)),
            Written::Appended(..) => Ok(None),
        }
    }

    async fn record(&self, claim: &Claim) -> Result<Option<ClaimRecord>> {
        let (key, state) = tokio::try_join!(self.log.document::<Taken>(self.key(KEY, claim)), self.log.state())?;
        match valid(&key, state.now) {
            Some(taken) => self.found(claim, &key, taken).await.map(Some),
            None => Ok(None),
        }
    }

    async fn sweep(&self, batch: u32) -> Result<u64> {
        let (keys, now) = (self.log.subjects.documents(KEY, &[]), self.log.state().await?.now);
        let (mut swept, mut from) = (0, 1);
        while swept < u64::from(batch) {
            let found = self.log.range(&keys, from, MAX_RECORDS, 8 << 20).await?;
            let Some(last) = found.records.last() else { break };
            from = last.sequence + 1;
            for record in &found.records {
                let key = Document::<Taken>::of(record)?;
                let is_expired = key.content.as_ref().is_some_and(|taken| taken.expires_at <= now);
                if is_expired && swept < u64::from(batch) {
                    // A key that was taken again meanwhile has a later record, which stays.
                    self.log.purge(&key.subject, key.sequence + 1).await?;
                    swept += 1;
                }
            }
        }
        Ok(swept)
    }
}

/// The key, if its window has not ended.
fn valid(key: &Document<Taken>, now: Timestamp) -> Option<&Taken> {
    key.content.as_ref().filter(|taken| taken.expires_at > now)
}

pub(crate) fn after(now: Timestamp, time: Duration) -> Timestamp {
    now.checked_add(time).unwrap_or(Timestamp::MAX)
}

/// The seconds after which the server forgets a document that is valid for so long.
fn lifetime(time: Duration) -> u64 {
    // The server's greatest time is 292 years.
    time.as_secs().saturating_add(SWEPT_WITHIN).min(100 * 366 * 24 * 3600)
}
