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
use std::sync::Arc;

use futures_util::TryStreamExt as _;
use quick_cache::sync::Cache;

use crate::entity::projection::check_upcasters;
use crate::entity::{Entity, Projection};
use crate::{Category, Error, History, MessageStore, MessageStoreExt as _, Result, StreamName};

/// The default number of entities in a cache.
pub const DEFAULT_CACHED_ENTITIES: usize = 10_000;

/// Projects the entities of a category, and caches them.
pub struct EntityStore<P> {
    pub(crate) store: Arc<dyn MessageStore>,
    /// The projection's category, or the error if its name or the projection's upcasters are wrong.
    category: Result<Category>,
    cache: Cache<StreamName, CacheEntry<P>>,
    projection: PhantomData<fn() -> P>,
}

/// An entry of the cache: an entity, and the history of the store in which it was read.
pub(crate) struct CacheEntry<P> {
    pub(crate) entity: Arc<Entity<P>>,
    pub(crate) history: History,
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
        Self { store: Arc::clone(store), category, cache: Cache::new(entities), projection: PhantomData }
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
            let entity = self.read(stream, history).await?;
            // The history may have changed during the read. Then the read is repeated from the beginning of the stream.
            if self.store.history() == history {
                let entry = CacheEntry { entity, history };
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

    async fn read(&self, stream: &StreamName, history: History) -> Result<Arc<Entity<P>>> {
        let Some(cached) = self.cached_entry(stream, history).map(|entry| entry.entity) else {
            return Ok(Arc::new(self.apply(Entity::default(), stream).await?));
        };
        let Some(last) = cached.version.position() else {
            return Ok(Arc::new(self.apply((*cached).clone(), stream).await?));
        };
        let mut messages = std::pin::pin!(self.store.stream_messages(stream, last));
        match messages.try_next().await? {
            Some(message) if cached.ends_with(&message) => {}
            _ => return Ok(Arc::new(self.apply(Entity::default(), stream).await?)),
        }
        let mut entity = None;
        while let Some(message) = messages.try_next().await? {
            entity.get_or_insert_with(|| (*cached).clone()).apply(&message, self.store.store_id())?;
        }
        Ok(entity.map_or(cached, Arc::new))
    }

    /// Applies the events after the entity's version.
    async fn apply(&self, mut entity: Entity<P>, stream: &StreamName) -> Result<Entity<P>> {
        let mut messages = std::pin::pin!(self.store.stream_messages(stream, entity.version.next()));
        while let Some(message) = messages.try_next().await? {
            entity.apply(&message, self.store.store_id())?;
        }
        Ok(entity)
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

    /// Caches an entity, unless a later version of it is cached.
    pub(crate) fn remember(&self, stream: &StreamName, entry: CacheEntry<P>) {
        let before = self.cached_entry(stream, entry.history);
        if before.is_none_or(|before| before.entity.version <= entry.entity.version) {
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
        Self { entity: Arc::clone(&self.entity), history: self.history }
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
