#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answers;
mod attempts;
mod batch;
mod conditions;
mod deduplication;
mod documents;
mod failure;
mod groups;
mod heads;
mod leases;
mod log;
mod options;
mod read;
mod record;
mod service_reports;
mod setup;
mod snapshots;
mod store;
mod subjects;
mod timers;
mod wake_ups;
mod write;

use std::sync::Arc;

use message_store::{MessageStore, Openers, Result};

pub use options::JetstreamOptions;
#[doc(hidden)]
pub use options::PlantedBug;
pub use store::JetstreamStore;

/// Adds this backend to others: `nats://` and `tls://` URLs then open a [`JetstreamStore`].
///
/// ```
/// let openers = message_store_jetstream::register(message_store::Openers::default());
/// # let _ = openers;
/// ```
pub fn register(openers: Openers) -> Openers {
    openers.with("nats", open).with("tls", open)
}

async fn open(url: String) -> Result<Arc<dyn MessageStore>> {
    Ok(Arc::new(JetstreamStore::open(&url).await?))
}
