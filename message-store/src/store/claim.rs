//! The request to take a key, and the record of a key that is taken.

use jiff::Timestamp;

use crate::store::Window;
use crate::{Json, Key};

/// A request to take a key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Claim {
    /// The set of keys, such as the name of an endpoint. 1 to 255 bytes.
    pub scope: String,
    /// Unique within its scope.
    pub key: Key,
    /// A hash of the request. It distinguishes a duplicate from a conflict.
    pub fingerprint: String,
    /// The time for which the key is remembered.
    pub window: Window,
}

impl Claim {
    /// A claim of this key in this scope, for a request with this fingerprint.
    pub fn new(scope: impl Into<String>, key: Key, fingerprint: impl Into<String>, window: Window) -> Self {
        Self { scope: scope.into(), key, fingerprint: fingerprint.into(), window }
    }
}

/// The record of a key that is taken.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ClaimRecord {
    /// The time at which it was taken, by the database's clock.
    pub at: Timestamp,
    /// The hash of the request that took it.
    pub fingerprint: String,
    /// The answer to the request that took the key. Repeats get the same answer.
    pub result: Json,
}

impl ClaimRecord {
    /// The record of a key that was taken at this time, by a request with this fingerprint and this answer.
    pub fn new(at: Timestamp, fingerprint: impl Into<String>, result: Json) -> Self {
        Self { at, fingerprint: fingerprint.into(), result }
    }
}
