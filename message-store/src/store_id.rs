//! The identity of a store. It is created with the store's schema, and is part of every sequence with this store as
//! origin.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The identity of a store.
///
/// Two stores give out the same global positions for different messages. The store's identity distinguishes them.
/// Rotate it ([`crate::MessageStore::rotate_store_id`]) after a restore to an earlier point, and in a clone that goes
/// live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StoreId(Uuid);

impl StoreId {
    /// A random identity.
    #[expect(clippy::new_without_default, reason = "each call returns another value, and a default is always the same")]
    pub fn new() -> Self {
        Self(Uuid::new_v4())
    }

    /// The identity with this UUID.
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The UUID.
    pub const fn as_uuid(&self) -> Uuid {
        self.0
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
