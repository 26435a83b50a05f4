//! The delay buffer: for effects that cannot be undone and are often requested several times in a row, such as mail.
//!
//! Problem: a sender requests one thing five times within a minute, and it should happen once. Fix: the first request
//! waits for a delay. A later request for the same key is dropped, or replaces the waiting one. Why it happens once,
//! even after a crash: a waiting request is a stored message. The buffer writes its release and the released message in
//! one append, at the version of the waiting request and with a derived id.
//!
//! The requests for a key are in the stream `delay:{name}-{key}`: `Delayed`, once or several times, then `Released`.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::waiting_requests::{DelayStep, WaitingRequests};
use crate::planted::Planted;
use crate::store::{LastStep, StepStream, WhenToCheckpoint};
use crate::{Append, Category, Error, Key, MessageId, MessageStore, NewMessage, Result, StreamName, derived_id};

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
    /// Another request for the key is waiting, and this one was dropped.
    Dropped,
}

/// Delays messages, and releases one for each key.
pub struct DelayBuffer {
    store: Arc<dyn MessageStore>,
    category: Category,
    delay: Duration,
    keep: Keep,
    waiting: Mutex<Option<WaitingRequests>>,
    checkpoints: WhenToCheckpoint,
    planted: Planted<DelayBug>,
}

/// A protection of a [`DelayBuffer`] that a test switches off ([`DelayBuffer::plant`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(not(feature = "testing"), allow(dead_code, unreachable_pub))]
pub enum DelayBug {
    /// Each request waits separately, also if its key is the same.
    KeysIgnored,
    /// The checkpoint with which the next process begins lists no request.
    CheckpointsListNothing,
}

impl DelayBuffer {
    /// A buffer with this name. The delay counts from the first request for a key, by the database's clock.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the name cannot be part of a category's name.
    pub fn new(store: &Arc<dyn MessageStore>, name: &str, delay: Duration, keep: Keep) -> Result<Self> {
        let category = Category::new(format!("delay:{name}"))?;
        let (store, waiting, checkpoints) = (Arc::clone(store), Mutex::default(), WhenToCheckpoint::default());
        Ok(Self { store, category, delay, keep, waiting, checkpoints, planted: Planted::NONE })
    }

    /// The category of the waiting requests: `delay:{name}`.
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

    /// Records the requests that wait after this number of messages, however many there are.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn checkpoint_every(mut self, messages: u64) -> Self {
        self.checkpoints = WhenToCheckpoint { every: messages, saved_per_stream: 0 };
        self
    }

    /// Requests that a message is written to a stream when the delay for its key has ended, with its metadata. The release
    /// derives the id of the written message: the id of `message` is not used. In a handler, give it the metadata that
    /// [follows](crate::Metadata::follow) from the message being handled.
    ///
    /// # Errors
    /// The errors of the store.
    pub async fn put(&self, key: &Key, stream: &StreamName, message: &NewMessage) -> Result<Delayed> {
        let is_ignored = self.planted.is(DelayBug::KeysIgnored);
        let place = if is_ignored { self.category.stream(MessageId::new())? } else { key.stream(&self.category)? };
        let steps = StepStream::new(&self.store, place);
        // Tries again each time another request or a release was appended first.
        loop {
            let (last, end) = steps.last().await?;
            let (due, delayed) = match last.map(|last| last.step) {
                Some(DelayStep::Delayed { due, .. }) if self.keep == Keep::Latest => (due, Delayed::Replaced),
                Some(DelayStep::Delayed { .. }) => return Ok(Delayed::Dropped),
                Some(DelayStep::Released { .. }) | None => (self.due_time().await?, Delayed::Waiting),
            };
            let NewMessage { message_type, data: content, metadata, .. } = message.clone();
            let step = DelayStep::Delayed { due, stream: stream.clone(), message_type, content, metadata };
            if steps.append(end, &step).await?.is_ok() {
                return Ok(delayed);
            }
        }
    }

    /// Releases the requests that are due, and returns their number. Call it regularly. Several processes may call it.
    /// The first call of a process reads the requests that wait, and what was written since they were last recorded.
    /// Later calls read what is new.
    ///
    /// # Errors
    /// The errors of the store.
    pub async fn release(&self) -> Result<usize> {
        let now = self.store.now().await?;
        let mut released = 0;
        for place in self.due_streams(now).await? {
            released += usize::from(self.release_last(StepStream::new(&self.store, place), now).await?);
        }
        Ok(released)
    }

    /// Releases the last request for a key. Returns `false` when none is due any more, for example because another
    /// process has released it.
    async fn release_last(&self, steps: StepStream<DelayStep>, now: Timestamp) -> Result<bool> {
        // Tries again each time another request was appended first. The next read shows whether another process has
        // released the request.
        loop {
            let (Some(LastStep { step, message }), end) = steps.last().await? else { return Ok(false) };
            let DelayStep::Delayed { due, stream, message_type, content, metadata } = step else { return Ok(false) };
            if due > now {
                return Ok(false);
            }
            let id = derived_id(message.id, "delay", "", &stream, 0);
            let released = NewMessage::new(message_type, content).with_metadata_json(metadata).with_id(id);
            let step = NewMessage::from_variant(&DelayStep::Released { delayed: message.global_position })?;
            match steps.append_beside(end, step, vec![Append::to(stream).message(released)]).await {
                Ok(Ok(_)) => return Ok(true),
                Ok(Err(_)) | Err(Error::IdConflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The streams whose last request is due.
    async fn due_streams(&self, now: Timestamp) -> Result<Vec<StreamName>> {
        // Taken out while it changes: a call at the same time, or after one that was given up, reads from the last
        // checkpoint.
        let known = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut waiting = match known.filter(WaitingRequests::is_current) {
            Some(known) => known,
            None => WaitingRequests::load(&self.store, &self.category).await?,
        };
        let refreshed = waiting.refresh().await;
        if refreshed.is_ok() {
            waiting.checkpoint_if_due(self.checkpoints, self.planted.is(DelayBug::CheckpointsListNothing)).await;
        }
        let due = waiting.due(now);
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(waiting);
        refreshed.map(|()| due)
    }

    async fn due_time(&self) -> Result<Timestamp> {
        let delay = SignedDuration::try_from(self.delay).unwrap_or(SignedDuration::MAX);
        Ok(self.store.now().await?.checked_add(delay).unwrap_or(Timestamp::MAX))
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
