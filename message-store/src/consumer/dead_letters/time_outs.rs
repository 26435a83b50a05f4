//! Whose fault a time-out is.
//!
//! Problem: the database ends a statement that takes too long, and does not say whether it is in trouble, and the
//! message should wait, or whether this one message is too much for it, and will be each time. Fix: a time-out is the
//! store's while a probe fails as well, or while messages of other entities time out too and none gets through (a lock
//! that is held elsewhere fails no read); else it is the message's.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::{Error, Message, MessageStore, StreamName};

/// How long the store has to answer a probe.
const PROBE: Duration = Duration::from_secs(1);

/// What has timed out since a message was last handled.
#[derive(Debug)]
pub(super) struct TimeOuts {
    entities: Mutex<BTreeSet<String>>,
    /// Any stream of the store, to see whether it answers.
    probe: StreamName,
}

impl TimeOuts {
    pub(super) fn new(probe: StreamName) -> Self {
        Self { entities: Mutex::default(), probe }
    }

    /// A message was handled: the store is well.
    pub(super) fn end(&self) {
        self.entities.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Whether the time-out of this message is the store's fault.
    pub(super) async fn are_the_stores(&self, store: &dyn MessageStore, message: &Message) -> bool {
        let entities = {
            let mut entities = self.entities.lock().unwrap_or_else(PoisonError::into_inner);
            entities.insert(message.stream.cardinal_id().unwrap_or_default().to_owned());
            entities.len()
        };
        entities > 1 || !matches!(tokio::time::timeout(PROBE, store.version(&self.probe)).await, Ok(Ok(_)))
    }
}

/// The library's error among the causes of what a handler said.
pub(super) fn store_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Error> {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.find_map(|cause| cause.downcast_ref())
}
