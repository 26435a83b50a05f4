//! A wrong store as a subject of the rules, on SQLite in memory.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use message_store::sqlite::SqliteOptions;
use message_store::testing::conformance::{Cannot, Subject};
use message_store::{Append, Limits, MessageId, MessageStore};

use super::wrong::{Wrong, WrongStore};

/// The password of the stores. A wrong description shows it.
pub(crate) const PASSWORD: &str = "the-password-of-tests";

/// Small limits, so that the rules about limits are quick.
pub(crate) fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.message_bytes = 2_000;
    limits.append_messages = 50;
    limits.batch_messages = 100;
    limits.batch_bytes = 10_000;
    limits
}

/// Each handle of the store has its own fault state, as each process would.
#[derive(Debug)]
pub(crate) struct WrongSubject {
    right: Arc<dyn MessageStore>,
    make: fn() -> Arc<dyn Wrong>,
    wrong: Arc<dyn Wrong>,
    store: Arc<dyn MessageStore>,
}

impl WrongSubject {
    pub(crate) async fn new(make: fn() -> Arc<dyn Wrong>) -> Self {
        let right: Arc<dyn MessageStore> = Arc::new(SqliteOptions::memory().limits(limits()).open().await.unwrap());
        let wrong = make();
        let store = Arc::new(WrongStore { right: Arc::clone(&right), wrong: Arc::clone(&wrong) });
        Self { right, make, wrong, store }
    }
}

#[async_trait]
impl Subject for WrongSubject {
    fn store(&self) -> Arc<dyn MessageStore> {
        Arc::clone(&self.store)
    }

    async fn reopen(&self) -> Result<Arc<dyn MessageStore>, Cannot> {
        Ok(Arc::new(WrongStore { right: Arc::clone(&self.right), wrong: (self.make)() }))
    }

    /// A store in memory has one writer, which draws positions when it commits.
    async fn append_slowly(&self, append: Append, meanwhile: BoxFuture<'_, ()>, commit: bool) -> Result<(), Cannot> {
        meanwhile.await;
        if commit {
            self.right.append(append.into()).await.unwrap();
        } else {
            self.wrong.rolled_back();
        }
        Ok(())
    }

    async fn delete(&self, _message: MessageId) -> Result<(), Cannot> {
        self.wrong.deleted();
        Ok(())
    }

    fn password(&self) -> Result<String, Cannot> {
        Ok(PASSWORD.to_owned())
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(2)
    }
}
