//! The content of a snapshot: a whole entity, so that one that is loaded behaves as one that is projected.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::projection::{Entity, LastApplied, Projection};
use super::recent::Recent;
use super::sequences::Sequences;
use crate::{Position, StoreId, Version};

/// The name of this form.
pub(super) const FORMAT: &str = "2";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Content<P> {
    /// The marks name the store, so they are wrong in a store with another identity.
    store: StoreId,
    position: Position,
    last: LastApplied,
    state: P,
    sequences: Sequences,
    recent: Recent,
    ignored: u64,
    ignored_types: BTreeSet<String>,
    unread_metadata: u64,
}

/// Encodes an entity of the store `here`. `None` if its stream has no messages.
pub(super) fn encode<P>(entity: &Entity<P>, here: StoreId) -> serde_json::Result<Option<String>>
where
    P: Projection + Serialize,
{
    let (Some(position), Some(last)) = (entity.version.position(), entity.last) else { return Ok(None) };
    let Entity { state, sequences, recent, ignored, ignored_types, unread_metadata, .. } = entity.clone();
    let ignored_types = Arc::unwrap_or_clone(ignored_types);
    let content =
        Content { store: here, position, last, state, sequences, recent, ignored, ignored_types, unread_metadata };
    serde_json::to_string(&content).map(Some)
}

/// Decodes an entity. `None` if it is of another store, or has passed over a type that the projection ignores no more.
pub(super) fn decode<P>(content: &str, here: StoreId) -> serde_json::Result<Option<Entity<P>>>
where
    P: Projection + DeserializeOwned,
{
    let Content { store, position, last, state, sequences, recent, ignored, ignored_types, unread_metadata } =
        serde_json::from_str::<Content<P>>(content)?;
    if store != here || !ignored_types.iter().all(|message_type| P::ignores(message_type)) {
        return Ok(None);
    }
    let (version, last, ignored_types) = (Version::at(position), Some(last), Arc::new(ignored_types));
    Ok(Some(Entity { state, version, sequences, ignored, unread_metadata, ignored_types, recent, last }))
}
