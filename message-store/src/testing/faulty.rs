//! A store whose faults are ordered in advance.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;

use crate::idempotence::{Claim, Hold, Seen};
use crate::{
    Append, Appended, Batch, Category, Error, GlobalPosition, History, Json, Limits, Message, MessageId, MessageStore,
    Read, Result, StoreId, StreamName, StreamRead, Version, WakeUp,
};

/// Wraps a store, and makes appends fail, before anything is written or after it, come second, and holds be lost.
#[derive(Debug)]
pub struct FaultyStore {
    inner: Arc<dyn MessageStore>,
    refuse: AtomicU32,
    lose: AtomicU32,
    lose_holds: AtomicBool,
    rivals: Mutex<VecDeque<Append>>,
    histories: AtomicU64,
}

impl FaultyStore {
    /// No faults yet.
    pub fn new(inner: &Arc<dyn MessageStore>) -> Arc<Self> {
        Arc::new(Self {
            inner: Arc::clone(inner),
            refuse: AtomicU32::new(0),
            lose: AtomicU32::new(0),
            lose_holds: AtomicBool::new(false),
            rivals: Mutex::default(),
            histories: AtomicU64::new(0),
        })
    }

    /// The next appends, so many, write nothing and fail with a passing fault.
    pub fn refuse_appends(&self, appends: u32) {
        self.refuse.store(appends, Ordering::SeqCst);
    }

    /// The next appends, so many, are written, and the answer is lost.
    pub fn lose_answers(&self, appends: u32) {
        self.lose.store(appends, Ordering::SeqCst);
    }

    /// The next appends, one for each of these, come just after it: another writer was quicker.
    pub fn come_second(&self, rivals: impl IntoIterator<Item = Append>) {
        self.rivals.lock().unwrap_or_else(PoisonError::into_inner).extend(rivals);
    }

    /// The store has another history from now on, as after a failover that lost messages.
    pub fn change_history(&self) {
        self.histories.fetch_add(1, Ordering::SeqCst);
    }

    /// From now on a hold of a key is lost as soon as it is given.
    pub fn lose_holds(&self) {
        self.lose_holds.store(true, Ordering::SeqCst);
    }
}

fn take(faults: &AtomicU32) -> bool {
    faults.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

#[async_trait]
impl MessageStore for FaultyStore {
    fn store_id(&self) -> StoreId {
        self.inner.store_id()
    }

    fn limits(&self) -> &Limits {
        self.inner.limits()
    }

    fn describe(&self) -> String {
        format!("faulty {}", self.inner.describe())
    }

    async fn append(&self, appends: Vec<Append>) -> Result<Appended> {
        self.append_in(self.history(), appends).await
    }

    fn history(&self) -> History {
        History(self.inner.history().0 + self.histories.load(Ordering::SeqCst))
    }

    async fn append_in(&self, history: History, appends: Vec<Append>) -> Result<Appended> {
        if take(&self.refuse) {
            return Err(Error::backend("a planted fault", true, "nothing was written"));
        }
        if history != self.history() {
            return Err(Error::HistoryChanged { store: self.describe() });
        }
        let rival = self.rivals.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        if let Some(rival) = rival {
            self.inner.append(vec![rival]).await?;
        }
        let appended = self.inner.append(appends).await?;
        if take(&self.lose) {
            return Err(Error::CommitUnknown { cause: "a planted fault".into() });
        }
        Ok(appended)
    }

    async fn given_out(&self) -> Result<GlobalPosition> {
        self.inner.given_out().await
    }

    async fn now(&self) -> Result<Timestamp> {
        self.inner.now().await
    }

    async fn read_stream(&self, stream: &StreamName, read: StreamRead) -> Result<Vec<Message>> {
        self.inner.read_stream(stream, read).await
    }

    async fn read_category(&self, category: &Category, read: Read) -> Result<Batch> {
        self.inner.read_category(category, read).await
    }

    async fn read_all(&self, read: Read) -> Result<Batch> {
        self.inner.read_all(read).await
    }

    async fn last_message(&self, stream: &StreamName, message_type: Option<&str>) -> Result<Option<Message>> {
        self.inner.last_message(stream, message_type).await
    }

    async fn version(&self, stream: &StreamName) -> Result<Version> {
        self.inner.version(stream).await
    }

    async fn message(&self, id: MessageId) -> Result<Option<Message>> {
        self.inner.message(id).await
    }

    async fn hold(&self, claim: &Claim, waits: bool) -> Result<Option<Hold>> {
        let hold = self.inner.hold(claim, waits).await?;
        if self.lose_holds.load(Ordering::SeqCst) {
            drop(hold);
            return Ok(Some(Hold::new(())));
        }
        Ok(hold)
    }

    async fn append_once(&self, claim: &Claim, appends: Vec<Append>, result: Json) -> Result<Option<Seen>> {
        if take(&self.refuse) {
            return Err(Error::backend("a planted fault", true, "nothing was written"));
        }
        let seen = self.inner.append_once(claim, appends, result).await?;
        if take(&self.lose) {
            return Err(Error::CommitUnknown { cause: "a planted fault".into() });
        }
        Ok(seen)
    }

    async fn seen(&self, claim: &Claim) -> Result<Option<Seen>> {
        self.inner.seen(claim).await
    }

    async fn sweep(&self, batch: u32) -> Result<u64> {
        self.inner.sweep(batch).await
    }

    async fn wake_up(&self, category: Option<&Category>) -> Result<WakeUp> {
        self.inner.wake_up(category).await
    }

    async fn rotate_store_id(&self) -> Result<StoreId> {
        self.inner.rotate_store_id().await
    }
}
