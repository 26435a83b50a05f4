//! A store with one fault.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use message_store::store::{
    Advanced, Archive, ArchiveRun, Backlog, Claim, ClaimRecord, Condition, Conditions, Deduplication, Erasure,
    ErasureRun, ErasureTarget, GroupRecord, Leases, Matches, Membership, ReadModel, ReadModelVersion, ReadModels,
    Redaction, SavedReport, ServiceReports, Skipped, SlotRecord, SlotSave, Snapshot, SnapshotKey, Snapshots, SqlValue,
    StreamBatch, Timer, TimerChange, TimerChanged, TimerQuery, Timers, Update, VersionState,
};
use message_store::{
    AppendRequest, Appended, Batch, Category, GlobalPosition, History, Json, Limits, Message, MessageId, MessageRef,
    MessageStore, Read, Result, StoreId, StreamName, StreamRead, Uuid, Version, WakeUp,
};

/// The right store beneath a wrong one.
pub(crate) type Store<'a> = &'a dyn MessageStore;
/// The leases of the right store.
pub(crate) type Rights<'a> = &'a dyn Leases;
/// The timers of the right store.
pub(crate) type WaitingTimers<'a> = &'a dyn Timers;
/// The archive of the right store.
pub(crate) type Archived<'a> = &'a dyn Archive;
/// The erasure of the right store.
pub(crate) type Erases<'a> = &'a dyn Erasure;
/// The read models of the right store.
pub(crate) type Models<'a> = &'a dyn ReadModels;
/// A message, if one is found.
pub(crate) type Found = Result<Option<Message>>;
/// The record of a key that is taken.
pub(crate) type Seen = Result<Option<ClaimRecord>>;

