//! Entities: state that is projected from the events of one stream.

mod entity_store;
mod projection;

pub use entity_store::{DEFAULT_CACHED_ENTITIES, EntityStore};
pub use projection::{Entity, Projection};
