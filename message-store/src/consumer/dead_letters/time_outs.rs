//! Time-outs: whether the store or the message is at fault.
//!
//! Problem: the database cancels a statement that takes too long, and the error does not show the reason. If the
//! database is overloaded, the message must wait. If the message needs too much work, each attempt will time out. Fix:
//! the store is at fault if a probe fails too, or if messages of several entities time out and none is handled in
//! between. (If another transaction holds a lock, writes time out but the probe succeeds.) Otherwise the message is at
//! fault.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::{Error, Message, MessageStore, StreamName};

/// The time in which the store must answer a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// The time-outs since a message was last handled.
#[derive(Debug)]
pub(super) struct TimeOuts {
    /// The entities whose messages timed out.
    entities: Mutex<BTreeSet<String>>,
    /// The stream that a probe reads. Any stream will do.
    probe: StreamName,
}

impl TimeOuts {
    pub(super) fn new(probe: StreamName) -> Self {
        Self { entities: Mutex::default(), probe }
    }

    /// Forgets the time-outs: a message was handled, so the store works, or the message itself was at fault.
    pub(super) fn end(&self) {
        self.entities.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Records the time-out of a message. Returns whether the store is at fault for it.
    pub(super) async fn is_store_fault(&self, store: &dyn MessageStore, message: &Message) -> bool {
        let entities = {
            let mut entities = self.entities.lock().unwrap_or_else(PoisonError::into_inner);
            entities.insert(message.stream.cardinal_id().unwrap_or_default().to_owned());
            entities.len()
        };
        entities > 1 || !self.answers(store).await
    }

    /// Whether the store answers a probe in time.
    pub(super) async fn answers(&self, store: &dyn MessageStore) -> bool {
        matches!(tokio::time::timeout(PROBE_TIMEOUT, store.version(&self.probe)).await, Ok(Ok(_)))
    }
}

/// The first error of this library among a handler's error and its causes.
pub(super) fn store_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Error> {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.find_map(|cause| cause.downcast_ref())
}