/// The fault of a store. By default, each method calls the right store.
#[async_trait]
pub(crate) trait Wrong: Debug + Send + Sync {
    /// The rules that the store breaks, in the order of the suite.
    fn breaks(&self) -> &'static [&'static str];

    fn store_id(&self, store: Store<'_>) -> StoreId {
        store.store_id()
    }

    fn limits<'a>(&'a self, store: &'a dyn MessageStore) -> &'a Limits {
        store.limits()
    }

    fn describe(&self, store: Store<'_>) -> String {
        store.describe()
    }

    fn history(&self, store: Store<'_>) -> History {
        store.history()
    }

    async fn append(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
        store.append(request).await
    }

    async fn append_with_fence(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
        store.append(request).await
    }

    async fn append_with_timers(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
        store.append(request).await
    }

    async fn append_with_condition(&self, store: Store<'_>, request: AppendRequest) -> Result<Appended> {
        store.append(request).await
    }

    async fn matches(&self, store: Store<'_>, condition: &Condition, limit: usize) -> Result<Matches> {
        conditions(store).matches(condition, limit).await
    }

    /// Whether the store has conditions.
    fn has_conditions(&self) -> bool {
        true
    }

    async fn given_out(&self, store: Store<'_>) -> Result<GlobalPosition> {
        store.given_out(None).await
    }

    async fn backlog(&self, store: Store<'_>, category: &Category, after: GlobalPosition) -> Result<Backlog> {
        store.backlog(category, after).await
    }

    async fn now(&self, store: Store<'_>) -> Result<Timestamp> {
        store.now().await
    }

    /// Changes a message that any method returns.
    fn shown(&self, message: Message) -> Message {
        message
    }

    async fn read_stream(&self, store: Store<'_>, stream: &StreamName, read: StreamRead) -> Result<Vec<Message>> {
        store.read_stream(stream, read).await
    }

    async fn read_stream_batch(&self, store: Store<'_>, stream: &StreamName, read: StreamRead) -> Result<StreamBatch> {
        let messages = self.read_stream(store, stream, read).await?;
        let is_end = messages.is_empty();
        Ok(StreamBatch::new(messages, is_end))
    }

    /// A read of a category, or of all messages.
    async fn read(&self, store: Store<'_>, category: Option<&Category>, read: Read) -> Result<Batch> {
        read_right(store, category, read).await
    }

    async fn read_correlated(&self, store: Store<'_>, stream: &StreamName, read: Read) -> Result<Batch> {
        store.read_correlated(stream, read).await
    }

    async fn categories(&self, store: Store<'_>, after: Option<&Category>, limit: usize) -> Result<Vec<Category>> {
        store.categories(after, limit).await
    }

    async fn last_message(&self, store: Store<'_>, stream: &StreamName, message_type: Option<&str>) -> Found {
        store.last_message(stream, message_type).await
    }

    async fn version(&self, store: Store<'_>, stream: &StreamName) -> Result<Version> {
        store.version(stream).await
    }

    async fn message(&self, store: Store<'_>, id: MessageId) -> Found {
        store.message(id).await
    }

    async fn written_by(&self, store: Store<'_>, handler: &str, ids: &[MessageId]) -> Result<Vec<MessageRef>> {
        store.written_by(handler, ids).await
    }

    async fn wake_up(&self, store: Store<'_>, category: Option<&Category>) -> Result<WakeUp> {
        store.wake_up(category).await
    }

    async fn rotate_store_id(&self, store: Store<'_>) -> Result<StoreId> {
        store.rotate_store_id().await
    }

    async fn append_once(&self, store: Store<'_>, claim: &Claim, request: AppendRequest, result: Json) -> Seen {
        keys(store).append_once(claim, request, result).await
    }

    async fn load_snapshot(&self, store: Store<'_>, key: &SnapshotKey) -> Result<Option<Snapshot>> {
        snapshots(store).load(key).await
    }

    async fn save_snapshot(
        &self,
        store: Store<'_>,
        key: &SnapshotKey,
        snapshot: &Snapshot,
        history: History,
    ) -> Result<()> {
        snapshots(store).save(key, snapshot, history).await
    }

    async fn remove_snapshots(&self, store: Store<'_>, stream: &StreamName) -> Result<()> {
        snapshots(store).remove(stream).await
    }

    async fn record(&self, store: Store<'_>, claim: &Claim) -> Seen {
        keys(store).record(claim).await
    }

    async fn sweep(&self, store: Store<'_>, batch: u32) -> Result<u64> {
        keys(store).sweep(batch).await
    }

    async fn create_group(&self, leases: Rights<'_>, group: &str, progress: Vec<Json>) -> Result<()> {
        leases.create_group(group, progress).await
    }

    async fn groups(&self, leases: Rights<'_>) -> Result<Vec<String>> {
        leases.groups().await
    }

    async fn group(&self, leases: Rights<'_>, group: &str) -> Result<GroupRecord> {
        leases.group(group).await
    }

    async fn renew(&self, leases: Rights<'_>, member: &Membership, time: Duration, wants_slots: bool) -> Result<bool> {
        leases.renew(member, time, wants_slots).await
    }

    async fn claim(&self, leases: Rights<'_>, member: &Membership, slots: &[SlotRecord]) -> Result<Vec<SlotRecord>> {
        leases.claim(member, slots).await
    }

    async fn save(
        &self,
        leases: Rights<'_>,
        member: &Membership,
        saves: Vec<SlotSave>,
        history: Option<History>,
    ) -> Result<Vec<u16>> {
        leases.save(member, saves, history).await
    }

    async fn leave(&self, leases: Rights<'_>, member: &Membership) -> Result<()> {
        leases.leave(member).await
    }

    async fn set_progress(&self, leases: Rights<'_>, group: &str, slots: Vec<(SlotRecord, Json)>) -> Result<bool> {
        leases.set_progress(group, slots).await
    }

    async fn apart(&self, leases: Rights<'_>) -> Result<Arc<dyn Leases>> {
        leases.apart().await
    }

    async fn change_timers(&self, timers: WaitingTimers<'_>, changes: Vec<TimerChange>) -> Result<Vec<TimerChanged>> {
        timers.change(changes).await
    }

    async fn list_timers(&self, timers: WaitingTimers<'_>, query: TimerQuery) -> Result<Vec<Timer>> {
        timers.list(query).await
    }

    async fn fire_timers(&self, store: Store<'_>, listed: &[Timer]) -> Result<usize> {
        timers(store).fire(listed).await
    }

    /// Whether the store has timers.
    fn has_timers(&self) -> bool {
        true
    }

    async fn begin(&self, archive: Archived<'_>, category: &Category, through: GlobalPosition) -> Result<ArchiveRun> {
        archive.begin(category, through).await
    }

    async fn move_part(&self, store: Store<'_>, run: &ArchiveRun, messages: u32) -> Result<ArchiveRun> {
        archive(store).move_part(run, messages).await
    }

    async fn runs(&self, archive: Archived<'_>) -> Result<Vec<ArchiveRun>> {
        archive.runs().await
    }

    async fn begin_erasure(&self, erasure: Erases<'_>, target: &ErasureTarget) -> Result<ErasureRun> {
        erasure.begin(target).await
    }

    async fn to_erase(
        &self,
        erasure: Erases<'_>,
        target: &ErasureTarget,
        after: GlobalPosition,
        limit: usize,
    ) -> Result<Vec<Message>> {
        erasure.messages(target, after, limit).await
    }

    async fn redact(
        &self,
        store: Store<'_>,
        run: &ErasureRun,
        redactions: Vec<Redaction>,
        through: GlobalPosition,
    ) -> Result<ErasureRun> {
        erasure(store).redact(run, redactions, through).await
    }

    /// The model that the store calls for an author's.
    fn model(&self, model: &Arc<dyn ReadModel>) -> Arc<dyn ReadModel> {
        Arc::clone(model)
    }

    /// The update that the store carries out for one.
    fn update(&self, update: &Update) -> Update {
        update.clone()
    }

    async fn versions(&self, read_models: Models<'_>, name: Option<&str>) -> Result<Vec<ReadModelVersion>> {
        read_models.versions(name).await
    }

    async fn set_position(&self, read_models: Models<'_>, name: &str, position: GlobalPosition) -> Result<bool> {
        read_models.set_position(name, position).await
    }

    async fn switch_to(&self, read_models: Models<'_>, name: &str, version: u32) -> Result<bool> {
        read_models.switch_to(name, version).await
    }

    async fn skipped(&self, read_models: Models<'_>, name: &str) -> Result<Vec<Skipped>> {
        read_models.skipped(name).await
    }

    async fn query(&self, read_models: Models<'_>, sql: &str, parameters: &[SqlValue]) -> Result<Vec<Vec<SqlValue>>> {
        read_models.query(sql, parameters).await
    }

    async fn save_report(&self, store: Store<'_>, service: Uuid, report: &Json) -> Result<()> {
        service_reports(store).save_report(service, report).await
    }

    async fn reports(&self, store: Store<'_>) -> Result<Vec<SavedReport>> {
        service_reports(store).reports().await
    }

    /// Whether the store has leases.
    fn has_leases(&self) -> bool {
        true
    }

    /// Called after another writer has rolled back.
    fn rolled_back(&self) {}

    /// Called after an operator has deleted the last message.
    fn deleted(&self) {}
}

