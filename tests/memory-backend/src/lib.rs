//! A store in memory, written with the public API only: the example of the guide's page "Writing a backend".

mod contents;
mod deduplication;
mod store;

use std::sync::Arc;

use message_store::{MessageStore, Openers, Result};

pub use store::MemoryStore;

/// The library's backends and this one: `memory:` opens a new store in memory.
pub fn openers() -> Openers {
    Openers::default().with("memory", open)
}

async fn open(_url: String) -> Result<Arc<dyn MessageStore>> {
    Ok(Arc::new(MemoryStore::default()))
}
