//! The implementation of the contract. Each method calls the file that does the work.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::append_apart::{Beside, append_apart};
use super::connection::Connection;
use super::failure::backend;
use super::group_commit::GroupCommit;
use super::history::Histories;
use super::horizon::Horizon;
use super::large_rows::LargeRows;
use super::leases::PostgresLeases;
use super::listen::Listener;
use super::look_up::LookUp;
use super::once::{LockTimeout, Taken};
use super::pool::Pool;
use super::sent_condition::SentCondition;
use super::standby::StandbyReader;
use super::{PlantedBug, matches, message_db, once, read, replication, timer_changes};
use crate::store::{
    AppendMetrics, Archive, Backlog, Claim, ClaimRecord, Condition, Conditions, Deduplication, Erasure, Leases,
    Matches, Moved, ReadModels, ServiceReports, Snapshots, StreamBatch, Timers, WakeUps,
};
use crate::{
    AppendRequest, Appended, Batch, Category, Error, GlobalPosition, History, Json, Limits, Message, MessageId,
    MessageRef, MessageStore, MessageStoreExt as _, Read, Result, StoreId, StreamName, StreamRead, Version, WakeUp,
};

/// A store in a PostgreSQL database.
///
/// It has at most 10 connections ([`PostgresOptions::connections`](super::PostgresOptions::connections) changes that). Each is
/// opened when it is needed. [`PostgresOptions::from_url`](super::PostgresOptions::from_url)
/// says when they are encrypted.
///
/// In a database with Message DB's own schema that is not adopted ([`migrate`](super::migrate)), it uses Message DB's
/// functions. The contract is kept, with two limits: an append takes round trips for each message, and reads of all
/// messages fail with [`Error::Unsupported`].
pub struct PostgresStore {
    pub(super) pool: Pool,
    /// Reads categories, where it has them.
    pub(super) standby: Option<StandbyReader>,
    pub(super) place: String,
    pub(super) limits: Limits,
    pub(super) large_rows: LargeRows,
    /// The schema is Message DB's own.
    pub(super) is_message_db: bool,
    pub(super) histories: Arc<Histories>,
    pub(super) wake_ups: Arc<WakeUps>,
    pub(super) listener: Listener,
    pub(super) group_commit: GroupCommit,
    pub(super) look_up: LookUp,
    pub(super) leases: PostgresLeases,
    pub(super) metrics: AppendMetrics,
    pub(super) horizon: Horizon,
    pub(super) read_model_turns: Semaphore,
    /// The positions of read models that this handle has moved.
    pub(super) moved: Moved,
    pub(super) rotating: tokio::sync::Mutex<()>,
}

impl PostgresStore {
    /// Wakes readers of these streams, in this process and in others.
    pub(super) fn wake(&self, streams: &[StreamName]) {
        self.wake_ups.wake_for(streams);
        self.listener.wake(streams.iter());
    }

    /// The bounds of a batch that is read.
    fn bounds(&self) -> (&Limits, &LargeRows) {
        (&self.limits, &self.large_rows)
    }

    pub(super) fn assert_history(&self, connection: &Connection, history: History) -> Result<()> {
        if connection.history() == history {
            return Ok(());
        }
        Err(self.history_changed())
    }

    pub(super) fn history_changed(&self) -> Error {
        Error::HistoryChanged { store: self.place.clone() }
    }

    /// Refuses a feature that Message DB's own schema does not have.
    pub(super) fn assert_ours(&self, what: &str) -> Result<()> {
        if !self.is_message_db {
            return Ok(());
        }
        let what = format!("{what} in Message DB's own schema; upgrade it with `message-store migrate --adopt`");
        Err(Error::Unsupported { store: self.place.clone(), what })
    }
}

