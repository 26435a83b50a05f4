//! Subscriptions: the messages from a position on, past the end, without a consumer.
//!
//! A consumer saves its position, waits out outages and sets messages aside. A subscription does none of that: its user
//! keeps the position, and decides after an error.

use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::{self, StreamExt as _};
use tokio::time::sleep;

use crate::store::{Filter, History, MessageStore, WakeUp};
use crate::{Batch, Category, Error, GlobalPosition, Message, Read, Result};

/// The longest time between two reads at the end, by default.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A subscription to a category, or to all messages.
///
/// ```
/// use futures_util::StreamExt as _;
/// use message_store::store::Subscription;
/// use message_store::{Append, Category, GlobalPosition, Json, NewMessage, StreamName, connect};
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let store = connect("sqlite::memory:").await?;
/// let category = Category::new("account")?;
/// let mut messages = Box::pin(Subscription::to(&store, &category).after(GlobalPosition::ZERO).messages());
/// let opened = NewMessage::new("Opened", Json::NULL);
/// store.append(Append::to(category.stream("1")?).message(opened).into()).await?;
/// // It waits for each next message, for ever.
/// let first = messages.next().await.ok_or("it never ends by itself")??;
/// assert_eq!(first.message_type, "Opened");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a subscription does nothing until its messages are read"]
pub struct Subscription {
    store: Arc<dyn MessageStore>,
    category: Option<Category>,
    read: Read,
    poll_interval: Duration,
}

/// The place of a subscription.
struct Place {
    subscription: Subscription,
    /// The store's history when the subscription began.
    history: History,
    wake_up: Option<WakeUp>,
    /// The messages that were read and not returned.
    read: std::vec::IntoIter<Message>,
    /// The last read failed.
    has_failed: bool,
    /// The last read was at the end.
    is_at_end: bool,
    has_ended: bool,
}

impl Subscription {
    /// A subscription to a category, from its first message on.
    pub fn to(store: &Arc<dyn MessageStore>, category: &Category) -> Self {
        Self::new(store, Some(category.clone()))
    }

    /// A subscription to the messages of all categories, from the first one on.
    pub fn to_all(store: &Arc<dyn MessageStore>) -> Self {
        Self::new(store, None)
    }

    fn new(store: &Arc<dyn MessageStore>, category: Option<Category>) -> Self {
        Self { store: Arc::clone(store), category, read: Read::default(), poll_interval: POLL_INTERVAL }
    }

    /// Begins after this global position.
    pub fn after(mut self, position: GlobalPosition) -> Self {
        self.read.from = position.next();
        self
    }

    /// Sets the filter. Default: every message passes.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.read.filter = filter;
        self
    }

    /// The longest time between two reads at the end, when no wake-up arrives (100 ms). It is also the pause after an error.
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }

    /// The messages, in the order of their global positions, without a gap. At the end, the stream waits for the next one.
    ///
    /// After an error of the store, the stream goes on with the same message when it is polled again, after a pause. After
    /// [`HistoryChanged`](Error::HistoryChanged) it ends: its positions belong to another history, so its user must begin
    /// again.
    pub fn messages(self) -> impl Stream<Item = Result<Message>> + Send + 'static {
        let (history, read) = (self.store.history(), Vec::new().into_iter());
        let place = Place {
            subscription: self,
            history,
            wake_up: None,
            read,
            has_failed: false,
            is_at_end: false,
            has_ended: false,
        };
        stream::unfold(place, |mut place| async move { place.next().await.map(|message| (message, place)) }).fuse()
    }

    async fn read(&self) -> Result<Batch> {
        match &self.category {
            Some(category) => self.store.read_category(category, self.read.clone()).await,
            None => self.store.read_all(self.read.clone()).await,
        }
    }
}

impl Place {
    async fn next(&mut self) -> Option<Result<Message>> {
        loop {
            if let Some(message) = self.read.next() {
                return Some(Ok(message));
            }
            if self.has_ended {
                return None;
            }
            self.wait().await;
            match self.read_on().await {
                Ok(()) => {}
                Err(error) => {
                    self.has_failed = true;
                    self.has_ended = matches!(error, Error::HistoryChanged { .. });
                    return Some(Err(error));
                }
            }
        }
    }

    /// Waits before the next read: at the end, and after an error.
    async fn wait(&mut self) {
        let pause = self.subscription.poll_interval;
        if std::mem::take(&mut self.has_failed) {
            sleep(pause).await;
        } else if self.is_at_end {
            match &mut self.wake_up {
                Some(wake_up) => wake_up.wait(pause).await,
                None => sleep(pause).await,
            }
        }
    }

    async fn read_on(&mut self) -> Result<()> {
        let Subscription { store, category, .. } = &self.subscription;
        if self.wake_up.is_none() {
            // Before the first read, so that every later message causes a wake-up.
            self.wake_up = Some(store.wake_up(category.as_ref()).await?);
        }
        let batch = self.subscription.read().await?;
        // After the read, so that no message of another history is returned as one of this.
        if store.history() != self.history {
            return Err(Error::HistoryChanged { store: store.describe() });
        }
        self.is_at_end = batch.is_at_end(&self.subscription.read);
        if !self.is_at_end {
            self.subscription.read.from = batch.looked_through.next();
        }
        self.read = batch.messages.into_iter();
        Ok(())
    }
}
