//! The entity store: projects entities from their streams, and caches them.
//!
//! Problem: if a cache gives out its own object, or refreshes it in place, it may contain a change that was never
//! written, or half of a failed refresh. Fix: a cached entity never changes. A refresh works on a copy, and replaces
//! the cached entity when the copy is complete. Why a stale entity does no harm: a decision on it is appended with its
//! version as the expected version, and a decision that writes nothing is made again on the refreshed entity
//! ([`CommandHandler`](crate::handling::CommandHandler)). Why an entity that is ahead of its stream does no harm: that
//! happens after a failover that lost messages, and the entity was cached under another [`History`] of the store. A
//! refresh also reads the last cached event again. If that event is gone, or another message has its position, the
//! refresh reads the whole stream from the beginning.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};

use futures_util::TryStreamExt as _;
use quick_cache::sync::Cache;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::entity::projection::check_upcasters;
#[cfg(feature = "testing")]
use crate::entity::snapshots::SnapshotBug;
use crate::entity::snapshots::{EntitySnapshots, SnapshotCounts};
use crate::entity::{Entity, Projection, SnapshotPolicy};
use crate::{Category, Error, History, MessageStore, MessageStoreExt as _, Position, Result, StreamName, Version};

/// The default number of entities in a cache.
pub const DEFAULT_CACHED_ENTITIES: usize = 10_000;

/// Projects the entities of a category, and caches them.
pub struct EntityStore<P> {
    pub(crate) store: Arc<dyn MessageStore>,
    /// The projection's category, or the error if its name or the projection's upcasters are wrong.
    category: Result<Category>,
    cache: Cache<StreamName, CacheEntry<P>>,
    /// The snapshots, if a policy was set.
    snapshots: OnceLock<EntitySnapshots<P>>,
    projection: PhantomData<fn() -> P>,
}

/// An entry of the cache: an entity, and the history of the store in which it was read.
pub(crate) struct CacheEntry<P> {
    pub(crate) entity: Arc<Entity<P>>,
    pub(crate) history: History,
    /// The version of the last snapshot that is known.
    pub(crate) snapshot: Version,
}

/// An entity on which a command can be decided.
pub(crate) struct Loaded<P> {
    pub(crate) entry: CacheEntry<P>,
    /// The entity was read from the store just now. Otherwise it comes from the cache.
    pub(crate) is_current: bool,
}

impl<P: Projection> EntityStore<P> {
    /// An entity store that caches up to [`DEFAULT_CACHED_ENTITIES`] entities.
    pub fn new(store: &Arc<dyn MessageStore>) -> Self {
        Self::with_cache(store, DEFAULT_CACHED_ENTITIES)
    }

    /// An entity store that caches up to `entities` entities.
    pub fn with_cache(store: &Arc<dyn MessageStore>, entities: usize) -> Self {
        let category = check_upcasters::<P>().and_then(|()| Category::new(P::CATEGORY));
        Self {
            store: Arc::clone(store),
            category,
            cache: Cache::new(entities),
            snapshots: OnceLock::new(),
            projection: PhantomData,
        }
    }

    /// Takes snapshots of entities beside the log, and loads an entity that is not cached from its snapshot and the
    /// messages after it. The state must be a value that serde encodes and decodes without loss;
    /// `testing::assert_snapshots` checks that. If a policy was set before, that one counts.
    ///
    /// A snapshot is a cache. It is written after the append is answered, and may be missing. It is used only if it is
    /// certainly that to which the messages lead: it has the fingerprint of this projection
    /// ([`SnapshotPolicy::version`]), and its last message is in the stream. Otherwise it is discarded. A store
    /// without [snapshots](crate::MessageStore::snapshots) takes none, and neither does a state that has no JSON form.
    ///
    /// ```
    /// use message_store::entity::{EntityStore, SnapshotPolicy};
    /// # use message_store::entity::Projection;
    /// # use message_store::connect;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Deserialize)] enum Event { Deposited { amount: u64 } }
    /// #[derive(Clone, Default, Serialize, Deserialize)]
    /// struct Account { balance: u64 }
    /// # impl Projection for Account {
    /// #     const CATEGORY: &'static str = "account";
    /// #     type Event = Event;
    /// #     fn apply(&mut self, Event::Deposited { amount }: &Event) { self.balance += amount; }
    /// # }
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// let store = connect("sqlite::memory:").await?;
    /// let accounts = EntityStore::<Account>::new(&store).snapshots(SnapshotPolicy::every(100));
    /// # Ok::<(), message_store::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn snapshots(self, policy: SnapshotPolicy) -> Self
    where
        P: Serialize + DeserializeOwned,
    {
        self.set_snapshots(policy);
        self
    }

    pub(crate) fn set_snapshots(&self, policy: SnapshotPolicy)
    where
        P: Serialize + DeserializeOwned,
    {
        match EntitySnapshots::new(policy) {
            Ok(snapshots) => {
                self.snapshots.get_or_init(|| snapshots);
            }
            Err(error) => {
                tracing::warn!(target: "message_store::entity", category = P::CATEGORY, %error, "no snapshots are taken");
            }
        }
    }

    /// How often snapshots were used.
    pub fn snapshot_counts(&self) -> SnapshotCounts {
        self.snapshots.get().map(EntitySnapshots::counts).unwrap_or_default()
    }

    /// Waits until no snapshot is being written.
    #[cfg(feature = "testing")]
    pub async fn snapshots_written(&self) {
        if let Some(snapshots) = self.snapshots.get() {
            snapshots.written().await;
        }
    }

