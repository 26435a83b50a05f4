//! The subjects of the rules.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use crate::{Append, MessageId, MessageStore};

/// A backend under test: an empty store, and other ways to access its database.
#[async_trait]
pub trait Subject: Send + Sync {
    /// The store. It was empty when the subject was created.
    fn store(&self) -> Arc<dyn MessageStore>;

    /// Opens the same store again, as another process does.
    async fn reopen(&self) -> Result<Arc<dyn MessageStore>, Cannot>;

    /// Appends as a slow writer of another program does. Its transaction draws positions, stays open until `meanwhile`
    /// ends, and is then committed or rolled back.
    async fn append_slowly(&self, append: Append, meanwhile: BoxFuture<'_, ()>, commit: bool) -> Result<(), Cannot>;

    /// Deletes a message from the database, as an operator can.
    async fn delete(&self, message: MessageId) -> Result<(), Cannot> {
        let _ = message;
        Err(Cannot("the subject has no way to delete a message"))
    }

    /// The password in the URL with which the store was opened.
    fn password(&self) -> Result<String, Cannot> {
        Err(Cannot("the store is opened without a password"))
    }

    /// Whether the store wakes readers. If it does not, its readers poll.
    fn can_wake(&self) -> Result<(), Cannot> {
        Ok(())
    }

    /// How long a rule waits for a wake-up, which should come at once.
    fn patience(&self) -> Duration {
        Duration::from_secs(20)
    }
}

/// The reason why a backend does not have a feature. The rule that needs the feature prints it, and passes.
#[derive(Clone, Copy, Debug)]
pub struct Cannot(pub &'static str);

impl Cannot {
    /// Prints that a rule, or a part of it, was not checked.
    pub(super) fn say(self, what: &str) {
        println!("not checked: {what}: {}", self.0);
    }
}
