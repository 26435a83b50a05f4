//! The implementation of the contract. Each method calls the file that does the work.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::Connection;
use uuid::Uuid;

use crate::store::{
    AppendMetrics, Archive, Backlog, Claim, ClaimRecord, Condition, Conditions, Deduplication, Erasure, Leases,
    Matches, Moved, ReadModels, ServiceReports, Snapshots, StreamBatch, Timers, WakeUps,
};
use crate::{
    AppendRequest, Appended, Batch, Category, GlobalPosition, History, Json, Limits, Message, MessageId, MessageRef,
    MessageStore, MessageStoreExt as _, Read, Result, StoreId, StreamName, StreamRead, Version, WakeUp,
};

use super::blocking::blocking;
use super::failure::failed;
use super::leases::SqliteLeases;
use super::location::Location;
use super::matches;
use super::read;
use super::readers::Readers;
use super::turns::Turns;
use super::writer::Writer;

/// A store in a SQLite file, or in memory.
///
/// An acknowledged append is durable (`synchronous=FULL`, write-ahead log). Other processes may open the file at the
/// same time, and take turns to write: for that, there is an empty file beside it, whose name ends with `-turn`. Their
/// appends wake no readers in this process, which find them by polling.
pub struct SqliteStore {
    pub(super) place: Location,
    /// The turns of the connections that update read models.
    pub(super) update_turns: Arc<Mutex<Turns>>,
    /// The positions of read models that this handle has moved.
    pub(super) moved: Moved,
    pub(super) limits: Limits,
    pub(super) store_id: RwLock<StoreId>,
    /// The number of rotations of the identity by this handle.
    pub(super) rotations: Arc<AtomicU64>,
    pub(super) wake_ups: Arc<WakeUps>,
    pub(super) writer: Writer,
    pub(super) readers: Readers,
    pub(super) leases: SqliteLeases,
    pub(super) metrics: AppendMetrics,
}

