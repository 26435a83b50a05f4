//! The store: the methods of the contract.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

use async_trait::async_trait;
use message_store::store::{
    Backlog, Conditions, Deduplication, Leases, ServiceReports, Snapshots, StreamBatch, Timers,
};
use message_store::{
    AppendRequest, Appended, Batch, Category, Error, GlobalPosition, History, Limits, Message, MessageId, MessageRef,
    MessageStore, MessageStoreExt as _, NewMessage, Read, Result, StoreId, StreamName, StreamRead, Timestamp, WakeUp,
};

use crate::batch::MAX_RECORDS;
use crate::groups::Groups;
use crate::heads::Heads;
use crate::log::{Log, LogState};
use crate::options::{JetstreamOptions, PlantedBug};
use crate::setup::{self, Opened};
use crate::timers::KnownTimers;
use crate::wake_ups::Waker;
use crate::write::{Write, Written};

/// What a record has besides the data and metadata of its message: the payload's own fields, the subject and the headers.
const AROUND: usize = 8 << 10;
/// The messages of one append. Each needs two records, and some are left for conditions, categories, a key and timers.
const MAX_APPENDED: usize = MAX_RECORDS * 2 / 5;
/// The categories that are remembered as having messages.
const MARKS: usize = 100_000;

/// A message store in a log of NATS JetStream.
#[derive(Debug)]
pub struct JetstreamStore {
    pub(crate) log: Log,
    pub(crate) heads: Heads,
    pub(crate) groups: Groups,
    pub(crate) timers: tokio::sync::Mutex<KnownTimers>,
    options: JetstreamOptions,
    limits: Limits,
    id: RwLock<StoreId>,
    history: AtomicU64,
    /// The highest sequence number that this process has seen.
    seen: AtomicU64,
    /// The categories that have messages, as this process knows.
    marked: Mutex<HashSet<Category>>,
    waker: Waker,
}

impl JetstreamStore {
    /// Opens the store that a URL names, and creates it if it is missing.
    ///
    /// # Errors
    /// [`Error::Invalid`] for another URL; [`Error::Unsupported`] for a server before 2.12; [`Error::Schema`] for a log that
    /// another program has configured; [`Error::Backend`] when no server answers.
    pub async fn open(url: &str) -> Result<Self> {
        Self::open_with(JetstreamOptions::from_url(url)?).await
    }

    /// Opens a store with these options.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_with(options: JetstreamOptions) -> Result<Self> {
        let Opened { log, id, wake_ups, listener } = setup::open(&options).await?;
        let max_payload = log.client().max_payload();
        let mut limits = options.limits;
        limits.message_bytes = limits.message_bytes.min(max_payload.saturating_sub(2 * AROUND));
        limits.append_messages = limits.append_messages.min(MAX_APPENDED);
        let waker = Waker::new(listener, &log.subjects, wake_ups);
        Ok(Self {
            log,
            heads: Heads::default(),
            groups: Groups::default(),
            timers: tokio::sync::Mutex::default(),
            options,
            limits,
            id: RwLock::new(id),
            history: AtomicU64::default(),
            seen: AtomicU64::default(),
            marked: Mutex::default(),
            waker,
        })
    }

    /// The same store through a connection of its own.
    pub(crate) async fn connected_apart(&self) -> Result<Self> {
        Self::open_with(self.options.clone()).await
    }

    /// The greatest size of one record that the server takes.
    pub(crate) fn max_payload(&self) -> usize {
        self.log.client().max_payload()
    }

    /// Refuses a message whose record is too large for the server.
    pub(crate) fn check_size(&self, message: &NewMessage, actual: usize) -> Result<()> {
        let limit = self.max_payload().saturating_sub(AROUND / 2);
        if actual <= limit {
            return Ok(());
        }
        let what = format!("the record of message {}, in bytes as it is written,", message.id);
        Err(Error::TooLarge { what, actual, limit })
    }

    pub(crate) fn has_bug(&self, bug: PlantedBug) -> bool {
        self.options.bug == Some(bug)
    }

    pub(crate) fn seen(&self) -> u64 {
        self.seen.load(Ordering::SeqCst)
    }

    pub(crate) fn see(&self, sequence: u64) {
        self.seen.fetch_max(sequence, Ordering::SeqCst);
    }

    /// Forgets what was remembered of a log that has lost records: it ends before what this process has seen.
    pub(crate) fn begin_history(&self, last: u64) {
        self.seen.store(last, Ordering::SeqCst);
        self.heads.clear();
        self.marked.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.history.fetch_add(1, Ordering::SeqCst);
    }

    /// Begins another history if the log ends before what this process has seen.
    pub(crate) fn notice(&self, state: LogState) {
        if state.last < self.seen() {
            self.begin_history(state.last);
        }
    }

    pub(crate) fn is_marked(&self, category: &Category) -> bool {
        self.marked.lock().unwrap_or_else(PoisonError::into_inner).contains(category)
    }

    pub(crate) fn mark(&self, category: &Category) {
        let mut marked = self.marked.lock().unwrap_or_else(PoisonError::into_inner);
        if marked.len() >= MARKS {
            marked.clear();
        }
        marked.insert(category.clone());
    }

    pub(crate) async fn wake(&self, streams: impl Iterator<Item = &StreamName> + Clone) {
        self.waker.wake(self.log.client(), streams).await;
    }
}

