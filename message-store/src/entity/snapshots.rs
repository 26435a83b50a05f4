//! Snapshots of entities: taken beside the log, and used only if nothing is doubtful.
//!
//! Problem: an entity that is not cached is projected from all of its messages, and a stored state would save that. But a
//! stored state can be of other code, of another store, or of messages that a failover has lost. Then commands are decided
//! on a state that never was. Fix: a snapshot is a cache. It holds a whole entity, and names the last message from which
//! it was made. A load reads the stream *from that message*, and goes on only if the message is still there. The key
//! contains a [fingerprint](super::fingerprint) of the projection. Whatever does not fit discards the snapshot, and the
//! stream is read from its beginning.
//!
//! Why it is never ahead of its messages: it is made of an entity whose messages are committed, and is saved only in the
//! history in which they are. Why it costs an append nothing: it is taken after the append is answered, by a task of its
//! own. If too many are under way, or one fails, it is left out, and a later one is taken.

use std::any::type_name;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::fingerprint::fingerprint;
use super::snapshot_content::{decode, encode};
use super::snapshot_policy::SnapshotPolicy;
use super::{Entity, Projection};
use crate::planted::Planted;
use crate::store::{Snapshot, SnapshotKey};
use crate::telemetry::Counter;
use crate::telemetry::metric::SNAPSHOTS;
use crate::{Error, History, MessageStore, Result, StoreId, StreamName, Version};

/// The number of snapshots of one entity store that are written at the same time.
const AT_ONCE: u32 = 4;

/// How often snapshots were used, since an entity store was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotCounts {
    /// Snapshots that were loaded and used.
    pub used: u64,
    /// Snapshots that were saved.
    pub saved: u64,
    /// Snapshots that were not used because something was doubtful.
    pub discarded: u64,
    /// Calls of the store, or encodings, that failed.
    pub failed: u64,
    /// Snapshots that were not taken because too many were under way.
    pub left_out: u64,
}

/// A mistake that a test plants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "testing"), allow(dead_code))]
#[non_exhaustive]
#[cfg_attr(not(feature = "testing"), allow(unreachable_pub))]
pub enum SnapshotBug {
    /// A snapshot names the version before the one that it has.
    VersionMinusOne,
    /// A snapshot is used although its last message is no longer in the stream.
    LastMessageUnchecked,
    /// All projections have the same fingerprint.
    FingerprintIgnored,
    /// A snapshot holds the state alone: the marks and the recent commands are lost.
    StateAlone,
}

/// The snapshots of one projection.
pub(super) struct EntitySnapshots<P> {
    policy: SnapshotPolicy,
    fingerprint: String,
    encode: fn(&Entity<P>, StoreId) -> serde_json::Result<Option<String>>,
    decode: fn(&str, StoreId) -> serde_json::Result<Option<Entity<P>>>,
    permits: Arc<Semaphore>,
    counts: Arc<Counts>,
    pub(super) planted: Planted<SnapshotBug>,
}

struct Counts {
    used: Count,
    saved: Count,
    discarded: Count,
    failed: Count,
    left_out: Count,
}

struct Count(AtomicU64, Counter);

impl Count {
    fn new(category: &str, result: &str) -> Self {
        Self(AtomicU64::new(0), Counter::of(&SNAPSHOTS, &[category, result]))
    }

    fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
        self.1.add(1);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counts {
    fn new(category: &str) -> Self {
        Self {
            used: Count::new(category, "used"),
            saved: Count::new(category, "saved"),
            discarded: Count::new(category, "discarded"),
            failed: Count::new(category, "failed"),
            left_out: Count::new(category, "left out"),
        }
    }
}

impl<P: Projection> EntitySnapshots<P> {
    /// # Errors
    /// [`Error::Invalid`] if the default state cannot be encoded.
    pub(super) fn new(policy: SnapshotPolicy) -> Result<Self>
    where
        P: Serialize + DeserializeOwned,
    {
        let fingerprint = fingerprint::<P>(policy.version).map_err(|error| {
            Error::invalid("snapshots", format!("the state of {} cannot be encoded: {error}", P::CATEGORY))
        })?;
        Ok(Self {
            policy,
            fingerprint,
            encode,
            decode,
            permits: Arc::new(Semaphore::new(AT_ONCE as usize)),
            counts: Arc::new(Counts::new(P::CATEGORY)),
            planted: Planted::NONE,
        })
    }

    pub(super) fn counts(&self) -> SnapshotCounts {
        let Counts { used, saved, discarded, failed, left_out } = &*self.counts;
        SnapshotCounts {
            used: used.get(),
            saved: saved.get(),
            discarded: discarded.get(),
            failed: failed.get(),
            left_out: left_out.get(),
        }
    }

    /// Waits until no snapshot is being written.
    #[cfg(feature = "testing")]
    pub(super) async fn written(&self) {
        drop(self.permits.acquire_many(AT_ONCE).await);
    }