#[async_trait]
impl MessageStore for PostgresStore {
    fn store_id(&self) -> StoreId {
        self.histories.store_id()
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn describe(&self) -> String {
        let from = if self.standby.is_some() { " (a standby serves reads of categories)" } else { "" };
        format!("{}{from}", self.place)
    }

    fn history(&self) -> History {
        self.histories.current()
    }

    async fn append(&self, mut request: AppendRequest) -> Result<Appended> {
        let history = request.history().unwrap_or_else(|| self.history());
        let (mut condition, mut timers) = (None, None);
        let (appends, fence) = if self.is_message_db {
            (self.accept(request)?, None)
        } else {
            condition = self.take_condition(&mut request)?.as_ref().map(SentCondition::new).transpose()?;
            timers = timer_changes::argument(&self.take_timers(&mut request)?)?;
            self.accept_with_fence(request)?
        };
        let streams: Vec<StreamName> = appends.iter().map(|append| append.stream.clone()).collect();
        let under_way = AppendMetrics::begin(&appends);
        let appended = if timers.is_some() || fence.is_some() {
            let beside = Beside { timers: timers.as_deref(), fence: fence.as_ref() };
            self.pool
                .with(async |connection| {
                    self.assert_history(connection, history)?;
                    let appended = append_apart(connection, (&appends, condition.as_ref()), &beside).await?;
                    replication::acknowledged(connection, appended).await
                })
                .await
        } else if self.is_message_db {
            self.pool
                .with(async |connection| {
                    self.assert_history(connection, history)?;
                    let appended = message_db::append(connection, &appends).await?;
                    replication::acknowledged(connection, appended).await
                })
                .await
        } else {
            self.group_commit.append(history, appends, condition).await
        };
        self.metrics.end(under_way, &appended);
        let appended = appended?;
        self.wake(&streams);
        Ok(appended)
    }

    async fn given_out(&self, _category: Option<&Category>) -> Result<GlobalPosition> {
        self.pool.with(async |connection| read::given_out(connection).await).await
    }

    async fn backlog(&self, category: &Category, after: GlobalPosition) -> Result<Backlog> {
        self.pool.with(async |connection| read::backlog(connection, category, after).await).await
    }

    async fn now(&self) -> Result<Timestamp> {
        self.pool.with(async |connection| read::now(connection).await).await
    }

    async fn read_stream(&self, stream: &StreamName, read: StreamRead) -> Result<Vec<Message>> {
        Ok(self.read_stream_batch(stream, read).await?.messages)
    }

    async fn read_stream_batch(&self, stream: &StreamName, read: StreamRead) -> Result<StreamBatch> {
        self.pool.with(async |connection| read::stream(connection, stream, &read, self.bounds()).await).await
    }

    async fn read_category(&self, category: &Category, read: Read) -> Result<Batch> {
        if let Some(standby) = &self.standby
            && let Some(batch) = standby.read(category, &read, self.bounds()).await
        {
            return Ok(batch);
        }
        let work = async |connection: &mut Connection| read::category(connection, category, &read, self.bounds()).await;
        let batch = self.pool.with(work).await?;
        if let Some(standby) = &self.standby {
            standby.read_from_primary(category, &batch);
        }
        Ok(batch)
    }

    async fn read_all(&self, read: Read) -> Result<Batch> {
        // Message DB's writers publish no bound, so there is no horizon.
        self.assert_ours("reading all messages")?;
        self.pool
            .with(async |connection| read::all(connection, (&self.place, &self.horizon), &read, self.bounds()).await)
            .await
    }

    async fn read_correlated(&self, stream: &StreamName, read: Read) -> Result<Batch> {
        self.assert_ours("reading the messages of a correlation")?;
        let horizon = (self.place.as_str(), &self.horizon);
        self.pool
            .with(async |connection| read::correlated(connection, horizon, stream, &read, self.bounds()).await)
            .await
    }

    async fn categories(&self, after: Option<&Category>, limit: usize) -> Result<Vec<Category>> {
        self.pool.with(async |connection| read::categories(connection, after, limit).await).await
    }

    async fn last_message(&self, stream: &StreamName, message_type: Option<&str>) -> Result<Option<Message>> {
        self.pool.with(async |connection| read::last(connection, stream, message_type).await).await
    }

    async fn version(&self, stream: &StreamName) -> Result<Version> {
        self.pool.with(async |connection| read::version(connection, stream).await).await
    }

    async fn message(&self, id: MessageId) -> Result<Option<Message>> {
        self.look_up.message(id).await
    }

    async fn written_by(&self, handler: &str, ids: &[MessageId]) -> Result<Vec<MessageRef>> {
        self.pool.with(async |connection| read::written_by(connection, handler, ids).await).await
    }

    async fn wake_up(&self, category: Option<&Category>) -> Result<WakeUp> {
        self.listener.listen();
        Ok(self.wake_ups.listen(category))
    }

    async fn rotate_store_id(&self) -> Result<StoreId> {
        self.assert_ours("rotating the identity")?;
        // Rotations of this handle take turns, so that the handle has the identity that was written last.
        let _rotating = self.rotating.lock().await;
        let id = StoreId::new();
        let sql = include_str!("sql/set_store_id.sql");
        let rotate = async |connection: &mut Connection| {
            connection.execute(sql, &[&id.as_uuid()]).await.map_err(backend("rotating the store's identity"))
        };
        self.pool.with(rotate).await?;
        self.histories.rotated(id);
        Ok(id)
    }

    fn deduplication(&self) -> Option<&dyn Deduplication> {
        // Message DB's own schema has no tables for keys and for positions of read models.
        if self.is_message_db { None } else { Some(self) }
    }

    fn read_models(&self) -> Option<&dyn ReadModels> {
        if self.is_message_db { None } else { Some(self) }
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        if self.is_message_db { None } else { Some(self) }
    }

    fn archive(&self) -> Option<&dyn Archive> {
        if self.is_message_db { None } else { Some(self) }
    }

    fn erasure(&self) -> Option<&dyn Erasure> {
        if self.is_message_db { None } else { Some(self) }
    }

    fn service_reports(&self) -> Option<&dyn ServiceReports> {
        if self.is_message_db { None } else { Some(self) }
    }

    fn leases(&self) -> Option<&dyn Leases> {
        if self.is_message_db { None } else { Some(&self.leases) }
    }

    fn timers(&self) -> Option<&dyn Timers> {
        if self.is_message_db { None } else { Some(self) }
    }

    fn conditions(&self) -> Option<&dyn Conditions> {
        // Message DB's own schema has no function that checks one.
        if self.is_message_db { None } else { Some(self) }
    }
}

#[async_trait]
impl Conditions for PostgresStore {
    async fn matches(&self, condition: &Condition, limit: usize) -> Result<Matches> {
        condition.query.check()?;
        self.pool.with(async |connection| matches::matches(connection, condition, limit, &self.limits).await).await
    }
}

#[async_trait]
impl Deduplication for PostgresStore {
    async fn lease(&self, claim: &Claim, owner: Uuid, time: Duration) -> Result<bool> {
        self.pool.with(async |connection| once::lease(connection, claim, owner, time).await).await
    }

