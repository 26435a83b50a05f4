//! The conformance suite, on the store in memory.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use message_store::testing::conformance::{Cannot, Subject};
use message_store::{Append, MessageStore};
use message_store_memory::MemoryStore;

struct Memory(Arc<dyn MessageStore>);

#[async_trait]
impl Subject for Memory {
    fn store(&self) -> Arc<dyn MessageStore> {
        Arc::clone(&self.0)
    }

    async fn reopen(&self) -> Result<Arc<dyn MessageStore>, Cannot> {
        Err(Cannot("it is lost when it is closed"))
    }

    async fn append_slowly(&self, _append: Append, _meanwhile: BoxFuture<'_, ()>, _commit: bool) -> Result<(), Cannot> {
        Err(Cannot("no other program can write to it"))
    }
}

message_store::conformance_tests!(Memory(Arc::new(MemoryStore::default())));

#[tokio::test]
async fn a_url_of_its_own_opens_it() {
    let store = message_store_memory::openers().open("memory:").await.unwrap();
    assert_eq!(store.describe(), "memory:");
    let unknown = message_store::connect("memory:").await.unwrap_err().to_string();
    assert!(unknown.contains("it must begin with"), "{unknown}");
}
