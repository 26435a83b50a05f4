//! Keys that a store remembers for a while.

use jiff::Timestamp;

use crate::store::Window;
use crate::{Json, Key};

/// A key about to be taken.
#[derive(Clone, Debug)]
#[non_exhaustive]
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

impl Claim {
    /// This key of this scope, for a request with this fingerprint.
    pub fn new(scope: impl Into<String>, key: Key, fingerprint: impl Into<String>, window: Window) -> Self {
        Self { scope: scope.into(), key, fingerprint: fingerprint.into(), window }
    }
}

/// A key that is taken.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ClaimRecord {
    /// When it was taken, by the database's clock.
    pub at: Timestamp,
    /// The hash of the request that took it.
    pub fingerprint: String,
    /// What was answered.
    pub result: Json,
}

impl ClaimRecord {
    /// Taken at this time, by a request with this fingerprint, which was answered so.
    pub fn new(at: Timestamp, fingerprint: impl Into<String>, result: Json) -> Self {
        Self { at, fingerprint: fingerprint.into(), result }
    }
}
