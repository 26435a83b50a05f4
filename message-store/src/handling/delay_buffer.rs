//! The delay buffer: for effects that cannot be undone and are often requested several times in a row, such as mail.
//!
//! Problem: a sender requests one thing five times within a minute, and it should happen once. Fix: a request sets a
//! [timer](crate::store::Timers) under its key. A later request for the key is dropped while the timer waits, or replaces
//! its message. Why it happens once: at most one timer of a key waits, and a timer fires once.
//!
//! Problem: a handler requests again when its message is delivered again, and the timer may have been replaced, dropped or
//! fired meanwhile. Fix: a request writes a message to the stream of its key, whose id is derived from that of the
//! requested message, and changes the timer in the same append. A second append of that message changes nothing.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::planted::Planted;
use crate::store::{Due, IfWaiting, TimerChange, TimerKey};
use crate::{
    Append, AppendRequest, Category, Error, Json, Key, MessageId, MessageStore, MessageStoreExt as _, NewMessage,
    Result, StreamName, derived_id,
};

/// The name of the timers.
const TIMER: &str = "delayed";
/// The type of the message that records a request.
const REQUESTED: &str = "Requested";
/// The name from which the ids of these messages are derived, instead of a handler's name.
const WRITER: &str = "delay";

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
    /// The request is new: its message waits, or was dropped because another one waits ([`Keep`]).
    Requested,
    /// The same message was requested before, under the same key. This call has changed nothing.
    Repeated,
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
/// let first = mail();
/// assert_eq!(buffer.put(&key, &mails, &first).await?, Delayed::Requested);
/// // Delivered again.
/// assert_eq!(buffer.put(&key, &mails, &first).await?, Delayed::Repeated);
/// // Another request for the key: it is dropped, because the first waits.
/// assert_eq!(buffer.put(&key, &mails, &mail()).await?, Delayed::Requested);
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

    /// The category of its keys: `delay:{name}`. The stream of a key has a message for each request, without data.
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
        if self.store.timers().is_none() {
            let what = "a delay buffer: timers".to_owned();
            return Err(Error::Unsupported { store: self.store.describe(), what });
        }
        let requested = NewMessage::new(REQUESTED, Json::NULL).with_id(derived_id(message.id, WRITER, "", &place, 0));
        let set = TimerChange::Set {
            key: TimerKey::new(place.clone(), TIMER),
            due: Due::After(self.delay),
            to: stream.clone(),
            message: message.clone(),
            if_waiting: match self.keep {
                Keep::First => IfWaiting::Keep,
                Keep::Latest => IfWaiting::KeepDue,
            },
        };
        let request = AppendRequest::from(Append::to(place).message(requested)).timer(set);
        let appended = self.store.append_settled(request).await?;
        Ok(if appended.already_written { Delayed::Repeated } else { Delayed::Requested })
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
