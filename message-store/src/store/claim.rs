//! Keys that a store remembers for a while.

use jiff::Timestamp;

use crate::store::Window;
use crate::{Json, Key};

/// A key about to be taken.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Whose keys these are.
    pub scope: String,
    /// The key.
    pub key: Key,
    /// A hash of the request.
    pub fingerprint: String,
    /// How long the key is remembered.
    pub window: Window,
}

/// A key that is taken.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimRecord {
    /// When it was taken, by the database's clock.
    pub at: Timestamp,
    /// The hash of the request that took it.
    pub fingerprint: String,
    /// What was answered.
    pub result: Json,
}
