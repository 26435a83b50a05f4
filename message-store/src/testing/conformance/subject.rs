//! What the rules are checked on.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use crate::{Append, MessageId, MessageStore};

/// A backend under test: an empty store, and ways to it from outside.
#[async_trait]
pub trait Subject: Send + Sync {
    /// The store. It was empty when the subject was made.
    fn store(&self) -> Arc<dyn MessageStore>;

    /// The same store opened once more, as another process would.
    async fn reopen(&self) -> Result<Arc<dyn MessageStore>, Cannot>;

    /// Appends as a slow foreign writer does: in a transaction that stays open after its positions are drawn, until
    /// `meanwhile` is over, and is then committed or rolled back.
    async fn append_slowly(&self, append: Append, meanwhile: BoxFuture<'_, ()>, commit: bool) -> Result<(), Cannot>;

    /// Deletes a message, as an operator does.
    async fn delete(&self, message: MessageId) -> Result<(), Cannot> {
        let _ = message;
        Err(Cannot("the subject has no way to delete a message"))
    }

    /// The password that the store was opened with.
    fn password(&self) -> Result<String, Cannot> {
        Err(Cannot("the store is opened without a password"))
    }

    /// Whether the store wakes readers. One that does not leaves them to poll.
    fn can_wake(&self) -> Result<(), Cannot> {
        Ok(())
    }

    /// How long a rule waits for what should come at once.
    fn patience(&self) -> Duration {
        Duration::from_secs(20)
    }
}

/// Why a backend has no such thing: it is printed by the rule that would need it.
#[derive(Clone, Copy, Debug)]
pub struct Cannot(pub &'static str);

impl Cannot {
    /// Prints that a rule, or a part of it, is not checked.
    pub(super) fn say(self, what: &str) {
        println!("not checked: {what}: {}", self.0);
    }
}
