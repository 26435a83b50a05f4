//! The contract, with the faults that the test has planned.

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use super::{FaultyStore, lock, take};
use crate::intents::keys;
use crate::store::{
    Archive, Backlog, Claim, ClaimRecord, Condition, Conditions, Deduplication, Erasure, Leases, Matches, ReadModels,
    ServiceReports, Snapshots, StreamBatch, Timers,
};
use crate::{
    AppendRequest, Appended, Batch, Category, Error, GlobalPosition, History, Json, Limits, Message, MessageId,
    MessageStore, Read, Result, StoreId, StreamName, StreamRead, Version, WakeUp,
};

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

    fn history(&self) -> History {
        History(self.inner.history().0 + self.histories.load(Ordering::SeqCst))
    }

    async fn append(&self, mut request: AppendRequest) -> Result<Appended> {
        self.calls.step().await;
        self.by_its_clock(request.timers_mut());
        self.assert_in_time(request.appends())?;
        self.assert_here()?;
        if take(&self.refuse) || self.is_of_refused_type(request.appends()) {
            return Err(Error::backend("a planted fault", true, "nothing was written"));
        }
        if request.history().is_some_and(|history| history != self.history()) {
            return Err(Error::HistoryChanged { store: self.describe() });
        }
        let rival = lock(&self.rivals).pop_front();
        if let Some(rival) = rival {
            self.inner.append(rival.into()).await?;
        }
        let ahead = lock(&self.clock).ahead;
        let appended = self.inner.append(request.in_history(self.inner.history())).await?;
        self.calls.step().await;
        for written in &appended.written {
            lock(&self.clock).written.entry(written.global_position).or_insert(ahead);
        }
        if take(&self.hold) {
            self.is_delayed.notify_one();
            self.answers.notified().await;
        }
        if take(&self.lose) {
            return Err(Error::CommitUnknown { cause: "a planted fault".into() });
        }
        Ok(appended)
    }

    async fn given_out(&self, category: Option<&Category>) -> Result<GlobalPosition> {
        self.assert_here()?;
        self.inner.given_out(category).await
    }

    async fn backlog(&self, category: &Category, after: GlobalPosition) -> Result<Backlog> {
        self.assert_here()?;
        self.inner.backlog(category, after).await
    }

    async fn now(&self) -> Result<Timestamp> {
        self.assert_here()?;
        Ok(self.inner.now().await? + lock(&self.clock).ahead)
    }

    async fn read_stream(&self, stream: &StreamName, read: StreamRead) -> Result<Vec<Message>> {
        Ok(self.read_stream_batch(stream, read).await?.messages)
    }

    async fn read_stream_batch(&self, stream: &StreamName, read: StreamRead) -> Result<StreamBatch> {
        self.calls.step().await;
        self.assert_here()?;
        let StreamBatch { messages, is_end } = self.inner.read_stream_batch(stream, read).await?;
        self.calls.read(messages.len());
        Ok(StreamBatch::new(self.all_dated(messages), is_end))
    }

    async fn read_category(&self, category: &Category, read: Read) -> Result<Batch> {
        self.calls.step().await;
        self.assert_here()?;
        let Batch { messages, looked_through } = self.inner.read_category(category, read).await?;
        self.calls.read(messages.len());
        if messages.is_empty() && lock(&self.hold_read).take_if(|held| held == category).is_some() {
            self.is_delayed.notify_one();
            self.answers.notified().await;
        }
        Ok(Batch { messages: self.all_dated(messages), looked_through })
    }

    async fn read_all(&self, read: Read) -> Result<Batch> {
        self.assert_here()?;
        let Batch { messages, looked_through } = self.inner.read_all(read).await?;
        Ok(Batch { messages: self.all_dated(messages), looked_through })
    }

    async fn read_correlated(&self, stream: &StreamName, read: Read) -> Result<Batch> {
        self.assert_here()?;
        let Batch { messages, looked_through } = self.inner.read_correlated(stream, read).await?;
        Ok(Batch { messages: self.all_dated(messages), looked_through })
    }

    async fn categories(&self, after: Option<&Category>, limit: usize) -> Result<Vec<Category>> {
        self.assert_here()?;
        self.inner.categories(after, limit).await
    }

    async fn last_message(&self, stream: &StreamName, message_type: Option<&str>) -> Result<Option<Message>> {
        self.calls.step().await;
        self.assert_here()?;
        Ok(self.inner.last_message(stream, message_type).await?.map(|message| self.dated(message)))
    }

    async fn version(&self, stream: &StreamName) -> Result<Version> {
        self.assert_here()?;
        self.inner.version(stream).await
    }

    async fn message(&self, id: MessageId) -> Result<Option<Message>> {
        self.calls.step().await;
        self.assert_here()?;
        if self.look_ups_fail.load(Ordering::SeqCst) {
            return Err(Error::backend("a planted fault", true, "the look-up failed"));
        }
        Ok(self.inner.message(id).await?.map(|message| self.dated(message)))
    }

    async fn wake_up(&self, category: Option<&Category>) -> Result<WakeUp> {
        if self.lose_wake_ups.load(Ordering::SeqCst) {
            return Ok(WakeUp::never());
        }
        self.inner.wake_up(category).await
    }

    async fn rotate_store_id(&self) -> Result<StoreId> {
        self.inner.rotate_store_id().await
    }

    fn read_models(&self) -> Option<&dyn ReadModels> {
        self.inner.read_models()
    }

    fn deduplication(&self) -> Option<&dyn Deduplication> {
        self.inner.deduplication().map(|_| self as &dyn Deduplication)
    }

    fn service_reports(&self) -> Option<&dyn ServiceReports> {
        self.inner.service_reports()
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        self.inner.snapshots()
    }

    fn archive(&self) -> Option<&dyn Archive> {
        self.inner.archive()
    }

    fn erasure(&self) -> Option<&dyn Erasure> {
        self.inner.erasure()
    }

    fn leases(&self) -> Option<&dyn Leases> {
        self.inner.leases().map(|_| &self.leases as &dyn Leases)
    }

    fn timers(&self) -> Option<&dyn Timers> {
        self.inner.timers().map(|_| self as &dyn Timers)
    }

    fn conditions(&self) -> Option<&dyn Conditions> {
        self.inner.conditions().map(|_| self as &dyn Conditions)
    }
}

