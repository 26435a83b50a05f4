//! Where entities come from: their streams, with a cache before them.
//!
//! Problem: a cache that hands out its own object, or refreshes it in place, keeps a change that was never written, or
//! half of a refresh that failed. Fix: what is cached never changes; a refresh works on a copy and replaces it when it
//! is complete. Why an entry that is behind does no harm: a decision on it is written with its version as the expected
//! one, and a decision that writes nothing is made again on the refreshed entity
//! ([`CommandHandler`](crate::handling::CommandHandler)). Why an entry that is ahead of its stream does none: after a
//! failover that lost messages it was remembered under another [`History`] of the store; and a refresh reads the last
//! remembered event too. When that is gone, or another stands in its place, the whole stream is read anew.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use futures_util::TryStreamExt as _;
use quick_cache::sync::Cache;

use crate::entity::{Entity, Projection};
use crate::{Category, Error, History, MessageStore, MessageStoreExt as _, Result, StreamName};

/// How many entities a cache holds, unless said otherwise.
pub const DEFAULT_CACHED_ENTITIES: usize = 10_000;

/// Projects the entities of a category, and remembers them.
pub struct EntityStore<P> {
    pub(crate) store: Arc<dyn MessageStore>,
    /// The projection's category; an error if its name is invalid.
    category: Result<Category>,
    cache: Cache<StreamName, Known<P>>,
    projection: PhantomData<fn() -> P>,
}

/// An entity, and the history of the store that it was projected in.
pub(crate) struct Known<P> {
    pub(crate) entity: Arc<Entity<P>>,
    pub(crate) history: History,
}

/// An entity to decide on.
pub(crate) struct Recalled<P> {
    pub(crate) known: Known<P>,
    /// It was read just now, not remembered from before.
    pub(crate) is_current: bool,
}

impl<P: Projection> EntityStore<P> {
    /// Entities of this store, 10,000 of them remembered.
    pub fn new(store: &Arc<dyn MessageStore>) -> Self {
        Self::with_cache(store, DEFAULT_CACHED_ENTITIES)
    }

    /// Entities of this store, so many of them remembered.
    pub fn with_cache(store: &Arc<dyn MessageStore>, entities: usize) -> Self {
        let category = Category::new(P::CATEGORY);
        Self { store: Arc::clone(store), category, cache: Cache::new(entities), projection: PhantomData }
    }

    /// The stream of the entity with this id.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty id, and for a projection whose category is invalid.
    pub fn stream(&self, id: &str) -> Result<StreamName> {
        StreamName::of(self.category.as_ref().map_err(Error::shared)?, id)
    }

    /// The entity with this id, up to date: the cached one and what was written since. An entity without a stream is
    /// the default state at [`Version::NO_STREAM`](crate::Version::NO_STREAM).
    ///
    /// # Errors
    /// As a read; [`Error::Undecodable`] for an event that cannot be applied.
    pub async fn fetch(&self, id: &str) -> Result<Arc<Entity<P>>> {
        Ok(self.refresh(&self.stream(id)?).await?.known.entity)
    }

    /// As [`EntityStore::fetch`], of a stream.
    pub(crate) async fn refresh(&self, stream: &StreamName) -> Result<Recalled<P>> {
        loop {
            let history = self.store.history();
            let entity = self.read(stream, history).await?;
            // What was read may be of the history before: then it is read again, from the beginning.
            if self.store.history() == history {
                let known = Known { entity, history };
                if self.remembered(stream, history).is_some_and(|before| before.entity.version > known.entity.version) {
                    // It was ahead of its stream. (Or another task has just carried out a command: that is read again.)
                    self.forget(stream);
                }
                self.remember(stream, known.clone());
                return Ok(Recalled { known, is_current: true });
            }
        }
    }

    async fn read(&self, stream: &StreamName, history: History) -> Result<Arc<Entity<P>>> {
        let Some(known) = self.remembered(stream, history).map(|known| known.entity) else {
            return Ok(Arc::new(self.apply(Entity::default(), stream).await?));
        };
        let Some(last) = known.version.position() else {
            return Ok(Arc::new(self.apply((*known).clone(), stream).await?));
        };
        let mut messages = std::pin::pin!(self.store.stream_messages(stream, last));
        match messages.try_next().await? {
            Some(message) if known.ends_with(&message) => {}
            _ => return Ok(Arc::new(self.apply(Entity::default(), stream).await?)),
        }
        let mut entity = None;
        while let Some(message) = messages.try_next().await? {
            entity.get_or_insert_with(|| (*known).clone()).apply(&message, self.store.store_id())?;
        }
        Ok(entity.map_or(known, Arc::new))
    }

    /// The entity with the events behind it.
    async fn apply(&self, mut entity: Entity<P>, stream: &StreamName) -> Result<Entity<P>> {
        let mut messages = std::pin::pin!(self.store.stream_messages(stream, entity.version.next()));
        while let Some(message) = messages.try_next().await? {
            entity.apply(&message, self.store.store_id())?;
        }
        Ok(entity)
    }

    /// The entity as it is remembered, without a read; it may be behind. Up to date when it is not remembered.
    pub(crate) async fn recall(&self, stream: &StreamName) -> Result<Recalled<P>> {
        match self.remembered(stream, self.store.history()) {
            Some(known) => Ok(Recalled { known, is_current: false }),
            None => self.refresh(stream).await,
        }
    }

    fn remembered(&self, stream: &StreamName, history: History) -> Option<Known<P>> {
        self.cache.get(stream).filter(|known| known.history == history)
    }

    /// Remembers an entity, unless a later version of it is remembered.
    pub(crate) fn remember(&self, stream: &StreamName, known: Known<P>) {
        let before = self.remembered(stream, known.history);
        if before.is_none_or(|before| before.entity.version <= known.entity.version) {
            self.cache.insert(stream.clone(), known);
        }
    }

    /// Forgets an entity: its stream is not what it was.
    pub(crate) fn forget(&self, stream: &StreamName) {
        self.cache.remove(stream);
    }
}

impl<P> Recalled<P> {
    /// Whether nothing was written behind it that was there when it was recalled, in this history of the store.
    pub(crate) fn is_current_in(&self, history: History) -> bool {
        self.is_current && self.known.history == history
    }
}

impl<P> Clone for Known<P> {
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