    fn key(&self, stream: &StreamName) -> SnapshotKey {
        let is_ignored = self.planted.is(SnapshotBug::FingerprintIgnored);
        let (projection, fingerprint) =
            if is_ignored { (P::CATEGORY, "none") } else { (type_name::<P>(), self.fingerprint.as_str()) };
        SnapshotKey { stream: stream.clone(), projection: projection.to_owned(), fingerprint: fingerprint.to_owned() }
    }

    /// The entity of a snapshot, if there is one that can be decoded. Its last message is not checked yet.
    pub(super) async fn load(&self, store: &dyn MessageStore, stream: &StreamName) -> Option<Entity<P>> {
        let snapshots = store.snapshots()?;
        let snapshot = match snapshots.load(&self.key(stream)).await {
            Ok(snapshot) => snapshot?,
            Err(error) => {
                tracing::warn!(target: "message_store::entity", %stream, %error, "a snapshot could not be loaded; the stream is read from its beginning");
                self.counts.failed.add();
                return None;
            }
        };
        let doubt = match (self.decode)(&snapshot.content, store.store_id()) {
            Ok(Some(entity)) if entity.version == Version::at(snapshot.position) => return Some(entity),
            Ok(Some(_)) => "it names two versions".to_owned(),
            Ok(None) => "it is of a store with another identity".to_owned(),
            Err(error) => error.to_string(),
        };
        self.discard(store, stream, &doubt).await;
        None
    }

    /// Whether a test has switched the check of the last message off.
    pub(super) fn checks_nothing(&self) -> bool {
        self.planted.is(SnapshotBug::LastMessageUnchecked)
    }

    /// A snapshot was loaded, and its last message is in the stream.
    pub(super) fn used(&self) {
        self.counts.used.add();
    }

    /// Removes the snapshots of a stream, because one of them is doubtful.
    pub(super) async fn discard(&self, store: &dyn MessageStore, stream: &StreamName, doubt: &str) {
        tracing::warn!(target: "message_store::entity", %stream, doubt, "a snapshot was discarded; the stream is read from its beginning");
        self.counts.discarded.add();
        if let Some(snapshots) = store.snapshots()
            && let Err(error) = snapshots.remove(stream).await
        {
            tracing::warn!(target: "message_store::entity", %stream, %error, "snapshots could not be removed");
            self.counts.failed.add();
        }
    }

    /// Whether an entity needs a snapshot. The last one that is known was taken at `taken`.
    pub(super) fn is_due(&self, version: Version, taken: Version) -> bool {
        version.get() - taken.get() >= self.policy.every
    }

    /// Begins to write a snapshot of an entity, in the history in which it was read. `before` is the entity before its
    /// last messages. Returns whether it is being written.
    pub(super) fn take(
        &self,
        store: &Arc<dyn MessageStore>,
        stream: &StreamName,
        entity: &Arc<Entity<P>>,
        history: History,
        before: Option<&Entity<P>>,
    ) -> bool {
        let (Some(_), Ok(runtime)) = (store.snapshots(), Handle::try_current()) else { return false };
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            self.counts.left_out.add();
            return false;
        };
        let entity = match self.planted_in(entity, before) {
            Some(wrong) => Arc::new(wrong),
            None => Arc::clone(entity),
        };
        let (store, key, encode, counts) = (Arc::clone(store), self.key(stream), self.encode, Arc::clone(&self.counts));
        runtime.spawn(async move {
            let saved = save(&*store, &key, &entity, encode, history).await;
            match saved {
                Ok(()) => counts.saved.add(),
                Err(error) => {
                    counts.failed.add();
                    tracing::warn!(target: "message_store::entity", stream = %key.stream, %error, "a snapshot could not be saved; a later one is taken");
                }
            }
            drop(permit);
        });
        true
    }

    /// A wrong entity, if a test has planted a mistake.
    fn planted_in(&self, entity: &Entity<P>, before: Option<&Entity<P>>) -> Option<Entity<P>> {
        if self.planted.is(SnapshotBug::VersionMinusOne) {
            let before = before.filter(|before| before.last.is_some())?;
            return Some(Entity { version: before.version, last: before.last, ..entity.clone() });
        }
        self.planted.is(SnapshotBug::StateAlone).then(|| Entity {
            state: entity.state.clone(),
            version: entity.version,
            last: entity.last,
            ..Entity::default()
        })
    }
}

async fn save<P: Projection>(
    store: &dyn MessageStore,
    key: &SnapshotKey,
    entity: &Entity<P>,
    encode: fn(&Entity<P>, StoreId) -> serde_json::Result<Option<String>>,
    history: History,
) -> Result<()> {
    let (Some(snapshots), Some(position)) = (store.snapshots(), entity.version.position()) else { return Ok(()) };
    let content = encode(entity, store.store_id()).map_err(|error| Error::invalid("snapshot", error.to_string()))?;
    let Some(content) = content else { return Ok(()) };
    snapshots.save(key, &Snapshot { position, content }, history).await
}
