//! The archive: nothing is lost while messages move, and what is behind is named.
#![allow(missing_docs, clippy::unwrap_used)]

mod effects;
mod erasure;
mod erasure_meanwhile;
mod meanwhile;
mod postgres;
mod readers;
mod refusals;

use std::sync::Arc;

use message_store::MessageStore;
use message_store::operations::Archiving;
use message_store_tests::expire::AgeingStore;

/// The present time of the store. All messages that are written before it are older.
async fn now(store: &Arc<dyn MessageStore>) -> message_store::Timestamp {
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    store.now().await.unwrap()
}

/// Moves all messages of a category that may move.
async fn archive(store: &Arc<dyn MessageStore>, category: &str) -> u64 {
    Archiving::of(store, category, now(store).await).unwrap().run(|_| {}).await.unwrap()
}

/// Makes all messages older by an hour, so that a time can stand between them and later ones.
async fn age(ageing: &AgeingStore) {
    ageing
        .execute(
            "UPDATE message_store.messages SET time = time - interval '1 hour'",
            "UPDATE messages SET time = time - 3600000000",
        )
        .await;
}