    async fn release(&self, claim: &Claim, owner: Uuid) -> Result<()> {
        self.pool.with(async |connection| once::release(connection, claim, owner).await).await
    }

    async fn append_once(
        &self,
        claim: &Claim,
        mut request: AppendRequest,
        result: Json,
    ) -> Result<Option<ClaimRecord>> {
        let history = request.history();
        let condition = self.take_condition(&mut request)?.as_ref().map(SentCondition::new).transpose()?;
        let appends = self.accept_with_key(request)?;
        let is_limited = !self.histories.has(PlantedBug::OnceWaitsWithoutLimit);
        let mut lock_timeout =
            if is_limited { LockTimeout::new((&appends, condition.as_ref())) } else { LockTimeout::NONE };
        loop {
            let attempt = async |connection: &mut Connection| {
                let append = (&appends[..], condition.as_ref());
                once::append_once(connection, claim, append, &result, (&lock_timeout, history)).await
            };
            match self.pool.with(attempt).await? {
                Taken::Before(record) => return Ok(Some(record)),
                Taken::NotInTime => lock_timeout.pause().await,
                Taken::Now => {
                    let streams: Vec<StreamName> = appends.into_iter().map(|append| append.stream).collect();
                    self.wake(&streams);
                    return Ok(None);
                }
            }
        }
    }

    async fn record(&self, claim: &Claim) -> Result<Option<ClaimRecord>> {
        self.pool.with(async |connection| once::record(connection, claim).await).await
    }

    async fn sweep(&self, batch: u32) -> Result<u64> {
        self.pool.with(async |connection| once::sweep(connection, batch).await).await
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("place", &self.place).finish_non_exhaustive()
    }
}
