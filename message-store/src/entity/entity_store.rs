//! Where entities come from: their streams, with a cache before them.
//!
//! Problem: a cache that hands out its own object, or refreshes it in place, keeps a change that was never written, or half
//! of a refresh that failed. Fix: what is cached never changes; a refresh works on a copy and replaces it when it is
//! complete. Why a stale entry does no harm: whatever is decided on it is written with its version as the expected one.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use futures_util::TryStreamExt as _;
use quick_cache::sync::Cache;

use crate::entity::{Entity, Projection};
use crate::{Category, MessageStore, MessageStoreExt as _, Result, StreamName};

/// How many entities a cache holds, unless said otherwise.
pub const DEFAULT_CACHED_ENTITIES: usize = 10_000;

/// Projects the entities of a category, and remembers them.
pub struct EntityStore<P> {
    store: Arc<dyn MessageStore>,
    cache: Cache<StreamName, Arc<Entity<P>>>,
    projection: PhantomData<fn() -> P>,
}

impl<P: Projection> EntityStore<P> {
    /// Entities of this store, 10,000 of them remembered.
    pub fn new(store: &Arc<dyn MessageStore>) -> Self {
        Self::with_cache(store, DEFAULT_CACHED_ENTITIES)
    }

    /// Entities of this store, so many of them remembered.
    pub fn with_cache(store: &Arc<dyn MessageStore>, entities: usize) -> Self {
        Self { store: Arc::clone(store), cache: Cache::new(entities), projection: PhantomData }
    }

    /// The stream of the entity with this id.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for an empty id.
    pub fn stream(&self, id: &str) -> Result<StreamName> {
        Category::new(P::CATEGORY)?.stream(id)
    }

    /// The entity with this id, up to date: the cached one and what was written since. An entity without a stream is the
    /// default state at [`Version::NO_STREAM`](crate::Version::NO_STREAM).
    ///
    /// # Errors
    /// As a read; [`Error::Undecodable`](crate::Error::Undecodable) for an event that cannot be applied.
    pub async fn fetch(&self, id: &str) -> Result<Arc<Entity<P>>> {
        self.refresh(&self.stream(id)?).await
    }

    /// As [`EntityStore::fetch`], of a stream.
    pub(crate) async fn refresh(&self, stream: &StreamName) -> Result<Arc<Entity<P>>> {
        let known = self.cache.get(stream).unwrap_or_default();
        let mut entity = None;
        let mut messages = std::pin::pin!(self.store.stream_messages(stream, known.version.next()));
        while let Some(message) = messages.try_next().await? {
            entity.get_or_insert_with(|| (*known).clone()).apply(&message, self.store.store_id())?;
        }
        let entity = entity.map_or(known, Arc::new);
        self.remember(stream, &entity);
        Ok(entity)
    }

    /// The entity as it is remembered, without a read; it may be behind. Up to date when it is not remembered.
    pub(crate) async fn recall(&self, stream: &StreamName) -> Result<Arc<Entity<P>>> {
        match self.cache.get(stream) {
            Some(entity) => Ok(entity),
            None => self.refresh(stream).await,
        }
    }

    /// Remembers an entity, unless a later version of it is remembered.
    pub(crate) fn remember(&self, stream: &StreamName, entity: &Arc<Entity<P>>) {
        if self.cache.get(stream).is_none_or(|known| known.version <= entity.version) {
            self.cache.insert(stream.clone(), Arc::clone(entity));
        }
    }

    pub(crate) fn store(&self) -> &Arc<dyn MessageStore> {
        &self.store
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
