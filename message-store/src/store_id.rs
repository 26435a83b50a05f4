//! The identity of a store: made when its schema is made, carried in every sequence that is born in it.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Which store a global position belongs to.
///
/// Two stores give out the same numbers for different messages; with the store's identity beside it, a number is told
/// apart. Rotate it ([`crate::MessageStore::rotate_store_id`]) after a restore to an earlier point, and in a clone that
/// goes live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StoreId(Uuid);

impl StoreId {
    /// A new identity.
    #[expect(clippy::new_without_default, reason = "each is another: a default would be one")]
    pub fn new() -> Self {
        Self(Uuid::new_v4())
    }

    /// The identity with this value.
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The value.
    pub const fn as_uuid(&self) -> Uuid {
        self.0
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