#[async_trait]
impl MessageStore for SqliteStore {
    fn store_id(&self) -> StoreId {
        *self.store_id.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn describe(&self) -> String {
        match &self.place {
            Location::Memory => "sqlite::memory:".to_owned(),
            Location::File(path) => format!("sqlite:{}", path.display()),
        }
    }

    fn history(&self) -> History {
        History(self.rotations.load(Ordering::SeqCst))
    }

    async fn append(&self, mut request: AppendRequest) -> Result<Appended> {
        let condition = self.take_condition(&mut request)?;
        let timers = self.take_timers(&mut request)?;
        let (appends, fence) = self.accept_with_fence(request)?;
        let under_way = AppendMetrics::begin(&appends);
        let appended = self.writer.append((appends, condition), timers, fence).await;
        self.metrics.end(under_way, &appended);
        appended
    }

    async fn given_out(&self, _category: Option<&Category>) -> Result<GlobalPosition> {
        self.readers.read("reading the last position", read::given_out).await
    }

    async fn backlog(&self, category: &Category, after: GlobalPosition) -> Result<Backlog> {
        let category = category.clone();
        self.readers.read("counting a backlog", move |connection| read::backlog(connection, &category, after)).await
    }

    /// The machine's clock, which all processes with this file share.
    async fn now(&self) -> Result<Timestamp> {
        Ok(Timestamp::now())
    }

    async fn read_stream(&self, stream: &StreamName, read: StreamRead) -> Result<Vec<Message>> {
        Ok(self.read_stream_batch(stream, read).await?.messages)
    }

    async fn read_stream_batch(&self, stream: &StreamName, read: StreamRead) -> Result<StreamBatch> {
        let (stream, limits) = (stream.clone(), self.limits);
        self.readers.read("reading a stream", move |connection| read::stream(connection, &stream, &read, &limits)).await
    }

    async fn read_category(&self, category: &Category, read: Read) -> Result<Batch> {
        let (category, limits) = (category.clone(), self.limits);
        self.readers
            .read("reading a category", move |connection| read::category(connection, &category, &read, &limits))
            .await
    }

    async fn read_all(&self, read: Read) -> Result<Batch> {
        let limits = self.limits;
        self.readers.read("reading all messages", move |connection| read::all(connection, &read, &limits)).await
    }

    async fn read_correlated(&self, stream: &StreamName, read: Read) -> Result<Batch> {
        let (stream, limits) = (stream.clone(), self.limits);
        self.readers
            .read("reading the messages of a correlation", move |connection| {
                read::correlated(connection, &stream, &read, &limits)
            })
            .await
    }

    async fn categories(&self, after: Option<&Category>, limit: usize) -> Result<Vec<Category>> {
        let after = after.cloned();
        self.readers
            .read("reading the categories", move |connection| read::categories(connection, after.as_ref(), limit))
            .await
    }

    async fn last_message(&self, stream: &StreamName, message_type: Option<&str>) -> Result<Option<Message>> {
        let (stream, message_type) = (stream.clone(), message_type.map(str::to_owned));
        self.readers
            .read("reading the last message of a stream", move |connection| {
                read::last(connection, &stream, message_type.as_deref())
            })
            .await
    }

    async fn version(&self, stream: &StreamName) -> Result<Version> {
        let stream = stream.clone();
        self.readers.read("reading a stream's version", move |connection| read::version(connection, &stream)).await
    }

    async fn message(&self, id: MessageId) -> Result<Option<Message>> {
        self.readers.read("reading a message", move |connection| read::message(connection, id)).await
    }

    async fn written_by(&self, handler: &str, ids: &[MessageId]) -> Result<Vec<MessageRef>> {
        let (handler, ids) = (handler.to_owned(), ids.to_vec());
        self.readers.read("looking up messages", move |connection| read::written_by(connection, &handler, &ids)).await
    }

    async fn wake_up(&self, category: Option<&Category>) -> Result<WakeUp> {
        Ok(self.wake_ups.listen(category))
    }

    async fn rotate_store_id(&self) -> Result<StoreId> {
        let id = StoreId::new();
        let rotate = move |connection: &mut Connection| {
            let sql = include_str!("sql/set_store_id.sql");
            let rotated = connection.execute(sql, [id.as_uuid().as_bytes()]);
            rotated.map_err(|error| failed("rotating the store's identity", error))
        };
        match self.place.clone() {
            Location::Memory => self.readers.lend(rotate).await?,
            // The connections that read a file cannot write.
            place @ Location::File(_) => blocking(move || rotate(&mut place.open_again()?)).await?,
        };
        *self.store_id.write().unwrap_or_else(PoisonError::into_inner) = id;
        self.rotations.fetch_add(1, Ordering::SeqCst);
        Ok(id)
    }

    fn deduplication(&self) -> Option<&dyn Deduplication> {
        Some(self)
    }

    fn read_models(&self) -> Option<&dyn ReadModels> {
        Some(self)
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        Some(self)
    }

    fn archive(&self) -> Option<&dyn Archive> {
        Some(self)
    }

    fn erasure(&self) -> Option<&dyn Erasure> {
        Some(self)
    }

    fn service_reports(&self) -> Option<&dyn ServiceReports> {
        Some(self)
    }

    fn leases(&self) -> Option<&dyn Leases> {
        Some(&self.leases)
    }

    fn timers(&self) -> Option<&dyn Timers> {
        Some(self)
    }

    fn conditions(&self) -> Option<&dyn Conditions> {
        Some(self)
    }
}

#[async_trait]
impl Conditions for SqliteStore {
    async fn matches(&self, condition: &Condition, limit: usize) -> Result<Matches> {
        condition.query.check()?;
        let (condition, limits) = (condition.clone(), self.limits);
        self.readers
            .read("reading the messages that match a query", move |connection| {
                matches::matches(connection, &condition, limit, &limits)
            })
            .await
    }
}

#[async_trait]
impl Deduplication for SqliteStore {
    async fn lease(&self, claim: &Claim, owner: Uuid, time: Duration) -> Result<bool> {
        self.writer.lease(claim.clone(), owner, time).await
    }

    async fn release(&self, claim: &Claim, owner: Uuid) -> Result<()> {
        self.writer.release(claim.clone(), owner).await
    }

    async fn append_once(
        &self,
        claim: &Claim,
        mut request: AppendRequest,
        result: Json,
    ) -> Result<Option<ClaimRecord>> {
        let condition = self.take_condition(&mut request)?;
        let appends = self.accept_with_key(request)?;
        self.writer.append_once(claim.clone(), (appends, condition), result).await
    }

    async fn record(&self, claim: &Claim) -> Result<Option<ClaimRecord>> {
        self.writer.record(claim.clone()).await
    }

    async fn sweep(&self, batch: u32) -> Result<u64> {
        self.writer.sweep(batch).await
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("place", &self.describe()).finish_non_exhaustive()
    }
}
