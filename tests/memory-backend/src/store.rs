//! The required methods of the contract, and the provided ones that this store replaces.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use async_trait::async_trait;
use message_store::store::{Deduplication, WakeUps};
use message_store::{
    AppendRequest, Appended, Batch, Category, GlobalPosition, History, Limits, Message, MessageId, MessageStore,
    MessageStoreExt as _, Read, Result, StoreId, StreamName, StreamRead, Timestamp, WakeUp,
};

use crate::contents::Contents;

/// A store in memory, which is lost when it is dropped.
#[derive(Debug)]
pub struct MemoryStore {
    id: RwLock<StoreId>,
    /// The number of changes of its identity.
    rotations: AtomicU64,
    contents: Mutex<Contents>,
    wake_ups: WakeUps,
    limits: Limits,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self {
            id: RwLock::new(StoreId::new()),
            rotations: AtomicU64::default(),
            contents: Mutex::default(),
            wake_ups: WakeUps::default(),
            limits: Limits::default(),
        }
    }
}

impl MemoryStore {
    /// An empty store with these limits.
    pub fn with_limits(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    pub(crate) fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wake(&self, streams: &[StreamName]) {
        self.wake_ups.wake_for(streams);
    }

    /// The batch for a read: the messages that pass its filter, in order, and the position up to which it looked.
    fn read(&self, read: &Read, is_wanted: impl Fn(&Message) -> bool) -> Batch {
        let contents = self.contents();
        let looked_at =
            contents.messages.iter().filter(|message| message.global_position >= read.from && is_wanted(message));
        let looked_at: Vec<_> = looked_at.take(read.look_at()).collect();
        let last = looked_at.last().map(|message| message.global_position);
        let passing = looked_at.into_iter().filter(|message| read.filter.passes(message)).cloned();
        Batch::of(passing.collect(), last, read).within(&self.limits)
    }
}

#[async_trait]
impl MessageStore for MemoryStore {
    fn store_id(&self) -> StoreId {
        *self.id.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn describe(&self) -> String {
        "memory:".to_owned()
    }

    async fn append(&self, request: AppendRequest) -> Result<Appended> {
        let appends = self.accept(request)?;
        let streams: Vec<_> = appends.iter().map(|append| append.stream.clone()).collect();
        let appended = self.contents().append(appends)?;
        self.wake(&streams);
        Ok(appended)
    }

    async fn read_stream(&self, stream: &StreamName, read: StreamRead) -> Result<Vec<Message>> {
        let contents = self.contents();
        let messages = contents.stream(stream).filter(|message| match read.from {
            Some(from) if read.backwards => message.position <= from,
            Some(from) => message.position >= from,
            None => true,
        });
        let messages: Vec<_> = if read.backwards {
            messages.rev().take(read.limit).cloned().collect()
        } else {
            messages.take(read.limit).cloned().collect()
        };
        Ok(self.limits.cut(messages))
    }

    async fn read_category(&self, category: &Category, read: Read) -> Result<Batch> {
        Ok(self.read(&read, |message| message.stream.category() == *category))
    }

    async fn read_all(&self, read: Read) -> Result<Batch> {
        Ok(self.read(&read, |_| true))
    }

    async fn message(&self, id: MessageId) -> Result<Option<Message>> {
        Ok(self.contents().message(id).cloned())
    }

    async fn given_out(&self, _category: Option<&Category>) -> Result<GlobalPosition> {
        Ok(self.contents().last_position())
    }

    async fn now(&self) -> Result<Timestamp> {
        Ok(Timestamp::now())
    }

    async fn wake_up(&self, category: Option<&Category>) -> Result<WakeUp> {
        Ok(self.wake_ups.listen(category))
    }

    fn history(&self) -> History {
        History(self.rotations.load(Ordering::SeqCst))
    }

    async fn rotate_store_id(&self) -> Result<StoreId> {
        let id = StoreId::new();
        *self.id.write().unwrap_or_else(PoisonError::into_inner) = id;
        self.rotations.fetch_add(1, Ordering::SeqCst);
        Ok(id)
    }

    fn deduplication(&self) -> Option<&dyn Deduplication> {
        Some(self)
    }
}