/// Reads from the right store.
pub(crate) async fn read_right(store: &dyn MessageStore, category: Option<&Category>, read: Read) -> Result<Batch> {
    match category {
        Some(category) => store.read_category(category, read).await,
        None => store.read_all(read).await,
    }
}

/// The keys of the right store.
pub(crate) fn keys(store: &dyn MessageStore) -> &dyn Deduplication {
    store.deduplication().unwrap()
}

/// The leases of the right store.
pub(crate) fn leases(store: &dyn MessageStore) -> &dyn Leases {
    store.leases().unwrap()
}

/// The timers of the right store.
pub(crate) fn timers(store: &dyn MessageStore) -> &dyn Timers {
    store.timers().unwrap()
}

/// The conditions of the right store.
pub(crate) fn conditions(store: &dyn MessageStore) -> &dyn Conditions {
    store.conditions().unwrap()
}

/// The reports of the right store.
pub(crate) fn service_reports(store: &dyn MessageStore) -> &dyn ServiceReports {
    store.service_reports().unwrap()
}

/// The snapshots of the right store.
pub(crate) fn snapshots(store: &dyn MessageStore) -> &dyn Snapshots {
    store.snapshots().unwrap()
}

/// The read models of the right store.
pub(crate) fn read_models(store: &dyn MessageStore) -> &dyn ReadModels {
    store.read_models().unwrap()
}

