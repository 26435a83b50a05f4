//! The delay buffer: for effects that cannot be undone and are often requested several times in a row, such as mail.
//!
//! Problem: a sender requests one thing five times within a minute, and it should happen once. Fix: a request sets a
//! [timer](crate::store::Timers) under its key. A later request for the key is dropped while the timer waits, or replaces
//! its message. Why it happens once: at most one timer of a key waits, and a timer fires once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::planted::Planted;
use crate::store::{Due, IfWaiting, TimerChange, TimerChanged, TimerKey};
use crate::{Category, Error, Key, MessageId, MessageStore, NewMessage, Result, StreamName};

/// The name of the timers.
const TIMER: &str = "delayed";

/// Selects the request that is released, of several for one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The first request.
    First,
    /// The last request before the delay ended.
    Latest,
}

/// The result of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Delayed {
    /// The request is the first for its key, and waits.
    Waiting,
    /// The request replaced a waiting one.
    Replaced,
    /// A request for the key waits already: another one, or the same message. This one was dropped.
    Dropped,
    /// The store has the message already: the same request was released before.
    Released,
}

/// Delays messages, and releases one for each key. The store must have timers, and a
/// [service](crate::service::Service) must run, in this process or another: it fires them.
///
/// ```
/// use std::time::Duration;
/// use message_store::handling::{DelayBuffer, Delayed, Keep};
/// use message_store::{Json, Key, NewMessage, StreamName, connect};
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let store = connect("sqlite::memory:").await?;
/// let buffer = DelayBuffer::new(&store, "mail", Duration::from_secs(60), Keep::First)?;
/// let (key, mails) = (Key::new("welcome ann")?, StreamName::new("mail:command-ann")?);
/// let mail = || NewMessage::new("SendMail", Json::NULL);
/// assert_eq!(buffer.put(&key, &mails, &mail()).await?, Delayed::Waiting);
/// assert_eq!(buffer.put(&key, &mails, &mail()).await?, Delayed::Dropped);
/// # Ok::<(), message_store::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct DelayBuffer {
    store: Arc<dyn MessageStore>,
    category: Category,
    delay: Duration,
    keep: Keep,
    planted: Planted<DelayBug>,
}

/// A protection of a [`DelayBuffer`] that a test switches off ([`DelayBuffer::plant`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(not(feature = "testing"), allow(dead_code, unreachable_pub))]
pub enum DelayBug {
    /// Each request waits separately, also if its key is the same.
    KeysIgnored,
}

impl DelayBuffer {
    /// A buffer with this name. The delay counts from the first request for a key, by the database's clock.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the name cannot be part of a category's name.
    pub fn new(store: &Arc<dyn MessageStore>, name: &str, delay: Duration, keep: Keep) -> Result<Self> {
        let category = Category::new(format!("delay:{name}"))?;
        Ok(Self { store: Arc::clone(store), category, delay, keep, planted: Planted::NONE })
    }

    /// The category of the keys of its timers: `delay:{name}`.
    pub fn category(&self) -> &Category {
        &self.category
    }

    /// Switches a protection off.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn plant(mut self, bug: DelayBug) -> Self {
        self.planted = Planted::one(bug);
        self
    }

    /// Requests that a message is written to a stream when the delay for its key has ended. In a handler, give it the
    /// metadata that [follows](crate::Metadata::follow) from the message being handled, and an id that is
    /// [derived](crate::derived_id) from it: then a second delivery of that message requests nothing.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a store without timers; the errors of the store. After
    /// [`CommitUnknown`](Error::CommitUnknown), request the same message again.
    pub async fn put(&self, key: &Key, stream: &StreamName, message: &NewMessage) -> Result<Delayed> {
        let is_ignored = self.planted.is(DelayBug::KeysIgnored);
        let place = if is_ignored { self.category.stream(MessageId::new())? } else { key.stream(&self.category)? };
        let unsupported =
            || Error::Unsupported { store: self.store.describe(), what: "a delay buffer: timers".to_owned() };
        let timers = self.store.timers().ok_or_else(unsupported)?;
        let set = TimerChange::Set {
            key: TimerKey::new(place, TIMER),
            due: Due::After(self.delay),
            to: stream.clone(),
            message: message.clone(),
            if_waiting: match self.keep {
                Keep::First => IfWaiting::Keep,
                Keep::Latest => IfWaiting::KeepDue,
            },
        };
        Ok(match timers.change(vec![set]).await?.first() {
            Some(TimerChanged::Set) => Delayed::Waiting,
            Some(TimerChanged::Replaced) => Delayed::Replaced,
            Some(TimerChanged::Fired) => Delayed::Released,
            _ => Delayed::Dropped,
        })
    }
}

impl fmt::Debug for DelayBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DelayBuffer")
            .field("category", &self.category)
            .field("delay", &self.delay)
            .finish_non_exhaustive()
    }
}
