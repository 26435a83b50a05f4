//! The requests of a delay buffer that wait.
//!
//! Problem: a buffer that has released a million requests has a few that wait, and reads all of its messages to find
//! them. Fix: the buffer keeps those that wait in memory, and reads what is new. Now and then it records a checkpoint
//! with them ([`crate::store::Checkpoints`]), at which the next process begins. Why it is right: a release reads the
//! last request of a key again, and is appended at its version. So a request that is kept here for too long is not
//! released twice, and one that is new is read after the checkpoint.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::store::{Checkpoint, Checkpoints, WhenToCheckpoint};
use crate::{
    Category, GlobalPosition, History, Json, Message, MessageId, MessageStore, MessageStoreExt as _, Read, Result,
    StreamName,
};

/// The number of requests that are read at the same time.
const READS: usize = 16;

/// The time in which the store must write a checkpoint.
const WRITE_WITHIN: Duration = Duration::from_secs(5);

/// A message in the stream of a key.
#[derive(Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase")]
pub(super) enum DelayStep {
    Delayed {
        due: Timestamp,
        stream: StreamName,
        message_type: String,
        content: Json,
        /// The metadata of the released message.
        #[serde(default = "no_metadata", skip_serializing_if = "Json::is_empty")]
        metadata: Json,
    },
    Released {
        delayed: GlobalPosition,
    },
}

const fn no_metadata() -> Json {
    Json::NULL
}

/// The streams whose last request waits, as of `read_through`.
#[derive(Debug)]
pub(super) struct WaitingRequests {
    store: Arc<dyn MessageStore>,
    category: Category,
    checkpoints: Checkpoints,
    /// The store's history before the first read.
    history: History,
    read_through: GlobalPosition,
    /// The last message that was read, at `read_through`. `None` after a checkpoint was read.
    last_step: Option<MessageId>,
    /// The number of messages up to `read_through`.
    messages: u64,
    since_checkpoint: u64,
    /// The times at which they are due.
    due: HashMap<StreamName, Timestamp>,
}

impl WaitingRequests {
    /// Reads the requests that the newest checkpoint lists.
    pub(super) async fn load(store: &Arc<dyn MessageStore>, category: &Category) -> Result<Self> {
        let mut new = Self {
            store: Arc::clone(store),
            category: category.clone(),
            checkpoints: Checkpoints::of(category),
            history: store.history(),
            read_through: GlobalPosition::ZERO,
            last_step: None,
            messages: 0,
            since_checkpoint: 0,
            due: HashMap::new(),
        };
        let Some(checkpoint) = new.checkpoints.newest(store).await? else { return Ok(new) };
        let last_of = async |stream: StreamName| store.last_message(&stream, None).await;
        let mut listed = std::pin::pin!(stream::iter(checkpoint.open).map(last_of).buffered(READS));
        while let Some(last) = listed.try_next().await? {
            if let Some(last) = last {
                new.apply(&last)?;
            }
        }
        (new.read_through, new.messages) = (checkpoint.through, checkpoint.messages);
        Ok(new)
    }

    /// Whether they belong to the store's present history.
    pub(super) fn is_current(&self) -> bool {
        self.history == self.store.history()
    }

    /// Reads what is new.
    pub(super) async fn refresh(&mut self) -> Result<()> {
        let (store, category) = (Arc::clone(&self.store), self.category.clone());
        let mut steps = std::pin::pin!(store.category_messages(&category, Read::from(self.read_through.next())));
        while let Some(step) = steps.try_next().await? {
            self.apply(&step)?;
            (self.read_through, self.last_step) = (step.global_position, Some(step.id));
            (self.messages, self.since_checkpoint) = (self.messages + 1, self.since_checkpoint + 1);
        }
        Ok(())
    }

    fn apply(&mut self, step: &Message) -> Result<()> {
        if step.is_erased() {
            // The last step of a key decides, and the step that waits is not erased.
            self.due.remove(&step.stream);
            return Ok(());
        }
        match step.decode_variant()? {
            Some(DelayStep::Delayed { due, .. }) => self.due.insert(step.stream.clone(), due),
            Some(DelayStep::Released { .. }) | None => self.due.remove(&step.stream),
        };
        Ok(())
    }

    /// The streams whose last request is due, in the order of their names.
    pub(super) fn due(&self, now: Timestamp) -> Vec<StreamName> {
        let mut due: Vec<_> =
            self.due.iter().filter(|(_, due)| **due <= now).map(|(stream, _)| stream.clone()).collect();
        due.sort();
        due
    }

    /// Writes a checkpoint, if many messages were read since the last one. `lists_nothing` is a planted bug. Nothing
    /// depends on a checkpoint, so an error is only logged.
    pub(super) async fn checkpoint_if_due(&mut self, when: WhenToCheckpoint, lists_nothing: bool) {
        if !when.is_due(self.since_checkpoint, self.due.len()) {
            return;
        }
        self.since_checkpoint = 0;
        let listed = if lists_nothing { 0 } else { self.due.len() };
        let open = self.due.keys().take(listed).cloned().collect();
        let checkpoint =
            Checkpoint { through: self.read_through, handled: GlobalPosition::ZERO, messages: self.messages, open };
        if !when.is_worth(&checkpoint) {
            return;
        }
        let category = &self.category;
        let read = (self.history, self.last_step);
        match timeout(WRITE_WITHIN, self.checkpoints.write(&self.store, read, &checkpoint)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::warn!(target: "message_store::handling", %category, %error, "a checkpoint of the delayed requests could not be written, so the next process reads more of them");
            }
            Err(_) => {
                tracing::warn!(target: "message_store::handling", %category, "the store did not write a checkpoint of the delayed requests in time");
            }
        }
    }
}