/// The archive of the right store.
pub(crate) fn archive(store: &dyn MessageStore) -> &dyn Archive {
    store.archive().unwrap()
}

/// The erasure of the right store.
pub(crate) fn erasure(store: &dyn MessageStore) -> &dyn Erasure {
    store.erasure().unwrap()
}

/// A right store, and the fault that is added to it.
#[derive(Debug)]
pub(crate) struct WrongStore {
    pub(crate) right: Arc<dyn MessageStore>,
    pub(crate) wrong: Arc<dyn Wrong>,
}

impl WrongStore {
    fn shown(&self, messages: Vec<Message>) -> Vec<Message> {
        messages.into_iter().map(|message| self.wrong.shown(message)).collect()
    }
}

#[async_trait]
impl MessageStore for WrongStore {
    fn store_id(&self) -> StoreId {
        self.wrong.store_id(&*self.right)
    }

    fn limits(&self) -> &Limits {
        self.wrong.limits(&*self.right)
    }

    fn describe(&self) -> String {
        self.wrong.describe(&*self.right)
    }

    fn history(&self) -> History {
        self.wrong.history(&*self.right)
    }

    async fn append(&self, request: AppendRequest) -> Result<Appended> {
        if request.fence().is_some() {
            return self.wrong.append_with_fence(&*self.right, request).await;
        }
        if !request.timers().is_empty() {
            return self.wrong.append_with_timers(&*self.right, request).await;
        }
        if request.condition().is_some() {
            return self.wrong.append_with_condition(&*self.right, request).await;
        }
        self.wrong.append(&*self.right, request).await
    }

    async fn given_out(&self, _category: Option<&Category>) -> Result<GlobalPosition> {
        self.wrong.given_out(&*self.right).await
    }

    async fn backlog(&self, category: &Category, after: GlobalPosition) -> Result<Backlog> {
        self.wrong.backlog(&*self.right, category, after).await
    }

    async fn now(&self) -> Result<Timestamp> {
        self.wrong.now(&*self.right).await
    }

    async fn read_stream(&self, stream: &StreamName, read: StreamRead) -> Result<Vec<Message>> {
        self.wrong.read_stream(&*self.right, stream, read).await.map(|messages| self.shown(messages))
    }

    async fn read_stream_batch(&self, stream: &StreamName, read: StreamRead) -> Result<StreamBatch> {
        let batch = self.wrong.read_stream_batch(&*self.right, stream, read).await?;
        Ok(StreamBatch::new(self.shown(batch.messages), batch.is_end))
    }

    async fn read_category(&self, category: &Category, read: Read) -> Result<Batch> {
        let batch = self.wrong.read(&*self.right, Some(category), read).await?;
        Ok(Batch::new(self.shown(batch.messages), batch.looked_through))
    }

    async fn read_all(&self, read: Read) -> Result<Batch> {
        let batch = self.wrong.read(&*self.right, None, read).await?;
        Ok(Batch::new(self.shown(batch.messages), batch.looked_through))
    }

    async fn read_correlated(&self, stream: &StreamName, read: Read) -> Result<Batch> {
        let batch = self.wrong.read_correlated(&*self.right, stream, read).await?;
        Ok(Batch::new(self.shown(batch.messages), batch.looked_through))
    }

    async fn categories(&self, after: Option<&Category>, limit: usize) -> Result<Vec<Category>> {
        self.wrong.categories(&*self.right, after, limit).await
    }

    async fn last_message(&self, stream: &StreamName, message_type: Option<&str>) -> Result<Option<Message>> {
        let last = self.wrong.last_message(&*self.right, stream, message_type).await?;
        Ok(last.map(|message| self.wrong.shown(message)))
    }

    async fn version(&self, stream: &StreamName) -> Result<Version> {
        self.wrong.version(&*self.right, stream).await
    }

    async fn message(&self, id: MessageId) -> Result<Option<Message>> {
        Ok(self.wrong.message(&*self.right, id).await?.map(|message| self.wrong.shown(message)))
    }

    async fn written_by(&self, handler: &str, ids: &[MessageId]) -> Result<Vec<MessageRef>> {
        self.wrong.written_by(&*self.right, handler, ids).await
    }

