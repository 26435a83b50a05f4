//! Entities: state that is projected from the events of one stream.

mod entity_store;
mod fingerprint;
mod projection;
mod recent;
mod sequences;
mod snapshot_content;
mod snapshot_policy;
mod snapshots;

pub(crate) use entity_store::{CacheEntry, Loaded};
pub use entity_store::{DEFAULT_CACHED_ENTITIES, EntityStore};
pub(crate) use projection::check_upcasters;
pub use projection::{Entity, Projection};
pub use sequences::{Mark, Sequences};
pub use snapshot_policy::SnapshotPolicy;
#[cfg(feature = "testing")]
pub use snapshots::SnapshotBug;
pub use snapshots::SnapshotCounts;