    /// Plants a mistake in the snapshots, which have a policy already.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn plant_in_snapshots(mut self, bug: SnapshotBug) -> Self {
        if let Some(snapshots) = self.snapshots.get_mut() {
            snapshots.planted = crate::planted::Planted::one(bug);
        }
        self
    }

    /// The name of the stream of the entity with this id. The stream need not exist.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty id, and for a projection whose category is invalid; [`Error::Upcasters`] if its
    /// upcasters are wrong.
    pub fn stream(&self, id: &str) -> Result<StreamName> {
        StreamName::of(self.category.as_ref().map_err(Error::shared)?, id)
    }

    /// The current entity with this id. The method reads only the events that the cached entity lacks. An entity
    /// without a stream has the default state and [`Version::NO_STREAM`](crate::Version::NO_STREAM).
    ///
    /// # Errors
    /// The errors of a read, and those of [`Entity::apply`] for an event that cannot be applied.
    pub async fn fetch(&self, id: &str) -> Result<Arc<Entity<P>>> {
        Ok(self.refresh(&self.stream(id)?).await?.entry.entity)
    }

    /// As [`EntityStore::fetch`], by the stream's name.
    pub(crate) async fn refresh(&self, stream: &StreamName) -> Result<Loaded<P>> {
        loop {
            let history = self.store.history();
            let cached = self.cached_entry(stream, history);
            let entry = self.read(stream, history, cached).await?;
            // The history may have changed during the read. Then the read is repeated from the beginning of the stream.
            if self.store.history() == history {
                if self.cached_entry(stream, history).is_some_and(|before| before.entity.version > entry.entity.version)
                {
                    // The cached entity was ahead of its stream. Or another task has just appended and cached events;
                    // then the next refresh reads them.
                    self.forget(stream);
                }
                self.remember(stream, entry.clone());
                return Ok(Loaded { entry, is_current: true });
            }
        }
    }

    /// Reads what the cached entity, or the snapshot, lacks. If neither is the beginning of the stream, reads all.
    async fn read(
        &self,
        stream: &StreamName,
        history: History,
        cached: Option<CacheEntry<P>>,
    ) -> Result<CacheEntry<P>> {
        if let Some(CacheEntry { entity, snapshot, .. }) = cached
            && let Some(entity) = self.read_on(entity, stream).await?
        {
            return Ok(CacheEntry { entity, history, snapshot });
        }
        if let Some(snapshots) = self.snapshots.get()
            && let Some(taken) = snapshots.load(&*self.store, stream).await
        {
            let snapshot = taken.version;
            if let Some(entity) = self.read_on(Arc::new(taken), stream).await? {
                snapshots.used();
                return Ok(CacheEntry { entity, history, snapshot });
            }
            snapshots.discard(&*self.store, stream, "its last message is not in the stream").await;
        }
        let (all, snapshot) = (Arc::new(Entity::default()), Version::NO_STREAM);
        // An entity without messages is always the beginning of a stream.
        let entity = self.read_on(all, stream).await?.unwrap_or_default();
        Ok(CacheEntry { entity, history, snapshot })
    }

    /// The entity with the messages that it lacks. `None` if its last message is not in the stream.
    async fn read_on(&self, known: Arc<Entity<P>>, stream: &StreamName) -> Result<Option<Arc<Entity<P>>>> {
        let first = known.version.position().unwrap_or(Position::FIRST);
        let mut messages = std::pin::pin!(self.store.stream_messages(stream, first));
        if known.version.position().is_some() {
            let is_unchecked = self.snapshots.get().is_some_and(EntitySnapshots::checks_nothing);
            match messages.try_next().await? {
                Some(message) if known.ends_with(&message) => {}
                _ if is_unchecked => {}
                _ => return Ok(None),
            }
        }
        let mut entity = None;
        while let Some(message) = messages.try_next().await? {
            entity.get_or_insert_with(|| (*known).clone()).apply(&message, self.store.store_id())?;
        }
        Ok(Some(entity.map_or(known, Arc::new)))
    }

    /// The cached entity, without a read: it may be stale. If none is cached, the current entity.
    pub(crate) async fn load(&self, stream: &StreamName) -> Result<Loaded<P>> {
        match self.cached_entry(stream, self.store.history()) {
            Some(entry) => Ok(Loaded { entry, is_current: false }),
            None => self.refresh(stream).await,
        }
    }

    fn cached_entry(&self, stream: &StreamName, history: History) -> Option<CacheEntry<P>> {
        self.cache.get(stream).filter(|entry| entry.history == history)
    }

    /// Caches an entity, unless a later version of it is cached. Takes a snapshot of it, if one is due.
    pub(crate) fn remember(&self, stream: &StreamName, mut entry: CacheEntry<P>) {
        let before = self.cached_entry(stream, entry.history);
        if before.as_ref().is_none_or(|before| before.entity.version <= entry.entity.version) {
            if let Some(snapshots) = self.snapshots.get()
                && snapshots.is_due(entry.entity.version, entry.snapshot)
            {
                let before = before.as_ref().map(|before| &*before.entity);
                if snapshots.take(&self.store, stream, &entry.entity, entry.history, before) {
                    entry.snapshot = entry.entity.version;
                }
            }
            self.cache.insert(stream.clone(), entry);
        }
    }

    /// Removes an entity from the cache.
    pub(crate) fn forget(&self, stream: &StreamName) {
        self.cache.remove(stream);
    }
}

impl<P> Loaded<P> {
    /// Whether the entity was current when it was loaded, and the store still has the history `history`.
    pub(crate) fn is_current_in(&self, history: History) -> bool {
        self.is_current && self.entry.history == history
    }
}

impl<P> Clone for CacheEntry<P> {
    fn clone(&self) -> Self {
        Self { entity: Arc::clone(&self.entity), history: self.history, snapshot: self.snapshot }
    }
}

impl<P: Projection> fmt::Debug for EntityStore<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntityStore")
            .field("category", &P::CATEGORY)
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}