#[async_trait]
impl MessageStore for JetstreamStore {
    fn store_id(&self) -> StoreId {
        *self.id.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn describe(&self) -> String {
        self.options.describe()
    }

    fn history(&self) -> History {
        History(self.history.load(Ordering::SeqCst))
    }

    async fn append(&self, mut request: AppendRequest) -> Result<Appended> {
        let condition = self.take_condition(&mut request)?;
        let timers = self.take_timers(&mut request)?;
        let (appends, fence) = self.accept_with_fence(request)?;
        match self.write(&Write { appends, fence, condition, timers, ..Write::default() }).await? {
            Written::Appended(appended) => Ok(appended),
            Written::Taken(_) => Err(Error::invalid("append", "it names no key, and a key was found taken")),
        }
    }

    async fn given_out(&self, _category: Option<&Category>) -> Result<GlobalPosition> {
        let messages = self.log.subjects.messages();
        let (state, last) = tokio::try_join!(self.log.state(), self.log.last(&messages))?;
        self.notice(state);
        Ok(last.map_or(GlobalPosition::ZERO, |last| last.global_position()))
    }

    async fn backlog(&self, category: &Category, after: GlobalPosition) -> Result<Backlog> {
        self.backlog_of(category, after).await
    }

    async fn now(&self) -> Result<Timestamp> {
        Ok(self.log.state().await?.now)
    }

    async fn read_stream(&self, stream: &StreamName, read: StreamRead) -> Result<Vec<Message>> {
        self.read_stream_range(stream, &read).await.map(|(messages, _)| messages)
    }

    async fn read_stream_batch(&self, stream: &StreamName, read: StreamRead) -> Result<StreamBatch> {
        let (messages, is_end) = self.read_stream_range(stream, &read).await?;
        Ok(StreamBatch::new(messages, is_end))
    }

    async fn read_category(&self, category: &Category, read: Read) -> Result<Batch> {
        self.read_matching(&self.log.subjects.category(category), &read).await
    }

    async fn read_all(&self, read: Read) -> Result<Batch> {
        self.read_matching(&self.log.subjects.messages(), &read).await
    }

    async fn categories(&self, after: Option<&Category>, limit: usize) -> Result<Vec<Category>> {
        let marks = self.log.subjects_of(&self.log.subjects.marks()).await?;
        let mut found: Vec<_> = marks.iter().filter_map(|subject| self.log.subjects.marked(subject)).collect();
        found.sort_unstable();
        Ok(found.into_iter().filter(|category| after.is_none_or(|after| category > after)).take(limit).collect())
    }

    async fn message(&self, id: MessageId) -> Result<Option<Message>> {
        self.find(id).await
    }

    async fn written_by(&self, handler: &str, ids: &[MessageId]) -> Result<Vec<MessageRef>> {
        let is_by = |message: &Message| message.decode_metadata().handler.as_deref() == Some(handler);
        Ok(self.used(ids).await?.into_iter().filter(is_by).map(|message| message.reference()).collect())
    }

    async fn wake_up(&self, category: Option<&Category>) -> Result<WakeUp> {
        Ok(self.waker.wake_ups().listen(category))
    }

    async fn rotate_store_id(&self) -> Result<StoreId> {
        let id = setup::rotate(&self.log).await?;
        *self.id.write().unwrap_or_else(PoisonError::into_inner) = id;
        self.heads.clear();
        self.history.fetch_add(1, Ordering::SeqCst);
        Ok(id)
    }

    fn deduplication(&self) -> Option<&dyn Deduplication> {
        Some(self)
    }

    fn conditions(&self) -> Option<&dyn Conditions> {
        Some(self)
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        Some(self)
    }

    fn leases(&self) -> Option<&dyn Leases> {
        Some(self)
    }

    fn service_reports(&self) -> Option<&dyn ServiceReports> {
        Some(self)
    }

    fn timers(&self) -> Option<&dyn Timers> {
        Some(self)
    }
}
