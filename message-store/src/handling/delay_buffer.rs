//! The delay buffer: for effects that cannot be undone and are asked for several times in a row, such as mail.
//!
//! Problem: a sender asks for one thing five times within a minute, and it should happen once. Fix: what is asked for
//! waits, and what comes for the same key meanwhile is dropped, or takes its place. Why it happens once, also across a
//! crash: what waits is written down; its release and the message that is released are one append, at the version of
//! what waits, with a derived id.
//!
//! What waits stands in the stream `delay:{name}-{key}`: `Delayed`, perhaps again, then `Released`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::store::{LastStep, StepStream};
use crate::{
    Append, Category, Error, GlobalPosition, Json, Key, MessageId, MessageStore, MessageStoreExt as _, NewMessage,
    Read, Result, StreamName, derived_id,
};

/// Which of several requests for one key is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The first.
    First,
    /// The last that came before the delay ended.
    Latest,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Delayed {
    /// It is the first for its key, and waits.
    Waits,
    /// It took the place of one that waited.
    Replaced,
    /// One for its key waits already, and is kept.
    Dropped,
}

/// Holds messages back for a while, and releases one for each key.
pub struct DelayBuffer {
    store: Arc<dyn MessageStore>,
    category: Category,
    delay: Duration,
    keep: Keep,
    planted: Option<DelayBug>,
}

/// A protection of a [`DelayBuffer`] to be switched off. For tests of tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(not(feature = "testing"), allow(dead_code, unreachable_pub))]
pub enum DelayBug {
    /// Each request waits by itself, whatever its key.
    KeysIgnored,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase")]
enum Step {
    Delayed { due: Timestamp, stream: StreamName, message_type: String, content: Json },
    Released { delayed: GlobalPosition },
}

impl DelayBuffer {
    /// A buffer with this name. A delay counts from the first request for a key, by the database's clock.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the name cannot be part of a category's name.
    pub fn new(store: &Arc<dyn MessageStore>, name: &str, delay: Duration, keep: Keep) -> Result<Self> {
        let category = Category::new(format!("delay:{name}"))?;
        Ok(Self { store: Arc::clone(store), category, delay, keep, planted: None })
    }

    /// The category that what waits is kept in: `delay:{name}`.
    pub fn category(&self) -> &Category {
        &self.category
    }

    /// Switches a protection off.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn plant(mut self, bug: DelayBug) -> Self {
        self.planted = Some(bug);
        self
    }

    /// Asks for a message to be written to a stream, once the delay for its key has ended. (Its id is given by the
    /// release.)
    ///
    /// # Errors
    /// The store's.
    pub async fn put(&self, key: &Key, stream: &StreamName, message: &NewMessage) -> Result<Delayed> {
        let place = match self.planted {
            Some(DelayBug::KeysIgnored) => self.category.stream(MessageId::new())?,
            None => key.stream(&self.category)?,
        };
        let steps = StepStream::new(&self.store, place);
        // Again as long as another request comes first, or a release.
        loop {
            let (last, end) = steps.last().await?;
            let (due, delayed) = match last.map(|last| last.step) {
                Some(Step::Delayed { due, .. }) if self.keep == Keep::Latest => (due, Delayed::Replaced),
                Some(Step::Delayed { .. }) => return Ok(Delayed::Dropped),
                Some(Step::Released { .. }) | None => (self.due().await?, Delayed::Waits),
            };
            let (message_type, content) = (message.message_type.clone(), message.data.clone());
            let step = Step::Delayed { due, stream: stream.clone(), message_type, content };
            if steps.append(end, &step).await?.is_ok() {
                return Ok(delayed);
            }
        }
    }

    /// Releases what is due; how many messages that were. Call it now and then; several processes may. It looks through
    /// all that the buffer has ever held: give a busy one a new name now and then.
    ///
    /// # Errors
    /// The store's.
    pub async fn release(&self) -> Result<usize> {
        let now = self.store.now().await?;
        let mut released = 0;
        for place in self.waiting(now).await? {
            released += usize::from(self.release_last(StepStream::new(&self.store, place), now).await?);
        }
        Ok(released)
    }

    /// Releases the last request for a key; `false` when none is due any more.
    async fn release_last(&self, steps: StepStream<Step>, now: Timestamp) -> Result<bool> {
        // Again as long as another request takes its place, or another process is quicker.
        loop {
            let (Some(LastStep { step: Step::Delayed { due, stream, message_type, content }, message }), end) =
                steps.last().await?
            else {
                return Ok(false);
            };
            if due > now {
                return Ok(false);
            }
            let id = derived_id(message.id, "delay", "", &stream, 0);
            let released = NewMessage::new(message_type, content).with_id(id);
            let step = NewMessage::from_variant(&Step::Released { delayed: message.global_position })?;
            match steps.append_beside(end, step, vec![Append::to(stream).message(released)]).await {
                Ok(Ok(_)) => return Ok(true),
                Ok(Err(_)) | Err(Error::IdConflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The keys whose last request is due.
    async fn waiting(&self, now: Timestamp) -> Result<Vec<StreamName>> {
        let mut waiting = BTreeMap::new();
        let mut steps = std::pin::pin!(self.store.category_messages(&self.category, Read::default()));
        while let Some(step) = steps.try_next().await? {
            match step.decode_variant()? {
                Some(Step::Delayed { due, .. }) => waiting.insert(step.stream, due),
                Some(Step::Released { .. }) | None => waiting.remove(&step.stream),
            };
        }
        Ok(waiting.into_iter().filter(|(_, due)| *due <= now).map(|(stream, _)| stream).collect())
    }

    async fn due(&self) -> Result<Timestamp> {
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