    async fn wake_up(&self, category: Option<&Category>) -> Result<WakeUp> {
        self.wrong.wake_up(&*self.right, category).await
    }

    async fn rotate_store_id(&self) -> Result<StoreId> {
        self.wrong.rotate_store_id(&*self.right).await
    }

    fn deduplication(&self) -> Option<&dyn Deduplication> {
        Some(self)
    }

    fn service_reports(&self) -> Option<&dyn ServiceReports> {
        Some(self)
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        Some(self)
    }

    fn read_models(&self) -> Option<&dyn ReadModels> {
        Some(self)
    }

    fn archive(&self) -> Option<&dyn Archive> {
        Some(self)
    }

    fn erasure(&self) -> Option<&dyn Erasure> {
        Some(self)
    }

    fn leases(&self) -> Option<&dyn Leases> {
        self.wrong.has_leases().then_some(self as _)
    }

    fn timers(&self) -> Option<&dyn Timers> {
        self.wrong.has_timers().then_some(self as _)
    }

    fn conditions(&self) -> Option<&dyn Conditions> {
        self.wrong.has_conditions().then_some(self as _)
    }
}

#[async_trait]
impl Timers for WrongStore {
    async fn change(&self, changes: Vec<TimerChange>) -> Result<Vec<TimerChanged>> {
        self.wrong.change_timers(timers(&*self.right), changes).await
    }

    async fn list(&self, query: TimerQuery) -> Result<Vec<Timer>> {
        self.wrong.list_timers(timers(&*self.right), query).await
    }

    async fn fire(&self, listed: &[Timer]) -> Result<usize> {
        self.wrong.fire_timers(&*self.right, listed).await
    }
}

#[async_trait]
impl Conditions for WrongStore {
    async fn matches(&self, condition: &Condition, limit: usize) -> Result<Matches> {
        let found = self.wrong.matches(&*self.right, condition, limit).await?;
        Ok(Matches::new(self.shown(found.messages), found.looked_through, found.has_more))
    }
}

#[async_trait]
impl Erasure for WrongStore {
    async fn begin(&self, target: &ErasureTarget) -> Result<ErasureRun> {
        self.wrong.begin_erasure(erasure(&*self.right), target).await
    }

    async fn messages(&self, target: &ErasureTarget, after: GlobalPosition, limit: usize) -> Result<Vec<Message>> {
        self.wrong.to_erase(erasure(&*self.right), target, after, limit).await
    }

    async fn redact(
        &self,
        run: &ErasureRun,
        redactions: Vec<Redaction>,
        through: GlobalPosition,
    ) -> Result<ErasureRun> {
        self.wrong.redact(&*self.right, run, redactions, through).await
    }

    async fn end(&self, run: &ErasureRun) -> Result<ErasureRun> {
        erasure(&*self.right).end(run).await
    }

    async fn runs(&self) -> Result<Vec<ErasureRun>> {
        erasure(&*self.right).runs().await
    }
}

#[async_trait]
impl Archive for WrongStore {
    async fn begin(&self, category: &Category, through: GlobalPosition) -> Result<ArchiveRun> {
        self.wrong.begin(archive(&*self.right), category, through).await
    }

    async fn move_part(&self, run: &ArchiveRun, messages: u32) -> Result<ArchiveRun> {
        self.wrong.move_part(&*self.right, run, messages).await
    }

    async fn runs(&self) -> Result<Vec<ArchiveRun>> {
        self.wrong.runs(archive(&*self.right)).await
    }
}

#[async_trait]
impl Leases for WrongStore {
    async fn create_group(&self, group: &str, progress: Vec<Json>) -> Result<()> {
        self.wrong.create_group(leases(&*self.right), group, progress).await
    }

    async fn groups(&self) -> Result<Vec<String>> {
        self.wrong.groups(leases(&*self.right)).await
    }

    async fn group(&self, group: &str) -> Result<GroupRecord> {
        self.wrong.group(leases(&*self.right), group).await
    }

    async fn renew(&self, member: &Membership, time: Duration, wants_slots: bool) -> Result<bool> {
        self.wrong.renew(leases(&*self.right), member, time, wants_slots).await
    }

