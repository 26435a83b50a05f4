//! A store that does something of a test's between two calls of the library.

use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use message_store::store::*;
use message_store::*;

type Hook = Box<dyn FnOnce(Arc<dyn MessageStore>) -> BoxFuture<'static, ()> + Send>;

pub(crate) struct Hooked {
    pub inner: Arc<dyn MessageStore>,
    /// After the next list of timers.
    pub after_list: Mutex<Option<Hook>>,
    /// After the next search of matches.
    pub after_matches: Mutex<Option<Hook>>,
}

impl fmt::Debug for Hooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooked")
    }
}

impl Hooked {
    pub(crate) fn new(inner: &Arc<dyn MessageStore>) -> Arc<Self> {
        Arc::new(Self { inner: inner.clone(), after_list: Mutex::default(), after_matches: Mutex::default() })
    }

    async fn call(&self, hook: &Mutex<Option<Hook>>) {
        let hook = hook.lock().unwrap().take();
        if let Some(hook) = hook {
            hook(self.inner.clone()).await;
        }
    }
}

#[async_trait]
impl MessageStore for Hooked {
    fn store_id(&self) -> StoreId {
        self.inner.store_id()
    }
    fn limits(&self) -> &Limits {
        self.inner.limits()
    }
    fn describe(&self) -> String {
        self.inner.describe()
    }
    async fn append(&self, request: AppendRequest) -> Result<Appended> {
        self.inner.append(request).await
    }
    fn history(&self) -> History {
        self.inner.history()
    }
    async fn given_out(&self, category: Option<&Category>) -> Result<GlobalPosition> {
        self.inner.given_out(category).await
    }
    async fn backlog(&self, category: &Category, after: GlobalPosition) -> Result<Backlog> {
        self.inner.backlog(category, after).await
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
    async fn read_correlated(&self, stream: &StreamName, read: Read) -> Result<Batch> {
        self.inner.read_correlated(stream, read).await
    }
    async fn categories(&self, after: Option<&Category>, limit: usize) -> Result<Vec<Category>> {
        self.inner.categories(after, limit).await
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
    async fn written_by(&self, handler: &str, ids: &[MessageId]) -> Result<Vec<MessageRef>> {
        self.inner.written_by(handler, ids).await
    }
    async fn wake_up(&self, category: Option<&Category>) -> Result<WakeUp> {
        self.inner.wake_up(category).await
    }
    async fn rotate_store_id(&self) -> Result<StoreId> {
        self.inner.rotate_store_id().await
    }
    fn deduplication(&self) -> Option<&dyn Deduplication> {
        self.inner.deduplication()
    }
    fn read_models(&self) -> Option<&dyn ReadModels> {
        self.inner.read_models()
    }
    fn conditions(&self) -> Option<&dyn Conditions> {
        Some(self)
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
        self.inner.leases()
    }
    fn timers(&self) -> Option<&dyn Timers> {
        Some(self)
    }
}

#[async_trait]
impl Timers for Hooked {
    async fn change(&self, changes: Vec<TimerChange>) -> Result<Vec<TimerChanged>> {
        self.inner.timers().unwrap().change(changes).await
    }
    async fn list(&self, query: TimerQuery) -> Result<Vec<Timer>> {
        let listed = self.inner.timers().unwrap().list(query).await;
        self.call(&self.after_list).await;
        listed
    }
    async fn fire(&self, timers: &[Timer]) -> Result<usize> {
        self.inner.timers().unwrap().fire(timers).await
    }
}

#[async_trait]
impl Conditions for Hooked {
    async fn matches(&self, condition: &Condition, limit: usize) -> Result<Matches> {
        let found = self.inner.conditions().unwrap().matches(condition, limit).await;
        self.call(&self.after_matches).await;
        found
    }
}
