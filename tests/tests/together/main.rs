//! Features that are used together: erasures and timers, snapshots and upcasters, conditions and intents, read models and
//! the archive. Each test holds two or more promises to each other.
#![allow(missing_docs, clippy::unwrap_used)]

mod case;
mod conditions;
mod delays;
mod erase;
mod evolution;
mod executing;
mod hooked;
mod metadata;
mod models;
mod moves;
mod own_tx;
mod subs;
mod timers;

use std::sync::Arc;

use message_store::MessageStore;
use message_store::operations::Archiving;

type Store = Arc<dyn MessageStore>;

/// Archives what was written to a category before now. Returns the number of messages that have moved.
async fn archive(store: &Store, category: &str) -> u64 {
    tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    let now = store.now().await.unwrap();
    Archiving::of(store, category, now).unwrap().run(|_| {}).await.unwrap()
}