#[async_trait]
impl Conditions for FaultyStore {
    async fn matches(&self, condition: &Condition, limit: usize) -> Result<Matches> {
        self.calls.step().await;
        self.assert_here()?;
        let unsupported = || Error::Unsupported { store: self.describe(), what: "conditions".to_owned() };
        let found = self.inner.conditions().ok_or_else(unsupported)?.matches(condition, limit).await?;
        self.calls.read(found.messages.len());
        Ok(Matches { messages: self.all_dated(found.messages), ..found })
    }
}

#[async_trait]
impl Deduplication for FaultyStore {
    async fn lease(&self, claim: &Claim, owner: Uuid, time: Duration) -> Result<bool> {
        if self.lose_leases.load(Ordering::SeqCst) {
            return Ok(true);
        }
        keys(&*self.inner)?.lease(claim, owner, time).await
    }

    async fn release(&self, claim: &Claim, owner: Uuid) -> Result<()> {
        keys(&*self.inner)?.release(claim, owner).await
    }

    async fn append_once(&self, claim: &Claim, request: AppendRequest, result: Json) -> Result<Option<ClaimRecord>> {
        if take(&self.refuse) {
            return Err(Error::backend("a planted fault", true, "nothing was written"));
        }
        let seen = keys(&*self.inner)?.append_once(claim, request, result).await?;
        if take(&self.lose) {
            return Err(Error::CommitUnknown { cause: "a planted fault".into() });
        }
        Ok(seen)
    }

    async fn record(&self, claim: &Claim) -> Result<Option<ClaimRecord>> {
        keys(&*self.inner)?.record(claim).await
    }

    async fn sweep(&self, batch: u32) -> Result<u64> {
        keys(&*self.inner)?.sweep(batch).await
    }
}