    async fn claim(&self, member: &Membership, slots: &[SlotRecord]) -> Result<Vec<SlotRecord>> {
        self.wrong.claim(leases(&*self.right), member, slots).await
    }

    async fn save(&self, member: &Membership, saves: Vec<SlotSave>, history: Option<History>) -> Result<Vec<u16>> {
        self.wrong.save(leases(&*self.right), member, saves, history).await
    }

    async fn leave(&self, member: &Membership) -> Result<()> {
        self.wrong.leave(leases(&*self.right), member).await
    }

    async fn set_progress(&self, group: &str, slots: Vec<(SlotRecord, Json)>) -> Result<bool> {
        self.wrong.set_progress(leases(&*self.right), group, slots).await
    }

    async fn apart(&self) -> Result<Arc<dyn Leases>> {
        self.wrong.apart(leases(&*self.right)).await
    }
}

#[async_trait]
impl ServiceReports for WrongStore {
    async fn save_report(&self, service: Uuid, report: &Json) -> Result<()> {
        self.wrong.save_report(&*self.right, service, report).await
    }

    async fn reports(&self) -> Result<Vec<SavedReport>> {
        self.wrong.reports(&*self.right).await
    }
}

#[async_trait]
impl Snapshots for WrongStore {
    async fn load(&self, key: &SnapshotKey) -> Result<Option<Snapshot>> {
        self.wrong.load_snapshot(&*self.right, key).await
    }

    async fn save(&self, key: &SnapshotKey, snapshot: &Snapshot, history: History) -> Result<()> {
        self.wrong.save_snapshot(&*self.right, key, snapshot, history).await
    }

    async fn remove(&self, stream: &StreamName) -> Result<()> {
        self.wrong.remove_snapshots(&*self.right, stream).await
    }
}

#[async_trait]
impl ReadModels for WrongStore {
    async fn begin(&self, model: &Arc<dyn ReadModel>) -> Result<VersionState> {
        read_models(&*self.right).begin(&self.wrong.model(model)).await
    }

    async fn advance(&self, model: &Arc<dyn ReadModel>, update: &Update) -> Result<Advanced> {
        let (model, update) = (self.wrong.model(model), self.wrong.update(update));
        read_models(&*self.right).advance(&model, &update).await
    }

    async fn versions(&self, name: Option<&str>) -> Result<Vec<ReadModelVersion>> {
        self.wrong.versions(read_models(&*self.right), name).await
    }

    async fn set_position(&self, name: &str, position: GlobalPosition) -> Result<bool> {
        self.wrong.set_position(read_models(&*self.right), name, position).await
    }

    async fn switch_to(&self, name: &str, version: u32) -> Result<bool> {
        self.wrong.switch_to(read_models(&*self.right), name, version).await
    }

    async fn drop_version(&self, model: &Arc<dyn ReadModel>, version: u32) -> Result<bool> {
        read_models(&*self.right).drop_version(&self.wrong.model(model), version).await
    }

    async fn skipped(&self, name: &str) -> Result<Vec<Skipped>> {
        self.wrong.skipped(read_models(&*self.right), name).await
    }

    async fn query(&self, sql: &str, parameters: &[SqlValue]) -> Result<Vec<Vec<SqlValue>>> {
        self.wrong.query(read_models(&*self.right), sql, parameters).await
    }
}

#[async_trait]
impl Deduplication for WrongStore {
    async fn lease(&self, claim: &Claim, owner: Uuid, time: Duration) -> Result<bool> {
        keys(&*self.right).lease(claim, owner, time).await
    }

    async fn release(&self, claim: &Claim, owner: Uuid) -> Result<()> {
        keys(&*self.right).release(claim, owner).await
    }

    async fn append_once(&self, claim: &Claim, request: AppendRequest, result: Json) -> Result<Option<ClaimRecord>> {
        self.wrong.append_once(&*self.right, claim, request, result).await
    }

    async fn record(&self, claim: &Claim) -> Result<Option<ClaimRecord>> {
        self.wrong.record(&*self.right, claim).await
    }

    async fn sweep(&self, batch: u32) -> Result<u64> {
        self.wrong.sweep(&*self.right, batch).await
    }
}
