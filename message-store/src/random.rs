//! Random pauses.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// A random time below `limit`.
pub(crate) fn random_up_to(limit: Duration) -> Duration {
    let random = RandomState::new().hash_one(()) % 1_000;
    limit * u32::try_from(random).unwrap_or_default() / 1_000
}
